"""Command files: checked before they run, stopped by the first line that fails, told line by line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import run, script
from sessions.errors import UsageError
from sessions.events import Event, Failed, Result, Started
from sessions.lines import quoted
from sessions.results import Quit, Ran
from sessions.session import Session
from sessions.texts.placeholders import assignments
from tests.commands.driving import events_of, failure, failure_in, result, unharmed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def read(text: str, **values: str) -> list[tuple[int, str]]:
    path = Path("file.wb")
    path.write_bytes(text.encode())
    return [(line.number, line.text) for line in script.read(path, values)]


def refused(text: str, **values: str) -> UsageError:
    with pytest.raises(UsageError) as raised:
        read(text, **values)
    return raised.value


def started(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.line, event.where) for event in events if isinstance(event, Started)]


# ---- reading


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# a remark\n\n   \n", []),
        ("top 5\n", [(1, "top 5")]),
        ("top 5", [(1, "top 5")]),
        ("\n  top 5  # five\nlist\n", [(2, "top 5  # five"), (3, "list")]),
        ("\ufefftop 5\r\nlist\r\n", [(1, "top 5"), (2, "list")]),
        ("top 5\rlist", [(1, "top 5"), (2, "list")]),
        ("top \\\n5\nlist", [(1, "top 5"), (3, "list")]),
        ("top \\\n\\\n5\nlist", [(1, "top 5"), (4, "list")]),
        ("# no end to this \\\ntop 5", [(2, "top 5")]),
        ("top 5 # five \\\nlist", [(1, "top 5 # five \\"), (2, "list")]),
        ('prompt "a # \\\nb"', [(1, 'prompt "a # b"')]),
        ("prompt a\fb\x85c\u2028d", [(1, "prompt a\fb\x85c\u2028d")]),
    ],
)
def test_lines_of_a_command_file_are_read(folder: Path, text: str, expected: list[tuple[int, str]]) -> None:
    assert read(text) == expected


@given(st.lists(st.text()))
def test_any_prompt_can_stand_in_a_file(tmp_path_factory: pytest.TempPathFactory, prompts: list[str]) -> None:
    lines = [f"prompt {quoted(prompt)}".replace("${", "$ {") for prompt in prompts]
    path = written(tmp_path_factory.getbasetemp() / "prompts.wb", *lines)
    assert [line.text for line in script.read(path)] == lines


def test_values_are_filled_in(folder: Path) -> None:
    assert read("top ${n}\nprompt ${n} of ${what}", n="5", what="these things") == [
        (1, "top 5"),
        (2, "prompt 5 of these things"),
    ]
    assert read("${nothing}\n# ${not_asked_for}\nlist", nothing=" ") == [(3, "list")]


def test_a_value_can_have_a_default(folder: Path) -> None:
    assert read("top ${n=7}\nlist${nothing=}") == [(1, "top 7"), (2, "list")]
    assert read("top ${n=7}", n="5") == [(1, "top 5")]
    assert read("prompt $${n=7}") == [(1, "prompt ${n=7}")]
    assert read("prompt ${what=the ${n=7} wonders}!", n="5") == [(1, "prompt the 5 wonders!")]
    assert read("prompt ${what=the ${n=7} wonders}!", what="${n}") == [(1, "prompt ${n}!")]


def test_a_file_knows_the_folder_it_is_in(empty: Session) -> None:
    Path("deep").mkdir()
    written(Path("deep/inner.wb"), "set top 3")
    written(Path("deep/outer.wb"), 'run "${here}/inner.wb"')
    assert result(empty, "run deep/outer.wb").lines == 1
    assert empty.settings.top == 3


def test_the_command_files_of_the_workbench_run_by_name(empty: Session) -> None:
    rows = result(empty, "run --list").rows
    assert {row.name for row in rows} >= {"capital", "crab"}
    assert all(row.heading and Path(row.path).is_file() for row in rows)
    failed = failure(empty, "run capitol")
    assert (failed.message, failed.hint) == ("there is no command file 'capitol'", "did you mean capital?")
    written(Path("crab.wb"), "set top 3")
    assert result(empty, "run crab.wb").path == "crab.wb"  # what is here comes before what is packaged
    assert failure(empty, "run --list crab").hint == "to run one: run crab"
    assert "run --list" in failure(empty, "run").hint


def test_a_value_is_not_filled_in_twice(folder: Path) -> None:
    assert read("prompt ${a}", a="${b}") == [(1, "prompt ${b}")]


def test_words_that_give_values() -> None:
    assert assignments(["model=smollm2", "text=a = b", "none="]) == {
        "model": "smollm2",
        "text": "a = b",
        "none": "",
    }
    for word in ("model", "=x", "1a=x", "a b=x"):
        with pytest.raises(UsageError, match="is not name=value"):
            assignments([word])


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("list\ntop ${n}", "file.wb:2: no value for ${n}", "give one: --set n=…"),
        ("top ${a b}", "file.wb:1: '${a b}' does not name a value", "${model}"),
        ("list\n\ndiscovr x", "file.wb:3: there is no verb 'discovr'", "did you mean discover?"),
        ("list\ntop five", "file.wb:2: 'five' is not a whole number", "10"),
        ('list\nprompt "a', "file.wb:2: the quote at column 8 is not closed", 'end it with "'),
        ("list\ntop 5 \\", "file.wb:2 ends in a backslash with nothing after it", "remove"),
    ],
)
def test_a_bad_line_is_found_before_the_first_command(folder: Path, text: str, message: str, hint: str) -> None:
    error = refused(text)
    assert message in error.message
    assert hint in error.hint


def test_a_value_that_nobody_asked_for_is_refused(folder: Path) -> None:
    error = refused("top ${n}", n="5", m="6")
    assert error.message == "file.wb does not use a value named 'm'"
    assert error.hint == "its values: n"
    assert refused("list", m="6").hint == "its values: none"


def test_a_file_that_is_not_utf8_is_refused_with_the_line(folder: Path) -> None:
    Path("latin.wb").write_bytes(b"list\nprompt caf\xe9\n")
    with pytest.raises(UsageError) as raised:
        script.read(Path("latin.wb"))
    assert raised.value.message == "latin.wb:2 is not UTF-8 (byte 0xe9)"
    assert "UTF-8" in raised.value.hint


def test_what_is_no_command_file_is_not_read(folder: Path) -> None:
    Path("large.wb").write_bytes(b"#" * (script.LARGEST + 1))
    Path("loop.wb").symlink_to("loop.wb")
    for name, message in {
        "large.wb": "at most 1 MiB are read",
        "loop.wb": "cannot read",
        "nowhere.wb": "cannot read nowhere.wb: No such file",
        ".": ". is a folder",
        "n" * 5000: "cannot read",
        "/dev/zero": "is not a regular file",
    }.items():
        with pytest.raises(UsageError, match=re.escape(message)) as raised:
            script.read(Path(name))
        assert raised.value.hint


# ---- running


def test_a_file_tells_what_each_of_its_lines_does(empty: Session) -> None:
    written(Path("a.wb"), "set top 5", "# a remark", "set \\", "  rows 7", "info")
    events = events_of(empty, "run a.wb")
    assert started(events) == [
        ("run a.wb", ""),
        ("set top 5", "a.wb:1"),
        ("set   rows 7", "a.wb:3"),
        ("info", "a.wb:5"),
    ]
    assert [type(event.value).__name__ for event in events if isinstance(event, Result)] == [
        "SettingsShown",
        "SettingsShown",
        "Info",
        "Ran",
    ]
    assert isinstance(events[-1], Result) and events[-1].value == Ran(path="a.wb", lines=3)
    assert (empty.settings.top, empty.settings.rows) == (5, 7)


def test_values_come_from_the_line(empty: Session) -> None:
    written(Path("a.wb"), "set ${name} ${value}")
    result(empty, "run a.wb --set name=top --set value=9")
    assert empty.settings.top == 9


def test_a_bad_file_runs_none_of_its_lines(empty: Session) -> None:
    written(Path("a.wb"), "set top 5", "set top five hundred", "abalte")
    with unharmed(empty):
        failed = failure(empty, "run a.wb")
        assert failed.message.startswith("a.wb:2: got unexpected extra argument")
        assert failed.column is None  # of the file's line, not of this one


def test_the_first_line_that_fails_stops_the_file(empty: Session) -> None:
    written(Path("a.wb"), "set top 5", "load nosuch", "set top 6")
    events = events_of(empty, "run a.wb")
    first, last = [event for event in events if isinstance(event, Failed)]
    assert (first.error, first.where) == ("artifact", "a.wb:2")
    assert (last.error, last.where, last.message) == ("script", "", "a.wb stopped at line 2")
    assert empty.settings.top == 5
    assert empty.files == ()


def test_a_false_expectation_stops_the_file(empty: Session) -> None:
    written(Path("a.wb"), "expect circuit.size > 5", "set top 5")
    with unharmed(empty):
        first, last = [event for event in events_of(empty, "run a.wb") if isinstance(event, Failed)]
        assert (first.error, last.error) == ("usage", "script")


def test_a_file_runs_files(empty: Session) -> None:
    written(Path("inner.wb"), "set top 5", "set rows ${rows}")
    written(Path("outer.wb"), "run inner.wb --set rows=3", "set max_tokens 2")
    assert result(empty, "run outer.wb") == Ran(path="outer.wb", lines=2)
    assert (empty.settings.top, empty.settings.rows, empty.settings.max_tokens) == (5, 3, 2)


def test_a_failure_is_told_by_every_file_it_passes(empty: Session) -> None:
    written(Path("inner.wb"), "load nosuch")
    written(Path("outer.wb"), "list", "run inner.wb", "set top 6")
    failures = [event for event in events_of(empty, "run outer.wb") if isinstance(event, Failed)]
    assert [(event.where, event.message) for event in failures] == [
        ("inner.wb:1", "no circuit is called 'nosuch'"),
        ("outer.wb:2", "inner.wb stopped at line 1"),
        ("", "outer.wb stopped at line 2"),
    ]


def test_quit_ends_the_file_it_stands_in(empty: Session) -> None:
    written(Path("inner.wb"), "set top 5", "quit", "set top 6")
    written(Path("outer.wb"), "run inner.wb", "set rows 3")
    assert result(empty, "run outer.wb") == Ran(path="outer.wb", lines=2)
    assert (empty.settings.top, empty.settings.rows) == (5, 3)
    events = events_of(empty, "run inner.wb")
    assert [event.value for event in events if isinstance(event, Result)][-2:] == [
        Quit(),
        Ran(path="inner.wb", lines=2),
    ]


def test_a_file_that_runs_itself_is_refused(empty: Session) -> None:
    written(Path("a.wb"), "set top 5", "run a.wb")
    first, last = [event for event in events_of(empty, "run a.wb") if isinstance(event, Failed)]
    assert first.message == "a.wb runs itself"
    assert first.hint
    assert last.message == "a.wb stopped at line 2"
    assert empty.files == ()


def test_a_file_that_runs_itself_by_way_of_others_is_refused(empty: Session) -> None:
    written(Path("a.wb"), "run b.wb")
    written(Path("b.wb"), "run link.wb")
    Path("link.wb").symlink_to("a.wb")
    failures = [event for event in events_of(empty, "run a.wb") if isinstance(event, Failed)]
    assert failures[0].message == "link.wb runs itself"
    assert len(failures) == 3
    written(Path("twice.wb"), "run list.wb", "run list.wb")
    written(Path("list.wb"), "list")
    assert result(empty, "run twice.wb") == Ran(path="twice.wb", lines=2)


# ---- stopping


def test_a_file_is_cancelled_between_two_lines(empty: Session) -> None:
    written(Path("a.wb"), "set top 5", "set top 6", "set top 7")
    events = []
    for event in run(empty, "run a.wb"):
        events.append(event)
        if isinstance(event, Result) and empty.settings.top == 6:
            empty.cancel.request()
    assert failure_in(events[-1:]).error == "cancelled"
    assert empty.settings.top == 6
    assert empty.files == ()
    assert result(empty, "set top 8").settings["top"] == "8"


def test_a_file_is_cancelled_inside_a_file(little: Session) -> None:
    written(Path("inner.wb"), "generate", "set top 6")
    written(Path("outer.wb"), "run inner.wb", "set top 7")
    with unharmed(little):
        events = []
        for event in run(little, "run outer.wb"):
            events.append(event)
            if isinstance(event, Started) and event.verb == "generate":
                little.cancel.request()
        failures = [event for event in events if isinstance(event, Failed)]
        assert [event.error for event in failures] == ["cancelled"] * 3
        assert [event.where for event in failures] == ["inner.wb:1", "outer.wb:1", ""]


@pytest.mark.parametrize("how", ["close", "interrupt"])
def test_a_file_that_is_given_up_leaves_nothing_running(little: Session, how: str) -> None:
    written(Path("inner.wb"), "generate --max-tokens 3")
    written(Path("outer.wb"), "run inner.wb", "set top 7")
    with unharmed(little):
        events = run(little, "run outer.wb")
        while not isinstance(event := next(events), Started) or event.verb != "generate":
            pass
        next(events)
        assert len(little.files) == 2
        if how == "close":
            events.close()
        else:
            assert failure_in([events.throw(KeyboardInterrupt), *events]).error == "cancelled"
