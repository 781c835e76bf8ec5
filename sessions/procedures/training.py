"""Rounds of training as a trajectory, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sessions.errors import ArtifactError
from sessions.events import Steps
from sessions.procedures.edits import in_states
from sessions.results import Compared, RoundsShown
from sessions.session import Session
from sessions.training.findings import Round

if TYPE_CHECKING:
    from sessions.training.round import Rounds


def rounds_shown(rounds: Rounds, found: Sequence[Round], notes: tuple[str, ...] = ()) -> RoundsShown:
    """The trajectory of rounds in their order."""
    from sessions.training.trajectory import trajectory

    pairs = [(each, rounds.share(each)) for each in found]
    return RoundsShown(trajectory=trajectory(pairs), rounds=tuple(found), notes=notes)


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


def answered_by_rounds(session: Session, found: Sequence[Round], max_tokens: int | None) -> Steps[Compared]:
    """The session's prompt without any round, and with the adapter of each."""
    from sessions.evaluation.arms import arms_of

    words = ["base"]
    for each in found:
        words += [f"round:{each.name}", *([f"round:{each.name}+unsuppressed"] if each.suppressed else [])]
    states = [(arm.name, arm.within) for arm in arms_of(session.arm_sources(), tuple(words))]
    return (yield from in_states(session, "rounds", ", ".join(each.name for each in found), states, max_tokens))
