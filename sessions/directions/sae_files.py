"""Sparse autoencoders in files: read from a SAELens folder, a plain safetensors file or a release; written as a folder.

A SAELens folder has `cfg.json` and `sae_weights.safetensors`: W_enc `[d, n]`, b_enc `[n]`, W_dec `[n, d]`, b_dec `[d]`;
a jumprelu also has threshold `[n]`; a gated one has b_gate, b_mag and r_mag `[n]` instead of b_enc. Since version 6
fields that are not needed for computing are in the config's `metadata`; before, all fields were side by side. Both are
read. A plain file has the same tensors, perhaps log_threshold in place of threshold, and may have the fields of a
config in its metadata. So does a `.npz` file, as Gemma Scope publishes them (see `arrays`). If a file does not say
whether b_dec is subtracted from the state first, the architecture's paper decides.

A release is fetched with the package sae-lens, which knows the names and formats of releases. Pickles are refused by
name; those of some releases are read by the package with torch's restricted reader, which runs no code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from sessions.cancel import look
from sessions.directions.arrays import place_of, read_arrays
from sessions.directions.features import ARCHITECTURES, SITES, AutoencoderAbout, Which
from sessions.directions.sae import NORMALISATIONS, Autoencoder
from sessions.errors import ArtifactError
from sessions.events import Steps
from sessions.files.disk import READABLE, check_regular, read_file, reported, write_file
from sessions.files.json_text import decoded
from sessions.model.background import Meter, in_background
from sessions.model.locating import PICKLES

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
_TAKEN = f"a folder with {CONFIG} and {WEIGHTS}, a .safetensors or .npz file, or RELEASE:ID"
_HOOK = re.compile(r"blocks\.([0-9]{1,4})\.hook_(\w+)")
_PAGE = re.compile(r"[\w.-]+/[\w.-]+")
_PICKLES = (*PICKLES, ".npy")
#: Names of fields in configs from before version 6, and their names since.
_RENAMED = {"hook_point": "hook_name", "hook_point_layer": "hook_layer", "activation_fn": "activation_fn_str"}

Config = Mapping[str, Any]


def read(which: Which) -> Steps[Autoencoder]:
    """Read an autoencoder.

    Raises:
        ArtifactError: there is none, it is damaged, its tensors do not fit each other, or its kind is not supported;
            the message says which.
    """
    path = Path(which.path)
    if path.is_dir():
        return _of_folder(path, which)
    if path.exists():
        return _of_file(path, which)
    if _is_release(which.path):
        return (yield from _of_release(which))
    raise ArtifactError(f"there is no folder or file '{which.path}'", f"an autoencoder is {_TAKEN}")


def stamp(which: Which) -> tuple[int, ...]:
    """Modification times and sizes of its files; empty for a release, which does not change."""
    path = Path(which.path)
    files = (path / CONFIG, path / WEIGHTS) if path.is_dir() else (path,)
    statuses = [file.stat() for file in files if file.exists()]
    return tuple(number for status in statuses for number in (status.st_mtime_ns, status.st_size))


def _of_folder(folder: Path, which: Which) -> Autoencoder:
    with reported("read", folder, "check its permissions"):
        names = sorted(file.name for file in folder.iterdir())
    for needed in (CONFIG, WEIGHTS):
        if needed not in names:
            pickled = next((name for name in names if name.lower().endswith(_PICKLES)), None)
            if needed == WEIGHTS and pickled is not None:
                raise _pickled(folder / pickled)
            others = [name for name in names if name.endswith(".safetensors")]
            hint = f"name the file itself: {folder / others[0]}" if others else f"an autoencoder is {_TAKEN}"
            raise ArtifactError(f"{folder} is not a SAELens folder: it has no {needed}", hint)
    config = decoded(read_file(folder / CONFIG), dict[str, Any], str(folder / CONFIG))
    tensors, _ = _tensors(folder / WEIGHTS)
    return built(tensors, {"apply_b_dec_to_input": True, **_flat(config)}, which)


def _of_file(path: Path, which: Which) -> Autoencoder:
    if path.name.lower().endswith(_PICKLES):
        raise _pickled(path)
    if path.suffix.lower() == ".npz":
        return built(read_arrays(path), place_of(path.absolute()), which)
    if path.name == WEIGHTS and (path.parent / CONFIG).is_file():
        return _of_folder(path.parent, which)
    tensors, texts = _tensors(path)
    return built(tensors, {name: _meant(text) for name, text in texts.items()}, which)


def _pickled(path: Path) -> ArtifactError:
    return ArtifactError(
        f"{path} is in a format that can run code when it is loaded, or is not read here",
        f"save its tensors as safetensors: W_enc, b_enc, W_dec, b_dec; an autoencoder is {_TAKEN}",
    )


def _tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors of a file in float32, and the texts beside them."""
    with reported("read", check_regular(path), READABLE):
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                tensors = {}
                for name in file.keys():  # noqa: SIM118
                    look()
                    tensors[name] = file.get_tensor(name).float()
                return tensors, dict(file.metadata() or {})
        except SafetensorError as error:
            raise ArtifactError(
                f"{path} is not a safetensors file, or is damaged: {error}", "copy it again, or save its tensors anew"
            ) from error


def _meant(text: str) -> Any:
    """A text of a file's metadata as a JSON value, or as it is if it is not JSON."""
    try:
        return msgspec.json.decode(text.lower() if text in ("True", "False") else text)
    except (msgspec.DecodeError, RecursionError):
        return text


# ---- releases


def _is_release(text: str) -> bool:
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?:[\w./-]+", text) is not None


def _of_release(which: Which) -> Steps[Autoencoder]:
    release, _, identity = which.path.partition(":")
    try:
        lens = import_module("sae_lens")
    except ImportError as error:
        raise ArtifactError(
            f"'{which.path}' is a release; these need the package sae-lens, which is not installed",
            "install it: pip install 'neuron-workbench[sae]'; or give a folder or a file",
        ) from error

    def fetch(_: Meter) -> tuple[dict[str, Any], dict[str, Tensor]]:
        try:
            pretrained = lens.SAE.from_pretrained(release, identity, device="cpu")
            sae = pretrained[0] if isinstance(pretrained, tuple) else pretrained
            return sae.cfg.to_dict(), {name: tensor.detach().float() for name, tensor in sae.state_dict().items()}
        except Exception as error:  # no network, no such release, no such id: sae-lens raises many kinds of errors
            reason = str(error).strip().partition("\n")[0]
            raise ArtifactError(
                f"{which.path} could not be fetched: {reason}", "check its name and the network"
            ) from error

    config, tensors = yield from in_background(fetch, f"fetching {which.path}")
    return built(tensors, {"apply_b_dec_to_input": True, **_flat(config)}, which)


# ---- from tensors and a config


def _flat(config: Config) -> dict[str, Any]:
    """The fields of a config of any version, those of its metadata included, by their present names."""
    metadata = config.get("metadata")
    whole = {**config, **(metadata if isinstance(metadata, dict) else {})}
    return {_RENAMED.get(name, name): value for name, value in whole.items() if value is not None}


def built(tensors: Mapping[str, Tensor], config: Config, which: Which) -> Autoencoder:
    """An autoencoder from its tensors in float32 and a flat config.

    Raises:
        ArtifactError: a tensor is missing, of another shape or not finite, or the kind is not supported.
    """
    source = which.path
    kind = _architecture(tensors, config, which)
    size, width = _sizes(tensors, source)
    names = {"W_enc": (width, size), "W_dec": (size, width), "b_dec": (width,)}
    names |= dict.fromkeys(("b_gate", "b_mag", "r_mag") if kind == "gated" else ("b_enc",), (size,))
    threshold = _threshold(tensors, kind, source)
    for name, shape in names.items():
        _check(tensors, name, shape, source)
    if threshold is not None:
        _check({"threshold": threshold}, "threshold", (size,), source)
    layer, site = _place(config, which)
    about = AutoencoderAbout(
        source=source,
        architecture=kind,
        layer=layer,
        site=site,
        size=size,
        width=width,
        k=_k(tensors, config, which, size) if kind == "topk" else 0,
        normalised=_normalised(config, source),
        centred=bool(config.get("apply_b_dec_to_input", kind != "jumprelu")),
        model=str(config.get("model_name", "")),
        fingerprint=str(config.get("fingerprint", "")),
        page=_page(config),
    )
    _refuse_others(tensors, config, source)
    return Autoencoder(
        about=about,
        encoder=tensors["W_enc"],
        encoder_bias=tensors["b_gate" if kind == "gated" else "b_enc"],
        decoder=tensors["W_dec"],
        decoder_bias=tensors["b_dec"],
        threshold=threshold,
        magnitude=(tensors["r_mag"], tensors["b_mag"]) if kind == "gated" else None,
        by_norm=kind == "topk" and config.get("rescale_acts_by_decoder_norm") is True,
        remarks=tuple(_remarks(config, which, kind)),
    )


def _architecture(tensors: Mapping[str, Tensor], config: Config, which: Which) -> str:
    kind = which.architecture or str(config.get("architecture", ""))
    function = str(config.get("activation_fn_str", "relu"))
    if kind in ("", "standard") and function == "topk":  # SAELens wrote it so before it had a name for it
        return "topk"
    if function not in ("relu", "topk"):
        raise ArtifactError(f"{which.path} has the activation function '{function}'", "supported: relu, topk")
    if not kind:
        kind = "gated" if "b_gate" in tensors else "topk" if _says_k(tensors, config, which) else "standard"
        kind = "jumprelu" if {"threshold", "log_threshold"} & tensors.keys() else kind
    if kind not in ARCHITECTURES:
        raise ArtifactError(
            f"{which.path} has the architecture '{kind}', which is not supported",
            f"one of: {', '.join(ARCHITECTURES)}",
        )
    return kind


def _sizes(tensors: Mapping[str, Tensor], source: str) -> tuple[int, int]:
    """The number of features and the width, from the decoder, whose bias says which side is which."""
    for name in ("W_dec", "b_dec"):
        if name not in tensors:
            raise _missing(tensors, name, source)
    shape = list(tensors["W_dec"].shape)
    bias = list(tensors["b_dec"].shape)
    if len(shape) != 2 or 0 in shape or (shape[0] != shape[1] and bias == shape[:1]):
        turned = " (it looks transposed)" if len(shape) == 2 else ""
        raise ArtifactError(f"W_dec of {source} has the shape {shape}{turned}", "it is [features, width]")
    return shape[0], shape[1]


def _check(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...], source: str) -> None:
    if name not in tensors:
        raise _missing(tensors, name, source)
    actual = tuple(tensors[name].shape)
    if actual != shape:
        turned = " (it looks transposed)" if len(shape) == 2 and actual == shape[::-1] else ""
        raise ArtifactError(
            f"{name} of {source} has the shape {list(actual)}, but {list(shape)} goes with W_dec{turned}",
            "W_enc is [width, features], W_dec [features, width], b_dec [width], all others [features]",
        )
    if not bool(tensors[name].isfinite().all()):
        raise ArtifactError(f"{name} of {source} has a number in it that is not finite")


def _missing(tensors: Mapping[str, Tensor], name: str, source: str) -> ArtifactError:
    there = ", ".join(sorted(tensors)[:8]) or "nothing"
    return ArtifactError(f"{source} has no tensor {name}", f"it has {there}; an autoencoder is {_TAKEN}")


def _threshold(tensors: Mapping[str, Tensor], kind: str, source: str) -> Tensor | None:
    if kind != "jumprelu":
        return None
    if "threshold" in tensors:
        return tensors["threshold"]
    if "log_threshold" in tensors:
        return tensors["log_threshold"].exp()
    raise _missing(tensors, "threshold", source)


def _says_k(tensors: Mapping[str, Tensor], config: Config, which: Which) -> bool:
    return which.k is not None or "k" in tensors or "k" in config


def _k(tensors: Mapping[str, Tensor], config: Config, which: Which, size: int) -> int:
    """How many features are active at once, from the line, the config, or a tensor of one number."""
    k: Any = which.k
    arguments = config.get("activation_fn_kwargs")
    for more in (config.get("k"), arguments.get("k") if isinstance(arguments, dict) else None):
        k = more if k is None else k
    if k is None and "k" in tensors and tensors["k"].numel() == 1:
        k = tensors["k"].item()
    if k is None:
        raise ArtifactError(f"{which.path} does not say how many features are active at once", "say it: --k 32")
    whole = isinstance(k, int | float) and not isinstance(k, bool) and math.isfinite(k) and k == int(k)
    if not whole or not 1 <= k <= size:
        raise ArtifactError(f"{which.path} has {k!r} features active at once, of {size:,}", "say it: --k 32")
    return int(k)


def _place(config: Config, which: Which) -> tuple[int, str]:
    """Layer and site, from the line, or from the config's name of the hook that it was trained on."""
    hook = str(config.get("hook_name", ""))
    match = _HOOK.fullmatch(hook)
    stated = config.get("layer", config.get("hook_layer"))
    layer = which.layer if which.layer is not None else int(match[1]) if match else stated
    site = which.site or (match[2] if match else str(config.get("site", "")))
    if not isinstance(layer, int) or isinstance(layer, bool) or layer < 0 or not site:
        where = f"was trained at '{hook}', which is not supported" if hook else "does not say its layer and site"
        raise ArtifactError(f"{which.path} {where}", f"say it: --layer 12 --site {SITES[1]}")
    if site not in SITES:
        raise ArtifactError(
            f"{which.path} was trained at '{hook or site}', which is not supported", f"one of: {', '.join(SITES)}"
        )
    return layer, site


def _normalised(config: Config, source: str) -> str:
    mode = config.get("normalize_activations", "none")
    mode = {True: "expected_average_only_in", False: "none"}.get(mode, mode) if isinstance(mode, bool) else mode
    if mode == "expected_average_only_in":
        raise ArtifactError(
            f"{source} has normalize_activations 'expected_average_only_in', but not the factor for it",
            "fold it into the weights and save it again: sae.fold_activation_norm_scaling_factor(factor) in sae-lens",
        )
    if mode not in NORMALISATIONS:
        raise ArtifactError(
            f"{source} has normalize_activations '{mode}', which is not supported",
            f"one of: {', '.join(NORMALISATIONS)}",
        )
    return str(mode)


def _refuse_others(tensors: Mapping[str, Tensor], config: Config, source: str) -> None:
    """Refuse fields that would change the result and are not supported."""
    scaling = next((tensors[name] for name in ("scaling_factor", "finetuning_scaling_factor") if name in tensors), None)
    if scaling is not None and not torch.allclose(scaling, torch.ones_like(scaling)):
        raise ArtifactError(f"{source} has a finetuning_scaling_factor, which is not supported", "fold it into W_dec")
    if config.get("reshape_activations", "none") != "none" or config.get("hook_head_index") is not None:
        raise ArtifactError(f"{source} is over attention heads, which is not supported")


def _page(config: Config) -> str:
    """The page on Neuronpedia, from the config's id for it, such as "gpt2-small/8-res-jb"."""
    identity = str(config.get("neuronpedia_id", ""))
    return f"https://www.neuronpedia.org/{identity}" if _PAGE.fullmatch(identity) else ""


def _remarks(config: Config, which: Which, kind: str) -> list[str]:
    remarks = []
    if not which.architecture and "architecture" not in config and kind == "standard":
        remarks.append("the file does not say its architecture: it is read as standard (change it: --architecture)")
    if isinstance(processed := config.get("model_from_pretrained_kwargs"), dict) and any(processed.values()):
        names = ", ".join(sorted(name for name, value in processed.items() if value))
        remarks.append(f"it was trained on weights processed by {names}; here they are unprocessed")
    return remarks


# ---- writing


def write(sae: Autoencoder, folder: Path, *, force: bool = False) -> Path:
    """Write an autoencoder as a SAELens folder of version 6, and return its path.

    Raises:
        ArtifactError: the files exist and `force` is off, or they cannot be written.
    """
    about = sae.about
    tensors = {"W_enc": sae.encoder, "W_dec": sae.decoder, "b_dec": sae.decoder_bias}
    tensors["b_gate" if sae.magnitude else "b_enc"] = sae.encoder_bias
    if sae.magnitude is not None:
        tensors["r_mag"], tensors["b_mag"] = sae.magnitude
    if sae.threshold is not None:
        tensors["threshold"] = sae.threshold
    config = {
        "architecture": about.architecture,
        "d_in": about.width,
        "d_sae": about.size,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": about.centred,
        "normalize_activations": about.normalised,
        "reshape_activations": "none",
        **({"k": about.k, "rescale_acts_by_decoder_norm": sae.by_norm} if about.k else {}),
        "metadata": {
            "sae_lens_version": "6.0.0",
            "model_name": about.model,
            "fingerprint": about.fingerprint,
            "hook_name": f"blocks.{about.layer}.hook_{about.site}",
            "neuronpedia_id": about.page.removeprefix("https://www.neuronpedia.org/") or None,
        },
    }
    packed = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    write_file(folder / WEIGHTS, packed, force=force)
    write_file(folder / CONFIG, msgspec.json.format(msgspec.json.encode(config)) + b"\n", force=force)
    return folder
