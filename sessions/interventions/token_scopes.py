"""Which tokens the running forward pass computes, and to which part of its text each belongs.

A pass over the prompt computes many positions, a step of generation with a key-value cache only one. Rows of a batch
begin at different places and end their thought at different steps. So the positions are taken from each pass as it
starts, and the end of a thought from the tokens at the embedding: a row's reply is decoded as it grows, and its answer
begins after the token that completes the closing marker. The decoded text is searched, not the ids, since a marker may
be several tokens, and not always the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sessions.interventions.intervention import SEGMENTS, Intervention, TokenScope
from sessions.model.hooks import Watching, after, called, together
from sessions.model.known_pass import KnownPass, known_pass
from sessions.model.parts import Anatomy

#: Arguments of a decoder that hold the text.
_READ = ("input_ids", "inputs_embeds")
#: A position that is never reached.
_NEVER = torch.iinfo(torch.long).max


@dataclass(frozen=True)
class Extents:
    """Where the parts of each row's text begin.

    `prompts` counts the tokens of a row's prompt, `replies` those of them before the reply. `decode` turns ids into
    text, special tokens included.
    """

    prompts: tuple[int, ...]
    replies: tuple[int, ...] = ()
    decode: Callable[[Sequence[int]], str] = str


class Force:
    """At which tokens of the running pass an intervention is in force, `[rows, seq]`.

    `host` is the mask on the CPU; `any` and `all` say whether it is in force at any token, and at all of them.
    """

    def __init__(self, host: Tensor) -> None:
        self.host, self.any, self.all = host, bool(host.any()), bool(host.all())
        self._masks: dict[torch.device, Tensor] = {}

    def mask(self, device: torch.device) -> Tensor:
        """The mask on a device."""
        if device not in self._masks:
            self._masks[device] = self.host.to(device, non_blocking=True)
        return self._masks[device]


class TokenTracker:
    """Tracks the positions and regions of the tokens that the running pass reads.

    Args:
        markers: the texts that close a thought.
    """

    def __init__(self, extents: Extents | None = None, markers: frozenset[str] = frozenset()) -> None:
        self._extents, self._markers = extents, markers
        self._positions: Tensor | None = None
        self._known: KnownPass | None = None
        self._host: Tensor | None = None
        self._followed = False
        self._ids: Tensor | None = None
        self._forces: dict[tuple[TokenScope, int], Force] = {}
        self._longest = max((len(marker.encode()) for marker in markers), default=0) + 4
        self._restart()

    def _restart(self) -> None:
        rows = 0 if self._extents is None else len(self._extents.prompts)
        self._tails: list[list[int]] = [[] for _ in range(rows)]
        #: For each marker, the position at which each row's answer begins.
        self._answers: dict[str, list[int]] = {marker: [_NEVER] * rows for marker in self._markers}

    @contextmanager
    def running(self, anatomy: Anatomy) -> Iterator[None]:
        """Follow every pass inside the block."""

        def start(args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            position_ids = kwargs.get("position_ids")
            given = position_ids if isinstance(position_ids, Tensor) else _positions(args, kwargs)
            self._positions, self._host = given, None
            self._known = None if given is None else known_pass(tuple(given.shape))
            self._forces, self._followed = {}, False

        def read(ids: Tensor, output: Tensor) -> Tensor:
            self._ids, self._followed = ids, False
            return output

        def hear(known: KnownPass) -> None:
            self._positions, self._host, self._known = None, torch.tensor(known.positions), known
            self._forces, self._followed = {}, False

        ids = [after(anatomy.embeddings[0], Watching(read, lambda _: None))] if self._markers else []
        with together([called(anatomy.decoder, Watching(start, hear)), *ids]):
            yield

    @property
    def first(self) -> int:
        """The first position of the running pass."""
        host = self._on_host()
        return 0 if host is None else int(host.min())

    def table(self, rows: int, seq: int, device: torch.device) -> Tensor:
        """Position of each token of the running pass, `[rows, seq]`; if a layer computes fewer, of the last ones."""
        positions = self._on_host() if device.type == "cpu" else self._positions
        if positions is None:
            return torch.arange(seq, device=device).expand(rows, seq)
        return positions.to(device)[..., -seq:].expand(rows, seq)

    def in_force(self, where: TokenScope, rows: int, seq: int) -> Force | None:
        """Which tokens of the running pass are in `where`; None for all."""
        if where.everywhere:
            return None
        known = self._forces.get((where, seq))  # layers that share keys may compute the last positions only
        if known is None:
            self._follow(rows)
            known = self._forces[where, seq] = Force(self._mask(where, self.table(rows, seq, torch.device("cpu"))))
        return known

    def _on_host(self) -> Tensor | None:
        """The positions on the CPU. If the host does not know the pass, it waits for them once a pass."""
        if self._host is None and self._positions is not None:
            self._host = self._positions.cpu() if self._known is None else torch.tensor(self._known.positions)
        return self._host

    def counted(self, row: int, treatments: Sequence[Intervention], read: int) -> int:
        """At how many of the `read` tokens of a row one of the interventions was in force."""
        table = torch.arange(read)[None]
        hit = torch.zeros(1, read, dtype=torch.bool)
        for treatment in treatments:
            if treatment.changes:
                hit |= self._mask(treatment.where, table, slice(row, row + 1)) & _pinned(treatment, table)
        return int(hit.sum())

    def closed(self, row: int, marker: str) -> bool:
        """Whether a row's thought has been closed by this marker."""
        return self._answers[marker][row] != _NEVER

    def _mask(self, where: TokenScope, table: Tensor, rows: slice = slice(None)) -> Tensor:
        """Which positions of a table, `[rows, seq]`, are inside `where`."""
        mask = torch.ones_like(table, dtype=torch.bool)
        if where.spans:
            mask = torch.stack([(table >= first) & (table <= last) for first, last in where.spans]).any(0)
        if where.region == "all":
            return mask
        assert self._extents is not None, "a region needs the extents of the text"
        if where.region in SEGMENTS:
            replies = torch.tensor(self._extents.replies)[rows, None]
            answers = torch.tensor(self._answers[where.marker])[rows, None]
            thought = where.region == "thought"
            return mask & ((table >= replies) & (table < answers) if thought else table >= answers)
        prompts = torch.tensor(self._extents.prompts)[rows, None]
        return mask & (table < prompts if where.region == "prompt" else table >= prompts)

    def _follow(self, rows: int) -> None:
        """Read the ids of the running pass, unless they were read already."""
        if self._followed or not self._markers or self._extents is None:
            return
        if self._known is not None:
            ids = self._known.ids
        elif self._ids is not None:
            ids = self._ids.tolist()
        else:
            return
        self._followed = True
        table = self.table(rows, len(ids[0]), torch.device("cpu"))
        if int(table.min()) == 0:
            self._restart()
        for row, (tokens, positions) in enumerate(zip(ids, table.tolist(), strict=True)):
            for token, position in zip(tokens, positions, strict=True):
                if position >= self._extents.replies[row]:
                    self._take(row, token, position)

    def _take(self, row: int, token: int, position: int) -> None:
        """Read one more token of a row's reply, which may close its thought."""
        waiting = [answers for answers in self._answers.values() if answers[row] == _NEVER]
        if not waiting:
            return
        self._tails[row] = [*self._tails[row], token][-self._longest :]
        text = self._extents.decode(self._tails[row]) if self._extents is not None else ""
        for marker, answers in self._answers.items():
            if answers[row] == _NEVER and marker in text:
                answers[row] = position + 1


def _positions(args: Sequence[object], given: Mapping[str, Any]) -> Tensor | None:
    """Position of each token of a pass that is not given `position_ids`, from its mask and its cache."""
    text = next(
        (value for value in (*args[:1], *(given.get(name) for name in _READ)) if isinstance(value, Tensor)), None
    )
    if text is None:
        return None
    mask, cache = given.get("attention_mask"), given.get("past_key_values")
    if isinstance(mask, Tensor) and mask.ndim == 2:
        return (mask.cumsum(-1) - 1).clamp(min=0)[:, -text.shape[1] :]
    read = 0 if cache is None else int(cache.get_seq_length())
    return torch.arange(read, read + text.shape[1])[None]


def _pinned(treatment: Intervention, table: Tensor) -> Tensor:
    """Where one of the intervention's neurons is changed: everywhere, unless all have positions."""
    positions = [neuron.position for neuron in treatment.neurons]
    known = [position for position in positions if position is not None]
    return torch.isin(table, torch.tensor(known)) if len(known) == len(positions) else torch.ones_like(table).bool()
