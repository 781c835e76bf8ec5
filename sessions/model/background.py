"""Runs long work in a thread, while a generator reports its progress.

The libraries that download and load models show progress only through progress bars. Their bars are replaced by ones
that move a `Meter`. These end the work at the next file chunk or tensor once the generator is closed.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from logging import ERROR, getLogger
from typing import Any, TypeVar

from huggingface_hub.utils import tqdm
from transformers import modeling_gguf_pytorch_utils
from transformers.utils import logging

from sessions import memory
from sessions.events import Progress, Steps
from sessions.model.native import as_exception

T = TypeVar("T")

#: Seconds between two progress events, and seconds to wait for a stopped thread.
LOOK = 0.2
GRACE = 2.0


class Abandoned(Exception):
    """Raised in a background thread whose result nobody waits for any more."""


class Meter:
    """The progress of a background thread, which the waiting generator reads."""

    def __init__(self, label: str, unit: str) -> None:
        self.label = label
        self.unit = unit
        self.done = 0.0
        self.total = 0.0
        self.stop = threading.Event()

    def reach(self, done: float) -> None:
        """Record the progress; raise `Abandoned` if the work was stopped."""
        if self.stop.is_set():
            raise Abandoned
        self.done = max(self.done, done)

    def progress(self) -> Progress:
        done = min(self.done, self.total) if self.total else self.done
        return Progress(self.label, done, self.total, self.unit)


def in_background(work: Callable[[Meter], T], label: str, unit: str = "") -> Steps[T]:
    """Run `work` in a thread, yield `Progress` while it runs, and return its result or raise its error.

    Closing the generator ends `work` at the next `reach` of its meter. The generator waits for that at most `GRACE`
    seconds; a thread that takes longer ends later, and its result is dropped.
    """
    meter = Meter(label, unit)
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            outcome.set_result(work(meter))
        except BaseException as error:
            # The frames of a failed load hold half a model, which the error must not keep alive.
            memory.let_go(error)
            outcome.set_exception(as_exception(error, label))

    # A copy of the context lets code in the thread see the cancel flag of the running command.
    thread = threading.Thread(target=copy_context().run, args=(run,), name=label, daemon=True)
    thread.start()
    try:
        yield meter.progress()  # at least once, so that even quick work can be cancelled here
        while not concurrent.futures.wait([outcome], timeout=LOOK).done:
            yield meter.progress()
        return outcome.result()
    finally:
        meter.stop.set()
        thread.join(GRACE)


@contextmanager
def progress_to(meter: Meter) -> Iterator[None]:
    """Send transformers' progress bars to `meter`, and silence its warnings and accelerate's."""

    def bar(items: Collection[Any] = (), **_: Any) -> _Bar:
        return _Bar(meter, items)

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    placing = getLogger("accelerate.big_modeling")  # logs what is offloaded
    level = placing.level
    placing.setLevel(ERROR)
    hook = logging.set_tqdm_hook(lambda _, items, words: bar(*items, **words))
    # The GGUF reader uses tqdm directly, which the hook does not reach.
    own = modeling_gguf_pytorch_utils.tqdm
    modeling_gguf_pytorch_utils.tqdm = bar
    try:
        yield
    finally:
        modeling_gguf_pytorch_utils.tqdm = own
        logging.set_tqdm_hook(hook)
        logging.set_verbosity(verbosity)
        placing.setLevel(level)


class _Bar(logging.EmptyTqdm):  # type: ignore[misc]
    """A progress bar that moves a meter while it is iterated."""

    def __init__(self, meter: Meter, items: Collection[Any]) -> None:
        super().__init__()
        self._meter = meter
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        self._meter.done, self._meter.total = 0, len(self._items)
        for number, item in enumerate(self._items):
            self._meter.reach(number)
            yield item


def byte_bars(meter: Meter) -> type[Any]:
    """A bar class for huggingface_hub that draws nothing; bars that count bytes move the meter."""

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *items: Any, **words: Any) -> None:
            self.counts_bytes = words.get("unit") == "B"
            super().__init__(*items, **{**words, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            meter.reach(self.n if self.counts_bytes else 0)
            return None

    return Bar


def first_line(error: BaseException) -> str:
    """The first line of an error's message; its class name if it has no message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
