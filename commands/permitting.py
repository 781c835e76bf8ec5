"""Whether a line stays within the permits of its session: where it writes files, and whose code it lets run."""

from __future__ import annotations

import os
from pathlib import Path

from commands.names import OutputFile
from commands.request import Arg, Opt, Request, TrustFlag, fields_of
from sessions.errors import UsageError
from sessions.permits import Permits


def check_permitted(request: Request, permits: Permits) -> None:
    """Refuse a request that goes beyond the permits. Relative paths start from the current folder.

    Raises:
        UsageError: it writes a file outside the folder that it may write in, or lets a model's own code run.
    """
    if permits.writes_in is not None:
        for path in written_by(request):
            _check_inside(path, permits.writes_in)
    if not permits.trust and trusts(request):
        raise UsageError("an agent may not let a model's own code run", "workbench mcp --trust allows it")


def trusts(request: Request) -> bool:
    """Whether the request lets code run that comes with a model."""
    return any(isinstance(field.mark, TrustFlag) and bool(field.of(request)) for field in fields_of(type(request)))


def written_by(request: Request) -> tuple[Path, ...]:
    """The files and folders that the request writes under a path of its own."""
    return tuple(
        value
        for field in fields_of(type(request))
        if isinstance(field.mark, Arg | Opt) and isinstance(field.mark.word, OutputFile)
        if (value := field.of(request)) is not None
    )


def _check_inside(path: Path, folder: Path) -> None:
    """Raise `UsageError` if the path leads out of the folder, by `..` or a symbolic link for example."""
    real, inside = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if inside not in real.parents:
        raise UsageError(
            f"'{path}' is outside the home folder {folder}, and an agent writes files only inside it",
            "name a file without a folder; workbench mcp --write-anywhere allows other places",
        )
