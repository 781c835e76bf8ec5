"""`Means`: what every neuron is on average over some texts, kept by name.

Attribution, verification, faithfulness and ablation compare neurons with their means, and these depend on the texts.
Taken once and kept under a name, they are the same texts' for every line that names them, on this day and the next.

A file has a tensor `layer.12.mean` for each layer, a column a neuron, and where it was asked for `layer.12.places`, a
row for each position counted from the end, the last position last (see `recording.means`). All layers are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import torch
from msgspec import Struct
from torch import Tensor

from sessions.errors import ArtifactError
from sessions.files.tensor_file import TensorBytes, Tensors
from sessions.model.parts import Anatomy
from sessions.model.units import Neuron

_ABOUT = "about"


class About(Struct, frozen=True, kw_only=True):
    """What means are of: their manifest.

    `over` names the texts, of which there were `texts` with so many `tokens` that count, the first of each left out;
    both are 0 where a file does not say. `sha256` is that of their ids. `under` is a key of what was suppressed and
    which edits were on (`Session.under`).
    """

    over: str
    texts: int = 0
    tokens: int = 0
    sha256: str = ""
    under: str = ""


@dataclass(frozen=True, eq=False)
class Means:
    """Means of all neurons: by layer `[width]`, and `[places, width]` in `places`, which may be empty.

    `name`, `model` and `fingerprint` stand in the header of a file and not in its body.
    """

    about: About
    layers: tuple[Tensor, ...]
    places: tuple[Tensor, ...] = ()
    name: str = ""
    model: str = ""
    fingerprint: str = ""

    def __len__(self) -> int:
        """How many neurons it has."""
        return sum(len(layer) for layer in self.layers)

    @property
    def target(self) -> str:
        """What a listing says it is of."""
        return self.about.over

    def named(self, name: str, model: str, fingerprint: str) -> Means:
        """The same means with what a file's header says of them."""
        return replace(self, name=name, model=model, fingerprint=fingerprint)

    def of(self, neuron: Neuron) -> float:
        """The mean of a neuron over all positions."""
        return float(self.layers[neuron.layer][neuron.index])

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

    def by_site(self, anatomy: Anatomy, *, places: bool = False) -> tuple[Tensor, ...]:
        """The means of each site, in the order of the layers: `[width]` or, with `places` where they are known,
        `[places, width]`.

        Raises:
            ArtifactError: they are of a model of another shape.
        """
        self.check(anatomy)
        chosen = self.places if places and self.places else self.layers
        return tuple(
            values[..., site.offset : site.offset + site.width].contiguous()
            for values, layer in zip(chosen, anatomy.layers, strict=True)
            for site in layer.sites
        )

    def packed(self) -> Tensors:
        """Its tensors, and what they are of beside them."""
        tensors = {f"layer.{number}.mean": _bytes(values) for number, values in enumerate(self.layers)}
        tensors |= {f"layer.{number}.places": _bytes(values) for number, values in enumerate(self.places)}
        return Tensors({_ABOUT: msgspec.json.encode(self.about).decode()}, tensors)

    @classmethod
    def unpacked(cls, contents: Tensors, source: str) -> Means:
        """The means in a file.

        Raises:
            ArtifactError: it holds something else; `source` is how the message names it.
        """
        try:
            about = msgspec.json.decode(contents.fields.get(_ABOUT, ""), type=About)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ArtifactError(f"{source} does not say what it has means of: {error}") from error
        layers = _numbered(contents.tensors, "mean", 1, source)
        places = _numbered(contents.tensors, "places", 2, source)
        if not layers or len(contents.tensors) != len(layers) + len(places):
            raise ArtifactError(f"{source} has other tensors than the means of its layers, from 0 on")
        pairs = zip(layers, places, strict=False)
        if places and (
            len(places) != len(layers)
            or len({len(each) for each in places}) > 1
            or any(len(layer) != each.shape[1] or not len(each) for layer, each in pairs)
        ):
            raise ArtifactError(f"{source} has means by position that are not those of its layers")
        return cls(about, layers, places)


def by_layer(anatomy: Anatomy, sites: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What is known of each site, joined to what is known of each layer."""
    left = iter(sites)
    return tuple(torch.cat([next(left) for _ in layer.sites], -1) for layer in anatomy.layers)


def _bytes(values: Tensor) -> TensorBytes:
    return TensorBytes("F32", tuple(values.shape), values.float().cpu().contiguous().numpy().astype("<f4").tobytes())


def _numbered(tensors: Mapping[str, TensorBytes], kind: str, dimensions: int, source: str) -> tuple[Tensor, ...]:
    """The tensors of a kind, of layer 0 and on as far as there are some."""
    found: list[Tensor] = []
    while (tensor := tensors.get(f"layer.{len(found)}.{kind}")) is not None:
        if tensor.dtype != "F32" or len(tensor.shape) != dimensions:
            raise ArtifactError(
                f"{source} has a '{kind}' of {tensor.dtype} {list(tensor.shape)} in layer {len(found)}, "
                f"and F32 of {dimensions} dimensions are read"
            )
        numbers = np.frombuffer(tensor.data, "<f4").reshape(tensor.shape)
        if not np.isfinite(numbers).all():
            raise ArtifactError(f"{source} has a mean in layer {len(found)} that is not finite")
        found.append(torch.from_numpy(numbers.astype(np.float32)))
    return tuple(found)
