"""One adapter out of several, each with its weight: PEFT's `add_weighted_adapter`, projection by projection.

    cat      factors side by side: exactly Σ wᵢ sᵢ Bᵢ Aᵢ, of the sum of their ranks
    svd      the closest product of a lower rank to that sum
    linear   (Σ √(wᵢsᵢ) Bᵢ)(Σ √(wᵢsᵢ) Aᵢ): of the rank they all have, and with products of one's B and another's A in it
    ties, dare_linear, dare_ties, magnitude_prune, and each of them with _svd: numbers dropped, signs voted on, as in
             Yadav et al. 2023 (arXiv:2306.01708) and Yu et al. 2023 (arXiv:2311.03099)

Only the first is the exact sum of the members. `off` is the distance of a result from that sum, ‖difference‖ / ‖sum‖
over all projections. PEFT works on a stand-in for one projection at a time, without weights of the model: the open
model is not touched, and the work can be cancelled between two projections.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor, nn

from sessions.adapters.adapter_store import AdapterStore
from sessions.adapters.combinations import DENSITY, drops
from sessions.adapters.folders import Contents, LoraFactors
from sessions.adapters.wrapping import quiet
from sessions.artifacts import check_model
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.events import Steps
from sessions.model.background import Meter, first_line, in_background
from sessions.model.info import ModelInfo

_NEED_EQUAL = ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
_INSIDE = "sum"


class Member(NamedTuple):
    """An adapter of an ensemble, and its weight."""

    name: str
    weight: float
    contents: Contents


class Ensemble(NamedTuple):
    """The combined adapter: its config, its file, and the distance of its products from the weighted sum."""

    config: dict[str, Any]
    weights: bytes
    off: float


@dataclass(frozen=True)
class How:
    """How members are combined: `rank` of an svd (None: their largest), `density` the share of numbers that stay, `rng`
    the seed of those that are drawn."""

    combination: str = "cat"
    rank: int | None = None
    density: float = DENSITY
    rng: int = 0


def read_members(
    weights: Sequence[tuple[str, float]], shelf: AdapterStore, info: ModelInfo, *, force: bool = False
) -> Steps[tuple[list[Member], list[str]]]:
    """The saved adapters of these names, with their weights, and remarks on those of another model.

    Raises:
        ArtifactError: one is missing, damaged, or made on another model, and `force` is off.
    """

    def read(meter: Meter) -> tuple[list[Member], list[str]]:
        members, notes = [], []
        for name, weight in weights:
            kept = shelf.read(name, meter)
            if kept.about.fingerprint:
                notes.append(check_model(kept.about.fingerprint, kept.about.model, info.fingerprint, info.name, force))
            members.append(Member(name, weight, kept.contents))
        return members, [note for note in notes if note]

    return (yield from in_background(read, "reading the adapters"))


def ensemble(members: Sequence[Member], how: How) -> Steps[Ensemble]:
    """Combine adapters.

    Raises:
        UsageError: their ranks differ, and the combination needs equal ones.
        ArtifactError: they are for models of other shapes.
        ModelError: one is more than a product of factors.
    """
    check(members, how)
    return (yield from in_background(lambda meter: _combined(members, how, meter), "combining", "projections"))


def check(members: Sequence[Member], how: How) -> None:
    """Refuse members that cannot be combined. Raises as `ensemble`."""
    for member in members:
        if member.contents.is_dora or member.contents.has_bias:
            what = "is a DoRA" if member.contents.is_dora else "has biases of its own"
            raise ModelError(f"adapter '{member.name}' {what}, and an ensemble is of plain LoRA", "leave it out")
    if not any(member.weight for member in members):
        raise UsageError("all weights are 0: nothing would be left", "give one of them a weight: a=0.5")
    for module, parts in _by_module(members).items():
        first, factors = parts[0][0], parts[0][2]
        for name, _, other in parts[1:]:
            if other.shape != factors.shape:
                raise ArtifactError(
                    f"'{first}' and '{name}' are for different models: {module} is {list(factors.shape)} and "
                    f"{list(other.shape)}",
                    "an ensemble is of adapters of one model",
                )
            if how.combination in _NEED_EQUAL and other.rank != factors.rank:
                raise UsageError(
                    f"{how.combination} needs equal ranks, and '{first}' has {factors.rank} where '{name}' has "
                    f"{other.rank} ({module})",
                    f"--combination cat or {'svd' if how.combination == 'linear' else f'{how.combination}_svd'}",
                )


def _by_module(members: Sequence[Member]) -> dict[str, list[tuple[str, float, LoraFactors]]]:
    by_module: dict[str, list[tuple[str, float, LoraFactors]]] = {}
    for name, weight, contents in members:
        for module, factors in contents.factors.items():
            by_module.setdefault(module, []).append((name, weight, factors))
    return by_module


def _combined(members: Sequence[Member], how: How, meter: Meter) -> Ensemble:
    parts = _by_module(members)
    meter.total = len(parts)
    made: dict[str, LoraFactors] = {}
    squares = off = 0.0
    with torch.random.fork_rng(devices=[]), torch.no_grad(), quiet():
        torch.manual_seed(how.rng)
        for number, (module, of) in enumerate(parts.items()):
            meter.reach(number)
            made[module] = _one(of, how)
            whole = [(factors.b * (weight * factors.scaling), factors.a) for _, weight, factors in of]
            squares += _squares(whole)
            off += _squares([*whole, (-made[module].b * made[module].scaling, made[module].a)])
    distance = math.sqrt(max(off, 0.0) / squares) if squares > 0 else 0.0
    return Ensemble(_config(members, made), _file(made), distance)


def _one(parts: Sequence[tuple[str, float, LoraFactors]], how: How) -> LoraFactors:
    """Several paths of one projection combined into one by PEFT."""
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    alone = _Alone(parts[0][2].shape)
    names = [f"m{number}" for number in range(len(parts))]
    for name, (_, _, factors) in zip(names, parts, strict=True):
        config = LoraConfig(r=factors.rank, lora_alpha=factors.scaling * factors.rank, target_modules=["projection"])
        tuner = LoraModel(alone, config, name)
        layer: Any = alone.projection
        layer.lora_A[name].weight, layer.lora_B[name].weight = nn.Parameter(factors.a), nn.Parameter(factors.b)
        layer.scaling[name] = factors.scaling
    try:
        tuner.add_weighted_adapter(
            names,
            [weight for _, weight, _ in parts],
            _INSIDE,
            combination_type=how.combination,
            svd_rank=how.rank,
            svd_full_matrices=False,
            density=how.density if drops(how.combination) else None,
        )
    except (ValueError, RuntimeError, TypeError) as error:
        raise ModelError(f"PEFT cannot combine them: {first_line(error)}", "try --combination cat") from error
    a, b = layer.lora_A[_INSIDE].weight.data, layer.lora_B[_INSIDE].weight.data
    return LoraFactors(a.float().contiguous(), b.float().contiguous(), layer.scaling[_INSIDE], float(len(a)))


class _Alone(nn.Module):
    """A model of one projection, whose weights are a single expanded zero."""

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__()
        self.projection = nn.Linear(shape[1], shape[0], bias=False, device="meta")
        self.projection.weight = nn.Parameter(torch.zeros(()).expand(shape), requires_grad=False)


def _squares(products: Sequence[tuple[Tensor, Tensor]]) -> float:
    """‖Σ left right‖², computed from matrices of the size of the ranks."""
    left = torch.cat([factor for factor, _ in products], 1).double()
    right = torch.cat([factor for _, factor in products]).double()
    return float(((left.T @ left) * (right @ right.T)).sum())


def _config(members: Sequence[Member], made: Mapping[str, LoraFactors]) -> dict[str, Any]:
    """A config that PEFT reads. The factors contain the scaling, so alpha equals the rank."""
    rank = max(factors.rank for factors in made.values())
    ranks = {f"^{module.replace('.', '[.]')}": factors.rank for module, factors in made.items() if factors.rank != rank}
    first = members[0].contents.config
    return {
        "peft_type": "LORA",
        "task_type": first.get("task_type") or "CAUSAL_LM",
        "base_model_name_or_path": first.get("base_model_name_or_path"),
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": ranks,
        "alpha_pattern": ranks,
        "target_modules": list(made),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": bool(first.get("fan_in_fan_out")),
        "inference_mode": True,
        "init_lora_weights": True,
        "peft_version": version("peft"),
    }


def _file(made: Mapping[str, LoraFactors]) -> bytes:
    tensors = {}
    for module, factors in made.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = factors.a
        tensors[f"base_model.model.{module}.lora_B.weight"] = (factors.b * factors.scaling).contiguous()
    return save(tensors, {"format": "pt"})
