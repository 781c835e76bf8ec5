"""The help of a verb in Python: its parameters with their types, its result, and calls that do what its lines do."""

from __future__ import annotations

import ast
import inspect
import pydoc
import re
from typing import Any

import pytest

from commands import calling, grammar
from commands.grammar import VERBS
from commands.verb import Verb, actions_of
from workbench.docstrings import call, documentation, documentation_of_head, in_python
from workbench.methods import Verbs
from workbench.signatures import method_name, python_name, signature

OPTION = re.compile(r"--[a-z][a-z-]*")
#: An option of another program that the help speaks of.
FOREIGN = {"verify-files": {"--check"}}


def line_of_call(python: str) -> str:
    """The line that a call in Python runs."""
    (statement,) = ast.parse(python).body
    assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    made = statement.value
    assert isinstance(made.func, ast.Attribute)
    name = next(name for name in VERBS if method_name(name) == made.func.attr)
    options = {str(each.arg).removesuffix("_"): ast.literal_eval(each.value) for each in made.keywords}
    return calling.call_line(name, *map(ast.literal_eval, made.args), **options)


def meant(line: str) -> tuple[str, Any]:
    """The verb of a line and its parameters, the words of a text joined."""
    parsed = grammar.parse(line)
    texts = {"text"} if parsed.verb in grammar.TEXTS else set()
    return parsed.verb, {key: " ".join(value) if key in texts else value for key, value in parsed.params.items()}


@pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))
def test_an_example_is_a_call_that_does_what_the_line_does(verb: Verb) -> None:
    for line in verb.examples:
        assert meant(line_of_call(call(line))) == meant(line)
        assert call(line) in documentation(verb)


@pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))
def test_the_help_speaks_python(verb: Verb) -> None:
    text = documentation(verb)
    examples = text.partition("\nExample")[2]
    assert not set(OPTION.findall(text.replace(examples, ""))) - FOREIGN.get(str(verb.name), set())
    assert text.startswith(f"{verb.summary}.") or verb.summary.startswith(text.split("\n")[0])
    for name, parameter in [*signature(verb).parameters.items()][1:]:
        assert f" {'*' * (parameter.kind is parameter.VAR_POSITIONAL)}{name} ({parameter.annotation}):" in " ".join(
            text.split()
        )
    for kind in verb.results():
        assert f"\n    {kind.__name__}: " in text
    assert "\nReturns:\n" in text and "\nRaises:\n" in text


def test_calls_in_the_help_can_be_made() -> None:
    found = set()
    for verb in VERBS.values():
        for made in re.findall(r"wb\.\w+\([^()]*\)", " ".join(documentation(verb).split())):
            assert grammar.parse(line_of_call(made))
            found.add(made)
    assert len(found) > 100


@pytest.mark.parametrize(
    ("verb", "text", "python"),
    [
        ("prompt", "read as it stands with --raw", "read as it stands with `raw=True`"),
        ("discover", "With --reference mean, or --prompts", 'With `reference="mean"`, or `prompts`'),
        ("discover", "--at -1 is the last", "`at=-1` is the last"),
        ("generate", "--greedy takes the likeliest", "`sample=False` takes the likeliest"),
        ("sweep", "--also and --prompts make a grid", "`also` and `prompts` make a grid"),
        ("import", "import a.pt --as means:b. Then", 'wb.import_("a.pt", as_="means:b"). Then'),
        ("import", "see (import a.pt --top 3)", 'see (wb.import_("a.pt", top=3))'),
        ("ablate", "verify --reference mean, which", 'wb.verify(reference="mean"), which'),
        ("fingerprint", "sha256sum --check reads it", "sha256sum --check reads it"),
        ("train-round", "with --continue it begins there", "with `continue_` it begins there"),
    ],
)
def test_options_and_lines_in_a_sentence_become_python(verb: str, text: str, python: str) -> None:
    assert in_python(text, VERBS[verb]) == python


@pytest.mark.parametrize("line", ["", "abalte top5", "prompt 'open", "ablate top10 --nothing"])
def test_what_is_no_line_is_no_call(line: str) -> None:
    assert call(line) == ""


@pytest.mark.parametrize("text", ['say "yes"', "a\nb", "C:\\x", "it's", "日本語", "#1", "$x$", "\u202e", ""], ids=ascii)
def test_a_text_stands_in_a_call_as_it_is(text: str) -> None:
    line = calling.call_line("prob", text or " ")
    assert meant(line_of_call(call(line))) == meant(line)


def test_help_shows_the_types_without_quotes_and_what_comes_back() -> None:
    shown = pydoc.render_doc(Verbs.discover, renderer=pydoc.plaintext)  # type: ignore[attr-defined]
    assert "vs: str | None = None" in shown and "-> Discovered" in shown
    assert 'wb.discover(" Austin", vs=" Houston", top=100)' in shown
    assert python_name("from") == "from_"


def test_the_first_word_of_several_verbs_names_them() -> None:
    heads = {verb.head for verb in VERBS.values() if verb.head != verb.name}
    for head in heads:
        text = inspect.getdoc(getattr(Verbs, method_name(head)))
        assert text == documentation_of_head(head)
        assert all(method_name(str(verb.name)) in text for verb in actions_of(head).values())
