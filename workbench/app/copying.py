"""Copying text to a file, and running other programs in the terminal: an editor, the line REPL.

Over SSH only the terminal can set the clipboard (OSC 52), and not every terminal does; so a copy is also kept in a
file.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sessions.errors import WorkbenchError
from sessions.files.disk import write_file
from sessions.files.temporary import temporary_folder
from workbench.host import FROM_APP
from workbench.host.starting import environment

COPIED = "copied.txt"
_EDITORS = ("vi", "vim", "nano", "emacs")


def kept(text: str, home: Path) -> Path:
    """Write copied text to the file `copied.txt`, readable by its owner only.

    Raises:
        ArtifactError: it cannot be written.
    """
    return write_file(home / COPIED, text.encode(errors="replace"), force=True, private=True)


def editor(environment: Mapping[str, str]) -> list[str]:
    """The editor's command: $VISUAL, $EDITOR, or a usual one.

    Raises:
        WorkbenchError: no editor is named or found.
    """
    named = environment.get("VISUAL") or environment.get("EDITOR")
    try:
        command = shlex.split(named) if named else []
    except ValueError as error:
        raise WorkbenchError(f"$EDITOR cannot be read: {error}", "set it to a command, such as nano") from error
    if command:
        return command
    installed = next(filter(None, map(shutil.which, _EDITORS)), None)
    if installed is None:
        raise WorkbenchError("there is no editor", "set EDITOR to one, such as nano")
    return [installed]


def edit(text: str, command: list[str]) -> None:
    """Open a text in an editor, in a temporary file.

    Raises:
        WorkbenchError: the editor does not start, or the file cannot be written.
    """
    try:
        with temporary_folder(Path(tempfile.gettempdir()), mode=0o700) as folder:
            path = folder / "text.txt"
            path.write_bytes(text.encode(errors="replace"))
            subprocess.run([*command, str(path)], check=False)
    except OSError as error:
        raise WorkbenchError(f"{command[0]} does not start: {error.strerror}", "set EDITOR to another") from error


def converse(host: str, home: Path) -> None:
    """Run the line REPL on the host's session until F9 or ctrl-d.

    It runs in a new process: one process cannot have two programs that read keys.

    Raises:
        WorkbenchError: the REPL does not start.
    """
    command = [sys.executable, "-P", "-m", "workbench", "attach", host, "--lines", "--home", str(home)]
    try:
        subprocess.run(command, check=False, env=environment() | {FROM_APP: "1"})
    except OSError as error:
        raise WorkbenchError(f"the line REPL does not start: {error.strerror}") from error


@contextmanager
def undisturbed() -> Iterator[None]:
    """During the block, leave ctrl-c to another program."""
    try:
        before = signal.signal(signal.SIGINT, lambda *_: None)  # not ignored: that would be inherited
    except ValueError:  # not in the main thread, where no signal arrives
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
