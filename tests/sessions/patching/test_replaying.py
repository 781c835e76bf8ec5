"""Patching by replay is patching one by one with plain hooks, on every family; and skips what cannot change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.errors import Cancelled, ModelError
from sessions.model.hooks import before, count_hooks, on_neurons, on_states, together
from sessions.model.info import Token
from sessions.model.opening import OpenModel, adopt
from sessions.model.target import Target
from sessions.patching.patches import STATES, Patch, PatchSite, Piece, SiteAt
from sessions.patching.replaying import Recording, Replay, recorded
from tests.families import DENSE, tiny, tiny_tokenizer

CLEAN = (1, *range(10, 22))
CORRUPT = (*CLEAN[:3], 40, *CLEAN[4:7], 41, *CLEAN[8:])
TARGET = Target(tokens=(Token(10, ""),), counterfactual=Token(20, ""))
FAMILIES = (*DENSE, "mixtral", "bloom", "falcon", "granite", "phi3-longrope", "deepseek_v3", "qwen3_next")


@cache
def model(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def recordings(opened: OpenModel, site: PatchSite) -> tuple[Recording, Recording]:
    """The corrupt run and the clean one."""
    sites = [SiteAt(site, layer) for layer in range(opened.anatomy.n_layers)]
    corrupt, clean = (recorded(opened, ids, TARGET, sites) for ids in (CORRUPT, CLEAN))
    return corrupt, clean


def replayed(opened: OpenModel, site: PatchSite, patches: Sequence[Patch], batch: int = 100) -> list[float]:
    """The target with each patch, in small batches."""
    values = [float("nan")] * len(patches)
    for numbers, some in Replay(opened, *recordings(opened, site), TARGET, batch=batch).values(patches):
        for number, value in zip(numbers, some, strict=True):
            values[number] = value
    return values


@torch.inference_mode()
def by_hook(opened: OpenModel, patch: Patch, clean: Recording) -> float:
    """The target of the corrupt prompt with one patch, in a whole pass with hooks that know nothing of replaying."""

    def put(at: SiteAt) -> object:
        def change(values: Tensor, _: object = None) -> Tensor:
            apart = values.clone().reshape(len(CORRUPT), -1)
            width = clean.states[at].shape[-1]
            for piece in patch:
                if piece.at == at:
                    begin = piece.part * width
                    apart[piece.position, begin : begin + width] = clean.states[at][piece.position, piece.part]
            return apart.reshape(values.shape)

        parts = opened.anatomy.layers[at.layer]
        if at.site == "neurons":
            return on_neurons(parts.sites[0], change)
        if at.site == "heads":
            assert parts.heads is not None
            return before(parts.heads.output, change)
        return on_states(opened.anatomy, at.layer, at.site, change)

    with together(put(at) for at in {piece.at for piece in patch}):
        logits = opened.model(torch.tensor([CORRUPT]), use_cache=False).logits[0, -1].float()
    return float(logits[10] - logits[20])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_state_is_patched_as_by_a_hook_alone(family: str) -> None:
    opened = model(family)
    for site in STATES:
        places = [SiteAt(site, layer) for layer in range(opened.anatomy.n_layers)]
        patches = [(Piece(place, at),) for place in places for at in range(len(CLEAN))]
        try:
            _, clean = recordings(opened, site)
        except ModelError as error:
            assert "no one place" in error.message
            continue
        one_by_one = [by_hook(opened, patch, clean) for patch in patches]
        assert replayed(opened, site, patches) == pytest.approx(one_by_one, abs=1e-4)


@pytest.mark.parametrize("site", ["neurons", "heads"])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma4", "gpt2", "opt", "phi3"])
def test_units_are_patched_as_by_hooks_alone_and_together(family: str, site: PatchSite) -> None:
    opened = model(family)
    everywhere = [
        tuple(Piece(SiteAt(site, layer), at, part) for at in range(len(CLEAN)))
        for layer in range(opened.anatomy.n_layers)
        for part in (0, 1, 3)
    ]
    together = tuple(piece for patch in everywhere for piece in patch)
    patches = [*everywhere, together, (Piece(SiteAt(site, 1), 5, 3), Piece(SiteAt(site, 2), 9, 2))]
    _, clean = recordings(opened, site)
    one_by_one = [by_hook(opened, patch, clean) for patch in patches]
    assert replayed(opened, site, patches) == pytest.approx(one_by_one, abs=1e-4)


@pytest.mark.parametrize("site", ["mlp_out", "attn_out", "resid_post"])
def test_a_window_of_layers_is_patched_as_by_hooks(site: PatchSite) -> None:
    opened = model("llama")
    windows = [tuple(Piece(SiteAt(site, layer), at) for layer in range(3)) for at in range(len(CLEAN))]
    _, clean = recordings(opened, site)
    one_by_one = [by_hook(opened, patch, clean) for patch in windows]
    assert replayed(opened, site, windows) == pytest.approx(one_by_one, abs=1e-4)


def test_all_heads_of_a_layer_are_what_its_attention_writes() -> None:
    opened = model("llama")
    heads = [tuple(Piece(SiteAt("heads", 1), at, head) for head in range(4)) for at in range(len(CLEAN))]
    outputs = [(Piece(SiteAt("attn_out", 1), at),) for at in range(len(CLEAN))]
    assert replayed(opened, "heads", heads) == pytest.approx(replayed(opened, "attn_out", outputs), abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma4", "bloom"])
def test_patching_all_positions_of_a_layer_restores_the_clean_target(family: str) -> None:
    opened = model(family)
    corrupt, clean = recordings(opened, "resid_post")
    last = opened.anatomy.n_layers - 1
    whole = tuple(Piece(SiteAt("resid_post", layer), at) for layer in range(last + 1) for at in range(len(CLEAN)))
    (value,) = replayed(opened, "resid_post", [whole])
    assert value == pytest.approx(clean.value, abs=1e-4)
    assert abs(corrupt.value - clean.value) > 1e-2


def test_what_both_prompts_hold_alike_needs_no_pass() -> None:
    opened = model("llama")
    corrupt, clean = recordings(opened, "resid_pre")
    first, *_ = layers = [SiteAt("resid_pre", layer) for layer in range(3)]
    patches = [(Piece(layer, at),) for layer in layers for at in range(3)]  # before the first difference
    patches += [(Piece(first, at),) for at in range(len(CLEAN)) if CLEAN[at] == CORRUPT[at]]  # equal embeddings
    calls: list[object] = []
    handle = opened.anatomy.decoder.register_forward_pre_hook(lambda *_: calls.append(None))
    try:
        for _, values in Replay(opened, corrupt, clean, TARGET).values(patches):
            assert values == [corrupt.value] * len(patches)
    finally:
        handle.remove()
    assert not calls


def test_a_piece_that_both_hold_alike_holds_what_another_one_changes() -> None:
    opened = model("llama")
    below, above = SiteAt("mlp_out", 0), SiteAt("mlp_out", 1)
    patch = (Piece(below, 7), Piece(above, 7))
    corrupt, clean = recordings(opened, "mlp_out")
    alike = replace(corrupt, states={**corrupt.states, above: clean.states[above]})
    ((_, (value,)),) = Replay(opened, alike, clean, TARGET).values([patch])
    assert value == pytest.approx(by_hook(opened, patch, clean), abs=1e-4)
    assert value != pytest.approx(by_hook(opened, patch[:1], clean), abs=1e-4)


def test_a_cancelled_replay_leaves_no_hook() -> None:
    opened, cancel = model("llama"), Cancel()
    hooks = count_hooks(opened.model)
    replay = Replay(opened, *recordings(opened, "resid_pre"), TARGET, batch=20, cancel=cancel)
    steps = replay.values([(Piece(SiteAt("resid_pre", 2), at),) for at in range(3, len(CLEAN))])
    next(steps)
    cancel.request()
    with pytest.raises(Cancelled):
        next(steps)
    assert count_hooks(opened.model) == hooks


def test_neurons_of_experts_are_refused() -> None:
    with pytest.raises(ModelError, match="mixture of experts"):
        recordings(model("mixtral"), "neurons")
