"""What the lines of a session may do outside it. A person's lines may do everything; an agent's are limited."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct


class Permits(Struct, frozen=True):
    """Limits of the line that runs, and of the lines of files that it runs.

    `writes_in` is the folder that files are written in, at any depth; None for anywhere. `trust` is whether code that
    comes with a model may run.
    """

    writes_in: Path | None = None
    trust: bool = True
