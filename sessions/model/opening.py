"""Opens a model by name: loads its weights and tokenizer, reads its anatomy and describes it.

`locating` turns the name into files on this machine. Loading reads these files without the network, and takes the
model's own weights only, no adapter that lies beside them. It runs in the background; if it fails or is cancelled,
nothing stays in memory.
"""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from msgspec import structs
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GgufConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sessions.errors import ModelError, WorkbenchError
from sessions.events import Steps
from sessions.model import anatomy, templates
from sessions.model import fingerprint as fingerprints
from sessions.model.background import Abandoned, Meter, first_line, in_background, progress_to
from sessions.model.compiling import compile_decoding
from sessions.model.device_maps import DeviceMap, check_covers, check_device, check_devices
from sessions.model.generation_rules import rules_of
from sessions.model.homes import CPU, free_memory, home_of, refuse_split
from sessions.model.info import ModelInfo
from sessions.model.locating import ADAPTER, ModelFiles, located
from sessions.model.max_memory import on_devices, parsed
from sessions.model.parts import Anatomy
from sessions.model.tokens import bound, check_sound

#: transformers' name for attention written in plain torch.
PLAIN = "eager"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class OpenModel:
    """A model ready for experiments: in evaluation mode, its parameters without gradients.

    The tokenizer pads on the left and has a padding token. A module that an adapter wraps appears in `anatomy` as its
    wrapper, so read `anatomy` anew in each command.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    anatomy: Anatomy
    info: ModelInfo
    beside: Path | None = None
    """The folder of the weights, if it also holds an adapter, which is not loaded; else None."""

    @property
    def device(self) -> torch.device:
        """The device of the embeddings, where a pass takes its ids; the last layer may be on another."""
        return home_of(self.model.get_input_embeddings())

    def reread(self) -> None:
        """Read the anatomy again, after modules of the model were replaced."""
        object.__setattr__(self, "anatomy", anatomy.read(self.model))


def open_model(
    name: str,
    *,
    models: Path,
    dtype: str = "auto",
    device: str = "auto",
    device_map: DeviceMap | None = None,
    max_memory: str | None = None,
    offload_folder: Path | None = None,
    load_in: str | None = None,
    trust_remote_code: bool = False,
    compile: bool = False,
    make_room: Callable[[int], None] | None = None,
) -> Steps[OpenModel]:
    """Open a model by name; download and convert it first if needed.

    Args:
        name: an embedded model, a folder, a .gguf file, or a hub id.
        models: the folder that keeps the embedded models.
        dtype: "float32", "bfloat16", "float16", or "auto": float32 on the CPU, elsewhere the
            checkpoint's own (bfloat16 for a GGUF file).
        device: "cpu", "cuda", "cuda:N", "mps", or "auto": the first CUDA device if there is one.
        device_map: how accelerate spreads the model over devices ("auto", "balanced", …, or a device by module).
        max_memory: the most that weights take on each device ("20GiB", "0=20GiB,cpu=60GiB"); spreads them over the
            devices as `device_map` "auto" does, unless that says otherwise.
        offload_folder: the folder for weights placed on "disk", unless their own files can be read instead.
        load_in: "8bit" or "4bit" quantises the weights with bitsandbytes while loading.
        trust_remote_code: run the modelling code that comes with this model.
        compile: decode with a compiled step (see `compiling`); `info.decoding` says whether it can be.
        make_room: called with the bytes of the weights' files just before they are loaded, after everything that can be
            checked without them.

    Raises:
        ModelError: no model has that name, it cannot be loaded, or an option does not apply to it: a device that is
            not there, a device map that leaves weights out or names modules that are none.
        UsageError: `max_memory` is no amount, or for a device that is not there.
    """
    if max_memory is not None and device_map is None:
        device_map = "auto"
    place = _place(device, device_map)
    options = _options(dtype, place, device_map, load_in)
    if max_memory is not None:
        options["max_memory"] = on_devices(parsed(max_memory), range(torch.cuda.device_count()), free_memory(CPU))
    source = yield from located(name, models, trust_remote_code)
    if source.gguf:
        options |= {"gguf_file": source.gguf, "quantization_config": GgufConfig(dequantize=True)}
        options["dtype"] = options["dtype"] if options["dtype"] != "auto" else torch.bfloat16
    else:
        options["use_safetensors"] = True
    options |= {"trust_remote_code": trust_remote_code, "local_files_only": True, "offload_folder": offload_folder}
    # transformers silently loads an adapter that lies beside a model: point it to a folder that does not exist.
    options["adapter_kwargs"] = {"subfolder": f"no-adapter-{secrets.token_hex(8)}"}
    if make_room is not None:
        _check_readable(name, source, options)
        make_room(source.size)
    opened = yield from in_background(lambda meter: _load(name, source, options, meter), f"loading {name}")
    if not compile:
        return opened
    reason = compile_decoding(opened.model)
    decoding = f"not compiled: {reason}" if reason else "compiled"
    return replace(opened, info=structs.replace(opened.info, decoding=decoding))


def adopt(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str,
    source: str = "memory",
    fingerprint: str | None = None,
) -> OpenModel:
    """Take over a model that is already loaded: set evaluation mode and switch its gradients off.

    `fingerprint` None computes one from the weights in memory.

    Raises:
        ModelError: the workbench does not know the architecture, or the weights are split over several processes.
    """
    refuse_split(model)
    model.eval()
    model.requires_grad_(False)
    parts = anatomy.read(model)
    if not parts.layers:
        raise ModelError(f"{name} has no layers", "open a model that has some")
    _ready_for_batches(tokenizer, parts.n_tokens)
    check_sound(tokenizer)
    info = ModelInfo(
        name=name,
        source=source,
        family=str(model.config.model_type),
        fingerprint=_fingerprint(model) if fingerprint is None else fingerprint,
        dtype=str(model.dtype).removeprefix("torch."),
        device=_devices(model),
        quantisation=_quantisation(model),
        n_layers=parts.n_layers,
        d_model=parts.d_model,
        d_mlp=parts.widths,
        n_heads=parts.n_heads,
        vocab_size=int(model.config.get_text_config().vocab_size),
        n_parameters=model.num_parameters(),
        has_template=bool(tokenizer.chat_template),
        has_thinking=_has_thinking(tokenizer),
        experts=parts.has_experts,
        refusals=parts.refusals,
        generation_rules=rules_of(model.generation_config),
    )
    return OpenModel(model, tokenizer, parts, info)


# Loading


def _load(name: str, source: ModelFiles, options: dict[str, Any], meter: Meter) -> OpenModel:
    weights = source.fingerprint()
    with progress_to(meter):
        try:
            return _loaded(name, source, options, weights)
        except (Abandoned, WorkbenchError):
            raise
        except BaseException as error:  # checkpoints, libraries and remote code raise anything, panics included
            raise _cannot_load(name, error) from error


def _check_readable(name: str, source: ModelFiles, options: dict[str, Any]) -> None:
    """Raise `ModelError` for a configuration or a tokenizer that cannot be read."""
    words = _words(options)
    try:
        if not source.gguf:
            _config(source.folder, words)
            AutoTokenizer.from_pretrained(source.folder, **words)
    except WorkbenchError:
        raise
    except BaseException as error:  # as in `_load`
        raise _cannot_load(name, error) from error


def _words(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a configuration and a tokenizer are read with."""
    return {key: options[key] for key in ("gguf_file", "trust_remote_code", "local_files_only") if key in options}


def _loaded(name: str, source: ModelFiles, options: dict[str, Any], weights: str) -> OpenModel:
    words = _words(options)
    tokenizer = AutoTokenizer.from_pretrained(source.folder, **words)
    if tokenizer.chat_template:
        templates.warm()  # starts the sandbox while the weights load
    if not source.gguf:
        options["config"] = _config(source.folder, words)
        if isinstance(options.get("device_map"), Mapping) and set(options["device_map"]) != {""}:
            check_covers(options["device_map"], _shape(options["config"], options["trust_remote_code"]), name)
    model, loading_info = AutoModelForCausalLM.from_pretrained(source.folder, **options, output_loading_info=True)
    _check_complete(name, loading_info)
    if source.gguf and isinstance(options.get("device_map"), Mapping):  # whose shape is known from here on
        check_covers(options["device_map"], model, name)
    own_code = source.folder if options["trust_remote_code"] and getattr(model.config, "auto_map", None) else None
    identity = fingerprints.with_config(weights, model.config, own_code)
    opened = adopt(model, tokenizer, name=name, source=source.said, fingerprint=identity)
    return replace(opened, beside=source.folder if (source.folder / ADAPTER).is_file() else None)


def _config(folder: Path, words: Mapping[Any, Any]) -> PreTrainedConfig:
    """The configuration of the model in a folder, without its choice of attention.

    A configuration can name a repository of kernels, which transformers would fetch and run. The workbench uses
    transformers' default, or plain torch attention if the configuration asks for it.
    """
    config = AutoConfig.from_pretrained(folder, **words)
    config._attn_implementation = (
        PLAIN if config._attn_implementation == PLAIN else None
    )  # sets its sub-configurations too
    return config


def _shape(config: PreTrainedConfig, trust_remote_code: bool) -> PreTrainedModel:
    """The model of a configuration, without numbers."""
    with torch.device("meta"):
        shape: PreTrainedModel = AutoModelForCausalLM.from_config(deepcopy(config), trust_remote_code=trust_remote_code)
    return shape


def _check_complete(name: str, loading_info: dict[str, Any]) -> None:
    """Refuse a checkpoint that leaves some weights at random values."""
    for what in ("missing_keys", "mismatched_keys"):
        keys = sorted(str(key[0] if isinstance(key, tuple) else key) for key in loading_info.get(what) or ())
        if keys:
            kind = "lacks" if what == "missing_keys" else "has in another shape"
            raise ModelError(
                f"the checkpoint of {name} {kind} {len(keys)} of the weights of a causal language model: {keys[0]}"
                + (", …" if len(keys) > 1 else "")
            )


def _cannot_load(name: str, error: BaseException) -> ModelError:
    hint = ""
    if "trust_remote_code" in str(error):
        return ModelError(
            f"{name} comes with modelling code of its own", "--trust-remote-code runs it, if you trust it"
        )
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        hint = "try --dtype bfloat16, --load-in 4bit or --device-map auto"
    return ModelError(f"{name} cannot be loaded: {first_line(error)}", hint)


def _place(device: str, device_map: DeviceMap | None) -> str:
    """The device to load on; raises `ModelError` if this machine lacks it."""
    if device_map is not None and device != "auto":
        raise ModelError("a device and a device map exclude each other", "give one of --device and --device-map")
    if device_map is not None:
        check_devices(device_map)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    check_device(device)
    return device


def _options(dtype: str, place: str, device_map: DeviceMap | None, load_in: str | None) -> dict[str, Any]:
    """The arguments of `from_pretrained` for these options."""
    if dtype != "auto" and dtype not in DTYPES:
        raise ModelError(f"'{dtype}' is not a dtype", f"one of: auto, {', '.join(DTYPES)}")
    alone_on_cpu = place == "cpu" and device_map is None
    options: dict[str, Any] = {"dtype": DTYPES.get(dtype, torch.float32 if place == "cpu" else "auto")}
    if not alone_on_cpu:
        options["device_map"] = {"": place} if device_map is None else device_map
    if load_in is not None:
        _check_quantises(load_in, place)
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_8bit=load_in == "8bit",
            load_in_4bit=load_in == "4bit",
            bnb_4bit_compute_dtype=DTYPES.get(dtype, torch.bfloat16),
        )
    return options


def _check_quantises(load_in: str, place: str) -> None:
    if load_in not in ("8bit", "4bit"):
        raise ModelError(f"cannot load weights in '{load_in}'", "one of: 8bit, 4bit")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(f"loading in {load_in} needs bitsandbytes, which is not installed", "pip install bitsandbytes")
    if not place.startswith("cuda"):
        raise ModelError(f"loading in {load_in} needs a CUDA device, and this is {place}", "leave --load-in away")


# Describing


def _fingerprint(model: PreTrainedModel) -> str:
    return fingerprints.with_config(fingerprints.of_state(model.state_dict()), model.config)


def _ready_for_batches(tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Pad on the left; use the end-of-text token if the tokenizer has no padding token that the model knows.

    From now on, ids beyond the model's `rows` of embeddings raise.
    """
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= rows:
        others = (tokenizer.eos_token, tokenizer.unk_token)
        known = (token for token in others if token and tokenizer.convert_tokens_to_ids(token) < rows)
        tokenizer.pad_token = next(known, None) or tokenizer.convert_ids_to_tokens(0)
    bound(tokenizer, rows)


def _has_thinking(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template reads a variable that turns thinking on and off."""
    own = tokenizer.chat_template or ()
    texts = own.values() if isinstance(own, dict) else [own] if own else []
    with suppress(templates.ProgramError, ModelError):  # using the template raises its own error later
        return any(not templates.variables(text).isdisjoint(("enable_thinking", "thinking")) for text in texts)
    return False


def _devices(model: PreTrainedModel) -> str:
    spread = getattr(model, "hf_device_map", None) or {"": model.device}
    places = {str(torch.device(place) if isinstance(place, int) else place) for place in spread.values()}
    return "+".join(sorted(places))


def _quantisation(model: PreTrainedModel) -> str:
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return ""
    fields = config if isinstance(config, dict) else config.to_dict()
    width = next((bits for bits in ("8bit", "4bit") if fields.get(f"load_in_{bits}")), "")
    method = fields.get("quant_method", "quantised")
    return width or str(getattr(method, "value", method))
