"""A vector exported for llama.cpp is read back as llama.cpp reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader

from sessions.directions.gguf import write_gguf
from sessions.errors import ArtifactError
from tests.sessions.directions.test_vector import vector


def test_a_control_vector_has_its_directions_under_the_numbers_of_their_layers(tmp_path: Path) -> None:
    path, body = tmp_path / "calm.gguf", vector(layers=(0, 1, 7))
    path.write_bytes(write_gguf(body))
    reader = GGUFReader(path)

    def text(key: str) -> str:
        field = reader.get_field(key)
        assert field is not None
        return str(bytes(field.parts[-1]), "utf-8")

    assert text("general.architecture") == "controlvector"
    assert text("controlvector.model_hint") == "llama"
    count = reader.get_field("controlvector.layer_count")
    assert count is not None and count.parts[-1].tolist() == [2]
    found = {tensor.name: tensor for tensor in reader.tensors}
    assert found.keys() == {"direction.1", "direction.7"}
    for layer in (1, 7):
        tensor = found[f"direction.{layer}"]
        assert tensor.tensor_type == GGMLQuantizationType.F32 and tensor.shape.tolist() == [32]
        assert np.array_equal(tensor.data, body.directions[layer].numpy())


def test_what_llama_cpp_has_no_place_for_is_refused() -> None:
    with pytest.raises(ArtifactError, match="this one is at mlp_out"):
        write_gguf(vector("mlp_out"))
    with pytest.raises(ArtifactError, match="no direction at layer 0"):
        write_gguf(vector(layers=(0,)))
