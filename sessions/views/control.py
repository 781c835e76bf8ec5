"""The session itself: `info`, `set`, `expect`, `run`, `help`, `quit`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.views.blocks import (
    AnyBlock,
    ArmText,
    Branch,
    Column,
    Fact,
    Facts,
    Note,
    Row,
    StandsFor,
    Table,
    Texts,
    Tree,
)
from sessions.views.prompting import model_facts
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted, quoted, shortened

#: Most characters of the value behind a statement, which may be a whole text.
_ACTUAL = 60


@viewed.register
def _(value: results.Info) -> Iterator[AnyBlock]:
    if value.model is None:
        yield Note(text="no model is open")
    else:
        yield facts(*model_facts(value.model))
        for ability, reason in value.model.refusals:
            yield Note(text=f"no {ability}: {reason}", role="remark")
    state = value.state
    circuit = f"{state.circuit or 'unnamed'}, {counted(state.circuit_size, 'neuron')}" if state.circuit_size else ""
    held: dict[str, str | tuple[str, ...]] = {
        "prompt": state.prompt and quoted(state.prompt),
        "seed": state.seed and quoted(state.seed),
        "circuit": circuit,
        "suppressed": f"{state.suppressed:,}: {', '.join(state.first_suppressed)}" if state.suppressed else "",
        "live": state.live,
        "edits": state.edits,
        "sae": state.sae,
        "atlas": state.atlas,
        "settings": tuple(f"{name} {setting}" for name, setting in value.settings.items()),
        "home": value.home,
        "versions": tuple(f"{name} {version}" for name, version in value.versions.items()),
    }
    rows = (Fact(what, name) if isinstance(what, str) else Fact("", name, what) for name, what in held.items() if what)
    yield Facts(items=tuple(rows))


@viewed.register
def _(value: results.SettingsShown) -> Iterator[AnyBlock]:
    if value.changed:
        yield facts(f"{value.changed} {value.settings[value.changed]}")
        return
    columns = (
        Column(key="setting", title="setting", kind="name"),
        Column(key="value", title="value", drop=2),
        Column(key="about", title="what it is", folds=True, drop=1),
    )
    rows = (
        Row(cells=(name, setting, value.described.get(name)), stands_for=StandsFor("setting", name))
        for name, setting in value.settings.items()
    )
    yield Table(columns=columns, rows=tuple(rows))


@viewed.register
def _(value: results.Expected) -> Iterator[AnyBlock]:
    yield facts(f"✓ {value.statement}", shortened(value.actual, _ACTUAL))


@viewed.register
def _(value: results.Ran) -> Iterator[AnyBlock]:
    yield facts(f"ran {value.path}", counted(value.lines, "line"), timed=True)


@viewed.register
def _(value: results.CommandFiles) -> Iterator[AnyBlock]:
    columns = (
        Column(key="name", title="run", kind="name"),
        Column(key="about", title="what it shows", folds=True, drop=2),
        Column(key="values", title="--set", folds=True, drop=1),
    )
    rows = []
    for file in value.rows:
        values = ", ".join(name if default is None else f"{name}={default}" for name, default in file.values.items())
        rows.append(Row(cells=(file.name, file.heading, values), stands_for=StandsFor("command file", file.name)))
    yield Table(columns=columns, rows=tuple(rows))


@viewed.register
def _(value: results.Restored) -> Iterator[AnyBlock]:
    state = value.state
    circuit = f"circuit {state.circuit} {state.circuit_size:,}" if state.circuit_size else ""
    prompt = f"prompt {quoted(state.prompt)}" if state.prompt else ""
    yield facts("session restored", state.model, circuit, prompt, timed=True)


@viewed.register
def _(value: results.OlderResult) -> Iterator[AnyBlock]:
    yield Facts(items=tuple(Fact(shown, name) for name, shown in value.fields), title=value.what)
    yield Note(text="another version wrote this result: its fields are shown as they are", role="remark")


@viewed.register
def _(value: results.Unkept) -> Iterator[AnyBlock]:
    yield Note(text=f"{value.what}: {value.size}")


@viewed.register
def _(value: results.Help) -> Iterator[AnyBlock]:
    about = "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in value.about.split("\n\n"))
    text = f"{value.usage}\n\n{about}" if value.usage else value.text
    if text:
        yield Texts(arms=(ArmText(facts=(), text=text.strip("\n")),))
    for title, rows in (*value.groups, *value.families):
        yield Facts(title=title, items=tuple(Fact(about, name) for name, about in rows))
    examples = value.examples or ((value.example,) if value.example else ())
    if examples:
        lines = tuple(Branch(depth=0, text=line, stands_for=StandsFor("line", line)) for line in examples)
        yield Tree(title="Examples" if len(lines) > 1 else "Example", branches=lines)


@viewed.register
def _(value: results.Cleared) -> Iterator[AnyBlock]:
    return iter(())


@viewed.register
def _(value: results.Quit) -> Iterator[AnyBlock]:
    return iter(())
