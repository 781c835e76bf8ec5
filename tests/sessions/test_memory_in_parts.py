"""Work that does not fit is cut in half, and again, until it does; what is no lack of memory is raised."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from sessions.memory import in_parts


def fitting(most: int, tried: list[int]) -> Callable[[Sequence[int]], list[int]]:
    def compute(part: Sequence[int]) -> list[int]:
        tried.append(len(part))
        if len(part) > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return [10 * number for number in part]

    return compute


def test_every_member_is_computed_once_in_order_and_later_parts_are_no_larger() -> None:
    tried: list[int] = []
    found = list(in_parts([range(8), range(8, 16)], fitting(3, tried)))
    assert [number for part, _ in found for number in part] == list(range(16))
    assert [value for _, values in found for value in values] == [10 * number for number in range(16)]
    assert tried == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]


def test_a_single_member_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        list(in_parts([[1, 2]], fitting(0, [])))


def test_another_error_is_raised_at_once() -> None:
    tried = []

    def broken(part: Sequence[int]) -> None:
        tried.append(len(part))
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        list(in_parts([[1, 2]], broken))
    assert tried == [2]
