"""Injecting from every layer into every layer: a state's source layer against the layer it is put at.

The source is read once, and what it holds at its position at each layer is put, a row of a batch each, at each layer of
the target (the layer-by-layer maps of Ghandeharioun et al. 2024, arXiv:2401.06102, section 4.1). A cell is one number:

- the activation of a neuron at the place, if one is observed;
- the probability of a token as the next one, if one is named;
- otherwise KL(next token after the source's place ‖ next token of the target), in nats: 0 where the target goes on as
  the source would.

Rows are taken in groups that share a target layer. Only what changes is computed: from the place on, over the keys and
values of the tokens before it, which are read once, and, where a neuron is observed, no further than the place; no
layer below the target layer, where all is as it was, and none above an observed neuron. In models that share keys and
values between layers all layers run, and where something live is in force in one part of a reply alone, all tokens.

Beside the cells stand the target as it is and, at each layer, a random vector of the norm that the source's state has
there.
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
from sessions.model.hooks import StateSite, after, before, skipped, together, watched
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.rows import LARGEST_BATCH
from sessions.model.units import Neuron
from sessions.patching.injecting import Injection, Seen, random_like
from sessions.patching.reaching import reaches_below
from sessions.patching.transplanting import above, passed, source_of
from sessions.patching.transplants import LayerMap


def swept(
    opened: OpenModel,
    asked: ConditionedPrompt,
    position: int,
    origin: Origin,
    layers: Sequence[int],
    site: StateSite,
    *,
    observe: Neuron | None = None,
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
        observe: the neuron whose activation is the measure; else `target`, the id whose probability is; else KL.
        adds, scale, inputs: as of an injection.
        batch: tokens computed at once.

    Raises:
        ModelError: a layer has no such site.
    """
    anatomy = opened.anatomy
    yield Progress("reading the source")
    seen, after = passed(
        opened,
        source_of(anatomy, origin, asked[1].treatments),
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
    text = _Text(opened, asked, position, whole=observe is None, cancel=cancel)
    with _kept_outputs(anatomy) as outputs:
        plain, logits = text.passed([()], read)
    (without,) = measure(plain, logits)
    random: list[float] = []
    columns: list[list[float]] = []  # of each target layer, the cells of all source layers
    many = text.rows(batch)
    for into in layers:
        rows = [put(into, random_like(states[into], rng + into)), *(put(into, states[layer]) for layer in layers)]
        # A neuron below the place stands where nothing changes.
        found = [without] * len(rows) if observe is not None and observe.layer < into else []
        while len(found) < len(rows):
            yield Progress("injecting", len(columns) * len(rows) + len(found), len(layers) * len(rows), "places")
            part = rows[len(found) : len(found) + many]
            with _needed(anatomy, outputs, into, observe, len(part)):
                there, logits = text.passed(part, read)
            found += measure(there, logits)
        random.append(found[0])
        columns.append(found[1:])
    yield Progress("looking what can be reached")
    limit = reaches_below(opened, asked, site, position, anatomy.n_layers, cancel)
    return LayerMap(
        layers=tuple(layers),
        cells=tuple(zip(*columns, strict=True)),
        source=measure.source(seen),
        without=without,
        random=tuple(random),
        reaches_below=limit,
    )


class _Text:
    """The target, read from the place on, to its end or, if not `whole`, no further than the place."""

    def __init__(
        self, opened: OpenModel, asked: ConditionedPrompt, position: int, *, whole: bool, cancel: Cancel | None = None
    ) -> None:
        encoded, condition = asked
        ids = encoded.ids if whole else encoded.ids[: position + 1]
        self._opened, self._position = opened, position
        self._asked = structs.replace(encoded, ids=ids), condition
        # Where a thought ends is read off all tokens, from the first.
        parted = any(treatment.where.region in SEGMENTS for treatment in condition.treatments)
        self._start, self._length = 0 if parted or opened.anatomy.recurrent else position, len(ids)
        self._prefix, self._cancel = Prefix(opened, ids, len(encoded.ids)), cancel
        with watched(opened.anatomy, cancel), running_rows(opened, [self._asked]):
            self._prefix.upto(self._start, 1)

    def rows(self, batch: int) -> int:
        """How many rows of it are computed at once, where that is so many tokens."""
        return max(1, min(batch // (self._length - self._start), CACHED * batch // self._length) - 1)

    def passed(self, rows: Sequence[Sequence[Injection]], neurons: Sequence[int]) -> tuple[Seen, Tensor]:
        """What is held at the place, and the logits at the end (see `transplanting.passed`)."""
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
    """Inside the block, one pass leaves what each decoder layer returned."""
    outputs: list[Any] = []

    def keep(_: Tensor, output: Any) -> Any:
        outputs.append(output)
        return output

    with together(after(layer.block, keep) for layer in anatomy.layers):
        yield outputs


@contextmanager
def _needed(anatomy: Anatomy, outputs: Sequence[Any], into: int, observe: Neuron | None, rows: int) -> Iterator[None]:
    """Inside the block, layers that the injection at `into` does not change, or that nobody looks at, do not run: they
    return what they did without it. Nor does the head for more than one row where nobody looks at it."""
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
    """What a layer returned for one row, for so many."""
    if isinstance(output, tuple):
        return (_repeated(output[0], rows), *output[1:])
    return output.repeat_interleave(rows, dim=-3)


class _Measure:
    """What a cell says of its row: from what a pass held at the place, or from its logits, `[rows, vocab]`."""

    def __init__(self, observe: Neuron | None, target: int | None, after_source: Tensor) -> None:
        self._observe, self._target, self._source = observe, target, after_source

    def __call__(self, seen: Seen, logits: Tensor) -> list[float]:
        if self._observe is not None:
            return [float(each) for each in seen.neurons[self._observe.layer][:, 0, self._observe.index]]
        said = logits.log_softmax(-1)
        if self._target is not None:
            return [float(each) for each in said[:, self._target].exp()]
        parts = self._source.exp() * (self._source - said)
        return [float(each) for each in torch.nan_to_num(parts, nan=0.0).sum(-1)]

    def source(self, seen: Seen) -> float | None:
        """The measure in the source; None where it is held against the source itself."""
        if self._observe is not None:
            return float(seen.neurons[self._observe.layer][0, 0, self._observe.index])
        return None if self._target is None else float(self._source[self._target].exp())
