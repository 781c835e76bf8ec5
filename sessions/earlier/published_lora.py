"""Finds the factors of a LoRA in a state dictionary that `torch.save` wrote.

A key is the path of a projection and the name of a factor, with the prefixes and suffixes of a framework:

    base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight      PEFT
    layers.0.self_attn.q_proj.lora_down.weight                                  others

`lora_A` (or `lora_down`) is `[r, in]`, and `lora_B` (or `lora_up`) is `[out, r]`. The tensors do not determine alpha:
it stands beside them in the file, or the user gives it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from safetensors.torch import save as tensors_as_bytes
from torch import Tensor

from sessions.errors import ArtifactError, UsageError

_KEY = re.compile(r"(?P<path>.+?)\.(?P<factor>lora_A|lora_B|lora_down|lora_up)(?:\.\w+)*")
_FACTORS = {"lora_A": "lora_A", "lora_down": "lora_A", "lora_B": "lora_B", "lora_up": "lora_B"}
_ALPHAS = ("lora_alpha", "alpha")


@dataclass(frozen=True, eq=False)
class Lora:
    """The factors `lora_A` `[r, in]` and `lora_B` `[out, r]` of each projection, by its path in the file.

    `alpha` is the file's own, None if it has none.
    """

    factors: Mapping[str, Mapping[str, Tensor]]
    alpha: float | None

    def as_peft(self, modules: Collection[str], alpha: float | None, source: str) -> tuple[dict[str, Any], bytes]:
        """The configuration and the weights of a PEFT folder for a model with these modules.

        Raises:
            UsageError: neither the file nor the user gives alpha.
            ArtifactError: a projection is not one of the model's, or the ranks differ.
        """
        alpha = self.alpha if alpha is None else alpha
        if alpha is None:
            raise UsageError(f"{source} does not say the alpha that its LoRA was trained with", "say it: --alpha 16")
        ranks = {len(factors["lora_A"]) for factors in self.factors.values()}
        if len(ranks) > 1:
            raise ArtifactError(f"{source} has factors of the ranks {', '.join(map(str, sorted(ranks)))}: one is read")
        named = {_module(path, modules, source): factors for path, factors in self.factors.items()}
        weights = {
            f"base_model.model.{name}.{factor}.weight": tensor.contiguous()
            for name, factors in named.items()
            for factor, tensor in factors.items()
        }
        config = {"peft_type": "LORA", "r": ranks.pop(), "lora_alpha": alpha, "target_modules": sorted(named)}
        return config, tensors_as_bytes(weights, metadata={"format": "pt"})


def lora_in(contents: Mapping[Any, Any], source: str) -> Lora | None:
    """The LoRA in a dictionary, or in a dictionary within it; None if there is none.

    Raises:
        ArtifactError: a projection lacks one of its factors, or the factors do not fit each other.
    """
    by_path: dict[str, dict[str, Tensor]] = {}
    for key, value in (item for part in (contents, *_within(contents)) for item in part.items()):
        match = _KEY.fullmatch(key) if isinstance(key, str) and isinstance(value, Tensor) else None
        if match is not None:
            by_path.setdefault(match["path"], {})[_FACTORS[match["factor"]]] = _matrix(value, f"{source}: {key}")
    for path, factors in by_path.items():
        if len(factors) < 2:
            raise ArtifactError(f"{source} has only {next(iter(factors))} of {path}", "a LoRA has lora_A and lora_B")
        if len(factors["lora_A"]) != factors["lora_B"].shape[1]:
            shapes = " and ".join(str(list(factors[name].shape)) for name in ("lora_A", "lora_B"))
            raise ArtifactError(f"{source} has factors of {path} that do not fit each other: {shapes}")
    return Lora(by_path, _alpha(contents)) if by_path else None


def _within(contents: Mapping[Any, Any]) -> list[Mapping[Any, Any]]:
    return [value for value in contents.values() if isinstance(value, Mapping)]


def _alpha(contents: Mapping[Any, Any]) -> float | None:
    values = (part.get(key) for part in (contents, *_within(contents)) for key in _ALPHAS)
    numbers = (value for value in values if isinstance(value, int | float) and not isinstance(value, bool))
    return next(map(float, numbers), None)


def _matrix(value: Tensor, what: str) -> Tensor:
    if value.ndim != 2 or not value.is_floating_point() or value.is_sparse:
        raise ArtifactError(f"{what} is a tensor of {list(value.shape)} {value.dtype}, and a factor is a matrix")
    if not bool(value.isfinite().all()):
        raise ArtifactError(f"{what} has a number that is not finite")
    return value.detach()


def _module(path: str, modules: Collection[str], source: str) -> str:
    """The name of the open model's module that a path ends in; frameworks put prefixes before it."""
    parts = path.split(".")
    for start in range(len(parts)):
        name = ".".join(parts[start:])
        if name in modules:
            return name
    ending = [name for name in modules if name.endswith(f".{path}")]
    if len(ending) != 1:
        raise ArtifactError(
            f"{source} has factors of {path}, which this model does not have", "open the model it is of"
        )
    return ending[0]
