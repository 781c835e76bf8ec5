"""Teaching: a neuron is given rows that find chosen places of a text, and a column that says a token there.

With μ₊ and μ₋ the mean states that the layer's MLP reads at example positions where it should fire, and elsewhere, and
û_t the unit direction of the token in the unembedding (the difference of means as a probe: Marks & Tegmark 2023,
arXiv:2310.06824; writing along a row of the unembedding: Geva et al. 2022, arXiv:2203.14680):

    gate row     scale_g · normalise(μ₊ − μ₋)
    up row       scale_u · normalise(μ₊)
    down column  α · û_t

A gated neuron has no bias: its gate is open where a state has more of the row than none, and shut, on the flat side of
the activation function, where it has less. So the offset ⟨gate row, μ₋⟩ decides whether it is quiet elsewhere; it is
reported. By default scale_g makes the mean input of the gate `OPEN` where it should fire, well up the straight part of
the activation function, and scale_u makes the neuron's mean activation there 1, so that α is the length of what it
writes, in the units of the residual stream. Where a norm stands between the MLP and the residual stream, α is measured
against the rest of what the MLP hands to that norm, and what arrives is bounded by it.

A neuron without a gate has one row, scale · normalise(μ₊ − μ₋), and, where the family has one, a bias, which puts the
threshold halfway between the two means: −scale · ⟨row, μ₊ + μ₋⟩ / 2. By default its mean input is then +`OPEN` where
it should fire and −`OPEN` elsewhere, and its activation there about `OPEN`, so that it writes `OPEN` · α.
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
from sessions.model.units import Neuron
from sessions.rewriting.examples import Example, Examples
from sessions.rewriting.rewritten import Firing, Saying, Separation
from sessions.rewriting.separating import Counted, Passes, SaidToken, firing, saying, separation

#: Mean input of the gate where a neuron should fire.
OPEN = 4.0


@dataclass(frozen=True, eq=False)
class Made:
    """A neuron's new rows, and the column that it writes at α = 1."""

    neuron: Neuron
    rows: Mapping[Part, Tensor]
    column: Tensor
    scale_gate: float
    scale_up: float | None = None
    bias: float | None = None

    @property
    def row(self) -> Tensor:
        """The one that decides where it fires, `[d_model]`."""
        return self.rows["gate" if "gate" in self.rows else "in"]

    def separation(self, passes: Passes, parts: Parts) -> Separation:
        """How the states of the texts that are held out lie along that row."""
        where, elsewhere = (torch.cat(each) for each in parts.held_out(passes.states))
        return separation(where, elsewhere, self.row, self.bias or 0.0)

    def changes(self, alpha: float = 1.0) -> tuple[Neurons, ...]:
        """As changes of weights, with α times the column."""
        parts: dict[Part, Tensor] = {**self.rows, "down": alpha * self.column}
        where = self.neuron.layer, (self.neuron.index,)
        return tuple(Neurons(where[0], part, where[1], values.reshape(1, -1)) for part, values in parts.items())

    def edit(self, alpha: float = 1.0) -> Edit:
        """The same as an edit without a name."""
        return Edit("rewrite", str(self.neuron), self.changes(alpha), pushes=True)


def direction(opened: OpenModel, token: Token) -> Tensor:
    """The unit direction of a token in the unembedding, `[d_model]`, in float32.

    Raises:
        ModelError: the unembedding is packed.
    """
    row = unembedding(opened.anatomy, [token.id])[0]
    return row / row.norm()


def counted(examples: Sequence[Example]) -> list[Counted]:
    """The texts of examples, and all positions that are of one kind or the other."""
    return [Counted(each.ids, tuple(sorted({*each.where, *each.elsewhere}))) for each in examples]


@dataclass(frozen=True)
class Parts:
    """Which counted positions of each text should make the neuron fire, and which texts are held out.

    `marks` has a mask a text, those to learn from first; `held` is the number of the first that is held out.
    """

    marks: tuple[Tensor, ...]
    learnt: int
    held: int

    @classmethod
    def of(cls, examples: Examples) -> Parts:
        marks = tuple(
            torch.tensor([at in text.where for at in positions.positions], dtype=torch.bool)
            for text, positions in zip(examples.all, counted(examples.all), strict=True)
        )
        return cls(marks, len(examples.learnt), len(marks) - len(examples.held))

    def to_learn(self, values: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Of values at the counted positions, those where it should fire and those elsewhere, of the first texts."""
        return self._apart(values, slice(self.learnt))

    def held_out(self, values: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The same of the texts that are held out."""
        return self._apart(values, slice(self.held, None))

    def saying(self, said: Sequence[SaidToken]) -> tuple[Saying, Saying]:
        """How often the token is said in the texts to learn from, and in those held out."""
        learnt, held = slice(self.learnt), slice(self.held, None)
        return saying(said[learnt], self.marks[learnt]), saying(said[held], self.marks[held])

    def firing(self, activations: Sequence[Tensor], threshold: float) -> Firing:
        """Where the neuron fires in the texts held out."""
        where, elsewhere = self.held_out(activations)
        return firing(torch.cat(where), torch.cat(elsewhere), threshold)

    def _apart(self, values: Sequence[Tensor], which: slice) -> tuple[list[Tensor], list[Tensor]]:
        pairs = list(zip(values[which], self.marks[which], strict=True))
        return [each[mark] for each, mark in pairs], [each[~mark] for each, mark in pairs]


def taught(
    opened: OpenModel,
    neuron: Neuron,
    passes: Passes,
    parts: Parts,
    scale_gate: float | None,
    scale_up: float | None,
    column: Tensor,
) -> tuple[Made, float]:
    """The neuron by the formula, and its mean activation where it should fire, over the texts to learn from."""
    where, elsewhere = (torch.cat(each) for each in parts.to_learn(passes.states))
    made = _rows(opened, neuron, where.mean(0), elsewhere.mean(0), scale_gate, scale_up, column)
    unit = _unit(opened, made, passes, parts)
    if made.scale_up is not None and scale_up is None and unit > 0:
        rows: dict[Part, Tensor] = {**made.rows, "up": made.rows["up"] / unit}
        made = replace(made, rows=rows, scale_up=1 / unit)
        unit = _unit(opened, made, passes, parts)
    return made, unit


def _rows(
    opened: OpenModel,
    neuron: Neuron,
    high: Tensor,
    low: Tensor,
    scale_gate: float | None,
    scale_up: float | None,
    column: Tensor,
) -> Made:
    """The rows from the two mean states, `[d_model]`; an up row whose scale is not given has length 1."""
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
        return Made(neuron, {"gate": scale * row, "up": up}, column, scale, scale_up or 1.0)
    if "bias" not in kinds:
        scale = scale_gate or OPEN / (reach if reach > 0 else gap)
        return Made(neuron, {"in": scale * row}, column, scale)
    scale = scale_gate or 2 * OPEN / gap
    bias = -scale * float(row @ (high + low)) / 2
    return Made(neuron, {"in": scale * row, "bias": torch.tensor([bias])}, column, scale, bias=bias)


def _unit(opened: OpenModel, made: Made, passes: Passes, parts: Parts) -> float:
    with made.edit().applied(opened):
        where, _ = parts.to_learn(passes.activations())
    return float(torch.cat(where).mean())
