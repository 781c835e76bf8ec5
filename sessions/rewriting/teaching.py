"""Teaches a neuron: computes rows that detect chosen places of a text, and a column that pushes a token there.

μ₊ and μ₋ are the mean inputs of the layer's MLP at example positions where the neuron should fire, and elsewhere. û_t
is the unit direction of the token in the unembedding. (The difference of means as a probe: Marks & Tegmark 2023,
arXiv:2310.06824; writing along a row of the unembedding: Geva et al. 2022, arXiv:2203.14680.)

    gate row     scale_g · normalise(μ₊ − μ₋)
    up row       scale_u · normalise(μ₊)
    down column  α · û_t

A gated neuron has no bias. Its gate is open if the state has a positive component along the row, and closed if it has a
negative one. So the offset ⟨gate row, μ₋⟩ decides whether the neuron is quiet elsewhere; the result reports it. By
default, scale_g makes the gate's mean input `OPEN` where the neuron should fire, which is on the straight part of the
activation function. scale_u makes the neuron's mean activation there 1, so that α is the length of its output, in the
units of the residual stream. If a norm stands between the MLP and the residual stream, α is relative to the rest of the
MLP's output, and the norm bounds the result.

A neuron without a gate has one row, scale · normalise(μ₊ − μ₋). In families with a bias, the bias puts the threshold
halfway between the two means: −scale · ⟨row, μ₊ + μ₋⟩ / 2. By default its mean input is then +`OPEN` where it should
fire and −`OPEN` elsewhere. Its activation is about `OPEN` where it fires, so that it writes `OPEN` · α.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sessions.edits.edit import Edit, Neurons
from sessions.errors import UsageError
from sessions.model.info import Token
from sessions.model.opening import OpenModel
from sessions.model.places import Part, parts_of, unembedding
from sessions.model.units import Unit
from sessions.rewriting.examples import Example, Examples
from sessions.rewriting.rewritten import Firing, Saying, Separation
from sessions.rewriting.separating import Counted, Passes, SaidToken, firing, saying, separation

#: The default mean input of the gate where a neuron should fire.
OPEN = 4.0


@dataclass(frozen=True, eq=False)
class TaughtNeuron:
    """A neuron's new rows, and its new column at α = 1."""

    neuron: Unit
    rows: Mapping[Part, Tensor]
    column: Tensor
    scale_gate: float
    scale_up: float | None = None
    bias: float | None = None

    @property
    def row(self) -> Tensor:
        """The row that decides where the neuron fires, `[d_model]`."""
        return self.rows["gate" if "gate" in self.rows else "in"]

    def separation(self, passes: Passes, marks: ExampleMarks) -> Separation:
        """The separation of the held-out states along that row."""
        where, elsewhere = (torch.cat(rows) for rows in marks.held_out(passes.states))
        return separation(where, elsewhere, self.row, self.bias or 0.0)

    def changes(self, alpha: float = 1.0) -> tuple[Neurons, ...]:
        """The changes of weights, with α times the column."""
        parts: dict[Part, Tensor] = {**self.rows, "down": alpha * self.column}
        where = self.neuron.layer, (self.neuron.index,)
        return tuple(Neurons(where[0], part, where[1], values.reshape(1, -1)) for part, values in parts.items())

    def edit(self, alpha: float = 1.0) -> Edit:
        """The `changes` as an edit without a name."""
        return Edit("rewrite", str(self.neuron), self.changes(alpha), pushes=True)


def direction(opened: OpenModel, token: Token) -> Tensor:
    """The unit direction of a token in the unembedding, `[d_model]`, in float32.

    Raises:
        ModelError: the unembedding is packed.
    """
    row = unembedding(opened.anatomy, [token.id])[0]
    return row / row.norm()


def counted(examples: Sequence[Example]) -> list[Counted]:
    """The ids of each example, and all its marked positions."""
    return [Counted(example.ids, tuple(sorted({*example.where, *example.elsewhere}))) for example in examples]


@dataclass(frozen=True)
class ExampleMarks:
    """The counted positions of each text where the neuron should fire, and the division into learning and held-out
    texts.

    `marks` has one mask a text. The first `learnt` texts are for learning; those from number `held` on are held out.
    """

    marks: tuple[Tensor, ...]
    learnt: int
    held: int

    @classmethod
    def of(cls, examples: Examples) -> ExampleMarks:
        marks = tuple(
            torch.tensor([at in text.where for at in positions.positions], dtype=torch.bool)
            for text, positions in zip(examples.all, counted(examples.all), strict=True)
        )
        return cls(marks, len(examples.learnt), len(marks) - len(examples.held))

    def to_learn(self, values: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The values at counted positions of the learning texts: where the neuron should fire, and elsewhere."""
        return self._apart(values, slice(self.learnt))

    def held_out(self, values: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The values at counted positions of the held-out texts: where the neuron should fire, and elsewhere."""
        return self._apart(values, slice(self.held, None))

    def saying(self, predictions: Sequence[SaidToken]) -> tuple[Saying, Saying]:
        """How often the model predicts the token in the learning texts, and in the held-out texts."""
        learnt, held_out = slice(self.learnt), slice(self.held, None)
        return saying(predictions[learnt], self.marks[learnt]), saying(predictions[held_out], self.marks[held_out])

    def firing(self, activations: Sequence[Tensor], threshold: float) -> Firing:
        """Where the neuron fires in the held-out texts."""
        where, elsewhere = self.held_out(activations)
        return firing(torch.cat(where), torch.cat(elsewhere), threshold)

    def _apart(self, values: Sequence[Tensor], which: slice) -> tuple[list[Tensor], list[Tensor]]:
        pairs = list(zip(values[which], self.marks[which], strict=True))
        return [text[mark] for text, mark in pairs], [text[~mark] for text, mark in pairs]


def taught(
    opened: OpenModel,
    neuron: Unit,
    passes: Passes,
    marks: ExampleMarks,
    scale_gate: float | None,
    scale_up: float | None,
    column: Tensor,
) -> tuple[TaughtNeuron, float]:
    """The neuron by the formula, and its mean activation where it should fire in the learning texts."""
    where, elsewhere = (torch.cat(rows) for rows in marks.to_learn(passes.states))
    made = _rows(opened, neuron, where.mean(0), elsewhere.mean(0), scale_gate, scale_up, column)
    unit = _unit(opened, made, passes, marks)
    if made.scale_up is not None and scale_up is None and unit > 0:
        rows: dict[Part, Tensor] = {**made.rows, "up": made.rows["up"] / unit}
        made = replace(made, rows=rows, scale_up=1 / unit)
        unit = _unit(opened, made, passes, marks)
    return made, unit


def _rows(
    opened: OpenModel,
    neuron: Unit,
    high: Tensor,
    low: Tensor,
    scale_gate: float | None,
    scale_up: float | None,
    column: Tensor,
) -> TaughtNeuron:
    """The rows from the two mean states, `[d_model]` each; an up row without a given scale has length 1."""
    difference = high - low
    gap = float(difference.norm())
    if not gap > 0:
        raise UsageError(
            f"what layer {neuron.layer} reads where {neuron} should fire is the same as elsewhere",
            "take a higher layer, or examples that differ",
        )
    row = difference / gap
    reach, kinds = float(row @ high), parts_of(opened.anatomy, neuron.layer, neuron.index)
    if "gate" in kinds:
        scale = scale_gate or OPEN / (reach if reach > 0 else gap)
        up = high / high.norm() * (scale_up or 1.0)
        return TaughtNeuron(neuron, {"gate": scale * row, "up": up}, column, scale, scale_up or 1.0)
    if "bias" not in kinds:
        scale = scale_gate or OPEN / (reach if reach > 0 else gap)
        return TaughtNeuron(neuron, {"in": scale * row}, column, scale)
    scale = scale_gate or 2 * OPEN / gap
    bias = -scale * float(row @ (high + low)) / 2
    return TaughtNeuron(neuron, {"in": scale * row, "bias": torch.tensor([bias])}, column, scale, bias=bias)


def _unit(opened: OpenModel, made: TaughtNeuron, passes: Passes, marks: ExampleMarks) -> float:
    with made.edit().applied(opened):
        where, _ = marks.to_learn(passes.activations())
    return float(torch.cat(where).mean())
