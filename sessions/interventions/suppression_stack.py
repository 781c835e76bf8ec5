"""Nested blocks that suppress neurons. They do not accumulate: the innermost applies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from sessions.model.units import Unit

if TYPE_CHECKING:
    from sessions.interventions.suppressing import Suppression
    from sessions.model.parts import Anatomy


class SuppressionStack:
    """The suppression of the innermost block that is entered, if there is one."""

    def __init__(self) -> None:
        self._innermost: Suppression | None = None

    @contextmanager
    def held(self, anatomy: Anatomy | None, neurons: Sequence[Unit]) -> Iterator[Suppression | None]:
        """Inside the block these neurons, and no others, are at zero in every pass.

        Yields None where there are no neurons, or no model.
        """
        outer = self._innermost
        with self.lifted():
            self._innermost = None
            try:
                if anatomy is None or not neurons:
                    yield None
                    return
                from sessions.interventions.suppressing import Suppression

                self._innermost = Suppression(anatomy, neurons)
                with self._innermost.held():
                    yield self._innermost
            finally:
                self._innermost = outer

    def notice(self) -> None:
        """Note that others have run a pass with the neurons at zero."""
        if self._innermost is not None:
            self._innermost.met = True

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Inside the block no neuron is suppressed."""
        with nullcontext() if self._innermost is None else self._innermost.lifted():
            yield
