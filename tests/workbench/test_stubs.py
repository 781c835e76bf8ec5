"""What editors and clients know of the verbs: the typed stub, and the JSON schemas."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from click.testing import CliRunner

from commands.grammar import VERBS
from commands.verb import Verb, key_of
from workbench.cli import main
from workbench.docstrings import documentation
from workbench.signatures import method_name, python_name, schema
from workbench.stubs import PATH, stub


def test_the_stub_is_that_of_the_verbs_there_are() -> None:
    assert PATH.read_text("utf-8") == stub(), "a verb has changed: run python -m workbench.stubs"


def test_every_verb_is_a_typed_method_of_the_stub() -> None:
    (kind,) = [each for each in ast.parse(stub()).body if isinstance(each, ast.ClassDef)]
    methods = {each.name: each for each in kind.body if isinstance(each, ast.FunctionDef)}
    assert set(methods) == {method_name(name) for verb in VERBS.values() for name in (verb.name, verb.head)}
    for name, verb in VERBS.items():
        method = methods[method_name(name)]
        given = [*method.args.args[1:], *method.args.kwonlyargs, *filter(None, [method.args.vararg])]
        assert {each.arg for each in given} == {python_name(key_of(param)) for param in verb.params}
        assert all(each.annotation is not None for each in given)
        assert method.returns is not None and ast.get_docstring(method) == documentation(verb)


@pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))
def test_the_schema_of_a_verb_names_every_parameter(verb: Verb) -> None:
    found = json.loads(json.dumps(schema(verb)))
    assert found["type"] == "object" and found["additionalProperties"] is False
    assert set(found["properties"]) == {key_of(param) for param in verb.params}
    assert set(found["required"]) == {key_of(param) for param in verb.params if param.required}
    for each in found["properties"].values():
        assert each["description"]
        assert _is_valid(each)
        assert "default" not in each or _fits(each["default"], each)


#: The keywords that may stand beside each type.
_KEYWORDS = {
    "string": {"enum"},
    "boolean": set(),
    "array": {"items"},
    "integer": {"minimum", "maximum"},
    "number": {"exclusiveMinimum", "maximum"},
}


def _is_valid(found: dict[str, Any]) -> bool:
    """Whether it is a JSON schema, of those keywords that verbs need."""
    others = found.keys() - {"type", "description", "default"}
    numbers = all(isinstance(found[key], int | float) for key in others - {"enum", "items"})
    enum = found.get("enum", ["one"])
    words = bool(enum) and len(set(enum)) == len(enum)
    items = found.get("items")
    return others <= _KEYWORDS[found["type"]] and numbers and words and (items is None or _is_valid(items))


def _fits(value: Any, found: dict[str, Any]) -> bool:
    kinds: dict[str, Any] = {"string": str, "boolean": bool, "integer": int, "number": int | float}
    return isinstance(value, kinds[found["type"]]) and value in found.get("enum", [value])


def test_schema_prints_one_verb_or_all_of_them() -> None:
    run = CliRunner().invoke
    assert json.loads(run(main, ["schema", "discover"]).stdout) == schema(VERBS["discover"])
    assert list(json.loads(run(main, ["schema"]).stdout)) == list(VERBS)
    wrong = run(main, ["schema", "discovr"])
    assert wrong.exit_code != 0 and not wrong.stdout
