"""Rounds of training as a trajectory, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from sessions.errors import ArtifactError
from sessions.events import Steps
from sessions.files.disk import write_file
from sessions.model.info import same_model
from sessions.procedures.edits import in_states
from sessions.results import Compared, RecruitRow, RecruitsShown, RoundsShown
from sessions.session import Session
from sessions.training.findings import Measure, Round, in_series, series_of

if TYPE_CHECKING:
    from sessions.training.round import Rounds


def rounds_shown(rounds: Rounds, shown: Sequence[Round], notes: tuple[str, ...] = ()) -> RoundsShown:
    """The trajectory of rounds in their order."""
    from sessions.training.trajectory import trajectory

    pairs = [(one, rounds.share(one)) for one in shown]
    return RoundsShown(trajectory=trajectory(pairs), rounds=tuple(shown), notes=notes)


def latest_round(session: Session, rounds: Rounds) -> Round:
    """The latest round of the open model."""
    known = rounds.of_model(session.opened().info.fingerprint)
    if not known:
        raise ArtifactError(
            "there is no round of this model yet, and so no recruits", "train one first, without --add-recruits"
        )
    return known[-1]


def edits_left_out(session: Session) -> tuple[str, ...]:
    """A remark on edits, which are left out of training."""
    active = ", ".join(edit.name for edit in session.edits().active)
    return (f"edits that are on were left out of training: {active}",) if active else ()


def known_rounds(session: Session, shelf: Rounds) -> list[Round]:
    """The rounds of the open model, the latest last."""
    known = shelf.of_model(session.opened().info.fingerprint)
    if not known:
        raise ArtifactError("there is no round of this model", "train one: train-round FILE.jsonl")
    return known


def answered_by_rounds(session: Session, rounds: Sequence[Round], max_tokens: int | None) -> Steps[Compared]:
    """The session's prompt without any round, and with the adapter of each."""
    from sessions.evaluation.arms import arms_of

    words = ["base"]
    for one in rounds:
        words += [f"round:{one.name}", *([f"round:{one.name}+unsuppressed"] if one.suppressed else [])]
    sources = session.arm_sources()
    model = sources.working(session.cancel)
    states = [(arm.name, partial(arm.within, model)) for arm in arms_of(sources, tuple(words))]
    return (yield from in_states(session, "rounds", ", ".join(one.name for one in rounds), states, max_tokens))


def recruits_shown(session: Session, *, name: str | None, top: int, by: Measure | None) -> RecruitsShown:
    """The recruits of a round, with what each of them pushes."""
    from sessions.directions.lens import pushed
    from sessions.training.round import Rounds

    opened, shelf = session.opened(), Rounds(session.store)
    known = known_rounds(session, shelf) if name is None else shelf.of_model(opened.info.fingerprint)
    trained = shelf.load(name or known[-1].name)
    if not same_model(trained.fingerprint, opened.info.fingerprint):
        raise ArtifactError(f"round '{trained.name}' was trained on {trained.model}", "open that model first")
    absorbed = shelf.recruits(trained.name)
    measure = by or absorbed.usual
    neurons, total = absorbed.strongest(top, measure), absorbed.total(measure)
    # What a head or an expert writes depends on the text: only neurons push the same tokens everywhere.
    pushes = (
        pushed(opened.anatomy, opened.tokenizer, neurons) if absorbed.kind == "neuron" else [((), ())] * len(neurons)
    )
    earlier = {neuron.anywhere: one.name for one in known if one.created < trained.created for neuron in one.recruited}
    rows = tuple(
        RecruitRow(
            neuron, (neuron.attribution or 0.0) / total if total else 0.0, up, down, earlier.get(neuron.anywhere, "")
        )
        for neuron, (up, down) in zip(neurons, pushes, strict=True)
    )
    return RecruitsShown(name=trained.name, measure=measure, rows=rows, total=total, suppressed=len(trained.suppressed))


def rounds_result(
    session: Session, *, names: tuple[str, ...], answer: bool, max_tokens: int | None, chart: Path | None, force: bool
) -> Steps[RoundsShown | Compared]:
    """A series of rounds, its chart, or the prompt answered by each."""
    from sessions.training.round import Rounds

    shelf = Rounds(session.store)
    known = known_rounds(session, shelf)
    rounds, others = in_series(known, names or (series_of(known[-1].name),))
    if answer:
        return (yield from answered_by_rounds(session, rounds, max_tokens))
    notes = (f"other rounds: {', '.join(others)}",) if others and not names else ()
    result = rounds_shown(shelf, rounds, notes)
    if chart is None:
        return result
    from sessions.picture import check_ending
    from sessions.training.chart import drawn

    check_ending(chart)
    picture = drawn(result.trajectory, chart.suffix)
    path = write_file(chart.absolute(), picture, force=force, what=f"'{chart}'")
    return structs.replace(result, chart=str(path))
