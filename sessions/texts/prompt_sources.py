"""Prompts that a word of a line names: a file of prompts, or a prompt itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sessions.errors import ArtifactError
from sessions.files.disk import read_file
from sessions.texts.prompt_files import JSON, PromptRecord, lines_of, read_prompts

#: A word with such an ending is a file, and never a prompt itself.
_FILES = (*JSON, ".txt")


@dataclass(frozen=True)
class PromptFile:
    """The prompts of a file, and the line number of each."""

    prompts: tuple[PromptRecord, ...]
    lines: tuple[int, ...]


def prompts_in(path: Path, raw: bool = False) -> PromptFile:
    """The prompts in a file, all of them without the chat template if `raw`.

    Raises:
        ArtifactError: it cannot be read, there is no prompt in it, or a line is malformed.
    """
    data = read_file(path.expanduser().absolute())
    return PromptFile(read_prompts(data, str(path), raw=raw), lines_of(data))


def prompts_of(word: str, raw: bool = False) -> tuple[PromptRecord, ...]:
    """The prompts in the file of that name or, if there is none, the word as a prompt.

    Raises:
        ArtifactError: as of `prompts_in`, or the word ends like a file that does not exist.
    """
    path = Path(word)
    try:
        is_file = path.expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long for a path, or not a valid one
        is_file = False
    if is_file:
        return prompts_in(path, raw).prompts
    if word.lower().endswith(_FILES) and not any(map(str.isspace, word)):
        raise ArtifactError(f"there is no file {word}", "if it is a prompt, put a space at its end")
    return (PromptRecord(prompt=word, raw=raw),)
