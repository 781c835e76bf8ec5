"""Files of prompts, as the words of a line name them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sessions.errors import ArtifactError
from sessions.files.disk import read_file
from sessions.texts.prompt_files import JSON, PromptRecord, lines_of, read_prompts

#: Endings of what is meant as a file, and so is no prompt where it is missing.
_FILES = (*JSON, ".txt")


@dataclass(frozen=True)
class PromptFile:
    """The prompts of a file, and the line that each stands in."""

    prompts: tuple[PromptRecord, ...]
    lines: tuple[int, ...]


def prompts_in(path: Path, raw: bool = False) -> PromptFile:
    """The prompts in a file, all of them without the chat template if `raw`.

    Raises:
        ArtifactError: it cannot be read, there is no prompt in it, or a line is not one.
    """
    data = read_file(path.expanduser().absolute())
    return PromptFile(read_prompts(data, str(path), raw=raw), lines_of(data))


def prompts_of(word: str, raw: bool = False) -> tuple[PromptRecord, ...]:
    """The prompts in a file or, where there is no such file, the one that the word is.

    Raises:
        ArtifactError: as of `prompts_in`, or the word can only be meant as a file, and there is none.
    """
    path = Path(word)
    try:
        is_file = path.expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long, or no path at all
        is_file = False
    if is_file:
        return prompts_in(path, raw).prompts
    if word.lower().endswith(_FILES) and not any(map(str.isspace, word)):
        raise ArtifactError(f"there is no file {word}", "a prompt that looks like a file needs a space at its end")
    return (PromptRecord(prompt=word, raw=raw),)
