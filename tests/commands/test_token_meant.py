"""`discover Austin`: a word without quotes and without its space means the likelier token, and the result says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from commands import run, script
from commands.calling import call_line
from commands.circuits import Discover
from commands.grammar import parse
from sessions.events import Result
from sessions.lines import QuotedText, line_of
from sessions.session import Session
from tests.commands.driving import result

QUICK = "--top 5 --no-verify --keep-universal"


@pytest.fixture
def texas(session: Session) -> Session:
    result(session, "prompt What is the capital of Texas?")
    result(session, "seed The capital of Texas is")
    return session


def explained(value: Any) -> str:
    return value.circuit.target.tokens[0].text


def remark(value: Any, beginning: str) -> str:
    (found,) = [note for note in value.notes if note.startswith(beginning)]
    return found


def test_a_bare_word_means_the_likelier_token_with_its_space(texas: Session) -> None:
    found = result(texas, f"discover Austin {QUICK}")
    assert explained(found) == " Austin"
    said = remark(found, '" Austin" was taken, which is likelier than "Austin" (p 0.61 against ')
    assert said.endswith('"Austin" in quotes means exactly that')


@pytest.mark.parametrize("option", ["--vs Houston", "--vs=Houston"])
def test_a_bare_counterfactual_is_read_the_same_way(texas: Session, option: str) -> None:
    found = result(texas, f'discover " Austin" {option} {QUICK}')
    assert found.circuit.target.counterfactual.text == " Houston"
    assert remark(found, '" Houston" was taken')


@pytest.mark.parametrize("line", ['discover "Austin"', "discover 'Austin'", call_line("discover", "Austin")])
def test_a_quoted_word_is_exact_and_the_likelier_one_is_pointed_at(texas: Session, line: str) -> None:
    found = result(texas, f"{line} {QUICK}")
    assert explained(found) == "Aust"  # its first token
    assert remark(found, '" Austin" with its leading space is likelier here than "Austin"')


def test_a_command_file_keeps_its_meaning_and_says_what_is_likelier(texas: Session, tmp_path: Path) -> None:
    path = tmp_path / "old.wb"
    path.write_text(f"discover Austin {QUICK}\n")
    values = [event.value for event in script.play(texas, path) if isinstance(event, Result)]
    assert explained(values[0]) == "Aust"
    assert remark(values[0], '" Austin" with its leading space is likelier')


def test_prob_reads_words_the_same_way(texas: Session) -> None:
    found = result(texas, 'prob Austin " Dallas" "Houston"')
    assert {" Austin", " Dallas"} < {chance.text for chance in found.chances}
    assert remark(found, '" Austin" was taken') and remark(found, '" Houston" with its leading space')


def test_a_word_that_begins_a_reply_stays_as_it_is(session: Session) -> None:
    result(session, "prompt What is the capital of Texas?")
    found = result(session, f"discover The {QUICK}")
    assert explained(found) == "The"
    assert not [note for note in found.notes if "likelier" in note]


def test_the_last_distribution_stays_what_it_was(texas: Session) -> None:
    result(texas, "top 1")
    before = texas.last_output
    result(texas, f"discover Austin {QUICK}")
    assert texas.last_output is before


def test_inject_reads_its_target_the_same_way(texas: Session) -> None:
    result(texas, 'capture texas --prompt "The capital of Texas is" --at Texas --layer 8 --raw')
    line = 'inject texas --into "The capital of Texas is" --at Texas --target Austin --raw --max-tokens 2'
    found = result(texas, line)
    assert found.target.tokens[0].text == " Austin"
    assert remark(found, '" Austin" was taken')


def test_a_line_of_a_request_says_exactly_its_token() -> None:
    assert Discover("Austin").line() == 'discover "Austin"'
    assert Discover(" Austin").line() == 'discover " Austin"'
    assert parse(Discover("Austin").line()).request == Discover("Austin")
    typed = parse("discover Austin").request
    assert typed.line() == "discover Austin"  # so that it is read again as it was
    assert line_of(["keep", QuotedText("top10")], {"--as": [QuotedText("x")]}) == 'keep "top10" --as "x"'


def test_the_journal_has_the_word_as_it_was_typed(texas: Session) -> None:
    events = list(run(texas, f"discover Austin {QUICK}"))
    assert [event for event in events if isinstance(event, Result)]
