"""What is copied, and what is opened elsewhere: the clipboard of the terminal and a file, an editor, the line REPL.

Over SSH only the terminal can reach the clipboard (OSC 52), and not every terminal does: the file has it at any rate.
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
from workbench.host.starting import environment

COPIED = "copied.txt"
_EDITORS = ("vi", "vim", "nano", "emacs")


def kept(text: str, home: Path) -> Path:
    """Write what was copied to its file, which only its owner reads.

    Raises:
        ArtifactError: it cannot be written.
    """
    return write_file(home / COPIED, text.encode(errors="replace"), force=True, private=True)


def editor(environment: Mapping[str, str]) -> list[str]:
    """The command that edits a file.

    Raises:
        WorkbenchError: none is named, and none of the usual ones is there.
    """
    named = environment.get("VISUAL") or environment.get("EDITOR")
    try:
        command = shlex.split(named) if named else []
    except ValueError as error:
        raise WorkbenchError(f"$EDITOR cannot be read: {error}", "set it to a command, such as nano") from error
    if command:
        return command
    found = next(filter(None, map(shutil.which, _EDITORS)), None)
    if found is None:
        raise WorkbenchError("there is no editor", "set EDITOR to one, such as nano")
    return [found]


def edit(text: str, command: list[str]) -> None:
    """Show a text in an editor, in a file that is gone afterwards.

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
    """Type lines into the host's session in the line REPL, until ctrl-d.

    It is a process of its own: two programs that read keys do not get on in one.

    Raises:
        WorkbenchError: it does not start.
    """
    command = [sys.executable, "-P", "-m", "workbench", "attach", host, "--lines", "--home", str(home)]
    try:
        subprocess.run(command, check=False, env=environment())
    except OSError as error:
        raise WorkbenchError(f"the line REPL does not start: {error.strerror}") from error


@contextmanager
def undisturbed() -> Iterator[None]:
    """For the length of the block ctrl-c is another program's."""
    try:
        before = signal.signal(signal.SIGINT, lambda *_: None)  # not ignored: that would be inherited
    except ValueError:  # not in the main thread, where no signal arrives
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
