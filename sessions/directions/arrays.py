"""Numpy arrays in `.npz` files, as Gemma Scope publishes its autoencoders: `params.npz` with W_enc, W_dec, b_enc, b_dec
and threshold, in folders that say the layer (Lieberum et al. 2024, "Gemma Scope", arXiv 2408.05147).

An array of objects would be a pickle, and is refused; all other arrays are numbers, and nothing in them can run.
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

#: Bytes that the unpacked arrays of a file may have together.
LARGEST = 16 * 2**30
_LAYER = re.compile(r"layer_([0-9]{1,4})")
#: Endings of the names of Gemma Scope's releases, and the sites that their autoencoders were trained at.
_SITES = {"-res": "resid_post", "-mlp": "mlp_out", "-att": "attn_out"}


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of a file, in float32.

    Raises:
        ArtifactError: it is not such a file or is damaged, it has an array of objects, or it is too large.
    """
    with reported("read", check_regular(path), READABLE):
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(member.file_size for member in archive.infolist())
            if size > LARGEST:
                raise ArtifactError(f"{path} unpacks to {size:,} bytes; at most {LARGEST:,} are read")
            with np.load(path, allow_pickle=False) as file:
                return {name: torch.from_numpy(_numbers(file[name], name, path)).float() for name in file.files}
        except (ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
            reason = str(error).partition("\n")[0]
            raise ArtifactError(
                f"{path} is not a .npz file of plain arrays, or is damaged: {reason}", "copy it again, or save it anew"
            ) from error


def _numbers(array: Any, name: str, path: Path) -> Any:
    if array.dtype.kind not in "fiu":
        raise ArtifactError(f"{path}: {name} is an array of {array.dtype}, not of numbers")
    return np.ascontiguousarray(array)


def place_of(path: Path) -> dict[str, Any]:
    """The layer and the site that an autoencoder was trained at, as far as the folders of its file say."""
    layers = [match for part in path.parts if (match := _LAYER.fullmatch(part))]
    sites = [site for part in path.parts for ending, site in _SITES.items() if part.endswith(ending)]
    place = {"layer": int(layers[-1][1])} if layers else {}
    return {**place, "site": sites[-1]} if sites else place
