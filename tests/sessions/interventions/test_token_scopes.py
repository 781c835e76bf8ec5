"""Treatments limited to a part of the text: in force there and nowhere else, row by row, with a cache and without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sessions.comparisons.diverging import AT_ONCE, divergences
from sessions.errors import UsageError
from sessions.events import finished
from sessions.interventions.answering import compare, complete_rows
from sessions.interventions.arms import Condition
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import EVERYWHERE, Intervention, Region, TokenScope, refuse_overlaps
from sessions.interventions.token_scopes import Extents
from sessions.model import anatomy
from sessions.model.distribution import next_logits
from sessions.model.generation import Decoding
from sessions.model.hooks import count_hooks
from sessions.model.info import Encoded, Prompt
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from tests.families import DENSE, MOE, tiny, tiny_tokenizer

NEURONS = (Unit(1, 3), Unit(1, 7), Unit(0, 2))
STRONG = 40.0


def opened(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def read(ids: tuple[int, ...], reply: int = 0) -> Encoded:
    return Encoded(
        prompt=Prompt(text="x"), text="x", ids=ids, tokens=("x",) * len(ids), bos=0, templated=False, reply=reply
    )


def change(multiplier: float, label: str, *neurons: Unit, where: TokenScope = EVERYWHERE) -> Intervention:
    return Intervention(neurons or (Unit(1, 3),), multiplier, where=where, label=label)


def logits(model: OpenModel, ids: Sequence[int], treatment: Intervention, extents: Extents) -> torch.Tensor:
    with torch.inference_mode(), intervening(model.anatomy, [treatment], extents):
        return model.model(torch.tensor([list(ids)])).logits[0]


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_before_an_intervention_is_in_force_every_bit_is_unchanged(family: str) -> None:
    """Experts multiply the rows of all tokens that came to them at once: there it is up to the rounding of that."""
    model, tolerance = opened(family), 1e-5 if family in MOE else 0.0
    ids = list(range(4, 14))
    clean = logits(model, ids, Intervention(()), Extents((6,), (6,)))
    for where in (TokenScope("generated"), TokenScope(spans=((6, 9),)), TokenScope("generated", ((7, 7),))):
        changed = logits(model, ids, Intervention(NEURONS, STRONG, where=where), Extents((6,), (6,)))
        first = 7 if where.spans == ((7, 7),) else 6
        torch.testing.assert_close(changed[:first], clean[:first], rtol=tolerance, atol=tolerance)
    prompt = logits(model, ids, Intervention(NEURONS, STRONG, where=TokenScope("prompt")), Extents((10,), (10,)))
    assert torch.equal(prompt, logits(model, ids, Intervention(NEURONS, STRONG), Extents((10,), (10,))))


def test_a_part_of_the_text_is_what_it_is_without_a_cache() -> None:
    """Token for token and step for step, generation under a scope is the full pass over the same text."""
    model = opened("qwen3")
    encoded = read(tuple(range(4, 12)))
    for where in (TokenScope("prompt"), TokenScope("generated"), TokenScope(spans=((3, 9),))):
        treatment = Intervention(NEURONS, STRONG, where=where)
        (arm,), first = finished(compare(model, encoded, [Condition("a", (treatment,))], Decoding(max_tokens=6)))
        whole = logits(model, [*encoded.ids, *arm.ids], treatment, Extents((8,), (8,)))
        assert tuple(whole[7:-1].argmax(-1).tolist()) == arm.ids
        torch.testing.assert_close(whole[7].float(), first[0], atol=1e-4, rtol=1e-4)
        inside = {"prompt": 8, "generated": 5, "all": 7}[where.region]
        assert (arm.read, arm.fired) == (13, inside)


def marked(model: OpenModel, ids: Sequence[int]) -> str:
    return " ".join(f"<{each}>" for each in ids)


@pytest.mark.parametrize("family", ["llama", "gemma3", "mixtral", "gpt2"])
def test_a_gate_opens_in_each_row_at_its_own_step(family: str) -> None:
    """Rows of different lengths, each closing its thought at a different token: every row reads like one alone, whose
    treatment is at the positions that the ids themselves say are the answer."""
    model = opened(family)
    treatment = Intervention(NEURONS, STRONG, where=TokenScope("answer", marker="<17> <18>"))
    rows = [[4, 5, 6, 7], [8, 9, 10, 11, 12, 13], [5, 4]]
    forced = [[20, 17, 18, 21, 22, 23], [17, 18, 20, 20, 20, 20], [17, 20, 18, 17, 17, 20]]
    starts = [len(rows[0]) + 3, len(rows[1]) + 2, None]
    extents = Extents(tuple(map(len, rows)), tuple(map(len, rows)), lambda ids: marked(model, ids))
    seen = []
    with intervening(model.anatomy, [treatment] * 3, extents) as following:
        ids, mask = _padded(rows)
        cache = None
        for step in range(7):
            positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            with torch.inference_mode():
                out = model.model(
                    ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
                )
            seen.append(out.logits[:, -1])
            if step < 6:
                cache, ids = out.past_key_values, torch.tensor([[each[step]] for each in forced])
                mask = torch.cat([mask, mask.new_ones(3, 1)], 1)
        assert [following.closed(row, "<17> <18>") for row in range(3)] == [True, True, False]
        read = [len(row) + 6 for row in rows]
        counts = [following.counted(row, [treatment], read[row]) for row in range(3)]
    assert counts == [0 if start is None else length - start for start, length in zip(starts, read, strict=True)]
    for row, (prompt, more, start) in enumerate(zip(rows, forced, starts, strict=True)):
        spans = ((start, 99),) if start is not None else ((98, 99),)
        alone = logits(
            model, [*prompt, *more], Intervention(NEURONS, STRONG, where=TokenScope(spans=spans)), Extents((1,))
        )
        for step in range(7):
            torch.testing.assert_close(seen[step][row], alone[len(prompt) - 1 + step], atol=2e-4, rtol=1e-3)
    assert count_hooks(model.model) == 0


def _padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(map(len, rows))
    ids = [[0] * (longest - len(row)) + list(row) for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids), torch.tensor(mask)


def test_a_gate_that_never_opens_changes_no_bit_and_an_open_thought_all() -> None:
    model = opened("qwen3")
    encoded = read((4, 5, 6, 7, 8), reply=3)
    never = Intervention(NEURONS, STRONG, where=TokenScope("answer", marker="no such text"))
    thought = Intervention(NEURONS, STRONG, where=TokenScope("thought", marker="no such text"))
    conditions = [Condition("baseline"), Condition("never", (never,)), Condition("thought", (thought,))]
    (clean, shut, open_), first = finished(compare(model, encoded, conditions, Decoding(max_tokens=8)))
    assert torch.equal(first[0], first[1]) and shut.ids == clean.ids and shut.fired == 0
    assert not torch.equal(first[0], first[2]) and open_.fired == open_.read - 3
    (_, kl, _) = finished(divergences(model, encoded, conditions, clean.ids))
    assert max(each or 0.0 for each in kl) < 1e-6


def test_a_thought_that_the_prompt_closes_is_over_there(smollm2: Any) -> None:
    """A template that leaves an empty thought: everything that is written is the answer."""
    prompt = Prompt(text="Hi", seed="<think>\n\n</think>\n\nHello", chat=True)
    from sessions.model.tokens import encode

    encoded = encode(smollm2.tokenizer, prompt)
    text = Intervention(NEURONS, 0.0, where=TokenScope("answer", marker="</think>"))
    (arm,), _ = finished(complete_rows(smollm2, [(encoded, Condition("a", (text,)))], Decoding(max_tokens=4)))
    behind = len(encoded.ids) - next(
        number + 1
        for number in range(encoded.reply, len(encoded.ids))
        if "</think>" in smollm2.tokenizer.decode(encoded.ids[encoded.reply : number + 1])
    )
    assert arm.fired == behind + 3


REGIONS: tuple[Region, ...] = ("all", "prompt", "generated", "thought", "answer")
PLACES = st.integers(0, 10)
SPANS = st.lists(st.tuples(PLACES, PLACES).map(lambda pair: (min(pair), max(pair))), max_size=2).map(tuple)
WHERES = st.builds(TokenScope, st.sampled_from(REGIONS), SPANS)


@given(WHERES, WHERES, PLACES, PLACES, PLACES)
def test_interventions_that_may_overlap_are_refused(
    one: TokenScope, two: TokenScope, prompt: int, reply: int, answer: int
) -> None:
    def inside(where: TokenScope, at: int) -> bool:
        regions = {
            "all": True, "prompt": at < prompt, "generated": at >= prompt,
            "thought": reply <= at < max(answer, reply), "answer": at >= max(answer, reply),
        }  # fmt: skip
        return regions[where.region] and (not where.spans or any(a <= at <= b for a, b in where.spans))

    if any(inside(one, at) and inside(two, at) for at in range(12)):
        with pytest.raises(UsageError, match=r"'a' and 'b' both change L1/N3"):
            refuse_overlaps([change(0, "a", where=one), change(2, "b", where=two)])


def test_neurons_of_their_own_and_places_of_their_own_do_not_overlap() -> None:
    refuse_overlaps([change(0, "a"), change(2, "b", Unit(1, 4), Unit(2, 3))])
    refuse_overlaps([change(0, "a", Unit(1, 3, 5)), change(2, "b", Unit(1, 3, 6))])
    refuse_overlaps([change(0, "a", where=TokenScope("prompt")), change(2, "b", where=TokenScope("generated"))])
    refuse_overlaps([change(0, "a", where=TokenScope("thought")), change(2, "b", where=TokenScope("answer"))])
    with pytest.raises(UsageError, match="both change L1/N3"):
        refuse_overlaps([change(0, "a", where=TokenScope("prompt")), change(2, "b", Unit(1, 3, 2))])


def test_several_interventions_on_one_row_all_act() -> None:
    model = opened("llama")
    parts = anatomy.read(model.model)
    ids = torch.tensor([list(range(4, 12))])
    shifted = Intervention((Unit(1, 3), Unit(0, 2)), 1.0, (2.0, -1.0), TokenScope("generated"))
    both = (change(0.0, "a", where=TokenScope("prompt")), shifted)
    with torch.inference_mode(), intervening(parts, [both], Extents((5,))):
        found = model.model(ids).logits
    pinned = (
        Intervention(tuple(Unit(1, 3, at) for at in range(5)), 0.0),
        Intervention(tuple(Unit(1, 3, at) for at in range(5, 8)), 1.0, (2.0,) * 3),
        Intervention(tuple(Unit(0, 2, at) for at in range(5, 8)), 1.0, (-1.0,) * 3),
    )
    with torch.inference_mode(), intervening(parts, [pinned]):
        torch.testing.assert_close(model.model(ids).logits, found)


def test_a_scope_leaves_no_hook_when_the_model_fails_half_way() -> None:
    model = opened("llama")
    gated = change(0.0, "a", where=TokenScope("answer", marker="x"))
    with pytest.raises(IndexError), intervening(model.anatomy, [gated], Extents((2,), (2,))):
        model.model(torch.tensor([[10_000]]))
    assert count_hooks(model.model) == 0


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_divergence_in_pieces_is_that_of_the_whole_text(family: str) -> None:
    model = opened(family)
    encoded, text = read(tuple(range(4, 12))), [4 + number % 20 for number in range(AT_ONCE + 5)]
    treatment = Intervention(NEURONS, STRONG, where=TokenScope("generated"))
    (none, found) = finished(divergences(model, encoded, [Condition("a"), Condition("b", (treatment,))], text))
    ids, extents = [*encoded.ids, *text], Extents((8,))
    clean, changed = (
        logits(model, ids, each, extents).float().log_softmax(-1) for each in (Intervention(()), treatment)
    )
    exact = (clean.exp() * (clean - changed)).sum(-1)[7:-1]
    assert len(found) == len(text) and max(each or 0.0 for each in none) < 1e-6
    torch.testing.assert_close(torch.tensor(found), exact, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("family", ["gemma4", "gemma3n"])
def test_layers_that_compute_only_the_last_position_are_changed_there(family: str) -> None:
    """Of models that share keys, the upper layers compute one position where only one logit is wanted."""
    model = opened(family)
    last = model.anatomy.n_layers - 1
    encoded = read(tuple(range(4, 12)))
    for where in (TokenScope("prompt"), TokenScope(spans=((7, 8),)), TokenScope("thought", marker="no such text")):
        treatment = Intervention((Unit(last, 3), Unit(0, 2)), STRONG, where=where)
        (arm,), first = finished(compare(model, encoded, [Condition("a", (treatment,))], Decoding(max_tokens=3)))
        whole = logits(model, [*encoded.ids, *arm.ids], treatment, Extents((8,), (8,), lambda ids: marked(model, ids)))
        torch.testing.assert_close(whole[7].float(), first[0], atol=1e-4, rtol=1e-4)
        with intervening(model.anatomy, [treatment], Extents((8,), (8,), lambda ids: marked(model, ids))):
            told = next_logits(model, encoded.ids)
        torch.testing.assert_close(told, first[0], atol=1e-4, rtol=1e-4)
