"""What people start: the command line, the REPL, and `workbench.open` for Python.

    import workbench

    wb = workbench.open("smollm2")
    wb.prompt("What is the capital of Texas?")
    wb.seed("The capital of Texas is")
    found = wb.discover(" Austin", top=50)
    print(found.circuit.top(5))
    print(found.to_pandas().groupby("layer")["attribution"].sum())
    axes = wb.sweep("top20", 0, 0.5, 1, max_tokens=4).plot()
    wb.close()

Every verb is a method; `help(wb.discover)` explains one. `workbench.attach()` gives the same for the session of a
running host, beside an app that watches. Importing this module imports neither torch nor a model; `open` does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessions.events import Event
    from workbench.attached import AttachedWorkbench
    from workbench.python import Workbench

__all__ = ["attach", "open"]


def open(
    model: str | None = None,
    *,
    home: str | Path | None = None,
    on_event: Callable[[Event], None] | None = None,
    progress: bool | None = None,
    **model_options: Any,
) -> Workbench:
    """Open a session whose verbs are methods; open a model too if one is named.

    Args:
        model: an embedded model's name, a hub id, a local folder or a GGUF file.
        home: folder of saved artifacts; None for the user's data folder.
        on_event: called with each event of each command.
        progress: whether a bar shows the progress of a command, in a notebook or on a terminal; None for yes, unless
            `on_event` is given, which can show it better.
        model_options: options of the verb `model` (`dtype="bfloat16"`, `device="cuda"`, …).

    Raises:
        WorkbenchError: the model cannot be opened, or the home cannot be used.
    """
    from workbench.python import Workbench

    workbench = Workbench(home=home, on_event=on_event, progress=progress)
    if model is not None:
        try:
            workbench.model(model, **model_options)
        except BaseException:
            workbench.close()
            raise
    return workbench


def attach(
    name: str = "default",
    *,
    home: str | Path | None = None,
    on_event: Callable[[Event], None] | None = None,
    progress: bool | None = None,
) -> AttachedWorkbench:
    """Attach to a host that runs on this machine: its session's verbs as methods, beside its other clients.

        wb = workbench.attach("default")      # the app shows what follows
        wb.discover(" Austin")
        wb.close()                            # the host goes on

    Args:
        name: the host's name; `workbench hosts` lists those that run.
        home: the folder that holds the host's files; None for the user's data folder.
        on_event, progress: as for `open`.

    Raises:
        WorkbenchError: no host of that name runs here, or it does not answer.
    """
    from workbench.attached import AttachedWorkbench

    return AttachedWorkbench(name, home, on_event, progress)


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("neuron-workbench")
        except PackageNotFoundError:  # running from a checkout that is not installed
            return "0+unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
