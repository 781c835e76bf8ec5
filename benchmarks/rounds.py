"""Rounds of training: the cost of counting recruits and holding neurons, and exactness.

The step is compared with the same step by PEFT alone, alternating in one process. Exactness is tested on smollm2 in
float32: neurons held at zero contribute exactly nothing and absorb exactly no gradient, the same seed gives the same
round twice, and a round that was killed ten times by SIGKILL ends with the same adapter as one that was not.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import torch

import commands
from benchmarks.measuring import THREADS, Figure, Table, in_turns, report, surroundings
from sessions.events import Failed, Progress, Result, finished
from sessions.interventions.suppressing import Suppression
from sessions.lines import quoted
from sessions.model.hooks import Change, on_neurons, together
from sessions.model.opening import OpenModel, open_model
from sessions.model.units import Unit
from sessions.session import Session
from sessions.store import default_home
from sessions.texts.sample_files import read_samples
from sessions.training.findings import TrainingPlan
from sessions.training.learner import Learner, TrainingState, adapted
from sessions.training.learning import learn
from sessions.training.losses import loss_of
from sessions.training.projections import modules_of
from sessions.training.recruits import Absorbing
from sessions.training.round import Rounds
from sessions.training.samples import Lesson, lessons_of
from sessions.training.training import RoundRequest, train

SAMPLES = Path(commands.__file__).parent / "examples" / "lessons.jsonl"
KILLS = 10
REPEATS = 12
#: Neurons held in the measurements, spread over the layers.
HELD = tuple(Unit(layer, index) for layer in range(0, 30, 3) for index in (7, 300, 1200))


def opened() -> OpenModel:
    return finished(open_model("smollm2", models=default_home() / "models", dtype="float32"))


def lessons(found: OpenModel) -> tuple[Lesson, ...]:
    return lessons_of(found, read_samples(SAMPLES.read_bytes(), SAMPLES.name))


def step_ratio(found: OpenModel) -> Figure:
    """A step with recruits and suppression over the same step of PEFT."""
    lesson, plan = lessons(found)[0], TrainingPlan(modules=modules_of(found.anatomy))
    with adapted(found, plan) as learner:
        optimizer = torch.optim.AdamW(learner.weights.values(), lr=1e-5)

        def plain() -> None:
            with torch.enable_grad():
                loss_of(found, lesson).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        def ours() -> None:
            absorbing = Absorbing()
            with learner.running(HELD, absorbing, None):
                _counted(learner, lesson, absorbing)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        seconds = in_turns(REPEATS, PEFT=plain, ours=ours)
    name = "a step with recruits and suppression / the same step of PEFT"
    return Figure(name, seconds["ours"] / seconds["PEFT"], 1.10, seconds)


def _counted(learner: Learner, lesson: Lesson, absorbing: Absorbing) -> None:
    learner.gradients([lesson], TrainingState(absorbing=absorbing))


def held_is_zero(found: OpenModel) -> list[Figure]:
    """The largest activation and the largest share of gradient of a held neuron."""
    plan = TrainingPlan(modules=modules_of(found.anatomy), rate=1e-3, epochs=1)
    round_ = finished(learn(found, lessons(found), plan, HELD))
    scores = [by_layer[layer][index] for by_layer in round_.recruits.scores.values() for layer, index in _sites()]
    seen: list[float] = []
    with adapted(found, plan) as learner:
        wanted = {id(site): local for site, local in (learner.anatomy.site_of(*place) for place in _sites())}
        sites = {id(site): site for site, _ in (learner.anatomy.site_of(*place) for place in _sites())}

        def look(local: int) -> Change:
            def change(activations: torch.Tensor, _: object) -> torch.Tensor:
                seen.append(float(activations[..., local].abs().max()))
                return activations

            return change

        watching = together(on_neurons(site, look(wanted[key])) for key, site in sites.items())
        with Suppression(learner.anatomy, HELD).held(), watching, torch.no_grad():
            loss_of(found, lessons(found)[0])
    return [
        Figure("largest |activation| of a neuron that is held", max(seen), 0.0, {}),
        Figure("largest share of gradient of a neuron that is held", float(max(scores)), 0.0, {}),
    ]


def _sites() -> list[tuple[int, int]]:
    return [neuron.site for neuron in HELD]


def twice_the_same(found: OpenModel) -> Figure:
    """How many numbers differ between two rounds of one seed."""
    plan = TrainingPlan(modules=("down_proj",), rate=1e-3, epochs=1)
    one, two = (finished(learn(found, lessons(found), plan, HELD)) for _ in range(2))
    differing = sum(
        int((row != two.recruits.scores[measure][layer]).sum())
        for measure, by_layer in one.recruits.scores.items()
        for layer, row in by_layer.items()
    )
    differing += sum(int((weight != two.adapter[name]).sum()) for name, weight in one.adapter.items())
    return Figure("numbers that differ between two rounds of one seed", differing, 0, {})


def _job(found: OpenModel) -> RoundRequest:
    plan = TrainingPlan(modules=("down_proj",), rate=1e-3, epochs=4)
    return RoundRequest(name="killed", lessons=lessons(found), plan=plan, suppressed=HELD, control=False)


def child(home: Path, survives: int) -> None:
    """Train the round and be killed after so many steps; 0 for never."""
    torch.set_num_threads(THREADS)
    session = Session(home)
    found = opened()
    done = 0
    for event in train(found, Rounds(session.store), _job(found)):
        done += isinstance(event, Progress) and event.unit == "steps"
        if survives and done == survives:
            os.kill(os.getpid(), signal.SIGKILL)


def killed_and_gone_on() -> Figure:
    """How many numbers differ between a round that was killed ten times and one that was not."""
    drawn = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        whole, broken = Path(folder) / "whole", Path(folder) / "broken"
        _child(whole, 0)
        for _ in range(KILLS):
            _child(broken, drawn.randint(1, 2))
        _child(broken, 0)
        differing = sum(
            (a / name).read_bytes() != (b / name).read_bytes()
            for a, b in [(whole / "rounds" / "killed", broken / "rounds" / "killed")]
            for name in ("adapter/adapter_model.safetensors", "recruits.safetensors")
        )
    return Figure(f"files that differ of a round that was killed {KILLS} times", differing, 0, {})


def _child(home: Path, survives: int) -> None:
    run = subprocess.run([sys.executable, "-m", "benchmarks.rounds", "--child", str(home), str(survives)], check=False)
    if run.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the child ended with {run.returncode}")


def three_rounds() -> tuple[Figure, Table]:
    """Three rounds on the five samples that come with the workbench, by the line that a user types."""
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder))
        session.use_model(opened())
        start = perf_counter()
        *_, last = (
            event
            for event in commands.run(session, f"crab {quoted(str(SAMPLES))} --as lessons --rounds 3 --lr 0.0005")
            if isinstance(event, Result | Failed)
        )
        seconds = perf_counter() - start
    if isinstance(last, Failed):
        raise RuntimeError(last.message)
    found = last.value.trajectory
    rows = tuple(
        (
            each.name,
            str(each.strongest),
            each.suppressed,
            each.initial,
            each.final,
            each.control or 0.0,
            each.kept or 0.0,
        )
        for each in found.passages
    )
    header = ("round", "strongest", "held", "before", "after", "control", "kept")
    figure = Figure("three rounds of five samples, minutes", seconds / 60, 10.0, {"all": seconds})
    return figure, Table(f"{found.verdict or 'no verdict'}: {found.because}", header, rows)


def main() -> None:
    torch.set_num_threads(THREADS)
    found = opened()
    figures = [step_ratio(found), *held_is_zero(found), twice_the_same(found), killed_and_gone_on()]
    del found
    last, table = three_rounds()
    report("Rounds of training", [*figures, last], surroundings("float32", "cpu"), [table])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
