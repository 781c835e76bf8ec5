"""`report`: the lines of a session or a journal as a page, and a command file that runs them again."""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from commands import script
from commands.grammar import VERBS
from commands.repeating import command_file
from commands.running import run
from sessions.circuits.circuit import Circuit
from sessions.events import finished
from sessions.journal import Journal, Record, read
from sessions.model.opening import OpenModel
from sessions.results import Reported
from sessions.session import Session
from tests.commands.driving import events_of, failure, result


def page_of(session: Session, line: str = "report out.html --force") -> str:
    made = result(session, line)
    assert isinstance(made, Reported) and Path(made.path).stat().st_size == made.bytes
    return Path(made.path).read_text(encoding="utf-8")


def lines_in(page: str) -> list[str]:
    """The lines of a page, with their numbers: `3 top 5`."""
    found = re.findall(r'<h3 class="head"><a href="#line-(\d+)">\d+</a><code translate="no">(.*?)</code>', page)
    return [f"{number} {line}" for number, line in found]


def commands_in(page: str) -> list[str]:
    """The lines of the page's command file, without comments."""
    link = re.search(r'href="data:text/plain;charset=utf-8;base64,([^"]*)"', page)
    assert link is not None
    text = b64decode(link[1]).decode()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture
def used(little: Session) -> Session:
    """A session in which lines have run, one of which failed."""
    for line in ("top 3", "generate", "ablate L9/N9", "neurons top3", 'set  top   "7"'):
        events_of(little, line)
    return little


USED = ["1 set max_tokens 4", "2 prompt the cat", "3 top 3", "4 generate", "5 ablate L9/N9", "6 neurons top3"]


def test_a_report_has_every_line_of_the_session_with_its_result(used: Session) -> None:
    made = result(used, "report out.html")
    assert (made.lines, made.failed) == (7, 1)
    page = Path("out.html").read_text(encoding="utf-8")
    assert lines_in(page) == [*USED, "7 set  top   &quot;7&quot;"]
    assert "✗ there is no layer 9" in page or "✗ " in page
    assert used.model is not None and used.model.info.fingerprint in page
    for said in ("session test", "tiny", "workbench", "torch", "python", "1 failed", 'id="state"'):
        assert said in page


def test_a_report_ends_with_the_circuit_that_the_session_holds(used: Session, twenty: Circuit) -> None:
    state = page_of(used).partition('id="state"')[2]
    for neuron in twenty.neurons:
        assert f'<td class="wb-number">{neuron.index}</td>' in state
    assert "20 neurons" in state and "&quot;the cat&quot;" in state and "pushes up" in state


def test_a_circuit_without_a_model_is_shown_too(empty: Session, twenty: Circuit) -> None:
    empty.circuit = twenty
    assert f'<td class="wb-number">{twenty.neurons[0].index}</td>' in page_of(empty).partition('id="state"')[2]


@pytest.mark.parametrize(
    ("start", "first"),
    [("1", 1), ("4", 4), ("-2", 6), ("-99", 1), ("top", 3), ('"prompt the"', 2), ("set", 7), ('"set top"', 7)],
)
def test_since_begins_at_a_line_by_its_number_or_its_first_words(used: Session, start: str, first: int) -> None:
    numbers = [int(line.split()[0]) for line in lines_in(page_of(used, f"report out.html --since {start}"))]
    assert numbers == [*range(first, 8)]


def test_only_shows_the_lines_of_some_verbs_with_their_numbers(used: Session) -> None:
    assert lines_in(page_of(used, "report out.html --only top,generate")) == ["3 top 3", "4 generate"]
    page = page_of(used, "report two.html --only ablate --since 2")
    assert lines_in(page) == ["5 ablate L9/N9"] and "1 of 8 lines · 1 failed" in page
    # Up to the last line that is shown, without the one that failed.
    assert commands_in(page) == ["model tiny", "set max_tokens 4", "prompt the cat", "top 3", "generate"]
    assert lines_in(page_of(used, "report three.html --only atlas")) == []


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("report out.html --since 8", "there is no line 8", "numbered from 1 to 7; -1 is the last"),
        ("report out.html --since 0", "there is no line 0", "numbered from 1 to 7"),
        ("report out.html --since sweep", "no line begins with 'sweep'", "7 set top"),
        ("report out.html --only toop", "there is no verb 'toop'", "did you mean top?"),
        ("report out.html --only qqqq", "there is no verb 'qqqq'", "of the lines: ablate, generate"),
        ("report out.html --only top,,", "has an empty word in it", "commas between them"),
        ("report out.pdf", "'out.pdf' does not end in .html", "report out.html"),
        ("report out", "'out' does not end in .html", "report out.html"),
        ("report .", "'.' is a folder", "report.html"),
        ("report out.html --journal nowhere", "there is no journal 'nowhere'", "journals of this home: test"),
        ("report out.html --journal .", "there is no journal '.'", "journals of this home: test"),
    ],
)
def test_what_cannot_be_reported_is_refused_and_nothing_is_written(
    used: Session, line: str, message: str, hint: str
) -> None:
    failed = failure(used, line)
    assert message in failed.message and hint in failed.hint and failed.error == "usage"
    assert not [*Path().glob("out*")]


def test_a_page_that_exists_is_replaced_only_by_force(used: Session) -> None:
    Path("out.html").write_text("mine")
    failed = failure(used, "report out.html")
    assert "exists already" in failed.message and "--force" in failed.hint
    assert Path("out.html").read_text() == "mine"
    assert lines_in(page_of(used))[-1] == "8 report out.html"


def test_a_session_has_its_own_lines_and_a_journal_those_of_all(used: Session, tmp_path: Path) -> None:
    other = Session(tmp_path / "home", journal="test")
    assert "No command has run yet." in page_of(other, "report none.html")
    result(other, "set top 9")
    result(used, "set top 8")
    assert lines_in(page_of(other, "report its.html")) == ["1 report none.html", "2 set top 9"]
    assert lines_in(page_of(used, "report own.html"))[-1] == "8 set top 8"
    for name in ("test", str(tmp_path / "home" / "hosts" / "test" / "journal.jsonl")):
        lines = lines_in(page_of(other, f"report all.html --journal {name} --force"))
        assert [line.partition(" ")[2] for line in lines][7:10] == ["report none.html", "set top 9", "set top 8"]
    assert 'id="state"' not in Path("all.html").read_text("utf-8")


def test_a_session_without_a_journal_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed = failure(Session(tmp_path / "home"), "report out.html")
    assert failed.message == "this session keeps no journal" and "--journal" in failed.hint


def test_a_damaged_journal_is_a_page_that_says_what_is_missing(used: Session) -> None:
    assert used.journal is not None
    with used.journal.path.open("ab") as file:
        file.write(b'{"line": "torn\n\xff\xfe\n')
    page = page_of(used, "report out.html --journal test")
    assert len(lines_in(page)) == 7 and "line 8 is not a record" in page and "line 9 is not a record" in page
    used.journal.path.unlink()
    assert "8 lines of this session are no longer in" in page_of(used, "report gone.html")


def test_a_result_that_is_too_large_for_the_journal_is_in_the_report_of_its_session(
    little: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.journal.LARGEST_VALUE", 2000)
    result(little, "neurons")
    assert "more than the 2000 that are journaled" not in page_of(little)
    assert "more than the 2000 that are journaled" in page_of(little, "report all.html --journal test")


# ---- the command file


def record(line: str, **changes: Any) -> Record:
    made = Record(
        line=line, verb=line.split()[0], arguments={}, outcome="result", value={"kind": "Quit"}, seconds=0.1, rng=0,
        time="2026-11-30T16:25:18+00:00", versions={},
    )  # fmt: skip
    return structs.replace(made, **changes)


def again(*records: Record) -> list[str]:
    return [line for line in command_file(records, "session x").splitlines()[3:] if line]


def test_the_command_file_of_a_page_runs_its_lines_again(
    used: Session, tiny_llama: OpenModel, twenty: Circuit, tmp_path: Path
) -> None:
    for line in ("undo", "prompt 'a \"b\" ${x} \\'", "seed #1", "top 3"):
        events_of(used, line)
    page = page_of(used)
    assert "ablate L9/N9" not in commands_in(page)
    path = Path("report.wb")
    path.write_bytes(b64decode(re.findall(r"base64,([^\"]*)", page)[0]))
    text = path.read_text("utf-8").replace("model tiny\n", "")  # it has no name that opens it
    path.write_text(text, encoding="utf-8")
    other = Session(tmp_path / "other", journal="test")
    other.model, other.circuit = tiny_llama, twenty
    finished(script.play(other, path))
    assert other.prompt == used.prompt and other.settings == used.settings
    assert other.results["top"][-1] == used.results["top"][-1]


def test_lines_are_written_as_the_grammar_writes_them() -> None:
    lines = again(record("prompt  the   cat"), record("set top 5  # few"), record('prompt "a\nb"'), record("top\t3"))
    assert [*map(len, map(str.splitlines, lines))] == [1, 1, 1, 1]
    assert lines[1:] == ["set top 5", 'prompt "a\\nb"', "top 3"]


@pytest.mark.parametrize("line", sorted({example for verb in VERBS.values() for example in verb.examples}))
def test_the_example_of_every_verb_can_be_repeated(line: str) -> None:
    verb = VERBS.get(" ".join(line.split()[:2])) or VERBS.get(line.split()[0])
    name = line.split()[0] if verb is None else str(verb.name)
    data = command_file([record(line, verb=name)], "session x").encode()
    kept = script.commands_in(data, "report.wb", {}, trust=True)
    assert len(kept) == (0 if name in ("run", "report", "help", "quit") else 1)


def test_failed_lines_files_and_lines_of_other_versions_are_no_commands() -> None:
    failed = record("ablate L99/N1\nset top 5", outcome="failed")
    assert again(
        failed, record("run x.wb"), record("report x.html"), record("help"), record("quit"), record("set top 5")
    ) == [
        "# failed: ablate L99/N1 set top 5",
        "set top 5",
    ]
    assert again(record("gibberish now")) == ["# not understood today: gibberish now"]


def test_a_session_that_began_with_an_open_model_opens_it_first() -> None:
    lines = again(record("top 3", model="my model", rng=4))
    assert lines[1:] == ['model "my model"', "set rng 4", "top 3"]
    assert again(record("model smollm2", model="smollm2"))[-1:] == ["model smollm2"]


def test_a_model_with_code_of_its_own_is_said_to_need_trust() -> None:
    trusting = record("model x --trust-remote-code", arguments={"trust_remote_code": True})
    assert "add --trust" in command_file([trusting], "session x")
    assert "--trust" not in command_file([record("top 3")], "session x")


def test_an_old_journal_is_a_page(empty: Session) -> None:
    """A journal as it was written before results had some of their fields."""
    old = Path("old.jsonl")
    values = (
        (
            "set top 50",
            "set",
            "result",
            '{"kind":"SettingsShown","settings":{"top":"50"},"changed":"top"}',
            "2026-01-01",
        ),
        ("suppress top3", "suppress", "result", '{"kind":"Suppressed","count":3}', ""),
        ("nothing", "", "failed", '{"error":"usage","message":"there is no verb"}', "x"),
    )
    for line, verb, outcome, value, moment in values:
        with old.open("a") as file:
            file.write(f'{{"line":"{line}","verb":"{verb}","arguments":{{}},"outcome":"{outcome}","value":{value},')
            file.write(f'"seconds":1.5,"rng":0,"time":"{moment}","versions":{{}}}}\n')
    assert len(read(old)[0]) == 3
    page = page_of(empty, "report out.html --journal old.jsonl")
    assert len(lines_in(page)) == 3 and "another version wrote this result" in page and "✗ there is no verb" in page
    assert commands_in(page) == ["set top 50", "suppress top3"]


def test_reporting_can_be_cancelled(used: Session) -> None:
    events = run(used, "report out.html")
    next(events)
    used.cancel.request()
    assert [event.error for event in events if hasattr(event, "error")] == ["cancelled"]
    assert not Path("out.html").exists()


def test_a_journal_of_thousands_of_lines_is_a_page(empty: Session, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "home" / "hosts" / "long" / "journal.jsonl")
    journal.path.parent.mkdir(parents=True)
    one = record(
        "set top 5", value={"kind": "SettingsShown", "settings": {"top": "5"}, "described": {}, "changed": "top"}
    )
    journal.append(one)
    journal.path.write_bytes(journal.path.read_bytes() * 5000)
    made = result(empty, "report out.html --journal long")
    assert made.lines == 5000 and len(commands_in(Path(made.path).read_text("utf-8"))) == 5000
