"""Subspaces cut out of the weights, and parallel problems: the results of `surgery`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.views.writing import counted
from workbench.presenters import parts
from workbench.presenters.interventions import side_by_side
from workbench.presenters.parts import shown
from workbench.writing import MISSING, bar, facts, inline, percent

#: What the matrices that are cut are called.
_WRITERS = {"down": "the MLPs", "attn_out": "the attentions"}
_STATES = {"mean": "mean over the tokens", "last": "last token"}


@shown.register
def _(value: results.SubspaceCut, sheet: parts.Sheet) -> Iterator[RenderableType]:
    done = "kept in" if value.keeps else "taken out of"
    where = " and ".join(_WRITERS[each] for each in value.writers)
    layers = f"layer {value.layers[0].layer}"
    if len(value.layers) > 1:
        layers = f"layers {value.layers[0].layer}-{value.layers[-1].layer}"
    yield facts(
        [
            f"edit {inline(value.name)}",
            f"{done} what {where} of {layers} write",
            inline(value.what),
            f"versions {inline(' '.join(value.versions))}" if value.versions else "",
            _STATES.get(value.at, ""),
            f"saved {inline(value.path)}",
        ],
        sheet.width,
    )
    yield _layers(value, sheet)
    yield parts.dim(_explained(value, sheet))
    if value.arms:
        yield from side_by_side(value.arms, sheet)


def _layers(value: results.SubspaceCut, sheet: parts.Sheet) -> RenderableType:
    found, attention = bool(value.versions), "attn_out" in value.writers
    headings = [">L", ">dims"]
    headings += [">of", ">captured", ""] if found else []
    headings += [">MLP", ">attention"] if attention else [">MLP"]
    headings += [">apart", "> ", ">after"] if found else []
    table = parts.table(sheet, *headings)
    cells = parts.bar_cells(sheet, beside=64)
    for each in value.layers:
        row = [str(each.layer), f"{each.dims:,}"]
        if found:
            captured = f"{bar(each.captured, cells):<{cells}}"
            row += [MISSING if each.differing is None else f"{each.differing:,}", percent(each.captured), captured]
        row += [percent(each.down), *([percent(each.attention)] if attention else [])]
        if found:
            before, after = each.apart or (None, None)
            row += [_distance(before), "→", _distance(after)]
        table.add_row(*row)
    return table


def _distance(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def _explained(value: results.SubspaceCut, sheet: parts.Sheet) -> Line:
    said = []
    if value.versions:
        said.append("captured: share of the squared differences between versions")
    said.append("MLP, attention: ‖ΔW‖/‖W‖" if "attn_out" in value.writers else "MLP: ‖ΔW‖/‖W‖")
    if value.versions:
        said.append("apart: distance of versions over that of prompts, behind the layer")
    return facts(said, sheet.width)


@shown.register
def _(value: results.ProblemsWritten, sheet: parts.Sheet) -> Iterator[RenderableType]:
    count = counted(sum(value.kinds.values()), "problem")
    languages = f"in {counted(len(value.languages), 'language')}"
    lines = f"{counted(value.lines, 'task')} for evaluate" if value.tasks else ""
    said = [f"{count} {languages}", lines, f"seed {value.seed}", f"written to {inline(value.path)}"]
    yield facts([*said, *(f"{inline(kind)} {number:,}" for kind, number in value.kinds.items())], sheet.width)
    yield parts.pairs({**{each: value.first[each] for each in value.languages}, "answer": value.answer})
