"""Native code of others: what panics is refused when the model is opened, what it cannot do is one plain error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessions.errors import ModelError
from sessions.events import Progress, finished
from sessions.model.background import in_background
from sessions.model.info import Prompt
from sessions.model.native import Broken, is_panic, reading_by
from sessions.model.opening import OpenModel, open_model
from sessions.model.tokens import encode, ids_behind
from tests.families import tiny, tiny_tokenizer

EMPTY = {"String": ""}
#: A map whose first unit sends a reader far beyond its end.
CHARSMAP = "CAAAAP////////8AAAAA"

Tokenizer = dict[str, Any]
PANICS: dict[str, Callable[[Tokenizer], None]] = {
    "a map with no end": lambda told: told.update(normalizer={"type": "Precompiled", "precompiled_charsmap": CHARSMAP}),
    "words of length 0": lambda told: told.update(pre_tokenizer={"type": "FixedLength", "length": 0}),
    "an empty text to replace": lambda told: told.update(
        normalizer={"type": "Replace", "pattern": EMPTY, "content": "x"}
    ),
}


class PanicException(BaseException):
    """What a panic of Rust arrives as."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny("llama").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    return tmp_path


def changed(folder: Path, change: Callable[[Tokenizer], None]) -> Path:
    path = folder / "tokenizer.json"
    told = json.loads(path.read_bytes())
    change(told)
    path.write_text(json.dumps(told))
    return folder


def opened(folder: Path) -> OpenModel:
    return finished(open_model(str(folder), models=folder / "models", device="cpu"))


@pytest.mark.parametrize("name", PANICS)
def test_a_tokenizer_that_panics_is_refused_when_the_model_is_opened(folder: Path, name: str) -> None:
    with pytest.raises(ModelError, match="the tokenizer is broken"):
        opened(changed(folder, PANICS[name]))


def test_a_tokenizer_without_an_unknown_token_reads_what_it_knows_and_refuses_the_rest(folder: Path) -> None:
    def words_alone(told: Tokenizer) -> None:
        model = {"type": "WordLevel", "vocab": {"the": 0, "cat": 1}, "unk_token": "[UNK]"}
        told.update(model=model, pre_tokenizer={"type": "Whitespace"}, post_processor=None, decoder=None)
        told.update(added_tokens=[], normalizer=None)

    tokenizer = opened(changed(folder, words_alone)).tokenizer
    assert encode(tokenizer, Prompt(text="the cat", chat=False)).ids == (0, 1)
    assert ids_behind(tokenizer, "cat") == (1,)
    for refused in (
        lambda: encode(tokenizer, Prompt(text="the dog", chat=False)),
        lambda: ids_behind(tokenizer, "dog"),
    ):
        with pytest.raises(ModelError, match=r"the tokenizer cannot do this: .*UNK"):
            refused()


@pytest.mark.parametrize("template", ["{{" + "(" * 3000 + "1" + ")" * 3000 + "}}", "{{ " + "9" * 5000 + " }}"])
def test_a_template_that_cannot_be_parsed_is_refused_when_it_is_used(folder: Path, template: str) -> None:
    (folder / "chat_template.jinja").write_text(template)
    tokenizer = opened(folder).tokenizer
    with pytest.raises(ModelError, match="the chat template refused the prompt"):
        encode(tokenizer, Prompt(text="the cat"))
    assert encode(tokenizer, Prompt(text="the cat", chat=False)).ids


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_model_whose_files_are_nested_deeply_is_refused(folder: Path, file: str) -> None:
    (folder / file).write_text("[" * 100_000)
    with pytest.raises(ModelError, match="cannot be loaded"):
        opened(folder)


@pytest.mark.parametrize("offsets", [[10**30, 10**30 + 5], [0, -5], [0, 2**40], "ab"])
def test_weights_that_are_not_where_the_header_says_are_refused(folder: Path, offsets: object) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header[next(name for name in header if name != "__metadata__")]["data_offsets"] = offsets
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    with pytest.raises(ModelError, match="is damaged"):
        opened(folder)


def test_a_model_without_layers_is_refused(folder: Path) -> None:
    told = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps({**told, "num_hidden_layers": 0}))
    with pytest.raises(ModelError, match="has no layers"):
        opened(folder)


@pytest.mark.parametrize("data", [b"GGUF", b"GGUF" + b"\xff" * 40, b"GGUF" + (3).to_bytes(4, "little") + b"\0" * 16])
def test_an_incomplete_gguf_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"x\.gguf"):
        finished(open_model(str(path), models=tmp_path / "models", device="cpu"))


def test_a_panic_is_an_error_of_the_model_and_an_interrupt_is_none() -> None:
    assert is_panic(PanicException()) and not is_panic(KeyboardInterrupt())
    with pytest.raises(Broken, match="the tokenizer is broken: index out of bounds"), reading_by():
        raise PanicException("index out of bounds")
    with pytest.raises(KeyboardInterrupt), reading_by():
        raise KeyboardInterrupt


@pytest.mark.parametrize("ending", [PanicException("gone"), SystemExit(3)])
def test_nothing_that_ends_a_thread_ends_who_waits_for_it(ending: BaseException) -> None:
    def work(_: object) -> None:
        raise ending

    with pytest.raises(ModelError, match="loading failed"):
        finished(in_background(work, "loading"))


@pytest.mark.parametrize("end", [PanicException("gone"), SystemExit(3)])
def test_a_verb_that_panics_or_exits_fails_and_the_session_goes_on(
    end: BaseException, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from commands.grammar import VERBS
    from sessions.session import Session
    from tests.commands.driving import failure, result

    def steps(*_: object) -> object:
        yield Progress("working")
        raise end

    session = Session(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(type(VERBS["list"]), "steps", steps)
        failed = failure(session, "list")
    assert failed.error == "model" and "gave up" in failed.message
    assert result(session, "list").rows == ()
    assert "PanicException" not in sys.modules
