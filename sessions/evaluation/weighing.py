"""Adapters at the weights of a sweep: what a word means, and the state in which a row of the sweep is answered.

Every row is of the model as it was opened with the adapters of that row alone, whatever is on: so what is on does not
add up with them, and nothing needs to be on before. Behind a row the edits and adapters that are on are on again, with
the same bits. Of a series of rounds nothing is held at zero, as in an evaluation of its depths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from msgspec import structs

from sessions.comparisons.sweep_plan import AdapterShare, Chosen, SweepPlan
from sessions.edits.adapters import Adapter, check_fit
from sessions.errors import ArtifactError, UsageError
from sessions.evaluation.named import DEPTHS, ROUND, ArmSources, kept_adapter, round_adapter, rounds_of_series, weighted
from sessions.model.pieces import WorkingModel

#: Weights that are meant where none are given.
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_EXAMPLE = "fr*0.4"


@dataclass(frozen=True)
class Weighed:
    """What a word of a sweep means, and its adapters with their numbers."""

    chosen: Chosen
    adapters: dict[AdapterShare, Adapter]


def weighed(sources: ArmSources, word: str, against: str = "") -> Weighed:
    """The adapters that a word names, `fr*0.5+es` or `depths:crab`, with those that they are held against.

    Raises:
        UsageError: it names none, one of them twice, or a series where there can be none.
        ArtifactError: an adapter is not there, damaged, or of another model.
    """
    if word.startswith(DEPTHS) and "+" not in word:
        if against:
            raise UsageError("--against is for adapters, and not for depths", "sweep --adapter fr --against es")
        rounds = [f"{ROUND}{name}" for name in rounds_of_series(sources, word.removeprefix(DEPTHS))]
        read = [_read(sources, part) for part in rounds]
        return Weighed(Chosen(word, adapters=tuple(share for share, _ in read), deep=True), dict(read))
    read = [_read(sources, part) for part in _parts(word)]
    read += [
        (structs.replace(share, against=True), adapter)
        for share, adapter in (_read(sources, part) for part in _parts(against))
    ]
    names = [adapter.name for _, adapter in read]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"'{twice}' is named twice", "give it one weight: fr*0.5+es")
    text = f"{word} against {against}" if against else word
    return Weighed(Chosen(text, adapters=tuple(share for share, _ in read)), dict(read))


def _parts(word: str) -> list[str]:
    parts = [part.strip() for part in word.split("+")] if word else []
    if not all(parts):
        raise UsageError(f"'{word}' names no adapter in one of its parts", "for example: fr*0.5+es")
    deep = next((part for part in parts if part.startswith(DEPTHS)), None)
    if deep is not None:
        raise UsageError(f"'{deep}' is a whole series, and stands alone", f"sweep --adapter {deep.partition('*')[0]}")
    return parts


def _read(sources: ArmSources, part: str) -> tuple[AdapterShare, Adapter]:
    is_round = part.startswith(ROUND)
    name, weight = weighted(part.removeprefix(ROUND), f"{ROUND}crab-1*0.5" if is_round else _EXAMPLE)
    if weight == 0:
        raise UsageError(f"the weight of '{name}' is 0 at every multiplier", f"leave it out, or say {name}*0.5")
    if is_round:
        found, adapter = round_adapter(sources, name, weight)
        name = found.name
    else:
        adapter = kept_adapter(sources, name, weight)
    assert adapter.contents is not None
    check_fit(adapter.contents, sources.opened.model, name)
    return AdapterShare(name, weight, adapter.sha256, is_round), adapter


def read_again(sources: ArmSources, plan: SweepPlan) -> dict[AdapterShare, Adapter]:
    """The adapters of a plan that was kept.

    Raises:
        ArtifactError: one of them is not there any more, or is another one now.
    """
    by_share = {}
    for share in (share for chosen in plan.selections for share in chosen.adapters):
        _, adapter = _read(sources, f"{ROUND if share.round else ''}{share.name}")
        if adapter.sha256 != share.sha256:
            raise ArtifactError(f"adapter '{share.name}' was replaced after the sweep was begun", "begin another sweep")
        by_share[share] = adapter
    return by_share


@dataclass(frozen=True)
class WeighedState:
    """The model as it was opened with some adapters, each at its weight; if `free`, no neuron is held at zero."""

    adapters: tuple[Adapter, ...]
    free: bool

    @contextmanager
    def within(self, model: WorkingModel) -> Iterator[None]:
        """The block in which these adapters alone are on."""
        with ExitStack() as stack:
            if self.free:
                stack.enter_context(model.unsuppressed())
            stack.enter_context(model.lifted())
            for adapter in self.adapters:
                stack.enter_context(adapter.applied(model.opened))
            yield


def states_of(plan: SweepPlan, adapters: Mapping[AdapterShare, Adapter]) -> dict[int, WeighedState]:
    """The states in which the batches of a plan are answered, by their first row; batches of one set share theirs."""
    states: dict[tuple[int | None, float], WeighedState] = {}
    by_row = {}
    for batch in plan.batches():
        place = plan.places[batch.start]
        key = place.selection, place.multiplier
        if key not in states:
            on = tuple(replace(adapters[share], weight=weight) for share, weight in plan.weights(place))
            states[key] = WeighedState(on, plan.selections[place.selection or 0].deep)
        by_row[batch.start] = states[key]
    return by_row


def check_weights(chosen: Chosen, multipliers: tuple[float, ...]) -> None:
    """Raise `UsageError` where a multiplier is no depth of a series."""
    if chosen.deep:
        most = len(chosen.adapters)
        wrong = next(
            (multiplier for multiplier in multipliers if not (multiplier.is_integer() and 0 <= multiplier <= most)),
            None,
        )
        if wrong is not None:
            raise UsageError(f"invalid depth {wrong:g} of '{chosen.text}'", f"depths: whole numbers from 0 to {most}")
