"""Positions that are encoded by the length of the text.

Two ways to stretch rotary embeddings beyond the trained length take their frequencies from the length of the text that
a pass reads. Dynamic NTK scaling (bloc97 and emozilla 2023) has frequencies for each length beyond it; LongRoPE (Ding
et al. 2024, arXiv:2402.13753, section 3.3) has one table below and another beyond. transformers takes the longest row
of a batch for all rows, and under dynamic scaling the module remembers the longest text that it met. So a row would
depend on its company, a text on what was read before it, and keys that were read early would not fit those read later.

`by_length` exchanges the forward function of such rotary modules for one under which each row is encoded as a pass over
that row alone would encode it, and the module forgets. `as_long_as` says how long the rows are where a pass does not
show it: in a batch padded on the right, and where only a part of a text is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

#: Kinds of rotary embeddings whose frequencies depend on the length, as transformers calls them.
_DYNAMIC, _LONG = "dynamic", "longrope"


@dataclass(frozen=True)
class _Rule:
    """From which length on frequencies change: beyond `limit`, at each length anew or once."""

    kind: str
    limit: int

    def key(self, length: int) -> int:
        """Lengths of the same key are encoded alike."""
        return max(length, self.limit) if self.kind == _DYNAMIC else int(length > self.limit)


@dataclass
class LengthEncoding:
    """How the rotary modules of one model encode positions by the length of the text."""

    rules: tuple[_Rule, ...]
    lengths: tuple[int, ...] | None = field(default=None, init=False)
    """Of each row of the running pass, or one for all; None where the positions of the pass tell."""

    def alike(self, length: int, other: int) -> bool:
        """Whether texts of both lengths have the same positions encoded alike, so that keys of one fit the other."""
        return all(rule.key(length) == rule.key(other) for rule in self.rules)

    @contextmanager
    def as_long_as(self, lengths: Sequence[int]) -> Iterator[None]:
        """Inside the block rows are encoded as texts of these many tokens, one number a row or one for all."""
        outer, self.lengths = self.lengths, tuple(lengths)
        try:
            yield
        finally:
            self.lengths = outer


def by_length(decoder: nn.Module) -> LengthEncoding | None:
    """How `decoder` encodes positions by length, once its rotary modules do so row by row; None where it does not."""
    found = [(module, rules) for module in decoder.modules() if (rules := _rules(module))]
    if not found:
        return None
    known = next((m.forward.encoding for m, _ in found if isinstance(m.forward, _RowByRow)), None)
    if known is not None:
        return known
    encoding = LengthEncoding(tuple(dict.fromkeys(rule for _, rules in found for rule in rules.values())))
    for module, rules in found:
        _forget(module)
        module.forward = _RowByRow(module, module.forward, rules, encoding)
    return encoding


def encoding_of(model: nn.Module) -> LengthEncoding | None:
    """That of a model that was opened: None where positions are encoded the same at any length."""
    forwards = (module.__dict__.get("forward") for module in model.modules())
    return next((forward.encoding for forward in forwards if isinstance(forward, _RowByRow)), None)


def _rules(module: nn.Module) -> dict[str | None, _Rule]:
    """The rules of a rotary module by the type of layer it is called for, None where it is the same for all."""
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
    """Put a module that has read a long text before it came here back to where it began."""
    for name, first in list(module.named_buffers(recurse=False)):
        if name.endswith("original_inv_freq"):
            setattr(module, name.replace("original_", ""), first.clone())
    for name in [name for name in vars(module) if name.endswith("max_seq_len_cached")]:
        setattr(module, name, module.original_max_seq_len)


class _RowByRow:
    """The forward function of a rotary module, by which each row has the frequencies of its own length."""

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
        found: list[tuple[list[int], Any]] = []
        for members in rows.values():
            ids = position_ids if len(rows) == 1 else position_ids[members]
            found.append((members, self._at_length(x, ids, max(lengths[row] for row in members), words)))
        return found[0][1] if len(found) == 1 else _rejoined(found, len(lengths))

    def _at_length(self, x: Tensor, position_ids: Tensor, length: int, words: dict[str, str]) -> Any:
        """What the module makes of positions in a text of `length` tokens, at its last one where they lie behind it:
        these are padding. The module goes by the largest position it is given, so it is given the text's last."""
        last = position_ids.new_full((*position_ids.shape[:-1], 1), length - 1)
        ids = torch.cat([position_ids.clamp(max=length - 1), last], dim=-1)
        with _unchanged(self._module):
            made = self._plain(x, ids, **words)
        return _each(made, lambda part: part[..., :-1, :])


def _lengths(position_ids: Tensor) -> tuple[int, ...]:
    """How long the text of each row is by its positions, `[rows, seq]`; of positions of several kinds, of all rows."""
    largest = position_ids.amax(-1) if position_ids.ndim == 2 else position_ids.amax()[None]
    return tuple((largest + 1).tolist())


def _each(made: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return tuple(change(part) for part in made) if isinstance(made, tuple) else change(made)


def _rejoined(parts: Sequence[tuple[list[int], Any]], rows: int) -> Any:
    """What was made of some rows each, in the order of the rows."""
    order = torch.tensor([row for members, _ in parts for row in members]).argsort()

    def joined(pieces: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(pieces))[order.to(pieces[0].device)]

    made = [part for _, part in parts]
    return tuple(map(joined, zip(*made, strict=True))) if isinstance(made[0], tuple) else joined(made)


@contextmanager
def _unchanged(module: nn.Module) -> Iterator[None]:
    """What a call inside the block changes in a module's attributes and buffers is put back."""
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
