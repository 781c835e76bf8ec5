"""Reads the maxima of neurons that the reference implementation, and `export` of an atlas, write as JSON.

The file is an object with one entry a neuron. A key is `L12/N34` or, in a file of one layer, the index alone:
    {"34": {"text_index": 7, "token_position": 41, "trigger_token": " Austin", "activation_score": 3.25}, …}
It holds no texts and no other statistics, so it cannot become an atlas again. It can be shown, or imported as a preset.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite

from msgspec import Struct

from sessions.errors import ArtifactError
from sessions.files.json_text import decoded
from sessions.interventions.presets import Known, Preset
from sessions.model.units import BEYOND, Unit
from sessions.results import FileEntry

#: The key that identifies such a file.
SCORE = "activation_score"
_KEY = re.compile(r"(?:L(?P<layer>[0-9]{1,9})/N)?(?P<index>[0-9]{1,9})")


class MaximumEntry(Struct, frozen=True):
    """The maximum of one neuron: its activation, and the token and text that it occurs at."""

    text_index: int
    token_position: int
    trigger_token: str
    activation_score: float


@dataclass(frozen=True)
class Maxima:
    """(layer, index, entry) of each neuron, the largest |activation| first; the layer is None if the keys have none."""

    entries: tuple[tuple[int | None, int, MaximumEntry], ...]

    @property
    def says_layers(self) -> bool:
        return self.entries[0][0] is not None

    def rows(self, top: int) -> tuple[FileEntry, ...]:
        """The first `top` neurons as rows to show."""
        return tuple(
            FileEntry(
                key=str(index) if layer is None else str(Unit(layer, index)),
                kind=f"{entry.activation_score:.4g}",
                about=f"at {entry.trigger_token!r}, text {entry.text_index:,}, position {entry.token_position:,}",
            )
            for layer, index, entry in self.entries[:top]
        )

    def preset(self, layer: int | None, top: int | None) -> Preset:
        """The first `top` neurons as a preset that shifts each by its maximum."""
        neurons = [Unit(layer if own is None else own, index) for own, index, _ in self.entries]  # type: ignore[arg-type]
        scores = [entry.activation_score for _, _, entry in self.entries]
        known = tuple(
            Known(id=str(neuron), layer=neuron.layer, index=neuron.index, gain=score)
            for neuron, score in zip(neurons, scores, strict=True)
        )
        return Preset(neurons=known[:top])


def maxima_in(data: bytes, source: str) -> Maxima | None:
    """The maxima in a file's bytes; None if the file is JSON of another kind.

    Raises:
        ArtifactError: the file holds maxima and is malformed, or contains the identifying key and is not JSON.
    """
    if SCORE.encode() not in data:
        return None
    contents = decoded(data, object, source)
    first = next(iter(contents.values()), None) if isinstance(contents, dict) else None
    if not isinstance(first, dict) or SCORE not in first:
        return None
    entries = []
    for key, entry in decoded(data, dict[str, MaximumEntry], source).items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise ArtifactError(f"{source} has the key {key[:40]!r}, which is not a neuron", "write 34 or L12/N34")
        layer, index = (None if match[part] is None else int(match[part]) for part in ("layer", "index"))
        assert index is not None
        if not isfinite(entry.activation_score) or max(layer or 0, index) >= BEYOND:
            raise ArtifactError(f"{source} has an impossible maximum for {key}: {entry.activation_score}")
        entries.append((layer, index, entry))
    if len({layer is None for layer, _, _ in entries}) > 1:
        raise ArtifactError(f"{source} names the layer of some neurons only")
    if len({(layer, index) for layer, index, _ in entries}) < len(entries):
        raise ArtifactError(f"{source} has a neuron twice")
    return Maxima(tuple(sorted(entries, key=lambda entry: -abs(entry[2].activation_score))))
