"""`workbench hosts`: one line per running host."""

from __future__ import annotations

import time
from pathlib import Path

from sessions.errors import WorkbenchError
from workbench.host.client import Client
from workbench.host.messages import Welcome
from workbench.host.places import HostError, HostPaths, hosts
from workbench.writing import MISSING, duration, fitted, inline

_ANSWER = 1.0
_TITLES = ("name", "pid", "model", "memory", "doing", "since")


def table(home: Path | None) -> list[str]:
    """The running hosts under a line of titles; one line that says so if there is none."""
    rows = [row for row in map(_row, hosts(home)) if row]
    if not rows:
        return ["no host runs · workbench attach starts one"]
    widths = [max(map(len, column)) for column in zip(_TITLES, *rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (_TITLES, *rows)]  # fmt: skip


def _row(place: HostPaths) -> tuple[str, ...]:
    """The row of a host; empty if it does not run."""
    try:
        holder = place.holder()
    except WorkbenchError as error:
        return (place.name, MISSING, MISSING, MISSING, error.message, MISSING)
    if holder is None:
        return ()
    memory = _memory(holder.pid)
    try:
        welcome = Client(place, holder).welcome(_ANSWER)
    except HostError:
        return (place.name, str(holder.pid or MISSING), MISSING, memory, "does not answer", MISSING)
    return (place.name, str(holder.pid), inline(welcome.state.model) or MISSING, memory, *_doing(welcome))


def _doing(welcome: Welcome) -> tuple[str, str]:
    waiting = f" (+{len(welcome.waiting)})" if welcome.waiting else ""
    doing = "idle" if welcome.busy is None else f"busy{waiting}: {fitted(inline(welcome.busy.line), 40)}"
    return doing, duration(max(time.time() - welcome.since, 0.0))


def _memory(pid: int) -> str:
    """The memory of a process, on systems that have /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return MISSING
    sizes = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")]
    return f"{sizes[0] * 1024 / 1e6:,.0f} MB" if sizes else MISSING
