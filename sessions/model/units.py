"""Units of a model, which can be attributed, ablated, suppressed and recruited. Data only."""

from __future__ import annotations

import re

from msgspec import Struct, structs

from sessions.errors import UsageError

#: Beyond any layer, neuron, position or token of any model.
BEYOND = 10**9
# Nine digits exceed any model, and stay far below integer overflow.
_N = "[0-9]{1,9}"
_NEURON = re.compile(rf"L(?P<layer>{_N})(?:/N|#)(?P<index>{_N})(?:@(?P<position>-?{_N}))?", re.IGNORECASE)

Place = tuple[int, int, int | None]
"""(layer, index, position): which neuron, and where."""


class Neuron(Struct, frozen=True):
    """One input coordinate of a layer's down projection, at a token position or at all of them.

    Written `L24/N1005` or, at position 41, `L24/N1005@41` (`L24#1005` is read as well). Layers,
    neurons and positions count from 0; a negative position counts from the end of the prompt.
    In a mixture-of-experts layer the neurons of expert `e` are `e·d_expert … (e+1)·d_expert − 1`.

    `attribution` is the signed contribution to the target, in the target's own unit (logits), an
    estimate. `effect` is the exact loss of the target when this neuron alone is ablated (see
    `verification`). `activation` is the neuron's value. Each is None if it is unknown.
    """

    layer: int
    index: int
    position: int | None = None
    attribution: float | None = None
    activation: float | None = None
    effect: float | None = None

    def __str__(self) -> str:
        at = "" if self.position is None else f"@{self.position}"
        return f"L{self.layer}/N{self.index}{at}"

    @property
    def site(self) -> tuple[int, int]:
        """(layer, index): the neuron, without its position."""
        return self.layer, self.index

    @property
    def place(self) -> Place:
        return self.layer, self.index, self.position

    def counted(self, length: int) -> Neuron:
        """The same neuron, its position counted from the start of a text of `length` tokens."""
        if self.position is None or self.position >= 0:
            return self
        return structs.replace(self, position=self.position + length)

    @classmethod
    def parse(cls, text: str) -> Neuron:
        """The neuron written as `text`.

        Raises:
            UsageError: the text is not a neuron.
        """
        match = _NEURON.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"'{text[:80]}' is not a neuron", "write L24/N1005 or L24/N1005@41")
        position = match["position"]
        return cls(int(match["layer"]), int(match["index"]), None if position is None else int(position))
