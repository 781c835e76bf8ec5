"""A path is what a sender does through one receiver alone: checked against passes in which the rest is held by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from sessions.errors import UsageError
from sessions.model.hooks import before, count_hooks, on_states, together
from sessions.model.info import Token
from sessions.model.opening import OpenModel, adopt
from sessions.model.target import Target
from sessions.model.units import Unit
from sessions.patching.patches import Piece, SiteAt
from sessions.patching.paths import Paths, Receiver, path_sites
from sessions.patching.replaying import recorded
from tests.families import tiny, tiny_tokenizer

CLEAN = (1, *range(10, 22))
CORRUPT = (*CLEAN[:3], 40, *CLEAN[4:])
TARGET = Target(tokens=(Token(10, ""),), counterfactual=Token(20, ""))
FAMILIES = ["llama", "gpt2", "gemma2", "qwen3", "phi3", "olmo2"]


@cache
def model(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def sender(unit: str) -> tuple[Piece, ...]:
    parsed = Unit.parse(unit)
    at = SiteAt("heads" if parsed.kind == "head" else "neurons", parsed.layer)
    return tuple(Piece(at, position, parsed.index) for position in range(len(CLEAN)))


def by_path(opened: OpenModel, senders: list[str], receiver: str) -> list[float]:
    """The target in the corrupt prompt by each path."""
    pieces = [sender(unit) for unit in senders]
    sites = tuple(dict.fromkeys(piece.at for some in pieces for piece in some))
    base = recorded(opened, CORRUPT, TARGET, (*path_sites(opened.anatomy), *sites))
    other = recorded(opened, CLEAN, TARGET, sites)
    paths = Paths(opened, base, other, Receiver.parse(receiver), TARGET, batch=40)
    return [value for _, values in paths.values(pieces) for value in values]


@torch.inference_mode()
def outputs(opened: OpenModel, ids: tuple[int, ...]) -> dict[tuple[str, int], Tensor]:
    """What each layer's attention and MLP add, and the inputs of the output projections and of the down projections."""
    seen: dict[tuple[str, int], Tensor] = {}

    def keep(name: str, layer: int) -> Callable[[Tensor], Tensor]:
        def record(values: Tensor) -> Tensor:
            seen[name, layer] = values.clone()
            return values

        return record

    hooks = []
    for layer, parts in enumerate(opened.anatomy.layers):
        assert parts.heads is not None
        hooks += [on_states(opened.anatomy, layer, site, keep(site, layer)) for site in ("attn_out", "mlp_out")]
        hooks += [
            before(parts.heads.output, keep("heads", layer)),
            before(parts.sites[0].module, keep("neurons", layer)),
        ]
    with together(hooks):
        logits = opened.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
    seen["value", 0] = logits[10] - logits[20]
    return seen


@torch.inference_mode()
def held(opened: OpenModel, hooks: list[object], layer: int, kind: str) -> tuple[float, Tensor]:
    """The target of the corrupt prompt under hooks, and what the heads or neurons of a layer hold."""
    heard: list[Tensor] = []
    parts = opened.anatomy.layers[layer]
    assert parts.heads is not None
    module = parts.heads.output if kind == "heads" else parts.sites[0].module

    def hear(values: Tensor) -> Tensor:
        heard.append(values.clone())
        return values

    with together([*hooks, before(module, hear)]):
        logits = opened.model(torch.tensor([CORRUPT]), use_cache=False).logits[0, -1]
    return float(logits[10] - logits[20]), heard[0]


def replaced(part: slice, by: Tensor) -> Callable[[Tensor], Tensor]:
    def change(values: Tensor) -> Tensor:
        changed = values.clone()
        changed[..., part] = by[..., part]
        return changed

    return change


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("receiver", ["logits", "L2/H1", "L2/N5"])
def test_a_path_is_the_direct_one_with_all_else_frozen(family: str, receiver: str) -> None:
    opened = model(family)
    clean, corrupt = outputs(opened, CLEAN), outputs(opened, CORRUPT)
    heads = opened.anatomy.layers[0].heads
    assert heads is not None
    part = slice(2 * heads.d_head, 3 * heads.d_head)
    hooks: list[object] = [before(heads.output, replaced(part, clean["heads", 0]))]
    for layer in range(3):
        for site in ("attn_out", "mlp_out"):
            if (site, layer) != ("attn_out", 0):
                hooks.append(on_states(opened.anatomy, layer, site, replaced(slice(None), corrupt[site, layer])))
    end = Receiver.parse(receiver).unit
    kind = "neurons" if end is not None and end.kind == "neuron" else "heads"
    value, became = held(opened, hooks, 2, kind)
    if end is not None:
        last = opened.anatomy.layers[2]
        assert last.heads is not None
        width = last.heads.d_head if kind == "heads" else 1
        module = last.heads.output if kind == "heads" else last.sites[0].module
        there = slice(end.index * width, (end.index + 1) * width)
        value, _ = held(opened, [before(module, replaced(there, became))], 2, kind)
    found = by_path(opened, ["L0/H2"], receiver)
    assert found == pytest.approx([value], abs=1e-4)
    assert found != pytest.approx([float(corrupt["value", 0])], abs=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_receives_by_its_query_key_and_value(family: str) -> None:
    """The last position's query attends as in the base where only keys or values change, and the inputs differ."""
    opened = model(family)
    hooks, attention = count_hooks(opened.model), opened.model.config._attn_implementation
    whole, *inputs = (by_path(opened, ["L0/H2", "L0/N5"], f"L2/H1{end}") for end in ("", ".q", ".k", ".v"))
    corrupt = float(outputs(opened, CORRUPT)["value", 0])
    for parts in zip(whole, *inputs, strict=True):
        assert len({round(value, 6) for value in parts}) == 4
        # To first order, what the head becomes is the sum of what it becomes by each input.
        together, alone = parts[0] - corrupt, sum(value - corrupt for value in parts[1:])
        assert alone == pytest.approx(together, rel=0.6, abs=5e-3)
    assert (count_hooks(opened.model), opened.model.config._attn_implementation) == (hooks, attention)


def test_senders_of_several_layers_are_rows_of_one_batch() -> None:
    opened = model("llama")
    units = ["L0/H2", "L1/H0", "L0/N5", "L1/N7"]
    assert by_path(opened, units, "L2/H1.k") == pytest.approx(
        [by_path(opened, [unit], "L2/H1.k")[0] for unit in units], abs=1e-5
    )


def test_no_path_leads_down() -> None:
    anatomy = model("llama").anatomy
    for receiver, unit in (("L1/H0", "L1/H2"), ("L1/H0", "L1/N3"), ("L1/N0", "L1/N3"), ("L0/N0", "L1/H0")):
        with pytest.raises(UsageError, match="no path leads there"):
            Receiver.parse(receiver).check(anatomy, [Unit.parse(unit)])
    Receiver.parse("L1/N0").check(anatomy, [Unit.parse("L1/H2"), Unit.parse("L0/N3")])
    for text in ("L1/N3.q", "L1/H3.x", "L1/H3@4", "L1/E2", "nothing"):
        with pytest.raises(UsageError):
            Receiver.parse(text)
