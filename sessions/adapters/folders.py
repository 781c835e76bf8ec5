"""Adapters in PEFT folders: their contents, fully checked before use.

A folder has `adapter_config.json` and `adapter_model.safetensors`. For every projection that is adapted there are

    A [r, in]    B [out, r]    and sometimes    a bias [out] of B, or (DoRA) a magnitude [out]

and the projection W x becomes W x + s · B A x, where s is alpha/r, or alpha/√r in an rsLoRA (Hu et al. 2021,
arXiv:2106.09685; Kalajdzievski 2023, arXiv:2312.03732; Liu et al. 2024, arXiv:2402.09353). Other variants that PEFT
knows change more than such a reversible path beside the weights; they are refused by name. Pickles are refused unread.
Nothing here imports PEFT.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors import SafetensorError
from torch import Tensor

from sessions import expressions
from sessions.errors import ArtifactError
from sessions.files.disk import READABLE, check_regular, read_file, reading, reported
from sessions.files.json_text import decoded
from sessions.model.background import Meter

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_TAKEN = f"an adapter is a PEFT folder with {CONFIG} and {WEIGHTS}"
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_ON_PROJECTIONS = "train it on projections: q_proj, down_proj, …"
#: Bytes that are hashed or copied at once.
CHUNK = 2**22
#: Beyond any rank or alpha.
_LARGEST = 10**9

#: A tensor's name: the projection, and which part of its path it is.
_PART = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+?)\."
    r"(?P<part>lora_A\.weight|lora_B\.weight|lora_B\.bias|lora_magnitude_vector(?:\.weight)?)"
)
#: A pattern that is a module's name or the end of one, in the usual spellings: matching it needs no backtracking.
_NAME = re.compile(r"\^?(?:[\w.]|\[\.\]|\\\.){1,400}\$?")
_NAMED = "name the modules themselves"
_FIELDS = {"lora_A.weight": "a", "lora_B.weight": "b", "lora_B.bias": "bias"}
#: What a config may ask for beyond a path, and the words for it.
_REFUSED = {
    "modules_to_save": "replaces whole modules",
    "trainable_token_indices": "changes embeddings of single tokens",
    "target_parameters": "adapts parameters that are not projections, such as those of experts",
    "layer_replication": "repeats layers",
    "alora_invocation_tokens": "begins at an invocation token (aLoRA)",
    "arrow_config": "routes between other adapters (Arrow)",
    "use_bdlora": "has block-diagonal factors (BD-LoRA)",
    "velora_config": "is a VeLoRA",
    "monteclora_config": "draws its weights at random (MonteCLoRA)",
    "kasa_config": "truncates the model's own weights (KaSA)",
    "use_qalora": "is a QA-LoRA",
    "megatron_config": "is of a Megatron model",
}
#: Other fields that PEFT writes: those read here, those for training alone, and those about origin.
_KNOWN = frozenset(
    {
        "peft_type", "task_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "bias",
        "lora_bias", "fan_in_fan_out", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
        "lora_dropout", "init_lora_weights", "inference_mode", "auto_mapping", "base_model_name_or_path", "revision",
        "peft_version", "megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
        "qalora_group_size", "ensure_weight_tying", "runtime_config", *_REFUSED,
    }
)  # fmt: skip
#: Initialisations that also change the model's own weights, which an adapter's file does not hold.
_MUTATING = ("pissa", "corda", "olora", "loftq", "lora_ga", "mica")


@dataclass(frozen=True, eq=False)
class LoraFactors:
    """The path beside one projection: `a` `[r, in]`, `b` `[out, r]`, and where it has them `bias` and `magnitude`
    `[out]`; `scaling` multiplies B A x."""

    a: Tensor
    b: Tensor
    scaling: float
    alpha: float
    bias: Tensor | None = None
    magnitude: Tensor | None = None

    @property
    def rank(self) -> int:
        return len(self.a)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the projection, `[out, in]`."""
        return len(self.b), self.a.shape[1]


@dataclass(frozen=True, eq=False)
class Contents:
    """The contents of a folder: its config unchanged, and the paths by the names of their projections.

    `sha256` is over both files; `notes` are doubts about the config.
    """

    config: Mapping[str, Any]
    factors: Mapping[str, LoraFactors]
    sha256: str = ""
    notes: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """The largest rank."""
        return max(factor.rank for factor in self.factors.values())

    @property
    def is_dora(self) -> bool:
        return any(factor.magnitude is not None for factor in self.factors.values())

    @property
    def has_bias(self) -> bool:
        return any(factor.bias is not None for factor in self.factors.values())

    @property
    def kind(self) -> str:
        return kind_of(self.config)

    @property
    def base(self) -> str:
        """The model that the config names."""
        return str(self.config.get("base_model_name_or_path") or "")


@dataclass(frozen=True)
class Outline:
    """An adapter without its numbers: the largest rank, how many projections, their last names, how many numbers."""

    kind: str
    rank: int
    projections: int
    targets: tuple[str, ...]
    parameters: int


def outline(folder: Path) -> Outline:
    """The outline of a folder, whose numbers are neither read nor checked. Raises as `read_folder`."""
    check_folder(folder)
    config = decoded(read_file(folder / CONFIG), dict[str, Any], str(folder / CONFIG))
    check_config(config, str(folder))
    path = check_regular(folder / WEIGHTS)
    with reported("read", path, READABLE):
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ArtifactError(f"{path} is not a safetensors file, or is damaged: {error}", _TAKEN) from error
    places = {name: _place(name, path) for name in shapes}
    ranks = [shapes[name][0] for name, (_, part) in places.items() if part == "a"]
    modules = {module for module, _ in places.values()}
    targets = tuple(sorted({module.rpartition(".")[2] for module in modules}))
    return Outline(kind_of(config), max(ranks, default=0), len(modules), targets, sum(map(math.prod, shapes.values())))


def kind_of(config: Mapping[str, Any]) -> str:
    """LoRA, or which variant of it."""
    return "DoRA" if config.get("use_dora") else "rsLoRA" if config.get("use_rslora") else "LoRA"


def read_folder(folder: Path, meter: Meter | None = None) -> Contents:
    """The contents of a PEFT folder. Its numbers stay on disk until they are used.

    Raises:
        ArtifactError: it is not a PEFT folder, it is damaged, or its adapter does more than a LoRA.
    """
    check_folder(folder)
    text = read_file(folder / CONFIG)
    config = decoded(text, dict[str, Any], str(folder / CONFIG))
    notes = check_config(config, str(folder))
    digest = hashed(folder, meter)
    return Contents(config, _factors(folder / WEIGHTS, config, meter), digest, notes)


def check_folder(folder: Path) -> None:
    """Raise `ArtifactError` unless both files are there."""
    with reported("read", folder, "check its permissions"):
        if not folder.is_dir():
            there = "is not a folder" if folder.exists() else "is not there"
            raise ArtifactError(f"{folder} {there}", f"{_TAKEN}; adapter list shows those that are kept here")
        names = sorted(file.name for file in folder.iterdir())
    if WEIGHTS not in names:
        pickled = next((name for name in names if name.lower().endswith(_PICKLES)), None)
        if pickled is not None:
            raise ArtifactError(
                f"{folder / pickled} is a pickle, which can run code when it is loaded: it is not read",
                f"save the adapter as {WEIGHTS}: save_pretrained of PEFT writes that",
            )
    for needed in (CONFIG, WEIGHTS):
        if needed not in names:
            raise ArtifactError(f"{folder} has no {needed}", _TAKEN)


def check_config(config: Mapping[str, Any], source: str) -> tuple[str, ...]:
    """Refuse a config that asks for more than a path beside projections. Returns remarks on it.

    Raises:
        ArtifactError: it asks for more; the message says for what.
    """
    kind = str(config.get("peft_type", "")).upper()
    if kind != "LORA":
        problem = f"is of the type {kind}" if kind else "does not say of what type it is"
        raise ArtifactError(
            f"the adapter in {source} {problem}", "LoRA adapters are read here, rsLoRA and DoRA among them"
        )
    for name, problem in _REFUSED.items():
        if config.get(name):
            listed = config[name] if name == "modules_to_save" and isinstance(config[name], list) else ()
            named = f": {', '.join(map(str, listed))}" if listed else ""
            raise ArtifactError(
                f"the adapter in {source} {problem}{named} ({name})", "adapters of plain LoRA can be loaded"
            )
    if config.get("bias", "none") != "none":
        raise ArtifactError(
            f"the adapter in {source} replaces the model's own biases (bias: {config['bias']})",
            "train it with bias none; lora_bias is a bias of the adapter's own",
        )
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_MUTATING):
        raise ArtifactError(
            f"the adapter in {source} began as {start}, which changed the model's own weights as well",
            "save it with PEFT's path_initial_model_for_weight_conversion, which makes a LoRA of it",
        )
    return _unknown(config)


def _unknown(config: Mapping[str, Any]) -> tuple[str, ...]:
    """A remark on unknown fields of a config, from a newer PEFT or another program."""
    odd = sorted(name for name, value in config.items() if value and name not in _KNOWN)
    return (f"its config also has {', '.join(odd)}, which is ignored",) if odd else ()


def hashed(folder: Path, meter: Meter | None = None) -> str:
    """sha256 over the two files of a folder, each with its length before it."""
    digest = sha256()
    for name in (CONFIG, WEIGHTS):
        path = folder / name
        with reading(path) as file:
            digest.update(os.fstat(file.fileno()).st_size.to_bytes(8, "little"))
            while chunk := file.read(CHUNK):
                if meter is not None:
                    meter.reach(meter.done)
                digest.update(chunk)
    return digest.hexdigest()


def scaling_of(config: Mapping[str, Any], module: str, source: str) -> tuple[int, float, float]:
    """The rank and alpha that a config gives a projection, and the factor of its product."""
    rank = _by_pattern(config.get("rank_pattern"), module, config.get("r", 8))
    alpha = _by_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha", 8))
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank < _LARGEST:
        raise ArtifactError(
            f"the config in {source} gives {module} the rank {repr(rank)[:40]}", "a rank is a whole number from 1"
        )
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) < _LARGEST:
        raise ArtifactError(
            f"the config in {source} gives {module} the alpha {repr(alpha)[:40]}", "an alpha is a number"
        )
    return rank, float(alpha), alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _by_pattern(patterns: object, module: str, usual: Any) -> Any:
    """The value of the first pattern that fits, matched as in PEFT: against the end of a name, at a dot.

    Most patterns are names of modules. All others run in the sandbox, since they come from a file.
    """
    if isinstance(patterns, Mapping):
        for pattern, value in patterns.items():
            if _NAME.fullmatch(pattern):
                if re.match(rf"(.*\.)?({pattern})$", module):
                    return value
            elif _fits(pattern, module):
                return value
    return usual


def _fits(pattern: str, module: str) -> bool:
    try:
        return expressions.first(rf"\A(.*\.)?({pattern})$", module) is not None
    except expressions.Malformed as error:
        raise ArtifactError(f"its config has the invalid pattern {pattern!r}: {error}", _NAMED) from error
    except expressions.TooSlow as error:
        raise ArtifactError(f"its config has the pattern {pattern!r}, which {error}", _NAMED) from error


def _factors(path: Path, config: Mapping[str, Any], meter: Meter | None) -> dict[str, LoraFactors]:
    by_module: dict[str, dict[str, Tensor]] = {}
    with reported("read", check_regular(path), READABLE):
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118
                    module, part = _place(name, path)
                    if meter is not None:
                        meter.reach(meter.done)
                    by_module.setdefault(module, {})[part] = _checked(file.get_tensor(name), name, path)
        except SafetensorError as error:
            raise ArtifactError(f"{path} is not a safetensors file, or is damaged: {error}", _TAKEN) from error
    if not by_module:
        raise ArtifactError(f"{path} holds no weights", _TAKEN)
    return {module: _fitted(module, parts, config, path) for module, parts in by_module.items()}


def _place(name: str, path: Path) -> tuple[str, str]:
    match = _PART.fullmatch(name)
    if match is not None:
        return match["module"], _FIELDS.get(match["part"], "magnitude")
    if "lora_embedding" in name or "embed" in name or ".base_layer." in name:  # PEFT writes these with their weights
        raise ArtifactError(f"the adapter in {path.parent} changes the embedding or the head: {name}", _ON_PROJECTIONS)
    raise ArtifactError(f"{path} holds '{name}', which is not part of a LoRA", _TAKEN)


def _checked(tensor: Tensor, name: str, path: Path) -> Tensor:
    if not tensor.dtype.is_floating_point:
        raise ArtifactError(f"'{name}' of {path} is of {tensor.dtype}, and weights are floating point")
    tensor = tensor.float()
    if not torch.isfinite(tensor).all():
        raise ArtifactError(f"'{name}' of {path} has a number that is not finite", "its training has diverged")
    return tensor


def _fitted(module: str, parts: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> LoraFactors:
    """The path of one projection, its factors checked against each other and against the config."""
    for part, factor in (("a", "lora_A"), ("b", "lora_B")):
        if part not in parts:
            raise ArtifactError(f"{path} has no {factor} of {module}", "the adapter is incomplete: fetch it again")
    a, b = parts["a"], parts["b"]
    rank, alpha, scaling = scaling_of(config, module, str(path.parent))
    if a.ndim != 2 or b.ndim != 2 or len(a) != b.shape[1]:
        raise ArtifactError(f"the factors of {module} in {path} do not fit: {list(a.shape)} and {list(b.shape)}")
    if len(a) != rank:
        raise ArtifactError(f"{module} has rank {len(a)} in {path}, and rank {rank} in {CONFIG}")
    for what in ("bias", "magnitude"):
        if what in parts and parts[what].shape != (len(b),):
            raise ArtifactError(f"the {what} of {module} in {path} has shape {list(parts[what].shape)}, not [{len(b)}]")
    for what, key in (("bias", "lora_bias"), ("magnitude", "use_dora")):
        if (what in parts) != bool(config.get(key)):
            has = "has a" if what in parts else "has no"
            raise ArtifactError(f"{module} in {path} {has} {what}, and {key} is {bool(config.get(key))} in {CONFIG}")
    return LoraFactors(a, b, scaling, alpha, parts.get("bias"), parts.get("magnitude"))
