"""Rounds of training, from the line: what is recruited can be forbidden, a killed series goes on, bad input harms
nothing."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import run
from sessions.edits.files import EditFile
from sessions.errors import ArtifactError
from sessions.events import Failed, Progress
from sessions.model.opening import adopt
from sessions.model.units import Unit
from sessions.results import RecruitsShown, RoundsShown, RoundTrained
from sessions.session import Session
from sessions.texts.sample_files import Sample, read_samples
from sessions.training import learning
from sessions.training.losses import loss_of
from sessions.training.reproducible import Reproducible
from sessions.training.round import Rounds
from sessions.training.samples import lessons_of
from tests.adapters import small
from tests.commands.driving import failure, result, unharmed
from tests.families import tiny, tiny_tokenizer
from tests.rounds import FAST, kept, write_samples


@pytest.fixture
def ready(little: Session) -> Session:
    write_samples()
    return little


def test_a_crab_step_forbids_the_recruits_of_the_round_before(ready: Session) -> None:
    first = result(ready, f"train-round samples.jsonl {FAST} --top 5")
    assert isinstance(first, RoundTrained)
    assert (first.round.name, first.round.control, first.round.samples) == ("round-1", None, ("sample 1", "second"))
    assert len(first.round.recruited) == 5
    second = result(ready, f"train-round samples.jsonl {FAST} --add-recruits 3 --top 5")
    held = {neuron.site for neuron in second.round.suppressed}
    assert held == {neuron.site for neuron in first.round.recruited[:3]}
    assert not held & {neuron.site for neuron in second.round.recruited}
    assert second.round.after == "round-1"
    assert second.round.control is not None
    assert {neuron.site for neuron in ready.suppressed} == held
    shown = result(ready, "rounds")
    assert [each.name for each in shown.trajectory.passages] == ["round-1", "round-2"]


def test_recruits_are_a_selection_by_number_by_name_and_by_count(ready: Session) -> None:
    found = kept(ready.store, ready.opened())
    kept(ready.store, ready.opened(), "mine", seed=1)
    assert ready.select("recruits:1").neurons == found.recruited
    assert ready.select("recruits:round-1:2 , recruits:1:7").neurons[:2] == found.recruited[:2]
    assert len(ready.select("recruits:mine:20").neurons) == 20
    assert len(ready.select("recruits:1 - recruits:1:2").neurons) == 3
    result(ready, "suppress recruits:1:2")
    assert [neuron.site for neuron in ready.suppressed] == [neuron.site for neuron in found.recruited[:2]]
    result(ready, "ablate recruits:1:2 --max-tokens 2")
    assert "no round 'nowhere'" in failure(ready, "suppress recruits:nowhere").message


def test_recruits_say_what_they_push_and_who_was_one_before(ready: Session) -> None:
    kept(ready.store, ready.opened(), "a-1")
    again = kept(ready.store, ready.opened(), "b-1")
    shown = result(ready, "recruits b-1 --top 4")
    assert isinstance(shown, RecruitsShown)
    assert [row.neuron.site for row in shown.rows] == [neuron.site for neuron in again.recruited[:4]]
    assert 0 < sum(row.share for row in shown.rows) < 1
    by = result(ready, "recruits b-1 --top 4 --by activation")
    assert by.total == pytest.approx(2 * shown.total)
    assert "not measured by last" in failure(ready, "recruits b-1 --by last").message


def test_a_series_that_was_killed_goes_on_and_ends_as_one_that_was_not(ready: Session) -> None:
    line = f"crab samples.jsonl {FAST} --rounds 3 --top 4 --force"
    whole = result(ready, f"{line} --as whole")
    result(ready, "release all")
    steps = run(ready, f"{line} --as broken")
    seen = 0
    for event in steps:
        seen += isinstance(event, Progress) and event.unit == "steps"
        if seen == 7:  # in the second round
            break
    steps.close()
    result(ready, "release all")
    first = ready.home / "rounds" / "broken-1" / "round.json"
    before = first.read_bytes()
    broken = result(ready, f"{line} --as broken")
    assert first.read_bytes() == before  # what was done is not done again
    assert isinstance(broken, RoundsShown)
    assert [each.name for each in broken.rounds] == ["broken-1", "broken-2", "broken-3"]
    for one, two in zip(whole.rounds, broken.rounds, strict=True):
        assert one.outcome == two.outcome
        assert one.recruited == two.recruited
        assert one.suppressed == two.suppressed
        assert one.control == two.control
    assert len(ready.suppressed) == 8


def test_a_series_begins_with_an_inventory(ready: Session) -> None:
    Path("known.json").write_text('[{"id": "L1/N4", "gain": 2}, {"id": "L2/N8", "gain": 1, "tier": "B"}]')
    result(ready, "import known.json --as preset:known")
    found = result(ready, f"crab samples.jsonl {FAST} --rounds 2 --inventory known --no-control --top 2")
    assert [neuron.site for neuron in found.rounds[0].suppressed] == [(1, 4), (2, 8)]
    assert len(found.rounds[1].suppressed) == 4
    assert found.trajectory.verdict == ""
    result(ready, "release all")
    result(ready, "suppress preset:known:B")
    assert [neuron.site for neuron in ready.suppressed] == [(2, 8)]


def test_training_leaves_edits_out_and_says_so(ready: Session) -> None:
    result(ready, f"train-round samples.jsonl {FAST} --as plain")
    result(ready, f"train-round samples.jsonl {FAST} --as alone --neurons L1/N3,L2/N5")
    result(ready, "edits load alone")
    with_edit = result(ready, f"train-round samples.jsonl {FAST} --as again")
    assert "left out of training: alone" in " ".join(with_edit.notes)
    plain = result(ready, "rounds plain").rounds[0]
    assert with_edit.round.outcome == plain.outcome
    assert [edit.name for edit in ready.edits().active] == ["alone"]
    result(ready, "undo")


def test_what_neurons_alone_learned_is_an_edit_of_their_name(ready: Session) -> None:
    before = {name: tensor.clone() for name, tensor in ready.opened().model.state_dict().items()}
    found = result(ready, f"train-round samples.jsonl {FAST} --as alone --neurons L1/N3,L2/N5")
    assert [neuron.site for neuron in found.round.plan.neurons] == [(1, 3), (2, 5)]
    assert all(torch.equal(tensor, before[name]) for name, tensor in ready.opened().model.state_dict().items())
    more = result(ready, f"train-round samples.jsonl {FAST} --as more --neurons L1/N3,L2/N5 --continue alone")
    assert more.round.outcome.initial == pytest.approx(found.round.outcome.final, rel=1e-4)
    assert "exists already" in failure(ready, f"train-round samples.jsonl {FAST} --as alone --neurons L1/N3").message


def test_a_round_that_an_older_line_began_goes_on(ready: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of earlier versions said every default; what such a line had saved is known for the round's own."""
    line = f"train-round samples.jsonl {FAST} --neurons L1/N3,L2/N5"

    def full(*_: object, **__: object) -> None:
        raise ArtifactError("the disk is full")

    with monkeypatch.context() as broken:  # as if it was killed between the edit and the round
        broken.setattr(Rounds, "save", full)
        assert "disk is full" in failure(ready, f"{line} --as alone").message
    older = "train-round samples.jsonl --rank 2 --alpha 16 --lr 0.01 --epochs 2 --batch 1 --top 30"
    older = f"{older} --neurons L1/N3,L2/N5"
    ready.keep_edit(ready.saved.read_edit("alone")[0], "alone", older, force=True)
    other = line.replace("L1/N3", "L1/N4")
    assert "edit 'alone' exists already" in failure(ready, f"{other} --as alone").message
    found = result(ready, f"{line} --as alone")
    assert found.round.command == line.replace("--epochs 2 --lr 0.01 --rank 2", "--rank 2 --lr 0.01 --epochs 2")
    assert ready.store.load("edit", "alone", EditFile)[0].command == found.round.command


def test_the_line_of_a_round_trains_it_again(ready: Session) -> None:
    Path("known.json").write_text('[{"id": "L1/N4", "gain": 2}, {"id": "L2/N8", "gain": 1, "tier": "B"}]')
    result(ready, "import known.json --as preset:known")
    one = f"train-round samples.jsonl {FAST} --weights conclusions=3,filler=0.25 --no-control --top 7"
    series = f"crab samples.jsonl {FAST} --rounds 2 --inventory known --tier B --as own --top 2 --no-control"
    for line, begin in ((one, "train-round"), (series, "crab")):
        found = result(ready, line)
        first = found.round if begin == "train-round" else found.rounds[0]
        assert first.command.startswith(f"{begin} samples.jsonl --rank 2 --lr 0.01 --epochs 2 --modules ")
        result(ready, "release all")
        again = result(ready, f"{first.command} --force")
        assert (again.round if begin == "train-round" else again.rounds[0]).outcome == first.outcome
        result(ready, "release all")


def test_the_chart_of_a_trajectory_is_written(ready: Session) -> None:
    kept(ready.store, ready.opened(), "it-1")
    kept(ready.store, ready.opened(), "it-2", after="it-1", seed=2)
    shown = result(ready, "rounds it --chart it.svg")
    assert Path(shown.chart).read_bytes().startswith(b"<?xml")
    assert shown.trajectory.verdict == "distributed"
    assert "exists already" in failure(ready, "rounds it --chart it.svg").message
    assert "other rounds" not in " ".join(shown.notes)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("train-round nowhere.jsonl", "nowhere.jsonl"),
        ("train-round empty.jsonl", "no sample"),
        ("train-round bad.jsonl", "line 2"),
        ("train-round field.jsonl", "'replies'"),
        ("train-round part.jsonl", "is in the reply"),
        ("train-round samples.jsonl --modules gate", "no projection of this model is called 'gate'"),
        ("train-round samples.jsonl --weights conclusions=x", "invalid weight"),
        ("train-round samples.jsonl --weights glue=1", "'conclusions', which has no weight"),
        ("train-round samples.jsonl --weights conclusions=0,filler=0", "no token of"),
        ("train-round samples.jsonl --add-recruits 3", "no round of this model"),
        ("train-round samples.jsonl --neurons L1/N3 --modules down_proj", "--modules"),
        ("train-round samples.jsonl --continue x", "--continue is for --neurons"),
        ("train-round long.jsonl", "the model reads"),
        ("train-round samples.jsonl --thinking", "no sample has a thought"),
        ("train-round samples.jsonl --marker </think>", "--marker says where a thought ends"),
        ("crab samples.jsonl --marker </think>", "--marker says where a thought ends"),
        ("train-round thoughts.jsonl --thinking", "knows no thoughts"),
        ("crab samples.jsonl --rounds 1", "at least 2"),
        ("rounds", "no round of this model"),
        ("recruits", "no round of this model"),
        ("recruits nowhere", "no round 'nowhere'"),
    ],
)
def test_bad_input_harms_nothing(ready: Session, line: str, why: str) -> None:
    Path("empty.jsonl").write_text("\n\n")
    Path("bad.jsonl").write_text('{"prompt": "a", "reply": "b"}\n{"prompt": \n')
    Path("field.jsonl").write_text('{"prompt": "a", "replies": "b"}\n')
    Path("part.jsonl").write_text('{"prompt": "a", "reply": "b", "parts": {"glue": ["zz"]}}\n')
    Path("long.jsonl").write_text(json.dumps({"prompt": "a", "reply": "b " * 300}) + "\n")
    Path("thoughts.jsonl").write_text('{"prompt": "a", "reply": "b", "thought": "c"}\n')
    with unharmed(ready):
        failed = failure(ready, line)
    assert re.search(why, failed.message), failed
    assert not (ready.home / "rounds").exists() or not list((ready.home / "rounds").glob("*/round.json"))


def test_a_round_of_one_step_says_why_it_has_no_recruits(ready: Session) -> None:
    found = result(ready, "train-round samples.jsonl --epochs 1 --batch 2 --modules down_proj")
    assert not found.round.recruited
    assert "B begins at zero" in " ".join(found.notes) and "experts" not in " ".join(found.notes)


def test_thoughts_are_trained_with_the_marker_that_is_named(ready: Session) -> None:
    Path("thoughts.jsonl").write_text('{"prompt": "a", "reply": "b", "thought": "c"}\n')
    found = result(ready, f'train-round thoughts.jsonl --thinking --marker "d e" {FAST}')
    assert '--marker "d e"' in found.round.command or "--marker 'd e'" in found.round.command
    plain = result(ready, f"train-round thoughts.jsonl {FAST}")
    assert found.round.data != plain.round.data
    series = result(ready, f'crab thoughts.jsonl --thinking --marker "d e" {FAST} --rounds 2 --top 2 --no-control')
    assert series.rounds[0].data == found.round.data


def test_an_emptied_layer_is_refused(ready: Session) -> None:
    result(ready, "suppress L1/*")
    assert "of layer 1 are suppressed" in failure(ready, f"train-round samples.jsonl {FAST}").message
    assert ready.suppressed[0] == Unit(1, 0)


def test_rounds_answer_and_are_arms_of_an_evaluation(ready: Session) -> None:
    """As trained, what a round held at zero is so; unsuppressed it is not; two halves of one adapter are the whole."""
    result(ready, f"crab samples.jsonl {FAST} --as it --rounds 2 --top 3 --no-control")
    result(ready, f"train-round samples.jsonl {FAST} --as it-alone --no-control")  # which is no part of the series
    result(ready, "release all")
    weights = {name: tensor.clone() for name, tensor in ready.opened().model.state_dict().items()}
    answered = result(ready, "rounds it --answer --max-tokens 3")
    names = [arm.name for arm in answered.arms]
    assert names == ["base", "round:it-1", "round:it-2", "round:it-2+unsuppressed"]
    assert all(any(step for step in arm.kl) for arm in answered.arms[1:])
    Path("tasks.jsonl").write_text('{"prompt": "abc", "answer": "fed"}\n')
    found = result(
        ready, "evaluate tasks.jsonl --max-tokens 3 --unrelated none --arms base,round:it-1,round:it-1*0,depths:it"
    )
    assert [score.name for score in found.scores] == ["base", "round:it-1", "round:it-1*0", "it…1", "it…2"]
    texts = [json.loads(line) for line in Path(found.kept).read_text().splitlines()]
    by_arm = {each["arm"]: each["text"] for each in texts}
    assert by_arm["round:it-1*0"] == by_arm["base"]
    assert by_arm["it…1"] == by_arm["round:it-1"]
    assert all(torch.equal(tensor, weights[name]) for name, tensor in ready.opened().model.state_dict().items())
    with unharmed(ready):
        assert "invalid weight" in failure(ready, "evaluate tasks.jsonl --arms round:it-1*x").message
        assert "no series" in failure(ready, "evaluate tasks.jsonl --arms depths:other").message
        assert "no round 'other'" in failure(ready, "evaluate tasks.jsonl --arms round:other").message


def test_the_adapter_of_a_round_is_loaded_by_its_name(ready: Session) -> None:
    trained = result(ready, f"train-round samples.jsonl {FAST} --as one")
    loaded = result(ready, "adapter load round:one")
    assert loaded.row.name == "one"
    assert loaded.row.rank == 2
    result(ready, "undo")
    kept(ready.store, ready.opened(), "bare")
    assert "has no adapter" in failure(ready, "adapter load round:bare").message
    assert trained.round.name == "one"


def test_training_with_an_adapter_on_is_training_without_it(ready: Session) -> None:
    alone = result(ready, f"train-round samples.jsonl {FAST} --as alone")
    small(Path("adapter"), ready.opened())
    result(ready, "adapter load adapter --as small")
    beside = result(ready, f"train-round samples.jsonl {FAST} --as beside")
    assert beside.round.outcome == alone.round.outcome and beside.round.plan == alone.round.plan
    series = result(ready, f"crab samples.jsonl {FAST} --rounds 2 --top 3 --no-control")
    assert series.rounds[0].outcome == alone.round.outcome
    assert [edit.name for edit in ready.edits().active] == ["small"]
    result(ready, "undo")


@pytest.mark.parametrize("family", ["qwen3_moe", "mixtral", "qwen2_moe"])
def test_a_round_of_a_model_of_experts_is_loaded_by_its_name(empty: Session, family: str) -> None:
    empty.use_model(adopt(tiny(family), tiny_tokenizer(), name=family))
    write_samples()
    trained = result(empty, f"train-round samples.jsonl {FAST} --as one")
    before = [loss_of(empty.opened(), lesson) for lesson in lessons_of(empty.opened(), samples_of("samples.jsonl"))]
    result(empty, "adapter load round:one")
    after = [loss_of(empty.opened(), lesson) for lesson in lessons_of(empty.opened(), samples_of("samples.jsonl"))]
    assert [float(loss) for loss in before] == pytest.approx(list(trained.round.outcome.initial), rel=1e-4)
    assert [float(loss) for loss in after] == pytest.approx(list(trained.round.outcome.final), rel=1e-4)
    assert [edit.name for edit in empty.edits().active] == ["one"]


def samples_of(name: str) -> tuple[Sample, ...]:
    return read_samples(Path(name).read_bytes(), name)


def test_a_series_of_a_model_whose_neurons_are_all_experts_is_refused_before_it_trains(empty: Session) -> None:
    empty.use_model(adopt(tiny("mixtral"), tiny_tokenizer(), name="mixtral"))
    write_samples()
    with unharmed(empty):
        assert "not measured one by one" in failure(empty, f"crab samples.jsonl {FAST} --rounds 2").message
    assert not (empty.home / "rounds").exists()


@pytest.mark.parametrize("force", ["", "--force"])
def test_a_series_that_was_cancelled_in_its_last_round_goes_on_with_the_same_line(ready: Session, force: str) -> None:
    line = f"crab samples.jsonl {FAST} --rounds 3 --top 4 --no-control --as it {force}"
    with unharmed(ready):
        for event in (steps := run(ready, line)):
            if isinstance(event, Progress) and event.unit == "steps" and (ready.home / "rounds" / "it-2").exists():
                ready.cancel.request()
        steps.close()
    first = (ready.home / "rounds" / "it-2" / "round.json").read_bytes()
    whole = result(ready, line)
    assert [each.name for each in whole.rounds] == ["it-1", "it-2", "it-3"]
    assert (ready.home / "rounds" / "it-2" / "round.json").read_bytes() == first
    assert len(ready.suppressed) == 8


def test_a_series_meets_what_was_left_of_another_before_it_trains(ready: Session) -> None:
    line = f"crab samples.jsonl {FAST} --rounds 2 --top 4 --no-control --as it"
    for event in (steps := run(ready, line)):
        if isinstance(event, Progress) and event.unit == "steps" and (ready.home / "rounds" / "it-1").exists():
            break
    steps.close()
    other = line.replace("--lr 0.01", "--lr 0.02")
    events = list(run(ready, f"{other} --anew"))
    assert "from another training" in next(each.message for each in events if isinstance(each, Failed))
    assert [each.plan.rate for each in result(ready, f"{other} --force").rounds] == [0.02, 0.02]
    assert not list((ready.home / "rounds" / "unfinished").glob("*"))


def test_neurons_alone_are_trained_on_by_the_same_line_wherever_it_was_killed(ready: Session) -> None:
    """Between two steps, or when the edit was saved and the round was not: both are there in the end."""
    line = f"train-round samples.jsonl {FAST} --as alone --neurons L1/N3,L2/N5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rounds, "save", _killed)
        with pytest.raises(_Killed):
            list(run(ready, line))
    assert ready.store.names("edit") == ["alone"] and not (ready.home / "rounds" / "alone").exists()
    found = result(ready, line)
    assert found.round.name == "alone"
    assert "exists already" in failure(ready, line).message
    other = failure(ready, f"train-round samples.jsonl {FAST} --as alone --neurons L1/N4")
    assert "exists already" in other.message


@pytest.mark.parametrize("same", [True, False])
def test_a_round_that_had_just_been_saved_when_it_was_killed_stands_in_no_ones_way(ready: Session, same: bool) -> None:
    line, save = f"train-round samples.jsonl {FAST} --as one", Rounds.save

    def saved_and_killed(*given: Any, **more: Any) -> None:
        save(*given, **more)
        raise _Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rounds, "save", saved_and_killed)
        with pytest.raises(_Killed):
            list(run(ready, line))
    assert (ready.home / "rounds" / "one").exists() and Rounds(ready.store).is_begun("one")
    found = result(ready, line if same else f"{line} --epochs 3 --force")
    assert len(found.round.outcome.curve) == (4 if same else 6)
    assert not Rounds(ready.store).is_begun("one")
    assert "exists already" in failure(ready, line).message


class _Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def _killed(*_: object, **__: object) -> None:
    raise _Killed


def test_what_is_not_always_the_same_on_a_device_is_said(ready: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "reproducible", lambda: nullcontext(Reproducible("cumsum_cuda_kernel")))
    found = result(ready, f"train-round samples.jsonl {FAST}")
    assert "cumsum_cuda_kernel does not always give the same bits" in " ".join(found.notes)
