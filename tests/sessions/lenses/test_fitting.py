"""Fitted lenses: what training lowers, which derivative a Jacobian is, and files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sessions.artifacts import KINDS
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.events import finished
from sessions.lenses.findings import EMBEDDINGS, LensAbout
from sessions.lenses.fitted import FittedLens, check_fittable, translation
from sessions.lenses.jacobians import Derivative, jacobians
from sessions.lenses.quality import measured_on, split
from sessions.lenses.readout import states_between
from sessions.lenses.tuning import TuningRecipe, tuned
from sessions.model.hooks import after, count_hooks
from sessions.model.opening import OpenModel, adopt
from sessions.store import Store
from tests.families import ALL, DENSE, NO_RULE, tiny, tiny_tokenizer

IDS = (1, 10, 11, 12, 13, 30, 9, 7, 22, 18, 19, 5)
ABOUT = LensAbout(kind="tuned", over="a text", texts=1, tokens=2, held_out=0, recipe="none")


def opened(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def texts(count: int, seed: int) -> list[tuple[int, ...]]:
    """Random texts, which the same tokens follow each other in again and again."""
    generator = torch.Generator().manual_seed(seed)
    return [(1, *torch.randint(4, 24, (14,), generator=generator).tolist()) for _ in range(count)]


# ---- tuned


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "gemma3n"])
def test_tuning_lowers_the_divergence_on_texts_that_were_held_out(family: str) -> None:
    model = opened(family)
    maps = finished(tuned(model, texts(20, 0), [EMBEDDINGS, 0, 1], TuningRecipe(steps=40, batch=64)))
    translations = FittedLens(
        ABOUT, {layer: m for layer, (m, _) in maps.items()}, {layer: b for layer, (_, b) in maps.items()}
    ).translations()
    tokens, quality = finished(measured_on(model, texts(5, 1), translations))
    assert tokens == 5 * 14 and [row.layer for row in quality] == [EMBEDDINGS, 0, 1]
    assert all(row.fitted < 0.9 * row.plain for row in quality), quality
    assert not any(parameter.requires_grad for parameter in model.model.parameters())
    assert count_hooks(model.model) == 0


def test_training_depends_on_nothing_but_the_recipe() -> None:
    model, recipe = opened("llama"), TuningRecipe(steps=3, batch=16)
    one, again = (finished(tuned(model, texts(6, 0), [1], recipe)) for _ in range(2))
    other = finished(tuned(model, texts(6, 0), [1], TuningRecipe(steps=3, batch=16, rng=1)))
    assert torch.equal(one[1][0], again[1][0]) and torch.equal(one[1][1], again[1][1])
    assert not torch.equal(one[1][0], other[1][0])
    with pytest.raises(UsageError, match="no text to fit"):
        finished(tuned(model, [(1,)], [1], recipe))


def test_some_texts_are_held_out() -> None:
    many = texts(21, 0)
    parts = split(many)
    assert set(parts.fitted) | set(parts.held_out) == set(many) and not set(parts.fitted) & set(parts.held_out)
    assert len(parts.held_out) == 2 and split(many[:2]).held_out == (many[1],)
    assert split(many[:1]) == ((many[0],), ())


# ---- derivatives


@pytest.mark.parametrize("family", [family for family in ALL if family != "gemma3n"])
def test_a_jacobian_is_how_the_last_states_move(family: str) -> None:
    """A step of all states of a layer, at once, against the mean Jacobian times that step."""
    model, skip = opened(family), 3
    found, count, positions = finished(jacobians(model, [IDS], [EMBEDDINGS, 1], Derivative(skip=skip)))
    kept = range(skip, len(IDS) - 1)
    assert (count, positions) == (1, len(kept)) and set(found) == {EMBEDDINGS, 1}
    step = 1e-2 * torch.randn(model.anatomy.d_model, generator=torch.Generator().manual_seed(0))

    def moved(sign: float) -> torch.Tensor:
        def push(_: torch.Tensor, output: object) -> object:
            hidden = model.anatomy.residual(output).clone()
            hidden[0, kept.start : kept.stop] += sign * step
            return model.anatomy.with_residual(output, hidden)

        with torch.no_grad(), after(model.anatomy.layers[1].block, push):
            return states_between(model, IDS, kept).states[-1][0].sum(0)

    expected = (moved(1) - moved(-1)) / 2 / len(kept)
    # A finite step meets curvature, and a router that it turns; a wrong Jacobian is off by as much as it is long.
    assert float((found[1] @ step - expected).norm() / expected.norm()) < 2e-2


def test_texts_count_alike_and_short_ones_are_left_out() -> None:
    model, derivative = opened("llama"), Derivative(skip=3)
    one, other = (finished(jacobians(model, [ids], [1], derivative))[0][1] for ids in (IDS, IDS[::-1][:8]))
    both, count, _ = finished(jacobians(model, [IDS, IDS[::-1][:8], IDS[:4]], [1], derivative))
    assert count == 2 and torch.allclose(both[1], (one + other) / 2, atol=1e-5)
    with pytest.raises(UsageError, match="no text has more than 17 tokens") as short:
        finished(jacobians(model, [IDS], [1], Derivative()))
    assert "--skip" in short.value.hint
    assert count_hooks(model.model) == 0


#: Families without biases, whose layers take nothing but the state of the layer below.
CARRYING = [family for family in DENSE if family not in (*NO_RULE, "gpt2", "gpt_neo", "gpt_neox", "gemma4")]


@pytest.mark.parametrize("family", CARRYING)
def test_the_relevance_form_carries_a_state_to_the_last_layer(family: str) -> None:
    """At the first position nothing else comes in: in the linear network, its state times the matrix is its last."""
    model = opened(family)
    found, _, _ = finished(jacobians(model, [IDS[:2]], [EMBEDDINGS, 0, 1], Derivative(linear=True, skip=0)))
    with torch.inference_mode():
        states = dict(zip((EMBEDDINGS, 0, 1, 2), states_between(model, IDS[:2], range(1)).states, strict=True))
    last = states[2][0, 0]
    for layer in (1, 0, EMBEDDINGS):
        carried = found[layer] @ states[layer][0, 0]
        assert float((carried - last).norm() / last.norm()) < 1e-3, layer


@pytest.mark.parametrize("family", NO_RULE)
def test_a_relevance_lens_is_refused_where_the_rules_do_not_reach(family: str) -> None:
    with pytest.raises(ModelError, match="a relevance lens cannot be fitted"):
        finished(jacobians(opened(family), [IDS], [1], Derivative(linear=True, skip=1)))


def test_several_residual_streams_have_no_jacobian_lens() -> None:
    with pytest.raises(ModelError, match="several residual streams"):
        finished(jacobians(opened("gemma3n"), [IDS], [1], Derivative(skip=1)))


# ---- files


def test_a_saved_lens_is_the_same_to_the_bit(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = {layer: torch.randn(8, 8, generator=generator) for layer in (EMBEDDINGS, 0, 12)}
    lens = FittedLens(ABOUT, maps, {12: torch.randn(8, generator=generator)})
    store = Store(tmp_path)
    store.save("lens", "mine", lens, model="m", fingerprint="f", command="lens fit mine")
    header, read = store.load("lens", "mine", FittedLens)
    assert header.size == 3 and header.target == "tuned, a text" and read.about == ABOUT
    assert set(read.maps) == set(maps) and all(torch.equal(read.maps[layer], maps[layer]) for layer in maps)
    assert torch.equal(read.biases[12], lens.biases[12]) and read.layers == (EMBEDDINGS, 0, 12)
    state = torch.randn(3, 8, generator=generator)
    assert torch.allclose(translation(maps[12], lens.biases[12])(state), state @ maps[12].T + lens.biases[12])


@pytest.mark.parametrize(
    ("maps", "biases", "message"),
    [
        ({}, {}, "no square maps"),
        ({0: torch.zeros(3, 4)}, {}, "no square maps"),
        ({0: torch.zeros(3, 3), 1: torch.zeros(4, 4)}, {}, "no square maps"),
        ({0: torch.zeros(3, 3)}, {1: torch.zeros(3)}, "no square maps"),
        ({0: torch.full((3, 3), torch.nan)}, {}, "not finite"),
        ({0: torch.zeros(3)}, {}, "no part of a lens"),
    ],
)
def test_a_file_with_something_else_is_refused(
    tmp_path: Path, maps: dict[int, torch.Tensor], biases: dict[int, torch.Tensor], message: str
) -> None:
    store = Store(tmp_path)
    store.save("lens", "mine", FittedLens(ABOUT, maps, biases), model="m", fingerprint="f", command="")
    with pytest.raises(ArtifactError, match=message):
        store.load("lens", "mine", FittedLens)


def test_a_lens_that_no_file_could_hold_is_refused_before_it_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    from sessions.lenses import fitted

    model = opened("llama")
    check_fittable(model.anatomy, range(EMBEDDINGS, 2))
    monkeypatch.setattr(fitted, "LARGEST", 2**20 + 2 * 4 * 32 * 33)
    with pytest.raises(UsageError, match="a lens for 3 layers") as refused:
        check_fittable(model.anatomy, range(EMBEDDINGS, 2))
    assert "--layers 0-1" in refused.value.hint
    assert KINDS["lens"].folder == "lenses"
