"""`Vector`: a direction for each layer at one site of the network, and its tensors in a file.

Sites: `resid_pre`, the input of a decoder layer; `resid_post`, its output; `mlp_out`, what a layer's MLP adds to the
residual stream (after its norm, in families that have one there); `attn_out`, what its attention adds; `neurons`, the
input of a layer's down projection. A file holds one float32 tensor for each layer, such as `layer.9`.

A vector is a difference of means, or a state that was captured in one text, with its `Origin`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import msgspec
import numpy as np
import torch
from torch import Tensor

from sessions.directions.findings import Origin
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.files.json_text import decoded
from sessions.files.tensor_file import TensorBytes, Tensors
from sessions.model.hooks import StateSite, writer_of
from sessions.model.parts import Anatomy
from sessions.model.sites import DenseSite
from sessions.model.units import BEYOND, Unit, only_neurons

Where = Literal[StateSite, "neurons"]
_LAYER = re.compile(r"layer\.(0|[1-9][0-9]{0,8})")
_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, eq=False)
class Vector:
    """Directions at `site`, by layer: float32 `[d_model]` each, or `[d_mlp]` if the site is the neurons.

    `positives` and `negatives` count the prompts of the two means, `family` is the model's `model_type`. `origin` says
    where a captured state, which has one layer, comes from; it is None for all others. `name`, `model` and
    `fingerprint` are in the header of a file and not in its body.
    """

    site: Where
    directions: Mapping[int, Tensor]
    positives: int
    negatives: int
    family: str = ""
    origin: Origin | None = None
    name: str = ""
    model: str = ""
    fingerprint: str = ""

    def __len__(self) -> int:
        return len(self.directions)

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(sorted(self.directions))

    @property
    def target(self) -> str:
        """Its site, for a listing."""
        return self.site

    def named(self, name: str, model: str, fingerprint: str) -> Vector:
        """The same vector with the fields of a file's header."""
        return replace(self, name=name, model=model, fingerprint=fingerprint)

    def check(self, anatomy: Anatomy) -> None:
        """Raise `ArtifactError` or `ModelError` unless the model has these layers, as wide as the directions are."""
        for layer, direction in self.directions.items():
            if layer >= anatomy.n_layers:
                raise ArtifactError(
                    f"the vector has a direction at layer {layer}, and this model's layers are 0 to "
                    f"{anatomy.n_layers - 1}",
                    "open the model it was made on",
                )
            check_site(anatomy, self.site, layer)
            width = width_at(anatomy, self.site, layer)
            if len(direction) != width:
                raise ArtifactError(
                    f"the vector has {len(direction):,} numbers at layer {layer}, and this model's {self.site} has "
                    f"{width:,} there",
                    "open the model it was made on",
                )

    def packed(self) -> Tensors:
        """Its tensors, and the texts beside them."""
        fields = {
            "site": self.site,
            "positives": str(self.positives),
            "negatives": str(self.negatives),
            "family": self.family,
        }
        if self.origin is not None:
            fields["origin"] = msgspec.json.encode(self.origin).decode()
        tensors = {
            f"layer.{layer}": TensorBytes("F32", tuple(direction.shape), direction.numpy().astype("<f4").tobytes())
            for layer, direction in self.directions.items()
        }
        return Tensors(fields, tensors)

    @classmethod
    def unpacked(cls, contents: Tensors, source: str) -> Vector:
        """The vector in a file.

        Raises:
            ArtifactError: it holds something else, or a number that is not finite.
        """
        fields = contents.fields
        if fields.get("site") not in get_args(Where):
            raise ArtifactError(f"{source} has a vector at the unknown site '{fields.get('site', '')}'")
        directions = dict(_directions(contents, source))
        if not directions:
            raise ArtifactError(f"{source} has no direction in it")
        counts = [fields.get(side, "") for side in ("positives", "negatives")]
        if not all(_COUNT.fullmatch(count) for count in counts):
            raise ArtifactError(f"{source} does not say how many prompts it was made of")
        site, family = fields["site"], fields.get("family", "")
        origin = _origin(fields, source)
        if origin is not None and len(directions) > 1:
            raise ArtifactError(f"{source} was captured at one place, and has {len(directions)} layers")
        return cls(site, directions, int(counts[0]), int(counts[1]), family, origin)  # type: ignore[arg-type]


def _origin(fields: Mapping[str, str], source: str) -> Origin | None:
    if "origin" not in fields:
        return None
    origin = decoded(fields["origin"].encode(), Origin, f"the origin in {source}")
    if not 0 <= origin.position < len(origin.ids):
        raise ArtifactError(f"{source} was captured at position {origin.position} of {len(origin.ids)} tokens")
    wrong = next((token for token in origin.ids if not 0 <= token < BEYOND), None)
    if wrong is not None:
        raise ArtifactError(f"{source} was captured in a text with {wrong} in it, which is not a token id")
    if origin.neuron:
        try:
            only_neurons([Unit.parse(origin.neuron)], "an origin")
        except UsageError as error:
            raise ArtifactError(f"{source} was captured for an invalid neuron: {error.message}") from error
    return origin


def check_origin(origin: Origin, anatomy: Anatomy) -> None:
    """Refuse an origin whose text or neuron this model cannot have.

    Raises:
        ArtifactError: the model lacks the token, position or neuron.
    """
    try:
        anatomy.check_tokens(origin.ids)
        anatomy.check_length(len(origin.ids))
        if origin.neuron:
            anatomy.check(*Unit.parse(origin.neuron).site)
    except UsageError as error:
        raise ArtifactError(
            f"the vector's origin does not fit this model: {error.message}", "open the model it was made on"
        ) from error


def _directions(contents: Tensors, source: str) -> Iterator[tuple[int, Tensor]]:
    for name, tensor in contents.tensors.items():
        match = _LAYER.fullmatch(name)
        if match is None or tensor.dtype != "F32" or len(tensor.shape) != 1:
            raise ArtifactError(
                f"{source} has a tensor '{name}' of {tensor.dtype} {list(tensor.shape)}, which is not a direction",
                "a vector has one F32 tensor of one dimension for each layer, such as layer.9",
            )
        numbers = np.frombuffer(tensor.data, "<f4")
        if not np.isfinite(numbers).all():
            raise ArtifactError(f"{source} has a number at layer {match[1]} that is not finite")
        yield int(match[1]), torch.from_numpy(numbers.astype(np.float32))


def check_site(anatomy: Anatomy, site: Where, layer: int) -> None:
    """Raise `ModelError` unless the site can be read and written at a layer of this model."""
    parts = anatomy.layers[layer]
    if site == "neurons" and not all(isinstance(part, DenseSite) for part in parts.sites):
        raise ModelError(
            f"the neurons of layer {layer} are those of a mixture of experts: prompts are sent to different ones",
            "use --site resid_post, or mlp_out for the sum of the experts",
        )
    if site != "neurons":
        writer_of(parts, layer, site)


def width_at(anatomy: Anatomy, site: Where, layer: int) -> int:
    """How many numbers a direction has at a site of a layer."""
    return anatomy.layers[layer].width if site == "neurons" else anatomy.d_model


def length(direction: Tensor) -> float:
    """The Euclidean norm of a direction, in float64, where squares of large numbers do not overflow."""
    return float(direction.double().norm())


def cosine(a: Tensor, b: Tensor) -> float | None:
    """The cosine of two directions; None where one of them is zero."""
    one, other = a.double(), b.double()
    product = float(one.norm() * other.norm())
    return float(one @ other) / product if product else None
