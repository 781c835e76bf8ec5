"""What a generated token costs on an accelerator: one wait of the host, and about transformers' own kernels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.accelerator.decoding import WAYS, Device, counted


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    with counted(tmp_path_factory.mktemp("model")) as found:
        yield found


@pytest.mark.parametrize("way", WAYS)
def test_a_token_costs_one_wait_and_about_the_kernels_of_transformers(device: Device, way: str) -> None:
    ours, theirs = WAYS[way]
    here, there = device.ours(**ours), device.theirs(**theirs)
    assert here.waits <= 1, here.lines
    assert here.kernels <= 1.2 * there.kernels
