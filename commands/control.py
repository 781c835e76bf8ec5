"""The session itself: `info`, `set`, `run`, `help`, `quit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import to_builtins

from commands.choices import SettingName, SettingValue
from commands.names import ScriptName
from commands.verb import argument, option, verb
from commands.words import VerbName, Word
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.journal import versions
from sessions.results import CommandFiles, Help, Info, Quit, Ran, SettingsShown
from sessions.session import Session
from sessions.settings import changed, describe

if TYPE_CHECKING:
    pass

FAMILY = "The session"


@verb("info", family=FAMILY, example="info")
def info(session: Session) -> Info:
    """Show what the session holds: model, prompt, circuit, settings, home folder, versions."""
    return Info(
        state=session.state(),
        model=None if session.model is None else session.model.info,
        settings=_shown(session),
        home=str(session.home),
        versions=versions(),
    )


@verb("set", family=FAMILY, example="set max_tokens 32")
@argument("name", help="a setting; without it, show them all", type=SettingName(), required=False)
@argument("value", help="its new value", type=SettingValue(), required=False)
def set_(session: Session, name: str | None, value: str | None) -> SettingsShown:
    """Show the settings, or change one. A flag on a command line overrides a setting once."""
    if name is not None and value is None:
        raise UsageError(f"set {name} needs a value", f"it is {_shown(session)[name]} now: {describe()[name]}")
    if name is not None and value is not None:
        session.settings = changed(session.settings, name, value)
    return SettingsShown(settings=_shown(session), described=describe(), changed=name or "")


def _shown(session: Session) -> dict[str, str]:
    values = to_builtins(session.settings)
    return {
        name: ("on" if value else "off") if isinstance(value, bool) else str(value) for name, value in values.items()
    }


@verb("run", family=FAMILY, example="run capital.wb")
@argument("path", help="a command file (.wb), or one of the workbench's own by name", type=ScriptName(), required=False)
@option("--list", "listed", is_flag=True, help="show the command files that come with the workbench")
@option("--set", "values", type=Word(), multiple=True, metavar="NAME=VALUE", help="fill ${NAME} in the file")
@option("--trust", is_flag=True, help="let the file, and those it runs, open models with --trust-remote-code")
def run(
    session: Session, path: Path | None, listed: bool, values: tuple[str, ...], trust: bool
) -> Steps[Ran | CommandFiles]:
    """Run a command file in this session: one command a line, # comments, \\ continues a line.

    A comment stands behind a blank, and in the text of prompt, seed and say has a blank behind its # too: the #1 of
    prompt Who is #1? is text.

    ${NAME} is filled in by --set NAME=VALUE; ${NAME=VALUE} says what it is where that is not given, and ${here} is the
    folder of the file. A name without a folder that is no file here is one of the workbench's own: run --list shows
    them.

    The first line that fails stops it. A line with --trust-remote-code is refused unless you say --trust.
    """
    from commands import library, script

    if listed:
        if path is not None or values or trust:
            raise UsageError("--list shows command files and runs none", f"to run one: run {path or 'capital'}")
        return CommandFiles(rows=tuple(library.files()))
    if path is None:
        raise UsageError("run needs a command file", "for example: run capital.wb, or: run --list")
    given = script.assignments(values)
    return (yield from script.play(session, library.path_of(path), given, trust=trust))


@verb("help", family=FAMILY, example="help discover")
@argument("name", help="a verb; without it, list them all", type=VerbName(), required=False)
def help_(session: Session, name: str | None) -> Help:
    """List the verbs, or explain one."""
    from commands.grammar import VERBS, find

    if name is not None:
        chosen = find(name)
        return Help(verb=str(chosen.name), text=chosen.help_text(), example=chosen.example)
    families: dict[str, list[tuple[str, str]]] = {}
    for known in VERBS.values():
        families.setdefault(known.family, []).append((str(known.name), known.summary))
    return Help(families=tuple((family, tuple(rows)) for family, rows in families.items()))


@verb("quit", family=FAMILY, example="quit")
def quit_(session: Session) -> Quit:
    """Leave. What was saved stays; the model is let go."""
    return Quit()
