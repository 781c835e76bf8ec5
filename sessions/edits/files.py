"""The file of an edit: safetensors with its deltas, and a JSON list that says what they are deltas of.

    changes    [{"kind": "neurons", "layer": 24, "part": "gate", "indices": [1005], "adds": false}, …]
    0.values   [n, d_model]     0.before [n, d_model]     of the neurons of change 0
    1.basis    [k, d_model]     of a projection
    2.left     [out, r]         2.right  [r, in]          of a low-rank change
    {"kind": "adapter", "name": "fr", "weight": 0.4, "sha256": …}  and  {"kind": "closed", "name": "fr"} have none:
    an adapter stays in its PEFT folder, and is read from there

All numbers are float32, which holds every bfloat16 and float16 exactly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import torch
from msgspec import Struct
from torch import Tensor

from sessions.edits.adapters import Adapter, Disabled
from sessions.edits.edit import Edit, LowRank, Neurons, Projection, WeightChange
from sessions.errors import ArtifactError
from sessions.files.json_text import decoded
from sessions.files.layouts import Header
from sessions.files.tensor_file import TensorBytes, Tensors
from sessions.model.floats import from_bytes, to_bytes
from sessions.model.places import Part, Writer


class _Neurons(Struct, frozen=True, tag="neurons", tag_field="kind", forbid_unknown_fields=True):
    layer: int
    part: Part
    indices: tuple[int, ...]
    adds: bool = False


class _Projection(Struct, frozen=True, tag="projection", tag_field="kind", forbid_unknown_fields=True):
    layer: int
    writer: Writer
    keeps: bool = False


class _LowRank(Struct, frozen=True, tag="low rank", tag_field="kind", forbid_unknown_fields=True):
    weight: str


class _Adapter(Struct, frozen=True, tag="adapter", tag_field="kind", forbid_unknown_fields=True):
    name: str
    weight: float
    sha256: str


class _Closed(Struct, frozen=True, tag="closed", tag_field="kind", forbid_unknown_fields=True):
    name: str


_Described = _Neurons | _Projection | _LowRank | _Adapter | _Closed
#: The name of a projection in a model, `model.layers.3.self_attn.q_proj`, and how long one may be.
_WEIGHT = re.compile(r"(?!__)[A-Za-z0-9_]+(\.(?!__)[A-Za-z0-9_]+)*")
_LONGEST = 300
#: Texts of an edit beside its changes; facts stand under `fact.NAME`.
_FACT = "fact."


class EditFile:
    """An edit as the store packs and unpacks it."""

    def __init__(self, edit: Edit) -> None:
        self.edit = edit

    def __len__(self) -> int:
        return len(self.edit)

    @property
    def target(self) -> str:
        return self.edit.target

    def packed(self) -> Tensors:
        """Its deltas, and the texts beside them."""
        described: list[_Described] = []
        tensors: dict[str, TensorBytes] = {}
        for number, change in enumerate(self.edit.changes):
            about, numbers = _described(change)
            described.append(about)
            tensors |= {f"{number}.{name}": to_bytes(tensor) for name, tensor in numbers.items()}
        fields = {
            "verb": self.edit.verb,
            "about": self.edit.about,
            "pushes": str(self.edit.pushes).lower(),
            "changes": msgspec.json.encode(described).decode(),
            **{f"{_FACT}{name}": text for name, text in self.edit.facts.items()},
        }
        return Tensors(fields, tensors)

    def named(self, header: Header, home: Path) -> Edit:
        """The edit with what the header of its file says of it, and with what the home folder holds of it: an adapter.

        Raises:
            ArtifactError: an adapter that it applies is not there, or another one.
        """
        changes = (change.read(home) if isinstance(change, Adapter) else change for change in self.edit.changes)
        return replace(
            self.edit,
            changes=tuple(changes),
            name=header.name,
            model=header.model,
            fingerprint=header.fingerprint,
            command=header.command,
            sha256=header.sha256,
        )

    @classmethod
    def unpacked(cls, contents: Tensors, source: str) -> EditFile:
        """The edit in a file.

        Raises:
            ArtifactError: it holds something else, or a number that is not finite.
        """
        fields = contents.fields
        if "changes" not in fields:
            raise ArtifactError(f"{source} has no list of changes", "it was not written by this workbench")
        described = decoded(fields["changes"].encode(), tuple[_Described, ...], f"the changes in {source}")
        left = {name: from_bytes(tensor, f"'{name}' of {source}") for name, tensor in contents.tensors.items()}
        changes = tuple(_change(number, about, left, source) for number, about in enumerate(described))
        if left:
            raise ArtifactError(f"{source} has a tensor '{min(left)}' that belongs to none of its changes")
        facts = {name.removeprefix(_FACT): text for name, text in fields.items() if name.startswith(_FACT)}
        if not described:
            raise ArtifactError(f"{source} changes nothing")
        verb, about = fields.get("verb", ""), fields.get("about", "")
        return cls(Edit(verb, about, changes, fields.get("pushes") == "true", facts))


def _described(change: WeightChange) -> tuple[_Described, Mapping[str, Tensor]]:
    if isinstance(change, Neurons):
        numbers = {"values": change.values} | ({} if change.before is None else {"before": change.before})
        return _Neurons(change.layer, change.part, change.indices, change.adds), numbers
    if isinstance(change, Projection):
        return _Projection(change.layer, change.writer, change.keeps), {"basis": change.basis}
    if isinstance(change, Adapter):
        return _Adapter(change.name, change.weight, change.sha256), {}
    if isinstance(change, Disabled):
        return _Closed(change.name), {}
    assert isinstance(change, LowRank)
    return _LowRank(change.weight), {"left": change.left, "right": change.right}


def _change(number: int, about: _Described, left: dict[str, Tensor], source: str) -> WeightChange:
    """One change of a file; its tensors are taken out of those that are left."""

    def taken(name: str) -> Tensor:
        tensor = left.pop(f"{number}.{name}", None)
        if tensor is None or tensor.ndim != 2:
            raise ArtifactError(f"{source} has no matrix '{number}.{name}', which its change {number} is made of")
        return tensor

    if isinstance(about, _Neurons):
        if not about.indices or len(set(about.indices)) < len(about.indices) or min(about.indices) < 0:
            raise ArtifactError(f"{source} changes no neurons, or one neuron twice, in its change {number}")
        before = taken("before") if f"{number}.before" in left else None
        change = Neurons(about.layer, about.part, about.indices, taken("values"), about.adds, before)
        for lines in (change.values, before):
            if lines is not None and len(lines) != len(about.indices):
                raise ArtifactError(f"{source} has {len(lines)} lines for {len(about.indices)} neurons")
        return change
    if isinstance(about, _Projection):
        basis = taken("basis")
        if not len(basis):
            raise ArtifactError(f"{source} removes no direction in its change {number}")
        if not torch.allclose(basis @ basis.T, torch.eye(len(basis)), atol=1e-4):
            raise ArtifactError(f"the basis of change {number} in {source} is not orthonormal")
        return Projection(about.layer, about.writer, basis, about.keeps)
    if isinstance(about, _Adapter):
        return Adapter(about.name, about.weight, about.sha256)
    if isinstance(about, _Closed):
        return Disabled(about.name)
    if len(about.weight) > _LONGEST or not _WEIGHT.fullmatch(about.weight):
        raise ArtifactError(f"{source} changes '{about.weight[:80]}', which is not the name of a projection")
    change_left, right = taken("left"), taken("right")
    if change_left.shape[1] != len(right):
        raise ArtifactError(f"the factors of {about.weight} in {source} do not fit each other")
    return LowRank(about.weight, change_left, right)
