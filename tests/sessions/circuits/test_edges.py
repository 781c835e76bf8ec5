"""Edges into a neuron account for all of its attribution, and each is what scaling its source does in the linearised
network, run forward."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits import cutting
from sessions.circuits.attributing import attribute
from sessions.circuits.circuit import Circuit
from sessions.circuits.diagram import BREADTH, dot, tree
from sessions.circuits.edges import Traced, edges_of, trace
from sessions.circuits.flow import Edge, between_layers, bottlenecks, gathered, hubs, super_weights
from sessions.circuits.rules import half, linearised
from sessions.errors import Cancelled, ModelError, UsageError
from sessions.events import collected, finished
from sessions.model.hooks import after, count_hooks, on_neurons
from sessions.model.info import Prompt, Token
from sessions.model.opening import OpenModel, adopt
from sessions.model.sites import ExpertSite
from sessions.model.target import Target
from sessions.model.units import Place, Unit
from sessions.texts.prompt_files import PromptRecord
from tests.families import DENSE, tiny, tiny_tokenizer
from tests.linear_replay import worst_edge
from tests.reference import AUSTIN

IDS = (1, 9, 27, 17, 51, 5, 33, 40)
TARGET = Target(tokens=(Token(7, ""),), counterfactual=Token(9, ""))
SEQUENCE = Target(tokens=(Token(7, ""), Token(33, ""), Token(40, "")), sequence=True)
LINEAR = [*(family for family in DENSE if family != "gemma3n"), "mixtral", "qwen2_moe", "qwen3_moe"]


@lru_cache(maxsize=32)
def opened(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def everywhere(model: OpenModel) -> list[Unit]:
    """Every neuron at every position."""
    return [
        Unit(layer, index, position)
        for layer, width in enumerate(model.anatomy.widths)
        for index in range(width)
        for position in range(len(IDS))
    ]


@lru_cache(maxsize=32)
def traced(family: str, target: Target = TARGET) -> Traced:
    """The edges from every neuron there is into the twelve strongest."""
    return finished(trace(opened(family), IDS, target, everywhere(opened(family)), 12))


def difference(logits: Tensor) -> Tensor:
    return logits[7] - logits[9]


# ---- what edges are


def gap(found: Traced) -> float:
    """By how much the edges into a target and what comes from the embeddings miss its attribution, at worst."""
    arriving = found.weights.sum(1) + torch.tensor(found.embeddings)
    relevance = torch.tensor(found.relevance)
    return float(((arriving - relevance).abs() / relevance.abs()).max())


@pytest.mark.parametrize("family", LINEAR)
def test_the_edges_of_all_neurons_and_the_embeddings_sum_to_the_attribution(family: str) -> None:
    found = traced(family)
    assert gap(found) < 1e-3
    assert len({neuron.layer for neuron in found.targets}) > 1
    assert found.relevance[-1] == pytest.approx(found.value, rel=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_the_edges_of_a_sequence_sum_to_the_attributions_of_its_log_probability(family: str) -> None:
    assert gap(traced(family, SEQUENCE)) < 1e-3


def test_without_the_half_rule_at_the_targets_edges_do_not_sum_to_the_attribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Conservation is a test that can fail."""
    monkeypatch.setattr(cutting, "half", lambda x: x)
    found = finished(trace(opened("llama"), IDS, TARGET, everywhere(opened("llama")), 12))
    assert gap(found) > 0.5


@pytest.mark.parametrize("family", LINEAR)
def test_the_strongest_edges_are_what_scaling_the_source_does_in_the_linearised_network(family: str) -> None:
    size, signs = worst_edge(opened(family), IDS, difference, traced(family))
    assert (size < 1e-3, signs) == (True, 0)


def test_the_strongest_edges_of_the_reference_circuit_are_what_scaling_the_source_does(smollm2: OpenModel) -> None:
    target = Target(tokens=(Token(AUSTIN.target_id, ""),), counterfactual=Token(AUSTIN.counterfactual_id, ""))
    neurons = [Unit(layer, index, position) for layer, position, index, *_ in AUSTIN.top[:100]]
    found = finished(trace(smollm2, AUSTIN.ids, target, neurons))
    assert len(found.targets) == 30
    size, signs = worst_edge(
        smollm2, AUSTIN.ids, lambda logits: logits[AUSTIN.target_id] - logits[AUSTIN.counterfactual_id], found
    )
    assert (size < 0.01, signs) == (True, 0)
    (name,) = {each.place for each in super_weights(found.flow)[:1]}
    assert name[:2] == (24, 1005)  # whose ablation takes Austin away


def one_at_a_time(model: OpenModel, target: Unit) -> Tensor:
    """The edges from everywhere into one neuron by plain autograd, through down projections and MLPs as they are."""
    anatomy, ids = model.anatomy, torch.tensor([IDS])
    attribution = attribute(model.model, anatomy, ids, lambda logits: difference(logits[0]))
    leaves: dict[int, Tensor] = {}
    share: list[Tensor] = []

    def cut(layer: int, gated: bool, neurons: Tensor, _: Any) -> Tensor:
        assert target.position is not None
        if layer == target.layer:
            relevance, activation = (
                float(each[target.position, target.index])
                for each in (attribution.sites[layer].relevance, attribution.sites[layer].activation)
            )
            own = neurons.reshape(-1, neurons.shape[-1])[target.position, target.index]
            share.append((half(own) if gated else own) * relevance / activation)
        leaves[layer] = neurons.detach().requires_grad_()
        return leaves[layer]

    with torch.enable_grad(), linearised(model.model, anatomy, "frozen"), ExitStack() as stack:
        for embedding in anatomy.embeddings:
            stack.enter_context(after(embedding, lambda _, output: output.requires_grad_()))
        for layer, parts in enumerate(anatomy.layers):
            (site,) = parts.sites
            assert not isinstance(site, ExpertSite)
            stack.enter_context(on_neurons(site, partial(cut, layer, site.gated)))
        model.model(input_ids=ids, use_cache=False)
    gradients = torch.autograd.grad(share[0], list(leaves.values()), allow_unused=True)
    products = [
        torch.zeros_like(leaf) if gradient is None else leaf.detach() * gradient
        for leaf, gradient in zip(leaves.values(), gradients, strict=True)
    ]
    return torch.cat([product.reshape(-1, product.shape[-1]).T.flatten() for product in products])


@pytest.mark.parametrize("family", ["llama", "phi3", "gemma4", "gpt2", "gpt_neox"])
def test_all_targets_in_one_pass_are_the_targets_one_by_one(family: str) -> None:
    found = traced(family)
    for number, target in enumerate(found.targets[:4]):
        alone = one_at_a_time(opened(family), target)
        torch.testing.assert_close(found.weights[number], alone, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 40])
def test_edges_do_not_depend_on_the_size_of_the_parts_they_are_computed_in(batch: int) -> None:
    model = opened("gemma3")
    in_parts = finished(trace(model, IDS, TARGET, everywhere(model), 12, batch=batch))
    torch.testing.assert_close(in_parts.weights, traced("gemma3").weights, rtol=1e-4, atol=1e-6)
    assert in_parts.embeddings == pytest.approx(traced("gemma3").embeddings, rel=1e-3)


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "qwen2_moe"])
def test_edges_go_up_and_forward_only(family: str) -> None:
    found = traced(family)
    assert found.flow.edges and found.flow.outputs
    for edge in found.flow.edges:
        assert edge.target is not None
        assert edge.source[0] < edge.target[0]
        assert edge.source[2] is not None and edge.target[2] is not None and edge.source[2] <= edge.target[2]


def test_the_targets_are_the_strongest_of_the_sources_with_their_attributions() -> None:
    found = traced("llama")
    attribution = attribute(
        opened("llama").model, opened("llama").anatomy, torch.tensor([IDS]), lambda logits: difference(logits[0])
    )
    strengths = [abs(neuron.attribution or 0.0) for neuron in found.targets]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[0] == pytest.approx(float(attribution.dense().abs().max()), rel=1e-5)
    assert list(found.relevance[:-1]) == [neuron.attribution for neuron in found.targets]
    for neuron in found.sources[::97]:
        site = attribution.sites[neuron.layer]
        assert neuron.attribution == pytest.approx(float(site.relevance[neuron.position, neuron.index]), rel=1e-4)
        assert neuron.activation == pytest.approx(float(site.activation[neuron.position, neuron.index]), rel=1e-4)


def test_a_neuron_of_an_expert_that_was_not_asked_has_no_edges() -> None:
    found = traced("mixtral")
    silent = [number for number, neuron in enumerate(found.sources) if neuron.activation == 0]
    assert silent and not found.weights[:, silent].any()
    asked = found.sources[silent[0]]
    into = finished(trace(opened("mixtral"), IDS, TARGET, found.sources[:50], [asked]))
    assert not into.weights[0].any() and into.embeddings[0] == 0.0


# ---- what a pass leaves behind, and how it ends


class Counting(Cancel):
    """Raised at its n-th look."""

    def __init__(self, last: float = math.inf) -> None:
        super().__init__()
        self.looks, self.last = 0, last

    def look(self) -> None:
        self.looks += 1
        if self.looks >= self.last:
            raise Cancelled


def test_tracing_edges_leaves_no_hooks() -> None:
    model = adopt(tiny("gemma4"), tiny_tokenizer(), name="tiny")
    ids = torch.tensor([IDS])
    plain, implementation = model.model(ids).logits, model.model.config._attn_implementation
    events, _ = collected(trace(model, IDS, TARGET, [Unit(0, 1, 2), Unit(2, 3, 7)]))
    assert [event.label for event in events][:2] == ["attributing", "tracing edges"]  # type: ignore[attr-defined]
    assert count_hooks(model.model) == 0
    assert model.model.config._attn_implementation == implementation
    assert torch.equal(model.model(ids).logits, plain)
    assert not any(parameter.requires_grad for parameter in model.model.parameters())


def test_tracing_can_be_cancelled_at_every_layer_of_every_pass() -> None:
    model, whole = opened("llama"), Counting()
    few = [Unit(layer, index, 5) for layer in range(3) for index in range(4)]
    finished(trace(model, IDS, TARGET, few, cancel=whole))
    assert whole.looks >= 4 * model.anatomy.n_layers  # two passes, forward and backward
    for last in range(1, whole.looks + 1):
        with pytest.raises(Cancelled):
            finished(trace(model, IDS, TARGET, few, cancel=Counting(last)))
        assert count_hooks(model.model) == 0
    assert torch.is_grad_enabled()


def test_an_edge_that_overflows_is_never_a_number() -> None:
    model = adopt(tiny("llama").to(torch.float16), tiny_tokenizer(), name="tiny")
    model.model.model.layers[0].mlp.down_proj.weight.mul_(1e4)
    with pytest.raises(ModelError, match=r"layer 0 is the first to compute no number.*float32"):
        finished(trace(model, IDS, TARGET, [Unit(0, 1, 2), Unit(2, 3, 7)]))
    assert count_hooks(model.model) == 0


@pytest.mark.parametrize(
    ("neuron", "message"),
    [
        (Unit(0, 1), "L0/N1 has no position"),
        (Unit(0, 1, 8), "L0/N1@8 is not in the prompt.*positions are 0 to 7"),
        (Unit(0, 1, -1), "is not in the prompt"),
        (Unit(3, 1, 2), "there is no layer 3"),
        (Unit(0, 48, 2), "layer 0 has no neuron 48"),
    ],
)
def test_a_neuron_that_has_no_edges_is_refused(neuron: Unit, message: str) -> None:
    for sources, targets in (([neuron], 1), ([Unit(0, 1, 2)], [neuron])):
        with pytest.raises(UsageError, match=message):
            finished(trace(opened("llama"), IDS, TARGET, sources, targets))  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["gemma3n", "gpt_oss"])
def test_a_family_out_of_reach_of_the_rules_is_refused(family: str) -> None:
    with pytest.raises(ModelError, match="not available on this model"):
        finished(trace(opened(family), IDS, TARGET, [Unit(0, 1, 2)]))


def test_a_model_whose_mlp_inputs_are_unknown_is_refused() -> None:
    model = opened("llama")
    layers = [replace(layer, sites=(replace(layer.sites[0], readers=()),)) for layer in model.anatomy.layers]
    unknown = replace(model, anatomy=replace(model.anatomy, layers=tuple(layers)))
    with pytest.raises(ModelError, match="what the MLP of layer 0 reads"):
        finished(trace(unknown, IDS, TARGET, [Unit(0, 1, 2)]))


# ---- the edges of one neuron


def circuit_of(neurons: Sequence[Unit], **how: Any) -> Circuit:
    return Circuit(
        neurons=tuple(neurons),
        prompt=Prompt(text=""),
        ids=IDS,
        tokens=("",) * len(IDS),
        target=how.pop("target", TARGET),
        method="relp",
        attention="frozen",
        chosen="",
        conservation=None,
        total=None,
        model="",
        fingerprint="",
        **how,
    )


@pytest.mark.parametrize("inside", [True, False])
def test_the_edges_of_one_neuron_are_those_of_all(inside: bool) -> None:
    model, found = opened("llama"), traced("llama")
    middle = next(neuron for neuron in found.targets if neuron.layer == 1)
    others = [neuron for neuron in found.targets if neuron is not middle]
    circuit = circuit_of([*others, middle] if inside else others)
    incoming, outgoing = finished(edges_of(model, IDS, circuit, middle))
    flow = found.flow
    places = {neuron.place for neuron in others}
    into = [edge for edge in flow.edges if edge.target == middle.place and edge.source in places]
    out = [edge for edge in (*flow.edges, *flow.outputs) if edge.source == middle.place]
    for ours, theirs in ((incoming, into), (outgoing, sorted(out, key=lambda edge: -abs(edge.weight)))):
        assert ours and [(edge.source, edge.target) for edge in ours] == [(e.source, e.target) for e in theirs]
        assert [edge.weight for edge in ours] == pytest.approx([edge.weight for edge in theirs], rel=1e-3)
    assert any(edge.target is None for edge in outgoing)


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (
            circuit_of([Unit(0, 1, -1)], prompts=(PromptRecord(prompt="a"), PromptRecord(prompt="b"))),
            "found on 2 prompts.*discover",
        ),
        (circuit_of([Unit(0, 1, 2), Unit(1, 1)]), "no positions.*discover"),
        (circuit_of([Unit(0, 1, 2)], target=Target(tokens=(Token(-1, " a"),))), "which tokens it explains"),
        (circuit_of([Unit(0, 1, 2)], target=Target(tokens=())), "which tokens it explains"),
    ],
)
def test_a_circuit_without_one_prompt_and_target_has_no_edges(circuit: Circuit, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        finished(edges_of(opened("llama"), IDS, circuit, Unit(0, 1, 2)))


# ---- what is read off them


A, B, C, D = Place(0, 1, 2), Place(1, 5, 2), Place(2, 7, 3), Place(2, 8, 3)
FLOW = gathered(
    [A, B, C, D],
    [B, C, D, None],
    [[1.0, 0.0, 0.0, 0.0], [-0.5, 2.0, 0.0, 0.0], [0.01, 0.04, 0.0, 0.0], [0.25, 0.0, -3.0, 0.5]],
    [1.5, 2.0, 1.0, -4.0],
    [0.25, 0.0, 0.5, 0.0],
)


def test_edges_are_gathered_strongest_first_with_the_accounts_of_their_targets() -> None:
    assert [(edge.source, edge.target) for edge in FLOW.edges] == [(B, C), (A, B), (A, C), (B, D), (A, D)]
    assert FLOW.outputs == (Edge(C, None, -3.0), Edge(D, None, 0.5), Edge(A, None, 0.25))
    assert [inflow.place for inflow in FLOW.inflows] == [None, C, B, D]
    inflow = FLOW.inflows[2]
    assert (inflow.attribution, inflow.chosen, inflow.embeddings, inflow.others) == (1.5, 1.0, 0.25, 0.25)


def test_hubs_send_most_and_bottlenecks_pass_most() -> None:
    assert [(hub.place, hub.outgoing, hub.reached) for hub in hubs(FLOW)] == [(B, 2.04, 1), (A, 1.51, 2)]
    narrow = bottlenecks(FLOW)
    assert [each.place for each in narrow] == [C, B, D]
    assert (narrow[0].incoming, narrow[0].outgoing) == (2.5, 3.0)
    assert narrow[0].share == pytest.approx(math.sqrt(2.5 * 3.0) / 7.3)


def test_flow_between_layers_sums_absolute_edges() -> None:
    found = [(flow.source, flow.target, flow.weight) for flow in between_layers(FLOW)]
    assert found == [(1, 2, pytest.approx(2.04)), (0, 1, 1.0), (0, 2, pytest.approx(0.51))]


@pytest.mark.parametrize(("targets", "strength", "expected"), [(5, 11.0, True), (4, 11.0, False), (5, 9.0, False)])
def test_a_super_weight_neuron_is_ten_times_the_median_over_five_targets(
    targets: int, strength: float, expected: bool
) -> None:
    heavy, light = (0, 0, 0), [(0, n, 0) for n in range(1, 4)]
    rows = [[strength * (n < targets), 1.0, -1.0, 1.0] for n in range(6)]
    flow = gathered([heavy, *light], [(1, n, 0) for n in range(6)], rows, [1.0] * 6, [0.0] * 6)
    found = super_weights(flow)
    assert [each.place for each in found] == ([heavy] if expected else [])
    if expected:
        assert (found[0].targets, found[0].mean, found[0].times) == (5, 11.0, 11.0)


def test_a_flow_without_edges_has_no_hubs_or_bottlenecks() -> None:
    empty = gathered([A], [A, None], [[0.0], [0.0]], [1.0, 2.0], [0.5, 0.5])
    assert not (empty.edges or hubs(empty) or bottlenecks(empty) or super_weights(empty) or between_layers(empty))
    assert [branch.edge for branch in tree(empty)] == [None]


weights = st.lists(st.lists(st.floats(-10, 10), min_size=4, max_size=4), min_size=4, max_size=4)


@given(weights)
def test_shares_are_at_most_one_and_hubs_and_layers_account_for_all_edges(rows: list[list[float]]) -> None:
    flow = gathered([A, B, C, D], [B, C, D, None], rows, [1.0] * 4, [0.0] * 4)
    assert all(0 <= each.share <= 1 + 1e-9 for each in bottlenecks(flow))
    total = sum(abs(edge.weight) for edge in flow.edges)
    assert sum(hub.outgoing for hub in hubs(flow)) == pytest.approx(total)
    assert sum(each.weight for each in between_layers(flow)) == pytest.approx(total)


# ---- how they are drawn


def test_the_tree_follows_the_strongest_edges_and_draws_each_inflow_once() -> None:
    branches = list(tree(traced("llama").flow))
    assert branches[0].edge is None and branches[0].prefix == ""
    direct = [branch for branch in branches[1:] if len(branch.prefix) == 2]
    assert [branch.edge for branch in direct] == list(traced("llama").flow.outputs[: BREADTH[0]])
    assert branches[-1].prefix.lstrip().startswith("└")
    below = [branch for branch in branches if len(branch.prefix) == 4]
    parents = [branch.edge.target for branch in below if branch.edge is not None]
    assert parents and set(parents) <= {branch.edge.source for branch in direct if branch.edge is not None}
    assert max(map(parents.count, parents)) <= BREADTH[1]


def test_a_neuron_met_twice_in_the_tree_points_to_where_it_is_drawn() -> None:
    branches = list(tree(FLOW, (3, 2, 1)))
    drawn = [(branch.prefix, branch.edge.source if branch.edge else None, branch.elsewhere) for branch in branches]
    assert drawn == [
        ("", None, False),
        ("├ ", C, False),
        ("│ ├ ", B, False),
        ("│ │ └ ", A, False),
        ("│ └ ", A, False),
        ("├ ", D, False),
        ("│ ├ ", B, True),
        ("│ └ ", A, False),
        ("└ ", A, False),
    ]


STRING = r'"(?:[^"\\\n]|\\.)*"'
ID = rf"(?:{STRING}|[a-z]+)"
ATTRIBUTE = rf"[a-z]+=(?:{STRING}|[A-Za-z0-9.]+)"
ATTRIBUTES = rf"\[{ATTRIBUTE}(?:, {ATTRIBUTE})*\]"
#: The part of DOT's grammar that is used, a line each.
STATEMENT = re.compile(
    rf"digraph [a-z]+ \{{|\{{ rank=same;|\}}|[a-z]+={ID};|{ID} {ATTRIBUTES};|{ID} -> {ID} {ATTRIBUTES};", re.IGNORECASE
)


@given(st.lists(st.text(), min_size=4, max_size=4), st.text(min_size=1))
def test_the_graph_is_in_the_dot_language_whatever_the_tokens_are(tokens: list[str], aim: str) -> None:
    target = Target(tokens=(Token(7, aim),), counterfactual=Token(9, '"\\'))
    text = dot(FLOW, target, tokens, 100)
    lines = text.split("\n")
    assert lines[-1] == "" and all(STATEMENT.fullmatch(line.strip()) for line in lines[:-1])
    text.encode()


def test_the_graph_says_what_its_edges_say() -> None:
    text = dot(FLOW, TARGET, ["a", "b", ' "\\', "\n"], 6)
    assert '"L2/N7@3" -> output [label="-3", penwidth=5.00, color="#b2182b", style=dashed];' in text
    assert '"L1/N5@2" -> "L2/N7@3" [label="+2"' in text
    assert "L2/N8@3" in text and '"L0/N1@2" -> "L2/N8@3"' not in text  # one of the weakest two of eight
    assert r'"L1/N5@2" [label="L1/N5@2\n\" \\\"\\\\\""];' in text
    assert r'"L2/N7@3" [label="L2/N7@3\n\"\\n\""];' in text
    assert 'embeddings -> "L1/N5@2" [label="+0.25"' in text
    assert dot(FLOW, TARGET, [], 1).count("->") == 1
