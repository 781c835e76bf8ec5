"""A file of tasks is read as it stands, or refused with the line and what to write instead."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.errors import ArtifactError
from sessions.evaluation.checks import Check
from sessions.evaluation.tasks import Task, read_tasks


def read(*lines: Any) -> tuple[Task, ...]:
    written = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return read_tasks("\n".join(written).encode("utf-8", "surrogatepass"), "tasks.jsonl")


def test_a_task_is_a_prompt_and_what_is_right() -> None:
    first, second, third = read(
        {"prompt": "17 + 25?", "answer": "42"},
        "",
        {"prompt": "Texas?", "answer": "Austin", "system": "Be brief.", "seed": "It is", "raw": True, "name": "texas"},
        {"prompt": "Water?", "check": [{"kind": "contains", "value": "H2O"}, {"kind": "number", "value": 2}]},
    )
    assert (first.checks, first.line, first.label) == ((Check("number", "42"),), 1, "line 1")
    assert (second.checks, second.line, second.label) == ((Check("contains", "Austin"),), 3, "texas")
    assert (second.to_read().seed, second.to_read().system, second.to_read().chat) == ("It is", "Be brief.", False)
    assert third.checks == (Check("contains", "H2O"), Check("number", "2")) and third.answer == ""
    assert first.to_read().chat and not first.to_read(raw=True).chat


def test_a_check_can_be_named_and_numbers_be_numbers() -> None:
    (task,) = read({"prompt": "x", "answer": 42, "check": "contains"})
    assert task.checks == (Check("contains", "42"),)
    (task,) = read({"prompt": "x", "answer": "[2357]", "check": "regex", "language": "en", "thinking": False})
    assert task.checks == (Check("regex", "[2357]"),) and (task.language, task.thinking) == ("en", False)


def test_lines_of_windows_and_its_mark_are_read() -> None:
    assert (
        len(read_tasks(b'\xef\xbb\xbf{"prompt": "a", "answer": "1"}\r\n\r\n{"prompt": "b", "answer": "2"}', "t")) == 2
    )


GOOD = {"prompt": "x", "answer": "1"}


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        ("{", "line 2, is malformed", ""),
        ("[1]", "is a list, not a task", "prompt"),
        ("12", "is a number, not a task", "prompt"),
        ({"answer": "1"}, "has no prompt", "prompt"),
        ({"prompt": "  ", "answer": "1"}, "has no prompt", "prompt"),
        ({"prompt": "x"}, "does not say what is right", "answer"),
        ({"prompt": "x", "answer": " "}, "does not say what is right", "answer"),
        ({"prompt": "x", "anwser": "1"}, "unknown field 'anwser'", "did you mean answer?"),
        ({"prompt": "x", "zzz": "1"}, "unknown field 'zzz'", "one of: prompt, answer"),
        ({**GOOD, "check": "numbr"}, "an unknown check 'numbr'", "did you mean number?"),
        ({**GOOD, "check": []}, "a list as its check", "number, regex, contains"),
        ({**GOOD, "check": ["number"]}, "not a kind and a value", "kind"),
        ({**GOOD, "check": [{"kind": "number", "value": "1", "x": 1}]}, "not a kind and a value", "kind"),
        ({**GOOD, "check": [{"kind": [], "value": "1"}]}, "an unknown check []", "one of"),
        ({**GOOD, "answer": "(", "check": "regex"}, "'(', which is not a regular expression", "re"),
        ({**GOOD, "answer": "many", "check": "number"}, "'many', which is not a number", "digits"),
        ({**GOOD, "answer": True}, "true or false as its answer", "a text or a number"),
        ({**GOOD, "answer": ["1"]}, "a list as its answer", "a text or a number"),
        ({**GOOD, "raw": "yes"}, "a text as its raw", "true or false"),
        ({**GOOD, "system": 3}, "a number as its system", "in quotes"),
        ({**GOOD, "language": "jp"}, "in 'jp', which cannot be recognised", "zh, en, es, ar, ja, ko, sw"),
        ('{"prompt": "x", "answer": NaN}', "nan as its answer", "finite"),
        ('{"prompt": "x", "answer": "1", "answer": "2"}', "the key 'answer' twice", ""),
        ({**GOOD, "prompt": "half \ud800"}, "unpaired surrogate in its prompt", "UTF-8"),
    ],
)
def test_a_bad_line_is_named(line: Any, said: str, hint: str) -> None:
    with pytest.raises(ArtifactError) as raised:
        read(GOOD, line)
    assert raised.value.message.startswith("tasks.jsonl, line 2,")
    assert said in raised.value.message and hint in raised.value.hint


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_task(data: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"tasks.jsonl has no task in it"):
        read_tasks(data, "tasks.jsonl")


@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_tasks_or_an_error(data: bytes) -> None:
    try:
        assert read_tasks(data, "tasks.jsonl")
    except ArtifactError as error:
        assert error.message.startswith("tasks.jsonl")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "value", "x"]), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["prompt", "answer", "check", "seed", "raw", "name", "language"]), JSON))
def test_any_fields_are_a_task_or_an_error(fields: dict[str, Any]) -> None:
    try:
        (task,) = read(fields)
    except ArtifactError as error:
        assert error.message
    else:
        assert task.checks and (task.prompt.strip() or task.seed.strip())
