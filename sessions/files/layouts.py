"""The two file formats of artifacts: JSON that people can read, and safetensors with the header in its metadata.

Both have the same header and a sha256, which are checked before the body is used. In a JSON file the sha256 is over the
body's JSON with sorted keys and no white space, so that reformatting the file does not change it. In a safetensors file
it is over the tensors and all texts of the metadata, the header included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct

from sessions.errors import ArtifactError
from sessions.files import tensor_file
from sessions.files.json_text import decoded, readable
from sessions.files.tensor_file import Tensors

T = TypeVar("T")


class Stamp(Struct, frozen=True):
    """The part of an artifact that no format version may change."""

    kind: str
    format: int


class Header(Struct, frozen=True, kw_only=True):
    """The header of an artifact.

    `model` and `fingerprint` are those of the model it was made on, empty if unknown. `command` is the line that made
    it, `created` the time in UTC, ISO 8601. `size` is the body's length (neurons, layers), and `target` the text of its
    target or its site, if it has one.
    """

    kind: str
    format: int
    name: str
    model: str
    fingerprint: str
    command: str
    created: str
    size: int = 0
    target: str = ""
    sha256: str


class Layout(Protocol):
    """One way to lay out a file. `source` and `what` are how errors name the file."""

    @property
    def suffix(self) -> str:
        """The ending of such files."""

    @property
    def repair(self) -> str:
        """What to do about a file whose sha256 is wrong."""

    def written(self, header: Mapping[str, Any], body: Any, what: str) -> bytes:
        """The bytes of a file, from the header without its sha256, and the body.

        Raises `ArtifactError`: the body cannot be written exactly.
        """

    def stamp(self, data: bytes, source: str) -> Stamp:
        """Kind and format version, which every version of a file has. Raises `ArtifactError`: the file is damaged."""

    def read(self, data: bytes, source: str) -> tuple[Header, Any, str]:
        """The header, the body before it is decoded, and the sha256 of the contents. Raises `ArtifactError`."""

    def body(self, body: Any, body_type: type[T], source: str) -> T:
        """The body as a `body_type`. Raises `ArtifactError`: it has another shape; the message says where."""


class Json:
    """Header and body in one JSON object, the body a msgspec struct."""

    suffix = ".json"
    repair = "to edit it, export it as json and import that"

    def written(self, header: Mapping[str, Any], body: Any, what: str) -> bytes:
        contents = msgspec.to_builtins(body, str_keys=True)
        return readable({**header, "sha256": _digest(contents, what), "body": contents}, what)

    def stamp(self, data: bytes, source: str) -> Stamp:
        return decoded(data, Stamp, source)

    def read(self, data: bytes, source: str) -> tuple[Header, Raw, str]:
        body = decoded(data, _Whole, source).body
        return decoded(data, Header, source), body, _digest(decoded(bytes(body), Any, source), source)

    def body(self, body: Raw, body_type: type[T], source: str) -> T:
        try:
            return msgspec.json.decode(body, type=body_type)
        except msgspec.ValidationError as error:
            raise ArtifactError(f"{source} has a malformed body: {error}") from error


class _Whole(Struct, frozen=True):
    body: Raw


class Packed(Protocol):
    """A body that consists of tensors, and of texts whose names are not those of the header's fields."""

    def packed(self) -> Tensors:
        """Its tensors and texts."""

    @classmethod
    def unpacked(cls, contents: Tensors, source: str) -> Packed:
        """The body from its tensors and texts. Raises `ArtifactError`: they do not make one; `source` names them."""


class Safetensors:
    """A safetensors file: its metadata has the header and the texts of the body, its tensors are those of the body."""

    suffix = ".safetensors"
    repair = "make it again, or restore an earlier one"

    def written(self, header: Mapping[str, Any], body: Packed, what: str) -> bytes:
        return b"".join(self.pieces(header, body, what))

    def pieces(self, header: Mapping[str, Any], body: Packed, what: str) -> list[bytes]:
        """The bytes of `written` in pieces, for large bodies: no tensor is copied."""
        contents = body.packed()
        fields = {**contents.fields, **{name: str(value) for name, value in header.items()}}
        try:
            fields["sha256"] = tensor_file.digest(fields, contents.tensors)
        except UnicodeEncodeError as error:
            raise _no_unicode(what, error) from error
        return tensor_file.pieces(Tensors(fields, contents.tensors))

    def stamp(self, data: bytes, source: str) -> Stamp:
        return _from_texts(tensor_file.read(data, source).fields, Stamp, source)

    def read(self, data: bytes, source: str) -> tuple[Header, Tensors, str]:
        contents = tensor_file.read(data, source)
        texts = {name: text for name, text in contents.fields.items() if name != "sha256"}
        own = {name: text for name, text in texts.items() if name not in Header.__struct_fields__}
        header = _from_texts(contents.fields, Header, source)
        return header, Tensors(own, contents.tensors), tensor_file.digest(texts, contents.tensors)

    def body(self, body: Tensors, body_type: type[T], source: str) -> T:
        return body_type.unpacked(body, source)  # type: ignore[attr-defined]


def _from_texts(fields: Mapping[str, str], shape: type[T], source: str) -> T:
    try:
        return msgspec.convert(fields, shape, strict=False)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{source} was not written by this workbench, or is malformed: {error}") from error


def _digest(contents: Any, what: str) -> str:
    try:
        return hashlib.sha256(msgspec.json.encode(contents, order="sorted")).hexdigest()
    except UnicodeEncodeError as error:
        raise _no_unicode(what, error) from error


def _no_unicode(what: str, error: UnicodeEncodeError) -> ArtifactError:
    return ArtifactError(f"{what} holds text that is not valid Unicode: {ascii(error.object)[:60]}")
