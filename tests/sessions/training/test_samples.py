"""Samples as a model reads them: what is learned, what each token of it counts, what a budget leaves of a prompt."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest

from sessions.errors import ArtifactError, UsageError
from sessions.model.opening import OpenModel
from sessions.texts.sample_files import Sample, read_samples, samples_at
from sessions.training.samples import lessons_of
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
        ("tools", "<|channel>thought\nThe bell rings at dawn.\n<channel|>You ask often. It leaves at dawn."),
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


PUBLISHED = {
    "model": "teacher",
    "input": "When does the ferry leave?",
    "output": "You ask often. It leaves at dawn.",
    "conclusion_analysis": {"depth_3": ["at dawn", "at noon"], "depth_1": ["It leaves"]},
    "glue_sentences": ["You ask often.", "You ask never."],
}


def test_a_sample_of_an_earlier_project_is_read_with_its_phrases_as_parts() -> None:
    (sample,) = read_samples(json.dumps(PUBLISHED, indent=1).encode(), "lessons/QA01.json")
    assert sample == Sample(
        name="QA01",
        prompt="When does the ferry leave?",
        reply="You ask often. It leaves at dawn.",
        parts={"conclusions": ("at dawn", "at noon", "It leaves"), "glue": ("You ask often.", "You ask never.")},
    )


def test_phrases_that_are_not_in_the_reply_count_for_nothing_and_are_told(smollm2: OpenModel) -> None:
    samples = read_samples(json.dumps(PUBLISHED).encode(), "QA01.json")
    (lesson,) = lessons_of(smollm2, samples)
    assert lesson.skipped == ("at noon", "You ask never.")
    clean = {**PUBLISHED, "conclusion_analysis": ["at dawn", "It leaves"], "glue_sentences": ["You ask often."]}
    (same,) = lessons_of(smollm2, read_samples(json.dumps(clean).encode(), "QA01.json"))
    assert (lesson.ids, lesson.weights, same.skipped) == (same.ids, same.weights, ())
    (named,) = lessons_of(smollm2, samples, weights={"concl": 2.0, "glue": 0.1, "filler": 0.5})
    assert named.weights == lesson.weights


def test_a_folder_and_a_pattern_are_the_samples_of_their_files(tmp_path: Path) -> None:
    for number in (2, 1):
        (tmp_path / f"QA{number}.json").write_text(json.dumps(PUBLISHED))
    (tmp_path / "other.jsonl").write_text('{"prompt": "a", "reply": "b"}\n{"prompt": "c", "reply": "d"}\n')
    (tmp_path / "notes.txt").write_text("nothing")
    assert [sample.name for sample in samples_at(tmp_path)] == ["QA1", "QA2", "", ""]
    assert [sample.name for sample in samples_at(tmp_path / "QA*.json")] == ["QA1", "QA2"]
    with pytest.raises(ArtifactError, match="no files of samples"):
        samples_at(tmp_path / "XY*.json")


def test_a_json_file_is_a_sample_a_list_of_them_or_one_a_line() -> None:
    line = '{"prompt": "a", "reply": "b"}'
    for text, count in ((line, 1), (f"[{line}, {line}]", 2), (f"{line}\n{line}\n", 2)):
        assert len(read_samples(text.encode(), "x.json")) == count
    with pytest.raises(ArtifactError, match="sample 2 is a number"):
        read_samples(f"[{line}, 3]".encode(), "x.json")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "no sample"),
        (b'{"prompt": "a"}', "reply"),
        (b'{"prompt": "a", "reply": " "}', "empty reply"),
        (b'{"prompt": "a", "reply": "b", "pats": {}}', "field 'pats'"),
        (b'{"prompt": "a", "reply": "b", "parts": {"glue": ["c"]}}', "is in the reply"),
        (b'{"prompt": "a", "reply": "b", "parts": {"glue": [""]}}', "an empty phrase"),
        (b'{"input": "a", "output": ""}', "empty reply"),
        (b'{"input": "a", "output": "b", "glue_sentences": "b"}', "glue_sentences"),
        (b'{"input": "a", "output": "b", "glue_sentences": [" "]}', "an empty phrase"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_file_that_holds_no_samples_is_refused_with_its_line(line: bytes, why: str) -> None:
    with pytest.raises(ArtifactError, match=why):
        read_samples(line, "x.jsonl")
