"""What the model said last: the lines of `expect` are statements about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LastOutput:
    """The last text and next-token distribution, `logits` being `[vocab]`.

    After a comparison these are the changed arm's, and `baseline` is the text of the unchanged one. `scores` are the
    numbers of the last evaluation, by name.
    """

    text: str | None = None
    baseline: str | None = None
    logits: Tensor | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
