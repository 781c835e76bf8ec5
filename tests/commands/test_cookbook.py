"""The command files that come with the workbench are true: every `expect` of theirs holds.

The quick ones are run here in a small setting. `python -m benchmarks.cookbook` runs all of them whole.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from commands import library, script
from commands.grammar import VERBS, parse
from sessions.errors import UsageError
from sessions.events import Failed, Result
from sessions.lines import quoted
from sessions.results import Ran
from sessions.session import Session
from tests.commands.driving import events_of, failure, result

#: The files: one for each project that the workbench was built for, and one on attention heads.
PROJECTS = {"capital", "crab", "induction", "kernel", "meow", "patchscope"}
#: What makes the quick ones small: fewer texts and neurons, and no claim that only many of these bear out.
SMALL = {
    "capital": {"tokens": "8", "sizes": "50,100", "controls": "1"},
    "induction": {},
    "patchscope": {"docs": "32", "tokens": "12", "map": "11-12"},
}
FILES = {file.name: file for file in library.files()}


def test_each_project_has_a_file() -> None:
    assert FILES.keys() == PROJECTS
    for file in FILES.values():
        assert len(file.heading) > 80, "the heading says what is shown"
        assert SMALL.get(file.name, {}).keys() <= file.values.keys()
        lines = [parse(line.text) for line in script.read(Path(file.path))]
        assert sum(line.verb == "expect" for line in lines) >= 5
        page = Path(__file__).parents[2] / "docs" / "cookbook" / f"{file.name}.md"
        assert file.heading in page.read_text("utf-8"), f"python -m benchmarks.cookbook {file.name} --pages"


@pytest.mark.parametrize("name", SMALL)
def test_a_file_goes_through_and_what_it_expects_is_true(
    name: str, knowing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    session = Session(knowing)
    words = " ".join(f"--set {quoted(f'{key}={value}')}" for key, value in SMALL[name].items())
    events = events_of(session, f"run {name} {words}")
    assert [event for event in events if isinstance(event, Failed)] == []
    last = [event.value for event in events if isinstance(event, Result)][-1]
    assert isinstance(last, Ran) and last.lines > 20
    assert os.listdir(work) == [], "it leaves nothing where it was run"
    session.close()


def test_between_them_they_show_what_the_workbench_is_for() -> None:
    used = {VERBS[parse(line.text).verb].head for file in FILES.values() for line in script.read(Path(file.path))}
    assert used >= {"discover", "ablate", "sweep", "contrast", "vector", "edges", "faithfulness"}
    assert used >= {
        "rewrite",
        "say",
        "train-round",
        "evaluate",
        "inspect",
        "fingerprint",
        "undo",
        "attention",
        "suppress",
    }
    assert used >= {"surgery", "crab", "rounds", "recruits", "ensemble", "atlas", "capture", "inject", "sae"}


@pytest.mark.parametrize("name", sorted(FILES))
def test_on_a_model_that_cannot_do_it_a_file_stops_with_one_plain_error(little: Session, name: str) -> None:
    """The tiny model has three layers, no chat template, and knows no capital."""
    text = Path(FILES[name].path).read_text("utf-8")
    own = "\n".join("" if line.startswith("model ") else line for line in text.splitlines())
    Path("own.wb").write_text(own.replace("${here}", str(library.FOLDER)), "utf-8")
    model, tensors = little.opened(), {key: each.clone() for key, each in little.opened().model.state_dict().items()}
    failed = [event for event in events_of(little, "run own.wb") if isinstance(event, Failed)]
    assert [each.error for each in failed][-1] == "script" and "stopped at line" in failed[-1].message
    assert len(failed) == 2 and failed[0].error not in ("defect", "memory") and failed[0].where.startswith("own.wb:")
    assert little.opened() is model
    assert all(torch.equal(each, tensors[key]) for key, each in model.model.state_dict().items())
    assert result(little, "generate").text is not None


def test_a_file_of_the_workbench_is_checked_before_it_runs(little: Session) -> None:
    before = little.state()
    failed = failure(little, "run crab --set roundz=2")
    assert "does not use a value named 'roundz'" in failed.message
    assert little.state() == before
    with pytest.raises(UsageError, match="unknown subject"):
        script.commands_in(b"discover x\nexpect faithfulnes.kept@50 > 1", "a.wb", {})
    assert result(little, "run --list").rows == tuple(FILES.values())
