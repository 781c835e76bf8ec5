"""`sweep`: one line is a grid, kept under a name it goes on where it stopped, and a wrong word changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from commands import run
from commands.completing import complete
from sessions.comparisons import sweep_files
from sessions.events import Progress
from sessions.model.opening import OpenModel
from sessions.results import Swept, SweptGrid
from sessions.session import Session
from tests.commands.driving import events_of, failure, result, unharmed

FILE = """\
{"prompt": "the cat", "target": " a", "counterfactual": " b"}
{"prompt": "a dog in the"}
"""


@pytest.fixture
def keys(little: Session) -> Path:
    """A file of two prompts, in the working folder."""
    path = Path("keys.jsonl")
    path.write_text(FILE, encoding="utf-8")
    return path


def test_the_simple_form_is_one_arm_a_multiplier_in_the_order_given(little: Session) -> None:
    value = result(little, "sweep top5 2 0 1")
    assert isinstance(value, Swept)
    assert [arm.multiplier for arm in value.arms] == [2, 0, 1] and value.neurons == len(set(value.selection and [
        neuron.site for neuron in little.select("top5").neurons
    ]))  # fmt: skip
    assert [arm.name for arm in value.arms] == ["×2", "×0", "×1"]
    assert all(len(arm.next_tokens) >= 10 for arm in value.arms)
    plain = result(little, "generate")
    assert value.arms[2].ids == plain.arm.ids
    assert little.last_output.text == plain.text
    assert value.knee is not None and value.folder == value.chart == ""


def test_a_grid_of_selections_says_what_each_says_alone(little: Session) -> None:
    grid = result(little, "sweep top5 0 2 --also top10 --also L1/* --batch 2")
    assert isinstance(grid, SweptGrid) and len(grid.cells) == 7 and grid.prompts == 1
    for curve in grid.curves:
        alone = result(little, f"sweep {curve.selection} 0 2")
        cells = [cell for cell in grid.cells if cell.selection == curve.selection]
        assert [cell.ids for cell in cells] == [arm.ids for arm in alone.arms]
        assert curve.neurons == alone.neurons and curve.knees[0] == alone.knee
        assert [point.multiplier for point in curve.points] == [0, 1, 2]


def test_many_prompts_have_their_own_targets_and_need_no_prompt(little: Session, keys: Path) -> None:
    with_prompt = result(little, f"sweep top5 0 2 --prompts {keys} --max-tokens 2")
    little.prompt = None
    grid = result(little, f"sweep top5 0 2 --prompts {keys} --max-tokens 2")
    assert grid.cells == with_prompt.cells and grid.prompts == 2 and grid.targets == 2 and grid.target is None
    assert [cell.prompt for cell in grid.cells] == [0, 0, 0, 1, 1, 1]
    assert all(cell.length <= 2 and cell.target_probability is not None for cell in grid.cells)


def test_a_scope_is_a_part_of_the_text(little: Session) -> None:
    everywhere, generated = result(little, "sweep all 0"), result(little, "sweep all 0 --generated")
    baseline = result(little, "sweep all 1")
    there, begun, plain = (each.arms[0].target for each in (everywhere, generated, baseline))
    assert begun == pytest.approx(plain, abs=1e-4) and there != pytest.approx(plain, abs=1e-4)
    assert generated.scope == "in what is generated" and (everywhere.scope, baseline.scope) == ("all", "all")
    assert result(little, "sweep all 0 --positions -1").scope == "at positions -1"


def test_what_is_suppressed_stays_at_zero_and_that_is_said(little: Session) -> None:
    first = little.select("top1").neurons[0]
    result(little, f"suppress L{first.layer}/N{first.index}")
    value = result(little, "sweep top2 0 2")
    assert any("are suppressed and stay at zero" in note for note in value.notes)


# ---- kept under a name


def files_of(little: Session, name: str = "job") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (little.home / "sweeps" / name).iterdir()}


def test_a_sweep_that_is_kept_has_its_plan_cells_table_and_charts(little: Session, keys: Path) -> None:
    value = result(little, f"sweep top5 0 2 --also top10 --prompts {keys} --save job")
    files = files_of(little)
    assert sorted(files) == ["cells.csv", "cells.jsonl", "chart.png", "chart.svg", "plan.json"]
    assert value.folder == str(little.home / "sweeps" / "job")
    cells = [msgspec.json.decode(line, type=type(value.cells[0])) for line in files["cells.jsonl"].splitlines()]
    assert tuple(cells) == value.cells
    header = msgspec.json.decode(files["plan.json"])
    assert header["command"] == f"sweep top5 0 2 --also top10 --prompts {keys} --save job"
    assert (header["model"], header["size"]) == ("tiny", 10) and header["body"]["versions"]


@pytest.mark.parametrize("again", ["the same line", "resume"])
def test_a_job_that_was_closed_goes_on_and_comes_to_the_same_files(little: Session, keys: Path, again: str) -> None:
    line = f"sweep top5 0 0.5 2 --also top10 --prompts {keys} --batch 3 --save"
    result(little, f"{line} whole")
    steps = run(little, f"{line} job")
    for event in steps:
        if isinstance(event, Progress) and event.label == "sweeping" and event.done >= 7:
            break
    steps.close()
    assert set(files_of(little)) == {"cells.jsonl", "plan.json"}
    if again == "resume":
        little.prompt = little.circuit = None
        keys.unlink()
    value = result(little, "sweep --resume job" if again == "resume" else f"{line} job")
    assert "6 of 14 cells were done already" in value.notes
    assert little.last_output.text == value.cells[-1].text
    whole, job = files_of(little, "whole"), files_of(little)
    assert all(whole[name] == job[name] for name in whole if name != "plan.json")


def test_progress_is_counted_in_cells(little: Session) -> None:
    events = events_of(little, "sweep top5 0 2 --also top10 --batch 2 --save job")
    heard = [event for event in events if isinstance(event, Progress) and event.label == "sweeping"]
    assert heard[0].done == 0 and heard[-1].done == 5 and {event.total for event in heard} == {5}
    assert [event.done for event in heard] == sorted(event.done for event in heard)
    assert result(little, "sweep --resume job").notes[-1] == "5 of 5 cells were done already"


def test_a_simple_sweep_that_is_kept_is_shown_as_it_was(little: Session) -> None:
    first = result(little, "sweep top5 2 0 1 --save job")
    again = result(little, "sweep --resume job")
    assert isinstance(again, Swept)
    assert [(arm.multiplier, arm.ids, arm.text) for arm in again.arms] == [
        (arm.multiplier, arm.ids, arm.text) for arm in first.arms
    ]
    assert again.knee == first.knee and again.target == first.target


def test_another_plan_under_the_name_is_refused_and_with_force_the_old_one_is_in_the_trash(little: Session) -> None:
    result(little, "sweep top5 0 2 --save job")
    before = files_of(little)
    with unharmed(little):
        failed = failure(little, "sweep top5 0 3 --save job")
    assert failed.message == "there is another sweep 'job': its multipliers" and "--force" in failed.hint
    assert files_of(little) == before
    value = result(little, "sweep top5 0 3 --save job --force")
    (moved,) = (little.home / "trash" / "sweeps").iterdir()
    assert (moved / "cells.jsonl").read_bytes() == before["cells.jsonl"]
    assert any(moved.name in note for note in value.notes)
    assert "2 of 3" not in " ".join(result(little, "sweep top5 0 3 --save job --force").notes)


def test_a_damaged_plan_is_replaced_with_force_alone(little: Session) -> None:
    result(little, "sweep top5 0 2 --save job")
    (little.home / "sweeps" / "job" / "plan.json").write_bytes(b'{"kind": "sweep", ')
    with unharmed(little):
        assert "plan.json is malformed at line 1" in failure(little, "sweep top5 0 2 --save job").message
        assert "plan.json is malformed at line 1" in failure(little, "sweep --resume job").message
    assert result(little, "sweep top5 0 2 --save job --force").folder


def test_a_sweep_is_gone_on_with_on_its_own_model_alone(little: Session, tiny_chat: OpenModel) -> None:
    result(little, "sweep top5 0 2 --save job")
    result(little, "suppress L0/N3")
    with unharmed(little):
        failed = failure(little, "sweep --resume job")
        assert failed.message.startswith("L0/N3 is suppressed now, and was not") and failed.hint == "release L0/N3"
    little.use_model(tiny_chat)
    with unharmed(little):
        failed = failure(little, "sweep --resume job")
    assert "it was made on tiny, and tiny-chat is open" in failed.message


def test_what_was_suppressed_when_it_began_is_when_it_goes_on(little: Session) -> None:
    result(little, "suppress top3")
    first = result(little, "sweep top10 0 2 --also top5 --save job")
    path = little.home / "sweeps" / "job" / "cells.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"")
    result(little, "release all")
    assert result(little, "sweep --resume job").cells == first.cells
    assert path.read_bytes() == whole


def test_two_at_once_are_one_too_many(little: Session) -> None:
    result(little, "sweep top5 0 2 --save job")
    with sweep_files.taken(little.home, "job", new=False), unharmed(little):
        for line in ("sweep top5 0 2 --save job", "sweep --resume job", "sweep top5 0 9 --save job --force"):
            assert failure(little, line).message == "another process is working on the sweep 'job'"


def test_completion_offers_what_is_kept(little: Session) -> None:
    result(little, "sweep top5 0 2 --save job")
    for option in ("--save", "--resume"):
        assert [each.text for each in complete(f"sweep {option} j", session=little)] == ["job"]


# ---- bad input


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("sweep top5 0 2 0.0", "a multiplier is given twice", "sweep all 0 0.5 1 2"),
        ("sweep top5 nan", "'nan' is not a multiplier", "0.5"),
        ("sweep top5 0 inf", "too large for a multiplier", "million"),
        ("sweep top5 0 2 --also top5", "a selection is given twice", "--also top50"),
        ("sweep top5 0 2 --also top5,,", "'top5,,' is not a selection", "top10"),
        ("sweep top5 0 2 --also nobody", "no saved circuit is called 'nobody'", "top10"),
        ("sweep top5 0 2 --raw", "--raw is for a file of prompts", "--prompts"),
        ("sweep top5 0 2 --prompts no.jsonl", "cannot read", "path"),
        ("sweep top5 0 2 --prompts keys.jsonl --at circuit", "at positions of one prompt, such as", "many prompts"),
        ("sweep top5 0 2 --batch 0", "'0' is not a whole number", "10"),
        ("sweep top5 0 2 --save ../x", "is a path, not a name", "texas-2"),
        ("sweep top5 0 2 --save all", "'all' cannot be a name", "my-all"),
        ("sweep --resume nobody", "no sweep is called 'nobody'", "did you mean"),
        ("sweep --resume nobody5", "no sweep is called 'nobody5'", "nobody2"),
        ("sweep top5 --resume nobody2", "a selection does not go with --resume", "sweep --resume"),
        ("sweep --resume nobody2 --save x", "--save does not go with --resume", "sweep --resume"),
        ("sweep --resume nobody2 --generated", "--generated does not go with --resume", "sweep --resume"),
        ("sweep --resume nobody2 --at circuit", "--at does not go with --resume", "sweep --resume"),
        ("sweep top5 0 2 --chart x.pdf", "the endings are .svg, .png", "--chart x.svg"),
        ("sweep top5 0 2 --chart there.svg", "'there.svg' exists already", "--force"),
        ("sweep top5 0 2 --chart folder.svg", "'folder.svg' is a folder", "sweep.svg"),
        ("sweep top5 0 2 --positions 99", "", ""),
    ],
)
def test_a_wrong_sweep_is_refused_before_it_starts(
    little: Session, keys: Path, line: str, message: str, hint: str
) -> None:
    Path("there.svg").write_text("x")
    Path("folder.svg").mkdir()
    result(little, "sweep top5 0 --save nobody2")
    if not message:
        assert result(little, line).arms
        return
    with unharmed(little):
        failed = failure(little, line)
    assert message in failed.message and hint in failed.hint
    assert sweep_files.names(little.home) == ["nobody2"]


def test_a_chart_is_written_without_a_name(little: Session) -> None:
    value = result(little, "sweep top5 0 2 --chart a.SVG")
    assert value.chart == str(Path("a.SVG").absolute()) and Path("a.SVG").read_bytes().startswith(b"<?xml")
    result(little, "sweep top5 0 2 --chart a.SVG --force")
    result(little, "sweep top5 0 2 --also top3 --chart b.png")
    assert Path("b.png").read_bytes().startswith(b"\x89PNG")


def test_a_line_of_a_kept_sweep_makes_it_again(little: Session, keys: Path) -> None:
    line = f"sweep top5 -1 0.5 --also 'L0/N1, L1/N2' --generated --positions 1-3,9 --prompts {keys} --raw --batch 4"
    result(little, f"{line} --save job")
    command = msgspec.json.decode(files_of(little)["plan.json"])["command"]
    notes: Any = result(little, command).notes
    assert "10 of 10 cells were done already" in notes


def test_a_selection_that_was_never_in_force_is_not_taken_for_what_is_live_beside_it(little: Session) -> None:
    result(little, "shift L0/N1 2 --live")
    found = result(little, 'sweep L1/N3 0 2 --answer --marker "no such text" --max-tokens 3')
    assert [(part.part, part.fired) for part in found.arms[0].parts] == [("always", found.arms[0].read), ("answer", 0)]
    assert any(
        "in 2 of 3 texts the selection was never in force: the marker 'no such text' did not come" in note
        for note in found.notes
    )
