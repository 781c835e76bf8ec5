"""The runs of faithfulness: prompts with the units of a circuit kept, or removed, and all others held at a value.

A row of a batch is a prompt in one run. A hook at every down projection, and at every output projection for heads,
holds units; only the logits of the targets' tokens are computed. `faithfulness` says what is made of the values.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sessions.circuits.attribution import Reference, place_of
from sessions.circuits.cases import Case
from sessions.circuits.mean_effects import differences
from sessions.circuits.recording import corrupt_reference
from sessions.memory import in_parts
from sessions.model.finite import not_finite
from sessions.model.homes import home_of
from sessions.model.hooks import Change, on_neurons, together, watched
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.pieces import Computing, WorkingModel
from sessions.model.rows import batches, padded_rows
from sessions.model.sites import Site
from sessions.model.tokens import last_positions
from sessions.model.units import NEURONS, Kind, Unit

Ranking = Sequence[Unit]
"""Distinct neurons, the most important first. Either all have positions, counted from the end of a prompt, or none."""


@dataclass(frozen=True)
class AblationRun:
    """One run over the prompts. The first `size` neurons of ranking number `ranking` are kept and all others held or,
    with `removed`, these are held and all others kept."""

    ranking: int = 0
    size: int = 0
    removed: bool = False


#: The runs with all neurons held and with none held.
NONE, WHOLE = AblationRun(), AblationRun(removed=True)


@dataclass(frozen=True)
class FaithfulnessPiece:
    """Rows of one batch: numbers of a run and of a case. Either all runs keep a circuit, or all remove one."""

    rows: tuple[tuple[int, int], ...]
    removed: bool


@dataclass
class FaithfulnessJob:
    """The runs over all cases as pieces; arguments as in `targets`."""

    cases: tuple[Case, ...]
    rankings: tuple[Ranking, ...]
    runs: tuple[AblationRun, ...]
    constants: Reference | None
    _held: list[HeldSite] | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_held": None}  # which are of one model

    def pieces(self, batch: int) -> Iterator[FaithfulnessPiece]:
        """Batches of at most so many tokens."""
        for removed in (False, True):
            of = [run for run, ablation in enumerate(self.runs) if ablation.removed == removed]
            pairs = [(run, case) for run in of for case in range(len(self.cases))]
            for rows in batches([len(self.cases[case].ids) for _, case in pairs], batch):
                yield FaithfulnessPiece(tuple(pairs[row] for row in rows), removed)

    def size(self, piece: FaithfulnessPiece) -> float:
        return len(piece.rows)

    def state(self, piece: FaithfulnessPiece) -> None:
        return None

    def compute(self, model: WorkingModel, piece: FaithfulnessPiece) -> Computing[list[float]]:
        yield 0.0
        found: list[float] = []
        for _, values in in_parts([piece.rows], lambda rows: self._values(model, rows, piece.removed)):
            found += values
        return found

    def _values(self, model: WorkingModel, rows: Sequence[tuple[int, int]], removed: bool) -> list[float]:
        """The targets of some rows, in one batch."""
        opened = model.opened
        pieces, kinds = self.held(opened), kinds_of(self.rankings)
        stack = _Stack([self.cases[case] for _, case in rows], [self.runs[run] for run, _ in rows], removed)
        with watched(opened.anatomy, model.cancel):
            if self.constants is not None and self.constants.corrupt:
                pieces = stack.held_at_corrupt(opened, pieces, kinds)
            return stack.values(opened, pieces)

    def held(self, opened: OpenModel) -> list[HeldSite]:
        """The sites with their ranked units and what the others are held at; read once."""
        if self._held is None:
            anatomy, kinds = opened.anatomy, kinds_of(self.rankings)
            sites = [site for _, site in anatomy.unit_sites(kinds)]
            zeros = tuple(torch.zeros(site.width) for site in sites)
            constants = self.constants
            held = zeros if constants is None or constants.corrupt else constants.by_site(anatomy, kinds)
            tables = _tables(anatomy, self.rankings, kinds)
            dtype = opened.model.dtype
            self._held = [HeldSite(*piece).at_home(dtype) for piece in zip(sites, tables, held, strict=True)]
        return self._held


@dataclass(frozen=True)
class _Table:
    """The units of one site that are in any ranking: their coordinates `columns` `[n]`, and the rank of each in each
    ranking, `[rankings, positions, n]` with the last position last; the rank of an unranked neuron is larger than any
    size. Neurons without positions have one position for all: `everywhere`."""

    columns: Tensor
    ranks: Tensor
    everywhere: bool

    def to(self, device: torch.device) -> _Table:
        """The table on a device."""
        return _Table(self.columns.to(device), self.ranks.to(device), self.everywhere)


@dataclass(frozen=True)
class HeldSite:
    """A site, the table of its ranked units, and the values that the others are held at: `[width]`,
    `[positions, width]` or, for the rows of one batch, `[rows, seq, width]`."""

    site: Site
    table: _Table | None
    constants: Tensor

    def at_home(self, dtype: torch.dtype) -> HeldSite:
        """The same where the site computes, in its dtype: it is brought there once, and not for each batch."""
        home = home_of(self.site.module)
        if home.type == "meta":
            return self
        return HeldSite(self.site, self.table and self.table.to(home), self.constants.to(home, dtype))


def kinds_of(rankings: Sequence[Ranking]) -> tuple[Kind, ...]:
    """The kinds of units in some rankings: what is held where a circuit is kept are the other units of these kinds."""
    present = {unit.kind for ranking in rankings for unit in ranking}
    return tuple(kind for kind in ("neuron", "head", "expert") if kind in present) or NEURONS


def _tables(anatomy: Anatomy, rankings: Sequence[Ranking], kinds: Collection[Kind]) -> list[_Table | None]:
    """A table for each site; None for those without a neuron."""
    entries: dict[int, list[tuple[int, int, int, int]]] = {}
    furthest, everywhere = -1, True
    for which, ranking in enumerate(rankings):
        for rank, neuron in enumerate(ranking):
            place = place_of(anatomy, neuron, kinds)
            position = -1 if neuron.position is None else neuron.position
            furthest, everywhere = min(furthest, position), everywhere and neuron.position is None
            columns = range(place.first, place.first + place.width)
            entries.setdefault(place.site, []).extend((which, position, column, rank) for column in columns)
    sites = len(anatomy.unit_sites(kinds))
    shape = len(rankings), -furthest
    return [_table(entries[site], shape, everywhere) if site in entries else None for site in range(sites)]


def _table(entries: Sequence[tuple[int, int, int, int]], shape: tuple[int, int], everywhere: bool) -> _Table:
    which, position, local, rank = torch.tensor(entries).T
    columns, column = local.unique(return_inverse=True)
    ranks = torch.full((*shape, len(columns)), torch.iinfo(torch.long).max)
    ranks[which, position, column] = rank
    return _Table(columns, ranks, everywhere)


@dataclass(frozen=True)
class _Rows:
    """What the rows of a batch are, on one device: the ranking and the size of each row's run, `[rows]`, and the place
    of each position counted back from the end of the row's prompt, `[rows, seq]`: −1 is the last."""

    rankings: Tensor
    sizes: Tensor
    places: Tensor


class _Stack:
    """Rows of one batch: row r is `cases[r]` under `runs[r]`. Either all runs keep the neurons of a ranking, or all
    remove them."""

    def __init__(self, cases: Sequence[Case], runs: Sequence[AblationRun], removed: bool) -> None:
        self.cases, self.removed = cases, removed
        lengths = torch.tensor([len(case.ids) for case in cases])
        rows = _Rows(
            torch.tensor([run.ranking for run in runs]),
            torch.tensor([run.size for run in runs]),
            torch.arange(int(lengths.max())) - lengths[:, None],
        )
        self._rows = {lengths.device: rows}

    def _on(self, device: torch.device) -> _Rows:
        if device not in self._rows:
            rows = next(iter(self._rows.values()))
            self._rows[device] = _Rows(*(each.to(device) for each in (rows.rankings, rows.sizes, rows.places)))
        return self._rows[device]

    @torch.inference_mode()
    def values(self, opened: OpenModel, pieces: Sequence[HeldSite]) -> list[float]:
        """The target of each row."""
        anatomy = opened.anatomy
        hooks = [on_neurons(piece.site, self._change(piece.table, piece.constants)) for piece in pieces]
        texts = [case.ids for case in self.cases]
        lengths = [len(text) for text in texts]
        wanted = torch.tensor([case.wanted for case in self.cases])
        with together(hooks), padded_rows(opened, texts) as ids, differences(anatomy, lengths, wanted) as read:
            out = opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(ids.shape[1], ids))
            numbers: list[float] = read(out.logits).tolist()
            if not all(map(math.isfinite, numbers)):
                raise not_finite(opened, texts, "a target's value", [repr(case.asked.prompt) for case in self.cases])
        return numbers

    def held_at_corrupt(self, opened: OpenModel, pieces: Sequence[HeldSite], kinds: Collection[Kind]) -> list[HeldSite]:
        """The pieces with the activations in the corrupt prompt of each row's case."""
        cases = {id(case): case for case in self.cases}
        numbers = {key: number for number, key in enumerate(cases)}
        read = corrupt_reference(opened, list(cases.values())).by_site(opened.anatomy, kinds)
        rows = [numbers[id(case)] for case in self.cases]
        return [replace(piece, constants=values[rows]) for piece, values in zip(pieces, read, strict=True)]

    def _change(self, table: _Table | None, constants: Tensor) -> Change:
        by_row = constants.ndim == 3
        constants = constants if by_row else constants.reshape(-1, constants.shape[-1])

        def change(activations: Tensor, _: object) -> Tensor:
            rows = activations.reshape(len(self.cases), -1, activations.shape[-1])
            values = constants.to(rows)
            if not by_row:
                places = (self._on(rows.device).places + len(constants)).clamp(0, len(constants) - 1)
                values = values[places]
            # What was just picked for the rows is theirs to change.
            changed = rows.clone() if self.removed else values.clone() if by_row else values
            if table is not None:
                within = self._within(table, rows.device)
                other = values if self.removed else rows
                columns = table.columns.to(rows.device)
                changed[..., columns] = torch.where(within, other[..., columns], changed[..., columns])
            changed[:, 0] = rows[:, 0]
            return changed.reshape(activations.shape)

        return change

    def _within(self, table: _Table, device: torch.device) -> Tensor:
        """Which neurons of a table are in the circuit of each row's run, `[rows, 1 or seq, n]`."""
        here = self._on(device)
        within = table.ranks.to(device)[here.rankings] < here.sizes[:, None, None]
        if table.everywhere:
            return within
        count = within.shape[1]
        place = (here.places + count)[..., None]
        there = within.gather(1, place.clamp(0, count - 1).expand(-1, -1, within.shape[2]))
        return there & (place >= 0) & (place < count)
