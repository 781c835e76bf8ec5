"""Arms of an evaluation: the conditions that the same tasks are answered under.

An arm is a name and a block: what holds inside the block is what its replies are of. The words for those of a session:

    base            the model as it was opened, without its edits
    edit            the model as it is, all edits that are on in it
    NUMBER, NAME    the model as it was opened with that edit alone: one of the ledger, be it on or off, or a saved one
    round:NAME      the model as it was opened with the adapter of that round of training, and the neurons held at
                    zero that were so in training; round:NAME*0.5 with the adapter half as strong
    depths:SERIES   as many arms as the series has rounds: the ensemble of the first 1, 2, 3, … of them, each with its
                    share, and nothing suppressed
    unsuppressed    the model as it is, with no neuron suppressed
    ADAPTER*0.4     the model as it was opened with a kept adapter, that many times as strong as it was trained
    A+B             both: edits on each other in this order; base+unsuppressed; fr*0.2+es*0.8, the ensemble

What is live in every text is in force in all of them, and so is what is suppressed unless an arm says otherwise. At the
end of a block the weights have their bits again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches

from sessions.edits.adapters import Adapter
from sessions.edits.edit import Edit
from sessions.errors import UsageError
from sessions.evaluation.named import DEPTHS, ROUND, ArmSources, kept_adapter, round_adapter, rounds_of_series, weighted
from sessions.interventions.suppressing import Suppression
from sessions.model.pieces import WorkingModel
from sessions.model.units import Unit
from sessions.training.findings import Round

BASE, EDIT, UNSUPPRESSED = "base", "edit", "unsuppressed"


@dataclass(frozen=True)
class EvaluationArm:
    """A condition that tasks are answered under, as data.

    Args:
        about: the condition in words.
        changes: edits and adapters that are in the model, in this order, and no others; None for those of the session.
        free: whether no neuron is held at zero but those of `suppressed`.
        pushes: whether it makes the model say something, so that a reply may be stuck on it.
    """

    name: str
    about: str
    changes: tuple[Edit | Adapter, ...] | None = None
    free: bool = False
    suppressed: tuple[Unit, ...] = ()
    pushes: bool = False

    @contextmanager
    def within(self, model: WorkingModel) -> Iterator[None]:
        """The block in which the condition holds."""
        with ExitStack() as stack:
            if self.free:
                stack.enter_context(model.unsuppressed())
            if self.changes is not None:
                stack.enter_context(model.lifted())
                for change in self.changes:
                    stack.enter_context(change.applied(model.opened))
            if self.suppressed:
                stack.enter_context(Suppression(model.opened.anatomy, self.suppressed).held())
            yield


def usual(sources: ArmSources) -> tuple[str, ...]:
    """The arms that are meant where none are named: with and without the edits, where there are any."""
    return (BASE, EDIT) if sources.ledger.active else (BASE,)


def arms_of(sources: ArmSources, words: tuple[str, ...]) -> tuple[EvaluationArm, ...]:
    """The arms that words mean, in their order.

    Raises:
        UsageError: there is no such edit, or an arm is named twice.
        ArtifactError: a saved edit is damaged, or of another model.
    """
    twice = next((word for place, word in enumerate(words) if word in words[:place]), None)
    if twice is not None:
        raise UsageError(f"arm '{twice}' is named twice", "name each arm once")
    return tuple(
        arm for word in words for arm in (_depths(sources, word) if word.startswith(DEPTHS) else [_arm(sources, word)])
    )


def _depths(sources: ArmSources, word: str) -> list[EvaluationArm]:
    """The first round of a series, the first two half as strong each, the first three: as deep as the series goes."""
    series = word.removeprefix(DEPTHS)
    names = rounds_of_series(sources, series)
    ensembles = (
        "+".join([*(f"{ROUND}{name}*{1 / depth:.6g}" for name in names[:depth]), UNSUPPRESSED])
        for depth in range(1, len(names) + 1)
    )
    return [replace(_arm(sources, ensemble), name=f"{series}…{depth}") for depth, ensemble in enumerate(ensembles, 1)]


def _arm(sources: ArmSources, word: str) -> EvaluationArm:
    parts = word.split("+")
    if EDIT in parts and len(parts) > 1 and set(parts) != {EDIT, UNSUPPRESSED}:
        raise UsageError(f"arm '{word}' adds to all edits that are on", "name the edits: 1+2")
    rounds = [_round(sources, part) for part in parts if part.startswith(ROUND)]
    named = [part for part in parts if part not in (BASE, EDIT, UNSUPPRESSED) and not part.startswith(ROUND)]
    edits = [_adapter(sources, part) or _edit(sources, part, word) for part in named]
    as_it_is = EDIT in parts or parts == [UNSUPPRESSED]
    inside = [edit.name for edit in sources.ledger.active] if as_it_is else named
    suppressed = tuple(neuron for trained, _ in rounds for neuron in trained.suppressed)
    free = UNSUPPRESSED in parts
    names = ", ".join([*inside, *(part for part in parts if part.startswith(ROUND))])
    about = f"with {names}" if names else "as it was opened"
    about += ", nothing suppressed" if free else f", {len(suppressed):,} held as in training" if suppressed else ""
    acting = sources.ledger.active if as_it_is else edits
    return EvaluationArm(
        word,
        about,
        None if as_it_is else (*edits, *(adapter for _, adapter in rounds)),
        free or bool(rounds),
        () if free else suppressed,
        any(isinstance(acts, Edit) and acts.pushes for acts in acting),
    )


def _round(sources: ArmSources, part: str) -> tuple[Round, Adapter]:
    """A round, and its adapter at the strength that is said."""
    return round_adapter(sources, *weighted(part.removeprefix(ROUND), "round:crab-1*0.5"))


def _adapter(sources: ArmSources, part: str) -> Adapter | None:
    """The kept adapter that a part names, at the strength that it says; None where it names an edit.

    Raises:
        UsageError: what has a weight is no kept adapter.
        ArtifactError: the adapter is damaged, or of another model.
    """
    name, weight = weighted(part, "fr*0.4")
    if name not in sources.shelf.names():
        if "*" in part:
            raise UsageError(
                f"there is no adapter '{name}', and only adapters have a weight", "adapter list shows them"
            )
        return None
    if "*" not in part and (
        name in sources.store.names("edit") or name in [e.edit.name for e in sources.ledger.entries]
    ):
        return None
    return kept_adapter(sources, name, weight)


def _edit(sources: ArmSources, name: str, word: str) -> Edit:
    """The edit that a part of an arm names."""
    entries = sources.ledger.entries
    if name.isdecimal() and 1 <= int(name[:9]) <= len(entries):
        return entries[int(name) - 1].edit
    for entry in entries:
        if entry.edit.name == name:
            return entry.edit
    saved = sources.store.names("edit")
    if name in saved:
        return sources.read_edit(name)
    known = [BASE, EDIT, UNSUPPRESSED, *(entry.edit.name for entry in entries), *saved, *sources.shelf.names()]
    near = get_close_matches(name, known, 1)
    within = f" in '{word}'" if name != word else ""
    raise UsageError(
        f"there is no arm '{name}'{within}", f"did you mean {near[0]}?" if near else f"one of: {', '.join(known[:8])}"
    )
