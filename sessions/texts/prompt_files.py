"""Files of prompts: one a line, as JSON or as plain text.

    {"prompt": "The keys near the cabinet", "target": " are", "counterfactual": " is", "raw": true}
    {"prompt": "The keys near the cabinet", "corrupt": "The key near the cabinet", "target": " are"}

Only `prompt` is needed. A file that does not end in .jsonl, .json or .ndjson is plain text, a prompt a line. Files may
come from strangers: they are parsed and checked, and nothing in them runs. An error names the line.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from msgspec import Struct, structs

from sessions.cancel import look
from sessions.errors import ArtifactError
from sessions.files.json_text import decoded
from sessions.model.info import Prompt

#: Endings of files that hold JSON.
JSON = (".jsonl", ".json", ".ndjson")


class PromptRecord(Struct, frozen=True, kw_only=True):
    """A prompt, with its target and counterfactual.

    `target` and `counterfactual` are texts as they would follow the prompt, with their leading space. By default they
    are the model's likeliest next token and the strongest other one. `corrupt` is another prompt with as many tokens,
    in which the target is wrong: `patch` moves activations between the two. It is read as the prompt is, with the same
    seed and template. `seed`, `system`, `thinking` and `raw` (no chat template) are as in the verb `prompt`.
    """

    prompt: str
    target: str = ""
    counterfactual: str = ""
    seed: str = ""
    raw: bool = False
    system: str | None = None
    thinking: bool | None = None
    corrupt: str = ""

    def to_read(self) -> Prompt:
        """The prompt for the model to read."""
        return Prompt(text=self.prompt, seed=self.seed, chat=not self.raw, system=self.system, thinking=self.thinking)

    def corrupt_to_read(self) -> Prompt | None:
        """The corrupt prompt for the model to read; None if there is none."""
        return structs.replace(self.to_read(), text=self.corrupt) if self.corrupt else None


def read_prompts(data: bytes, source: str, *, raw: bool = False) -> tuple[PromptRecord, ...]:
    """The prompts in a file's bytes, in order; empty lines are skipped.

    Args:
        source: the file's name: its ending says how it is read, and errors name it.
        raw: read all of them without the chat template.

    Raises:
        ArtifactError: there is no prompt in it, or a line is malformed; the message names the line.
    """
    lines = list(numbered_lines(data, source))
    if not lines:
        raise ArtifactError(f"{source} has no prompt in it", 'a prompt a line: {"prompt": "…", "target": " …"}')
    as_json = source.lower().endswith(JSON)
    records = (
        _line(line, f"{source}, line {number}") if as_json else PromptRecord(prompt=line) for number, line in lines
    )
    return tuple(structs.replace(record, raw=record.raw or raw) for record in records)


def numbered_lines(data: bytes, source: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not empty, with their numbers from 1.

    Raises:
        ArtifactError: it is not UTF-8.
    """
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ArtifactError(f"{source} is not UTF-8 text: line {line}", "save it as UTF-8") from error
    return _numbered(text)


def lines_of(data: bytes) -> tuple[int, ...]:
    """The line numbers of the prompts that `read_prompts` finds, in order."""
    return tuple(number for number, _ in _numbered(data.decode()))


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers from 1."""
    for number, line in enumerate(text.split("\n"), 1):
        look()
        if line.strip():
            yield number, line.strip("\r")


def _line(line: str, source: str) -> PromptRecord:
    fields = decoded(line.encode(), dict[str, object], source)
    known = PromptRecord.__struct_fields__
    unknown = next((name for name in fields if name not in known), None)
    if unknown is not None:
        near = get_close_matches(unknown, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(known)}"
        raise ArtifactError(f"{source} has an unknown field '{unknown}'", hint)
    record = decoded(line.encode(), PromptRecord, source)
    if not record.prompt.strip() and not record.seed.strip():
        raise ArtifactError(f"{source} has an empty prompt", 'for example: {"prompt": "The keys", "target": " are"}')
    return record
