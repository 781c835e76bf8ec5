"""A fingerprint names weights, whatever they were opened as."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sessions.errors import ModelError
from sessions.model import fingerprint
from tests.families import tiny


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """A tensor of 3 MiB, of which blocks are sampled, and a small one, which is read whole."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "large": torch.randn(1024, 768, generator=generator),
        "small": torch.randn(7, generator=generator),
    }


def folder_of(path: Path, state: dict[str, torch.Tensor]) -> Path:
    path.mkdir(parents=True)
    save_file(state, path / "model.safetensors")
    return path


def test_the_same_weights_have_the_same_fingerprint_in_float32_and_bfloat16() -> None:
    model = tiny("llama")
    in_float32 = fingerprint.of_state(model.state_dict())
    assert in_float32 == fingerprint.of_state(model.to(torch.bfloat16).state_dict())
    assert len(in_float32) == 64 and set(in_float32) <= set("0123456789abcdef")


def test_another_model_has_another_fingerprint() -> None:
    assert fingerprint.of_state(tiny("llama").state_dict()) != fingerprint.of_state(tiny("llama", 1).state_dict())


@pytest.mark.parametrize("index", [0, -1])
@pytest.mark.parametrize("name", ["large", "small"])
def test_one_weight_that_changed_in_memory_is_noticed(name: str, index: int) -> None:
    state = weights()
    before = fingerprint.of_state(state)
    state[name].view(-1)[index] += 1
    assert fingerprint.of_state(state) != before


@pytest.mark.parametrize("index", [0, -1])
@pytest.mark.parametrize("name", ["large", "small"])
def test_one_weight_that_changed_on_disk_is_noticed(tmp_path: Path, name: str, index: int) -> None:
    state = weights()
    before = fingerprint.of_folder(folder_of(tmp_path / "before", state))
    state[name].view(-1)[index] += 1
    assert fingerprint.of_folder(folder_of(tmp_path / "after", state)) != before


def test_a_low_rank_edit_of_a_large_tensor_is_noticed(tmp_path: Path) -> None:
    state = weights()
    before = fingerprint.of_folder(folder_of(tmp_path / "before", state))
    state["large"][:, 5] *= 2  # one neuron's down column
    assert fingerprint.of_folder(folder_of(tmp_path / "after", state)) != before


def test_a_tensor_of_another_name_shape_or_dtype_is_noticed(tmp_path: Path) -> None:
    state = weights()
    renamed = {"larger": state["large"], "small": state["small"]}
    turned = {**state, "large": state["large"].view(768, 1024)}
    halved = {**state, "small": state["small"].to(torch.bfloat16)}
    folders = [folder_of(tmp_path / str(number), each) for number, each in enumerate((state, renamed, turned, halved))]
    assert len({fingerprint.of_folder(folder) for folder in folders}) == 4


def test_sharding_and_metadata_do_not_matter(tmp_path: Path) -> None:
    state = weights()
    whole = folder_of(tmp_path / "whole", state)
    sharded = tmp_path / "sharded"
    sharded.mkdir()
    names = {"large": "model-00002-of-00002.safetensors", "small": "model-00001-of-00002.safetensors"}
    for name, file in names.items():
        save_file({name: state[name]}, sharded / file, metadata={"format": "pt"})
    (sharded / fingerprint.INDEX).write_text(json.dumps({"weight_map": names}))
    save_file({"stray": state["small"]}, sharded / "consolidated.safetensors")
    assert fingerprint.of_folder(sharded) == fingerprint.of_folder(whole)


def test_a_gguf_file_is_named_by_its_bytes_and_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    seen = set()
    for content in (b"GGUF" + bytes(1000), b"GGUF" + bytes(1001), b"GGUF" + bytes(999) + b"\1"):
        path.write_bytes(content)
        seen.add(fingerprint.of_file(path))
    assert len(seen) == 3
    assert fingerprint.of_file(path) == fingerprint.of_file(path.rename(tmp_path / "b.gguf"))


def test_sampled_blocks_lie_inside_and_reach_both_ends() -> None:
    for size in (0, 1, 9, 10, 11, 12_345):
        for blocks in (1, 2, 3, 16):
            spans = list(fingerprint._offsets(size, 10, blocks))
            assert all(offset >= 0 and offset + length <= size for offset, length in spans)
            assert sum(length for _, length in spans) == min(size, 10 * blocks)
            if blocks > 1:
                assert spans[0][0] == 0 and sum(spans[-1]) == size


def test_reading_a_fingerprint_costs_little_where_there_are_many_tensors() -> None:
    assert fingerprint._blocks_each(300) == fingerprint.BLOCKS_EACH
    assert fingerprint._blocks_each(4096) == 2
    assert fingerprint._blocks_each(10**6) == 1


def test_a_folder_without_readable_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no safetensors weights"):
        fingerprint.of_folder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged: its header is longer"):
        fingerprint.of_folder(tmp_path)


def test_a_model_that_is_not_in_memory_is_refused() -> None:
    with pytest.raises(ModelError, match="large is not in memory"):
        fingerprint.of_state({"large": torch.empty(3, device="meta")})


def test_what_is_saved_and_read_again_keeps_its_fingerprint(tmp_path: Path) -> None:
    first = folder_of(tmp_path / "first", weights())
    again = folder_of(tmp_path / "again", load_file(first / "model.safetensors"))
    assert fingerprint.of_folder(first) == fingerprint.of_folder(again)
