"""Subspaces cut out of the weights, and parallel problems: `surgery`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.views.blocks import AnyBlock, Cell, Column, Fact, Facts, Row, StandsFor, Table
from sessions.views.interventions import texts
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted

#: What writes into the stream, by the name of the matrix; and the states that can stand for a version of a prompt.
_WRITERS = {"down": "the MLPs", "attn_out": "the attentions"}
_STATES = {"mean": "mean over the tokens", "last": "last token"}


@viewed.register
def _(value: results.SubspaceCut) -> Iterator[AnyBlock]:
    first, last = value.layers[0].layer, value.layers[-1].layer
    layers = f"layer {first}" if first == last else f"layers {first}–{last}"
    writers = " and ".join(_WRITERS[each] for each in value.writers)
    yield facts(
        f"edit {value.name}",
        f"{'kept in' if value.keeps else 'removed from'} what {writers} of {layers} write",
        value.what,
        f"versions {' '.join(value.versions)}" if value.versions else "",
        _STATES.get(value.at, ""),
        f"saved {value.path}",
    )
    yield _layers(value)
    if value.arms:
        yield texts(value.arms)


def _layers(value: results.SubspaceCut) -> Table:
    """A row for each layer: how much was cut, how much the matrices changed, how far apart the versions are."""
    of_versions = bool(value.versions)
    columns = [
        Column(key="layer", title="L", kind="index"),
        Column(key="dims", title="dims", kind="number", drop=4),
    ]
    if of_versions:
        captured = "share of the squared differences between versions"
        columns += [
            Column(key="differing", title="of", kind="number", drop=1),
            Column(key="captured", title="captured", kind="share", bar=1.0, drop=5, about=captured),
        ]
    columns.append(Column(key="down", title="MLP", kind="share", drop=6))
    if "attn_out" in value.writers:
        columns.append(Column(key="attention", title="attention", kind="share", drop=3))
    if of_versions:
        apart = "distance between versions over distance between prompts, after the layer"
        columns += [
            Column(key="before", title="apart", kind="number", digits=2, drop=2, about=apart),
            Column(key="after", title="→ after", kind="number", digits=2, drop=2),
        ]
    rows = []
    for cut in value.layers:
        found: tuple[Cell, ...] = (cut.differing, cut.captured) if of_versions else ()
        changed = (cut.down, cut.attention) if "attn_out" in value.writers else (cut.down,)
        distances = (cut.apart or (None, None)) if of_versions else ()
        cells = (cut.layer, cut.dims, *found, *changed, *distances)
        rows.append(Row(cells=cells, stands_for=StandsFor("neuron", f"L{cut.layer}/*")))
    note = "MLP, attention: ‖ΔW‖/‖W‖" if "attn_out" in value.writers else "MLP: ‖ΔW‖/‖W‖"
    return Table(columns=tuple(columns), rows=tuple(rows), note=note)


@viewed.register
def _(value: results.ProblemsWritten) -> Iterator[AnyBlock]:
    yield facts(
        f"{counted(sum(value.kinds.values()), 'problem')} in {counted(len(value.languages), 'language')}",
        f"{counted(value.lines, 'task')} for evaluate" if value.tasks else "",
        f"seed {value.seed}",
        f"written to {value.path}",
        *(f"{kind} {number:,}" for kind, number in value.kinds.items()),
    )
    first = [Fact(value.first[language], language) for language in value.languages]
    yield Facts(items=(*first, Fact(value.answer, "answer")))
