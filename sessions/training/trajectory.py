"""The trajectory of a series of rounds: what each suppressed, what it still learned, and the verdict.

Each round suppresses the neurons that learned before. Suppression alone raises the loss that training starts from, and
training recovers some of that, so the fall of the loss within a round does not show what it learned. Learning is
measured from the start of the series and compared with a control, the same training with as many random neurons of the
same layers suppressed:

    ρ  =  (L₀ − L) / (L₀ − L′)      L₀: the mean loss before the first round; L, L′: that at the end of the round and
                                    of its control
    κ  =  share of all absorbed gradient that the round's strongest recruits absorbed

and the verdict is, by rules that are stated here and nowhere else:

    single-point       no round without the recruits of an earlier one kept ρ ≥ ½: learning hung on those neurons
    exhausted          some did, and the last did not: there were other ways, and they have run out
    several solutions  the last kept ρ ≥ ½, and κ ≥ 0.2 in the mean: few neurons learn, other ones each time
    distributed        the last kept ρ ≥ ½, and κ < 0.2: no few neurons do

There is no verdict without a round that forbids recruits of an earlier one, nor where such a round has no control, or
a control that learned nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from msgspec import Struct

from sessions.model.units import Place, Unit
from sessions.training.findings import Round, mean

#: Below this share of what its control learned, a round is said not to have learned.
ENOUGH = 0.5
#: From this share of the absorbed gradient on, the strongest recruits are said to be few.
FEW = 0.2


class Passage(Struct, frozen=True, kw_only=True):
    """One round of a trajectory.

    `initial`, `final` and `control` are mean losses, in nats a token: before, after, and after the control. `kept` is
    ρ and `share` is κ; None where there is no control, or no recruit. `layers` have recruits; `again` of the recruits
    were recruited in an earlier round of the series. The plain losses count every token of a reply alike; None in a
    round that was kept before they were.
    """

    name: str
    suppressed: int
    initial: float
    final: float
    control: float | None
    kept: float | None
    strongest: Unit | None
    share: float | None
    layers: tuple[int, ...]
    again: int
    recruits: int
    after: str
    stopped: str
    plain_initial: float | None = None
    plain_final: float | None = None
    plain_control: float | None = None


class Trajectory(Struct, frozen=True, kw_only=True):
    """A series of rounds, the first first. `verdict` is empty where there is none; `because` says why, in numbers."""

    passages: tuple[Passage, ...]
    verdict: str
    because: str


def trajectory(rounds: Sequence[tuple[Round, float | None]]) -> Trajectory:
    """The trajectory of rounds in their order, each with its κ."""
    passages: list[Passage] = []
    seen: set[Place] = set()
    for trained, share in rounds:
        recruited = {neuron.anywhere for neuron in trained.recruited}
        passages.append(_passage(trained, share, len(recruited & seen), passages[0].initial if passages else None))
        seen |= recruited
    verdict, because = _verdict(passages)
    return Trajectory(passages=tuple(passages), verdict=verdict, because=because)


def _passage(trained: Round, share: float | None, again: int, began: float | None) -> Passage:
    initial, final = fmean(trained.outcome.initial), fmean(trained.outcome.final)
    control = None if trained.control is None else fmean(trained.control.final)
    began = initial if began is None else began
    return Passage(
        name=trained.name,
        suppressed=len(trained.suppressed),
        initial=initial,
        final=final,
        control=control,
        kept=(began - final) / (began - control) if control is not None and control < began else None,
        strongest=trained.recruited[0] if trained.recruited else None,
        share=share,
        layers=tuple(sorted({neuron.layer for neuron in trained.recruited})),
        again=again,
        recruits=len(trained.recruited),
        after=trained.after,
        stopped=trained.outcome.stopped,
        plain_initial=mean(trained.outcome.plain_initial),
        plain_final=mean(trained.outcome.plain_final),
        plain_control=None if trained.control is None else mean(trained.control.plain_final),
    )


def _verdict(passages: Sequence[Passage]) -> tuple[str, str]:
    """The verdict, and why."""
    tested = [passage for passage in passages if passage.after]
    if not tested:
        return "", "no round forbids the recruits of an earlier one: train-round DATA --add-recruits 30"
    without = next((passage for passage in tested if passage.control is None), None)
    if without is not None:
        return "", f"{without.name} has no control: train it again without --no-control"
    idle = next((passage for passage in tested if passage.kept is None), None)
    if idle is not None:
        return "", f"the control of {idle.name} learned nothing, its loss ended at {idle.control:.3f}"
    last = tested[-1]
    kept = f"{last.name} kept ρ {last.kept:.2f} of what its control learned"
    if (last.kept or 0.0) < ENOUGH:
        best = max(tested, key=lambda later: later.kept or 0.0)
        if (best.kept or 0.0) < ENOUGH:
            return "single-point", f"{kept}, and no round more than {best.kept:.2f}: less than {ENOUGH:g}"
        return "exhausted", f"{kept}, less than {ENOUGH:g}, and {best.name} before it {best.kept:.2f}"
    shares = [passage.share for passage in passages if passage.share is not None]
    mean = sum(shares) / len(shares) if shares else 0.0
    strong = f"the strongest recruits of a round absorbed κ {mean:.0%} of the gradient"
    few = mean >= FEW
    verdict = "several solutions" if few else "distributed"
    return verdict, f"{kept}, and {strong}, {'at least' if few else 'less than'} {FEW:.0%}"
