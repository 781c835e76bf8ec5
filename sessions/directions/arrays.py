"""Arrays of numpy in a file, `.npz`, as Gemma Scope publishes its autoencoders: `params.npz` with W_enc, W_dec, b_enc,
b_dec and threshold, in folders that say the layer (Lieberum et al. 2024, "Gemma Scope", arXiv 2408.05147).

An array of objects would be a pickle, and is refused; all others are numbers, and nothing of them is run.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sessions.errors import ArtifactError
from sessions.files.disk import READABLE, check_regular, reported

#: Bytes that the arrays of a file may have together, once they are unpacked.
LARGEST = 16 * 2**30
_LAYER = re.compile(r"layer_([0-9]{1,4})")
#: Endings of the names of Gemma Scope's releases, and where the autoencoders in them were trained.
_SITES = {"-res": "resid_post", "-mlp": "mlp_out", "-att": "attn_out"}


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of a file, in float32.

    Raises:
        ArtifactError: it is no such file or a damaged one, an array is one of objects, or it is too large.
    """
    with reported("read", check_regular(path), READABLE):
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(each.file_size for each in archive.infolist())
            if size > LARGEST:
                raise ArtifactError(f"{path} unpacks to {size:,} bytes, and {LARGEST:,} are read at most")
            with np.load(path, allow_pickle=False) as file:
                return {name: torch.from_numpy(_numbers(file[name], name, path)).float() for name in file.files}
        except (ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
            said = str(error).partition("\n")[0]
            raise ArtifactError(
                f"{path} is no .npz file of plain arrays, or a damaged one: {said}", "copy it again, or save them anew"
            ) from error


def _numbers(array: Any, name: str, path: Path) -> Any:
    if array.dtype.kind not in "fiu":
        raise ArtifactError(f"{path}: {name} is an array of {array.dtype}, and should be one of numbers")
    return np.ascontiguousarray(array)


def place_of(path: Path) -> dict[str, Any]:
    """What the folders of a file say of where its autoencoder was trained: the layer, and the site."""
    layers = [match for part in path.parts if (match := _LAYER.fullmatch(part))]
    sites = [site for part in path.parts for ending, site in _SITES.items() if part.endswith(ending)]
    said = {"layer": int(layers[-1][1])} if layers else {}
    return {**said, "site": sites[-1]} if sites else said
