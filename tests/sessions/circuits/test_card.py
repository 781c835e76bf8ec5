"""The card of a neuron says what attribution, ablation and the weights say, each looked up by itself."""

from __future__ import annotations

import pytest
import torch

from sessions.circuits import card
from sessions.circuits.attributing import attribute
from sessions.directions.reading import reads
from sessions.events import finished
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model.info import Token
from sessions.model.logits import value_of
from sessions.model.opening import OpenModel, adopt
from sessions.model.target import Target
from sessions.model.units import Unit
from tests.families import DENSE, MOE, tiny, tiny_tokenizer

IDS = (1, 6, 20, 9, 33, 40, 7)
TOKENS = tuple("abcdefg")
TARGET = Target(tokens=(Token(12, "g"),), counterfactual=Token(13, "h"))


def _opened(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def _attribution(opened: OpenModel):
    return attribute(opened.model, opened.anatomy, torch.tensor([IDS]), lambda logits: value_of(TARGET, logits))


@pytest.mark.parametrize("family", [each for each in DENSE if each != "gemma3n"])
def test_moments_are_the_attributions_of_that_neuron(family: str) -> None:
    opened = _opened(family)
    attribution = _attribution(opened)
    site = attribution.sites[1]
    found = card.moments(attribution, TOKENS, Unit(1, 7))
    assert [moment.position for moment in found] == list(range(len(IDS)))
    assert [moment.attribution for moment in found] == site.relevance[:, 7].tolist()
    assert [moment.activation for moment in found] == site.activation[:, 7].tolist()
    assert "".join(moment.token for moment in found) == "".join(TOKENS)


def test_an_experts_neuron_has_moments_where_tokens_were_sent_to_it() -> None:
    attribution = _attribution(_opened("mixtral"))
    site = attribution.sites[1]
    width = site.relevance.shape[1]
    expert = 2
    sent = sorted(site.positions[site.offsets == expert * width].tolist())
    found = card.moments(attribution, TOKENS, Unit(1, expert * width + 4))
    assert [moment.position for moment in found] == sent
    assert 0 < len(sent) < len(IDS)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "mixtral"])
def test_effects_are_those_of_switching_off(family: str) -> None:
    opened = _opened(family)
    neuron = Unit(1, 7)

    @torch.inference_mode()
    def value(*changed: Unit) -> float:
        with intervening(opened.anatomy, [Intervention(changed, 0.0)]):
            logits = opened.model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]
        return float(value_of(TARGET, logits))

    each, everywhere = finished(card.effects(opened, IDS, neuron, TARGET, [2, 6]))
    assert everywhere == pytest.approx(value() - value(neuron), abs=1e-4)
    for position, effect in each.items():
        assert effect == pytest.approx(value() - value(Unit(1, 7, position)), abs=1e-4)


@pytest.mark.parametrize("family", DENSE + MOE)
def test_a_row_reads_the_token_whose_embedding_lies_most_along_it(family: str) -> None:
    opened = _opened(family)
    (first, *_) = found = reads(opened, Unit(1, 7), 3)
    assert {read.name for read in found} in ({"gate", "up"}, {"in"})
    row = opened.anatomy.read_rows(1, 7)[first.name]
    norm = opened.anatomy.layers[1].read_norm
    embeddings = opened.model.get_input_embeddings().weight
    scores = [float((each if norm is None else norm(each[None, None])[0, 0]) @ row) for each in embeddings]
    best = max(range(len(scores)), key=scores.__getitem__)
    assert first.embeddings[0][0] == str(opened.tokenizer.decode([best]))
    assert first.norm == pytest.approx(float(row.norm()))


def test_the_capital_neuron_of_smollm2_reads_towns_and_writes_capitals(smollm2: OpenModel) -> None:
    gate, _ = reads(smollm2, Unit(24, 1005), 8)
    assert {" town", " city"} <= set(gate.embeddings[0])
