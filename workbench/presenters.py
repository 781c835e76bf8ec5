"""What a result looks like on lines: one presenter a kind of result, made of a few shared parts.

`present` gives what to print; `workbench.lines` and the app's transcript show it. Tables have no lines, numbers stand
to the right with their signs, and every sign has a character: colour only repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import singledispatch
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text as Line

from sessions import results
from sessions.circuits.agreement import Agreement
from sessions.circuits.circuit import Circuit, Neuron, Target
from sessions.events import State, Value
from sessions.interventions.arms import Arm
from sessions.model.info import Encoded, ModelInfo
from workbench.writing import (
    MISSING,
    aim,
    bar,
    chance,
    divergence,
    duration,
    facts,
    fitted,
    inline,
    multiple,
    percent,
    plain,
    quoted,
    signed,
)

WIDE = 100
"""Columns from which two texts stand side by side."""
#: Neurons that a verification lists.
STRONGEST = 10
_ENTRY = re.compile(r"  (\S.*?)  +(\S.*)")
_SCOPES = {"all": "at all positions", "circuit": "where the circuit found them"}


class Sheet(NamedTuple):
    """What a presenter may need beside the result: columns, seconds it took, text that already stands above."""

    width: int
    seconds: float = 0.0
    streamed: str = ""


def present(value: Value, width: int, seconds: float = 0.0, streamed: str = "") -> list[RenderableType]:
    """What to print for a result in a terminal of `width` columns.

    `streamed` is the text the user has just watched appear; it is not shown again.
    """
    notes = (Line(f"· {plain(note)}", style="dim", overflow="fold") for note in value.notes)
    return [*_shown(value, Sheet(width, seconds, streamed)), *notes]


def failure(message: str, hint: str = "") -> list[Line]:
    """What went wrong, and what to do."""
    lines = [Line.assemble(("✗ ", "bold red"), plain(message))]
    return [*lines, Line(f"→ {plain(hint)}")] if hint else lines


def standing(state: State) -> list[str]:
    """What a session holds, in words for one line, the most important first: model, circuit, prompt."""
    if not state.model:
        return ["no model"]
    circuit = f"circuit {inline(state.circuit)} {state.circuit_size:,}" if state.circuit_size else "no circuit"
    prompt = quoted(state.prompt) if state.prompt else "no prompt"
    return [inline(f"{state.model} {state.dtype} {state.device}"), circuit, prompt]


@singledispatch
def _shown(value: Value, sheet: Sheet) -> Iterable[RenderableType]:
    raise NotImplementedError(f"no presenter for {type(value).__name__}")


@_shown.register
def _(value: results.ModelOpened, sheet: Sheet) -> Iterator[RenderableType]:
    yield _model(value.info, sheet)


@_shown.register
def _(value: results.PromptSet, sheet: Sheet) -> Iterator[RenderableType]:
    yield _prompt(value.encoded, sheet)


@_shown.register
def _(value: results.Tokens, sheet: Sheet) -> Iterator[RenderableType]:
    encoded = value.encoded
    yield facts(_length(encoded), sheet.width)
    digits = (len(str(len(encoded.ids))), max((len(str(id)) for id in encoded.ids), default=1))
    cells = [
        f"{position:>{digits[0]}}  {id:>{digits[1]}}  {fitted(quoted(token), 24)}"
        for position, (id, token) in enumerate(zip(encoded.ids, encoded.tokens, strict=True))
    ]
    yield _columns(cells, sheet.width)


@_shown.register
def _(value: results.Generated, sheet: Sheet) -> Iterator[RenderableType]:
    if not value.arm.text or sheet.streamed != value.arm.text:
        yield _text(value.arm.text)
    tokens = f"{len(value.arm.ids)} tokens"
    yield _dim(facts([tokens, _ending(value.arm), duration(sheet.seconds)], sheet.width))


@_shown.register
def _(value: results.Distribution, sheet: Sheet) -> Iterator[RenderableType]:
    table = _table(sheet, ">rank", "token", ">p", "", ">logit", ">id")
    cells = _bar_cells(sheet, beside=56)
    for candidate in value.chances:
        table.add_row(
            str(candidate.rank),
            _cell(quoted(candidate.text)),
            chance(candidate.probability),
            f"{bar(candidate.probability, cells):<{cells}}",
            signed(candidate.logit),
            str(candidate.id),
        )
    yield table


@_shown.register
def _(value: results.Discovered, sheet: Sheet) -> Iterator[RenderableType]:
    yield _circuit(value.circuit, sheet, of=value.candidates, took=duration(sheet.seconds))
    yield from _agreement(value.agreement, sheet)


@_shown.register
def _(value: results.Verified, sheet: Sheet) -> Iterator[RenderableType]:
    count = "1 neuron" if len(value.neurons) == 1 else f"{len(value.neurons):,} neurons"
    aimed = f"{aim(value.circuit.target)} = {signed(value.value)}"
    yield facts(
        [f"verified {count}", f"each alone at {inline(value.held)}", aimed, duration(sheet.seconds)], sheet.width
    )
    yield from _agreement(value.agreement, sheet)
    table = _table(sheet, ">L", ">N", ">pos", "token", ">attr", ">effect", ">share")
    for neuron in sorted(value.neurons, key=lambda each: -abs(each.effect or 0.0))[:STRONGEST]:
        effect = neuron.effect or 0.0
        token = value.circuit.token(neuron)
        table.add_row(
            str(neuron.layer),
            str(neuron.index),
            _position(neuron),
            _cell(fitted(quoted(token), 14) if token else MISSING),
            signed(neuron.attribution),
            signed(effect),
            percent(effect / value.value if value.value else None, sign=True),
        )
    yield table
    if len(value.neurons) > STRONGEST:
        yield _dim(Line(f"the {STRONGEST} with the largest effects; neurons shows them all"))


@_shown.register
def _(value: results.NeuronTable, sheet: Sheet) -> Iterator[RenderableType]:
    measured = any(row.neuron.effect is not None for row in value.rows)
    effect = (">effect",) if measured else ()
    table = _table(sheet, ">L", ">N", ">pos", "token", ">attr", *effect, ">share", ">act", "pushes up", "pushes down")
    for row in value.rows:
        neuron = row.neuron
        table.add_row(
            str(neuron.layer),
            str(neuron.index),
            _position(neuron),
            _cell(fitted(quoted(row.token), 14) if row.token else MISSING),
            signed(neuron.attribution),
            *([signed(neuron.effect)] if measured else []),
            percent(row.share, sign=True),
            signed(neuron.activation, 2),
            _cell(" ".join(map(quoted, row.up))),
            _cell(" ".join(map(quoted, row.down))),
        )
    yield table
    if len(value.rows) < value.total:
        yield _dim(Line(f"{len(value.rows):,} of {value.total:,} neurons"))


@_shown.register
def _(value: results.Compared, sheet: Sheet) -> Iterator[RenderableType]:
    yield _intervention(value.verb, value, sheet)
    texts = _marked([plain(arm.text) for arm in value.arms])
    width = sheet.width // max(len(value.arms), 1) - 3 if sheet.width >= WIDE else sheet.width
    headings = [facts(arm_facts(arm, value.arms[0]), width) for arm in value.arms]
    if sheet.width >= WIDE:
        pair = Table(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False, expand=True)
        for _ in value.arms:
            pair.add_column(ratio=1, overflow="fold")
        pair.add_row(*map(_dim, headings))
        pair.add_row(*texts)
        yield pair
    else:
        for heading, text in zip(headings, texts, strict=True):
            yield _dim(heading)
            yield text
    if value.shifts:
        yield _shifts(value, sheet)


@_shown.register
def _(value: results.Swept, sheet: Sheet) -> Iterator[RenderableType]:
    yield _intervention("sweep", value, sheet)
    wide = sheet.width >= WIDE
    columns = (">target", ">p", "") if value.target is not None else ()
    table = _table(sheet, ">", *columns, "next token", "text")
    for arm in value.arms:
        likeliest = max(arm.next_tokens, key=lambda token: token.probability, default=None)
        cells = [multiple(arm.multiplier)]
        if value.target is not None:
            drawn = f"{bar(arm.target_probability, 20 if wide else 8):<8}"
            cells += [signed(arm.target), chance(arm.target_probability), drawn]
        chosen = MISSING if likeliest is None else fitted(quoted(likeliest.text), 16)
        table.add_row(*cells, _cell(chosen), _text(arm.text) if wide else _cell(inline(arm.text)))
    yield table


@_shown.register
def _(value: results.Narrowed, sheet: Sheet) -> Iterator[RenderableType]:
    yield _circuit(value.circuit, sheet, of=value.before)


@_shown.register
def _(value: results.Saved, sheet: Sheet) -> Iterator[RenderableType]:
    yield facts([f"saved {inline(value.name)}", inline(value.path)], sheet.width)


@_shown.register
def _(value: results.Loaded, sheet: Sheet) -> Iterator[RenderableType]:
    yield facts([f"loaded {inline(value.name)}"], sheet.width)
    yield _circuit(value.circuit, sheet)


@_shown.register
def _(value: results.Listed, sheet: Sheet) -> Iterator[RenderableType]:
    if not value.rows:
        yield Line("nothing saved yet")
        return
    table = _table(sheet, "name", "kind", "model", ">neurons", "target", ">saved (UTC)")
    for row in value.rows:
        broken = f"✗ {inline(row.error)}" if row.error else inline(row.target)
        texts = [_cell(fitted(inline(text), 30)) for text in (row.name, row.kind, row.model)]
        table.add_row(*texts, f"{row.size:,}", _cell(broken), inline(row.modified)[:16].replace("T", " "))
    yield table


@_shown.register
def _(value: results.Deleted, sheet: Sheet) -> Iterator[RenderableType]:
    yield Line(f"deleted {inline(value.name)}")
    if value.restore:
        yield Line(f"→ to have it back: {inline(value.restore)}", overflow="fold")


@_shown.register
def _(value: results.Exported, sheet: Sheet) -> Iterator[RenderableType]:
    yield facts([f"exported as {inline(value.format)}", inline(value.path)], sheet.width)


@_shown.register
def _(value: results.Imported, sheet: Sheet) -> Iterator[RenderableType]:
    yield facts(["imported", inline(value.path)], sheet.width)
    yield _circuit(value.circuit, sheet)


@_shown.register
def _(value: results.Info, sheet: Sheet) -> Iterator[RenderableType]:
    if value.model is None:
        yield Line("no model is open")
    else:
        yield _model(value.model, sheet)
        for ability, reason in value.model.refusals:
            yield _dim(Line(f"· no {plain(ability)}: {plain(reason)}", overflow="fold"))
    state = value.state
    circuit = f"{state.circuit or 'unnamed'}, {state.circuit_size:,} neurons" if state.circuit_size else ""
    room = sheet.width - len("settings  ")
    settings = facts((inline(f"{name} {setting}") for name, setting in value.settings.items()), room)
    versions = facts((inline(f"{name} {version}") for name, version in value.versions.items()), room)
    rows: dict[str, str | Line] = {
        "prompt": state.prompt and quoted(state.prompt),
        "seed": state.seed and quoted(state.seed),
        "circuit": circuit,
        "settings": settings,
        "home": value.home,
        "versions": versions,
    }
    yield _pairs({name: text for name, text in rows.items() if text})


@_shown.register
def _(value: results.SettingsShown, sheet: Sheet) -> Iterator[RenderableType]:
    if value.changed:
        yield Line(f"{inline(value.changed)} {inline(value.settings[value.changed])}")
        return
    grid = _table(sheet, "setting", "value", "what it is")
    for name, setting in value.settings.items():
        grid.add_row(_cell(inline(name)), _cell(inline(setting)), Line(inline(value.described.get(name, ""))))
    yield grid


@_shown.register
def _(value: results.Expected, sheet: Sheet) -> Iterator[RenderableType]:
    statement = inline(value.statement)
    room = sheet.width - cell_len(statement) - len("✓  · ")
    actual = f" · {fitted(inline(value.actual), room)}" if room > 4 else ""
    yield Line.assemble(("✓ ", "green"), statement, (actual, "dim"), overflow="fold")


@_shown.register
def _(value: results.Ran, sheet: Sheet) -> Iterator[RenderableType]:
    count = "1 line" if value.lines == 1 else f"{value.lines:,} lines"
    yield facts([f"ran {inline(value.path)}", count, duration(sheet.seconds)], sheet.width)


@_shown.register
def _(value: results.Restored, sheet: Sheet) -> Iterator[RenderableType]:
    state = value.state
    circuit = f"circuit {inline(state.circuit)} {state.circuit_size:,}" if state.circuit_size else ""
    prompt = f"prompt {quoted(state.prompt)}" if state.prompt else ""
    yield facts(["the session is back", inline(state.model), circuit, prompt, duration(sheet.seconds)], sheet.width)


@_shown.register
def _(value: results.Unkept, sheet: Sheet) -> Iterator[RenderableType]:
    yield _dim(Line(f"{inline(value.what)}: {inline(value.size)}", overflow="fold"))


@_shown.register
def _(value: results.Help, sheet: Sheet) -> Iterator[RenderableType]:
    for number, paragraph in enumerate(value.text.strip("\n").split("\n\n") if value.text else ()):
        if number:
            yield Line()
        rows = [_ENTRY.fullmatch(line) for line in paragraph.splitlines()]
        if all(rows):
            yield _pairs({f"  {row[1]}": row[2] for row in rows if row})
        else:
            yield _text(" ".join(paragraph.split("\n")))
    widest = max((len(verb) for _, verbs in value.families for verb, _ in verbs), default=0)
    for family, verbs in value.families:
        yield _dim(Line(inline(family)))
        yield _pairs({f"  {verb:<{widest}}": summary for verb, summary in verbs})
    if value.example:
        yield Line()
        yield Line(f"for example: {plain(value.example)}", overflow="fold")


@_shown.register
def _(value: results.Quit, sheet: Sheet) -> Iterator[RenderableType]:
    return iter(())


# What results are made of


def _model(info: ModelInfo, sheet: Sheet) -> RenderableType:
    widths = sorted(set(info.d_mlp))
    d_mlp = f"{widths[0]:,}" if len(widths) == 1 else f"{widths[0]:,}–{widths[-1]:,}" if widths else MISSING
    kind = f"{info.dtype} {info.quantisation}".strip()
    opened = [inline(info.name), inline(info.family), f"{info.n_parameters / 1e6:,.1f} M parameters"]
    shape = [f"{info.n_layers} layers", f"d_model {info.d_model:,}", f"d_mlp {d_mlp}", f"{info.n_heads} heads"]
    template = "chat template" if info.has_template else "no chat template"
    return facts([*opened, f"{kind} on {info.device}", *shape, f"{info.vocab_size:,} tokens", template], sheet.width)


def _prompt(encoded: Encoded, sheet: Sheet) -> RenderableType:
    prompt = encoded.prompt
    seed = f"seed {quoted(prompt.seed)}" if prompt.seed else ""
    system = f"system {quoted(prompt.system)}" if prompt.system is not None else ""
    return facts([f"prompt {quoted(prompt.text)}", system, seed, *_length(encoded)], sheet.width)


def _length(encoded: Encoded) -> tuple[str, str, str]:
    beginning = f"{encoded.bos} BOS" if encoded.bos else "no BOS"
    return f"{len(encoded.ids):,} tokens", beginning, "chat" if encoded.templated else "raw"


def _circuit(circuit: Circuit, sheet: Sheet, of: int = 0, took: str = "") -> RenderableType:
    parts = [
        f"{len(circuit):,} of {of:,} neurons" if of else f"{len(circuit):,} neurons",
        f"{aim(circuit.target)} = {signed(circuit.target.value)}",
        inline(circuit.chosen),
        "" if circuit.conservation is None else f"conservation off by {percent(circuit.conservation)}",
        inline(f"{circuit.method}, {circuit.attention} attention" if circuit.attention else circuit.method),
        took,
    ]
    return facts(parts, sheet.width)


def _agreement(found: Agreement | None, sheet: Sheet) -> Iterator[RenderableType]:
    if found is not None:
        r, rank = signed(found.pearson, 2), signed(found.spearman, 2)
        same = f"same sign {percent(found.same_sign)}"
        yield facts(["attribution and exact effect", f"r {r}", f"rank {rank}", same], sheet.width)


def _position(neuron: Neuron) -> str:
    return "all" if neuron.position is None else str(neuron.position)


def _intervention(verb: str, value: results.Intervened, sheet: Sheet) -> RenderableType:
    count = "1 neuron" if value.neurons == 1 else f"{value.neurons:,} neurons"
    target = "" if value.target is None else f"target {aim(value.target)}"
    scope = _SCOPES.get(value.scope) or inline(value.scope)
    return facts([f"{inline(verb)} {inline(value.selection)}", count, scope, target], sheet.width)


def arm_facts(arm: Arm, first: Arm) -> Iterator[str]:
    """What is to be said of an arm above its text."""
    name, times = inline(arm.name), multiple(arm.multiplier)
    yield name if arm is first or times in name else f"{name} {times}"
    if arm.target is not None:
        yield f"target {signed(arm.target)}"
    if arm.target_probability is not None:
        yield f"p {chance(arm.target_probability)}"
    if arm is not first and arm.text == first.text:
        yield "same text"
    yield _ending(arm)


def _ending(arm: Arm) -> str:
    return {"eos": "ended by itself", "length": "cut at max_tokens"}.get(arm.stopped, f"stopped: {inline(arm.stopped)}")


def _marked(texts: Sequence[str]) -> list[Line]:
    """The texts, with `▸` where each first leaves the first one, and in the first where it is first left."""
    places = [None if text == texts[0] else divergence(texts[0], text) for text in texts]
    left = [place for place in places if place is not None]
    marks = [min(left) if left else None, *places[1:]]
    return [
        _text(text)
        if place is None or not text
        else Line.assemble(text[:place], ("▸", "bold"), text[place:], overflow="fold")
        for text, place in zip(texts, marks, strict=True)
    ]


def _shifts(value: results.Compared, sheet: Sheet, rows: int = 10) -> RenderableType:
    names = [inline(arm.name) for arm in value.arms[:2]]
    table = _table(sheet, "next token", f">{names[0]}", "", f">{names[-1]}", "", ">change", "")
    cells = _bar_cells(sheet, beside=60) // 2
    roles = target_roles(value.target)
    for shift in value.shifts[:rows]:
        table.add_row(
            _cell(fitted(quoted(shift.token.text), 20)),
            chance(shift.before),
            f"{bar(shift.before, cells):<{cells}}",
            chance(shift.after),
            f"{bar(shift.after, cells):<{cells}}",
            signed(shift.after - shift.before),
            roles.get(shift.token.id, ""),
        )
    return table


def target_roles(target: Target | None) -> dict[int, str]:
    """What tokens are in a target, by id: `target`, and `against` for the one that it is held against."""
    roles = {} if target is None else {target.tokens[0].id: "target"}
    if target is not None and target.counterfactual is not None:
        roles[target.counterfactual.id] = "against"
    return roles


def _table(sheet: Sheet, *headings: str) -> Table:
    """A table without lines. A heading that starts with `>` is of numbers: right-aligned, never cut."""
    gap = 2 if sheet.width >= WIDE else 1
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="dim")
    for heading in headings:
        number = heading.startswith(">")
        table.add_column(_cell(heading.removeprefix(">")), justify="right" if number else "left", no_wrap=number)
    return table


def _cell(text: str) -> Line:
    """Text in a table: one line, cut with `…` where the terminal is too narrow."""
    return Line(text, no_wrap=True, overflow="ellipsis")


def _text(text: str) -> Line:
    """Generated text, whole. Nothing at all is said, not shown as an empty line."""
    return Line(plain(text), overflow="fold") if text else Line("(empty)", style="dim")


def _dim(line: Line) -> Line:
    line.stylize("dim")
    return line


def _bar_cells(sheet: Sheet, beside: int) -> int:
    """Cells for bars next to `beside` cells of other columns."""
    return max(6, min(40, sheet.width - beside))


def _pairs(rows: Mapping[str, str | Line]) -> Table:
    grid = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows.items():
        grid.add_row(Line(inline(name)), Line(inline(text)) if isinstance(text, str) else text)
    return grid


def _columns(cells: Sequence[str], width: int) -> RenderableType:
    """Short entries in as many columns as fit, read downwards."""
    if not cells:
        return Line("no tokens", style="dim")
    widest = max(map(cell_len, cells))
    across = max(1, (width + 3) // (widest + 3))
    down = -(-len(cells) // across)
    grid = Table(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False)
    for _ in range(across):
        grid.add_column(no_wrap=True)
    for row in range(down):
        grid.add_row(*(_cell(cell) for cell in cells[row::down]))
    return grid
