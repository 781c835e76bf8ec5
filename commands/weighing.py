"""The words of a sweep of adapters: `sweep --adapter fr --against es 0 0.5 1`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from commands.names import AdapterName, RoundName
from commands.words import NumberWord, Word
from sessions.errors import UsageError
from sessions.session import Session
from sessions.training.findings import series_of

if TYPE_CHECKING:
    from sessions.comparisons.sweep_plan import AdapterShare, Chosen
    from sessions.edits.adapters import Adapter


class Mixture(Word):
    """Adapters with their weights: `fr`, `fr*0.5+es`, `round:crab-1`, `depths:crab`."""

    name = "adapters"
    shape = "ADAPTER[*W][+…]"

    def read(self, text: str) -> str:
        if not text:
            raise UsageError("the adapter is empty", "for example: fr, or fr*0.5+es")
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        before = incomplete[: incomplete.rfind("+") + 1]
        choices = AdapterName().completions(session, incomplete)
        rounds = [name for name, _ in RoundName().completions(session, incomplete)]
        choices += [(f"round:{name}", "round of training") for name in rounds]
        if not before:
            series = sorted({series_of(name) for name in rounds} - set(rounds))
            choices += [(f"depths:{name}", "series of rounds, by depth") for name in series]
        return [(before + word, about) for word, about in choices]


def numbers(words: Sequence[str]) -> tuple[float, ...]:
    """The multipliers that are given, each once."""
    from sessions.comparisons.sweep_points import refuse_multipliers

    multipliers = tuple(NumberWord().read(word) for word in words)
    refuse_multipliers(multipliers)
    return multipliers


def weighed_adapters(
    session: Session, words: tuple[str, ...], adapters: tuple[str, ...], against: str | None
) -> tuple[tuple[Chosen, ...], tuple[float, ...], dict[AdapterShare, Adapter]]:
    """What is swept, at which weights, and the adapters with their numbers."""
    from sessions.evaluation.weighing import WEIGHTS, check_weights, weighed

    example = "for example: sweep --adapter fr 0 0.5 1"
    wrong = next((word for word in words if not is_number(word)), None)
    if wrong is not None:
        raise UsageError(f"'{wrong}' is not a weight: with --adapter no neurons are swept", example)
    if len(set(adapters)) < len(adapters):
        raise UsageError("--adapter is given twice with the same adapters", example)
    if against and len(adapters) > 1:
        raise UsageError("--against goes with one --adapter", "put them together: --adapter fr+it --against es")
    multipliers = numbers(words)
    session.opened()
    weighings = [weighed(session.arm_sources(), word, against or "") for word in adapters]
    chosen = tuple(weighing.chosen for weighing in weighings)
    if len({selection.deep for selection in chosen}) > 1:
        raise UsageError("depths of a series and weights need two sweeps", "sweep one of them at a time")
    if not multipliers:
        depths = range(min(len(selection.adapters) for selection in chosen) + 1)
        multipliers = tuple(map(float, depths)) if chosen[0].deep else WEIGHTS
    for selection in chosen:
        check_weights(selection, multipliers)
    return (
        chosen,
        multipliers,
        {share: adapter for weighing in weighings for share, adapter in weighing.adapters.items()},
    )


def is_number(word: str) -> bool:
    """Whether a word is a number."""
    try:
        float(word)
    except ValueError:
        return False
    return True
