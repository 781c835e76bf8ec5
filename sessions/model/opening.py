"""Opening a model: from what a user typed to a model, its tokenizer, its anatomy and a description.

A name is, in this order: an embedded model, a `.gguf` file, a folder with a `config.json`, or the id of
a repository on the model hub. Whatever it is, it ends as files on this machine, and is loaded from
there: weights as safetensors or GGUF, never as pickle, which could run code.

What takes long (downloading, loading) runs in a thread, while the generator says how far it is. When
the generator is closed, the thread is told to stop and does so at its next file chunk or tensor;
nothing of a model that was not opened to the end is kept.
"""

from __future__ import annotations

import concurrent.futures
import difflib
import fnmatch
import importlib.util
import re
import threading
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import huggingface_hub
import jinja2
import torch
import tqdm
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from huggingface_hub.utils import logging as hub_logging
from jinja2 import meta
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    modeling_gguf_pytorch_utils,
)
from transformers.utils import logging

from sessions.errors import ModelError
from sessions.events import Progress, Steps
from sessions.model import anatomy, fingerprint
from sessions.model.anatomy import Anatomy
from sessions.model.embedded import EMBEDDED, prepared
from sessions.model.info import ModelInfo

T = TypeVar("T")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
#: What is fetched from a repository: its root folder without pickles, and without a second copy of the weights.
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken"]
UNWANTED = ["*/*", "consolidated*"]
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
#: Seconds between two progress events, and how long a stopped thread is waited for.
LOOK = 0.2
GRACE = 2.0

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_ACCEPTED = f"a model is {', '.join(EMBEDDED)}, a folder with a config.json, a .gguf file, or a hub id like org/name"


@dataclass(frozen=True)
class OpenModel:
    """A model ready for experiments: in evaluation mode, its parameters without gradients.

    The tokenizer pads on the left and has a padding token.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    anatomy: Anatomy
    info: ModelInfo


@dataclass(frozen=True)
class Source:
    """Files on this machine that make a model: a folder, or one GGUF file in it."""

    folder: Path
    said: str
    gguf: str = ""

    def fingerprint(self) -> str:
        return fingerprint.of_file(self.folder / self.gguf) if self.gguf else fingerprint.of_folder(self.folder)


def open_model(
    name: str,
    *,
    models: Path,
    dtype: str = "auto",
    device: str = "auto",
    device_map: str | None = None,
    load_in: str | None = None,
    trust_remote_code: bool = False,
) -> Steps[OpenModel]:
    """Open a model by name, downloading and converting it first where that is needed.

    Args:
        name: an embedded model, a folder, a .gguf file, or a hub id.
        models: the folder that keeps the embedded models.
        dtype: "float32", "bfloat16", "float16", or "auto": float32 on the CPU, elsewhere the
            checkpoint's own (bfloat16 for a GGUF file).
        device: "cpu", "cuda", "cuda:N", "mps", or "auto": the first CUDA device if there is one.
        device_map: spread the model over devices as accelerate does it ("auto", "balanced", …).
        load_in: "8bit" or "4bit", to quantise the weights with bitsandbytes while loading.
        trust_remote_code: run the modelling code that comes with this model.

    Raises:
        ModelError: there is no such model, it cannot be loaded, or not in the way that was asked for.
    """
    place = _place(device, device_map)
    options = _options(dtype, place, device_map, load_in)
    source = yield from _located(name, models, trust_remote_code)
    if source.gguf:
        options |= {"gguf_file": source.gguf, "quantization_config": GgufConfig(dequantize=True)}
        options["dtype"] = options["dtype"] if options["dtype"] != "auto" else torch.bfloat16
    else:
        options["use_safetensors"] = True
    options |= {"trust_remote_code": trust_remote_code, "local_files_only": True}
    return (yield from _in_background(lambda meter: _load(name, source, options, meter), f"loading {name}"))


def adopt(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str,
    source: str = "memory",
    fingerprint: str | None = None,
) -> OpenModel:
    """Take a model that is loaded already. It is put in evaluation mode, and its parameters lose their gradients.

    `fingerprint` None computes one from the weights in memory.

    Raises:
        ModelError: it is not a model the workbench can read.
    """
    model.eval()
    model.requires_grad_(False)
    parts = anatomy.read(model)
    _ready_for_batches(tokenizer)
    info = ModelInfo(
        name=name,
        source=source,
        family=str(model.config.model_type),
        fingerprint=_fingerprint_in_memory(model) if fingerprint is None else fingerprint,
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
    )
    return OpenModel(model, tokenizer, parts, info)


def _fingerprint_in_memory(model: PreTrainedModel) -> str:
    return fingerprint.of_state(model.state_dict())


# Where a model is


def _located(name: str, models: Path, trust_remote_code: bool) -> Steps[Source]:
    if name in EMBEDDED:
        return Source((yield from prepared(name, models)), "embedded")
    path = _path(name)
    if path.is_file():
        return _gguf(path)
    if path.is_dir():
        _check_folder(path)
        return Source(path, str(path.resolve()))
    if _HUB_ID.fullmatch(name) and path.suffix != ".gguf":
        return (yield from _from_hub(name, trust_remote_code))
    raise _unknown(name)


def _path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # ~somebody who does not exist
        raise ModelError(f"'{name}' is no path: {error}", _ACCEPTED) from error


def _gguf(path: Path) -> Source:
    with _reading(path), open(path, "rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise ModelError(f"{path} is not a GGUF file", _ACCEPTED)
    return Source(path.parent, str(path.resolve()), path.name)


def _check_folder(folder: Path) -> None:
    with _reading(folder):
        names = sorted(each.name for each in folder.iterdir())
    if "config.json" not in names:
        hint = f"open {folder / 'NAME.gguf'}" if any(each.endswith(".gguf") for each in names) else _ACCEPTED
        what = "an adapter without its model" if "adapter_config.json" in names else "no model: it lacks config.json"
        raise ModelError(f"{folder} holds {what}", hint)
    _check_weights(str(folder), names)


def _check_weights(where: str, names: Collection[str]) -> None:
    """Refuse, by name, files that have the weights in no form that can be read safely."""
    if any(each.endswith(".safetensors") for each in names):
        return
    pickled = sorted(each for each in names if each.endswith(PICKLES))
    packed = sorted(each for each in names if each.endswith(".gguf"))
    if packed:
        raise ModelError(f"{where} has its weights only as GGUF: {', '.join(packed[:3])}", "open one of them by its path")
    if pickled:
        raise ModelError(
            f"{where} has its weights only as {pickled[0]}, a format that can run code when it is loaded",
            "open a model that has safetensors, or convert this one where you trust it",
        )
    raise ModelError(f"{where} has no weights", _ACCEPTED)


def _unknown(name: str) -> ModelError:
    if name.startswith(("/", "./", "../", "~")) or name.count("/") > 1 or name.endswith(".gguf"):
        return ModelError(f"there is no folder or file '{name}'", _ACCEPTED)
    near = difflib.get_close_matches(name.lower(), EMBEDDED, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}? " if near else ""
    return ModelError(f"no model is called '{name}'", meant + _ACCEPTED)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error


# From the hub


def _from_hub(name: str, trust_remote_code: bool) -> Steps[Source]:
    wanted = [*WANTED, *(["*.py"] if trust_remote_code else [])]
    fetch = dict(repo_id=name, allow_patterns=wanted, ignore_patterns=UNWANTED)

    def look_and_fetch(meter: _Meter) -> str:
        with _hub_quiet():
            try:
                sizes = _listed(name)
            except RepositoryNotFoundError as error:  # or it is gated, which is a kind of that
                raise _refused_by_hub(name, error) from error
            except Exception as error:  # no network, in one of the many ways that shows itself
                return _cached(name, fetch, error)
            _check_weights(name, [path for path in sizes if "/" not in path])
            chosen = [path for path in sizes if _matches(path, wanted) and not _matches(path, UNWANTED)]
            meter.total = sum(sizes[path] for path in chosen)
            try:
                return huggingface_hub.HfApi().snapshot_download(**fetch, tqdm_class=_bars(meter))
            except _Stopped:
                raise
            except Exception as error:
                raise ModelError(f"{name} could not be downloaded: {_line(error)}", "open it again: it goes on") from error

    snapshot = Path((yield from _in_background(look_and_fetch, f"downloading {name}", unit="B")))
    _check_folder(snapshot)
    return Source(snapshot, f"hub, revision {snapshot.name}")


def _listed(name: str) -> dict[str, int]:
    """The files of a repository with their sizes in bytes."""
    # This call, unlike others, does not try again for half a minute where there is no network.
    found = huggingface_hub.HfApi().model_info(name, files_metadata=True, timeout=10)
    return {each.rfilename: each.size or 0 for each in found.siblings or ()}


def _cached(name: str, fetch: dict[str, Any], why: Exception) -> str:
    """The snapshot of an earlier download, for when the hub cannot be asked."""
    try:
        return huggingface_hub.HfApi().snapshot_download(**fetch, local_files_only=True)
    except Exception as error:
        raise ModelError(
            f"{name} is not on this machine, and the model hub cannot be reached: {_line(why)}",
            f"check the network, or open one of {', '.join(EMBEDDED)}",
        ) from error


def _refused_by_hub(name: str, error: Exception) -> ModelError:
    if isinstance(error, GatedRepoError):
        return ModelError(f"{name} is gated: its owner gives access on request", "ask on its page, then: hf auth login")
    return ModelError(f"the model hub has no '{name}', or it is private", _ACCEPTED)


@contextmanager
def _hub_quiet() -> Iterator[None]:
    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()
    try:
        yield
    finally:
        hub_logging.set_verbosity(verbosity)


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


# Loading


def _load(name: str, source: Source, options: dict[str, Any], meter: _Meter) -> OpenModel:
    identity = source.fingerprint()
    words = {key: options[key] for key in ("gguf_file", "trust_remote_code", "local_files_only") if key in options}
    with _progress_to(meter):
        try:
            tokenizer = AutoTokenizer.from_pretrained(source.folder, **words)
            model, found = AutoModelForCausalLM.from_pretrained(source.folder, **options, output_loading_info=True)
        except (ModelError, _Stopped):
            raise
        except Exception as error:  # whatever a checkpoint, its libraries or its own code may raise
            raise _cannot_load(name, error) from error
    _check_complete(name, found)
    return adopt(model, tokenizer, name=name, source=source.said, fingerprint=identity)


def _check_complete(name: str, found: dict[str, Any]) -> None:
    """Refuse a checkpoint that leaves some of the weights at random."""
    for what in ("missing_keys", "mismatched_keys"):
        keys = sorted(str(each[0] if isinstance(each, tuple) else each) for each in found.get(what) or ())
        if keys:
            kind = "lacks" if what == "missing_keys" else "has in another shape"
            raise ModelError(
                f"the checkpoint of {name} {kind} {len(keys)} weights of a causal language model: {keys[0]}"
                + (", …" if len(keys) > 1 else "")
            )


def _cannot_load(name: str, error: Exception) -> ModelError:
    hint = ""
    if "trust_remote_code" in str(error):
        return ModelError(f"{name} comes with modelling code of its own", "--trust-remote-code runs it, if you trust it")
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        hint = "try --dtype bfloat16, --load-in 4bit or --device-map auto"
    return ModelError(f"{name} cannot be loaded: {_line(error)}", hint)


def _line(error: BaseException) -> str:
    """The first line of what an error says, or its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _place(device: str, device_map: str | None) -> str:
    """The device to load on, checked against this machine."""
    if device_map is not None and device != "auto":
        raise ModelError("a device and a device map exclude each other", "give one of --device and --device-map")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdecimal())):
        raise ModelError(f"'{device}' is not a device", "one of: auto, cpu, cuda, cuda:0, mps")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(number or 0) >= there:
        raise ModelError(f"this machine has no device '{device}'", "--device auto takes what there is")
    return device


def _options(dtype: str, place: str, device_map: str | None, load_in: str | None) -> dict[str, Any]:
    """Arguments of `from_pretrained` for what was asked."""
    if dtype != "auto" and dtype not in DTYPES:
        raise ModelError(f"'{dtype}' is not a dtype", f"one of: auto, {', '.join(DTYPES)}")
    alone_on_cpu = place == "cpu" and device_map is None
    options: dict[str, Any] = {"dtype": DTYPES.get(dtype, torch.float32 if alone_on_cpu else "auto")}
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
        raise ModelError(f"'{load_in}' is no way to load weights", "one of: 8bit, 4bit")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(f"loading in {load_in} needs bitsandbytes, which is not installed", "pip install bitsandbytes")
    if not place.startswith("cuda"):
        raise ModelError(f"loading in {load_in} needs a CUDA device, and this is {place}", "leave --load-in away")


# Describing


def _ready_for_batches(tokenizer: PreTrainedTokenizerBase) -> None:
    """Pad on the left, with the end-of-text token where the tokenizer has none for padding."""
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)


def _has_thinking(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template reads a variable that turns thinking on and off."""
    templates = tokenizer.chat_template or ""
    texts = templates.values() if isinstance(templates, dict) else [templates]
    return any(not _variables(text).isdisjoint(("enable_thinking", "thinking")) for text in texts)


def _variables(template: str) -> set[str]:
    """What a template reads from outside. Parsed only, never run; `generation` is a tag of transformers' own."""
    plain = re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", template)
    try:
        return meta.find_undeclared_variables(jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(plain))
    except jinja2.TemplateSyntaxError:  # the template is refused when it is used, with its own error
        return set()


def _devices(model: PreTrainedModel) -> str:
    spread = getattr(model, "hf_device_map", None) or {"": model.device}
    return "+".join(sorted({str(torch.device(each) if isinstance(each, int) else each) for each in spread.values()}))


def _quantisation(model: PreTrainedModel) -> str:
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return ""
    said = config if isinstance(config, dict) else config.to_dict()
    width = next((bits for bits in ("8bit", "4bit") if said.get(f"load_in_{bits}")), "")
    method = said.get("quant_method", "quantised")
    return width or str(getattr(method, "value", method))


# In the background


class _Stopped(Exception):
    """Raised in a background thread whose result nobody waits for any more."""


class _Meter:
    """How far a background thread is, written there and read by the generator that waits for it."""

    def __init__(self, label: str, unit: str) -> None:
        self.label = label
        self.unit = unit
        self.done = 0.0
        self.total = 0.0
        self.stop = threading.Event()

    def reach(self, done: float) -> None:
        """Note how far the work is, and end it here if it was stopped."""
        if self.stop.is_set():
            raise _Stopped
        self.done = max(self.done, done)

    def progress(self) -> Progress:
        done = min(self.done, self.total) if self.total else self.done
        return Progress(self.label, done, self.total, self.unit)


def _in_background(work: Callable[[_Meter], T], label: str, unit: str = "") -> Steps[T]:
    meter = _Meter(label, unit)
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            outcome.set_result(work(meter))
        except BaseException as error:
            # The frames of a failed load hold half a model; whoever keeps the error must not keep that.
            traceback.clear_frames(error.__traceback__)
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name=label, daemon=True)
    thread.start()
    try:
        while not outcome.done():
            yield meter.progress()
            concurrent.futures.wait([outcome], timeout=LOOK)
        return outcome.result()
    finally:
        meter.stop.set()
        thread.join(GRACE)


@contextmanager
def _progress_to(meter: _Meter) -> Iterator[None]:
    """Send transformers' progress bars to `meter` instead of the screen, and its warnings nowhere."""

    def bar(*items: Any, **_: Any) -> _Bar:
        return _Bar(meter, *items[:1])

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    hook = logging.set_tqdm_hook(lambda _, items, words: bar(*items, **words))
    # The reader of GGUF files takes tqdm's bar directly, out of reach of the hook.
    own = modeling_gguf_pytorch_utils.tqdm
    modeling_gguf_pytorch_utils.tqdm = bar
    try:
        yield
    finally:
        modeling_gguf_pytorch_utils.tqdm = own
        logging.set_tqdm_hook(hook)
        logging.set_verbosity(verbosity)


class _Bar(logging.EmptyTqdm):
    """A progress bar that moves a meter while its items are taken."""

    def __init__(self, meter: _Meter, items: Iterable[Any] = ()) -> None:
        super().__init__()
        self._meter = meter
        self._items = list(items)

    def __iter__(self) -> Iterator[Any]:
        self._meter.done, self._meter.total = 0, len(self._items)
        for number, item in enumerate(self._items):
            self._meter.reach(number)
            yield item


def _bars(meter: _Meter) -> type[tqdm.tqdm]:
    """A class of bars for huggingface_hub that draw nothing; those that count bytes move the meter."""

    class Bar(tqdm.tqdm):
        def __init__(self, *items: Any, **words: Any) -> None:
            self.counts_bytes = words.get("unit") == "B"
            super().__init__(*items, **{**words, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            meter.reach(self.n if self.counts_bytes else 0)
            return None

    return Bar
