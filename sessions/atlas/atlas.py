"""`Atlas`: statistics of every neuron of some layers over a corpus, and its tensors in a file.

A file has a group of tensors for each layer, such as `layer.12.mean`, with a column for each neuron. It also has the
documents with maxima, as ids with their texts, so that a maximum can be shown in its context and computed again without
the corpus. A place is one number, document · length + position, or -1 for none. Reading a file needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sessions.errors import ArtifactError, UsageError
from sessions.files.tensor_file import TensorBytes, Tensors
from sessions.model.units import Unit

if TYPE_CHECKING:
    from sessions.model.parts import Anatomy

Array = NDArray[Any]

#: Quantiles that an atlas keeps of each neuron's activations.
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
#: What neurons are ranked by: their largest |activation|, or their highest positive activation.
By = Literal["magnitude", "positive"]
#: Tokens on each side of a maximum that are shown.
AROUND = 5

_GROUP = re.compile(r"layer\.(0|[1-9][0-9]{0,8})\.([a-z_]+)")
_DTYPES = {"F32": "<f4", "I64": "<i8", "I32": "<i4", "U8": "u1"}
_ABOUT = "about"


class AtlasAbout(Struct, frozen=True, kw_only=True):
    """The manifest of an atlas.

    `documents` counts the documents that were read, `empty` those without a counted token; `tokens` counts the
    positions, special tokens left out. Documents are cut to `length` tokens. `under` is the key of what was suppressed
    (`Session.state_key`), `sha256` that of the texts.
    """

    corpus: str
    sha256: str
    documents: int
    empty: int
    tokens: int
    length: int
    k: int
    dtype: str = ""
    under: str = ""


class Maximum(NamedTuple):
    """A place where a neuron was highest or lowest.

    `document` is its number in the corpus, from 0. `ids` are those of the document up to and including `position`:
    running them computes the activation again. `token` is the text at the position, `before` and `after` are the texts
    of up to `AROUND` tokens on each side.
    """

    value: float
    document: int
    position: int
    ids: tuple[int, ...]
    token: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class AtlasLayer:
    """The neurons of one layer, a column each.

    `count` is the number of positions (for an expert's neurons, only of those that were sent to it) over which `mean`,
    `std`, `size` (the mean of |activation|) and `rate` are taken: `[width]`. `quantiles` is `[len(QUANTILES), width]`,
    `high` and `low` are `[k, width]`, the extremes first, at the places `high_at` and `low_at`. `folding` says what
    `rate` and `quantiles` mean, and how exact they are.
    """

    count: Array
    mean: Array
    std: Array
    size: Array
    rate: Array
    quantiles: Array
    high: Array
    high_at: Array
    low: Array
    low_at: Array

    @property
    def width(self) -> int:
        return len(self.count)

    @property
    def largest(self) -> Array:
        """The largest |activation| of each neuron, `[width]`; 0 where it was never computed."""
        peaks: Array = np.where(self.count > 0, np.maximum(self.high[0], -self.low[0]), 0.0)
        return peaks

    @property
    def highest(self) -> Array:
        """The highest activation of each neuron above 0, `[width]`; 0 where it was never above."""
        peaks: Array = np.where(self.count > 0, np.maximum(self.high[0], 0.0), 0.0)
        return peaks

    def by(self, by: By) -> Array:
        """What neurons are ranked by: their largest |activation|, or their highest positive one."""
        return self.highest if by == "positive" else self.largest


_SHAPES: dict[str, tuple[str, int]] = {
    "count": ("I64", 1), "mean": ("F32", 1), "std": ("F32", 1), "size": ("F32", 1), "rate": ("F32", 1),
    "quantiles": ("F32", 2), "high": ("F32", 2), "high_at": ("I64", 2), "low": ("F32", 2), "low_at": ("I64", 2),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Documents:
    """The documents that a maximum is in, by their numbers in the corpus, in rising order.

    Document `numbers[i]` has the ids `ids[starts[i] : starts[i + 1]]`.
    """

    numbers: Array
    starts: Array
    ids: Array

    def of(self, number: int) -> tuple[int, ...]:
        """The ids of a document, as the model read them."""
        row = int(np.searchsorted(self.numbers, number))
        return tuple(self.ids[self.starts[row] : self.starts[row + 1]].tolist())


@dataclass(frozen=True, eq=False)
class Atlas:
    """Statistics of the neurons of `layers` over a corpus.

    `texts` are those of all ids in `documents`. `name`, `model` and `fingerprint` stand in the header of a file and
    not in its body.
    """

    about: AtlasAbout
    layers: Mapping[int, AtlasLayer]
    documents: Documents
    texts: Mapping[int, str]
    name: str = ""
    model: str = ""
    fingerprint: str = ""

    def __len__(self) -> int:
        """How many neurons it has."""
        return sum(layer.width for layer in self.layers.values())

    @property
    def target(self) -> str:
        """Its corpus, for a listing."""
        return self.about.corpus

    @cached_property
    def called(self) -> str:
        return f"atlas '{self.name}'" if self.name else "the atlas"

    def named(self, name: str, model: str, fingerprint: str) -> Atlas:
        """The same atlas with the fields of a file's header."""
        return replace(self, name=name, model=model, fingerprint=fingerprint)

    def layer(self, number: int) -> AtlasLayer:
        """The statistics of a layer.

        Raises:
            UsageError: the atlas has none of it.
        """
        if number not in self.layers:
            known = sorted(self.layers)
            runs = f"layer {known[0]}" if len(known) == 1 else f"layers {known[0]} to {known[-1]}"
            raise UsageError(f"{self.called} says nothing of layer {number}", f"it has {runs}")
        return self.layers[number]

    def covers(self, neuron: Unit) -> bool:
        """Whether it has a neuron."""
        return neuron.layer in self.layers and neuron.index < self.layers[neuron.layer].width

    def maxima(self, neuron: Unit) -> tuple[Maximum, ...]:
        """Where a neuron was highest, the highest first: `k` of them, or as many positions as it was computed at.

        Raises:
            UsageError: the atlas says nothing of it.
        """
        layer, index = self._column(neuron)
        return self._read(layer.high[:, index], layer.high_at[:, index])

    def minima(self, neuron: Unit) -> tuple[Maximum, ...]:
        """Where it was lowest, the lowest first. Raises `UsageError` as `maxima`."""
        layer, index = self._column(neuron)
        return self._read(layer.low[:, index], layer.low_at[:, index])

    def strongest(self, neuron: Unit, by: By = "magnitude") -> Maximum | None:
        """Where it was furthest from 0 or, by "positive", highest; None where it was never computed. Raises
        `UsageError` as `maxima`."""
        if by == "positive":
            return next(iter(self.maxima(neuron)), None)
        return max(
            (*self.maxima(neuron)[:1], *self.minima(neuron)[:1]), key=lambda maximum: abs(maximum.value), default=None
        )

    def _column(self, neuron: Unit) -> tuple[AtlasLayer, int]:
        layer = self.layer(neuron.layer)
        if not neuron.index < layer.width:
            raise UsageError(
                f"layer {neuron.layer} has no neuron {neuron.index}", f"its neurons are 0 to {layer.width - 1}"
            )
        return layer, neuron.index

    def _read(self, values: Array, places: Array) -> tuple[Maximum, ...]:
        pairs = zip(values.tolist(), places.tolist(), strict=True)
        return tuple(self._maximum(value, place) for value, place in pairs if place >= 0)

    def _maximum(self, value: float, place: int) -> Maximum:
        document, position = divmod(place, self.about.length)
        ids = self.documents.of(document)
        tokens = [self.texts.get(token, "") for token in ids[: position + AROUND + 1]]
        before, after = tokens[max(0, position - AROUND) : position], tokens[position + 1 :]
        return Maximum(value, document, position, ids[: position + 1], tokens[position], tuple(before), tuple(after))

    def check(self, anatomy: Anatomy) -> None:
        """Refuse an atlas with layers, neurons or tokens that its model does not have.

        Raises:
            ArtifactError: it has some.
        """
        for number, layer in self.layers.items():
            if number >= anatomy.n_layers or layer.width != anatomy.layers[number].width:
                raise ArtifactError(
                    f"{self.called} has {layer.width:,} neurons in layer {number}, and this model has others there",
                    "build it anew: atlas build NAME --force",
                )
        try:
            anatomy.check_tokens((int(self.documents.ids.max(initial=0)),))
        except UsageError as error:
            raise ArtifactError(
                f"{self.called} has a document with a token that this model lacks: {error.message}",
                "build it anew: atlas build NAME --force",
            ) from error

    # In a file

    def packed(self) -> Tensors:
        """Its tensors, and the texts beside them."""
        tensors = {
            f"layer.{number}.{name}": _bytes(getattr(layer, name), dtype)
            for number, layer in self.layers.items()
            for name, (dtype, _) in _SHAPES.items()
        }
        for name in ("numbers", "starts"):
            tensors[f"documents.{name}"] = _bytes(getattr(self.documents, name), "I64")
        tensors["documents.ids"] = _bytes(self.documents.ids, "I32")
        known = sorted(self.texts)
        tensors["texts.ids"] = _bytes(np.asarray(known, dtype=np.int32), "I32")
        encoded = msgspec.json.encode([self.texts[token] for token in known])
        tensors["texts.json"] = TensorBytes("U8", (len(encoded),), encoded)
        return Tensors({_ABOUT: msgspec.json.encode(self.about).decode()}, tensors)

    @classmethod
    def unpacked(cls, contents: Tensors, source: str) -> Atlas:
        """The atlas in a file.

        Raises:
            ArtifactError: it holds something else; `source` is how the message names it.
        """
        try:
            about = msgspec.json.decode(contents.fields.get(_ABOUT, ""), type=AtlasAbout)
            texts = msgspec.json.decode(contents.tensors["texts.json"].data, type=list[str])
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, RecursionError) as error:
            raise ArtifactError(f"{source} does not say what it is an atlas of: {error}") from error
        groups: dict[int, dict[str, Array]] = {}
        for name, tensor in contents.tensors.items():
            match = _GROUP.fullmatch(name)
            if match is not None:
                groups.setdefault(int(match[1]), {})[match[2]] = _array(tensor)
        layers = {number: _layer(group, f"layer {number} of {source}") for number, group in sorted(groups.items())}
        documents = Documents(
            *(_named(contents, f"documents.{name}", dtype, source) for name, dtype in _DOCUMENTS.items())
        )
        ids = _named(contents, "texts.ids", "I32", source)
        _check(layers, documents, about, source)
        if min(documents.ids.min(initial=0), ids.min(initial=0)) < 0:
            raise ArtifactError(f"{source} has documents with ids below 0, which are not token ids")
        if len(ids) != len(texts):
            raise ArtifactError(f"{source} has {len(ids):,} ids and {len(texts):,} texts of them")
        return cls(about, layers, documents, dict(zip(ids.tolist(), texts, strict=True)))


_DOCUMENTS = {"numbers": "I64", "starts": "I64", "ids": "I32"}


def _bytes(values: Array, dtype: str) -> TensorBytes:
    return TensorBytes(dtype, tuple(values.shape), np.ascontiguousarray(values, dtype=_DTYPES[dtype]).tobytes())


def _array(tensor: TensorBytes) -> Array:
    if tensor.dtype not in _DTYPES:
        return np.zeros(0, dtype="u1")
    numbers: Array = np.frombuffer(tensor.data, _DTYPES[tensor.dtype]).reshape(tensor.shape)
    return numbers


def _named(contents: Tensors, name: str, dtype: str, source: str) -> Array:
    tensor = contents.tensors.get(name)
    if tensor is None or tensor.dtype != dtype or len(tensor.shape) != 1:
        raise ArtifactError(f"{source} has no '{name}' of {dtype} and one dimension")
    return _array(tensor)


def _layer(group: Mapping[str, Array], source: str) -> AtlasLayer:
    width = len(group["count"]) if group.get("count") is not None and group["count"].ndim == 1 else -1
    for name, (dtype, dimensions) in _SHAPES.items():
        array = group.get(name)
        if array is None or array.dtype != _DTYPES[dtype] or array.ndim != dimensions or array.shape[-1] != width:
            raise ArtifactError(f"{source} has no '{name}' of {dtype} for each of its neurons")
    return AtlasLayer(**{name: group[name] for name in _SHAPES})


def _check(layers: Mapping[int, AtlasLayer], documents: Documents, about: AtlasAbout, source: str) -> None:
    """Refuse a file whose maxima are not in its documents."""
    if not layers:
        raise ArtifactError(f"{source} has no layer in it")
    starts, lengths = documents.starts, np.diff(documents.starts)
    sound = len(starts) == len(documents.numbers) + 1 and about.length > 0
    if not sound or starts[0] != 0 or starts[-1] != len(documents.ids) or (lengths < 0).any():
        raise ArtifactError(f"{source} has documents that are not where it says")
    for number, layer in layers.items():
        if layer.quantiles.shape[0] != len(QUANTILES):
            raise ArtifactError(f"{source} has {layer.quantiles.shape[0]} quantiles, not {len(QUANTILES)}")
        for values, places in ((layer.high, layer.high_at), (layer.low, layer.low_at)):
            document, position = np.divmod(places[places >= 0], about.length)
            row = np.searchsorted(documents.numbers, document).clip(max=max(len(documents.numbers) - 1, 0))
            if not len(values):
                raise ArtifactError(f"{source} has no maxima of layer {number}")
            if values.shape != places.shape or (
                document.size and ((documents.numbers[row] != document).any() or (position >= lengths[row]).any())
            ):
                raise ArtifactError(f"{source} has maxima of layer {number} in documents that it lacks")
