"""Suppressed neurons are at zero in everything a session computes, and everything says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from commands import run
from sessions.circuits.attributing import attribute
from sessions.circuits.recording import recorded
from sessions.events import Failed, finished
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.interventions.suppressing import Suppression
from sessions.model.hooks import count_hooks
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed
from tests.families import DENSE, MOE, tiny, tiny_tokenizer

NEURONS = (Unit(0, 1), Unit(1, 3), Unit(1, 7))


def opened(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_a_suppressed_model_is_one_with_these_neurons_at_zero(family: str) -> None:
    model = opened(family)
    ids = torch.tensor([list(range(4, 12)), list(range(5, 13))])
    clean = model.model(ids).logits
    suppression = Suppression(model.anatomy, NEURONS)
    with suppression.held(), torch.inference_mode():
        held = model.model(ids).logits
        with suppression.lifted():
            assert torch.equal(model.model(ids).logits, clean)
    with intervening(model.anatomy, [Intervention(NEURONS, 0.0)] * 2), torch.inference_mode():
        torch.testing.assert_close(held, model.model(ids).logits)
    assert not torch.equal(held, clean) and torch.equal(model.model(ids).logits, clean)
    assert count_hooks(model.model) == 0


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2", "mixtral"])
def test_relevance_of_a_suppressed_neuron_is_zero_and_relevance_is_conserved(family: str) -> None:
    model = opened(family)
    with Suppression(model.anatomy, NEURONS).held():
        found = attribute(model.model, model.anatomy, torch.tensor([list(range(4, 12))]), lambda logits: logits[-1, 5])
    sites = [site for layer in model.anatomy.layers for site in layer.sites]
    for neuron in NEURONS:
        site, local = model.anatomy.site_of(neuron.layer, neuron.index)
        known = found.sites[sites.index(site)]
        if known.relevance.shape[1] == site.width:
            assert not known.relevance[:, local].any() and not known.activation[:, local].any()
    assert found.conservation is not None and found.conservation < 1e-4


def test_what_is_recorded_under_a_suppression_is_zero() -> None:
    model = opened("qwen3")
    with Suppression(model.anatomy, NEURONS).held():
        seen = recorded(model, list(range(4, 12)), 8)
    assert not any(float(seen.at(model.anatomy, neuron)) for neuron in NEURONS)


# ---- in a session


@pytest.fixture
def asked(session: Session) -> Session:
    result(session, "prompt What is the capital of Texas?")
    result(session, "seed The capital of Texas is")
    return session


def says(value: Any) -> bool:
    return any("suppressed" in note and note.startswith("computed with") for note in value.notes)


def test_every_result_computed_under_suppression_says_so_and_no_other_does(asked: Session) -> None:
    result(asked, "discover --top 20 --no-verify")
    clean = result(asked, "generate --max-tokens 6")
    ablated = result(asked, "ablate top10 --max-tokens 6")
    shown = result(asked, "suppress top10")
    assert shown.added == 10 and asked.state().suppressed == 10
    under = result(asked, "generate --max-tokens 6")
    assert under.text == ablated.arms[1].text != clean.text and says(under) and not says(clean)
    for line in ("top 3", "discover --top 5 --no-verify", "verify", "neuron L20/N3", "ablate top1 --max-tokens 2"):
        assert says(result(asked, line)), line
    for line in ("info", "list", "set top 20", "tokens"):
        assert not says(result(asked, line)), line
    released = result(asked, "release all")
    assert released.released == 10 and asked.suppressed == ()
    again = result(asked, "generate --max-tokens 6")
    assert again.text == clean.text and not says(again)
    assert count_hooks(asked.opened().model) == 0


def test_effects_under_a_suppression_are_those_of_the_model_without_these_neurons(asked: Session) -> None:
    circuit = result(asked, "discover --top 20 --no-verify").circuit
    first, *others = circuit.neurons
    result(asked, f"suppress {Unit(*first.site)}")
    asked.circuit = circuit
    verified = result(asked, "verify --reference mean")
    by_place = {neuron.place: neuron for neuron in verified.neurons}
    assert by_place[first.place].effect == pytest.approx(0, abs=1e-4)  # its mean is 0 as well
    assert first.site not in {neuron.site for neuron in result(asked, "discover --top 20 --no-verify").circuit.neurons}
    assert any(by_place[other.place].effect for other in others)


def test_a_circuit_says_what_was_suppressed_when_it_was_found(asked: Session) -> None:
    result(asked, "suppress L3/N4")
    circuit = result(asked, "discover --top 5 --no-verify").circuit
    assert circuit.suppressed == ("L3/N4",)
    result(asked, "save under")
    result(asked, "release all")
    assert result(asked, "load under").circuit.suppressed == ("L3/N4",)
    note = "the circuit was found while L3/N4 was suppressed, which it no longer is"
    assert note in result(asked, "ablate --max-tokens 1").notes


def test_a_command_file_may_change_what_is_suppressed(asked: Session, tmp_path: Any) -> None:
    result(asked, "discover --top 10 --no-verify")
    clean = result(asked, "generate --max-tokens 4").text
    result(asked, "suppress top10")
    file = tmp_path / "x.wb"
    file.write_text(f'release all\nexpect circuit.size == 10\ngenerate --max-tokens 4\nexpect text == "{clean}"\n')
    result(asked, f"run {file}")
    assert asked.suppressed == () and count_hooks(asked.opened().model) == 0


def test_a_selection_can_say_suppressed(session: Session) -> None:
    result(session, "suppress L3/N4, L5/N6")
    assert result(session, "suppress L5/N6, L7/N8").notes == ("1 of them are suppressed already",)
    assert [neuron.site for neuron in session.select("suppressed - L5/N6").neurons] == [(3, 4), (7, 8)]
    result(session, "release suppressed - L3/N4")
    assert session.suppressed == (Unit(3, 4),)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("suppress L3/N4@5", "has a position", "suppress L3/N4"),
        ("suppress suppressed", "no neuron is suppressed", "suppress L24/N1005"),
        ("suppress L99/N1", "no layer 99", "layers are 0 to"),
        ("release L3/N4", "nothing is in force on 'L3/N4'", "suppress shows what is"),
    ],
)
def test_suppressing_or_releasing_what_is_not_there_is_refused(
    session: Session, line: str, message: str, hint: str
) -> None:
    with unharmed(session):
        failed = failure(session, line)
    assert message in failed.message and hint in failed.hint


def test_a_cancelled_line_leaves_no_hook_of_the_suppression(asked: Session) -> None:
    result(asked, "suppress L3/N4")
    steps = run(asked, "generate --max-tokens 50")
    for _ in range(3):
        next(steps)
    assert count_hooks(asked.opened().model) > 0
    asked.cancel.request()
    assert any(isinstance(event, Failed) for event in steps)
    assert count_hooks(asked.opened().model) == 0 and asked.suppressed == (Unit(3, 4),)


def test_universal_neurons_are_those_of_the_whole_model(session: Session) -> None:
    result(session, "suppress L0/*")
    with session.suppressing():
        found = finished(session.universal())
    session.suppressed = ()
    assert found == finished(session.universal())
