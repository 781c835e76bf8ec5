"""Corpora: a stream of documents, which is read twice.

What a corpus can be:
    a text file       documents are separated by blank lines, so that a book is its paragraphs
    a JSONL file      a document a line, `{"text": "…"}`; other fields are ignored
    a folder          all files below it that end in .txt, .md, .jsonl or .ndjson, by name
    hf:NAME[:SPLIT]   a data set of the hub, or a folder that `datasets` saved, its column `text` (split: train)
    nothing           `BUILT_IN`, short paragraphs that come with the workbench

The first reading counts the documents and computes their sha256; the second yields them, and must find the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from importlib.util import find_spec
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct

from sessions.cancel import Cancel, look
from sessions.errors import ArtifactError, UsageError
from sessions.events import Progress, Steps
from sessions.files.disk import reading, reported

BUILT_IN = "paragraphs"
_JSON = (".jsonl", ".ndjson")
SUFFIXES = (".txt", ".md", *_JSON)
_HUB = "hf:"
#: Documents between two checks of the cancel flag.
_AT_ONCE = 1000
#: Characters that a text of a file may have.
LONGEST = 2**26
_GONE = "put it back as it was: the same line then goes on where it stopped"


class Survey(Struct, frozen=True):
    """How many documents a corpus has, and the sha256 of their texts."""

    documents: int
    sha256: str


class _Line(Struct, frozen=True):
    text: str


@dataclass
class Corpus:
    """The documents of a corpus, or the first `most` of them.

    `word` is what a user types: see the module. Nothing is read before `surveyed` or `documents` is called.
    """

    word: str = ""
    most: int | None = None
    _hashed: Any = field(default_factory=hashlib.sha256, repr=False)

    @property
    def name(self) -> str:
        return self.word or BUILT_IN

    def surveyed(self, cancel: Cancel | None = None) -> Steps[Survey]:
        """Count the documents, and compute the sha256 of their texts.

        Raises:
            UsageError: there is no such corpus, or `datasets` is needed and not installed.
            ArtifactError: a file cannot be read, or a line of it is malformed; the message says which.
        """
        count = 0
        for _ in self.documents():
            count += 1
            if count % _AT_ONCE == 0:
                if cancel is not None:
                    cancel.look()
                yield Progress("reading the corpus", count, 0, "documents")
        if not count:
            raise UsageError(f"the corpus '{self.name}' has no document in it", "give a file with text in it")
        return Survey(count, self._hashed.hexdigest())

    def documents(self) -> Iterator[str]:
        """Its documents in order, from the first. Raises as `surveyed`."""
        self._hashed = hashlib.sha256()
        for text in islice(self._all(), self.most):
            # With the length before each text, no two corpora are hashed as the same bytes.
            data = text.encode("utf-8", "surrogatepass")
            self._hashed.update(len(data).to_bytes(8, "little") + data)
            yield text

    def check(self, survey: Survey) -> None:
        """Refuse a corpus whose documents, all of which have just been read, differ from those that were surveyed.

        Raises:
            ArtifactError: it was changed meanwhile.
        """
        if self._hashed.hexdigest() != survey.sha256:
            raise ArtifactError(f"the corpus '{self.name}' was changed while it was read", "build the atlas anew")

    def _all(self) -> Iterator[str]:
        if not self.word or (self.word == BUILT_IN and not Path(BUILT_IN).exists()):
            with resources.files("sessions.texts").joinpath("paragraphs.txt").open(encoding="utf-8") as file:
                yield from _paragraphs(file, BUILT_IN)
        elif self.word.startswith(_HUB):
            yield from _of_hub(self.word.removeprefix(_HUB))
        else:
            yield from _of_path(self.word)


def _of_path(word: str) -> Iterator[str]:
    try:
        path = Path(word).expanduser().absolute()
    except RuntimeError as error:
        raise UsageError(f"'{word}' begins with the folder of an unknown user", "put ./ before it") from error
    with reported("read", path, _GONE):
        files = sorted(_texts_below(path)) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"the folder '{word}' has no text files", f"files that end in {', '.join(SUFFIXES)} are read")
    if not path.is_dir() and not path.exists():
        raise ArtifactError(
            f"there is no corpus '{word}'", "a file, a folder, hf:NAME, or none for the one that is built in"
        )
    for file in files:
        yield from _of_file(file)


def _texts_below(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        look()
        if file.suffix.lower() in SUFFIXES:
            yield file


def _of_file(path: Path) -> Iterator[str]:
    with reading(path, _GONE) as file:
        lines = _bounded(TextIOWrapper(file, encoding="utf-8-sig"), str(path))
        try:
            yield from _lines(lines, str(path)) if path.suffix.lower() in _JSON else _paragraphs(lines, str(path))
        except UnicodeDecodeError as error:
            raise ArtifactError(f"{path} is not UTF-8 text", "save it as UTF-8") from error


def _bounded(file: IO[str], source: str) -> Iterator[str]:
    """The lines of a file. One that is too long for memory is refused before it is read."""
    while line := file.readline(LONGEST + 1):
        look()
        _check_length(len(line), source)
        yield line


def _check_length(length: int, source: str) -> None:
    if length > LONGEST:
        raise ArtifactError(
            f"{source} has a text of more than {LONGEST:,} characters", "put blank lines between its paragraphs"
        )


def _paragraphs(lines: Iterable[str], source: str) -> Iterator[str]:
    """Texts between blank lines."""
    text, length = list[str](), 0
    for line in lines:
        if line.strip():
            text.append(line)
            length += len(line)
            _check_length(length, source)
        elif text:
            yield "".join(text).strip()
            text, length = [], 0
    if text:
        yield "".join(text).strip()


def _lines(lines: Iterable[str], source: str) -> Iterator[str]:
    """The texts of JSON lines; an empty text is a document too."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield msgspec.json.decode(line, type=_Line).text
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ArtifactError(
                f"{source}, line {number}, is not a document: {error}", 'expected on each line: {"text": "…"}'
            ) from error


def _of_hub(name: str) -> Iterator[str]:
    """The column `text` of a data set."""
    if find_spec("datasets") is None:
        raise UsageError(
            f"reading {_HUB}{name} needs datasets, which is not installed", "pip install 'neuron-workbench[corpora]'"
        )
    import datasets

    place, _, split = name.partition(":")
    split = split or "train"
    try:
        if Path(place).expanduser().is_dir() and (Path(place).expanduser() / "state.json").exists():
            dataset = datasets.load_from_disk(str(Path(place).expanduser()))
        elif Path(place).expanduser().is_dir() and (Path(place).expanduser() / "dataset_dict.json").exists():
            dataset = datasets.load_from_disk(str(Path(place).expanduser()))[split]
        else:
            dataset = datasets.load_dataset(place, split=split, streaming=True)
        for row in dataset:
            yield str(row["text"])
    except KeyError as error:
        raise ArtifactError(f"the data set {name} has no {error}", "the column 'text' is read") from error
    except Exception as error:  # whatever the network, the hub or a broken file may raise
        if isinstance(error, UsageError | ArtifactError):
            raise
        raise ArtifactError(f"the data set {name} cannot be read: {str(error).splitlines()[0][:200]}") from error
