"""`bench` and `model --compile`: what this machine does for the open model."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions.model import compiling
from sessions.session import Session
from sessions.views import view
from sessions.views.blocks import Facts, Table
from tests.commands.conftest import TEMPLATE
from tests.commands.driving import failure, result
from tests.families import tiny, tiny_tokenizer


@pytest.fixture
def session(tmp_path: Path) -> Session:
    for family in ("llama", "gemma3"):
        tiny(family).save_pretrained(tmp_path / family)
        tiny_tokenizer(template=TEMPLATE).save_pretrained(tmp_path / family)
    return Session(tmp_path / "home")


def test_every_piece_of_work_is_timed_beside_its_plain_call(session: Session, tmp_path: Path) -> None:
    result(session, f"model {tmp_path / 'llama'}")
    found = result(session, "bench --tokens 12 --write 4 --effects 3 --repeats 1")
    assert [row.name for row in found.rows] == ["prefill", "decode", "discover", "exact effects", "training step"]
    assert all(row.seconds > 0 and row.rate > 0 and row.raw > 0 for row in found.rows) and not found.notes
    weights = sum(weight.nbytes for weight in session.opened().model.parameters())
    assert 0 < found.read <= weights and found.bandwidth > 1e6 and 0 < found.share < 1


def test_what_was_measured_is_seen(session: Session, tmp_path: Path) -> None:
    result(session, f"model {tmp_path / 'llama'}")
    facts, table = view(result(session, "bench --tokens 12 --write 4 --effects 3 --repeats 1"))
    assert isinstance(facts, Facts) and any("of the bandwidth" in fact.text for fact in facts.items)
    assert isinstance(table, Table) and [row.cells[0] for row in table.rows][:2] == ["prefill", "decode"]


def test_a_model_is_opened_with_a_compiled_step_and_info_says_so(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = compiling.compile_decoding
    monkeypatch.setattr("sessions.model.opening.compile_decoding", lambda model: made(model, "eager"))
    result(session, f"model {tmp_path / 'llama'}")
    result(session, "prompt abc def")
    plain = result(session, "generate --max-tokens 8")
    opened = result(session, f"model {tmp_path / 'llama'} --compile")
    assert opened.info.decoding == "compiled" == result(session, "info").model.decoding
    assert "decoding compiled" in str(view(opened))
    again = result(session, "generate --max-tokens 8")
    compiled = compiling.compiled_decoding(session.opened().model)
    assert compiled is not None and compiled.steps == 7
    assert again.text == plain.text and not again.notes
    swept = result(session, "sweep L0/N3,L1/N7 0 1 2 --max-tokens 6")
    assert compiled.steps > 7 and not any("compiled" in note for note in swept.notes)


def test_a_family_that_cannot_be_compiled_is_opened_and_named(session: Session, tmp_path: Path) -> None:
    opened = result(session, f"model {tmp_path / 'gemma3'} --compile")
    assert opened.info.decoding.startswith("not compiled") and any("gemma3" in note for note in opened.notes)
    assert result(session, "prompt abc --generate").generated is not None


def test_a_text_too_short_to_time_is_refused(session: Session, tmp_path: Path) -> None:
    result(session, f"model {tmp_path / 'llama'}")
    assert "at least 2" in failure(session, "bench --tokens 1").message
