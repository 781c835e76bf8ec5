"""Faithfulness: a batch of kept and removed circuits is what interventions one by one make of the target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sessions.circuits import multi_prompt
from sessions.circuits.ablation_runs import NONE, WHOLE, AblationRun
from sessions.circuits.attribution import Reference
from sessions.circuits.cases import Case, last_logits, resolve_targets
from sessions.circuits.discovery import AttributionOptions
from sessions.circuits.faithfulness import curve, drawn, faithfulness, ranked, targets
from sessions.circuits.pruning import CircuitSize
from sessions.circuits.recording import means, recorded
from sessions.errors import ModelError, UsageError
from sessions.events import finished
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model.hooks import count_hooks
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from sessions.texts.prompt_files import PromptRecord, read_prompts
from tests.families import DENSE, MOE, tiny, tiny_tokenizer

PROMPTS = ("the cat", "in a hat, the dogs", "a", "then we ate")
DATA = Path(__file__).parents[3] / "commands" / "examples"


def opened(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def asked(model: OpenModel, prompts: Sequence[str] = PROMPTS) -> tuple[Case, ...]:
    return finished(
        resolve_targets(model, [PromptRecord(prompt=prompt, target=" b", counterfactual=" q") for prompt in prompts])
    )


def neurons(model: OpenModel, count: int, *positions: int | None) -> tuple[Unit, ...]:
    """Random ones, each once, at positions taken in turns."""
    generator = torch.Generator().manual_seed(0)
    every = [(layer, index) for layer, width in enumerate(model.anatomy.widths) for index in range(width)]
    order = torch.randperm(len(every), generator=generator)[:count].tolist()
    return tuple(Unit(*every[place], positions[n % len(positions)]) for n, place in enumerate(order))


def held_at(model: OpenModel, *shape: int) -> Reference:
    generator = torch.Generator().manual_seed(1)
    sites = [site for layer in model.anatomy.layers for site in layer.sites]
    return Reference(tuple(torch.randn(*shape, site.width, generator=generator) for site in sites))


def one_by_one(model: OpenModel, cases: Sequence[Case], kept: set[tuple[int, int, int]], held: Reference) -> float:
    """The mean target with every neuron held that is not in `kept`: layer, index, and position from the end."""
    total = 0.0
    for case in cases:
        length = len(case.ids)
        treatment = Intervention(
            tuple(Unit(*place) for place, _ in pins(model, length, kept, held)),
            0.0,
            tuple(value for _, value in pins(model, length, kept, held)),
        )
        with intervening(model.anatomy, [treatment]):
            (logits,) = last_logits(model, [case.ids])
        total += float(logits[case.wanted[0]] - logits[case.wanted[1]])
    return total / len(cases)


def pins(
    model: OpenModel, length: int, kept: set[tuple[int, int, int]], held: Reference
) -> list[tuple[tuple[int, int, int], float]]:
    found = []
    for (layer, width), values in zip(enumerate(model.anatomy.widths), held.activations, strict=True):
        rows = values.reshape(-1, width)
        for position in range(1, length):
            row = rows[max(position - length, -len(rows))]
            found += [
                ((layer, index, position), float(row[index]))
                for index in range(width)
                if (layer, index, position - length) not in kept
            ]
    return found


@pytest.mark.parametrize("family", DENSE)
def test_a_batch_of_circuits_is_what_they_are_one_by_one(family: str) -> None:
    model = opened(family)
    cases, ranking, held = asked(model), neurons(model, 40, None), held_at(model, 3)
    hooks = count_hooks(model.model)
    runs = [NONE, WHOLE, AblationRun(0, 40), AblationRun(0, 12), AblationRun(0, 12, removed=True)]
    found = finished(targets(model, cases, [ranking], runs, held, batch=24))
    every = {
        (layer, n, back) for layer, w in enumerate(model.anatomy.widths) for n in range(w) for back in range(-20, 0)
    }
    chosen = [{place for place in every if place[:2] in {n.site for n in ranking[:size]}} for size in (0, 12, 40)]
    for value, kept in zip(found, (chosen[0], every, chosen[2], chosen[1], every - chosen[1]), strict=True):
        assert value == pytest.approx(one_by_one(model, cases, kept, held), abs=2e-4, rel=2e-4)
    assert count_hooks(model.model) == hooks


@pytest.mark.parametrize("family", ["llama", "gemma4", "gpt2"])
def test_neurons_with_positions_are_kept_there_alone_counted_from_the_end_of_each_prompt(family: str) -> None:
    model = opened(family)
    cases, held = asked(model), held_at(model)
    ranking = neurons(model, 30, -1, -2, -5)
    found = finished(targets(model, cases, [ranking], [AblationRun(0, 20), AblationRun(0, 20, removed=True)], held))
    every = {
        (layer, n, back) for layer, w in enumerate(model.anatomy.widths) for n in range(w) for back in range(-20, 0)
    }
    chosen = {(n.layer, n.index, n.position or 0) for n in ranking[:20]}
    for value, kept in zip(found, (chosen, every - chosen), strict=True):
        assert value == pytest.approx(one_by_one(model, cases, kept, held), abs=2e-4, rel=2e-4)


def test_the_whole_model_keeps_everything_and_nothing_keeps_nothing() -> None:
    model = opened("llama")
    widths = model.anatomy.widths
    everything = tuple(Unit(layer, index) for layer, width in enumerate(widths) for index in range(width))
    found = finished(faithfulness(model, asked(model), everything, (0, sum(widths)), held_at(model, 2), controls=2))
    assert found.control is not None
    for each in (found.circuit, found.control):
        assert each.kept == pytest.approx((0, 1), abs=1e-5)
        assert each.left == pytest.approx((1, 0), abs=1e-5)
    assert found.whole == pytest.approx(sum(case.target.value for case in asked(model)) / len(PROMPTS), abs=1e-5)


def test_a_size_is_the_circuit_of_so_many_whatever_else_is_in_the_batch() -> None:
    model = opened("gemma3")
    cases, held = asked(model), held_at(model, 2)
    rankings = [neurons(model, 30, None), drawn(model.anatomy, neurons(model, 30, None), 5)]
    runs = [AblationRun(which, size, removed) for which in (0, 1) for size in (3, 30) for removed in (False, True)]
    together = finished(targets(model, cases, rankings, runs, held, batch=4096))
    for run, value in zip(runs, together, strict=True):
        alone = [rankings[run.ranking][: run.size]]
        (again,) = finished(targets(model, cases, alone, [AblationRun(0, run.size, run.removed)], held, batch=1))
        assert again == pytest.approx(value, abs=1e-4)


def test_where_nothing_changes_the_target_there_is_no_fraction() -> None:
    assert curve(1.5, 1.5, [1.0], [2.0]).kept == (None,)
    assert curve(1.0, 3.0, [2.0], [1.0]) == curve(0.0, 1.0, [0.5], [0.0])


# Rankings


def test_a_random_circuit_is_like_the_circuit_and_the_same_each_time() -> None:
    model = opened("gemma4")  # whose layers differ in width
    for ranking in (neurons(model, 60, None), neurons(model, 60, -1, -3)):
        random = drawn(model.anatomy, ranking, 3)
        assert random == drawn(model.anatomy, ranking, 3) != drawn(model.anatomy, ranking, 4)
        assert [(n.layer, n.position) for n in random] == [(n.layer, n.position) for n in ranking]
        assert len({n.place for n in random}) == len(random)
        for neuron in random:
            model.anatomy.check(*neuron.site)


PLACES = st.builds(Unit, st.integers(0, 2), st.integers(0, 3), st.one_of(st.none(), st.integers(-6, 5)))


@given(st.lists(PLACES, min_size=1), st.sampled_from([None, 6]))
def test_a_ranking_has_each_neuron_once_at_its_best_and_positions_for_all_or_none(
    circuit: list[Unit], length: int | None
) -> None:
    found = ranked(circuit, length)
    assert len({neuron.place for neuron in found}) == len(found)
    countable = all(n.position is not None and (length is not None or n.position < 0) for n in circuit)
    assert all((neuron.position is not None) == countable for neuron in found)
    if countable:
        assert all(-6 <= (neuron.position or 0) < 0 for neuron in found)
    else:
        assert [neuron.site for neuron in found] == list(dict.fromkeys(neuron.site for neuron in circuit))


def test_a_neuron_that_the_model_lacks_is_refused() -> None:
    model = opened("llama")
    with pytest.raises(UsageError, match="no neuron 48"):
        finished(targets(model, asked(model), [(Unit(0, 48),)], [NONE], held_at(model)))


@pytest.mark.parametrize("family", MOE)
def test_experts_are_refused(family: str) -> None:
    model = opened(family)
    with pytest.raises(ModelError, match="faithfulness is not available on a mixture of experts"):
        finished(faithfulness(model, asked(model), (Unit(0, 0),), (1,), held_at(model)))


# What neurons are held at


@pytest.mark.parametrize("family", ["llama", "gemma3n", "gpt2"])
def test_aligned_means_are_those_of_each_position_from_the_end(family: str, tmp_path: Path) -> None:
    model = opened(family)
    texts = [(1, 9, 30, 17, 44), (1, 5, 33, 41), (1, 8, 29), (1, 12, 7, 60, 3, 20, 22), (1,)]
    found = finished(means(model, texts, tmp_path, aligned=True, batch=12))
    read = [recorded(model, ids, len(ids)).activations for ids in texts[:4]]
    for number, mean in enumerate(found.activations):
        ends = [activations[number][1:] for activations in read]
        assert len(mean) == 4  # which half of the four texts with a second token have, their first aside
        for back in (1, 2, 3):
            there = torch.stack([each[-back] for each in ends if len(each) >= back])
            torch.testing.assert_close(mean[-back], there.mean(0), atol=1e-5, rtol=1e-4)
        further = torch.cat([each[:-3] for each in ends])
        torch.testing.assert_close(mean[0], further.mean(0), atol=1e-5, rtol=1e-4)


def test_means_of_both_kinds_are_kept_for_this_model_and_these_texts_alone(tmp_path: Path) -> None:
    llama, texts = opened("llama"), [(1, 9, 30, 17, 44), (1, 5, 33, 41)]
    flat = finished(means(llama, texts, tmp_path))
    aligned = finished(means(llama, texts, tmp_path, aligned=True))
    assert flat.activations[0].shape == (48,) and aligned.activations[0].shape == (4, 48)
    assert list(means(llama, texts, tmp_path)) == list(means(llama, texts, tmp_path, aligned=True)) == []  # all read
    again = finished(means(llama, texts, tmp_path, aligned=True))
    assert all(torch.equal(one, other) for one, other in zip(aligned.activations, again.activations, strict=True))
    assert list(means(llama, texts[:1], tmp_path, aligned=True))
    assert list(means(opened("qwen2"), texts, tmp_path, aligned=True))
    assert len(list((tmp_path / "means").iterdir())) == 4


# On a real model


def test_a_circuit_of_agreement_keeps_on_new_prompts_what_random_neurons_do_not(
    smollm2: OpenModel, tmp_path: Path
) -> None:
    found_on, others = (
        finished(
            resolve_targets(smollm2, read_prompts((DATA / f"agreement-{part}.jsonl").read_bytes(), part + ".jsonl")[:8])
        )
        for part in ("discover", "test")
    )
    circuit = finished(
        multi_prompt.discover(smollm2, found_on, choice=CircuitSize(100), how=AttributionOptions())
    ).circuit
    held = finished(means(smollm2, [case.ids for case in found_on], tmp_path, aligned=True))
    found = finished(faithfulness(smollm2, others, ranked(circuit.neurons), (50, 100), held, controls=1))
    assert found.control is not None
    kept, left = found.circuit.kept, found.circuit.left
    assert (kept[0] or 0) > 0.4 and (left[1] or 0) < 0.4
    assert found.control.kept == pytest.approx((0, 0), abs=0.1) and found.control.left == pytest.approx((1, 1), abs=0.1)
