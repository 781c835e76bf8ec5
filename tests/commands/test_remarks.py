"""Remarks of the verbs of the prompt: on words that could be comments, on rules that other programs apply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig

from sessions.model.info import ModelInfo
from sessions.session import Session
from tests.commands.driving import failure, result
from tests.families import tiny, tiny_tokenizer


def test_a_word_that_could_be_a_comment_is_said_to_be_text(little: Session) -> None:
    shown = result(little, "prompt the cat #a at #1")
    assert shown.encoded.prompt.text == "the cat #a at #1"
    assert shown.notes[0] == "'#a' is part of the text: a comment has a blank behind its #"
    assert result(little, "prompt the cat  # a comment").encoded.prompt.text == "the cat"
    assert result(little, "seed #1").encoded.prompt.seed == "#1"
    assert result(little, 'prompt "the # cat"').encoded.prompt.text == "the # cat"


def test_no_other_format_is_written_than_was_asked_for(little: Session) -> None:
    refused = failure(little, "export report.html")
    assert "--format json" in refused.hint and not Path("report.html").exists()
    assert result(little, "export report.html --format json").format == "json"
    assert result(little, "export circuit").format == "json"
