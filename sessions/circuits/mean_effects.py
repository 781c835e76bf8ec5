"""Mean effects: the exact effect of ablating a neuron, averaged over many prompts, each with its own target.

The effect of a neuron is the mean over prompts of the target's value minus its value with that neuron alone changed
(`verification`). Neurons mostly have no position here, so there is no prefix to reuse, and a pass for one short prompt
is small. Rows are therefore pairs of a prompt and a neuron, from prompts of similar length, padded on the right. As in
verification, pairs are taken in the order of layers, the layers below do not run, and only the logits of the targets'
tokens are computed. Some of these batches, of the same prompts, are a piece (`model.pieces`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.cases import Case
from sessions.circuits.verification import ExactEffects, affordable, finite, stacked
from sessions.events import Progress, Steps
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention, UnitConstant
from sessions.memory import in_parts
from sessions.model.finite import not_finite
from sessions.model.hooks import after, skipped, together, watched
from sessions.model.logits import only_at_ends, only_tokens
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.pieces import Computing, Engine, WorkingModel, one_by_one
from sessions.model.rows import batches, padded_rows
from sessions.model.tokens import last_positions
from sessions.model.units import Unit

#: Batches of changed rows in one piece: a pass without changes is run once for all of them.
BATCHES = 16


def mean_effects(
    opened: OpenModel,
    cases: Sequence[Case],
    neurons: Sequence[Unit],
    *,
    values: Sequence[UnitConstant] | None = None,
    batch: int | None = None,
    cancel: Cancel | None = None,
    engine: Engine | None = None,
) -> Steps[ExactEffects]:
    """The mean exact effect of each neuron on the targets of the cases, and the mean target.

    Args:
        neurons: a neuron without a position is changed at all of them; one below 0 counts from each prompt's end.
        values: the value that each neuron is held at; zero by default.
        batch: tokens computed at once, padding included; by default as many as memory allows.
        engine: computes the batches; by default in this process, on `opened`.

    Raises:
        UsageError: a neuron that the model does not have.
        NotFinite: a target's value is not finite; the message says where that begins.
        Cancelled: `cancel` was requested; every hook is gone.
    """
    constants: tuple[UnitConstant, ...] = (0.0,) * len(neurons) if values is None else tuple(values)
    job = EffectsJob(tuple(cases), tuple(neurons), constants, batch or affordable(opened), opened.anatomy.n_layers)
    sums, targets = [0.0] * len(neurons), [0.0] * len(cases)

    def take(piece: EffectsPiece, outcome: PieceEffects) -> None:
        for number, value in zip(piece.cases, outcome.targets, strict=True):
            targets[number] = value
        for which, effect in outcome.effects.items():
            sums[which] += effect

    total = len(cases) * len(neurons)
    yield from (engine or one_by_one(WorkingModel(opened, cancel)))(
        job, job.pieces(), take, lambda done, _: Progress("verifying", done, total, "effects")
    )
    return ExactEffects(sum(targets) / len(cases), tuple(effect / len(cases) for effect in sums))


@dataclass(frozen=True)
class EffectsPiece:
    """Some batches of rows, of the cases of these numbers: each row is the place of a case among them, and the number
    of a neuron."""

    cases: tuple[int, ...]
    parts: tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True)
class PieceEffects:
    """The targets of a piece's cases without changes, and the summed effects of its neurons, by number."""

    targets: tuple[float, ...]
    effects: dict[int, float]


@dataclass
class EffectsJob:
    """Effects as pieces: the neurons with what each is held at, and the tokens and layers that batches are cut by."""

    cases: tuple[Case, ...]
    neurons: tuple[Unit, ...]
    constants: tuple[UnitConstant, ...]
    tokens: int
    layers: int
    _clean: tuple[tuple[int, ...], _Clean] | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_clean": None}

    def pieces(self) -> Iterator[EffectsPiece]:
        """Prompts of similar length with all neurons, in the order of layers, a few batches each."""
        for numbers in batches([len(case.ids) for case in self.cases], self.tokens):
            pairs = [(row, which) for row in range(len(numbers)) for which in range(len(self.neurons))]
            longest = len(self.cases[numbers[-1]].ids)
            layers = [self.neurons[which].layer for _, which in pairs]
            parts = [
                tuple(pairs[number] for number in part)
                for part in stacked(layers, self.layers, longest, max(1, self.tokens // longest))
            ]
            for first in range(0, max(1, len(parts)), BATCHES):
                yield EffectsPiece(tuple(numbers), tuple(parts[first : first + BATCHES]))

    def size(self, piece: EffectsPiece) -> float:
        return sum(map(len, piece.parts))

    def state(self, piece: EffectsPiece) -> None:
        return None

    def compute(self, model: WorkingModel, piece: EffectsPiece) -> Computing[PieceEffects]:
        opened, done, effects = model.opened, 0, dict[int, float]()
        with watched(opened.anatomy, model.cancel):
            if self._clean is None or self._clean[0] != piece.cases:
                self._clean = piece.cases, _clean(opened, [self.cases[number] for number in piece.cases])
            clean = self._clean[1]

            def replayed(part: Sequence[tuple[int, int]]) -> list[float]:
                changes = [
                    Intervention((self.neurons[which].counted(clean.lengths[row]),), 0.0, (self.constants[which],))
                    for row, which in part
                ]
                return _replayed(opened, clean, [row for row, _ in part], changes)

            for part, changed in in_parts(piece.parts, replayed):
                for (row, which), value in zip(part, changed, strict=True):
                    effects[which] = effects.get(which, 0.0) + clean.values[row] - value
                done += len(part)
                yield done
        return PieceEffects(clean.values, effects)


@dataclass(frozen=True)
class _Clean:
    """The pass over some prompts without changes: their targets' values, and the output of each layer, rows first.

    `ids` are `[prompts, longest]`, `wanted` the two tokens of each target, `[prompts, 2]`.
    """

    ids: Tensor
    lengths: tuple[int, ...]
    wanted: Tensor
    values: tuple[float, ...]
    outputs: tuple[Any, ...]


@torch.inference_mode()
def _clean(opened: OpenModel, cases: Sequence[Case]) -> _Clean:
    outputs: list[Any] = []

    def keep(_: Tensor, output: Any) -> Any:
        outputs.append(output)
        return output

    lengths = tuple(len(case.ids) for case in cases)
    wanted = torch.tensor([case.wanted for case in cases])
    kept = together(after(layer.block, keep) for layer in opened.anatomy.layers)
    rows = padded_rows(opened, [case.ids for case in cases])
    with kept, rows as ids, differences(opened.anatomy, lengths, wanted) as read:
        out = opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(ids.shape[1], ids))
    values = read(out.logits)
    if not bool(values.isfinite().all()):
        names = [repr(case.asked.prompt) for case in cases]
        raise not_finite(opened, [case.ids for case in cases], "a target's value", names)
    return _Clean(ids, lengths, wanted, tuple(values.tolist()), tuple(outputs))


@torch.inference_mode()
def _replayed(opened: OpenModel, clean: _Clean, rows: Sequence[int], changes: Sequence[Intervention]) -> list[float]:
    """The target of prompt `rows[r]` in a batch of which row r runs under `changes[r]`."""
    lowest = min(neuron.layer for change in changes for neuron in change.neurons)
    below = 0 if opened.anatomy.shares_keys else lowest
    which = torch.tensor(rows)
    layers = zip(opened.anatomy.layers[:below], clean.outputs, strict=False)
    idle = together(skipped(layer.block, _of(output, which)) for layer, output in layers)
    ends = [clean.lengths[row] for row in rows]
    ids = clean.ids[which.to(clean.ids.device)]
    as_long_as, targets = opened.anatomy.as_long_as(*ends), differences(opened.anatomy, ends, clean.wanted[which])
    with idle, as_long_as, intervening(opened.anatomy, changes), targets as read:
        out = opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(ids.shape[1], ids))
    return finite(read(out.logits), changes)


def _of(output: Any, rows: Tensor) -> Any:
    """The output of a layer in some rows."""
    if isinstance(output, Tensor):
        return output[rows.to(output.device)]
    return (_of(output[0], rows), *output[1:])


@contextmanager
def differences(anatomy: Anatomy, lengths: Sequence[int], wanted: Tensor) -> Iterator[Callable[[Tensor], Tensor]]:
    """Inside the block, passes over rows padded on the right compute the logits of the `wanted` tokens, `[rows, 2]`,
    after each row's last token, and no others.

    Yields the function that reads the difference of each row's two logits, `[rows]` in float32.
    """
    tokens, columns = wanted.unique(return_inverse=True)

    def read(logits: Tensor) -> Tensor:
        pairs = logits[:, 0].float().gather(1, columns.to(logits.device))
        return pairs[:, 0] - pairs[:, 1]

    with only_at_ends(anatomy, lengths), only_tokens(anatomy, tokens.tolist()):
        yield read
