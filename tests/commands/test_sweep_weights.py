"""`sweep --adapter`: adapters at a range of weights, without being on before or after."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from commands import run
from commands.completing import complete
from sessions.comparisons.sweep_points import Flip, Knee
from sessions.events import Failed, Progress
from sessions.model.opening import OpenModel, adopt
from sessions.results import Swept, SweptGrid
from sessions.session import Session
from tests.adapters import made
from tests.commands.driving import failure, result, unharmed
from tests.families import tiny, tiny_tokenizer
from workbench.rendering.outcomes import present

IDS = torch.tensor([[5, 9, 3]])
PROMPTS = '{"prompt": "the cat", "target": " a"}\n{"prompt": "a dog in the", "target": " b"}\n'


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peft")
    for seed, name in enumerate(("fr", "es", "it")):
        made(folder / name, seed=seed)
    return folder


@pytest.fixture(scope="module")
def model() -> OpenModel:
    return adopt(tiny("llama"), tiny_tokenizer(), name="tiny")


@pytest.fixture
def kept(empty: Session, folders: Path, model: OpenModel) -> Iterator[Session]:
    """A session with three adapters that are kept and none that is on, and a prompt."""
    shutil.copytree(folders, Path(), dirs_exist_ok=True)
    empty.use_model(model)
    for name in ("fr", "es", "it"):
        result(empty, f"adapter load {name}")
    result(empty, "undo 3")
    result(empty, "set max_tokens 4")
    result(empty, "prompt the cat")
    Path("keys.jsonl").write_text(PROMPTS)
    yield empty
    empty.close()
    assert not hasattr(model.model, "peft_config")


def logits(session: Session) -> Tensor:
    with torch.no_grad():
        return session.opened().model(IDS).logits  # type: ignore[no-any-return]


def alone(session: Session, members: str) -> tuple[int, ...]:
    """What the model says with an ensemble of adapters, and nothing else, on."""
    result(session, f"ensemble {members} --only --as alone --force")
    ids = result(session, "generate").arm.ids
    result(session, "undo")
    return tuple(ids)


def said(value: Any) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    for block in present(value, width=100):
        console.print(block)
    return console.export_text()


def test_each_weight_says_what_the_adapter_says_at_that_weight_alone(kept: Session) -> None:
    value = result(kept, "sweep --adapter fr 0 0.5 2")
    assert isinstance(value, Swept) and value.over == "weights" and value.neurons == 0
    plain = tuple(result(kept, "generate").arm.ids)
    assert [arm.multiplier for arm in value.arms] == [0, 0.5, 2]
    assert [tuple(arm.ids) for arm in value.arms] == [plain, alone(kept, "fr=0.5"), alone(kept, "fr=2")]
    assert value.knee is not None and value.knee.base == 0


def test_a_weight_against_another_is_the_ensemble_of_both_shares(kept: Session) -> None:
    value = result(kept, "sweep --adapter fr --against es 0 0.25 1")
    wanted = [alone(kept, "es=1"), alone(kept, "fr=0.25 es=0.75"), alone(kept, "fr=1")]
    assert [tuple(arm.ids) for arm in value.arms] == wanted
    together = result(kept, "sweep --adapter fr*0.5+it 2")
    assert tuple(together.arms[0].ids) == alone(kept, "fr=1 it=2")
    assert "fr against es" in said(value)


def test_the_knee_is_the_weight_nearest_to_zero(kept: Session) -> None:
    value = result(kept, "sweep --adapter fr -4 -1 0 1 2 4")
    tops = {arm.multiplier: max(arm.next_tokens, key=lambda token: token.probability).id for arm in value.arms}
    flips = [m for m, top in tops.items() if top != tops[0]]
    assert flips  # the adapter is strong enough to change a first choice
    assert value.knee.nearest is not None
    assert abs(value.knee.nearest.multiplier) == min(map(abs, flips))


def test_what_is_on_does_not_add_up_and_is_on_again_afterwards(kept: Session) -> None:
    first = result(kept, "sweep --adapter fr 0.5 1")
    result(kept, "adapter load fr --weight 0.3")
    result(kept, "adapter load es")
    before, edits = logits(kept), [edit.name for edit in kept.edits().active]
    second = result(kept, "sweep --adapter fr 0.5 1")
    assert [arm.ids for arm in second.arms] == [arm.ids for arm in first.arms]
    assert any("left out of every row, and on again now: fr, es" in note for note in second.notes)
    assert torch.equal(logits(kept), before) and [edit.name for edit in kept.edits().active] == edits


@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_sweep_that_is_broken_off_leaves_the_model_as_it_was(kept: Session, after: int) -> None:
    result(kept, "adapter load es")
    before = logits(kept)
    steps = run(kept, "sweep --adapter fr 0 0.25 0.5 0.75 1")
    for _, event in zip(range(40), steps, strict=False):
        if isinstance(event, Progress) and event.label == "sweeping" and event.done >= after - 0.5:
            break
    steps.close()
    assert torch.equal(logits(kept), before) and [edit.name for edit in kept.edits().active] == ["es"]


def test_a_sweep_that_is_cancelled_leaves_the_model_as_it_was(kept: Session) -> None:
    result(kept, "adapter load es")
    before = logits(kept)
    seen = []
    for event in run(kept, "sweep --adapter fr 0.5 1"):
        seen.append(event)
        if isinstance(event, Progress) and event.label == "sweeping" and event.done >= 1:
            kept.cancel.request()
    assert [event.error for event in seen if isinstance(event, Failed)] == ["cancelled"]
    assert torch.equal(logits(kept), before) and [edit.name for edit in kept.edits().active] == ["es"]


def test_many_prompts_and_several_adapters_are_a_grid(kept: Session) -> None:
    grid = result(kept, "sweep --adapter fr --adapter fr+es 0 1 --prompts keys.jsonl --chart both.svg")
    assert isinstance(grid, SweptGrid) and len(grid.cells) == 2 + 2 * 2 and grid.over == "weights"
    assert [curve.selection for curve in grid.curves] == ["fr", "fr+es"]
    alone_ = result(kept, "sweep --adapter fr+es 1")
    (cell,) = [cell for cell in grid.cells if cell.selection == "fr+es" and cell.prompt == 0]
    assert tuple(cell.ids) == tuple(alone_.arms[0].ids)
    assert "weight of the adapter" in Path("both.svg").read_text()
    told = said(grid)
    assert "2 weights" in told and "0 neurons" not in told


def test_a_sweep_of_weights_is_kept_and_gone_on_with(kept: Session) -> None:
    line = "sweep --adapter fr --against es 0 0.5 1 --prompts keys.jsonl --save"
    whole = result(kept, f"{line} whole")
    steps = run(kept, f"{line} job")
    for event in steps:
        if isinstance(event, Progress) and event.label == "sweeping" and event.done > 4:
            break
    steps.close()
    Path("keys.jsonl").unlink()
    value = result(kept, "sweep --resume job")
    assert "4 of 6 cells were done already" in value.notes
    files = [(kept.home / "sweeps" / name / "cells.jsonl").read_bytes() for name in ("whole", "job")]
    assert files[0] == files[1] and value.cells == whole.cells
    assert {path.name for path in (kept.home / "sweeps" / "job").iterdir()} >= {"cells.csv", "chart.svg", "chart.png"}
    shutil.rmtree(kept.home / "adapters" / "fr")
    shutil.copytree(kept.home / "adapters" / "it", kept.home / "adapters" / "fr")
    assert "was replaced after the sweep was begun" in failure(kept, "sweep --resume job").message


def test_depths_of_a_series_are_its_rounds_each_with_its_share(little: Session) -> None:
    Path("samples.jsonl").write_text('{"prompt": "abc", "reply": "fed"}\n')
    result(little, "crab samples.jsonl --epochs 1 --lr 0.05 --rank 2 --rounds 2 --top 4 --no-control --as it")
    result(little, "prompt abc")
    result(little, "suppress L1/N3,L2/N5")
    before = logits(little)
    value = result(little, "sweep --adapter depths:it")
    assert value.over == "depths" and [arm.multiplier for arm in value.arms] == [0, 1, 2]
    assert any("the 2 suppressed neurons were not suppressed" in note for note in value.notes)
    assert torch.equal(logits(little), before) and len(little.suppressed) == 2
    result(little, "release all")
    assert [arm.ids for arm in result(little, "sweep --adapter round:it-1 1").arms] == [value.arms[1].ids]
    halves = result(little, "sweep --adapter round:it-1*0.5+round:it-2*0.5 1")
    assert halves.arms[0].ids == value.arms[2].ids
    with unharmed(little):
        assert "invalid depth 3" in failure(little, "sweep --adapter depths:it 3").message
        assert "invalid depth 0.5" in failure(little, "sweep --adapter depths:it 0.5").message
        assert "whole series" in failure(little, "sweep --adapter depths:it+round:it-1 1").message
        assert "two sweeps" in failure(little, "sweep --adapter depths:it --adapter round:it-1").message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sweep --adapter none 0 1", "'none'"),
        ("sweep --adapter fr*x 0 1", "invalid weight 'x' for fr"),
        ("sweep --adapter fr*0 0 1", "0 at every multiplier"),
        ("sweep --adapter fr+fr 0 1", "named twice"),
        ("sweep --adapter fr --against fr 0 1", "named twice"),
        ("sweep --adapter fr+ 0 1", "names no adapter"),
        ("sweep --adapter fr --adapter fr", "given twice"),
        ("sweep --adapter fr --adapter it --against es", "--against goes with one"),
        ("sweep --against es 0 1", "--against needs adapters"),
        ("sweep L1/N3 --adapter fr 0 1", "'L1/N3' is not a weight"),
        ("sweep --adapter fr --also L1/N3", "--also is for neurons"),
        ("sweep --adapter fr --generated", "--generated is for neurons"),
        ("sweep --adapter fr --positions -1", "--positions is for neurons"),
        ("sweep --adapter depths:none", "no series of rounds 'none'"),
        ("sweep --adapter round:none 1", "no round 'none'"),
        ("sweep --adapter fr 1 1", "given twice"),
        ("sweep --resume job --adapter fr", "--adapter does not go with --resume"),
    ],
)
def test_adapters_that_cannot_be_swept_are_refused_by_name(kept: Session, line: str, message: str) -> None:
    with unharmed(kept):
        assert message in failure(kept, line).message
    assert not (kept.home / "sweeps").exists()


def test_completion_offers_what_is_kept(kept: Session) -> None:
    offered = [each.text for each in complete("sweep --adapter ", session=kept)]
    assert {"fr", "es", "it"} <= set(offered)
    assert "fr+es" in [each.text for each in complete("sweep --adapter fr+", session=kept)]


def test_a_knee_of_an_earlier_journal_is_read_as_one_of_neurons() -> None:
    import msgspec

    old = b'{"prompt": 0, "token": " a", "below": {"multiplier": 0.5, "token": " b"}, "above": null}'
    assert msgspec.json.decode(old, type=Knee) == Knee(prompt=0, token=" a", below=Flip(0.5, " b"), base=1.0)
