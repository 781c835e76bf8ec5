"""Inspecting an edit: what it changes, what its neurons read and push, and whether it does what it says.

Before is the model with the edits below it, after is with it on top of them. A neuron's parts are held against what
they were; its rows and its column are read as in `circuits.card` and `circuits.lens`. *Concentration* says how much a
column is of one token: what the likeliest gets of a softmax over the logits that the column alone would predict, and
the cosines of the column with the unembedding's rows of the first two. Of a matrix whose write was projected, the
share of its squared norm that went is what a white input would lose of its variance there. The change alone, without
what was there before, is read in `deltas`.

Last, the logits after the prompt are computed with the edit in the weights and with the same edit as hooks (`hooked`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from msgspec.structs import replace
from torch import Tensor

from sessions.cancel import Cancel
from sessions.directions.lens import AT_ONCE, extremes, predicted
from sessions.directions.reading import reads
from sessions.edits.commuting import beside, scaled_under
from sessions.edits.deltas import (
    Lines,
    LowRankChange,
    Site,
    column_changes,
    factors_of,
    in_all,
    lines_of,
    of_matrix,
    of_neurons,
    pushes_of,
    sites_of,
)
from sessions.edits.edit import Edit, LowRank, Projection, WeightChange
from sessions.edits.findings import DeltaPart, EditedMatrix, EditedNeuron, EditedPart
from sessions.edits.hooked import hooked
from sessions.edits.ledger import Ledger
from sessions.errors import ModelError
from sessions.events import Progress, Steps
from sessions.model.homes import home_of
from sessions.model.hooks import watched
from sessions.model.opening import OpenModel
from sessions.model.places import (
    WeightSlice,
    module_place,
    parts_of,
    tied_with,
    unembedding,
    writer_places,
)
from sessions.model.tokens import last_positions
from sessions.model.units import Unit

#: Tokens of the whole edit that are counted, and positions of the prompt whose logits are held against each other.
COUNTED, POSITIONS = 10, 64


@dataclass(frozen=True)
class Inspection:
    """What `inspected` finds; as in `results.EditInspected`."""

    norm: float
    neurons: tuple[EditedNeuron, ...]
    total: int
    matrices: tuple[EditedMatrix, ...]
    tokens: tuple[tuple[str, int], ...]
    apart: float | None
    notes: tuple[str, ...]
    delta: tuple[DeltaPart, ...] = ()
    delta_tokens: tuple[tuple[str, int], ...] = ()
    delta_top10: float | None = None


def inspected(
    opened: OpenModel,
    ledger: Ledger,
    edit: Edit,
    *,
    below: int,
    ids: Sequence[int] = (),
    rows: int = 20,
    tokens: int = 3,
    cancel: Cancel | None = None,
) -> Steps[Inspection]:
    """Look into an edit that lies, or would lie, on the first `below` of the ledger.

    Args:
        ids: of the prompt whose logits are compared; none for no comparison.
        rows: neurons that are told in full.
        tokens: how many each reads and pushes.

    Raises:
        UsageError, ModelError, ArtifactError: it does not fit the model.
    """
    sites = list(dict.fromkeys(site for change in edit.changes for site in sites_of(change)))
    notes = list(remarks(opened, edit))
    matrices: dict[int, EditedMatrix] = {}
    factors: list[LowRankChange | None] = []
    apart, hooks, squares = None, None, 0.0
    with ledger.lifted(below), ExitStack() as sheets:
        yield Progress("inspecting", 0, len(sites), "neurons")
        with edit.applied(opened):
            pass  # it fits
        before = lines_of(opened, sites)
        notes += beside(opened, ledger, edit)
        scales = scaled_under(opened, ledger, edit) if ids else None
        if scales is not None:
            notes.append(
                f"not compared with the same edit as hooks: '{scales.name}', a DoRA on {scales.module}, divides by the "
                "norm of the weights"
            )
        elif ids:
            try:
                with hooked(opened, edit):
                    hooks = _logits(opened, ids, cancel)
            except ModelError as error:
                notes.append(f"not compared with the same edit as hooks: {error.message}")
        for change in edit.changes:
            whole = _matrices(opened, change)
            was = sum(_square(place) for place in whole)
            factors.append(factors_of(opened, change) if whole else None)
            sheet = sheets.enter_context(change.applied(opened))
            squares += sheet.squares
            if whole:
                matrices[len(factors) - 1] = _matrix(change, was, sum(map(_square, whole)), sheet.norm)
        if hooks is not None:
            logits = _logits(opened, ids, cancel)
            apart = float((logits - hooks).abs().max() / logits.abs().max().clamp(min=1e-30))
            notes += [_ROUGH.format(opened.info.dtype)] if opened.info.dtype != "float32" else []
        after = lines_of(opened, sites)
        neurons, counted, changed = yield from _neurons(opened, sites, before, after, rows, tokens)
        strongest = sorted(matrices, key=lambda number: -matrices[number].change)[:rows]
        for done, number in enumerate(strongest):
            yield Progress("inspecting", done, len(strongest), "matrices")
            if (product := factors[number]) is not None:
                directions = of_matrix(opened, edit.changes[number], product, tokens)
                matrices[number] = replace(matrices[number], directions=directions)
    delta, top10 = in_all(before, after)
    return Inspection(
        norm=squares**0.5,
        neurons=neurons,
        total=len(sites),
        matrices=tuple(matrices.values()),
        tokens=counted,
        apart=apart,
        notes=tuple(notes),
        delta=delta,
        delta_tokens=changed,
        delta_top10=top10,
    )


_ROUGH = "in {} weights and hooks round differently: their difference means little"


def remarks(opened: OpenModel, edit: Edit) -> Iterator[str]:
    """Remarks on an edit of weights that this model uses twice."""
    for change in edit.changes:
        if isinstance(change, LowRank) and (tied := tied_with(opened.model, change.weight)):
            yield f"{change.weight} and {', '.join(tied)} are one matrix: the edit reaches both"


def _matrices(opened: OpenModel, change: WeightChange) -> list[WeightSlice]:
    if isinstance(change, Projection):
        return writer_places(opened.anatomy, change.layer, change.writer)
    return [module_place(opened.model, change.weight)] if isinstance(change, LowRank) else []


def _square(place: WeightSlice) -> float:
    return float(torch.linalg.vector_norm(place.matrix, dtype=torch.float32)) ** 2


def _matrix(change: WeightChange, before: float, after: float, norm: float) -> EditedMatrix:
    if isinstance(change, Projection):
        where, kind = f"L{change.layer} {change.writer}", "all but" if change.keeps else "without"
        return EditedMatrix(
            where=where, kind=kind, dims=len(change.basis), share=1 - after / (before or 1.0), change=norm
        )
    assert isinstance(change, LowRank)
    share = norm / (before**0.5 or 1.0)
    return EditedMatrix(where=change.weight, kind="added", dims=len(change.right), share=share, change=norm)


@torch.inference_mode()
def _logits(opened: OpenModel, ids: Sequence[int], cancel: Cancel | None) -> Tensor:
    batch = torch.tensor([list(ids)], device=opened.device)
    kept = last_positions(min(len(ids), POSITIONS), batch)
    with watched(opened.anatomy, cancel):
        logits: Tensor = opened.model(input_ids=batch, use_cache=False, logits_to_keep=kept).logits[0]
    return logits.float()


Counted = tuple[tuple[str, int], ...]
"""Tokens, each with how many neurons push it."""


def _neurons(
    opened: OpenModel, sites: Sequence[Site], before: Lines, after: Lines, rows: int, tokens: int
) -> Steps[tuple[tuple[EditedNeuron, ...], Counted, Counted]]:
    """The first neurons as they are now, the tokens that all of them push most, and those that their changes push."""
    edited: list[EditedNeuron] = []
    counted: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    for start in range(0, len(sites), AT_ONCE):
        yield Progress("inspecting", start, len(sites), "neurons")
        part = sites[start : start + AT_ONCE]
        columns, scores = _pushing(opened, part)
        pushed = extremes(opened.tokenizer, scores, tokens)
        counted.update(
            token for column, (up, _) in zip(columns, pushed, strict=True) if bool(column.any()) for token in up
        )
        pushes = pushes_of(opened, column_changes(opened, part, before, after), tokens)
        changed.update(token for push in pushes if push is not None for token in push.up)
        listed = part[: max(0, rows - start)]
        deltas = of_neurons(opened, listed, before, after, pushes[: len(listed)], tokens)
        for site, delta, column, score, (up, down) in zip(listed, deltas, columns, scores, pushed, strict=False):
            silent = not bool(column.any())
            edited.append(
                EditedNeuron(
                    neuron=Unit(*site),
                    parts=_parts(opened, site, before, after, tokens),
                    up=() if silent else up,
                    down=() if silent else down,
                    share=0.0 if silent else float(score.float().softmax(-1).max()),
                    cosines=() if silent else _cosines(opened, column, score),
                    delta=delta,
                )
            )
    return tuple(edited), tuple(counted.most_common(COUNTED)), tuple(changed.most_common(COUNTED))


@torch.inference_mode()
def _pushing(opened: OpenModel, sites: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """What neurons write, `[n, d_model]`, and the logits that it alone would predict, `[n, vocab]`."""
    anatomy = opened.anatomy
    home = home_of(anatomy.head)  # layers may be spread over several
    columns = torch.stack([anatomy.down_column(*site).to(home) for site in sites])
    return columns, predicted(anatomy, columns)


@torch.inference_mode()
def _cosines(opened: OpenModel, column: Tensor, score: Tensor) -> tuple[float, ...]:
    try:
        rows = unembedding(opened.anatomy, score.topk(2).indices.tolist())
    except ModelError:  # packed
        return ()
    return tuple(torch.cosine_similarity(rows, column.float().cpu()[None]).tolist())


def _parts(opened: OpenModel, site: Site, before: Lines, after: Lines, tokens: int) -> tuple[EditedPart, ...]:
    read = {row.name: row for row in reads(opened, Unit(*site), tokens)}
    rows = []
    for part in parts_of(opened.anatomy, *site):
        old, line = before[site, part], after[site, part]
        both = float(old.norm()) and float(line.norm())
        seen = read.get(part)
        rows.append(
            EditedPart(
                part=part,
                before=float(old.norm()),
                after=float(line.norm()),
                cosine=float(torch.cosine_similarity(old, line, dim=0)) if both else None,
                embeddings=seen.embeddings[0] if seen is not None else (),
                stream=seen.stream[0] if seen is not None else (),
            )
        )
    return tuple(rows)
