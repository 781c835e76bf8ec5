"""Where numbers end is said by layer and token, whatever ended them, and nothing of it reaches a result."""

from __future__ import annotations

import math

import pytest

from sessions.errors import NotFinite
from sessions.files.json_text import infinite
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model.distribution import next_logits
from sessions.model.finite import first_lost, locating
from sessions.model.hooks import count_hooks
from sessions.model.info import TokenChance
from sessions.model.opening import OpenModel, adopt
from sessions.model.sites import ExpertSite
from sessions.model.units import Unit
from tests.families import DENSE, MOE, OLD, tiny, tiny_tokenizer

IDS = (1, 9, 27, 17, 51, 5)


def opened(family: str = "llama") -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


@pytest.mark.parametrize("family", [*DENSE, *MOE, *OLD])
def test_a_damaged_layer_is_named_and_so_is_the_token(family: str) -> None:
    model = opened(family)
    assert first_lost(model, [IDS]) is None
    site = model.anatomy.layers[1].sites[0]
    (site.experts.down_proj if isinstance(site, ExpertSite) else site.down.weight).data.fill_(math.nan)
    with pytest.raises(NotFinite, match="layer 1 is the first to compute no number, at token 0, '<s>'") as caught:
        next_logits(model, IDS)
    assert "open a sound copy" in caught.value.hint
    assert count_hooks(model.model) == 0


def test_an_embedding_a_final_norm_and_a_head_are_named_too() -> None:
    model = opened()
    model.anatomy.embeddings[0].weight.data[17] = math.inf
    with pytest.raises(NotFinite, match="the embedding is the first to compute no number, at token 3"):
        next_logits(model, IDS)
    model = opened()
    model.anatomy.final_norm.weight.data[7] = math.nan
    with pytest.raises(NotFinite, match="the final norm is the first to compute no number, at token 0"):
        next_logits(model, IDS)
    model = opened()
    model.anatomy.head.weight.data[7] = math.nan
    with pytest.raises(NotFinite, match="the head is the first to compute no number, at token 5"):
        next_logits(model, IDS)


def test_an_intervention_that_is_too_strong_is_found_where_it_acts() -> None:
    model = opened()
    model.anatomy.layers[0].sites[0].down.weight.data[:, 5] = 100  # else the number is large, and still one
    with (
        intervening(model.anatomy, [Intervention((Unit(0, 5, 4),), 1.0, (3e38,))]),
        pytest.raises(NotFinite) as caught,
    ):
        next_logits(model, IDS)
    assert "layer 0 is the first to compute no number, at token 4" in caught.value.message
    assert caught.value.hint == "use a smaller multiplier or gain"


def test_the_text_with_infinite_numbers_is_named_and_padding_is_ignored() -> None:
    model = opened()
    model.anatomy.embeddings[0].weight.data[51] = math.nan
    lost = first_lost(model, [IDS[:2], IDS])
    assert lost is not None and (lost.where, lost.row, lost.position) == ("the embedding", 1, 4)
    with pytest.raises(NotFinite, match=r"at token 4, .*, of 'b'"), locating(model, [IDS[:2], IDS], ["'a'", "'b'"]):
        raise NotFinite("something is not finite")


def test_where_the_forward_pass_is_sound_the_error_of_the_backward_pass_stands() -> None:
    names = ["'a'", "'b'"]
    with pytest.raises(NotFinite, match=r"^lost on the way back, in 'b'$"), locating(opened(), [IDS, IDS], names):
        raise NotFinite("lost on the way back", row=1)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (1.5, ""),
        (math.nan, "it is nan"),
        ({"rows": [{"effect": 1.0}, {"effect": -math.inf}]}, "rows[1].effect is -inf"),
        ((TokenChance(1, "a", 0.5, 1.0, 1), TokenChance(2, "b", math.nan, 1.0, 2)), "[1].probability is nan"),
        (("inf", None, 3, True, (), {}), ""),
    ],
)
def test_a_number_that_is_not_finite_is_found_anywhere_in_a_result(value: object, path: str) -> None:
    assert infinite(value) == path
