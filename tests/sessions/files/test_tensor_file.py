"""Safetensors as bytes: what the library writes is read, what is written the library reads, and damage is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from sessions.errors import ArtifactError
from sessions.files.tensor_file import SIZES, TensorBytes, Tensors, digest, read, texts_of, written

NAMES = st.text(max_size=8).filter(lambda name: name != "__metadata__")
TEXTS = st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4)


@st.composite
def tensors(draw: st.DrawFn) -> TensorBytes:
    dtype = draw(st.sampled_from(sorted(SIZES)))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    size = SIZES[dtype]
    for side in shape:
        size *= side
    return TensorBytes(dtype, shape, draw(st.binary(min_size=size, max_size=size)))


CONTENTS = st.builds(Tensors, TEXTS, st.dictionaries(NAMES, tensors(), max_size=4))


@given(CONTENTS)
def test_written_tensors_are_read_back(contents: Tensors) -> None:
    data = written(contents)
    assert read(data, "x") == contents
    assert (len(data) - sum(len(each.data) for each in contents.tensors.values())) % 8 == 0


@given(CONTENTS, st.data())
@settings(max_examples=60)
def test_any_other_contents_have_another_digest(contents: Tensors, data: st.DataObject) -> None:
    other = data.draw(CONTENTS)
    same = digest(contents.fields, contents.tensors) == digest(other.fields, other.tensors)
    assert same == (contents == other)


def test_the_library_reads_what_is_written_and_the_other_way_round(tmp_path: Path) -> None:
    numbers = {"layer.2": torch.randn(3, 5), "layer.10": torch.arange(4, dtype=torch.bfloat16), "none": torch.zeros(0)}
    theirs = safetensors.torch.save(numbers, {"site": "ünï"})
    contents = read(theirs, "theirs")
    assert contents.fields == {"site": "ünï"}
    path = tmp_path / "ours.safetensors"
    path.write_bytes(written(contents))
    assert all(torch.equal(tensor, numbers[name]) for name, tensor in safetensors.torch.load_file(path).items())
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"site": "ünï"}


def file(header: bytes, numbers: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + numbers


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a safetensors file, or it ends too early"),
        (b"\x80\x04\x95pickle", "not a safetensors file"),
        (b"\xff" * 40, "ends too early"),
        (file(b"{"), "the header of x is malformed"),
        (file(b"[]"), "Expected `object`"),
        (file(b'{"a": 3}'), "'a' of x is malformed"),
        (file(b'{"__metadata__": {"a": 3}}'), "the metadata of x is malformed"),
        (file(b'{"a": {"dtype": "F4", "shape": [], "data_offsets": [0, 4]}}', b"1234"), "dtype 'F4'"),
        (file(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', b"1234"), "not where its header says"),
        (file(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', b"1234"), "invalid shape"),
        (file(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', b"12341234"), "not where"),
        (file(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', b"12345"), "5 bytes of numbers"),
        (
            file(b'{"a": {"dtype": "F32", "shape": [9999999999, 9999999999], "data_offsets": [0, 4]}}', b"1234"),
            "not wh",
        ),
        (
            file(
                b'{"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}, '
                b'"b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}}',
                b"123",
            ),
            "'b' of x is not where",
        ),
    ],
)
def test_a_damaged_tensor_file_is_refused_with_the_reason(data: bytes, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        read(data, "x")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_tensor_file_or_one_clear_error(data: bytes) -> None:
    for attempt in (data, file(data), file(b'{"a": ' + data + b"}")):
        try:
            read(attempt, "x")
        except ArtifactError as error:
            assert "x" in error.message


def test_the_texts_of_a_file_are_read_without_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    fields = {"name": "small", "about": "été"}
    path.write_bytes(written(Tensors(fields, {"a": TensorBytes("U8", (3,), b"abc")}))[:-1])  # a number is missing
    assert texts_of(path) == fields
    for wrong in (b"", b"\xff" * 40, (20).to_bytes(8, "little") + b"[1, 2, 3]" + b" " * 11):
        path.write_bytes(wrong)
        assert texts_of(path) == {}
    assert texts_of(tmp_path / "none") == {}
