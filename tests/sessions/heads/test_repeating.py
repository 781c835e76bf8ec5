"""Scores on repeated tokens: what they are on patterns made by hand."""

from __future__ import annotations

import pytest
import torch

from sessions.errors import ModelError
from sessions.heads.findings import RepeatScores
from sessions.heads.repeating import repeat_scores, repeated_ids, scores_of
from sessions.model.opening import adopt
from tests.families import tiny, tiny_tokenizer

LENGTH, SEQ = 5, 11


def pattern(back: int) -> torch.Tensor:
    """One head that attends with a weight of 0.75 to the token `back` before, and else to the first."""
    weights = torch.zeros(1, SEQ, SEQ)
    for query in range(SEQ):
        weights[0, query, max(query - back, 0)] += 0.75
        weights[0, query, 0] += 0.25
    return weights


@pytest.mark.parametrize(
    ("back", "scores"),
    [
        (1, RepeatScores(0.75, 0.0, 0.0)),
        (LENGTH, RepeatScores(0.0, 0.75, 0.0)),
        (LENGTH - 1, RepeatScores(0.0, 0.0, 0.75)),
        (2, RepeatScores(0.0, 0.0, 0.0)),
    ],
)
def test_a_head_that_looks_back_so_far_has_that_score(back: int, scores: RepeatScores) -> None:
    assert scores_of(pattern(back), LENGTH) == [scores]


def test_the_text_repeats_tokens_that_come_once_in_a_half() -> None:
    model = adopt(tiny("llama"), tiny_tokenizer(), name="tiny")
    ids, length = repeated_ids(model.anatomy, model.tokenizer, 0)
    assert ids[0] == 1 and len(ids) == 1 + 2 * length
    half = ids[1 : 1 + length]
    assert half == ids[1 + length :] and len(set(half)) == length
    assert not set(half) & set(model.tokenizer.all_special_ids)
    assert (
        repeated_ids(model.anatomy, model.tokenizer, 0)[0] == ids != repeated_ids(model.anatomy, model.tokenizer, 1)[0]
    )


def test_a_model_of_few_positions_gets_a_shorter_text_and_one_of_none_an_error() -> None:
    few = adopt(tiny("gpt2", n_positions=20), tiny_tokenizer(), name="few")
    ids, length = repeated_ids(few.anatomy, few.tokenizer, 0)
    assert length == 9 and len(ids) == 19
    scores, text = repeat_scores(few, [0, 2], (), 0)
    assert set(scores) == {0, 2} and text.length == 9
    with pytest.raises(ModelError, match="and here 2 fit"):
        repeated_ids(adopt(tiny("gpt2", n_positions=5), tiny_tokenizer(), name="none").anatomy, few.tokenizer, 0)


def test_the_losses_are_those_of_the_two_halves() -> None:
    model = adopt(tiny("qwen3"), tiny_tokenizer(), name="tiny")
    _, text = repeat_scores(model, [0], (), 3)
    ids, length = repeated_ids(model.anatomy, model.tokenizer, 3)
    logits = model.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    losses = [-float(logits[at - 1, ids[at]]) for at in range(1, len(ids))]
    assert text.repeat_loss == pytest.approx(sum(losses[-length:]) / length, abs=1e-4)
    assert text.first_loss == pytest.approx(sum(losses[1:length]) / (length - 1), abs=1e-4)
