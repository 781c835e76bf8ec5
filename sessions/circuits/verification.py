"""Verification: the exact change of the target when a unit is changed, for each unit alone.

The effect of a neuron is the target's value on the unchanged model minus its value with that neuron at zero (or at
another given value): positive where the neuron helps, like an attribution. Two hundred neurons are two hundred
interventions, of which only what changes is computed:

1. One forward pass gives the target's value and the output of every layer at every position.
2. Neurons are taken in groups, each neuron a row of a batch. A change at position p cannot reach the positions before
   it, so a group reads the tokens from its first position on, over the keys and values of the prefix, which grow from
   group to group and are copied for each.
3. Nor can it reach the layers below: these do not run, and their outputs of the first pass are reused.
4. Only the logits of the target's tokens are computed.

Where layers keep a running state of the text, it cannot be continued for many rows, and the whole text is read each
time.

Where neighbouring positions or layers have few neurons, computing a few more tokens or layers costs less than another
pass: groups and their batches are cut where that costs least (`_cut`). Nothing is approximated; a test compares with
ablation one by one.

For many prompts see `mean_effects`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sessions.cancel import Cancel
from sessions.errors import NotFinite
from sessions.events import Progress, Steps
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention, UnitConstant
from sessions.memory import in_parts
from sessions.model.finite import not_finite
from sessions.model.homes import free_memory
from sessions.model.hooks import after, skipped, together, watched
from sessions.model.logits import no_logits, only_target
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.target import Target
from sessions.model.tokens import last_positions
from sessions.model.units import Unit, noun

#: Tokens in one batch, over all its rows. A quarter of a gigabyte of activations on an 8B model.
LARGEST_BATCH = 2048
#: Tokens whose keys and values a batch may hold, for each token that it computes.
CACHED = 8
#: The share of the free memory that a batch may take.
_PART = 0.5
#: The fixed cost of a forward pass, in tokens.
_PASS = 12


@dataclass(frozen=True)
class ExactEffects:
    """`effects[i]` is the target's `value` minus its value with neuron i changed, alone. In the target's unit."""

    value: float
    effects: tuple[float, ...]


def verify(
    opened: OpenModel,
    ids: Sequence[int],
    neurons: Sequence[Unit],
    target: Target,
    *,
    values: Sequence[UnitConstant] | None = None,
    batch: int | None = None,
    cancel: Cancel | None = None,
) -> Steps[ExactEffects]:
    """The exact effect of each neuron on the target.

    Args:
        ids: the prompt; where the target is a sequence, followed by all its tokens but the last.
        neurons: a neuron without a position is changed at all of them; one below 0 counts from the end.
        values: the value that each neuron is held at; zero by default.
        batch: tokens computed at once, which bounds the memory; by default as many as memory allows. One row is
            computed whatever its length.

    Raises:
        UsageError: a neuron that the model does not have.
        NotFinite: the target's value is not finite; the message says where that begins.
        Cancelled: `cancel` was requested; every hook is gone.
    """
    constants: tuple[UnitConstant, ...] = (0.0,) * len(neurons) if values is None else tuple(values)
    effects = [0.0] * len(neurons)
    batch = batch or affordable(opened)
    neurons = [neuron.counted(len(ids)) for neuron in neurons]
    with watched(opened.anatomy, cancel):
        clean = _clean(opened, ids, target)
        prefix = Prefix(opened, ids)
        read = len(ids) - kept_of(target)  # from here on the target is read, so this much has to be computed
        starts = [0 if opened.anatomy.recurrent else min(neuron.position or 0, read) for neuron in neurons]
        done = 0
        for group in grouped(starts, len(ids)):
            start = min(starts[which] for which in group)
            layers = [neurons[which].layer for which in group]
            most = max(1, min(batch // (len(ids) - start), CACHED * batch // len(ids)))

            def replayed(rows: Sequence[int], group: Sequence[int] = group, start: int = start) -> list[float]:
                part = [group[row] for row in rows]
                changes = [Intervention((neurons[which],), 0.0, (constants[which],)) for which in part]
                return _replayed(opened, clean, prefix, start, target, changes)

            parts = stacked(layers, opened.anatomy.n_layers, len(ids) - start, most)
            for rows, changed in in_parts(parts, replayed):
                for row, value in zip(rows, changed, strict=True):
                    effects[group[row]] = clean.value - value
                done += len(rows)
                yield Progress("verifying", done, len(neurons), noun(neurons))
    return ExactEffects(clean.value, tuple(effects))


def affordable(opened: OpenModel) -> int:
    """Tokens in one batch: `LARGEST_BATCH`, or as many as fit into half of a GPU's free memory."""
    device, anatomy = opened.device, opened.anatomy
    free = free_memory(device) if device.type == "cuda" else None
    if free is None:
        return LARGEST_BATCH
    cached = 2 * anatomy.n_layers * anatomy.d_model * (1 + CACHED)  # keys and values
    numbers = cached + 8 * anatomy.d_model + 4 * max(anatomy.widths)
    return max(1, min(LARGEST_BATCH, int(_PART * free) // (numbers * opened.model.dtype.itemsize)))


@dataclass(frozen=True)
class _Clean:
    """The pass without changes: the target's value, and each layer's output, a tensor `[1, seq, d_model]` first."""

    ids: tuple[int, ...]
    value: float
    outputs: tuple[Any, ...]


@torch.inference_mode()
def _clean(opened: OpenModel, ids: Sequence[int], target: Target) -> _Clean:
    outputs: list[Any] = []

    def keep(_: Tensor, output: Any) -> Any:
        outputs.append(output)
        return output

    everything = torch.tensor([list(ids)], device=opened.device)
    kept = last_positions(kept_of(target), everything)
    with (
        together(after(layer.block, keep) for layer in opened.anatomy.layers),
        only_target(opened.anatomy, target) as read,
    ):
        out = opened.model(input_ids=everything, use_cache=False, logits_to_keep=kept)
    (value,) = read(out.logits).tolist()
    if not math.isfinite(value):
        raise not_finite(opened, [ids], "the target's value")
    return _Clean(tuple(ids), value, tuple(outputs))


class Prefix:
    """Keys and values of a text's tokens before a position, which can only grow.

    `length` is that of the whole text, where `ids` are only a part of it. Models whose layers keep a running state
    (`Anatomy.recurrent`) cannot use it.
    """

    def __init__(self, opened: OpenModel, ids: Sequence[int], length: int | None = None) -> None:
        self.length = length or len(ids)
        self._model: PreTrainedModel = opened.model
        self._device = opened.device
        self._anatomy: Anatomy = opened.anatomy
        self._ids = list(ids)
        self._cache: Any = None
        self._length = 0

    @torch.inference_mode()
    def upto(self, position: int, rows: int) -> Any:
        """A copy of the cache of the first `position` tokens for `rows` rows; None where `position` is 0."""
        if position > self._length:
            ids = torch.tensor([self._ids[self._length : position]], device=self._device)
            with no_logits(self._anatomy), self._anatomy.as_long_as(self.length):
                self._cache = self._model(
                    input_ids=ids,
                    position_ids=torch.arange(self._length, position, device=self._device)[None],
                    past_key_values=self._cache,
                    use_cache=True,
                    logits_to_keep=last_positions(1, ids),
                ).past_key_values
            self._length = position
        if self._cache is None:
            return None
        copied = copy.deepcopy(self._cache)
        copied.batch_repeat_interleave(rows)
        return copied


@torch.inference_mode()
def _replayed(
    opened: OpenModel, clean: _Clean, prefix: Prefix, start: int, target: Target, changes: Sequence[Intervention]
) -> list[float]:
    """The target's value in a batch of which row r runs under `changes[r]`, from position `start` on."""
    ids = torch.tensor([clean.ids[start:]] * len(changes), device=opened.device)
    positions = torch.arange(start, len(clean.ids), device=ids.device)[None].expand(len(changes), -1)
    cache = prefix.upto(start, len(changes))
    lowest = min(neuron.layer for change in changes for neuron in change.neurons)
    below = 0 if opened.anatomy.shares_keys else lowest
    idle = (
        skipped(layer.block, from_position(output, start, len(changes)))
        for layer, output in zip(opened.anatomy.layers[:below], clean.outputs, strict=False)
    )
    as_long_as = opened.anatomy.as_long_as(len(clean.ids))
    with together(idle), as_long_as, intervening(opened.anatomy, changes), only_target(opened.anatomy, target) as read:
        out = opened.model(
            input_ids=ids,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=last_positions(kept_of(target), ids),
        )
    return finite(read(out.logits), changes)


def from_position(output: Any, start: int, rows: int) -> Any:
    """The output of a layer from a position on, for each of `rows`."""
    if isinstance(output, Tensor):
        return output[:, start:].expand(rows, -1, -1)
    return (from_position(output[0], start, rows), *output[1:])


def kept_of(target: Target) -> int:
    """The number of last positions that the target is read at."""
    return len(target.tokens) if target.sequence else 1


def finite(values: Tensor, changes: Sequence[Intervention]) -> list[float]:
    """The values of the rows of a batch, `[rows]`, each with its own neuron held.

    Raises:
        NotFinite: one is not finite; the neuron is named.
    """
    numbers: list[float] = values.tolist()
    for value, change in zip(numbers, changes, strict=True):
        if not math.isfinite(value):
            constant = change.constants[0] if change.constants else 0.0
            raise NotFinite(
                f"the target's value is not finite with {change.neurons[0]} held at {_said(constant)}",
                "verify others, or open the model with --dtype float32",
            )
    return numbers


def _said(constant: UnitConstant) -> str:
    return f"{constant:g}" if isinstance(constant, float) else "its reference"


def grouped(positions: Sequence[int], length: int) -> list[list[int]]:
    """Indices of the neurons in groups of neighbouring positions, the first position first.

    A group costs a pass, the pass that extends the prefix, and for each neuron the tokens from the group's first
    position to the end.
    """
    return _cut(positions, lambda position, rows: 2 * _PASS + rows * (length - position))


def stacked(layers: Sequence[int], n_layers: int, tokens: int, most: int) -> list[list[int]]:
    """Indices of a group's neurons in batches of neighbouring layers, the lowest first, of at most `most` rows.

    A batch costs a pass and the tokens of all its rows for each layer from its lowest on.
    """
    batches = _cut(layers, lambda lowest, rows: (n_layers - lowest) * (_PASS + rows * tokens))
    return [batch[first : first + most] for batch in batches for first in range(0, len(batch), most)]


def _cut(keys: Sequence[int], cost: Callable[[int, int], int]) -> list[list[int]]:
    """Indices of `keys`, in rising order of the keys, cut where that costs least.

    `cost(first, count)` is the cost of a piece with this smallest key and this many members. Dynamic programming over
    the distinct keys; equal ones stay together.
    """
    members: dict[int, list[int]] = {}
    for which, key in enumerate(keys):
        members.setdefault(key, []).append(which)
    steps = sorted(members)
    best = [(0, 0)]  # cost of the first n steps, and where the last piece of them begins
    for end in range(1, len(steps) + 1):
        count, options = 0, []
        for begin in range(end - 1, -1, -1):
            count += len(members[steps[begin]])
            options.append((best[begin][0] + cost(steps[begin], count), begin))
        best.append(min(options))
    pieces: list[list[int]] = []
    end = len(steps)
    while end:
        begin = best[end][1]
        pieces.insert(0, [which for step in steps[begin:end] for which in members[step]])
        end = begin
    return pieces
