"""Sessions with a tiny model: nothing it says makes sense, everything it does is the product's."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions.circuits.circuit import Circuit
from sessions.model.opening import OpenModel, adopt
from sessions.session import Session
from tests.commands.driving import result
from tests.families import tiny, tiny_tokenizer

TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}. {% endfor %}"


@pytest.fixture(scope="session")
def tiny_llama() -> OpenModel:
    """Three layers of 48 neurons, 64 tokens, no chat template."""
    return adopt(tiny("llama"), tiny_tokenizer(), name="tiny")


@pytest.fixture(scope="session")
def tiny_chat() -> OpenModel:
    """Another tiny model, of other weights, with a chat template."""
    return adopt(tiny("qwen3_moe", seed=1), tiny_tokenizer(template=TEMPLATE), name="tiny-chat")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session without a model, in an empty working directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return Session(tmp_path / "home", journal="test")


@pytest.fixture(scope="session")
def twenty(tmp_path_factory: pytest.TempPathFactory, tiny_llama: OpenModel) -> Circuit:
    """The tiny llama's twenty neurons for " a" behind "the cat", found once in each test process."""
    session = Session(tmp_path_factory.mktemp("twenty"))
    session.model = tiny_llama
    result(session, "prompt the cat")
    circuit = result(session, "discover a --top 20 --keep-universal").circuit
    assert isinstance(circuit, Circuit)
    return circuit


@pytest.fixture
def little(empty: Session, tiny_llama: OpenModel, twenty: Circuit) -> Session:
    """A session with a tiny model, a prompt of six tokens and a circuit of twenty neurons."""
    empty.model = tiny_llama
    result(empty, "set max_tokens 4")
    result(empty, "prompt the cat")
    empty.circuit = twenty
    return empty
