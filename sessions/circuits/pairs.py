"""Pairs: a clean prompt and a corrupt one of the same length, between which activations are moved.

The two are aligned token by token, so a pair must have as many tokens on either side, template and seed included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sessions.errors import UsageError
from sessions.model.info import Encoded

Pair = tuple[Encoded, Encoded]
"""The clean and the corrupt prompt, as the model reads them."""


def differing(clean: Encoded, corrupt: Encoded) -> tuple[int, ...]:
    """The positions at which the tokens of a pair differ."""
    pairs = zip(clean.ids, corrupt.ids, strict=True)
    return tuple(position for position, (one, other) in enumerate(pairs) if one != other)


def check_pair(clean: Encoded, corrupt: Encoded, named: str) -> None:
    """Raise `UsageError`, which begins with `named`, unless both have the same length and some tokens differ."""
    lengths = len(clean.ids), len(corrupt.ids)
    if lengths[0] != lengths[1]:
        raise UsageError(
            f"{named}: the prompt has {lengths[0]} tokens and its corrupt prompt {lengths[1]}; {_part(clean, corrupt)}",
            "patching goes token by token: choose words of as many tokens (tokens TEXT shows them)",
        )
    if clean.ids == corrupt.ids:
        raise UsageError(
            f"{named}: the corrupt prompt is the prompt itself", "change the words that the target is due to"
        )


def _part(clean: Encoded, corrupt: Encoded) -> str:
    """Where the two begin to differ, in words."""
    shorter = min(len(clean.ids), len(corrupt.ids))
    apart = (position for position in range(shorter) if clean.ids[position] != corrupt.ids[position])
    position = next(apart, None)
    if position is None:
        return f"the shorter one ends at position {shorter}"
    return f"they part at position {position}, {clean.tokens[position]!r} against {corrupt.tokens[position]!r}"


def remarks(pairs: Sequence[Pair]) -> Iterator[str]:
    """A remark on how much the pairs differ, with the first difference of the first one."""
    if not pairs:
        return
    counts = [len(differing(*pair)) for pair in pairs]
    clean, corrupt = pairs[0]
    first = differing(clean, corrupt)[0]
    if len(pairs) == 1:
        many = f"{counts[0]} of {len(clean.ids)} tokens differ: the first is" if counts[0] > 1 else "1 token differs:"
    else:
        span = f"{min(counts)} to {max(counts)}" if min(counts) != max(counts) else f"{counts[0]}"
        differ = "tokens differ" if max(counts) > 1 else "token differs"
        many = f"{span} {differ} in each of {len(pairs)} pairs: in the first"
    yield f"{many} {clean.tokens[first]!r} against {corrupt.tokens[first]!r} at position {first}"
