"""Results of the verb `lens`: predictions between the layers, logits by component, and fitted lenses."""

from __future__ import annotations

from typing import ClassVar

from sessions.events import Value
from sessions.lenses.findings import HeadPart, LensAbout, LensLayer, LensRow, LogitPart
from sessions.model.info import Token
from sessions.model.target import Target


class LensRead(Value, frozen=True, kw_only=True):
    """`lens`: what the model would say after each layer, at positions of a text.

    `tokens` are those of the positions that were read, from `first` on, of a text of `length` tokens, the last
    `generated` of which the model wrote. `layers` has a value for each of these positions; `rows` is one of them,
    `position`, layer by layer. Probability and rank are of `target` or, where that is None, of each position's
    likeliest token by the model's own prediction; `targets` are their texts. `of` is the measure of the map. `lens` is
    the name of a fitted lens, of the kind `lens_kind`; both are empty for the logit lens.
    """

    tokens: tuple[str, ...]
    first: int
    length: int
    generated: int
    position: int
    target: Token | None
    targets: tuple[str, ...]
    of: str
    rows: tuple[LensRow, ...]
    layers: tuple[LensLayer, ...]
    lens: str = ""
    lens_kind: str = ""


class LogitComponents(Value, frozen=True, kw_only=True):
    """`lens components`: the target as a sum over components, `parts`, and the attention heads' parts within it.

    The target is about the token behind `position`, at `token`. `rest` is what rounding leaves. `listed` of the parts
    are to be shown.
    """

    table: ClassVar[str] = "parts"
    target: Target
    position: int
    token: str
    parts: tuple[LogitPart, ...]
    heads: tuple[HeadPart, ...]
    rest: float
    listed: int


class LensFitted(Value, frozen=True, kw_only=True):
    """`lens fit` and `lens show`: a lens for so many layers, how it was fitted, and how well. `path` is its file."""

    table: ClassVar[str] = "about.quality"
    name: str
    model: str
    layers: tuple[int, ...]
    about: LensAbout
    path: str
