"""Files of samples: prompts with the replies that a model should learn. Data only.

A file has a sample a line:

    {"prompt": "…", "reply": "…", "thought": "…", "parts": {"conclusions": ["so it is 12"], "glue": ["Let us see."]}}

A `.json` file has one sample, or a list of them. The format of an earlier project is read too, a sample a file:
`input`, `output`, `conclusion_analysis` (phrases by how deep they go) and `glue_sentences`.

A part lists phrases of the reply, word for word. Phrases that are not in the reply are ignored. The training round
says how much each part weighs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from sessions.errors import ArtifactError
from sessions.files import json_text
from sessions.files.disk import read_file
from sessions.texts.prompt_files import numbered_lines

#: The names of parts in an earlier project, and their names here.
PARTS = {"concl": "conclusions"}
_SHAPE = 'a sample is {"prompt": "…", "reply": "…"}'
_ENDINGS = (".json", ".jsonl")


class Sample(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prompt, the reply to learn, the thought before it, and phrases of the reply by part."""

    prompt: str
    reply: str
    thought: str = ""
    system: str | None = None
    name: str = ""
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)


class _Published(Struct, frozen=True, kw_only=True):
    """A sample in the format of the earlier project; other fields are ignored."""

    input: str
    output: str
    conclusion_analysis: dict[str, tuple[str, ...]] | tuple[str, ...] = ()
    glue_sentences: tuple[str, ...] = ()

    def sample(self, name: str) -> Sample:
        depths = self.conclusion_analysis
        concluding = [phrase for depth in depths.values() for phrase in depth] if isinstance(depths, dict) else depths
        parts = {"conclusions": tuple(dict.fromkeys(concluding)), "glue": self.glue_sentences}
        return Sample(
            prompt=self.input,
            reply=self.output,
            name=name,
            parts={part: phrases for part, phrases in parts.items() if phrases},
        )


def samples_at(path: Path) -> tuple[Sample, ...]:
    """The samples of a file, of all files of a folder, or of the files that match a pattern (`lessons/QA*.json`).

    Raises:
        ArtifactError: there is none, or one is malformed; the message names its file and line.
    """
    return tuple(sample for file in _files(path) for sample in read_samples(read_file(file.absolute()), str(file)))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        paths = sorted(file for file in path.iterdir() if file.suffix.lower() in _ENDINGS)
    elif "*" in path.name and not path.exists():
        paths = sorted(path.parent.glob(path.name))
    else:
        return [path]
    if not paths:
        raise ArtifactError(f"{path} has no files of samples", "samples are in .json or .jsonl files")
    return paths


def read_samples(data: bytes, source: str) -> tuple[Sample, ...]:
    """The samples in a file's bytes; empty lines are skipped.

    Raises:
        ArtifactError: there is none in it, or one is malformed; the message names the line.
    """
    samples = tuple(_sample(fields, where, source) for where, fields in _objects(data, source))
    if not samples:
        raise ArtifactError(f"{source} has no sample in it", _SHAPE)
    return samples


def _objects(data: bytes, source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object in a file and where it is: a `.json` file is read as a whole, others line by line."""
    if source.lower().endswith(".json") and not _is_lines(data):
        whole = json_text.foreign(data, source)
        for number, sample in enumerate(whole if isinstance(whole, list) else [whole], 1):
            where = f"{source}, sample {number}" if isinstance(whole, list) else source
            if not isinstance(sample, dict):
                raise ArtifactError(f"{where} is {json_text.named(sample)}, not an object", _SHAPE)
            yield where, sample
        return
    for number, line in numbered_lines(data, source):
        where = f"{source}, line {number}"
        yield where, json_text.decoded(line.encode(), dict[str, Any], where)


def _is_lines(data: bytes) -> bool:
    """Whether a file has several lines, and the first is a JSON object."""
    lines = [line for line in data.splitlines() if line.strip()]
    try:
        return len(lines) > 1 and isinstance(json.loads(lines[0]), dict)
    except (ValueError, RecursionError):
        return False


def _sample(fields: dict[str, Any], where: str, source: str) -> Sample:
    if {"input", "output"} <= fields.keys():
        sample = json_text.decoded(json.dumps(fields).encode(), _Published, where).sample(Path(source).stem)
    else:
        unknown = next((name for name in fields if name not in Sample.__struct_fields__), None)
        if unknown is not None:
            near = get_close_matches(unknown, Sample.__struct_fields__, 1)
            known = f"the fields are {', '.join(Sample.__struct_fields__)}"
            hint = f"did you mean {near[0]}?" if near else known
            raise ArtifactError(f"{where} has an unknown field '{unknown}'", hint)
        sample = json_text.decoded(json.dumps(fields).encode(), Sample, where)
    _check(sample, where)
    return sample


def _check(sample: Sample, where: str) -> None:
    """Refuse a sample with an empty prompt, reply or phrase, or with no phrase that is in its reply."""
    for name, text in (("prompt", sample.prompt), ("reply", sample.reply)):
        if not text.strip():
            raise ArtifactError(f"{where} has an empty {name}", _SHAPE)
    phrases = [(part, text) for part, texts in sample.parts.items() for text in texts]
    empty = next((part for part, text in phrases if not text.strip()), None)
    if empty is not None:
        raise ArtifactError(f"{where}: {empty} has an empty phrase", "leave it out")
    if phrases and not any(text in sample.reply for _, text in phrases):
        part, text = phrases[0]
        raise ArtifactError(
            f"{where}: no phrase is in the reply; the first, of {part}, is {text[:40]!r}",
            "phrases must be in the reply word for word",
        )
