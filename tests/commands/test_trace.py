"""`trace`, as typed, on a tiny model: noise on a subject, and what restoring clean states gives back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from sessions.events import Partial
from sessions.model.hooks import after, before, together
from sessions.patching.tracing import drawn_noise, embedding_deviation, embedding_width
from sessions.session import Session
from tests.commands.driving import events_of, failure, result, unharmed


@torch.inference_mode()
def by_hook(session: Session, noise: torch.Tensor, token: int, layers: range = range(0), position: int = 0) -> float:
    """The probability of a token with noise on the embeddings and clean outputs of layers at a position, one pass."""
    opened, ids = session.opened(), torch.tensor([session.encoded().ids])
    clean: list[torch.Tensor] = []
    blocks = [opened.anatomy.layers[layer].block for layer in layers]

    def keep(_: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        clean.append(output.clone())
        return output

    with together(after(block, keep) for block in blocks):
        opened.model(ids, use_cache=False)

    def put(state: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        def change(_: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
            changed = output.clone()
            changed[0, position] = state[0, position]
            return changed

        return change

    hooks = [after(block, put(state)) for block, state in zip(blocks, clean, strict=True)]
    with together([before(opened.anatomy.layers[0].block, lambda hidden: hidden + noise), *hooks]):
        logits = opened.model(ids, use_cache=False).logits[0, -1].float()
    return float(logits.softmax(-1)[token])


def test_a_cell_is_the_mean_probability_with_the_state_restored(little: Session) -> None:
    shown = result(little, "trace a --subject cat --seeds 3 --seed 7 --noise 2")
    first, last = shown.span
    assert (shown.subject, first, last) == (" cat", 3, 5) and shown.map.columns == (3, 4, 5)
    deviation = 2 * embedding_deviation(little.opened())
    shape = len(little.encoded().ids), embedding_width(little.opened())
    noises = [drawn_noise(deviation, range(first, last + 1), shape, 7 + draw) for draw in range(3)]
    assert all(not noise[:first].any() for noise in noises)

    def mean(layers: range = range(0), position: int = 0) -> float:
        return float(sum(by_hook(little, noise, shown.token.id, layers, position) for noise in noises)) / 3

    assert shown.corrupt == pytest.approx(mean(), abs=1e-5)
    assert shown.clean == pytest.approx(by_hook(little, torch.zeros(shape), shown.token.id), abs=1e-5)
    for layer in range(3):
        for column, position in enumerate(shown.map.columns):
            there = mean(range(layer, layer + 1), position)
            assert shown.map.cells[layer][column] == pytest.approx(there, abs=1e-5)


def test_restoring_the_last_state_of_the_last_layer_restores_the_target(little: Session) -> None:
    shown = result(little, "trace --subject cat --seeds 2")
    assert shown.map.cells[2][-1] == pytest.approx(shown.clean, abs=1e-5)
    assert shown.clean != pytest.approx(shown.corrupt, abs=1e-3)


def test_noise_is_drawn_from_its_seed(little: Session) -> None:
    one, two, other = (result(little, f"trace a --subject cat --seeds 2 --seed {seed}") for seed in (1, 1, 2))
    assert one == two and one.map != other.map


def test_windows_restore_several_layers(little: Session) -> None:
    wide = result(little, "trace a --subject cat --seeds 2 --site mlp_out")
    narrow = result(little, "trace a --subject cat --seeds 2 --site mlp_out --window 1")
    assert (wide.window, narrow.window) == (10, 1)
    assert wide.map.cells[0] == pytest.approx(wide.map.cells[2], abs=1e-6)  # a window of ten is all three layers
    assert wide.map.cells[1] != pytest.approx(narrow.map.cells[1], abs=1e-4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trace", "trace needs"),
        ("trace --subject dog", "does not stand in the text"),
        ("trace --subject cat --noise 0", "not a number above 0"),
        ("trace --subject cat --site heads", "heads"),
        ("trace --subject cat --layers 5-9", "there is no layer 9"),
        ("trace --subject cat --at 12", "no position 12"),
    ],
)
def test_what_cannot_be_traced_is_refused(little: Session, line: str, message: str) -> None:
    with unharmed(little):
        assert message in failure(little, line).message


def test_the_map_so_far_is_shown(little: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions.events._BETWEEN", 0.0)
    partial = [event.value for event in events_of(little, "trace a --subject cat") if isinstance(event, Partial)]
    assert partial and partial[0].so_far.done < partial[0].so_far.of
