"""Activations moved between the runs of pairs of prompts: `patch`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import structs

from sessions.circuits.pairs import differing
from sessions.errors import UsageError
from sessions.events import Steps, with_partials
from sessions.model.info import Encoded
from sessions.model.units import Unit, noun
from sessions.patching.patches import STATES, Direction, PatchedCell, PatchMap, PatchSite
from sessions.procedures.circuits import check_positions, range_of
from sessions.procedures.token_meant import token_meant
from sessions.references import check_paired, prompts_with_targets
from sessions.results import Patched, PatchProgress
from sessions.session import Session
from sessions.texts.prompt_files import PromptRecord

if TYPE_CHECKING:
    from sessions.circuits.cases import Case
    from sessions.patching.grids import GridPlan

#: Cells that a result lists at most.
CARRIED = 1000
#: A pair whose two targets are nearer than this, in logits, has nothing to restore.
LEAST = 1e-3
#: Neurons that are patched one by one at most.
MOST_UNITS = 10_000

Given = tuple[tuple[str, str | bool], ...]
"""The options of a line that name the pairs."""


@dataclass(frozen=True)
class PatchScope:
    """What is patched, where, and how much of it is listed. `units` is a selection of neurons and heads, `receiver` the
    end of the paths from them, if only these are patched."""

    site: PatchSite | Literal["units"]
    direction: Direction = "denoise"
    layers: tuple[int, int] | None = None
    at: tuple[int, int] | None = None
    units: str | None = None
    listed: int = 10
    batch: int | None = None
    receiver: str | None = None


# ---- pairs


def pairs_in(session: Session, path: Path, raw: bool, batch: int | None) -> Steps[tuple[tuple[Case, ...], list[str]]]:
    """The pairs of a file with their targets, and remarks.

    Raises:
        UsageError: a prompt has no corrupt prompt, or one of another length.
    """
    cases, notes = yield from prompts_with_targets(session, path, raw, batch=batch)
    check_paired(cases)
    return cases, notes


def own_pair(
    session: Session, corrupt: str, target: str | None, vs: str | None
) -> Steps[tuple[tuple[Case, ...], list[str]]]:
    """The session's prompt and a corrupt one, which is read with the same seed and template; and remarks.

    Raises:
        UsageError: they have different lengths, or are the same.
    """
    from sessions.circuits.cases import CaseTexts, remarks, resolve_targets
    from sessions.circuits.pairs import remarks as pair_remarks

    clean, notes, meant = session.encoded(), list[str](), list[str]()
    other = session.read(structs.replace(clean.prompt, exact=(), text=corrupt))
    for text in (target, vs):
        known, more = ("", []) if text is None else token_meant(session, text)
        meant.append(known)
        notes += more
    record = PromptRecord(
        prompt=clean.prompt.text,
        target=meant[0],
        counterfactual=meant[1],
        seed=clean.prompt.seed,
        raw=not clean.prompt.chat,
        system=clean.prompt.system,
        thinking=clean.prompt.thinking,
        corrupt=corrupt,
    )
    cases = yield from resolve_targets(
        session.opened(), [record], texts=[CaseTexts(clean, other)], named=["the pair"], cancel=session.cancel
    )
    return cases, [*notes, *remarks(session.opened(), cases), *pair_remarks([(clean, other)])]


def _corrupt_values(session: Session, cases: Sequence[Case], batch: int | None) -> tuple[list[float], list[str]]:
    """The target of each pair in its corrupt prompt, and a remark where it is larger there.

    Raises:
        UsageError: the target of a pair is the same in both.
    """
    from sessions.patching.grids import corrupt_targets
    from sessions.views.writing import aim, signed

    values = corrupt_targets(session.opened(), cases, batch=batch, cancel=session.cancel)
    for case, value in zip(cases, values, strict=True):
        if abs(case.target.value - value) < LEAST:
            raise UsageError(
                f"{case.named}: the corrupt prompt does not change the target, {aim(case.target)}: it is "
                f"{signed(value)} in both",
                "corrupt what the target is due to, or name another target or counterfactual",
            )
    raised = [case for case, value in zip(cases, values, strict=True) if value > case.target.value]
    if not raised:
        return values, []
    if len(cases) == 1:
        return values, ["the target is larger in the corrupt prompt than in the clean one"]
    how_many = f"in {len(raised)} of {len(cases)} pairs"
    return values, [f"{how_many} the target is larger in the corrupt prompt: the first is {raised[0].named}"]


# ---- places


def positions_in(texts: Sequence[Encoded], begins: int, at: tuple[int, int] | None) -> tuple[int, ...]:
    """The positions to patch: those of the line, or all from where the prompts begin to differ.

    They count from the start where all prompts have the same length, else from the end.

    Args:
        begins: the tokens from there to the end, at least 1, in the prompt where they are most.
    """
    lengths = {len(read.ids) for read in texts}
    shortest = min(lengths)
    if len(lengths) == 1:
        if at is None:
            return tuple(range(shortest - begins, shortest))
        check_positions(at, shortest)
        first, last = (position % shortest for position in at)
        return tuple(range(first, last + 1))
    if at is None:
        return tuple(range(-min(begins, shortest), 0))
    if at[0] >= 0:
        raise UsageError(
            f"the prompts have {shortest} to {max(lengths)} tokens, so positions count from their end",
            "for example: --at -5--1",
        )
    check_positions(at, shortest)
    return tuple(range(at[0], at[1] + 1))


def tokens_at(texts: Sequence[Encoded], positions: Sequence[int]) -> tuple[str, ...]:
    """The token at each position; "" where the texts have different ones."""
    columns = ({read.tokens[position] for read in texts} for position in positions)
    return tuple(column.pop() if len(column) == 1 else "" for column in columns)


def _units(session: Session, scope: PatchScope) -> tuple[Unit, ...]:
    """The units of the selection, at the positions that the user wrote; none where a whole site is patched."""
    if scope.units is None and scope.site != "neurons":
        return ()
    if scope.site in STATES:
        raise UsageError(f"--units does not go with --site {scope.site}", "leave one of them out")
    units = session.select(scope.units or "all", length=0).spread("all")
    letter = {"neurons": "neuron", "heads": "head"}.get(scope.site)
    other = next((unit for unit in units if letter is not None and unit.kind != letter), None)
    if other is not None:
        raise UsageError(f"{other} is a {other.kind}, and --site is {scope.site}", "leave --site out")
    if any(unit.kind == "expert" for unit in units):
        raise UsageError("experts cannot be patched: each text is sent to experts of its own", "use --site mlp_out")
    if len(units) > MOST_UNITS:
        raise UsageError(
            f"the selection has {len(units):,} units; {MOST_UNITS:,} are patched at most", "for example: --units top50"
        )
    return units


# ---- patch


def patched(
    session: Session, cases: tuple[Case, ...], scope: PatchScope, given: Given, notes: Sequence[str]
) -> Steps[Patched]:
    """Patch a grid over pairs; the result so far is shown while it grows."""
    from sessions.circuits.multi_prompt import mean_target
    from sessions.patching.grids import Grid, fill, fill_paths, plan
    from sessions.patching.paths import Receiver

    opened = session.opened()
    layers = range_of(session, scope.layers) or range(opened.anatomy.n_layers)
    units = _units(session, scope)
    texts = [case.encoded for case in cases]
    begins = max(len(case.ids) - differing(case.encoded, case.corrupt)[0] for case in cases if case.corrupt is not None)
    positions = positions_in(texts, begins, scope.at)
    corrupt, more = _corrupt_values(session, cases, scope.batch)
    site: PatchSite = "neurons" if scope.site == "units" else scope.site
    chosen = plan(opened, site, layers, positions, units=units)
    cells = len(chosen.patches(len(texts[0].ids)))
    grid = Grid(len(cases), cells)
    named = NamedCells(chosen, tokens_at(texts, positions))
    result = Patched(
        site=noun(units) if units else scope.site,
        direction=scope.direction,
        pairs=len(cases),
        target=mean_target(cases),
        clean=sum(case.target.value for case in cases) / len(cases),
        corrupt=sum(corrupt) / len(cases),
        map=None,
        strongest=(),
        listed=scope.listed,
        cells=cells,
        receiver=scope.receiver or "",
        given=given,
        notes=(*notes, *more, *limits_of(session, chosen)),
    )

    def so_far() -> Patched | None:
        values = grid.fractions().tolist()
        return structs.replace(
            result,
            map=named.map(values),
            strongest=named.strongest(values),
            so_far=PatchProgress(grid.done, grid.values.numel()),
        )

    if scope.receiver is None:
        steps = fill(opened, cases, chosen, scope.direction, grid, batch=scope.batch, cancel=session.cancel)
    else:
        receiver = Receiver.parse(scope.receiver)
        steps = fill_paths(
            opened, cases, chosen, receiver, scope.direction, grid, batch=scope.batch, cancel=session.cancel
        )
    yield from with_partials(steps, so_far)
    values = grid.fractions().tolist()
    best = named.order(values)
    intervals = grid.fraction_intervals(best, session.settings.rng)
    return structs.replace(
        result,
        map=named.map(values),
        strongest=named.strongest(values, intervals),
        together=values[-1] if len(units) > 1 else None,
    )


def limits_of(session: Session, chosen: GridPlan) -> list[str]:
    """Remarks on what patching leaves out: live interventions, and other residual streams."""
    from sessions.patching.transplanting import other_streams

    live = ["live interventions are not in force here"] if session.live else []
    states = [] if chosen.units else [chosen.site]
    return [*live, *other_streams(session.opened().anatomy, states)]


@dataclass(frozen=True)
class NamedCells:
    """The cells of a plan by number, with their names. `tokens` are those at the plan's positions."""

    chosen: GridPlan
    tokens: tuple[str, ...]

    def order(self, values: Sequence[float]) -> list[int]:
        """The numbers of the cells to list, the strongest first."""
        count = len(self.chosen.units) or len(values)
        known = [number for number in range(count) if values[number] == values[number]]
        return sorted(known, key=lambda number: -abs(values[number]))[:CARRIED]

    def map(self, values: Sequence[float]) -> PatchMap | None:
        """The cells by layer and column; None for units."""
        if self.chosen.units:
            return None
        width, states = self.chosen.columns, self.chosen.site in STATES
        known = [value if value == value else None for value in values]
        return PatchMap(
            layers=self.chosen.layers,
            columns=self.chosen.positions if states else tuple(range(width)),
            tokens=self.tokens if states else (),
            cells=tuple(tuple(known[first : first + width]) for first in range(0, len(known), width)),
        )

    def strongest(
        self, values: Sequence[float], intervals: Sequence[tuple[float, float] | None] = ()
    ) -> tuple[PatchedCell, ...]:
        """The strongest cells, in their order, with the intervals of these."""
        numbers = self.order(values)
        cells = []
        for place, number in enumerate(numbers):
            low, high = (intervals[place] if intervals else None) or (None, None)
            cells.append(self._cell(number, values[number], low, high))
        return tuple(cells)

    def _cell(self, number: int, value: float, low: float | None, high: float | None) -> PatchedCell:
        chosen = self.chosen
        if chosen.units:
            unit = chosen.units[number]
            token = self._token(unit.position)
            return PatchedCell(
                unit=str(unit), layer=unit.layer, position=unit.position, token=token, value=value, low=low, high=high
            )
        layer, column = chosen.cells[number]
        if chosen.site in STATES:
            position = chosen.positions[column]
            return PatchedCell(
                unit=f"L{layer}@{position}",
                layer=layer,
                position=position,
                token=self.tokens[column],
                value=value,
                low=low,
                high=high,
            )
        return PatchedCell(
            unit=f"L{layer}/H{column}", layer=layer, position=None, token="", value=value, low=low, high=high
        )

    def _token(self, position: int | None) -> str:
        places = self.chosen.positions
        return self.tokens[places.index(position)] if position is not None and position in places else ""
