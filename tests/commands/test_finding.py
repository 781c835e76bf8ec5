"""A verb is found by what people type: other names, synonyms, options; it says what it needs, and how it is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from commands.calling import call_line
from commands.grammar import VERBS, find, parse, verb_named
from commands.needs import NEEDS, missing
from commands.suggesting import suggestion
from sessions.errors import UsageError
from sessions.events import Failed, State
from sessions.results import Cleared
from sessions.session import Session
from tests.commands.driving import events_of, result

# ---- help, wherever one asks for it


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize("asking", ["--help", "-h", "?", "something --help", "--help --batch 3"])
def test_every_verb_explains_itself_when_asked(name: str, asking: str) -> None:
    call = parse(f"{name} {asking}")
    assert (call.verb, " ".join(call.params["name"])) == ("help", name)


@pytest.mark.parametrize("line", ["atlas --help", "atlas ?", "help atlas", "? atlas", ":atlas -h"])
def test_a_first_word_explains_its_verbs(line: str) -> None:
    found = result(Session(), line)
    assert "atlas build" in found.text and "atlas top" in found.text


@pytest.mark.parametrize("line", ["?", "--help", "-h", "help", ":help", " : ?"])
def test_help_alone_lists_the_verbs(line: str) -> None:
    assert result(Session(), line).families


@pytest.mark.parametrize(
    ("line", "verb"),
    [('discover "?"', "discover"), ('prompt "-h"', "prompt"), ("prompt what is it ?", "prompt"), ("say go -h", "say")],
)
def test_quoted_words_and_words_of_a_text_ask_for_nothing(line: str, verb: str) -> None:
    assert parse(line).verb == verb


@pytest.mark.parametrize("text", ["?", "-h", "--help"])
def test_a_line_made_of_values_never_asks_for_help(text: str) -> None:
    assert parse(call_line("prompt", text)).params["text"] == (text,)
    assert parse(call_line("discover", text)).params["target"] == text


def test_asking_for_the_help_of_no_verb_says_so_where_it_stands() -> None:
    with pytest.raises(UsageError, match="there is no verb 'ptach'") as refusal:
        parse("  ptach --help")
    assert refusal.value.column == 2


# ---- other names


@pytest.mark.parametrize("line", ["exit", "q", ":q", " :quit", ": exit"])
def test_leaving_has_the_names_that_people_try(line: str) -> None:
    assert parse(line).verb == "quit"


@pytest.mark.parametrize("line", [":discover", ': discover " Austin"', ":prompt What is #1?"])
def test_a_colon_before_a_verb_means_nothing(line: str) -> None:
    assert parse(line).params == parse(line.lstrip(": ")).params


def test_a_column_counts_the_colon() -> None:
    with pytest.raises(UsageError) as refusal:
        parse(":ablate top10 --wrong")
    assert refusal.value.column == 14


def test_clear_leaves_the_session_as_it_is(little: Session) -> None:
    before = little.state()
    assert isinstance(result(little, "clear"), Cleared)
    assert little.state() == before
    assert parse("cls").verb == "clear"


# ---- suggestions


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("patchscope", "did you mean inject?"),
        ("chart", "did you mean sweep or rounds?"),
        ("finetune", "did you mean train-round?"),
        ("fine tune samples.jsonl", "did you mean train-round?"),
        ("turn off L24/*", "did you mean ablate or suppress?"),
        ("Turn Off", "did you mean ablate or suppress?"),
        ("cancel", "no verb stops a command: ctrl-c does, or esc in the app"),
        ("cumulative", "--cumulative is an option of discover and contrast"),
        ("abalte", "did you mean ablate?"),
        ("autoencodr", "did you mean sae load?"),
        ("ls", "did you mean list?"),
        ("rm texas", "did you mean delete?"),
        ("man", "did you mean help?"),
        ("qqqq", "help lists all verbs"),
    ],
)
def test_what_is_no_verb_gets_a_suggestion(text: str, hint: str) -> None:
    assert suggestion(text) == hint
    with pytest.raises(UsageError) as refusal:
        parse(text)
    assert (refusal.value.hint, refusal.value.column) == (hint, 0)
    failure = next(event for event in events_of(Session(), f"help {text}") if isinstance(event, Failed))
    assert failure.hint == hint


def test_no_suggestion_is_for_something_that_does_not_exist() -> None:
    for verb in VERBS.values():
        for synonym in verb.synonyms:
            hint = suggestion(synonym)
            assert hint.startswith("did you mean "), synonym
            for name in hint.removeprefix("did you mean ").removesuffix("?").replace(" or ", ", ").split(", "):
                assert find(name).name == name


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("ablate top10", "ablate"),
        (" :ablate", "ablate"),
        ("atlas build x", "atlas build"),
        ("atlas", "atlas list"),
        ("exit", "quit"),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_the_verb_of_a_line_is_known_without_reading_the_line(line: str, name: str) -> None:
    assert verb_named(line) == name


# ---- what verbs need


#: What a verb says that lacks it.
LACKING = {
    "model": "no model is open",
    "prompt": "no prompt is set",
    "circuit": "there is no circuit yet",
    "atlas": "there is no atlas of this model",
    "edit": r"there is no edit \d|no edit is on",
    "live": "nothing is live",
}


def lacking(session: Session, need: str) -> Session:
    """The session without one thing. It has neither atlas nor edit nor anything live."""
    if need == "model":
        session.model = None
    if need == "prompt":
        session.prompt = None
    if need == "circuit":
        session.circuit = None
    return session


def said(session: Session, line: str) -> str:
    return " ".join(event.message for event in events_of(session, line) if isinstance(event, Failed))


@pytest.mark.parametrize(("name", "need"), [(verb.name, need) for verb in VERBS.values() for need in verb.needs])
def test_a_verb_without_what_it_needs_fails_for_that(
    little: Session, name: str, need: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = said(lacking(little, need), VERBS[name].example)
    assert re.search(LACKING[need], message)


@pytest.mark.parametrize("name", [verb.name for verb in VERBS.values() if verb.name not in ("model", "run", "expect")])
def test_a_verb_with_what_it_needs_never_fails_for_another_need(
    little: Session, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`model` and `run` open a model; `expect` is about whatever its statement is about."""
    monkeypatch.chdir(tmp_path)
    verb = VERBS[name]
    for need in ("model", "prompt", "circuit"):
        if need not in verb.needs:
            lacking(little, need)
    message = said(little, verb.example)
    assert not [need for need, words in LACKING.items() if re.search(words, message) and need not in verb.needs]


def test_what_is_missing_is_said_in_two_words() -> None:
    assert set(LACKING) == set(NEEDS)
    assert missing(("model", "prompt"), State()) == "no model"
    assert missing(("model", "prompt"), State(model="smollm2")) == "no prompt"
    assert missing(("model",), State(model="smollm2")) == ""
