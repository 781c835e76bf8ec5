"""A fingerprint names weights, whatever they were opened as."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from sessions.artifacts import check_model
from sessions.errors import ArtifactError, ModelError
from sessions.events import finished
from sessions.model import fingerprint
from sessions.model.info import same_model
from sessions.model.opening import adopt, open_model
from tests.families import DENSE, MOE, tiny, tiny_tokenizer


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


# ---- the configuration


def identity(**changed: object) -> str:
    model = tiny("llama", **changed)
    return adopt(model, tiny_tokenizer(), name="tiny").info.fingerprint


@pytest.mark.parametrize(
    "changed",
    [
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}},
        {"rms_norm_eps": 0.1},
        {"hidden_act": "gelu"},
    ],
)
def test_the_same_weights_with_other_values_that_compute_are_another_model(changed: dict[str, object]) -> None:
    ids = torch.tensor([[1, 9, 27, 17]])
    plain, other = tiny("llama"), tiny("llama", **changed)
    assert not torch.equal(plain(ids).logits, other(ids).logits)
    one, two = identity(), identity(**changed)
    assert one.partition("+")[0] == two.partition("+")[0]
    assert not same_model(one, two)


@pytest.mark.parametrize("family", ["gemma2", "granite", "cohere"])
def test_softcaps_and_logit_scales_tell_models_apart(family: str) -> None:
    kind = {"gemma2": "final_logit_softcapping", "granite": "logits_scaling", "cohere": "logit_scale"}[family]
    values = [AutoConfig.for_model(family, **{kind: value}) for value in (0.5, 20.0)]
    assert len({fingerprint.with_config("w", each) for each in values}) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"use_cache": False},
        {"bos_token_id": 5, "eos_token_id": [2, 3], "pad_token_id": 2},
        {"attention_dropout": 0.1},
        {"initializer_range": 0.5},
        {"torch_dtype": "bfloat16", "_name_or_path": "elsewhere", "architectures": ["LlamaForCausalLM"]},
        {"output_hidden_states": True},
    ],
)
def test_values_for_generation_and_training_change_nothing(changed: dict[str, object]) -> None:
    plain, other = (AutoConfig.for_model("llama", **more) for more in ({}, changed))
    assert fingerprint.with_config("w", plain) == fingerprint.with_config("w", other)


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_a_model_keeps_its_fingerprint_through_its_folder_and_in_any_dtype(tmp_path: Path, family: str) -> None:
    model = tiny(family)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    found = {
        finished(open_model(str(tmp_path), models=tmp_path, dtype=dtype, device="cpu")).info.fingerprint
        for dtype in ("float32", "bfloat16")
    }
    (one,) = found
    assert fingerprint.with_config(one.partition("+")[0], model.config) == one


def test_a_fingerprint_of_an_earlier_version_is_that_of_any_model_with_the_weights() -> None:
    weights, other = "a" * 64, "b" * 64
    assert same_model(weights, f"{weights}+c0") and same_model(f"{weights}+c0", weights)
    assert same_model(weights, weights) and same_model(f"{weights}+c0", f"{weights}+c0")
    assert not same_model(f"{weights}+c0", f"{weights}+d1")
    assert not same_model(other, f"{weights}+c0") and not same_model("", f"{weights}+c0")


def test_an_artifact_of_an_earlier_version_loads_without_force(tmp_path: Path) -> None:
    now = f"{'a' * 64}+c0"
    assert check_model("a" * 64, "tiny", now, "tiny") == ""
    with pytest.raises(ArtifactError, match=r"tiny with other values in its configuration \(d1, not c0\)"):
        check_model(f"{'a' * 64}+d1", "tiny", now, "tiny")
    with pytest.raises(ArtifactError, match=r"tiny with other weights \(bbbbbbbbbbbb, not aaaaaaaaaaaa\)"):
        check_model("b" * 64, "tiny", now, "tiny")


def test_code_that_comes_with_a_model_is_part_of_what_it_is(tmp_path: Path) -> None:
    config = AutoConfig.for_model("llama")
    found = []
    for line in ("a = 1", "a = 2"):
        (tmp_path / "modeling.py").write_text(line)
        found.append(fingerprint.with_config("w", config, tmp_path))
    assert len({*found, fingerprint.with_config("w", config)}) == 3
