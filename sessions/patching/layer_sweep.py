"""Injecting from every layer into every layer: the source layer of a state against the layer that it is injected at.

The source is read once. Its state at each layer, at its position, is injected at each layer of the target, one row of a
batch each (the layer-by-layer maps of Ghandeharioun et al. 2024, arXiv:2401.06102, section 4.1). A cell is one number:

- the activation of a neuron at the place, if one is observed;
- the probability of a token as the next one, if one is named;
- otherwise KL(next token after the source's place ‖ next token of the target), in nats: 0 where the target continues
  as the source would.

Rows are taken in groups that share a target layer. Only what changes is computed. Tokens before the place are read once
for their keys and values; where a neuron is observed, tokens after the place are not read. Layers below the target
layer, which do not change, and above an observed neuron do not run. In models that share keys and values between layers
all layers run; where something live is in force in only one part of a reply, all tokens are read.

The map also has the measure in the unchanged target and, at each layer, with a random vector of the norm of the
source's state there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from msgspec import structs
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.verification import CACHED, Prefix
from sessions.directions.findings import Origin
from sessions.events import Progress, Steps
from sessions.interventions.answering import ConditionedPrompt, running_rows
from sessions.interventions.intervention import SEGMENTS
from sessions.memory import in_parts
from sessions.model.hooks import StateSite, after, before, skipped, together, watched
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.rows import LARGEST_BATCH
from sessions.model.units import Unit
from sessions.patching.injecting import Injection, Seen, random_like
from sessions.patching.reaching import reaches_below
from sessions.patching.transplanting import above, passed, source_of
from sessions.patching.transplants import LayerMap


def swept(
    opened: OpenModel,
    prompt: ConditionedPrompt,
    position: int,
    origin: Origin,
    layers: Sequence[int],
    site: StateSite,
    *,
    observe: Unit | None = None,
    target: int | None = None,
    adds: bool = False,
    scale: float = 1.0,
    inputs: bool = False,
    rng: int = 0,
    batch: int = LARGEST_BATCH,
    cancel: Cancel | None = None,
) -> Steps[LayerMap]:
    """The measure for every source layer and every target layer.

    Args:
        position: where in the target; `origin` says where in the source.
        observe: the neuron whose activation is the measure.
        target: without `observe`, the id of the token whose probability is the measure; without both it is KL.
        adds, scale, inputs: as in an injection.
        batch: tokens computed at once.

    Raises:
        ModelError: a layer has no such site.
    """
    anatomy = opened.anatomy
    yield Progress("reading the source")
    seen, after = passed(
        opened,
        source_of(anatomy, origin, prompt[1].treatments),
        [()],
        [origin.position],
        states=[(layer, site) for layer in layers],
        neurons=() if observe is None else [observe.layer],
        inputs=inputs,
        logits_at=origin.position,
        cancel=cancel,
    )
    states = {layer: seen.states[layer, site][0, 0] * scale for layer in layers}
    measure = _Measure(observe, target, after[0].log_softmax(-1))

    def put(layer: int, state: Tensor) -> tuple[Injection, ...]:
        swapped = above(seen.inputs, layer, site) if inputs else {}
        return (Injection(layer, site, position, state, adds, swapped),)

    read = () if observe is None else [observe.layer]
    text = _Text(opened, prompt, position, whole=observe is None, cancel=cancel)
    with _kept_outputs(anatomy) as outputs:
        plain, logits = text.passed([()], read)
    (without,) = measure(plain, logits)
    random: list[float] = []
    columns: list[list[float]] = []  # for each target layer, the cells of all source layers
    at_once = text.rows(batch)
    for into in layers:
        rows = [put(into, random_like(states[into], rng + into)), *(put(into, states[layer]) for layer in layers)]
        # A neuron below the injection does not change.
        results = [without] * len(rows) if observe is not None and observe.layer < into else []

        def reached(part: Sequence[tuple[Injection, ...]], into: int = into) -> list[float]:
            with _needed(anatomy, outputs, into, observe, len(part)):
                return list(measure(*text.passed(part, read)))

        parts = (rows[first : first + at_once] for first in range(len(results), len(rows), at_once))
        yield Progress("injecting", len(columns) * len(rows), len(layers) * len(rows), "places")
        for _, values in in_parts(parts, reached):
            results += values
            yield Progress("injecting", len(columns) * len(rows) + len(results), len(layers) * len(rows), "places")
        random.append(results[0])
        columns.append(results[1:])
    yield Progress("testing what the position can reach")
    limit = reaches_below(opened, prompt, site, position, anatomy.n_layers, cancel)
    return LayerMap(
        layers=tuple(layers),
        cells=tuple(zip(*columns, strict=True)),
        source=measure.source(seen),
        without=without,
        random=tuple(random),
        reaches_below=limit,
    )


class _Text:
    """The target text from the place on: to its end if `whole`, else the place alone."""

    def __init__(
        self, opened: OpenModel, prompt: ConditionedPrompt, position: int, *, whole: bool, cancel: Cancel | None = None
    ) -> None:
        encoded, condition = prompt
        ids = encoded.ids if whole else encoded.ids[: position + 1]
        self._opened, self._position = opened, position
        self._asked = structs.replace(encoded, ids=ids), condition
        # The end of a thought can only be detected from all tokens.
        parted = any(treatment.where.region in SEGMENTS for treatment in condition.treatments)
        self._start, self._length = 0 if parted or opened.anatomy.recurrent else position, len(ids)
        self._prefix, self._cancel = Prefix(opened, ids, len(encoded.ids)), cancel
        with watched(opened.anatomy, cancel), running_rows(opened, [self._asked]):
            self._prefix.upto(self._start, 1)

    def rows(self, batch: int) -> int:
        """How many rows of it make a batch of `batch` tokens."""
        return max(1, min(batch // (self._length - self._start), CACHED * batch // self._length) - 1)

    def passed(self, rows: Sequence[Sequence[Injection]], neurons: Sequence[int]) -> tuple[Seen, Tensor]:
        """The values at the place, and the logits at the end (see `transplanting.passed`)."""
        with self._opened.anatomy.as_long_as(self._prefix.length):
            return passed(
                self._opened,
                self._asked,
                rows,
                [self._position],
                neurons=neurons,
                start=self._start,
                past=self._prefix.upto(self._start, len(rows)),
                cancel=self._cancel,
            )


@contextmanager
def _kept_outputs(anatomy: Anatomy) -> Iterator[list[Any]]:
    """Inside the block, one pass records what each decoder layer returned."""
    outputs: list[Any] = []

    def keep(_: Tensor, output: Any) -> Any:
        outputs.append(output)
        return output

    with together(after(layer.block, keep) for layer in anatomy.layers):
        yield outputs


@contextmanager
def _needed(anatomy: Anatomy, outputs: Sequence[Any], into: int, observe: Unit | None, rows: int) -> Iterator[None]:
    """Inside the block, layers that the injection at `into` does not change, or whose output is not used, do not run:
    they return their earlier output. The head runs for one row alone where its output is not used."""
    unread = [] if observe is None else [before(anatomy.head, lambda hidden: hidden[:1])]
    if anatomy.shares_keys:
        with together(unread):
            yield
        return
    last = anatomy.n_layers - 1 if observe is None else observe.layer
    idle = [number for number in range(anatomy.n_layers) if number < into - 1 or number > last]
    hooks = [skipped(anatomy.layers[number].block, outputs[number]) for number in idle]
    hooks += unread
    if into:
        hooks.append(skipped(anatomy.layers[into - 1].block, _repeated(outputs[into - 1], rows)))
    with together(hooks):
        yield


def _repeated(output: Any, rows: int) -> Any:
    """What a layer returned for one row, repeated for `rows` rows."""
    if isinstance(output, tuple):
        return (_repeated(output[0], rows), *output[1:])
    return output.repeat_interleave(rows, dim=-3)


class _Measure:
    """The measure of each row, from the values at the place or the logits, `[rows, vocab]`, of a pass."""

    def __init__(self, observe: Unit | None, target: int | None, after_source: Tensor) -> None:
        self._observe, self._target, self._source = observe, target, after_source

    def __call__(self, seen: Seen, logits: Tensor) -> list[float]:
        if self._observe is not None:
            return [float(value) for value in seen.neurons[self._observe.layer][:, 0, self._observe.index]]
        log_probs = logits.log_softmax(-1)
        if self._target is not None:
            return [float(value) for value in log_probs[:, self._target].exp()]
        parts = self._source.exp() * (self._source - log_probs)
        return [float(value) for value in torch.nan_to_num(parts, nan=0.0).sum(-1)]

    def source(self, seen: Seen) -> float | None:
        """The measure in the source; None for KL, which is measured from the source."""
        if self._observe is not None:
            return float(seen.neurons[self._observe.layer][0, 0, self._observe.index])
        return None if self._target is None else float(self._source[self._target].exp())
