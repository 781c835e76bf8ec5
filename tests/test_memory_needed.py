"""The formulas of peak memory are what is counted, on a small shape; `benchmarks.memory` has the others. What discover
would take can be asked for, and nothing is computed then."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.memory import CARD, WITHIN, Sizes, counted, large_model
from sessions.model.opening import adopt
from sessions.results import Estimated
from sessions.session import Session
from tests.commands.driving import failure, result
from tests.families import tiny, tiny_tokenizer

SIZES = Sizes(3, 96, 128, 384, 4, 2, 128, torch.bfloat16)


@pytest.mark.parametrize("verb", ["discover", "faithfulness", "means"])
def test_a_formula_is_what_is_counted_within_a_tenth(verb: str) -> None:
    (found,) = counted(SIZES, (verb,))
    assert found.apart <= WITHIN, found


def test_every_verb_on_an_8b_model_with_a_prompt_of_4096_tokens_fits_on_a_card_of_80_gb() -> None:
    assert all(size <= CARD for size in large_model().values())


@pytest.fixture
def session(tmp_path: Path) -> Session:
    session = Session(tmp_path / "home")
    session.use_model(adopt(tiny("llama"), tiny_tokenizer(), name="tiny", fingerprint="tiny"))
    result(session, "prompt the cat sat --raw")
    return session


def test_a_dry_run_says_what_discover_takes_and_finds_nothing(session: Session) -> None:
    found = result(session, "discover a --top 7 --dry-run")
    assert isinstance(found, Estimated) and session.circuit is None
    assert (found.forward, found.backward, found.effects, found.prompts) == (1, 1, 7, 1)
    assert found.tokens == len(session.encoded().ids) and found.peak > 0 and found.weights > 0
    assert result(session, "discover a --dry-run --no-verify").effects == 0
    assert result(session, "discover a --method ig --steps 5 --dry-run").forward == 5
    assert "fused" in result(session, "discover a --attention gradient --dry-run").notes[0]


def test_a_dry_run_over_prompts_counts_their_batches(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(f"the cat sat on mat {letter}" for letter in "abcd"), "utf-8")
    found = result(session, f"discover --prompts {file} --batch 1 --no-verify --dry-run")
    assert (found.prompts, found.forward, found.effects) == (4, 4, 0)
    assert result(session, f"discover --prompts {file} --dry-run").forward == 1
    assert failure(session, "discover --prompts nowhere.txt --dry-run").error == "artifact"
