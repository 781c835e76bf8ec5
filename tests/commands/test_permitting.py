"""What an agent's lines may not do: write files outside the home, and let a model's own code run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec import structs

from commands.calling import call_line
from commands.grammar import VERBS, parse
from commands.names import FileName, OutputFile
from commands.permitting import trusts, written_by
from commands.request import Arg, Opt, fields_of
from commands.verb import Verb, key_of
from sessions.permits import Permits
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed

#: The verbs with a parameter of a file that is written, and that parameter.
WRITING = [(verb, param) for verb in VERBS.values() for param in verb.params if isinstance(param.type, OutputFile)]


@pytest.fixture
def limited(little: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session whose lines are an agent's, in a folder of its home."""
    folder = little.home / "files"
    folder.mkdir()
    monkeypatch.chdir(folder)
    little.permits = Permits(little.home, trust=False)
    return little


def test_what_is_said_to_be_written_is_declared_so() -> None:
    """A file that a parameter's help says is written has the kind of word that limits go by."""
    for verb in VERBS.values():
        for field in fields_of(verb.kind):
            if isinstance(field.mark, Arg | Opt) and isinstance(field.mark.word, FileName):
                said = re.search("^write |to write(,|$)|^the file for", field.mark.help) is not None
                assert isinstance(field.mark.word, OutputFile) == said, f"{verb.name}: {field.name}"


def line_writing(verb: Verb, key: str, path: Path) -> str:
    """A line of the verb that writes to the path."""
    words = {key_of(param): "one" for param in verb.params if param.required}
    if verb.name == "evaluate":
        words["file"] = "tasks.jsonl"
    return call_line(str(verb.name), **{**words, key: path})


@pytest.mark.parametrize(("verb", "param"), WRITING, ids=[str(verb.name) for verb, _ in WRITING])
def test_no_verb_writes_outside_the_home(limited: Session, tmp_path: Path, verb: Verb, param: object) -> None:
    outside = tmp_path / "outside.csv"
    line = line_writing(verb, key_of(param), outside)  # type: ignore[arg-type]
    assert written_by(parse(line).request) == (outside,)
    with unharmed(limited):
        failed = failure(limited, line)
    assert "is outside the home folder" in failed.message and "--write-anywhere" in failed.hint
    assert not outside.exists()


@pytest.mark.parametrize("path", ["../../x.csv", "away/x.csv", "link.csv", "..", "../../home-beside/x.csv"])
def test_no_detour_leads_outside(limited: Session, tmp_path: Path, path: str) -> None:
    """Neither `..` nor symbolic links, and a folder whose name only begins like the home's is another."""
    limited.permits = Permits(limited.home / "files", trust=False)
    (limited.home / "files" / "away").symlink_to(tmp_path)
    (limited.home / "files" / "link.csv").symlink_to(tmp_path / "x.csv")
    assert "is outside" in failure(limited, f"export {path} --force").message
    assert not (tmp_path / "x.csv").exists()


def test_files_are_written_in_the_home(limited: Session) -> None:
    for path in ("a.csv", "below/b.csv", str(limited.home / "c.csv"), "../d.csv"):
        (limited.home / "files" / "below").mkdir(exist_ok=True)
        assert Path(result(limited, f"export {path}").path).is_file()


def test_a_file_of_lines_has_the_limits_of_who_runs_it(limited: Session, tmp_path: Path) -> None:
    Path("inner.wb").write_text(f"export {tmp_path}/x.csv\n")
    Path("outer.wb").write_text("set top 3\nrun inner.wb\n")
    assert "is outside" in failure_of_file(limited, "run outer.wb")
    assert not (tmp_path / "x.csv").exists()


def failure_of_file(session: Session, line: str) -> str:
    from commands import run
    from sessions.events import Failed

    return next(event.message for event in run(session, line) if isinstance(event, Failed))


@pytest.mark.parametrize("line", ["model tiny --trust-remote-code", "run some.wb --trust"])
def test_no_code_of_a_model_is_trusted(limited: Session, line: str) -> None:
    Path("some.wb").write_text("model tiny --trust-remote-code\n")
    assert trusts(parse(line).request)
    with unharmed(limited):
        assert "own code" in failure(limited, line).message


def test_a_persons_lines_have_no_limits(little: Session, tmp_path: Path) -> None:
    assert little.permits == Permits()
    assert Path(result(little, f"export {tmp_path}/x.csv").path).is_file()
    little.permits = structs.replace(little.permits, writes_in=little.home)
    assert "is outside" in failure(little, f"export {tmp_path}/x.csv --force").message
