"""Loss scaling: gradients in float16 that neither vanish nor overflow.

float16 has no number between 0 and 6e-8, and none above 65,504. What flows back through a model in float16 is often
smaller than the one, so the loss is multiplied by a power of two on the way in, and the gradients are divided by it on
the way out, where they are float32 (Micikevicius et al. 2017, arXiv:1710.03740, section 3.2):

    an overflow    the power is halved, and the same step computed again, so that no sample is left out
    for a while    without one, it is doubled

A power of two changes no digit of what neither vanishes nor overflows. In other dtypes it is 1, and stays so: bfloat16
and float32 reach from 1e-38 to 3e38.
"""

from __future__ import annotations

import torch
from msgspec import Struct
from torch import nn

#: What a loss in float16 is multiplied with at first, and at most.
FIRST, LARGEST = 2.0**16, 2.0**24
#: Steps without an overflow after which the scale is doubled.
STEADY = 200


class Scale(Struct, frozen=True):
    """What the loss is multiplied with, and for how many steps it has been so; 1 for ever unless it `moves`."""

    value: float = 1.0
    steps: int = 0
    moves: bool = False

    @classmethod
    def of(cls, model: nn.Module) -> Scale:
        """That of a model before the first step."""
        small = any(parameter.dtype == torch.float16 for parameter in model.parameters())
        return cls(FIRST, moves=True) if small else cls()

    def after_step(self) -> Scale:
        """The scale of the next step, where this one had none but finite gradients."""
        if not self.moves:
            return self
        if self.steps + 1 < STEADY:
            return Scale(self.value, self.steps + 1, moves=True)
        return Scale(min(2 * self.value, LARGEST), moves=True)

    def after_overflow(self) -> Scale | None:
        """The scale to compute the same step with again; None where it is not the scale's fault."""
        return Scale(self.value / 2, moves=True) if self.moves and self.value > 1 else None
