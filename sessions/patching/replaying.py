"""Replaying: the target of a text with some activations replaced by those of another text, for many patches.

One pass over each of the two texts records what their layers hold. Each patch is then a row of a batch, and only what
changes is computed:

1. A patch whose pieces both texts hold alike, to the last bit, changes nothing. It has the value of the unpatched text,
   and no pass is made for it.
2. A patch at position p does not change earlier positions: patches of neighbouring positions read the tokens from
   their first position on, over cached keys and values of the tokens before it.
3. Nor does it change lower layers: these do not run, and their recorded outputs are reused.
4. Only the logits that the target needs are computed.

Nothing is approximated: a test compares with patching one by one. How patches are grouped is decided as in
`circuits.verification`. Models that share keys and values between layers run all layers, and models with a running
state read the whole text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.verification import CACHED, Prefix, affordable, from_position, grouped, kept_of, stacked
from sessions.errors import ModelError, NotFinite
from sessions.memory import in_parts
from sessions.model.finite import not_finite
from sessions.model.hooks import after, on_neurons, on_states, skipped, together, watched
from sessions.model.logits import only_target
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.target import Target
from sessions.model.tokens import last_positions
from sessions.patching.patches import Patch, Piece, SiteAt

#: What surrounds every pass over a text, such as noise on its embeddings.
Around = Callable[[], AbstractContextManager[Any]]


def on_site(anatomy: Anatomy, at: SiteAt, change: Callable[[Tensor], Tensor]) -> AbstractContextManager[None]:
    """Replace the values of a site in every pass inside the block.

    `change` receives `[batch, seq, width]`, from some families `[batch · seq, width]`, and returns the same shape.

    Raises:
        ModelError: the layer has no such site.
    """
    if at.site == "heads":
        return on_neurons(anatomy.heads_of(at.layer), lambda values, _: change(values))
    if at.site == "neurons":
        sites = anatomy.layers[at.layer].sites
        if anatomy.has_experts or len(sites) != 1:
            raise ModelError(
                "neurons of a mixture of experts cannot be patched: each text is sent to experts of its own",
                "patch --site mlp_out patches all that a layer's experts add",
            )
        return on_neurons(sites[0], lambda values, _: change(values))
    return on_states(anatomy, at.layer, at.site, change)


def parts_of(anatomy: Anatomy, at: SiteAt) -> int:
    """Into how many parts of equal width a site is divided.

    Raises:
        ModelError: the heads of this layer cannot be told apart.
    """
    if at.site == "heads":
        return anatomy.heads_of(at.layer).n_heads
    return anatomy.layers[at.layer].width if at.site == "neurons" else 1


@dataclass(frozen=True, eq=False)
class Recording:
    """One text as it runs by itself: the target's value, what some sites hold, `[seq, parts, width]`, and the output of
    every decoder layer."""

    ids: tuple[int, ...]
    value: float
    states: Mapping[SiteAt, Tensor]
    outputs: tuple[Any, ...]

    @property
    def probability(self) -> float:
        """The probability of a target that is a sequence of tokens."""
        return math.exp(self.value)


@torch.inference_mode()
def recorded(
    opened: OpenModel,
    ids: Sequence[int],
    target: Target,
    sites: Iterable[SiteAt],
    *,
    around: Around = nullcontext,
    cancel: Cancel | None = None,
) -> Recording:
    """Record one pass over a text.

    Raises:
        ModelError: a layer has no such site.
        NotFinite: the target's value is not finite; the message says where that begins.
    """
    anatomy = opened.anatomy
    states: dict[SiteAt, Tensor] = {}
    outputs: list[Any] = []

    def keep(at: SiteAt) -> Callable[[Tensor], Tensor]:
        def record(values: Tensor) -> Tensor:
            # A copy: falcon adds what its attention writes to what its MLP wrote, in place.
            states[at] = values.reshape(len(ids), parts_of(anatomy, at), -1).clone()
            return values

        return record

    def keep_output(_: Tensor, output: Any) -> Any:
        outputs.append(output)
        return output

    row = torch.tensor([list(ids)], device=opened.device)
    hooks = [on_site(anatomy, at, keep(at)) for at in sites]
    hooks += [after(layer.block, keep_output) for layer in anatomy.layers]
    with watched(anatomy, cancel), around(), together(hooks), only_target(anatomy, target) as read:
        logits = opened.model(
            input_ids=row, use_cache=False, logits_to_keep=last_positions(kept_of(target), row)
        ).logits
    value = float(read(logits))
    if not math.isfinite(value):
        raise not_finite(opened, [ids], "the target's value")
    return Recording(tuple(ids), value, states, tuple(outputs))


class Replay:
    """Patches of one text, `base`, with activations of another of the same length, `source`, at sites that both
    recordings have.

    Args:
        around: what surrounded the recording of the base, and surrounds every pass over it.
        batch: tokens computed at once; by default as many as memory allows.
    """

    def __init__(
        self,
        opened: OpenModel,
        base: Recording,
        source: Recording,
        target: Target,
        *,
        around: Around = nullcontext,
        batch: int | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        self._opened, self._base, self._source = opened, base, source
        self._target, self._around = target, around
        self._batch, self._cancel = batch or affordable(opened), cancel
        self._prefix = Prefix(opened, base.ids)
        pairs = ((at, states, source.states[at]) for at, states in base.states.items())
        self._differs = {at: (one != other.to(one)).any(-1).tolist() for at, one, other in pairs}

    def values(self, patches: Sequence[Patch]) -> Iterator[tuple[list[int], list[float]]]:
        """The target's value with each patch alone, batch by batch: numbers of patches, and their values.

        Raises:
            NotFinite: a value is not finite.
            Cancelled: `cancel` was requested; every hook is gone.
        """
        length, n_layers = len(self._base.ids), self._opened.anatomy.n_layers
        changed = [self._changed(patch) for patch in patches]
        same = [number for number, patch in enumerate(changed) if not patch]
        if same:
            yield same, [self._base.value] * len(same)
        kept = [number for number, patch in enumerate(changed) if patch]
        read = length - kept_of(self._target)
        whole = self._opened.anatomy.recurrent
        starts = [0 if whole else min(read, *(piece.position for piece in changed[number])) for number in kept]
        for group in grouped(starts, length):
            start = min(starts[place] for place in group)
            members = [kept[place] for place in group]
            lowest = [_first_run(changed[number]) for number in members]
            most = max(1, min(self._batch // (length - start), CACHED * self._batch // length))

            def replayed(rows: Sequence[int], members: Sequence[int] = members, start: int = start) -> list[float]:
                return self._replayed(start, [changed[members[row]] for row in rows])

            for rows, values in in_parts(stacked(lowest, n_layers, length - start, most), replayed):
                yield [members[row] for row in rows], values

    def _changed(self, patch: Patch) -> Patch:
        """A patch without the pieces that change nothing: those that the texts hold alike, in front of all others.

        A piece that is alike may be needed behind another: it holds what that one would change.
        """
        different = [piece for piece in patch if self._differs[piece.at][piece.position][piece.part]]
        position = min((piece.position for piece in different), default=len(self._base.ids))
        layer = min((piece.layer for piece in different), default=0)
        return tuple(piece for piece in patch if piece.position >= position and piece.layer >= layer)

    @torch.inference_mode()
    def _replayed(self, start: int, patches: Sequence[Patch]) -> list[float]:
        """The target's value in a batch of which row r has `patches[r]`, from position `start` on."""
        opened, anatomy, rows = self._opened, self._opened.anatomy, len(patches)
        idle = 0 if anatomy.shares_keys else min(map(_first_run, patches))
        hooks = [
            skipped(layer.block, from_position(output, start, rows))
            for layer, output in zip(anatomy.layers[:idle], self._base.outputs, strict=False)
        ]
        hooks += put(anatomy, self._source, patches, start)
        ids = torch.tensor([self._base.ids[start:]] * rows, device=opened.device)
        positions = torch.arange(start, len(self._base.ids), device=ids.device)[None].expand(rows, -1)
        as_long_as = anatomy.as_long_as(len(self._base.ids))
        with watched(anatomy, self._cancel), self._around():
            cache = self._prefix.upto(start, rows)
            with together(hooks), as_long_as, only_target(anatomy, self._target) as read:
                out = opened.model(
                    input_ids=ids,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=cache is not None,
                    logits_to_keep=last_positions(kept_of(self._target), ids),
                )
                values: list[float] = read(out.logits).tolist()
        if not all(map(math.isfinite, values)):
            raise NotFinite("the target's value is not finite in a patched run", "open the model with --dtype float32")
        return values


def put(
    anatomy: Anatomy, source: Recording, patches: Sequence[Sequence[Piece]], start: int = 0
) -> list[AbstractContextManager[None]]:
    """Hooks that put a recording's values of the pieces of patch r into row r of a pass from position `start` on."""
    placed: dict[SiteAt, list[tuple[int, int, int]]] = {}
    for row, patch in enumerate(patches):
        for piece in patch:
            placed.setdefault(piece.at, []).append((row, piece.position - start, piece.part))
    return [
        on_site(anatomy, at, _putting(source.states[at], table, len(patches), start)) for at, table in placed.items()
    ]


def _putting(
    source: Tensor, table: Sequence[tuple[int, int, int]], rows: int, start: int
) -> Callable[[Tensor], Tensor]:
    """Put values of one site, `[seq, parts, width]`, at (row, position from `start` on, part) into rows of a pass."""
    row, position, part = torch.tensor(table, device=source.device).T
    values = source[position + start, part]

    def change(states: Tensor) -> Tensor:
        apart = states.reshape(rows, -1, *source.shape[1:]).clone()
        apart[row.to(apart.device), position.to(apart.device), part.to(apart.device)] = values.to(apart)
        return apart.reshape(states.shape)

    return change


def _first_run(patch: Patch) -> int:
    """The first layer that has to run. One whose output is replaced need not: its recorded output is changed."""
    return min(piece.layer + (piece.at.site == "resid_post") for piece in patch)
