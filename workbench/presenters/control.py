"""The session itself: the results of `info`, `set`, `help`, `expect`, `run`, `quit`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import RenderableType
from rich.text import Text as Line

from sessions import results
from sessions.views.writing import counted
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import (
    duration,
    facts,
    fitted,
    inline,
    plain,
    quoted,
)

_ENTRY = re.compile(r"  (\S.*?)  +(\S.*)")


@shown.register
def _(value: results.Info, sheet: parts.Sheet) -> Iterator[RenderableType]:
    if value.model is None:
        yield Line("no model is open")
    else:
        yield parts.model(value.model, sheet)
        for ability, reason in value.model.refusals:
            yield parts.dim(Line(f"· no {plain(ability)}: {plain(reason)}", overflow="fold"))
    state = value.state
    circuit = f"{state.circuit or 'unnamed'}, {state.circuit_size:,} neurons" if state.circuit_size else ""
    room = sheet.width - len("settings  ")
    settings = facts((inline(f"{name} {setting}") for name, setting in value.settings.items()), room)
    versions = facts((inline(f"{name} {version}") for name, version in value.versions.items()), room)
    rows: dict[str, str | Line] = {
        "prompt": state.prompt and quoted(state.prompt),
        "seed": state.seed and quoted(state.seed),
        "circuit": circuit,
        "suppressed": f"{state.suppressed:,}: {', '.join(state.first_suppressed)}" if state.suppressed else "",
        "live": inline(", ".join(state.live)),
        "edits": inline(", ".join(state.edits)),
        "sae": inline(state.sae),
        "atlas": inline(state.atlas),
        "settings": settings,
        "home": value.home,
        "versions": versions,
    }
    yield parts.pairs({name: text for name, text in rows.items() if text})


@shown.register
def _(value: results.SettingsShown, sheet: parts.Sheet) -> Iterator[RenderableType]:
    if value.changed:
        yield Line(f"{inline(value.changed)} {inline(value.settings[value.changed])}")
        return
    grid = parts.table(sheet, "setting", "value", "what it is")
    for name, setting in value.settings.items():
        grid.add_row(parts.cell(inline(name)), parts.cell(inline(setting)), Line(inline(value.described.get(name, ""))))
    yield grid


@shown.register
def _(value: results.Expected, sheet: parts.Sheet) -> Iterator[RenderableType]:
    statement = inline(value.statement)
    room = sheet.width - cell_len(statement) - len("✓  · ")
    actual = f" · {fitted(inline(value.actual), room)}" if room > 4 else ""
    yield Line.assemble(("✓ ", "green"), statement, (actual, "dim"), overflow="fold")


@shown.register
def _(value: results.Ran, sheet: parts.Sheet) -> Iterator[RenderableType]:
    count = counted(value.lines, "line")
    yield facts([f"ran {inline(value.path)}", count, duration(sheet.seconds)], sheet.width)


@shown.register
def _(value: results.CommandFiles, sheet: parts.Sheet) -> Iterator[RenderableType]:
    for file in value.rows:
        yield Line(inline(f"run {file.name}"), overflow="fold")
        yield parts.text(f"  {file.heading}")
        values = ", ".join(name if default is None else f"{name}={default}" for name, default in file.values.items())
        if values:
            yield parts.dim(Line(inline(f"  --set {values}"), overflow="fold"))


@shown.register
def _(value: results.Restored, sheet: parts.Sheet) -> Iterator[RenderableType]:
    state = value.state
    circuit = f"circuit {inline(state.circuit)} {state.circuit_size:,}" if state.circuit_size else ""
    prompt = f"prompt {quoted(state.prompt)}" if state.prompt else ""
    yield facts(["the session is back", inline(state.model), circuit, prompt, duration(sheet.seconds)], sheet.width)


@shown.register
def _(value: results.Unkept, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield parts.dim(Line(f"{inline(value.what)}: {inline(value.size)}", overflow="fold"))


@shown.register
def _(value: results.Help, sheet: parts.Sheet) -> Iterator[RenderableType]:
    for number, paragraph in enumerate(value.text.strip("\n").split("\n\n") if value.text else ()):
        if number:
            yield Line()
        heading, *rest = paragraph.splitlines()
        entries = rest if rest and heading.endswith(":") else [heading, *rest]
        rows = [_ENTRY.fullmatch(line) for line in entries]
        if all(rows):
            if entries is rest:  # a group of options under what they are about
                yield parts.dim(Line(inline(heading)))
            yield parts.pairs({f"  {row[1]}": row[2] for row in rows if row})
        elif entries is rest and all(line.startswith("  ") for line in rest):  # examples
            yield parts.dim(Line(inline(heading)))
            yield from (Line(inline(line), overflow="fold") for line in rest)
        else:
            yield parts.text(" ".join(paragraph.split("\n")))
    widest = max((len(verb) for _, verbs in value.families for verb, _ in verbs), default=0)
    for family, verbs in value.families:
        yield parts.dim(Line(inline(family)))
        yield parts.pairs({f"  {verb:<{widest}}": summary for verb, summary in verbs})
    if value.example and "\nExamples:" not in value.text:
        yield Line()
        yield Line(f"for example: {plain(value.example)}", overflow="fold")


@shown.register
def _(value: results.Quit, sheet: parts.Sheet) -> Iterator[RenderableType]:
    return iter(())
