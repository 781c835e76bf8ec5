"""What may change places on the ledger, and what is refused: a merge is by rounding, or it is not said to be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sessions.edits.edit import Edit, Neurons
from sessions.model.opening import adopt
from sessions.session import Session
from tests.adapters import TARGETS, made
from tests.commands.driving import failure, result
from tests.edits import bits, cut, louder
from tests.families import tiny, tiny_tokenizer

IDS = torch.tensor([[1, 9, 27, 17, 51, 5]])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters of each family: fr and es are LoRA, d is a DoRA; apart is a DoRA of another projection."""
    parent = tmp_path_factory.mktemp("adapters")
    for family in TARGETS:
        for seed, name in enumerate(("fr", "es")):
            made(parent / family / name, family, seed=seed)
        made(parent / family / "d", family, seed=2, use_dora=True)
    made(parent / "llama" / "apart", use_dora=True, target_modules=["o_proj"])
    return parent


def opened(session: Session, family: str = "llama", dtype: torch.dtype = torch.float32) -> Session:
    session.use_model(adopt(tiny(family).to(dtype), tiny_tokenizer(), name=family))
    result(session, "set max_tokens 4")
    return session


@pytest.fixture
def fresh(empty: Session) -> Iterator[Session]:
    yield opened(empty)
    empty.close()


@pytest.fixture
def load(fresh: Session, folders: Path) -> Any:
    """Put adapters of the llama on, by name."""

    def put_on(*names: str) -> list[Any]:
        return [result(fresh, f"adapter load {folders / 'llama' / name}") for name in names]

    return put_on


def logits(session: Session) -> Tensor:
    with torch.no_grad():
        return session.opened().model(IDS).logits


# ---- merging beside a DoRA


@pytest.mark.parametrize("order", [("fr", "d"), ("d", "fr")])
@pytest.mark.parametrize("family", TARGETS)
def test_an_adapter_is_not_merged_beside_a_dora_on_its_projections(
    empty: Session, folders: Path, family: str, order: tuple[str, str]
) -> None:
    session = opened(empty, family)
    for name in order:
        result(session, f"adapter load {folders / family / name}")
    before, was = logits(session), bits(session.opened())
    refused = failure(session, "adapter merge fr")
    assert refused.message.startswith("adapter 'fr' cannot be merged beside 'd', a DoRA on ")
    assert refused.hint == "take that off first: adapter off d"
    assert torch.equal(logits(session), before) and bits(session.opened()) == was
    result(session, "adapter off d")
    alone = logits(session)
    merged = result(session, "adapter merge fr")
    assert merged.apart < 1e-4
    torch.testing.assert_close(logits(session), alone, rtol=1e-3, atol=1e-3)
    session.close()


def test_a_dora_on_other_projections_stands_in_nobody_s_way(load: Any, fresh: Session) -> None:
    load("fr", "apart")
    assert result(fresh, "adapter merge fr").apart < 1e-4


def test_a_dora_says_what_it_scales_beside_what_it_was_trained_on(load: Any, fresh: Session) -> None:
    load("fr", "es")
    result(fresh, "adapter merge es")
    (on,) = load("d")
    assert [note.partition(" model.")[0] for note in on.notes if "DoRA" in note] == [
        "'d' is a DoRA: it scales 'fr' as well, which is beside the weights of",
        "'d' is a DoRA: it scales 'es' as well, which is merged into",
    ]
    (note,) = result(fresh, "adapter unmerge es").notes
    assert note.startswith("'d', a DoRA on ") and note.endswith("finds other weights than before")


def test_an_ensemble_says_that_a_dora_scaled_its_members(load: Any, fresh: Session) -> None:
    load("fr", "es", "d")
    made_ = result(fresh, "ensemble fr=0.5 es=0.5")
    assert any("'d' is a DoRA on the same projections" in note for note in made_.notes)


# ---- what is said to be rounding


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", TARGETS)
def test_a_merge_is_apart_by_rounding_in_every_family_and_dtype(
    empty: Session, folders: Path, family: str, dtype: torch.dtype
) -> None:
    session = opened(empty, family, dtype)
    for name in ("fr", "es"):
        result(session, f"adapter load {folders / family / name}")
    first, second = (result(session, f"adapter merge {name}") for name in ("es", "fr"))
    assert 0 < first.apart < 64 * torch.finfo(dtype).eps and 0 < second.apart < 64 * torch.finfo(dtype).eps
    result(session, "adapter unmerge es")  # the lower of two: they commute
    session.close()


def test_a_merge_that_goes_back_below_what_replaces_its_weights_is_refused(load: Any, fresh: Session) -> None:
    load("fr")
    result(fresh, "adapter merge fr")
    fresh.take_edit(cut(fresh.opened(), keeps=True), "cut", "surgery by hand")
    (note,) = result(fresh, "adapter unmerge fr").notes
    assert note.startswith("edit 'cut' replaces weights of model.layers.1.mlp.down_proj that it was merged into")
    before = logits(fresh)
    refused = failure(fresh, "adapter merge fr")
    assert "which is more than rounding: edit 3, 'cut', lies above it and replaces weights of " in refused.message
    assert refused.hint == "take that off first: edits off 3"
    assert torch.equal(logits(fresh), before)
    result(fresh, "edits off 3")
    assert result(fresh, "adapter merge fr").apart < 1e-4


def test_a_merge_above_what_replaces_weights_is_the_same_sum(load: Any, fresh: Session) -> None:
    load("fr")
    fresh.take_edit(louder(fresh.opened()), "meow", "rewrite by hand")
    fresh.take_edit(cut(fresh.opened()), "cut", "surgery by hand")
    assert result(fresh, "adapter merge fr").apart < 1e-4


def test_what_adds_to_the_weights_commutes(load: Any, fresh: Session) -> None:
    load("fr")
    result(fresh, "adapter merge fr")
    added = Neurons(1, "down", (3,), torch.ones(1, 32), adds=True)
    fresh.take_edit(Edit("rewrite", "more", (added,)), "more", "by hand")
    assert result(fresh, "adapter unmerge fr").notes == ()
    assert result(fresh, "adapter merge fr").apart < 1e-4


# ---- edits of weights that an adapter is beside


@pytest.mark.parametrize(("adapter", "said"), [("fr", "adds to them as before"), ("d", "scales those weights again")])
def test_an_edit_says_which_adapter_is_beside_what_it_changes(
    load: Any, fresh: Session, adapter: str, said: str
) -> None:
    load(adapter)
    for line in ('surgery --layers 1 --tokens " a"', 'rewrite L1/N3 --push " a" --when last --alpha 2'):
        notes = result(fresh, line).notes
        assert any(note.startswith(f"adapter '{adapter}' on model.layers.1.mlp.") and said in note for note in notes)
    result(fresh, "undo 2")
    assert any(said in note for note in result(fresh, "edits load surgery-1").notes)
    assert any(said in note for note in result(fresh, "inspect 2").notes)


def test_an_edit_under_a_dora_is_not_held_against_hooks_and_under_a_lora_it_agrees(load: Any, fresh: Session) -> None:
    result(fresh, "prompt the cat")
    load("fr")
    fresh.take_edit(louder(fresh.opened()), "meow", "rewrite by hand")
    assert result(fresh, "inspect 2").apart < 1e-4
    result(fresh, "undo")
    load("d")
    result(fresh, "edits load meow")
    shown = result(fresh, "inspect 3")
    assert shown.apart is None
    assert any("not compared with the same edit as hooks: 'd', a DoRA on " in note for note in shown.notes)
