"""Scales the loss so that gradients in float16 neither vanish nor overflow.

float16 has no number between 0 and 6e-8, and none above 65,504. Gradients in float16 are often smaller than 6e-8. So
the loss is multiplied by a power of two before the backward pass, and the float32 gradients of the weights are divided
by it afterwards (Micikevicius et al. 2017, arXiv:1710.03740, section 3.2):

    after an overflow               halve the power, and compute the same step again, so that no sample is lost
    after `STEADY` steps without    double the power

A power of two changes no digit of a number that neither vanishes nor overflows. In other dtypes the scale stays 1,
because bfloat16 and float32 reach from 1e-38 to 3e38.
"""

from __future__ import annotations

import torch
from msgspec import Struct
from torch import nn

#: The first and the largest scale of a float16 model.
FIRST, LARGEST = 2.0**16, 2.0**24
#: Steps without an overflow after which the scale is doubled.
STEADY = 200


class Scale(Struct, frozen=True):
    """The factor of the loss, and the number of steps since it changed; it stays 1 unless it `moves`."""

    value: float = 1.0
    steps: int = 0
    moves: bool = False

    @classmethod
    def of(cls, model: nn.Module) -> Scale:
        """The scale of a model before its first step."""
        small = any(parameter.dtype == torch.float16 for parameter in model.parameters())
        return cls(FIRST, moves=True) if small else cls()

    def after_step(self) -> Scale:
        """The scale of the next step, after a step with finite gradients only."""
        if not self.moves:
            return self
        if self.steps + 1 < STEADY:
            return Scale(self.value, self.steps + 1, moves=True)
        return Scale(min(2 * self.value, LARGEST), moves=True)

    def after_overflow(self) -> Scale | None:
        """The scale to repeat the step with; None if a smaller scale cannot help."""
        return Scale(self.value / 2, moves=True) if self.moves and self.value > 1 else None
