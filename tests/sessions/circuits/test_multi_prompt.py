"""Many prompts attributed together are what each is alone, gathered as asked, and their mean effects are exact."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.aggregation import Aggregate, Aggregation
from sessions.circuits.attributing import attribute
from sessions.circuits.attribution import Attribution, Reference
from sessions.circuits.cases import Case, resolve_targets
from sessions.circuits.circuit import Circuit
from sessions.circuits.discovery import AttributionOptions, Scope
from sessions.circuits.mean_effects import mean_effects
from sessions.circuits.multi_prompt import collapsed, discover, mean_target
from sessions.circuits.pruning import CircuitSize
from sessions.circuits.recording import means
from sessions.circuits.verification import verify
from sessions.errors import Cancelled, ModelError, UsageError
from sessions.events import Progress, collected, finished
from sessions.model.hooks import count_hooks
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from sessions.texts.prompt_files import PromptRecord
from tests.families import DENSE, MOE, tiny, tiny_tokenizer

TEXTS = ("the cat", "a", "in the end of it", "hello there", "the dog sat on a hat?")
LRP = [family for family in (*DENSE, *MOE) if family not in ("gemma3n", "gpt_oss")]


@cache
def opened(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


@cache
def asked(family: str, texts: tuple[str, ...] = TEXTS) -> tuple[Case, ...]:
    return finished(resolve_targets(opened(family), [PromptRecord(prompt=text, raw=True) for text in texts]))


def alone(family: str, case: Case, **how: Any) -> Attribution:
    target, other = case.wanted

    def measure(logits: Tensor) -> Tensor:
        return logits[0, target] - logits[0, other]

    model = opened(family)
    return attribute(model.model, model.anatomy, torch.tensor([case.ids]), measure, **how)


def by_position(family: str, found: Attribution, length: int) -> list[Tensor]:
    """Relevance of each site as `[positions, width]`, 0 for experts that a token was not sent to."""
    sites = [site for layer in opened(family).anatomy.layers for site in layer.sites]
    tables = []
    for site, of in zip(found.sites, sites, strict=True):
        table = torch.zeros(length, of.width)
        for row, position, offset in zip(site.relevance, site.positions, site.offsets - of.offset, strict=True):
            table[position, offset : offset + len(row)] = row
        tables.append(table)
    return tables


def tables(family: str, **how: Any) -> list[list[Tensor]]:
    """Of each prompt alone, what is attributed at each position of each site."""
    return [by_position(family, alone(family, case, **how), len(case.ids)) for case in asked(family)]


def circuit(family: str, count: int = 5000, **options: Any) -> Circuit:
    return finished(discover(opened(family), asked(family), choice=CircuitSize(count), **options)).circuit


@pytest.mark.parametrize(
    ("method", "family"),
    [
        *(("relp", family) for family in LRP),
        *(("atp", family) for family in ("llama", "gemma3n", "gemma4", "gpt2", *MOE)),
        *(("ig", family) for family in ("llama", "gemma3n", "gemma4", "gpt2")),
    ],
)
def test_attributions_of_prompts_together_are_the_mean_of_each_alone(method: Any, family: str) -> None:
    how = {"method": method, "attention": "frozen" if method == "relp" else "gradient", "steps": 2}
    found = finished(collapsed(opened(family), asked(family), **how, batch=24))
    each = tables(family, **how)
    for number, values in enumerate(found):
        mean = sum(prompt[number][1:].sum(0) for prompt in each) / len(each)
        torch.testing.assert_close(values, mean, atol=2e-5, rtol=1e-4)
    assert count_hooks(opened(family).model) == 0


@pytest.mark.parametrize("family", [each for each in DENSE if each in LRP])
def test_each_position_is_compared_with_its_own_mean_counted_from_the_end(family: str, tmp_path: Path) -> None:
    model, cases = opened(family), asked(family)
    texts = [case.ids for case in cases]
    reference = finished(means(model, texts, tmp_path, aligned=True))
    found = finished(collapsed(model, cases, reference=reference, batch=24))
    alone_with = [
        by_position(family, alone(family, case, reference=Reference(_ends(reference, len(case.ids)))), len(case.ids))
        for case in cases
    ]
    for number, values in enumerate(found):
        mean = sum(prompt[number][1:].sum(0) for prompt in alone_with) / len(cases)
        torch.testing.assert_close(values, mean, atol=2e-5, rtol=1e-4)


def _ends(reference: Reference, length: int) -> tuple[torch.Tensor, ...]:
    """The last rows, the first one repeated where there are not as many."""
    rows = [[max(position, -len(each)) for position in range(-length, 0)] for each in reference.activations]
    return tuple(each[row] for each, row in zip(reference.activations, rows, strict=True))


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_padding_has_no_attribution(family: str) -> None:
    model, cases = opened(family), asked(family)
    lengths = [len(case.ids) for case in cases]
    ids = torch.tensor([[*case.ids, *[5] * (max(lengths) - len(case.ids))] for case in cases])
    found = attribute(model.model, model.anatomy, ids, lambda logits: logits[:, 7].sum(), lengths=lengths)
    for site in found.sites:
        places = {(int(prompt), int(position)) for prompt, position in zip(site.prompts, site.positions, strict=True)}
        assert places == {(prompt, position) for prompt, length in enumerate(lengths) for position in range(length)}


@pytest.mark.parametrize("batch", [1, 16, 1000])
def test_the_size_of_a_batch_changes_nothing(batch: int) -> None:
    one = finished(collapsed(opened("llama"), asked("llama"), batch=batch))
    for values, other in zip(one, finished(collapsed(opened("llama"), asked("llama"))), strict=True):
        torch.testing.assert_close(values, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["gemma3", "mixtral"])
def test_aligned_at_their_ends_positions_stay_apart(family: str) -> None:
    found = circuit(family, gathering=Aggregation(aligned=True))
    shortest = min(len(case.ids) for case in asked(family))
    assert {neuron.position for neuron in found.neurons} == set(range(-(shortest - 1), 0))
    each = tables(family)
    for neuron in found.neurons[:40]:
        number, local = place(family, neuron)
        mean = sum(float(prompt[number][neuron.position, local]) for prompt in each) / len(each)
        assert neuron.attribution == pytest.approx(mean, abs=1e-5)
    kept = circuit(family, gathering=Aggregation(aligned=True), scope=Scope(without_positions=()))
    assert {neuron.position for neuron in kept.neurons} == set(range(-shortest, 0))


def place(family: str, neuron: Unit) -> tuple[int, int]:
    """The number of a neuron's site among all, and the neuron's there."""
    anatomy = opened(family).anatomy
    site, local = anatomy.site_of(neuron.layer, neuron.index)
    return [each for layer in anatomy.layers for each in layer.sites].index(site), local


@pytest.mark.parametrize("aggregate", ["magnitude", "mean", "max", "share"])
@pytest.mark.parametrize("threshold", [None, 2.0, 20.0])
def test_prompts_are_gathered_as_asked(aggregate: Aggregate, threshold: float | None) -> None:
    family = "qwen3"
    found = circuit(family, gathering=Aggregation(aggregate, threshold=threshold))
    targets = torch.tensor([abs(case.target.value) for case in asked(family)])
    sums = [torch.stack([table[1:].sum(0) for table in prompt]) for prompt in tables(family)]
    each = torch.stack(sums)  # [prompts, layers, neurons]
    sizes = torch.stack([torch.stack([table[1:].abs().sum(0) for table in prompt]) for prompt in tables(family)])
    least = 1.0 if aggregate == "share" and threshold is None else threshold or 0.0
    reached = (sizes if aggregate == "magnitude" else each.abs()) >= least / 100 * targets[:, None, None]
    counted = each if aggregate == "share" else each * reached
    expected = counted.mean(0)
    if aggregate == "max":
        expected = counted.gather(0, counted.abs().argmax(0, keepdim=True))[0]
    for neuron in found.neurons:
        assert neuron.attribution == pytest.approx(float(expected[neuron.site]), abs=1e-5)
    by = {"share": reached.float().mean(0), "magnitude": (sizes * reached).mean(0)}.get(aggregate, expected.abs())
    ranks = [float(by[neuron.site]) for neuron in found.neurons]
    assert all(one >= other - 1e-5 for one, other in itertools.pairwise(ranks))
    assert ranks[-1] > 0


def test_only_the_positions_asked_for_are_summed() -> None:
    found = circuit("llama", scope=Scope(without_positions=(), positions=(-1, 0)))
    each = tables("llama")
    for neuron in found.neurons[:40]:
        ends = [prompt[neuron.layer][[0, -1], neuron.index].sum() for prompt in each]
        assert neuron.attribution == pytest.approx(float(sum(ends)) / len(each), abs=1e-5)


def test_a_reference_without_positions_serves_all_prompts(tmp_path: Any) -> None:
    model, cases = opened("llama"), asked("llama")
    mean = finished(means(model, [case.ids for case in cases], tmp_path))
    found = circuit("llama", how=AttributionOptions(reference=mean, compared="mean"))
    assert found.method == "relp against mean" and found.compared == "mean" and found.conservation is None
    each = tables("llama", reference=mean)
    for neuron in found.neurons[:40]:
        expected = sum(float(prompt[neuron.layer][1:, neuron.index].sum()) for prompt in each) / len(each)
        assert neuron.attribution == pytest.approx(expected, abs=1e-5)


def test_the_circuit_says_what_it_is_of() -> None:
    found = circuit("llama", 7)
    cases = asked("llama")
    assert [each.prompt for each in found.prompts] == list(TEXTS)
    assert (found.ids, found.tokens, found.prompt.text) == ((), (), "")
    assert len(found) == 7 and {neuron.position for neuron in found.neurons} == {None}
    assert found.target.value == pytest.approx(sum(case.target.value for case in cases) / len(cases))
    assert str(found.target) == "mean target of 5 prompts" and found.target.tokens == ()
    assert found.conservation is not None and found.conservation < 1e-5
    assert found.neurons[0].activation is not None and found.token(None) == ""


def test_a_target_that_all_prompts_have_is_named() -> None:
    texts = [PromptRecord(prompt=text, target=" a", counterfactual=" b", raw=True) for text in TEXTS]
    cases = finished(resolve_targets(opened("llama"), texts))
    target = mean_target(cases)
    assert str(target) == 'mean of logit " a" − logit " b" over 5 prompts'
    assert str(mean_target(cases[:1])) == 'logit " a" − logit " b"'


def test_a_prompt_of_one_token_cannot_be_aligned() -> None:
    cases = finished(resolve_targets(opened("llama"), [PromptRecord(prompt=text, raw=True) for text in ("the", "<s>")]))
    with pytest.raises(UsageError, match="no token but its first"):
        finished(discover(opened("llama"), cases, choice=CircuitSize(5), gathering=Aggregation(aligned=True)))


def test_what_is_no_number_names_the_layer_and_the_prompt() -> None:
    broken = adopt(tiny("llama"), tiny_tokenizer(), name="broken")
    cases = asked("llama", ("the cat", "in the end", "the end zz"))
    z = cases[2].ids[-1]
    assert all(z not in case.ids for case in cases[:2])
    broken.model.model.embed_tokens.weight[z] = float("nan")
    with pytest.raises(ModelError, match=r"the embedding is the first .* at token 7, 'z', of 'the end zz'"):
        finished(discover(broken, cases, choice=CircuitSize(5)))
    assert count_hooks(broken.model) == 0


def test_discovery_reports_progress_and_a_cancelled_one_leaves_no_hook() -> None:
    model, cases = opened("llama"), asked("llama")
    events, _ = collected(discover(model, cases, choice=CircuitSize(5), batch=8))
    told = [event for event in events if isinstance(event, Progress)]
    assert [event.total for event in told] == [len(cases)] * len(told) and len(told) > 1
    cancel = Cancel()
    steps = discover(model, cases, choice=CircuitSize(5), batch=8, cancel=cancel)
    next(steps)
    cancel.request()
    with pytest.raises(Cancelled):
        finished(steps)
    assert count_hooks(model.model) == 0


# Mean effects


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_mean_effects_are_the_means_of_each_prompts_own(family: str) -> None:
    model, cases = opened(family), asked(family)
    widths = model.anatomy.widths
    neurons = [
        Unit(layer, (7 * number + layer) % widths[layer], position)
        for layer in range(len(widths))
        for number, position in enumerate([None, -1, 1, None])
    ]
    held = [0.1 * number for number in range(len(neurons))]
    found = finished(mean_effects(model, cases, neurons, values=held, batch=48))
    each = [finished(verify(model, case.ids, neurons, case.target, values=held)) for case in cases]
    assert found.value == pytest.approx(sum(one.value for one in each) / len(each), abs=1e-4)
    for number, effect in enumerate(found.effects):
        assert effect == pytest.approx(sum(one.effects[number] for one in each) / len(each), abs=1e-4)
    assert count_hooks(model.model) == 0


def test_mean_effects_can_be_cancelled_and_need_numbers() -> None:
    model, cases = opened("llama"), asked("llama")
    cancel = Cancel()
    steps = mean_effects(model, cases, [Unit(1, 2)], batch=8, cancel=cancel)
    next(steps)
    cancel.request()
    with pytest.raises(Cancelled):
        finished(steps)
    assert count_hooks(model.model) == 0
    broken = adopt(tiny("llama"), tiny_tokenizer(), name="broken")
    broken.model.lm_head.weight[:] = float("nan")
    with pytest.raises(ModelError, match="the head is the first to compute no number"):
        finished(mean_effects(broken, cases, [Unit(1, 2)]))
