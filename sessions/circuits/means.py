"""`Means`: the mean activation of every neuron over some texts, saved by name.

Attribution, verification, faithfulness and ablation compare neurons with their means, and these depend on the texts.
Means that are saved under a name are the same for every line that names them.

A file has a tensor `layer.12.mean` for each layer, with a column for each neuron. Where asked for, it also has
`layer.12.places`, with a row for each position counted from the end, the last position last (see `recording.means`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
import torch
from msgspec import Struct
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.attribution import Reference
from sessions.circuits.findings import LayerMeans
from sessions.circuits.recording import means as means_of
from sessions.errors import ArtifactError
from sessions.events import Steps
from sessions.files.tensor_file import TensorBytes, Tensors
from sessions.model.floats import to_bytes
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.units import Unit

_ABOUT = "about"


class MeansAbout(Struct, frozen=True, kw_only=True):
    """The manifest of means: what they were taken over.

    `over` names the texts. `texts` and `tokens` count them without the first token of each text; both are 0 where a
    file does not say. `sha256` is the hash of their ids. `under` is a key of what was suppressed and which edits were
    on (`Session.state_key`).
    """

    over: str
    texts: int = 0
    tokens: int = 0
    sha256: str = ""
    under: str = ""


@dataclass(frozen=True, eq=False)
class Means:
    """Means of all neurons: by layer `[width]`, and `[places, width]` in `places`, which may be empty. `heads` and
    `head_places` are those of the attention heads of each layer with attention; files of earlier versions lack them.

    `name`, `model` and `fingerprint` are in the header of a file, not in its body.
    """

    about: MeansAbout
    layers: tuple[Tensor, ...]
    places: tuple[Tensor, ...] = ()
    heads: tuple[Tensor, ...] = ()
    head_places: tuple[Tensor, ...] = ()
    name: str = ""
    model: str = ""
    fingerprint: str = ""

    def __len__(self) -> int:
        """The number of neurons."""
        return sum(len(layer) for layer in self.layers)

    @property
    def target(self) -> str:
        """What a listing shows as its target."""
        return self.about.over

    def named(self, name: str, model: str, fingerprint: str) -> Means:
        """The same means with the fields of a file's header."""
        return replace(self, name=name, model=model, fingerprint=fingerprint)

    def of(self, neuron: Unit) -> float:
        """The mean of a neuron over all positions."""
        return float(self.layers[neuron.layer][neuron.index])

    def strongest(self, count: int) -> list[Unit]:
        """The neurons of all layers with the largest |mean|, the largest first."""
        pairs = [
            (-abs(float(values[index])), layer, index)
            for layer, values in enumerate(self.layers)
            for index in values.abs().topk(min(count, len(values))).indices.tolist()
        ]
        return [Unit(layer, index) for _, layer, index in sorted(pairs)[:count]]

    def of_layer(self, layer: int) -> LayerMeans:
        """A summary of the means of a layer."""
        values = self.layers[layer]
        strongest = Unit(layer, int(values.abs().argmax()))
        return LayerMeans(
            layer=layer,
            neurons=len(values),
            size=float(values.double().abs().mean()),
            strongest=strongest,
            mean=self.of(strongest),
        )

    def check(self, anatomy: Anatomy) -> None:
        """Raise `ArtifactError` unless these are the neurons of a model."""
        called = f"means '{self.name}'" if self.name else "the means"
        if len(self.layers) != anatomy.n_layers:
            raise ArtifactError(
                f"{called} are of {len(self.layers)} layers, and this model has {anatomy.n_layers}",
                "build them on this model: means build NAME",
            )
        for number, (layer, width) in enumerate(zip(self.layers, anatomy.widths, strict=True)):
            if len(layer) != width:
                raise ArtifactError(
                    f"{called} have {len(layer):,} neurons in layer {number}, and this model has {width:,} there",
                    "build them on this model: means build NAME",
                )

    def as_reference(self, anatomy: Anatomy, *, places: bool = False) -> Reference:
        """The means of each site: `[width]` or, with `places` where they are known, `[places, width]`.

        Raises:
            ArtifactError: they are of a model of another shape.
        """
        self.check(anatomy)
        chosen = self.places if places and self.places else self.layers
        neurons = tuple(
            values[..., site.offset : site.offset + site.width].contiguous()
            for values, layer in zip(chosen, anatomy.layers, strict=True)
            for site in layer.sites
        )
        heads = self.head_places if chosen is self.places else self.heads
        return Reference(neurons, from_end=chosen is self.places, heads=heads)

    def packed(self) -> Tensors:
        """Its tensors with their manifest."""
        tensors = {f"layer.{number}.mean": to_bytes(values) for number, values in enumerate(self.layers)}
        tensors |= {f"layer.{number}.places": to_bytes(values) for number, values in enumerate(self.places)}
        tensors |= {f"layer.{number}.heads": to_bytes(values) for number, values in enumerate(self.heads)}
        tensors |= {f"layer.{number}.head_places": to_bytes(values) for number, values in enumerate(self.head_places)}
        return Tensors({_ABOUT: msgspec.json.encode(self.about).decode()}, tensors)

    @classmethod
    def unpacked(cls, contents: Tensors, source: str) -> Means:
        """The means in a file.

        Raises:
            ArtifactError: it holds something else; `source` is how the message names it.
        """
        try:
            about = msgspec.json.decode(contents.fields.get(_ABOUT, ""), type=MeansAbout)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ArtifactError(f"{source} has no valid manifest of means: {error}") from error
        layers = _numbered(contents.tensors, "mean", 1, source)
        places = _numbered(contents.tensors, "places", 2, source)
        heads = _numbered(contents.tensors, "heads", 1, source)
        head_places = _numbered(contents.tensors, "head_places", 2, source)
        if not layers or len(contents.tensors) != len(layers) + len(places) + len(heads) + len(head_places):
            raise ArtifactError(f"{source} has tensors that are not the means of layers 0, 1, …")
        pairs = zip(layers, places, strict=False)
        if places and (
            len(places) != len(layers)
            or len({len(place) for place in places}) > 1
            or any(len(layer) != mean.shape[1] or not len(mean) for layer, mean in pairs)
        ):
            raise ArtifactError(f"{source} has means by position that do not fit the means of its layers")
        return cls(about, layers, places, heads, head_places)


def taken(
    opened: OpenModel,
    texts: Sequence[Sequence[int]],
    over: str,
    home: Path,
    *,
    by_position: bool = False,
    under: str = "",
    batch: int | None = None,
    cancel: Cancel | None = None,
) -> Steps[Means]:
    """Means over texts, given as ids; `over` names them. Other arguments are as in `recording.means`.

    Raises:
        UsageError: no text has a second token.
        ModelError: a mixture of experts.
    """
    whole = yield from means_of(opened, texts, home, cancel, under=under, batch=batch)
    places: Reference | None = None
    if by_position:
        places = yield from means_of(opened, texts, home, cancel, aligned=True, under=under, batch=batch)
    counted = [len(ids) - 1 for ids in texts if len(ids) > 1]
    about = MeansAbout(
        over=over,
        texts=len(counted),
        tokens=sum(counted),
        sha256=sha256(repr([list(ids) for ids in texts]).encode()).hexdigest(),
        under=under,
    )
    return Means(
        about,
        by_layer(opened.anatomy, whole.activations),
        () if places is None else by_layer(opened.anatomy, places.activations),
        whole.heads,
        () if places is None else places.heads,
    )


def by_layer(anatomy: Anatomy, sites: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Values by site, joined to values by layer."""
    left = iter(sites)
    return tuple(torch.cat([next(left) for _ in layer.sites], -1) for layer in anatomy.layers)


def _numbered(tensors: Mapping[str, TensorBytes], kind: str, dimensions: int, source: str) -> tuple[Tensor, ...]:
    """The tensors of a kind, from layer 0 to the first layer without one."""
    layers: list[Tensor] = []
    while (tensor := tensors.get(f"layer.{len(layers)}.{kind}")) is not None:
        if tensor.dtype != "F32" or len(tensor.shape) != dimensions:
            raise ArtifactError(
                f"{source} has a '{kind}' of {tensor.dtype} {list(tensor.shape)} in layer {len(layers)}, "
                f"expected F32 with {dimensions} dimensions"
            )
        numbers = np.frombuffer(tensor.data, "<f4").reshape(tensor.shape)
        if not np.isfinite(numbers).all():
            raise ArtifactError(f"{source} has a mean in layer {len(layers)} that is not finite")
        layers.append(torch.from_numpy(numbers.astype(np.float32)))
    return tuple(layers)
