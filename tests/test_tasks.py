"""The tasks of the benchmarks: forty pairs a split, of one length, with words that are one token on both models."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks import tasks
from benchmarks.tasks import PAIRS, SPLITS, TASKS, pairs
from sessions.model.opening import OpenModel


@pytest.mark.parametrize("task", TASKS)
def test_pairs_are_of_one_length_and_their_words_are_one_token(task: str, smollm2: OpenModel, gemma3: Any) -> None:
    for split in SPLITS:
        made = pairs(task, split)
        assert len(made) == PAIRS == len({pair.prompt for pair in made})
        for tokenizer in (smollm2.tokenizer, gemma3.tokenizer):
            for pair in made:
                clean, corrupt = (tokenizer(text).input_ids for text in (pair.prompt, pair.corrupt))
                assert len(clean) == len(corrupt) and clean != corrupt
                for text in (pair.target, pair.counterfactual):
                    assert len(tokenizer(text, add_special_tokens=False).input_ids) == 1


@pytest.mark.parametrize("task", TASKS)
def test_the_content_words_of_the_two_splits_are_disjoint(task: str) -> None:
    lists = (
        tasks._NAMES, tasks._PLACES, tasks._THINGS, tasks._EVENTS, tasks._ARGUMENTS, tasks._PEOPLE, tasks._OBJECTS,
        tasks._SHE, tasks._HE,
    )  # fmt: skip
    content = {word for words in lists for word in words}
    used = [
        {word.removesuffix("s") for pair in pairs(task, split) for word in re.findall(r"\w+", pair.prompt)} & content
        for split in SPLITS
    ]
    assert used[0] and used[1] and not used[0] & used[1]


def test_the_same_pairs_are_made_in_every_run() -> None:
    assert pairs("ioi", "test") == pairs("ioi", "test") != pairs("ioi", "discover")
