"""Makes rotary embeddings that depend on the length of the text encode each row of a batch by its own length.

Two methods that extend rotary embeddings beyond the trained length choose their frequencies by the length of the text.
Dynamic NTK scaling (bloc97 and emozilla 2023) has frequencies for each length beyond the trained one. LongRoPE (Ding et
al. 2024, arXiv:2402.13753, section 3.3) has one table below it and one beyond. transformers uses the longest row of a
batch for all rows, and with dynamic scaling the module remembers the longest text so far. A row then depends on the
other rows, a text depends on earlier texts, and early keys do not fit later ones.

`by_length` replaces the forward function of such modules: each row is encoded as in a pass over that row alone, and the
module remembers nothing. `as_long_as` sets the length of the rows if a pass does not show it: in a batch padded on the
right, or if the pass reads only a part of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

#: transformers' names of the rotary embeddings whose frequencies depend on the length.
_DYNAMIC, _LONG = "dynamic", "longrope"


@dataclass(frozen=True)
class _Rule:
    """When the frequencies change: beyond `limit`, at every length (dynamic) or once (LongRoPE)."""

    kind: str
    limit: int

    def key(self, length: int) -> int:
        """A key that is equal for lengths with the same encoding."""
        return max(length, self.limit) if self.kind == _DYNAMIC else int(length > self.limit)


@dataclass
class LengthEncoding:
    """How the rotary modules of one model encode positions by the length of the text."""

    rules: tuple[_Rule, ...]
    lengths: tuple[int, ...] | None = field(default=None, init=False)
    """The length of each row of the running pass, or one for all; None takes it from the positions."""

    def alike(self, length: int, other: int) -> bool:
        """Whether texts of both lengths encode a position alike, so that the keys of one fit the other."""
        return all(rule.key(length) == rule.key(other) for rule in self.rules)

    @contextmanager
    def as_long_as(self, lengths: Sequence[int]) -> Iterator[None]:
        """Inside the block, encode rows as texts of these lengths, one a row or one for all."""
        outer, self.lengths = self.lengths, tuple(lengths)
        try:
            yield
        finally:
            self.lengths = outer


def by_length(decoder: nn.Module) -> LengthEncoding | None:
    """Make the rotary modules of `decoder` encode row by row; None if no module depends on the length."""
    rotary = [(module, rules) for module in decoder.modules() if (rules := _rules(module))]
    if not rotary:
        return None
    known = next((m.forward.encoding for m, _ in rotary if isinstance(m.forward, _RowByRow)), None)
    if known is not None:
        return known
    encoding = LengthEncoding(tuple(dict.fromkeys(rule for _, rules in rotary for rule in rules.values())))
    for module, rules in rotary:
        _forget(module)
        module.forward = _RowByRow(module, module.forward, rules, encoding)
    return encoding


def encoding_of(model: nn.Module) -> LengthEncoding | None:
    """The length encoding of an open model; None if positions are encoded alike at any length."""
    forwards = (module.__dict__.get("forward") for module in model.modules())
    return next((forward.encoding for forward in forwards if isinstance(forward, _RowByRow)), None)


def _rules(module: nn.Module) -> dict[str | None, _Rule]:
    """The rules of a rotary module by layer type; the type is None if all layers share them."""
    kinds = getattr(module, "rope_type", None)
    config = getattr(module, "config", None)
    if isinstance(kinds, str):
        kinds = {None: kinds}
    if not isinstance(kinds, dict) or config is None:
        return {}
    rules: dict[str | None, _Rule] = {}
    for layer, kind in kinds.items():
        if kind == _LONG:
            parameters = config.rope_parameters if layer is None else config.rope_parameters[layer]
            rules[layer] = _Rule(_LONG, int(parameters["original_max_position_embeddings"]))
        elif _DYNAMIC in kind:
            rules[layer] = _Rule(_DYNAMIC, int(config.max_position_embeddings))
    return rules


def _forget(module: nn.Module) -> None:
    """Reset a module to its initial frequencies, which reading a long text changed."""
    for name, first in list(module.named_buffers(recurse=False)):
        if name.endswith("original_inv_freq"):
            setattr(module, name.replace("original_", ""), first.clone())
    for name in [name for name in vars(module) if name.endswith("max_seq_len_cached")]:
        setattr(module, name, module.original_max_seq_len)


class _RowByRow:
    """A forward function of a rotary module that gives each row the frequencies of its own length."""

    def __init__(
        self,
        module: nn.Module,
        plain: Callable[..., Any],
        rules: dict[str | None, _Rule],
        encoding: LengthEncoding,
    ) -> None:
        self._module, self._plain, self._rules, self.encoding = module, plain, rules, encoding

    def __call__(self, x: Tensor, position_ids: Tensor, layer_type: str | None = None) -> Any:
        words = {} if layer_type is None else {"layer_type": layer_type}
        rule = self._rules.get(layer_type)
        if rule is None:
            return self._plain(x, position_ids, **words)
        lengths = self.encoding.lengths or _lengths(position_ids)
        rows: dict[int, list[int]] = {}
        for row, length in enumerate(lengths):
            rows.setdefault(rule.key(length), []).append(row)
        if len(rows) > 1:
            position_ids = position_ids.expand(len(lengths), -1)
        parts: list[tuple[list[int], Any]] = []
        for members in rows.values():
            ids = position_ids if len(rows) == 1 else position_ids[members]
            parts.append((members, self._at_length(x, ids, max(lengths[row] for row in members), words)))
        return parts[0][1] if len(parts) == 1 else _rejoined(parts, len(lengths))

    def _at_length(self, x: Tensor, position_ids: Tensor, length: int, words: dict[str, str]) -> Any:
        """The module's output for positions in a text of `length` tokens.

        Positions beyond the text are padding; they count as its last position. The module derives the length from the
        largest position, so the text's last position is appended, and its output dropped.
        """
        last = position_ids.new_full((*position_ids.shape[:-1], 1), length - 1)
        ids = torch.cat([position_ids.clamp(max=length - 1), last], dim=-1)
        with _unchanged(self._module):
            made = self._plain(x, ids, **words)
        return _each(made, lambda part: part[..., :-1, :])


def _lengths(position_ids: Tensor) -> tuple[int, ...]:
    """The length of each row's text by its positions, `[rows, seq]`; one length for positions of several kinds."""
    largest = position_ids.amax(-1) if position_ids.ndim == 2 else position_ids.amax()[None]
    return tuple((largest + 1).tolist())


def _each(made: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return tuple(change(part) for part in made) if isinstance(made, tuple) else change(made)


def _rejoined(parts: Sequence[tuple[list[int], Any]], rows: int) -> Any:
    """Join the outputs for groups of rows, in the order of the rows."""
    order = torch.tensor([row for members, _ in parts for row in members]).argsort()

    def joined(pieces: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(pieces))[order.to(pieces[0].device)]

    made = [part for _, part in parts]
    return tuple(map(joined, zip(*made, strict=True))) if isinstance(made[0], tuple) else joined(made)


@contextmanager
def _unchanged(module: nn.Module) -> Iterator[None]:
    """After the block, restore the module's attributes and buffers."""
    attributes, buffers = dict(vars(module)), dict(module._buffers)
    values = {name: buffer.clone() for name, buffer in buffers.items() if buffer is not None}
    try:
        yield
    finally:
        vars(module).clear()
        vars(module).update(attributes)
        module._buffers.clear()
        module._buffers.update(buffers)
        for name, buffer in buffers.items():
            if buffer is not None:
                buffer.copy_(values[name])  # changed in place, under LongRoPE
