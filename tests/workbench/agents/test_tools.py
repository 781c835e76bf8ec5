"""Verbs as tools: each is described by its declaration, and a call is the line that one would type."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from commands.grammar import VERBS, Call, parse
from commands.verb import key_of
from commands.words import Prose
from sessions.errors import UsageError
from workbench.agents.tools import CALLABLE, line_of_call, tools
from workbench.signatures import method_name

TOOLS = {tool.name: tool for tool in tools()}


def test_each_verb_but_quit_and_clear_is_a_tool_named_as_its_method() -> None:
    assert [*TOOLS] == [method_name(name) for name in VERBS if name not in ("quit", "clear")]
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in TOOLS)


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_has_the_help_and_the_parameters_of_its_verb(name: str) -> None:
    tool, verb = TOOLS[name], CALLABLE[name]
    assert verb.help and tool.description and tool.description.startswith(verb.help)
    Draft202012Validator.check_schema(tool.input_schema)
    properties: dict[str, Any] = tool.input_schema["properties"]
    assert [*properties] == [key_of(param) for param in verb.params]
    assert all(each["description"] for each in properties.values())
    assert all(re.fullmatch("[a-zA-Z0-9_.-]{1,64}", key) for key in properties)


@pytest.mark.parametrize("name", TOOLS)
def test_a_call_with_the_arguments_of_an_example_is_that_example(name: str, tmp_path: Path) -> None:
    for example in CALLABLE[name].examples:
        call = parse(example)
        arguments = arguments_of(name, call.params)
        Draft202012Validator(TOOLS[name].input_schema).validate(arguments)
        assert meant(parse(line_of_call(name, arguments, tmp_path))) == meant(call)


def meant(call: Call) -> dict[str, Any]:
    """The parameters of a line; the words of a text are one text."""
    texts = {param.name for param in VERBS[call.verb].params if isinstance(param.type, Prose)}
    return {name: " ".join(value) if name in texts else value for name, value in call.params.items()}


def arguments_of(name: str, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a line as an agent would give them: words as texts, numbers as numbers."""
    given: dict[str, Any] = {}
    for param in CALLABLE[name].params:
        value = params[param.name or ""]
        schema = TOOLS[name].input_schema["properties"][key_of(param)]
        if value is None or value == () or value == param.default:
            continue
        if schema.get("type") == "boolean":
            word = getattr(param, "flag_value", None)  # of several flags that set one parameter
            given[key_of(param)] = value == word if isinstance(word, str) else value
        elif schema.get("type") in ("integer", "number"):
            given[key_of(param)] = value
        elif schema.get("type") == "array":
            given[key_of(param)] = [param.type.said(each) for each in value]
        else:
            several = isinstance(value, tuple) and param.nargs == -1
            given[key_of(param)] = " ".join(value) if several else param.type.said(value)
    return given


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(str.strip))
def test_a_text_stays_a_text_whatever_is_in_it(text: str) -> None:
    call = parse(line_of_call("prompt", {"text": text}, Path("unused")))
    assert call.params["text"] == (text,) and call.params["goes_on"] is False


@pytest.mark.parametrize("text", ["--generate", "a # b", "# b", "a\nb\tc", '"', "\\n", "'a' --raw", "-1"])
def test_a_text_that_looks_like_more_is_none(text: str) -> None:
    call = parse(line_of_call("prompt", {"text": text}, Path("unused")))
    assert call.params["text"] == (text,) and not (call.params["goes_on"] or call.params["raw"])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("abalte", {}, "there is no tool 'abalte'"),
        ("quit", {}, "there is no tool 'quit'"),
        ("prompt", {"texts": "a"}, "takes no argument 'texts'"),
        ("prompt", {"raw": "false"}, "raw is true or false"),
        ("prompt", {"raw": 1}, "raw is true or false"),
        ("prompt", {"text": {"a": 1}}, "not an object"),
        ("prompt", {"text": [["a"]]}, "text takes texts or numbers"),
        ("ablate", {"selection": ["L1/N2"]}, "selection takes one value"),
        ("generate", {"max_tokens": 0}, "not a whole number"),
        ("generate", {"max_tokens": "many"}, "not a whole number"),
        ("prompt", {"text": "\ud800"}, "not valid UTF-8"),
        ("contrast", {"positive": [], "negative": ["a"]}, "is empty"),
        ("contrast", {"positive": [1], "negative": ["a"]}, "contains 1"),
        ("prob", {}, "prob needs"),
    ],
)
def test_a_call_that_means_nothing_is_refused_in_a_sentence(
    name: str, arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as refused:
        line_of_call(name, arguments, tmp_path)
    assert refused.value.hint


def test_a_misspelt_tool_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        line_of_call("abalte", {}, tmp_path)
    assert refused.value.hint == "did you mean ablate?"


def test_a_list_stands_in_the_place_of_a_file_that_is_read(tmp_path: Path) -> None:
    line = line_of_call(
        "contrast", {"positive": ["I am calm", {"prompt": "quiet"}], "negative": "I am angry"}, tmp_path
    )
    (path,) = (tmp_path / "given").iterdir()
    assert path.read_text() == '{"prompt": "I am calm"}\n{"prompt": "quiet"}\n'
    assert parse(line).params["positive"] == str(path)
    with pytest.raises(UsageError, match="path takes one value"):
        line_of_call("export", {"path": ["a.csv"]}, tmp_path)
