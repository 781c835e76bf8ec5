"""Vectors as llama.cpp reads them: a GGUF file of the architecture `controlvector`.

The file has one float32 tensor `direction.N` of `d_model` numbers for each layer. llama.cpp adds direction N, times a
scale, to the output of layer N, counted from 0 as here; it rejects a direction at layer 0. Hence only vectors at
`resid_post` can be exported, without their layer 0. `controlvector.model_hint` is the model's family and
`controlvector.layer_count` the number of directions, as llama.cpp's own generator writes them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from sessions.directions.vector import Vector
from sessions.errors import ArtifactError
from sessions.files.temporary import temporary_folder

ARCHITECTURE = "controlvector"


def write_gguf(vector: Vector) -> bytes:
    """The bytes of a control-vector file.

    Raises:
        ArtifactError: the vector is at another site than `resid_post`, or at layer 0 alone.
    """
    from gguf import GGUFWriter

    if vector.site != "resid_post":
        raise ArtifactError(
            f"llama.cpp adds control vectors to the residual stream; this one is at {vector.site}",
            "make it with --site resid_post, or export it as .safetensors",
        )
    layers = [layer for layer in vector.layers if layer > 0]
    if not layers:
        raise ArtifactError("llama.cpp reads no direction at layer 0, and the vector has no other", "--layers 1-…")
    with temporary_folder(Path(tempfile.gettempdir()), mode=0o700) as folder:  # the writer writes to paths only
        path = folder / "vector.gguf"
        writer = GGUFWriter(path, ARCHITECTURE)
        writer.add_string(f"{ARCHITECTURE}.model_hint", vector.family)
        writer.add_int32(f"{ARCHITECTURE}.layer_count", len(layers))
        for layer in layers:
            writer.add_tensor(f"direction.{layer}", vector.directions[layer].numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()
