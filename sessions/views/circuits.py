"""Circuits: `discover`, `contrast`, `verify`, `neurons`, `keep`, `drop`, `faithfulness`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sessions import results
from sessions.circuits.agreement import Agreement
from sessions.circuits.circuit import Circuit
from sessions.memory import amount
from sessions.model.units import LETTERS, Unit, named, noun
from sessions.views.blocks import AnyBlock, Cell, Column, Curve, Line, Note, Row, StandsFor, Table
from sessions.views.registry import facts, viewed, whole
from sessions.views.writing import aim, counted, percent, signed

#: How many neurons a discovery and a verification list.
STRONGEST = 10

#: The columns of a neuron, by key. Layer and index are key columns; attribution and effect are dropped last.
NEURON = {
    "layer": Column(key="layer", title="L", kind="index"),
    "index": Column(key="index", title="N", kind="index"),
    "position": Column(key="position", title="pos", kind="name", unknown="all"),
    "token": Column(key="token", title="token", kind="token", drop=8),
    "attribution": Column(key="attribution", title="attr", kind="signed", drop=13),
    "effect": Column(key="effect", title="effect", kind="signed", drop=12),
    "share": Column(key="share", title="share", kind="signed share", drop=10),
    "activation": Column(key="activation", title="act", kind="signed", digits=2, drop=9),
}


def circuit_facts(circuit: Circuit, of: int = 0) -> Iterator[str]:
    """A circuit in short."""
    what = noun(circuit.neurons)
    yield f"{len(circuit):,} of {of:,} {what}" if of else f"{len(circuit):,} {what}"
    if circuit.target.stated:
        yield f"{aim(circuit.target)} = {signed(circuit.target.value)}"
    yield circuit.chosen
    if circuit.conservation is not None:
        yield f"conservation off by {percent(circuit.conservation)}"
    yield circuit.way


def place_columns(units: Iterable[Unit]) -> tuple[Column, ...]:
    """The columns of layer, unit and position; units are told apart by kind where they are not all neurons."""
    mixed = any(unit.kind != "neuron" for unit in units)
    index = Column(key="unit", title="unit", kind="name") if mixed else NEURON["index"]
    return NEURON["layer"], index, NEURON["position"]


def place_cells(unit: Unit, columns: Sequence[Column]) -> tuple[Cell, ...]:
    """The cells of a unit in these columns."""
    index = unit.index if columns[1].kind == "index" else f"{LETTERS[unit.kind]}{unit.index}"
    return unit.layer, index, unit.position


def stands_for(unit: Unit) -> StandsFor:
    """The row of a unit stands for it."""
    return StandsFor(unit.kind, str(unit))


@viewed.register
def _(value: results.Discovered) -> Iterator[AnyBlock]:
    yield facts(*circuit_facts(value.circuit, of=value.candidates), timed=True)
    yield from _agreement(value.agreement)
    if value.patterns is not None:
        whole, through = signed(value.patterns.free, 3), signed(value.patterns.through_patterns, 3)
        yield facts(
            "the whole circuit ablated at once", f"effect {whole}", f"{through} of it through attention patterns"
        )
    if len(value.circuit):
        yield _strongest(value.circuit, STRONGEST)


@whole.register
def _(value: results.Discovered) -> tuple[Table, ...]:
    return (_strongest(value.circuit, len(value.circuit)),)


def _strongest(circuit: Circuit, count: int) -> Table:
    """The first neurons of a circuit."""
    note = f"the {count} strongest; neurons shows them all" if len(circuit) > count else ""
    return circuit_table(circuit, count, note)


def circuit_table(circuit: Circuit, most: int | None = None, note: str = "") -> Table:
    """The first neurons of a circuit, by default all. A column without a known value is left out."""
    neurons = circuit.neurons[:most]
    places = place_columns(neurons)
    placed = any(neuron.position is not None for neuron in neurons)
    keys = ["token"] if placed else []
    measured = any(neuron.effect is not None for neuron in neurons)
    keys += ["attribution", *(["effect"] if measured else []), "share", "activation"]
    rows = []
    for neuron in neurons:
        known = {
            "token": circuit.token(neuron.position) or None,
            "attribution": neuron.attribution,
            "effect": neuron.effect,
            "share": circuit.share(neuron),
            "activation": neuron.activation,
        }
        cells = (*place_cells(neuron, places)[: 2 + placed], *(known[key] for key in keys))
        rows.append(Row(cells=cells, stands_for=stands_for(neuron)))
    return Table(columns=(*places[: 2 + placed], *(NEURON[key] for key in keys)), rows=tuple(rows), note=note)


@viewed.register
def _(value: results.Estimated) -> Iterator[AnyBlock]:
    over = f"{counted(value.tokens, 'token')}" if value.prompts == 1 else f"{value.prompts:,} prompts"
    longest = f", the longest {counted(value.tokens, 'token')}" if value.prompts > 1 else ""
    yield facts(
        f"{over}{longest}",
        f"{value.forward:,} forward and {value.backward:,} backward {'pass' if value.backward == 1 else 'passes'}",
        f"at most {counted(value.effects, 'exact effect')}" if value.effects else "",
    )
    room = "" if value.free is None else f"{amount(value.free)} free on {value.device}"
    yield facts(f"about {amount(value.peak)} at the peak", f"beside {amount(value.weights)} of weights", room)
    if value.free is not None and value.peak > value.free:
        yield Note(text="that is more than is free: a shorter prompt, --batch or --dtype bfloat16 needs less")


@viewed.register
def _(value: results.Verified) -> Iterator[AnyBlock]:
    aimed = f"{aim(value.circuit.target)} = {signed(value.value)}"
    yield facts(f"verified {named(value.neurons)}", f"ablated one by one, held at {value.held}", aimed, timed=True)
    yield from _agreement(value.agreement)
    yield _largest(value, STRONGEST)


@whole.register
def _(value: results.Verified) -> tuple[Table, ...]:
    return (_largest(value, len(value.neurons)),)


def _largest(value: results.Verified, count: int) -> Table:
    """The neurons with the largest effects."""
    keys = ("token", "attribution", "effect", "share")
    places = place_columns(value.neurons)
    rows = []
    for neuron in sorted(value.neurons, key=lambda each: -abs(each.effect or 0.0))[:count]:
        effect = neuron.effect or 0.0
        token = value.circuit.token(neuron.position) or None
        share = effect / value.value if value.value else None
        cells = (*place_cells(neuron, places), token, neuron.attribution, effect, share)
        rows.append(Row(cells=cells, stands_for=stands_for(neuron)))
    note = f"the {count} with the largest effects; neurons shows them all" if len(value.neurons) > count else ""
    return Table(columns=(*places, *(NEURON[key] for key in keys)), rows=tuple(rows), note=note)


#: A neuron's values from an atlas, and the tokens that its output pushes.
_CORPUS = (
    Column(
        key="peak", title="peak", kind="signed", digits=2, drop=7,
        about="strongest activation over the corpus",
    ),
    Column(key="peak_token", title="woken by", kind="token", drop=6, about="token of the strongest activation"),
    Column(key="rate", title="fires", kind="share", drop=3, about="share of positions at which it fires"),
)  # fmt: skip
PUSHES = (
    Column(key="up", title="pushes up", kind="token", drop=5),
    Column(key="down", title="pushes down", kind="token", drop=4),
)


@viewed.register
def _(value: results.NeuronTable) -> Iterator[AnyBlock]:
    measured = any(row.neuron.effect is not None for row in value.rows)
    mapped = any(row.peak is not None for row in value.rows)
    places = place_columns([row.neuron for row in value.rows])
    keys = ["token", "attribution", *(["effect"] if measured else []), "share", "activation"]
    rows = []
    for row in value.rows:
        neuron = row.neuron
        cells: tuple[Cell, ...] = (*place_cells(neuron, places), row.token or None, neuron.attribution)
        cells += (*((neuron.effect,) if measured else ()), row.share, neuron.activation)
        cells += _over_corpus(row) if mapped else ()
        rows.append(Row(cells=(*cells, row.up, row.down), stands_for=stands_for(neuron)))
    columns = (*places, *(NEURON[key] for key in keys), *(_CORPUS if mapped else ()), *PUSHES)
    said = (
        [f"{len(value.rows):,} of {value.total:,} {noun(row.neuron for row in value.rows)}"]
        if len(value.rows) < value.total
        else []
    )
    said += [f"atlas {value.atlas}, {value.corpus}"] if mapped else []
    yield Table(columns=columns, rows=tuple(rows), note=" · ".join(said))


def _over_corpus(row: results.NeuronRow) -> tuple[Cell, ...]:
    """A neuron's strongest activation over a corpus, the token it was at, and how often the neuron fires."""
    return (None, None, None) if row.peak is None else (row.peak.value, row.peak.token, row.rate)


@viewed.register
def _(value: results.Narrowed) -> Iterator[AnyBlock]:
    yield facts(*circuit_facts(value.circuit, of=value.before))


def _agreement(found: Agreement | None) -> Iterator[AnyBlock]:
    if found is not None:
        r, rank = signed(found.pearson, 2), signed(found.spearman, 2)
        same = f"same sign {percent(found.same_sign)}"
        yield facts("attribution and exact effect", f"r {r}", f"rank {rank}", same)


@viewed.register
def _(value: results.Faithfulness) -> Iterator[AnyBlock]:
    yield facts(
        counted(value.prompts, "prompt"),
        f"mean target {signed(value.whole)}",
        f"{signed(value.none)} with all {value.units} held",
        f"held at {value.held}",
        f"{value.order} first",
        f"random: mean of {value.controls} draws" if value.controls else "",
    )
    if value.areas is not None:
        cpr, cmd = signed(value.areas.cpr, 3), signed(value.areas.cmd, 3)
        every = f"from 0.1 % to all {value.areas.units:,} {value.units}"
        yield facts("over all sizes", f"CPR {cpr}, the area under kept", f"CMD {cmd}, its distance from 1", every)
    whole = max(1.0, *(each or 0.0 for row in value.rows for each in (row.kept, row.left)))
    columns = [
        Column(key="size", title="size", kind="index", words=((float(value.size), "all"),)),
        Column(key="kept", title="kept", kind="signed", digits=2, rounded=True, bar=whole, drop=4),
        Column(key="left", title="left", kind="signed", digits=2, rounded=True, bar=whole, drop=3),
    ]
    if value.controls:
        columns += [
            Column(key="random_kept", title="random kept", kind="signed", digits=2, rounded=True, drop=2),
            Column(key="random_left", title="random left", kind="signed", digits=2, rounded=True, drop=1),
        ]
    keys = [column.key for column in columns]
    rows = [tuple(getattr(row, key) for key in keys) for row in value.rows]
    yield Table(columns=tuple(columns), rows=tuple(Row(cells=cells) for cells in rows))
    lines = (
        Line(name=column.title, points=tuple((float(cells[0]), cells[at]) for cells in rows))
        for at, column in enumerate(columns)
        if at
    )
    yield Curve(title="share of the target", x=value.units, lines=tuple(lines), tabled=True)
