"""A vector's file gives back its numbers bit by bit, and what is no vector is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sessions.directions.vector import Vector, Where
from sessions.errors import ArtifactError, ModelError
from sessions.files.tensor_file import TensorBytes, Tensors
from sessions.model.opening import adopt
from sessions.store import Store
from tests.families import tiny, tiny_tokenizer


def vector(site: Where = "resid_post", width: int = 32, layers: tuple[int, ...] = (0, 1, 2)) -> Vector:
    generator = torch.Generator().manual_seed(7)
    directions = {layer: torch.randn(width, generator=generator) for layer in layers}
    return Vector(site, directions, 12, 9, "llama", model="tiny", fingerprint="f00d")


def saved(store: Store, body: Vector, name: str = "calm") -> Path:
    return store.save("vector", name, body, model=body.model, fingerprint=body.fingerprint, command="vector calm a b")


def test_a_saved_vector_is_loaded_bit_by_bit(tmp_path: Path) -> None:
    store, body = Store(tmp_path), vector()
    body.directions[1][:4] = torch.tensor([-0.0, 1e-42, 3.4e38, 1 / 3])
    path = saved(store, body)
    header, found = store.load("vector", "calm", Vector)
    assert (found.site, found.positives, found.negatives, found.family) == ("resid_post", 12, 9, "llama")
    assert found.layers == (0, 1, 2)
    for layer in found.layers:
        assert found.directions[layer].numpy().tobytes() == body.directions[layer].numpy().tobytes()
    assert (header.size, header.target, header.fingerprint) == (3, "resid_post", "f00d")
    assert all(torch.equal(load_file(path)[f"layer.{layer}"], body.directions[layer]) for layer in found.layers)


def changed(**changes: Any) -> Tensors:
    contents = vector().packed()
    tensors = {name: each for name, each in {**contents.tensors, **changes.get("tensors", {})}.items() if each}
    fields = {name: each for name, each in {**contents.fields, **changes.get("fields", {})}.items() if each is not None}
    return Tensors(fields, tensors)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fields": {"site": "attention"}}, "at the unknown site 'attention'"),
        ({"fields": {"site": None}}, "at the unknown site ''"),
        ({"fields": {"positives": "many"}}, "how many prompts"),
        ({"fields": {"negatives": "9" * 5000}}, "how many prompts"),
        ({"tensors": dict.fromkeys(("layer.0", "layer.1", "layer.2"))}, "no direction in it"),
        ({"tensors": {"embed": TensorBytes("F32", (2,), bytes(8))}}, "a tensor 'embed' of F32"),
        ({"tensors": {"layer.01": TensorBytes("F32", (2,), bytes(8))}}, "a tensor 'layer.01'"),
        ({"tensors": {"layer.1": TensorBytes("F32", (2, 2), bytes(16))}}, r"of F32 \[2, 2\], which is not a direction"),
        ({"tensors": {"layer.1": TensorBytes("F16", (4,), bytes(8))}}, "of F16"),
        (
            {"tensors": {"layer.1": TensorBytes("F32", (1,), b"\x00\x00\xc0\x7f")}},
            "number at layer 1 that is not finite",
        ),
    ],
)
def test_a_malformed_vector_file_is_refused(changes: Any, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        Vector.unpacked(changed(**changes), "calm.safetensors")


def test_a_vector_of_another_shape_than_the_models_is_refused() -> None:
    opened = adopt(tiny("llama"), tiny_tokenizer(), name="tiny")
    vector().check(opened.anatomy)
    vector("neurons", 48).check(opened.anatomy)
    with pytest.raises(ArtifactError, match="has 31 numbers at layer 0, and this model's mlp_out has 32 there"):
        vector("mlp_out", 31).check(opened.anatomy)
    with pytest.raises(ArtifactError, match="has 32 numbers at layer 0, and this model's neurons has 48 there"):
        vector("neurons").check(opened.anatomy)
    with pytest.raises(ArtifactError, match="at layer 3, and this model's layers are 0 to 2"):
        vector(layers=(2, 3)).check(opened.anatomy)
    experts = adopt(tiny("mixtral"), tiny_tokenizer(), name="tiny")
    with pytest.raises(ModelError, match="mixture of experts"):
        vector("neurons", 192).check(experts.anatomy)
