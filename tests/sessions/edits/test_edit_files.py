"""Edits on the disk: what is read is what was written, and nothing else is an edit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sessions.artifacts import opened
from sessions.edits.edit import Edit, LowRank, Neurons, Projection
from sessions.edits.files import EditFile
from sessions.errors import ArtifactError
from sessions.files.tensor_file import TensorBytes, Tensors
from sessions.store import Store

OF = {"model": "tiny", "fingerprint": "f" * 64, "command": "rewrite L1/N2"}


def every_kind() -> Edit:
    rng = torch.Generator().manual_seed(0)
    numbers = torch.randn(2, 4, generator=rng)
    basis = torch.linalg.qr(torch.randn(4, 2, generator=rng))[0].T
    return Edit(
        "rewrite",
        "L1/N2 says ' a'",
        (
            Neurons(1, "gate", (2, 7), numbers, before=numbers * 2),
            Neurons(1, "down", (2, 7), numbers, adds=True),
            Projection(0, "attn_out", basis, keeps=True),
            LowRank("layers.0.q_proj", numbers.T, numbers),
        ),
        pushes=True,
        facts={"token": " a\n", "α": "3"},
    )


def test_an_edit_is_read_as_it_was_written(tmp_path: Path) -> None:
    store, edit = Store(tmp_path), every_kind()
    path = store.save("edit", "meow", EditFile(edit), **OF)
    header, file = store.load("edit", "meow", EditFile)
    assert (header.size, header.target) == (4, edit.about)
    found = file.edit
    assert (found.verb, found.about, found.pushes, dict(found.facts)) == ("rewrite", edit.about, True, dict(edit.facts))
    for ours, theirs in zip(edit.changes, found.changes, strict=True):
        assert type(ours) is type(theirs)
        for name, value in vars(ours).items():
            other = getattr(theirs, name)
            assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, name
    assert path.stat().st_size < 8000


@given(st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_every_number_of_a_narrower_dtype_is_kept_exactly(numbers: list[float]) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        values = torch.tensor([numbers]).to(dtype)
        file = EditFile(Edit("x", "", (Neurons(0, "down", (0,), values.float()),)))
        (change,) = EditFile.unpacked(file.packed(), "here").edit.changes
        assert isinstance(change, Neurons) and torch.equal(change.values.to(dtype), values)


def changed(**parts: Any) -> Tensors:
    """The file's contents with other texts, or other tensors."""
    contents = EditFile(every_kind()).packed()
    tensors = {name: value for name, value in parts.items() if isinstance(value, TensorBytes)}
    texts = {name: value for name, value in parts.items() if isinstance(value, str)}
    gone = {name for name, value in parts.items() if value is None}
    fields = {name: value for name, value in (contents.fields | texts).items() if name not in gone}
    return Tensors(fields, {name: value for name, value in (contents.tensors | tensors).items() if name not in gone})


def numbers(*shape: int, value: float = 0.5, dtype: str = "F32") -> TensorBytes:
    return TensorBytes(dtype, shape, np.full(shape, value, "<f4").tobytes())


def changes(**fields: Any) -> str:
    return json.dumps([{"kind": "neurons", "layer": 1, "part": "gate", "indices": [2, 7], "adds": False} | fields])


WRONG: dict[str, dict[str, Any]] = {
    "has no list of changes": {"changes": None},
    "changes nothing": {"changes": "[]", **{f"{n}": None for n in EditFile(every_kind()).packed().tensors}},
    "has no matrix '0.values'": {"0.values": None},
    "has no matrix '2.basis'": {"2.basis": numbers(4)},
    "belongs to none of its changes": {"9.values": numbers(1, 1)},
    "has 3 lines for 2 neurons": {"0.values": numbers(3, 4)},
    "has 1 lines for 2 neurons": {"0.before": numbers(1, 4)},
    "is not orthonormal": {"2.basis": numbers(2, 4)},
    "do not fit each other": {"3.right": numbers(3, 4)},
    "not finite": {"1.values": numbers(2, 4, value=float("inf"))},
    "is of I32": {"1.values": numbers(2, 4, dtype="I32")},
    "Invalid enum value 'sideways'": {"changes": changes(part="sideways")},
    "unknown field `run`": {"changes": changes(run="rm")},
    "changes": {"changes": "{"},
}


@pytest.mark.parametrize("said", WRONG)
def test_a_file_that_is_not_an_edit_is_refused_and_named(said: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        EditFile.unpacked(changed(**WRONG[said]), "meow.safetensors")
    assert said in caught.value.message and "meow.safetensors" in caught.value.message


@given(st.data())
def test_a_damaged_file_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    store = Store(tmp_path_factory.mktemp("home"))
    path = store.save("edit", "meow", EditFile(every_kind()), **OF)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
    torn = data.draw(st.booleans())
    path.write_bytes(whole[:place] if torn else whole[:place] + bytes([other]) + whole[place + 1 :])
    with pytest.raises(ArtifactError):
        opened(path.read_bytes(), "edit", str(path))
        store.load("edit", "meow", EditFile)
