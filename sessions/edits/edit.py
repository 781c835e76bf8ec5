"""`Edit`: a weight change as data, small enough to be read, saved and undone.

An edit is a list of changes, applied one after the other:

    Neurons      rows and columns of single neurons, replaced or added to:  W[i] ← v   or   W[i] ← W[i] + v
    Projection   a subspace with orthonormal basis Q removed from what a matrix writes, or all that is kept of it:
                 W ← W − Q Qᵀ W   or   W ← Q Qᵀ W
    LowRank      W ← W + L R, which is what an adapter merged into the weights is

Each is computed in float32 from the current weights and rounded once to their dtype, so that the same edits in the same
order give the same bits. None can be undone by arithmetic, which would round again: the ledger keeps what an edit
overwrites while it is on. The file of an edit holds only the deltas: lines of neurons with the values they replaced,
bases, factors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from sessions.errors import ArtifactError
from sessions.model.opening import OpenModel
from sessions.model.places import Part, WeightSlice, Writer, module_place, neuron_places, writer_places

#: Elements of a matrix that are processed at once, so that a large one is never copied to float32 in full.
BLOCK = 2**22


class Undo(ExitStack):
    """Closing it undoes a change. `squares` is the squared norm of the weight change."""

    squares = 0.0

    @property
    def norm(self) -> float:
        """The norm of the weight change."""
        return math.sqrt(self.squares)

    def pop_all(self) -> Self:
        kept = super().pop_all()
        kept.squares = self.squares
        return kept


class WeightChange(Protocol):
    """One change. Shapes are checked when it is applied."""

    def applied(self, opened: OpenModel) -> Undo:
        """Apply it. Closing what is returned restores the exact bits.

        Raises:
            UsageError, ModelError, ArtifactError: it does not fit the model; nothing has changed then.
        """


@dataclass(frozen=True, eq=False)
class Neurons:
    """One part of some neurons of a layer: `values` `[n, d_model]` (`[n, 1]` for a bias) replace the weights, or are
    added to them. `before`, in a recorded edit, are the weights when the edit was made."""

    layer: int
    part: Part
    indices: tuple[int, ...]
    values: Tensor
    adds: bool = False
    before: Tensor | None = None

    def applied(self, opened: OpenModel) -> Undo:
        if len(set(self.indices)) < len(self.indices):
            raise ArtifactError(f"the edit changes a neuron's {self.part} in layer {self.layer} twice at once")
        places = neuron_places(opened.anatomy, self.layer, self.part, self.indices)
        with Undo() as sheet:
            for place, numbers in places:
                values = self.values[list(numbers)]
                old = sheet.enter_context(_kept(place))
                if old.shape != values.shape:
                    raise _misfit(f"L{self.layer} {self.part}", values, old)
                place.write(old.float() + values.to(old.device, torch.float32) if self.adds else values)
                sheet.squares += _squares(place.read(), old, f"L{self.layer} {self.part}")
            return sheet.pop_all()

    def recorded(self, opened: OpenModel) -> Neurons:
        """The same change with the model's current weights as `before`."""
        before = torch.empty_like(self.values, dtype=torch.float32, device="cpu")
        for place, numbers in neuron_places(opened.anatomy, self.layer, self.part, self.indices):
            before[list(numbers)] = place.read().float().cpu()
        return replace(self, before=before)


@dataclass(frozen=True, eq=False)
class Projection:
    """Removes a subspace from what a layer's MLP or attention writes or, with `keeps`, all but that subspace.

    `basis` is `[k, d_model]`, its rows orthonormal.
    """

    layer: int
    writer: Writer
    basis: Tensor
    keeps: bool = False

    def applied(self, opened: OpenModel) -> Undo:
        with Undo() as sheet:
            for place in writer_places(opened.anatomy, self.layer, self.writer):
                if self.basis.shape[1] != place.matrix.shape[0]:
                    raise _misfit(f"L{self.layer} {self.writer}", self.basis.T, place.matrix)
                sheet.enter_context(_kept(place))
                sheet.squares += _by_blocks(place.matrix, self._projected, f"L{self.layer} {self.writer}")
            return sheet.pop_all()

    def _projected(self, columns: Tensor, _: slice) -> Tensor:
        basis = self.basis.to(columns.device, torch.float32)
        inside = basis.T @ (basis @ columns)
        return inside if self.keeps else columns - inside


@dataclass(frozen=True, eq=False)
class LowRank:
    """`left` `[out, r]` times `right` `[r, in]`, added to the weight of a projection named as in the model."""

    weight: str
    left: Tensor
    right: Tensor

    def applied(self, opened: OpenModel) -> Undo:
        place = module_place(opened.model, self.weight)
        if place.matrix.shape != (len(self.left), self.right.shape[1]):
            raise ArtifactError(
                f"the edit adds [{len(self.left)}, {self.right.shape[1]}] to {self.weight}, which is "
                f"{list(place.matrix.shape)} in this model",
                "open the model it was made on",
            )
        with Undo() as sheet:
            sheet.enter_context(_kept(place))
            sheet.squares = _by_blocks(place.matrix, self._added, self.weight)
            return sheet.pop_all()

    def _added(self, columns: Tensor, which: slice) -> Tensor:
        left, right = (factor.to(columns.device, torch.float32) for factor in (self.left, self.right[:, which]))
        return columns + left @ right


@torch.no_grad()
def _by_blocks(matrix: Tensor, change: _OfColumns, where: str) -> float:
    """Replace a matrix in place, some columns at a time, which `change` receives in float32. Returns the sum of squared
    differences."""
    width = max(1, BLOCK // matrix.shape[0])
    squares = 0.0
    for start in range(0, matrix.shape[1], width):
        which = slice(start, start + width)
        old = matrix[:, which].float()
        new = change(old, which).to(matrix.dtype)
        squares += _squares(new, old, where)
        matrix[:, which] = new
    return squares


def _squares(new: Tensor, old: Tensor, where: str) -> float:
    """The sum of squared differences.

    Raises:
        ArtifactError: a new value is too large for the dtype.
    """
    squares = float((new.float() - old.float()).square().sum())
    if not math.isfinite(squares):
        dtype = str(new.dtype).removeprefix("torch.")
        raise ArtifactError(f"the edit makes {where} larger than {dtype} can hold", "open the model in float32")
    return squares


class _OfColumns(Protocol):
    def __call__(self, columns: Tensor, which: slice, /) -> Tensor: ...


@contextmanager
def _kept(place: WeightSlice) -> Iterator[Tensor]:
    """The current weights, which are restored at the end of the block. Whole matrices are kept in CPU memory."""
    old = place.read()
    old = old.cpu() if place.numbers is None else old
    try:
        yield old
    finally:
        place.write(old)


def _misfit(where: str, given: Tensor, there: Tensor) -> ArtifactError:
    return ArtifactError(
        f"the edit has {list(given.shape)} for {where}, where this model has {list(there.shape)}",
        "open the model it was made on",
    )


@dataclass(frozen=True, eq=False)
class Edit:
    """A named change of weights.

    `verb` made it, `about` says in a line what it does, and `facts` are further texts that are saved with it (the
    token, the rule, α). `pushes` says that it makes the model say something, so that a reply may get stuck on it.
    `name`, `model`, `fingerprint`, `command` and `sha256` are in the header of its file. `strength` multiplies the α of
    its neuron in the file, `brake` the β of its brake.
    """

    verb: str
    about: str
    changes: tuple[WeightChange, ...]
    pushes: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    model: str = ""
    fingerprint: str = ""
    command: str = ""
    sha256: str = ""
    strength: float = 1.0
    brake: float = 1.0

    def __len__(self) -> int:
        return len(self.changes)

    @property
    def target(self) -> str:
        """What a listing shows as its target."""
        return self.about

    def applied(self, opened: OpenModel) -> Undo:
        """Apply all changes, or none if one fails; closing what is returned undoes them."""
        with Undo() as sheet:
            for change in self._as_strong():
                sheet.squares += sheet.enter_context(change.applied(opened)).squares
            return sheet.pop_all()

    @property
    def turned(self) -> str:
        """Its strength in words, after a space; "" where it is as it was made."""
        strengths = {"α": self.strength, "β": self.brake}
        return "".join(f" {name}×{times:g}" for name, times in strengths.items() if times != 1)

    def _as_strong(self) -> Iterator[WeightChange]:
        """Its changes, with the columns of its neurons scaled to its strength."""
        times = {self.facts.get("neuron"): self.strength, self.facts.get("brake"): self.brake}
        for change in self.changes:
            if isinstance(change, Neurons) and change.part == "down" and len(change.indices) == 1:
                scale = times.get(f"L{change.layer}/N{change.indices[0]}", 1.0)
                yield change if scale == 1 else replace(change, values=scale * change.values)
            else:
                yield change

    def recorded(self, opened: OpenModel) -> Edit:
        """The same edit with the current values of its neurons as `before`."""
        changes = (change.recorded(opened) if isinstance(change, Neurons) else change for change in self.changes)
        return replace(self, changes=tuple(changes))
