"""The command line: `workbench run FILE`, `workbench repl`.

Only click is imported until a command is chosen, so that `--help` and completion never wait. Exit codes: 0 all went
well, 1 a command failed, 2 the command line itself was wrong, 130 stopped by ctrl-c.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from sessions.events import Event
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


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.pass_context
def main(context: click.Context) -> None:
    """A terminal workbench for the neurons of Hugging Face causal language models."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_MODEL
@click.option("--set", "values", multiple=True, metavar="NAME=VALUE", help="Fill ${NAME} in the file.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON event a line to stdout.")
@_HOME
def run(file: Path, model: str | None, values: tuple[str, ...], as_json: bool, home: Path | None) -> None:
    """Run a command file; stop at the first command that fails."""
    sys.exit(_run(file, model, values, as_json, home))


@main.command()
@_MODEL
@_HOME
def repl(model: str | None, home: Path | None) -> None:
    """Type commands one after another; ctrl-c stops a command, ctrl-d leaves."""
    from workbench.repl import start

    with closing(_session(home)) as session:
        sys.exit(start(session, model))


def _session(home: Path | None) -> Session:
    from sessions.errors import WorkbenchError
    from sessions.session import Session

    try:
        return Session(home, journal=JOURNAL)
    except WorkbenchError as error:
        raise click.ClickException(str(error)) from error


def _run(file: Path, model: str | None, words: tuple[str, ...], as_json: bool, home: Path | None) -> int:
    """Run the file in a session of its own. Returns the exit code."""
    from commands import script
    from sessions.errors import WorkbenchError
    from workbench.interrupts import interruptible
    from workbench.lines import Lines, console

    lines = Lines(console(), console(stderr=True))
    try:
        values = script.assignments(words)
        script.read(file, values)  # before a model is opened, which may take an hour
    except WorkbenchError as error:
        lines.failure(error.message, error.hint)
        return USAGE
    try:
        with closing(_session(home)) as session, interruptible(session.cancel.request), closing(lines):
            return _play(session, file, model, values, _json(lines) if as_json else lines.show)
    except KeyboardInterrupt:
        lines.failure("cancelled")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _play(
    session: Session, file: Path, model: str | None, values: dict[str, str], show: Callable[[Event], None]
) -> int:
    """Show what the opening of the model and the commands of the file say. Returns the exit code."""
    from commands import grammar, script
    from commands.running import run as run_line
    from sessions.errors import Cancelled
    from sessions.events import Failed

    streams: list[Generator[Event, None, Any]] = [script.play(session, file, values)]
    if model is not None:
        streams.insert(0, run_line(session, grammar.call_line("model", model), where="--model"))
    for stream in streams:
        failed = None
        with closing(stream) as events, suppress(script.Stopped):
            for event in events:
                show(event)
                if isinstance(event, Failed) and event.where:
                    failed = event
        if failed is not None:
            return INTERRUPTED if failed.error == Cancelled.kind else FAILED
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
