"""Computes the fingerprint of a model, which circuits and edits are tied to.

It is 64 hex digits for the weights, a plus sign, and 16 hex digits for the configuration. A fingerprint does not depend
on the dtype and device that a session opens the weights in, and takes no longer than reading a small part of them. So
it is computed from the checkpoint, not from the open model, and it samples.

*Safetensors* (a folder, or a snapshot of a hub): sha256 over the tensors of all files in the order of their names:
name, dtype, shape and bytes. Up to 1 MiB the bytes of a tensor are whole. Above that they are blocks of 64 KiB at even
distances, the first and the last included: sixteen, or fewer if there are many tensors, so that at most about 512 MiB
are read (one block a tensor if even that is more). The sharding, the order in the files and the metadata do not count,
because they are not properties of the weights.

*A GGUF file*: sha256 over its size and its bytes, whole up to 64 MiB, otherwise 1,024 such blocks.

*A model in memory* (a notebook, a test): as for safetensors, over its state dict. The sampled values are rounded to
bfloat16, so that a float32 and a bfloat16 copy of the same weights agree. It never equals the fingerprint of the
checkpoint that the model came from.

*The configuration*: sha256 over the values that differ from the defaults of its class, so that new options in a later
version of the class change nothing. Values that do not change what one pass computes do not count (for training, for
generation, names, dtypes). Modelling code that comes with the model counts. Two copies of the same weights with another
scaling of positions, or another softcap, are two models. Fingerprints of earlier versions cover the weights alone;
`info.same_model` matches them with any model of these weights.

A fingerprint detects another model, another training state, and a tensor that was replaced, cast to another dtype, or
changed as a whole (a low-rank edit touches every row). It can miss a change confined to values between the blocks and,
in memory, a change too small for bfloat16. It protects from mistakes, not from deception. It does not cover the
tokenizer.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor, nn

from sessions.cancel import Cancel
from sessions.errors import ModelError
from sessions.events import Progress, Steps
from sessions.files.disk import LARGEST, read_file, reading
from sessions.model.homes import weight_of

BLOCK = 64 * 2**10
#: The most blocks of one tensor, and of all tensors together (unless each needs one).
BLOCKS_EACH = 16
BLOCKS_ALL = 8192
#: Blocks of a GGUF file, whose tensors are not known without parsing it.
BLOCKS_FILE = 1024
#: Numbers hashed at once by `of_bits`.
BITS = 2**22
INDEX = "model.safetensors.index.json"


def of_folder(folder: Path) -> str:
    """The fingerprint of the safetensors in a model folder.

    Raises:
        ModelError: the folder has none, or one of them is damaged.
    """
    tensors = {stored.name: stored for path in weight_files(folder) for stored in _stored(path)}
    digest = hashlib.sha256()
    blocks = _blocks_each(len(tensors))
    for name, stored in sorted(tensors.items()):
        digest.update(_line(name, stored.dtype, stored.shape))
        with reading(stored.path) as file:
            _sample(digest, file, stored.start, stored.size, blocks)
    return digest.hexdigest()


def of_file(path: Path) -> str:
    """The fingerprint of a GGUF file."""
    with reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(_line("gguf", size))
        _sample(digest, file, 0, size, BLOCKS_FILE)
    return digest.hexdigest()


def of_state(state: Mapping[str, Any]) -> str:
    """The fingerprint of a state dict, `model.state_dict()`.

    Raises:
        ModelError: a value is not in memory (offloaded, or on the meta device).
    """
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    digest = hashlib.sha256()
    blocks = _blocks_each(len(tensors))
    for name, tensor in sorted(tensors.items()):
        if tensor.is_meta:
            raise ModelError(f"{name} is not in memory", "open the model without offloading it")
        digest.update(_line(name, list(tensor.shape)))
        digest.update(_values(tensor, blocks))
    return digest.hexdigest()


#: Names of configuration values that do not change what one pass computes.
_NOT_COMPUTED = re.compile(
    r"_|architectures|auto_map|transformers_version|name_or_path|(torch_)?dtype|quantization_config|use_cache"
    r"|(bos|eos|pad|sep|cls|mask|unk|decoder_start|image|audio|video|boi|eoi)_token(_id|_index)?s?$|task_specific_params"
    r"|.*(dropout|_pdrop|initializer|aux_loss|z_loss|jitter|output_|label|gradient_checkpointing).*|return_dict"
    r"|is_decoder|pretraining_tp|summary_.*|vocab_size.*"
)
#: Hex digits for the configuration.
_CONFIG_DIGITS = 16


def with_config(weights: str, config: Any, code: Path | None = None) -> str:
    """The fingerprint of a model from the fingerprint of its weights.

    Args:
        config: the model's transformers configuration.
        code: the folder of the modelling code that comes with the model; None if it has none, or it does not run.
    """
    text = config.get_text_config()
    try:
        usual = type(text)().to_dict()
    except Exception:  # a custom class that has no defaults
        usual = {}
    changed = {
        key: value
        for key, value in text.to_dict().items()
        if not _NOT_COMPUTED.match(key) and (key not in usual or _plain(value) != _plain(usual[key]))
    }
    digest = hashlib.sha256(json.dumps(_plain(changed), sort_keys=True, default=str).encode())
    digest.update(_line(str(text.model_type)))
    for path in () if code is None else sorted(code.glob("*.py")):
        digest.update(_line(path.name) + read_file(path))
    return f"{weights}+{digest.hexdigest()[:_CONFIG_DIGITS]}"


def _plain(value: Any) -> Any:
    """A value as plain JSON, with all numbers as floats and without keys whose value is None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def of_bits(model: nn.Module, cancel: Cancel | None = None) -> Steps[str]:
    """sha256 over every bit of a model's weights, which changes with any change of them in this process.

    Offloaded weights are loaded one at a time.

    Raises:
        ModelError: a weight is on the meta device and stored nowhere.
    """
    tensors = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    digest = hashlib.sha256()
    total, done = sum(tensor.nbytes for tensor in tensors.values()), 0
    for name, tensor in sorted(tensors.items()):
        digest.update(_line(name, str(tensor.dtype), list(tensor.shape)))
        there = weight_of(model, name) if tensor.is_meta else tensor
        for piece in there.detach().reshape(-1).split(BITS):
            if cancel is not None:
                cancel.look()
            digest.update(memoryview(piece.cpu().contiguous().view(torch.uint8).numpy()))
        done += tensor.nbytes
        yield Progress("reading the weights", done, total, "B")
    return digest.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of the model in a folder: those of the index, the single file, or all.

    Raises:
        ModelError: the folder has none, or the index is damaged.
    """
    index = folder / INDEX
    if index.is_file():
        with _parsing(index):
            return sorted({folder / name for name in json.loads(read_file(index))["weight_map"].values()})
    single = folder / "model.safetensors"
    own = (path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter_model"))
    files = [single] if single.is_file() else sorted(own)
    if not files:
        raise ModelError(f"{folder} has no safetensors weights")
    return files


class Stored(NamedTuple):
    """A tensor in a safetensors file, `size` bytes from byte `start`."""

    name: str
    dtype: str
    shape: list[int]
    path: Path
    start: int
    size: int


def _stored(path: Path) -> list[Stored]:
    with _parsing(path), reading(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(os.fstat(file.fileno()).st_size, LARGEST):
            raise ValueError("its header is longer than the file, or than any header")
        header = json.loads(file.read(length))
        stored = [
            Stored(name, entry["dtype"], entry["shape"], path, 8 + length + begin, end - begin)
            for name, entry in header.items()
            if name != "__metadata__"
            for begin, end in [entry["data_offsets"]]
        ]
        whole = os.fstat(file.fileno()).st_size
        if any(not 8 + length <= tensor.start <= tensor.start + tensor.size <= whole for tensor in stored):
            raise ValueError("its header lists numbers that the file does not have")
        return stored


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, OSError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: {error}", "fetch it again") from error


def _line(*fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _blocks_each(tensors: int) -> int:
    return max(1, min(BLOCKS_EACH, BLOCKS_ALL // max(1, tensors)))


def _offsets(size: int, block: int, blocks: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of the blocks sampled from `size` units; one block if they would cover everything."""
    if size <= block * blocks:
        yield 0, size
    elif blocks == 1:
        yield (size - block) // 2, block
    else:
        for number in range(blocks):
            yield number * (size - block) // (blocks - 1), block


def _sample(digest: Any, file: BinaryIO, start: int, size: int, blocks: int) -> None:
    for offset, length in _offsets(size, BLOCK, blocks):
        file.seek(start + offset)
        digest.update(file.read(length))


@torch.no_grad()
def _values(tensor: Tensor, blocks: int) -> bytes:
    """The sampled values of a tensor as bytes; floating-point values as bfloat16."""
    flat = tensor.detach().reshape(-1)
    width = 2 if tensor.is_floating_point() else tensor.element_size()
    sampled = [flat[offset : offset + length] for offset, length in _offsets(flat.numel(), BLOCK // width, blocks)]
    values = torch.cat(sampled)
    if tensor.is_floating_point():
        values = values.to(torch.bfloat16)
    return values.cpu().contiguous().view(torch.uint8).numpy().tobytes()
