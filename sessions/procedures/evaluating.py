"""What an evaluation leaves behind: its texts, and the numbers that `expect` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sessions.files.disk import write_file
from sessions.results import Evaluated

if TYPE_CHECKING:
    from sessions.evaluation.scores import TaskReply


def readings_of(result: Evaluated) -> dict[str, float]:
    """The numbers that `expect` knows."""
    first, last = result.scores[0], result.scores[-1]
    found = {"accuracy": last.accuracy, "baseline": first.accuracy}
    if result.pairs:
        found |= {"difference": result.pairs[-1].difference, "p": result.pairs[-1].p}
    return found if last.ratio is None else found | {"perplexity": last.ratio}


def write_texts(path: Path, replies: Sequence[TaskReply], force: bool) -> None:
    write_file(path, b"".join(msgspec.json.encode(reply) + b"\n" for reply in replies), force=force)
