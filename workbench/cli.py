"""The command line: the app, `run FILE` and `repl`, and for sessions that stay `attach`, `exec`, `hosts` and `kill`.

Only click is imported until a command is chosen, so that `--help` and completion never wait. Exit codes: 0 all went
well, 1 a command failed, 2 the command line itself was wrong, 130 stopped by ctrl-c.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench import output
from workbench.host import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any

    from sessions.events import Event, Failed
    from sessions.session import Session
    from workbench.lines import Lines

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def _show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from workbench import __version__

        click.echo(f"workbench {__version__}")
        context.exit()


_MODEL = click.option(
    "--model", metavar="M", help="Open this model first: an embedded name (smollm2), a hub id, a folder, a GGUF file."
)
_HOME = click.option(
    "--home",
    metavar="PATH",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where circuits are kept. Default: $WORKBENCH_HOME, or your data folder.",
)
_HOST = click.option("--host", metavar="NAME", default=JOURNAL, show_default=True, help="Which of them.")
_THEME = click.option("--theme", metavar="NAME", default="", help="dark, light, 16-colour or no-colour.")
_NO_MOUSE = click.option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal.")


class _Program(click.Group):
    """The commands; what they cannot write is told, whichever it is."""

    def main(self, *args: Any, **words: Any) -> Any:
        output.lenient()
        with output.told():
            return super().main(*args, **words)


@click.group(cls=_Program, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@_MODEL
@click.option("--host", metavar="NAME", default=JOURNAL, show_default=True, help="The session to open; it stays.")
@_HOME
@_THEME
@_NO_MOUSE
@click.pass_context
def main(context: click.Context, model: str | None, host: str, home: Path | None, theme: str, no_mouse: bool) -> None:
    """A terminal workbench for the neurons of Hugging Face causal language models.

    Without a command it opens on a session that stays when you leave.
    """
    if context.invoked_subcommand is not None:
        if context.params != {"model": None, "host": JOURNAL, "home": None, "theme": "", "no_mouse": False}:
            raise click.UsageError(f"options of {context.invoked_subcommand} stand behind it")
    elif _in_terminal():
        sys.exit(_open(host, home, model, theme, not no_mouse))
    else:
        click.echo(context.get_help())


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--list", "listed", is_flag=True, help="Show the command files that come with the workbench.")
@_MODEL
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="Fill ${NAME} in the file.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON event a line to stdout.")
@click.option("--trust", is_flag=True, help="Let the file, and those it runs, open models with --trust-remote-code.")
@_HOME
def run(
    file: Path | None,
    listed: bool,
    model: str | None,
    values: tuple[str, ...],
    as_json: bool,
    trust: bool,
    home: Path | None,
) -> None:
    """Run a command file, or one of the workbench's own by name; stop at the first command that fails."""
    if listed:
        sys.exit(_list(as_json))
    if file is None:
        raise click.UsageError("name a command file, or see: workbench run --list")
    sys.exit(_run(file, model, values, as_json, trust, home))


@main.command()
@click.argument("verb", nargs=-1)
def schema(verb: tuple[str, ...]) -> None:
    """Print the JSON schema of what a verb takes, or those of all verbs, by name."""
    import json

    from commands.grammar import VERBS, find
    from workbench.signatures import schema as schema_of

    with _told():
        found = {name: schema_of(each) for name, each in VERBS.items()} if not verb else schema_of(find(" ".join(verb)))
    click.echo(json.dumps(found, ensure_ascii=False, indent=2))


@main.command()
@_MODEL
@_HOME
def repl(model: str | None, home: Path | None) -> None:
    """Type commands one after another; ctrl-c stops a command, ctrl-d leaves."""
    from workbench.repl import start
    from workbench.source import Local

    with closing(_session(home)) as session:
        sys.exit(start(Local(session), model))


@main.command()
@click.argument("name", default=JOURNAL)
@click.option("--lines", is_flag=True, help="One line after another, without the panes.")
@_HOME
@_THEME
@_NO_MOUSE
def attach(name: str, lines: bool, home: Path | None, theme: str, no_mouse: bool) -> None:
    """Open a session that stays when you leave; NAME is started where it does not run."""
    if _in_terminal() and not lines:
        sys.exit(_open(name, home, None, theme, not no_mouse))

    from workbench.host.starting import find_or_start
    from workbench.resuming import resume

    with _told():
        client = find_or_start(name, home)
        sys.exit(resume(client))


@main.command("exec")
@click.argument("command")
@_HOST
@click.option("--json", "as_json", is_flag=True, help="Write one JSON event a line to stdout.")
@_HOME
def exec_(command: str, host: str, as_json: bool, home: Path | None) -> None:
    """Run one command in a session that is running."""
    with _told():
        sys.exit(_exec(command, host, as_json, home))


@main.command()
@_HOME
def hosts(home: Path | None) -> None:
    """List the sessions that are running."""
    from workbench.host.listing import table

    with _told():
        for line in table(home):
            click.echo(line)


@main.command()
@click.argument("name")
@_HOME
def kill(name: str, home: Path | None) -> None:
    """End a running session; attaching again brings back its model, prompt, circuit and settings."""
    from workbench.host.starting import kill as end

    with _told():
        click.echo(f"{name} has ended: {end(name, home)}")


@main.command()
@_HOST
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free one.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Any other needs a token of your own.")
@click.option(
    "--token",
    metavar="T",
    envvar="WORKBENCH_TOKEN",
    help="What a browser has to show; better given as $WORKBENCH_TOKEN, which nobody else here can see.",
)
@_HOME
def serve(host: str, port: int, address: str, token: str | None, home: Path | None) -> None:
    """Show the app in a browser; its tabs all attach to one session."""
    from workbench.browser.starting import serve as start

    with _told():
        start(host, home, port, address, token)


def _in_terminal() -> bool:
    """Whether there is a screen to draw on; one in a browser is no terminal."""
    if "TEXTUAL_DRIVER" in os.environ:
        return True
    streams = (sys.stdin, sys.stdout, sys.stderr)  # the panes are drawn on the last of them
    return all(stream.isatty() for stream in streams) and os.environ.get("TERM") != "dumb"


def _open(host: str, home: Path | None, model: str | None, theme: str, mouse: bool) -> int:
    """Open the app. Returns its exit code."""
    import gc

    gc.disable()  # until the screen is there: of what is loaded now, nothing will ever be garbage
    from workbench.app.app import WorkbenchApp
    from workbench.app.themes import THEMES
    from workbench.host.places import HostPaths

    if theme not in ("", *THEMES):
        raise click.BadParameter(f"there is no theme {theme!r}; there are {', '.join(THEMES)}", param_hint="--theme")
    with _told():
        HostPaths(home, host)  # which has to be a name that a host can have
        app = WorkbenchApp(host, home, model, theme, mouse)
    output.drawn_as_utf8()
    left = app.run(mouse=app.mouse)
    if left:
        again = "workbench" if left == JOURNAL else f"workbench attach {left}"
        _lines().remark(f"host {left} goes on · {again} attaches again · workbench kill {left} ends it")
    return app.return_code or 0


@contextmanager
def _told() -> Iterator[None]:
    """Errors of the workbench in the block are told, and end the program."""
    from sessions.errors import WorkbenchError

    try:
        yield
    except WorkbenchError as error:
        _lines().failure(error.message, error.hint)
        sys.exit(FAILED)


def _lines() -> Lines:
    from workbench.lines import Lines, console

    return Lines(console(), console(stderr=True))


def _exec(command: str, host: str, as_json: bool, home: Path | None) -> int:
    """Run the line in the host and show what it says. Returns the exit code."""
    from commands.grammar import parse
    from sessions.errors import UsageError
    from sessions.events import Failed, Result
    from workbench.host.places import HostError
    from workbench.host.starting import find
    from workbench.interrupts import interruptible

    lines = _lines()
    try:
        parse(command)
    except UsageError as error:
        lines.failure(error.message, error.hint)
        return USAGE
    client = find(host, home)
    if client is None:
        raise HostError(f"no host is called {host}", f"workbench attach {host} starts it; workbench hosts lists all")
    show, outcome = _json(lines) if as_json else lines.show, None
    with interruptible(client.cancel), closing(lines), closing(client.run(command)) as events:
        try:
            for event in events:
                show(event)
                outcome = event if isinstance(event, Result | Failed) else outcome
        except BrokenPipeError:
            return output.unread()
    return _code(outcome) if isinstance(outcome, Failed) else 0


def _code(failed: Failed) -> int:
    """The exit code of a command that failed."""
    from sessions.errors import Cancelled

    return INTERRUPTED if failed.error == Cancelled.kind else FAILED


def _session(home: Path | None) -> Session:
    from sessions.errors import WorkbenchError
    from sessions.session import Session

    try:
        return Session(home, journal=JOURNAL)
    except WorkbenchError as error:
        raise click.ClickException(str(error)) from error


def _list(as_json: bool) -> int:
    """Show the command files that come with the workbench."""
    from commands import library
    from sessions.events import Result
    from sessions.results import CommandFiles

    lines = _lines()
    with closing(lines):
        (_json(lines) if as_json else lines.show)(Result(CommandFiles(rows=tuple(library.files()))))
    return 0


def _run(file: Path, model: str | None, words: tuple[str, ...], as_json: bool, trust: bool, home: Path | None) -> int:
    """Run the file in a session of its own. Returns the exit code."""
    from commands import library, script
    from sessions.errors import WorkbenchError
    from sessions.texts.placeholders import assignments
    from workbench.interrupts import interruptible

    lines = _lines()
    try:
        file = library.path_of(file)
        values = assignments(words)
        script.read(file, values, trust=trust)  # before a model is opened, which may take an hour
    except WorkbenchError as error:
        lines.failure(error.message, error.hint)
        return USAGE
    try:
        with closing(_session(home)) as session, interruptible(session.cancel.request), closing(lines):
            session.trusting = trust
            return _play(session, file, model, values, _json(lines) if as_json else lines.show)
    except KeyboardInterrupt:
        lines.failure("cancelled")
        return INTERRUPTED
    except BrokenPipeError:
        return output.unread()


def _play(
    session: Session, file: Path, model: str | None, values: dict[str, str], show: Callable[[Event], None]
) -> int:
    """Show what the opening of the model and the commands of the file say. Returns the exit code."""
    from commands import script
    from commands.calling import call_line
    from commands.running import run as run_line
    from sessions.events import Failed

    streams: list[Generator[Event, None, Any]] = [script.play(session, file, values)]
    if model is not None:
        streams.insert(0, run_line(session, call_line("model", model), where="--model"))
    for stream in streams:
        failed = None
        with closing(stream) as events, suppress(script.ScriptStopped):
            for event in events:
                show(event)
                if isinstance(event, Failed) and event.where:
                    failed = event
        if failed is not None:
            return _code(failed)
    return 0


def _json(lines: Lines) -> Callable[[Event], None]:
    """Shows events as JSON on stdout, one a line; failures and progress are for people as well, on stderr."""
    from sessions.events import Failed, Progress, to_json

    def show(event: Event) -> None:
        sys.stdout.buffer.write(to_json(event) + b"\n")
        sys.stdout.buffer.flush()
        if isinstance(event, Failed | Progress):
            lines.show(event)
        else:
            lines.close()

    return show
