"""`FittedLens`: for each layer, an affine map of its states into the basis of the last layer; saved by name.

A state h is read as head(norm(M h + b)). A tuned lens has M and b by training (`tuning`), a Jacobian or a relevance
lens has M alone, a mean derivative (`jacobians`).

A file has a float32 tensor `layer.12.map`, `[d_model, d_model]`, for each
layer, `layer.12.bias`, `[d_model]`, where there is one, and `embeddings.map` for what goes into the first layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import torch
from torch import Tensor

from sessions.errors import ArtifactError, UsageError
from sessions.files.disk import LARGEST
from sessions.files.tensor_file import Tensors
from sessions.lenses.findings import EMBEDDINGS, LensAbout
from sessions.lenses.readout import Translate
from sessions.model.floats import to_bytes
from sessions.model.parts import Anatomy

_ABOUT = "about"
_NAME = re.compile(r"(?:layer\.(0|[1-9][0-9]{0,8})|(embeddings))\.(map|bias)")


@dataclass(frozen=True, eq=False)
class FittedLens:
    """Maps `[d_model, d_model]` and biases `[d_model]` by layer, float32; layer −1 is the output of the embeddings.

    `name`, `model` and `fingerprint` are in the header of a file, not in its body.
    """

    about: LensAbout
    maps: Mapping[int, Tensor]
    biases: Mapping[int, Tensor] = field(default_factory=dict)
    name: str = ""
    model: str = ""
    fingerprint: str = ""

    def __len__(self) -> int:
        """The number of layers with a map."""
        return len(self.maps)

    @property
    def target(self) -> str:
        """Its kind, and what it was fitted on, for a listing."""
        return f"{self.about.kind}, {self.about.over}"

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(sorted(self.maps))

    def named(self, name: str, model: str, fingerprint: str) -> FittedLens:
        """The same lens with the fields of a file's header."""
        return replace(self, name=name, model=model, fingerprint=fingerprint)

    def check(self, anatomy: Anatomy) -> None:
        """Raise `ArtifactError` unless the model has these layers, as wide as the maps are."""
        for layer, matrix in self.maps.items():
            if layer >= anatomy.n_layers:
                raise ArtifactError(
                    f"the lens has a map for layer {layer}, and this model's layers are 0 to {anatomy.n_layers - 1}",
                    "fit one on this model: lens fit NAME",
                )
            if len(matrix) != anatomy.d_model:
                raise ArtifactError(
                    f"the lens is for states of {len(matrix):,} numbers, and this model's have {anatomy.d_model:,}",
                    "fit one on this model: lens fit NAME",
                )

    def translations(self) -> dict[int, Translate]:
        """How the states of each layer are moved into the basis of the last."""
        return {layer: translation(matrix, self.biases.get(layer)) for layer, matrix in self.maps.items()}

    def packed(self) -> Tensors:
        """Its tensors with their manifest."""
        tensors = {f"{_stem(layer)}.map": to_bytes(values) for layer, values in self.maps.items()}
        tensors |= {f"{_stem(layer)}.bias": to_bytes(values) for layer, values in self.biases.items()}
        return Tensors({_ABOUT: msgspec.json.encode(self.about).decode()}, tensors)

    @classmethod
    def unpacked(cls, contents: Tensors, source: str) -> FittedLens:
        """The lens in a file.

        Raises:
            ArtifactError: it holds something else, or a number that is not finite.
        """
        try:
            about = msgspec.json.decode(contents.fields.get(_ABOUT, ""), type=LensAbout)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ArtifactError(f"{source} has no valid manifest of a lens: {error}") from error
        found: dict[str, dict[int, Tensor]] = {"map": {}, "bias": {}}
        for part, layer, values in _numbers(contents, source):
            found[part][layer] = values
        maps, biases = found["map"], found["bias"]
        widths = {side for values in (*maps.values(), *biases.values()) for side in values.shape}
        if not maps or len(widths) > 1 or not biases.keys() <= maps.keys():
            raise ArtifactError(f"{source} has no square maps of one width, one for each layer")
        return cls(about, maps, biases)


def translation(matrix: Tensor, bias: Tensor | None) -> Translate:
    """M h + b of states `[…, d_model]`, on their device."""
    placed: dict[torch.device, tuple[Tensor, Tensor | None]] = {}

    def translate(states: Tensor) -> Tensor:
        if states.device not in placed:
            placed[states.device] = matrix.to(states.device), None if bias is None else bias.to(states.device)
        return torch.nn.functional.linear(states, *placed[states.device])

    return translate


def check_fittable(anatomy: Anatomy, layers: Sequence[int]) -> None:
    """Raise `UsageError` if a lens for these layers would be larger than what is saved in one file."""
    each = 4 * anatomy.d_model * (anatomy.d_model + 1)
    most = (LARGEST - 2**20) // each
    if len(layers) > most:
        raise UsageError(
            f"a lens for {len(layers)} layers of this model has {len(layers) * each / 2**30:.1f} GiB, and a file at "
            f"most {LARGEST / 2**30:.1f}",
            f"fit at most {most} layers: --layers {max(0, layers[-1] - most + 1)}-{layers[-1]}",
        )


def _stem(layer: int) -> str:
    return "embeddings" if layer == EMBEDDINGS else f"layer.{layer}"


def _numbers(contents: Tensors, source: str) -> Iterator[tuple[str, int, Tensor]]:
    for name, tensor in contents.tensors.items():
        match = _NAME.fullmatch(name)
        dimensions = 0 if match is None else {"map": 2, "bias": 1}[match[3]]
        if match is None or tensor.dtype != "F32" or len(tensor.shape) != dimensions:
            raise ArtifactError(
                f"{source} has a tensor '{name}' of {tensor.dtype} {list(tensor.shape)}, which is no part of a lens"
            )
        numbers = np.frombuffer(tensor.data, "<f4").reshape(tensor.shape)
        if not np.isfinite(numbers).all():
            raise ArtifactError(f"{source} has a number in '{name}' that is not finite")
        yield match[3], EMBEDDINGS if match[2] else int(match[1]), torch.from_numpy(numbers.astype(np.float32))
