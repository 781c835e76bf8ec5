"""The linearised network, run forward: what edges claim, seen without any gradient.

A clean pass records what the linearisation holds constant: the ratio output / input of norms and activation functions,
queries and keys, which experts and how much of each, the factors of products, and the ratio of the logits to the head's
scores. In a replay these stay as recorded,
a product g · u is (g · u₀ + g₀ · u) / 2 + its recorded value (half of a change goes to each factor), and every neuron
enters its down projection with its recorded value but one, the source, which enters scaled. What changes then in
another neuron, or in the logits, got there from the source, straight.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sessions.circuits.edges import Traced
from sessions.model.hooks import Routing, after, before, on_neurons
from sessions.model.opening import OpenModel
from sessions.model.sites import ExpertSite, Site
from sessions.model.tokens import last_positions
from sessions.model.units import Unit

NAME = "tests_replay"


class LinearReplay:
    """The linearised network of a model on one prompt.

    Args:
        ids: the prompt.
        measure: the output, a function of the logits of the last position, `[vocab]`.
    """

    def __init__(self, opened: OpenModel, ids: Sequence[int], measure: Callable[[Tensor], Tensor]) -> None:
        self._opened, self._ids, self._measure = opened, torch.tensor([list(ids)]), measure
        self._constants: dict[Any, Tensor] = {}
        self._recording, self._source, self._multiplier = True, Unit(-1, -1), 1.0
        self._values: dict[Any, Tensor] = {}
        self._rows: dict[Any, Routing | None] = {}
        self._output = self._scores = torch.empty(0)
        self._run()
        self._clean, self._clean_output = self._values, self._output
        self._recording = False

    def changes(self, source: Unit, multiplier: float, targets: Sequence[Unit]) -> tuple[list[float], float]:
        """How much each target's activation, and the output, change when the source alone is scaled."""
        self._source, self._multiplier = source, multiplier
        self._run()
        moved = [self._at(self._values, target) - self._at(self._clean, target) for target in targets]
        return moved, float(self._output - self._clean_output)

    def _at(self, values: dict[Any, Tensor], neuron: Unit) -> float:
        site, local = self._opened.anatomy.site_of(*neuron.site)
        place = self._place(site, neuron, local)
        return 0.0 if place is None else float(values[id(site)][place])

    def _place(self, site: Site, neuron: Unit, local: int) -> tuple[int, int] | None:
        """Row and column of a neuron among what its site computes; None where its expert was not asked."""
        assert neuron.position is not None
        if not isinstance(site, ExpertSite):
            return neuron.position, local
        routing = self._rows[id(site)]
        assert routing is not None
        rows = range(neuron.position * routing.per_token, (neuron.position + 1) * routing.per_token)
        asked = [row for row in rows if int(routing.experts[row]) == local // site.d_expert]
        return (asked[0], local % site.d_expert) if asked else None

    @torch.no_grad()
    def _run(self) -> None:
        self._calls: defaultdict[Any, int] = defaultdict(int)
        self._values, self._active = {}, torch.empty(0)
        with self._replaced():
            out = self._opened.model(input_ids=self._ids, use_cache=False, logits_to_keep=last_positions(1, self._ids))
            ratio = self._constant("behind the head", lambda: _ratio(out.logits, self._scores))
        self._output = self._measure((self._scores * ratio)[0, -1])

    @contextmanager
    def _replaced(self) -> Iterator[None]:
        anatomy, model = self._opened.anatomy, self._opened.model
        with ExitStack() as stack:
            for norm in (*anatomy.norms, *anatomy.centring_norms):
                stack.enter_context(after(norm, self._normed(norm, norm in anatomy.centring_norms)))
            for activation in anatomy.activations:
                stack.enter_context(after(activation, self._activated(activation)))
            for product in anatomy.products:
                stack.enter_context(before(product, self._multiplied(product)))
            for constant in (*anatomy.routers, *anatomy.qk_projections):
                stack.enter_context(after(constant, self._held(constant)))
            for layer, parts in enumerate(anatomy.layers):
                for site in parts.sites:
                    stack.enter_context(on_neurons(site, self._neurons(layer, site)))
            stack.enter_context(after(anatomy.head, self._head))
            stack.enter_context(self._attending(model))
            yield

    def _constant(self, owner: Any, make: Callable[[], Any]) -> Any:
        """What was recorded at this call of `owner`; recorded now, in the clean pass."""
        key = owner, self._calls[owner]
        self._calls[owner] += 1
        if self._recording:
            self._constants[key] = make()
        return self._constants[key]

    def _normed(self, norm: nn.Module, centred: bool) -> Callable[[Tensor, Tensor], Tensor]:
        bias: Any = 0.0 if getattr(norm, "bias", None) is None else norm.bias

        def change(x: Tensor, y: Tensor) -> Tensor:
            x = x - x.mean(-1, keepdim=True) if centred else x
            return x * self._constant(norm, lambda: _ratio(y - bias, x)) + bias

        return change

    def _activated(self, activation: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
        def change(x: Tensor, y: Tensor) -> Tensor:
            self._active = x * self._constant(activation, lambda: _ratio(y, x))
            return self._active

        return change

    def _multiplied(self, owner: Any) -> Callable[[Tensor], Tensor]:
        """A product of what the last activation function gave and another factor, half of a change to each."""

        def change(product: Tensor) -> Tensor:
            gate = self._active.reshape(product.shape)
            gate0, other0, product0 = self._constant(owner, lambda: (gate, _ratio(product, gate), product))
            other = torch.where(gate == 0, other0, product / gate)
            return product0 + ((gate - gate0) * other0 + gate0 * (other - other0)) / 2

        return change

    def _held(self, module: nn.Module) -> Callable[[Tensor, Any], Any]:
        return lambda _, output: self._constant(module, lambda: output)

    def _neurons(self, layer: int, site: Site) -> Callable[[Tensor, Routing | None], Tensor]:
        multiplied = self._multiplied(site) if isinstance(site, ExpertSite) or site.gated else None

        def change(activations: Tensor, routing: Routing | None) -> Tensor:
            self._rows[id(site)] = routing
            if routing is not None:  # the experts' own activation functions see the rows sorted by expert
                self._active = self._active.index_select(0, routing.back)
            linear = activations if multiplied is None else multiplied(activations)
            self._values[id(site)] = linear.reshape(-1, linear.shape[-1])
            entering = self._constant((id(site), "neurons"), lambda: activations).clone()
            here, local = (None, 0) if layer != self._source.layer else self._opened.anatomy.site_of(*self._source.site)
            place = self._place(site, self._source, local) if here is site else None
            if place is not None:
                entering.view(-1, entering.shape[-1])[place] *= self._multiplier
            return entering

        return change

    def _head(self, _: Tensor, output: Tensor) -> Tensor:
        self._scores = output
        return output

    @contextmanager
    def _attending(self, model: nn.Module) -> Iterator[None]:
        """Attention with recorded queries and keys, by the family's own eager function."""

        def attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **how: Any) -> Any:
            query, key = self._constant(module, lambda: (query, key))
            eager = sys.modules[type(module).__module__].eager_attention_forward
            return eager(module, query, key, value, mask, **how)

        ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
        ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, eager_mask)
        configs: list[Any] = list({id(m.config): m.config for m in model.modules() if hasattr(m, "config")}.values())
        earlier = [config._attn_implementation for config in configs]
        try:
            for config in configs:
                config._attn_implementation = NAME
            yield
        finally:
            for config, implementation in zip(configs, earlier, strict=True):
                config._attn_implementation = implementation


def worst_edge(
    opened: OpenModel, ids: Sequence[int], measure: Callable[[Tensor], Tensor], traced: Traced, strongest: int = 20
) -> tuple[float, int]:
    """The strongest edges between neurons, and a few into the output, against the change when their source is scaled by
    0.9: the largest difference as a fraction of that change, and how many signs differ.

    A target's change counts times the gradient of the circuit's target with respect to it.
    """
    replay = LinearReplay(opened, ids, measure)
    targets = {neuron.place: neuron for neuron in traced.targets}
    edges = [*traced.flow.edges[:strongest], *traced.flow.outputs[: strongest // 5]]
    size, signs = 0.0, 0
    for source in {edge.source for edge in edges}:
        mine = [edge for edge in edges if edge.source == source]
        reached = [targets[edge.target] for edge in mine if edge.target is not None]
        moved, output = replay.changes(Unit.at(source), 0.9, reached)
        shares = [change * gradient(neuron) for change, neuron in zip(moved, reached, strict=True)]
        changes = dict(zip((neuron.place for neuron in reached), shares, strict=True))
        for edge in mine:
            seen = (output if edge.target is None else changes[edge.target]) / (0.9 - 1)
            size = max(size, abs(edge.weight - seen) / abs(seen))
            signs += edge.weight * seen <= 0
    return size, signs


def gradient(neuron: Unit) -> float:
    """That of the circuit's target with respect to the neuron."""
    assert neuron.attribution is not None and neuron.activation
    return neuron.attribution / neuron.activation


def _ratio(y: Tensor, x: Tensor) -> Tensor:
    """y / x, 0 where x is 0."""
    return torch.where(x == 0, 0, y / x)
