"""What people start: the command line, the REPL, and `workbench.open` for Python.

    import workbench

    wb = workbench.open("smollm2")
    wb.prompt("What is the capital of Texas?")
    wb.seed("The capital of Texas is")
    print(wb.discover(" Austin").circuit.top(5))

Importing this module imports neither torch nor a model; `open` does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessions.events import Event
    from workbench.python import Workbench

__all__ = ["open"]


def open(
    model: str | None = None,
    *,
    home: str | Path | None = None,
    on_event: Callable[[Event], None] | None = None,
    **model_options: Any,
) -> Workbench:
    """Open a session whose verbs are methods; open a model too if one is named.

    Args:
        model: an embedded model's name, a hub id, a local folder or a GGUF file.
        home: folder of saved artifacts; None for the user's data folder.
        on_event: called with each event of each command.
        model_options: options of the verb `model` (`dtype="bfloat16"`, `device="cuda"`, …).

    Raises:
        WorkbenchError: the model cannot be opened, or the home cannot be used.
    """
    from workbench.python import Workbench

    workbench = Workbench(home=home, on_event=on_event)
    if model is not None:
        try:
            workbench.model(model, **model_options)
        except BaseException:
            workbench.close()
            raise
    return workbench


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("neuron-workbench")
        except PackageNotFoundError:  # running from a checkout that is not installed
            return "0+unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
