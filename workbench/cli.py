"""The command line: the app, `run`, `repl`, `schema`, `serve`, `mcp`; for hosts `attach`, `exec`, `hosts` and `kill`.

Only click is imported until a command is chosen, so that `--help` and completion are fast. Exit codes: 0 success, 1 a
command failed, 2 the command line was wrong, 130 stopped by ctrl-c.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench import output
from workbench.host import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from sessions.events import Event, Failed
    from sessions.session import Session
    from workbench.file_runs import FileRun
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
    help="The folder of saved artifacts. Default: $WORKBENCH_HOME, else your data folder.",
)
_HOST = click.option("--host", metavar="NAME", default=JOURNAL, show_default=True, help="The session's name.")
_THEME = click.option("--theme", metavar="NAME", default="", help="dark, light, 16-colour or no-colour.")
_NO_MOUSE = click.option("--no-mouse", is_flag=True, help="Do not capture the mouse.")


class _Program(click.Group):
    """The group of commands. It reports output that cannot be written."""

    def main(self, *args: Any, **words: Any) -> Any:
        output.lenient()
        with output.reported():
            return super().main(*args, **words)


@click.group(cls=_Program, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@_MODEL
@click.option(
    "--host", metavar="NAME", default=JOURNAL, show_default=True, help="The session to open; it keeps running."
)
@_HOME
@_THEME
@_NO_MOUSE
@click.pass_context
def main(context: click.Context, model: str | None, host: str, home: Path | None, theme: str, no_mouse: bool) -> None:
    """A terminal workbench for the neurons of Hugging Face causal language models.

    Without a command, open the app on a session that keeps running when you leave.
    """
    if context.invoked_subcommand is not None:
        if context.params != {"model": None, "host": JOURNAL, "home": None, "theme": "", "no_mouse": False}:
            name = context.invoked_subcommand
            raise click.UsageError(f"options of {name} go after it: workbench {name} --help lists them")
    elif _in_terminal():
        sys.exit(_open(host, home, model, theme, not no_mouse))
    else:
        click.echo(context.get_help())


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--list", "listed", is_flag=True, help="Show the command files that come with the workbench.")
@_MODEL
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="Set ${NAME} in the file; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Write events to stdout as JSON, one per line.")
@click.option("--trust", is_flag=True, help="Allow --trust-remote-code in the file and in files it runs.")
@click.option(
    "--report",
    metavar="PAGE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write an HTML page of the run, also of one that fails.",
)
@click.option("--force", is_flag=True, help="Replace that page if it exists.")
@_HOME
def run(
    file: Path | None,
    listed: bool,
    model: str | None,
    values: tuple[str, ...],
    as_json: bool,
    trust: bool,
    report: Path | None,
    force: bool,
    home: Path | None,
) -> None:
    """Run a command file, given by path or by the name of one that --list shows. Stop at the first failure."""
    if listed:
        sys.exit(_list(as_json))
    if file is None:
        raise click.UsageError("no command file is named; workbench run --list shows those that come with it")
    if force and report is None:
        raise click.UsageError("--force replaces the page of --report, and none is named")
    from workbench.file_runs import FileRun

    sys.exit(_run(FileRun(file, model, values, trust, report, force), as_json, home))


@main.command()
@click.argument("verb", nargs=-1)
def schema(verb: tuple[str, ...]) -> None:
    """Print the JSON schema of a verb's parameters; of all verbs without VERB."""
    import json

    from commands.grammar import VERBS, find
    from workbench.signatures import schema as schema_of

    with _reported():
        named = find(" ".join(verb)) if verb else None
        schemas = schema_of(named) if named else {name: schema_of(each) for name, each in VERBS.items()}
    click.echo(json.dumps(schemas, ensure_ascii=False, indent=2))


@main.command()
@_MODEL
@_HOME
def repl(model: str | None, home: Path | None) -> None:
    """Type commands line by line in a new session. ctrl-c stops a command, ctrl-d leaves."""
    from workbench.repl import start
    from workbench.source import Local

    with closing(_session(home)) as session:
        sys.exit(start(Local(session), model))


@main.command()
@click.argument("name", default=JOURNAL)
@click.option("--lines", is_flag=True, help="Open the line REPL instead of the app.")
@_HOME
@_THEME
@_NO_MOUSE
def attach(name: str, lines: bool, home: Path | None, theme: str, no_mouse: bool) -> None:
    """Attach to the session NAME; start it if it is not running. It keeps running when you leave."""
    if _in_terminal() and not lines:
        sys.exit(_open(name, home, None, theme, not no_mouse))

    from workbench.host.starting import find_or_start
    from workbench.resuming import resume

    with _reported():
        client = find_or_start(name, home)
        sys.exit(resume(client))


@main.command("exec")
@click.argument("command")
@_HOST
@click.option("--json", "as_json", is_flag=True, help="Write events to stdout as JSON, one per line.")
@_HOME
def exec_(command: str, host: str, as_json: bool, home: Path | None) -> None:
    """Run one command in a running session."""
    with _reported():
        sys.exit(_exec(command, host, as_json, home))


@main.command()
@_HOME
def hosts(home: Path | None) -> None:
    """List the running sessions."""
    from workbench.host.listing import table

    with _reported():
        for line in table(home):
            click.echo(line)


@main.command()
@click.argument("name")
@_HOME
def kill(name: str, home: Path | None) -> None:
    """End a running session. `attach` brings back its model, prompt, circuit, edits and settings."""
    from workbench.host.starting import kill as end

    with _reported():
        click.echo(f"{name} has ended: {end(name, home)}")


@main.command()
@_HOST
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for any free port.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Any other address needs --token.")
@click.option(
    "--token",
    metavar="T",
    envvar="WORKBENCH_TOKEN",
    help="The token that a browser must present. $WORKBENCH_TOKEN hides it from other users of this machine.",
)
@_HOME
def serve(host: str, port: int, address: str, token: str | None, home: Path | None) -> None:
    """Serve the app to a browser. All tabs attach to one session."""
    from workbench.browser.starting import serve as start

    with _reported():
        start(host, home, port, address, token)


@main.command()
@_HOST
@_HOME
@click.option("--socket", "on_socket", is_flag=True, help="Serve on a Unix socket of the session, not on stdin.")
@click.option("--write-anywhere", is_flag=True, help="Let agents write files outside the home folder.")
@click.option("--trust", is_flag=True, help="Let agents open models with --trust-remote-code.")
def mcp(host: str, home: Path | None, on_socket: bool, write_anywhere: bool, trust: bool) -> None:
    """Serve the verbs to agents over the Model Context Protocol, on stdin and stdout.

    Calls run in the session of --host, which is started when needed and keeps running. They write files only inside
    the home folder.
    """
    from workbench.agents import AgentAccess
    from workbench.agents.starting import serve as start

    with _reported():
        start(AgentAccess(host, home, write_anywhere, trust), on_socket)


def _in_terminal() -> bool:
    """Whether there is a screen to draw on: a terminal, or a browser tab."""
    if "TEXTUAL_DRIVER" in os.environ:
        return True
    streams = (sys.stdin, sys.stdout, sys.stderr)  # the app draws on stderr
    return all(stream.isatty() for stream in streams) and os.environ.get("TERM") != "dumb"


def _open(host: str, home: Path | None, model: str | None, theme: str, mouse: bool) -> int:
    """Open the app. Returns its exit code."""
    import gc

    gc.disable()  # until the screen is drawn: nothing that is loaded until then becomes garbage
    from workbench.app.app import WorkbenchApp
    from workbench.app.themes import THEMES
    from workbench.host.places import HostPaths

    if theme not in ("", *THEMES):
        raise click.BadParameter(f"unknown theme {theme!r}; themes: {', '.join(THEMES)}", param_hint="--theme")
    with _reported():
        HostPaths(home, host)  # fails here if no host can have that name
        app = WorkbenchApp(host, home, model, theme, mouse)
    output.drawn_as_utf8()
    left = app.run(mouse=app.mouse)
    if left:
        again = "workbench" if left == JOURNAL else f"workbench attach {left}"
        _lines().remark(f"host {left} keeps running · {again} attaches again · workbench kill {left} ends it")
    return app.return_code or 0


@contextmanager
def _reported() -> Iterator[None]:
    """Show an error of the workbench raised in the block, and exit."""
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
    """Run the line in the host and show its events. Returns the exit code."""
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
        raise HostError(f"there is no host '{host}'", f"workbench attach {host} starts it; workbench hosts lists all")
    show, outcome = _json(lines) if as_json else lines.show, None
    with interruptible(client.cancel), closing(lines), closing(client.run(command)) as events:
        try:
            for event in events:
                show(event)
                outcome = event if isinstance(event, Result | Failed) else outcome
        except BrokenPipeError:
            return output.close_stdout()
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


def _run(asked: FileRun, as_json: bool, home: Path | None) -> int:
    """Run the file in a new session, and write its report. Returns the exit code."""
    from sessions.errors import WorkbenchError
    from workbench.interrupts import interruptible

    lines = _lines()
    try:
        checked = asked.checked()  # before a model is opened, which may take an hour
    except WorkbenchError as error:
        lines.failure(error.message, error.hint)
        return USAGE
    try:
        with closing(_session(home)) as session, interruptible(session.cancel.request), closing(lines):
            failed = checked.play(session, _json(lines) if as_json else lines.show)
            return 0 if failed is None else _code(failed)
    except KeyboardInterrupt:
        lines.failure("cancelled")
        return INTERRUPTED
    except BrokenPipeError:
        return output.close_stdout()


def _json(lines: Lines) -> Callable[[Event], None]:
    """A function that writes events to stdout as JSON, one per line, and shows failures and progress on stderr."""
    from sessions.events import Failed, Progress, to_json

    def show(event: Event) -> None:
        sys.stdout.buffer.write(to_json(event) + b"\n")
        sys.stdout.buffer.flush()
        if isinstance(event, Failed | Progress):
            lines.show(event)
        else:
            lines.close()

    return show
