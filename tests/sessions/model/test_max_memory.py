"""`--max-memory` says how much weights may take on each device; what is no amount, or no device, is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sessions.errors import ModelError, UsageError
from sessions.events import finished
from sessions.model.homes import devices_of
from sessions.model.max_memory import on_devices, parsed
from sessions.model.opening import open_model
from tests.accelerator import pretended
from tests.families import tiny, tiny_tokenizer

GIB = 2**30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny("llama", num_hidden_layers=4, tie_word_embeddings=False).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def test_amounts_are_read_with_their_units() -> None:
    assert parsed("20GiB") == {"": 20 * GIB}
    assert parsed("0=1.5GiB, cuda:1=500MB,cpu=60gib") == {0: 3 * GIB // 2, 1: 500_000_000, "cpu": 60 * GIB}


@pytest.mark.parametrize("text", ["", "20", "lots", "0GiB", "20GiB,30GiB", "gpu=2GiB", "0=", "0=1GiB,0=2GiB", "-1GiB"])
def test_what_is_no_amount_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parsed(text)
    assert refused.value.hint or "twice" in refused.value.message


def test_one_amount_is_for_every_accelerator_and_the_rest_is_for_the_host() -> None:
    assert on_devices(parsed("2GiB"), [0, 1], 8 * GIB) == {0: 2 * GIB, 1: 2 * GIB, "cpu": 8 * GIB}
    assert on_devices(parsed("2GiB"), [], 8 * GIB) == {"cpu": 2 * GIB}
    with pytest.raises(UsageError, match="no accelerator 5"):
        on_devices(parsed("5=2GiB"), [0, 1], None)


def test_layers_that_do_not_fit_on_one_device_go_to_the_next(folder: Path) -> None:
    with pretended(2):
        opened = finished(open_model(str(folder), models=folder, max_memory="0=60KB,1=1GiB"))
        devices = [str(device) for device in devices_of(opened.model)]
        held = sum(weight.nbytes for weight in opened.model.parameters() if str(weight.device) == "cuda:0")
    assert sorted(devices) == ["cuda:0", "cuda:1"]
    assert held <= 60_000


def test_a_map_that_leaves_layers_out_is_refused(folder: Path) -> None:
    with pretended(1), pytest.raises(ModelError, match=r"leaves out model\.layers\.0"):
        finished(open_model(str(folder), models=folder, device_map={"model.embed_tokens": 0}))


def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    with pretended(1), pytest.raises(ModelError, match="no device 'cuda:3'"):
        finished(open_model(str(folder), models=folder, device="cuda:3"))
    assert not torch.cuda.is_available()
