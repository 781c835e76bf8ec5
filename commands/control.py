"""The session itself: `info`, `set`, `run`, `help`, `quit`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import to_builtins

from commands.choices import SettingName, SettingValue
from commands.names import ScriptName
from commands.request import Arg, Flag, Opt, Request, TrustFlag
from commands.verb import DEFAULTS, Verb, actions_of, families, family_help, verb
from commands.words import Word
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.results import Cleared, CommandFiles, Help, Info, Quit, Ran, SettingsShown
from sessions.session import Session
from sessions.settings import changed, describe
from sessions.texts.placeholders import assignments
from sessions.versions import versions

FAMILY = "The session"


@verb("info", family=FAMILY, synonyms=("status", "state", "about", "version", "session"), example="info")
class ShowInfo(Request, frozen=True):
    """Show the model, prompt, circuit, settings, home folder and versions of the session."""

    reads_only = True

    def run(self, session: Session) -> Info:
        return Info(
            state=session.state(),
            model=None if session.model is None else session.model.info,
            settings=_shown(session),
            home=str(session.home),
            versions=versions(),
        )


@verb(
    "set",
    family=FAMILY,
    synonyms=("settings", "setting", "config", "options", "option", "preferences"),
    example=("set max_tokens 32", "set sample on", "set"),
)
class ChangeSetting(Request, frozen=True):
    """Show the settings, or change one. A flag on a command line overrides a setting once."""

    name: Annotated[str | None, Arg(SettingName(), "a setting (default: show them all)")] = None
    value: Annotated[str | None, Arg(SettingValue(), "its new value")] = None

    def run(self, session: Session) -> SettingsShown:
        if self.name is not None and self.value is None:
            raise UsageError(
                f"set {self.name} needs a value", f"it is {_shown(session)[self.name]} now: {describe()[self.name]}"
            )
        if self.name is not None and self.value is not None:
            session.settings = changed(session.settings, self.name, self.value)
        return SettingsShown(settings=_shown(session), described=describe(), changed=self.name or "")


def _shown(session: Session) -> dict[str, str]:
    values = to_builtins(session.settings)
    return {
        name: ("on" if value else "off") if isinstance(value, bool) else str(value) for name, value in values.items()
    }


@verb(
    "run",
    family=FAMILY,
    synonyms=("script", "execute", "source", "play", "command file"),
    example=("run capital.wb", "run --list"),
)
class RunFile(Request, frozen=True):
    """Run a command file in this session: one command a line, # comments, \\ continues a line.

    A comment begins with a # at the start of a word. In the text of prompt, seed and say the # also needs a space
    after it: the #1 of prompt Who is #1? is text.

    ${NAME} is filled in by --set NAME=VALUE; ${NAME=VALUE} has a default, and ${here} is the folder of the file. A
    bare name that is no file here means one of the workbench's own files; run --list shows them.

    The first line that fails stops the file. A line with --trust-remote-code is refused, unless --trust is given.
    """

    path: Annotated[Path | None, Arg(ScriptName(), "a command file (.wb), or one of the workbench's own by name")] = (
        None
    )
    listed: Annotated[bool, Flag("show the command files that come with the workbench", flag="--list")] = False
    values: Annotated[
        tuple[str, ...], Opt(Word(), "fill ${NAME} in the file", flag="--set", metavar="NAME=VALUE", many=True)
    ] = ()
    trust: Annotated[bool, TrustFlag("let the file, and those it runs, open models with --trust-remote-code")] = False

    def run(self, session: Session) -> Steps[Ran | CommandFiles]:
        from commands import library, script

        if self.listed:
            if self.path is not None or self.values or self.trust:
                raise UsageError("--list runs no file", f"to run one: run {self.path or 'capital'}")
            return CommandFiles(rows=tuple(library.files()))
        if self.path is None:
            raise UsageError("run needs a command file", "for example: run capital.wb, or: run --list")
        given = assignments(self.values)
        return (yield from script.play(session, library.path_of(self.path), given, trust=self.trust))


class VerbName(Word):
    """The name of a verb."""

    name = "verb"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        from commands.completing import summaries  # of the verbs, which use these words

        return list(summaries().items())


@verb(
    "help",
    family=FAMILY,
    also=("?", "--help", "-h"),
    synonyms=("man", "usage", "manual", "commands", "verbs"),
    example=("help discover", "help atlas", "help"),
)
class ShowHelp(Request, frozen=True):
    """List the verbs, or explain one."""

    reads_only = True

    name: Annotated[
        tuple[str, ...], Arg(VerbName(), "a verb (default: list them all)", metavar="[VERB]", many=True)
    ] = ()

    def run(self, session: Session) -> Help:
        from commands.grammar import find

        actions = actions_of(" ".join(self.name))
        if actions:
            return _family(self.name[0], tuple(actions.values()))
        if self.name:
            return _explained(find(" ".join(self.name)))
        rows = {
            family: tuple((str(known.name), known.summary) for known in verbs) for family, verbs in families().items()
        }
        return Help(families=tuple(rows.items()))


def _explained(chosen: Verb) -> Help:
    """A verb in full."""
    return Help(
        verb=str(chosen.name),
        text=chosen.help_text(),
        example=chosen.example,
        usage=chosen.usage,
        about=chosen.help or "",
        groups=tuple((group or "Parameters", tuple(rows)) for group, rows in chosen.groups().items()),
        examples=chosen.examples,
    )


def _family(head: str, actions: Sequence[Verb]) -> Help:
    """The verbs that begin with the same word."""
    default = DEFAULTS.get(head)
    alone = f" ({head} alone means this)"
    rows = tuple((action.usage, action.summary + (alone if action is default else "")) for action in actions)
    examples = tuple(action.example for action in actions)
    usage = f"{head} ACTION …"
    return Help(
        verb=head,
        text=family_help(head),
        example=examples[0],
        usage=usage,
        groups=(("Actions", rows),),
        examples=examples,
    )


@verb("clear", family=FAMILY, example="clear", also=("cls",), synonyms=("clean", "wipe", "clear screen"))
class ClearScreen(Request, frozen=True):
    """Clear the screen. Session and journal stay as they are.

    In the app, the lines that have ended leave the sight of this terminal only.
    """

    def run(self, session: Session) -> Cleared:
        return Cleared()


@verb(
    "quit",
    family=FAMILY,
    also=("exit", "q"),
    synonyms=("leave", "close", "bye", "logout", "q!", "wq", "x"),
    example="quit",
)
class Leave(Request, frozen=True):
    """Leave the workbench; what was saved stays."""

    def run(self, session: Session) -> Quit:
        return Quit()
