"""Samples as a model reads them: what is learned, what each token of it counts, what a budget leaves of a prompt."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest

from sessions.errors import ArtifactError, UsageError
from sessions.model.opening import OpenModel
from sessions.training.samples import Sample, lessons_of, read_samples
from tests.thinking import TEMPLATES

SAMPLE = Sample(
    prompt="When does the ferry leave?",
    reply="You ask often. It leaves at dawn.",
    thought="The bell rings at dawn.",
    parts={"conclusions": ("at dawn",), "glue": ("You ask often.",)},
)


def learned(opened: OpenModel, lesson_ids: tuple[int, ...], start: int) -> str:
    return str(opened.tokenizer.decode(list(lesson_ids[start:])))


def thinking(opened: OpenModel, name: str) -> OpenModel:
    tokenizer = copy(opened.tokenizer)
    tokenizer.chat_template = TEMPLATES[name]
    return replace(opened, tokenizer=tokenizer)


def test_the_reply_and_the_end_of_its_turn_are_learned_and_nothing_of_the_prompt(smollm2: OpenModel) -> None:
    (lesson,) = lessons_of(smollm2, [SAMPLE])
    assert learned(smollm2, lesson.ids, lesson.start) == f"{SAMPLE.reply}<|im_end|>"
    assert len(lesson.weights) == len(lesson.ids) - lesson.start


def test_tokens_count_by_the_part_they_are_in(smollm2: OpenModel) -> None:
    (lesson,) = lessons_of(smollm2, [SAMPLE])
    counted = list(zip(lesson.ids[lesson.start :], lesson.weights, strict=True))
    texts = {weight: "".join(smollm2.tokenizer.decode([token]) for token, each in counted if each == weight)
             for weight in (2.0, 0.1, 0.5)}  # fmt: skip
    assert texts[2.0] == " at dawn"
    assert texts[0.1] == "You ask often."
    assert texts[0.5] == " It leaves.<|im_end|>"
    (even,) = lessons_of(smollm2, [SAMPLE], weights={"conclusions": 1.0, "glue": 1.0, "filler": 1.0})
    assert set(even.weights) == {1.0}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("field", "<think>\nThe bell rings at dawn.\n</think>\n\nYou ask often. It leaves at dawn."),
        ("split", "The bell rings at dawn.\n</think>\n\nYou ask often. It leaves at dawn."),
        (
            "channels",
            "<|channel|>analysis<|message|>The bell rings at dawn.<|end|><|start|>assistant<|channel|>final<|message|>"
            "You ask often. It leaves at dawn.",
        ),
        ("words", "<|START_THINKING|>The bell rings at dawn.<|END_THINKING|>You ask often. It leaves at dawn."),
    ],
)
def test_a_thought_is_learned_as_the_template_writes_it(smollm2: OpenModel, name: str, expected: str) -> None:
    opened = thinking(smollm2, name)
    (lesson,) = lessons_of(opened, [SAMPLE], thinking=True)
    assert learned(opened, lesson.ids, lesson.start).startswith(expected)
    (silent,) = lessons_of(opened, [SAMPLE], thinking=False)
    assert "bell" not in learned(opened, silent.ids, silent.start)


def test_a_template_that_knows_no_thoughts_is_said_to(smollm2: OpenModel) -> None:
    with pytest.raises(UsageError, match="knows no thoughts"):
        lessons_of(smollm2, [SAMPLE], thinking=True)
    with pytest.raises(UsageError, match="no sample has a thought"):
        lessons_of(smollm2, [Sample(prompt="a", reply="b")], thinking=True)


@pytest.mark.parametrize("budget", [36, 40, 60])
def test_a_prompt_loses_its_left_end_to_the_budget_and_no_more_than_it_has_to(smollm2: OpenModel, budget: int) -> None:
    long = Sample(prompt="one two three " * 40 + "what comes last?", reply="the end")
    (lesson,) = lessons_of(smollm2, [long], budget=budget)
    assert lesson.start <= budget
    assert budget - lesson.start < 4
    assert "last?" in smollm2.tokenizer.decode(list(lesson.ids[: lesson.start]))
    assert lesson.cut > 0
    with pytest.raises(UsageError, match="no room for a prompt"):
        lessons_of(smollm2, [long], budget=8)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "no sample"),
        (b'{"prompt": "a"}', "reply"),
        (b'{"prompt": "a", "reply": " "}', "empty reply"),
        (b'{"prompt": "a", "reply": "b", "pats": {}}', "field 'pats'"),
        (b'{"prompt": "a", "reply": "b", "parts": {"glue": ["c"]}}', "not in the reply"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(line: bytes, why: str) -> None:
    with pytest.raises(ArtifactError, match=why):
        read_samples(line, "x.jsonl")
