"""Prepare the embedded models once, before the tests: `python -m tests.models`."""

from __future__ import annotations

from rich.console import Console

from sessions.events import Progress
from sessions.model.embedded import EMBEDDED, prepared
from tests.conftest import models_folder


def main() -> None:
    console = Console(stderr=True)
    for name in EMBEDDED:
        steps = prepared(name, models_folder())
        with console.status(name) as status:
            while True:
                try:
                    event = next(steps)
                except StopIteration as stop:
                    console.print(f"{name}: {stop.value}", highlight=False)
                    break
                if isinstance(event, Progress):
                    status.update(f"{name}: {event.label}")


if __name__ == "__main__":
    main()
