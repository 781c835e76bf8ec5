"""Patterns are those that the model itself computes, in every family."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from sessions.errors import ModelError, NotFinite, UsageError
from sessions.heads.patterns import MOST_AT_ONCE, read_patterns
from sessions.interventions.arms import Condition
from sessions.interventions.intervention import Intervention
from sessions.model import attention_calls
from sessions.model.hooks import count_hooks
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel, adopt
from sessions.model.tokens import encode
from sessions.model.units import Unit
from tests.families import ALL, WINDOW, tiny, tiny_tokenizer

IDS = torch.randint(4, 64, (24,), generator=torch.Generator().manual_seed(1)).tolist()


def opened(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def patterns(model: OpenModel, ids: Sequence[int] = IDS, *live: Intervention) -> dict[int, Tensor]:
    """The patterns of all layers that have heads, `[heads, seq, seq]`."""
    row = encode(model.tokenizer, Prompt(text="", exact=tuple(ids))), Condition("", live)
    layers = [number for number, count in enumerate(model.anatomy.counts("head")) if count]
    blocks: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    read_patterns(model, row, ids, layers, lambda layer, first, weights: blocks[layer].append(weights))
    return {layer: torch.cat(parts, 1) for layer, parts in blocks.items()}


@pytest.mark.parametrize("family", ALL)
def test_a_pattern_is_the_one_that_transformers_returns(family: str) -> None:
    model = opened(family)
    read = patterns(model)
    for config in {id(m.config): m.config for m in model.model.modules() if hasattr(m, "config")}.values():
        config._attn_implementation = "eager"
    own = model.model(torch.tensor([IDS]), output_attentions=True, use_cache=False).attentions
    own = [weights for weights in own if weights is not None]
    if len(own) > len(read):
        own = [own[layer] for layer in read]
    for weights, expected in zip(read.values(), own, strict=True):
        assert torch.equal(weights, expected[0])


@pytest.mark.parametrize("family", ALL)
def test_a_query_spends_all_of_its_weight_on_what_came_before(family: str) -> None:
    for weights in patterns(opened(family)).values():
        assert not weights.triu(1).any()
        totals = weights.sum(-1)
        if family == "gpt_oss":  # its sinks take a part of every query
            assert bool((totals < 0.9999).any()) and bool((totals > 0).all()) and bool((totals < 1).all())
        else:
            torch.testing.assert_close(totals, torch.ones_like(totals))


@pytest.mark.parametrize("family", ["gemma3", "mistral", "gpt_neo"])
def test_beyond_a_sliding_window_there_is_no_weight(family: str) -> None:
    weights = patterns(opened(family))[1 if family == "gpt_neo" else 0]
    assert not weights.tril(-WINDOW).any()
    assert weights.tril(1 - WINDOW).any()


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_oss", "gpt2"])
def test_a_long_text_is_read_in_blocks_and_says_the_same(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(family)
    whole = patterns(model)
    monkeypatch.setattr(attention_calls, "PATTERN", 4 * len(IDS) * 5)
    for layer, weights in patterns(model).items():
        torch.testing.assert_close(weights, whole[layer])


def test_a_family_that_keeps_whole_patterns_is_read_up_to_a_length() -> None:
    model = opened("bloom")
    with pytest.raises(UsageError, match="'bloom' computes a whole pattern at once"):
        patterns(model, IDS[:1] * (MOST_AT_ONCE + 1))
    assert count_hooks(model.model) == 0 and model.model.config._attn_implementation == "eager"


def test_what_is_live_is_in_force() -> None:
    model = opened("llama")
    off = Intervention((Unit(0, 2, kind="head"),), 0.0)
    plain, changed = patterns(model), patterns(model, IDS, off)
    assert torch.equal(plain[0], changed[0])
    assert not torch.allclose(plain[1], changed[1])


def test_a_layer_without_heads_is_named() -> None:
    model = opened("jamba")
    row = encode(model.tokenizer, Prompt(text="", exact=tuple(IDS))), Condition("", ())
    with pytest.raises(ModelError, match="layer 0 has no attention heads"):
        read_patterns(model, row, IDS, [0], lambda *_: None)


def test_a_pattern_that_is_not_a_number_is_an_error_and_leaves_nothing_behind() -> None:
    model = opened("llama")
    model.model.model.layers[1].self_attn.q_proj.weight.data[:] = torch.nan
    with pytest.raises(NotFinite, match="layer 1"):
        patterns(model)
    assert count_hooks(model.model) == 0 and model.model.config._attn_implementation == "sdpa"
