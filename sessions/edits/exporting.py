"""The edited model as a plain folder: config, safetensors and tokenizer, which transformers and any program open.

The weights are written as they are in memory, in their dtype, with all edits. They are given to an empty model of the
same configuration, because a model that was read from a GGUF file or has adapters has names and marks that the folder
must not have. Shared weights are written once where the configuration ties them, else separately, so that the folder
computes what the model does. The folder is written under a hidden name, opened again like any model, compared with the
open one to the bit, and only then moved to its place. No second copy of the weights is in memory meanwhile: the
reopened model leaves its weights on disk, where they are compared one by one, and then computes with those of the open
model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path

import torch
from accelerate import dispatch_model
from accelerate.hooks import remove_hook_from_module
from torch import Tensor, nn
from transformers import PreTrainedModel

from sessions.cancel import Cancel
from sessions.errors import ArtifactError, ModelError
from sessions.events import Progress, Steps
from sessions.files.disk import reported, sync_folder
from sessions.files.temporary import noted, put_in_place, temporary_folder
from sessions.model import fingerprint as fingerprints
from sessions.model.background import Meter, first_line, in_background, progress_to
from sessions.model.homes import weight_of
from sessions.model.hooks import watched
from sessions.model.opening import OpenModel, open_model

#: No weights file is larger than this.
SHARD = "4GB"
_CONFIG = "config.json"


def exported(
    opened: OpenModel,
    folder: Path,
    *,
    home: Path | None = None,
    force: bool = False,
    trusted: bool = False,
    ids: Sequence[int] = (1,),
    cancel: Cancel | None = None,
) -> Steps[str]:
    """Write the model, with what is in its weights, into a folder.

    Args:
        home: the home folder, where the work is registered so that leftovers are removed if this is killed.
        force: replace the model that is there.
        trusted: the model's own code may run when it is opened again.
        ids: a text whose logits have to be the same in the reopened model.

    Returns the fingerprint of what was written.

    Raises:
        ModelError: its weights are packed, not in memory, or have an adapter on; or what was written is not the same.
        ArtifactError: the folder is not empty, or cannot be written; nothing has changed then.
    """
    place = Path(os.path.realpath(folder))
    check_place(place, force)
    state = plain_state(_bare(opened.model))
    with (
        reported("write", place, "choose a place where you may write"),
        nullcontext() if home is None else noted(home, place.parent),
        temporary_folder(place.parent) as work,
    ):
        yield from in_background(lambda meter: _write(opened, state, work, meter), f"writing {place.name}")
        yield from _check_same(opened, state, work, trusted, ids, cancel)
        identity = fingerprints.with_config(fingerprints.of_folder(work), _bare(opened.model).config)
        _sync(work)
        put_in_place(work, place)
    return identity


def check_place(place: Path, force: bool) -> None:
    """Refuse a file or a folder that is not empty; with `force`, only one that holds anything but a model.

    Raises:
        ArtifactError: it is one of these.
    """
    with reported("read", place, "choose a place where you may write"):
        if not os.path.lexists(place):
            return
        if not place.is_dir():
            raise ArtifactError(f"{place} is a file", "the model becomes a folder: choose another name")
        inside = sorted(place.iterdir())
    if not inside:
        return
    if not force:
        raise ArtifactError(f"{place} is not empty", "choose another folder, or replace the model in it with --force")
    if not (place / _CONFIG).is_file():
        raise ArtifactError(f"{place} holds no model, and what it holds is not replaced", "choose another folder")
    other = next((file.name for file in inside if file.is_symlink() or not file.is_file()), None)
    if other is not None:
        raise ArtifactError(f"{place} holds more than a model: {other}", "choose another folder")


def plain_state(model: PreTrainedModel) -> dict[str, Tensor]:
    """The weights by the names they have without adapters, whatever wraps them; they are not copied.

    Raises:
        ModelError: some are packed or not in memory, or an adapter is on.
    """
    for name, module in model.named_modules():
        if hasattr(module, "base_layer") and _is_on(module):
            raise ModelError(
                f"an adapter is on at {name}: the folder would be without it",
                "merge it into the weights first, or turn it off",
            )
    state = {}
    for name, tensor in model.state_dict().items():
        if _belongs_to_adapter(model, name):
            continue
        if tensor.is_meta:
            raise ModelError(f"{name} is not in memory: it is offloaded", "open the model on a device that holds it")
        if not tensor.dtype.is_floating_point and tensor.dtype in (torch.uint8, torch.int8):
            raise ModelError(f"{name} is packed ({tensor.dtype})", "open the model without --load-in")
        state[name.replace(".base_layer.", ".")] = tensor
    return state


def _bare(model: PreTrainedModel) -> PreTrainedModel:
    """The model itself, or the one that PEFT has wrapped as a whole."""
    inner = getattr(model, "get_base_model", None)
    return model if inner is None else inner()


def _is_on(module: nn.Module) -> bool:
    """Whether a module that wraps a projection adds something to it."""
    return not getattr(module, "disable_adapters", False) and bool(getattr(module, "active_adapters", True))


def _belongs_to_adapter(model: nn.Module, name: str) -> bool:
    """Whether a parameter lies in a module that wraps a projection, outside that projection."""
    parents = name.split(".")
    for end in range(1, len(parents)):
        if hasattr(model.get_submodule(".".join(parents[:end])), "base_layer"):
            return parents[end] != "base_layer"
    return False


def _write(opened: OpenModel, state: Mapping[str, Tensor], folder: Path, meter: Meter) -> None:
    model = _bare(opened.model)
    config = deepcopy(model.config)
    if hasattr(config, "quantization_config"):  # read from a GGUF file, whose numbers are plain ones now
        del config.quantization_config
    with progress_to(meter):
        try:
            with torch.device("meta"):
                clean: PreTrainedModel = type(model)(config)
            _give(clean, state)
            clean.generation_config = model.generation_config
            clean.save_pretrained(folder, max_shard_size=SHARD)
            opened.tokenizer.save_pretrained(folder)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # whatever a family's code, its config or safetensors may raise
            raise ModelError(f"the model cannot be written: {first_line(error)}") from error


def _give(model: PreTrainedModel, state: Mapping[str, Tensor]) -> None:
    """Give a model these weights, tied where they are shared in memory and nowhere else.

    A configuration may tie a head that has weights of its own in memory, which transformers keeps when it reads them,
    or not tie one that shares those of the embedding, which it would leave out when it writes them.
    """
    tied: dict[str, str] = model.all_tied_weights_keys
    for target, source in list(tied.items()):
        if target in state and source in state and state[target].data_ptr() != state[source].data_ptr():
            del tied[target]
    given: dict[str, Tensor] = {}
    places: dict[tuple[int, torch.Size], str] = {}
    for name, tensor in state.items():
        first = places.setdefault((tensor.data_ptr(), tensor.shape), name)
        one = tied.get(name, name) == tied.get(first, first) or not tensor.numel()
        given[name] = tensor if one else tensor.clone()
    model.load_state_dict(given, strict=False, assign=True)
    model.tie_weights(recompute_mapping=False)


def _check_same(
    opened: OpenModel,
    state: Mapping[str, Tensor],
    folder: Path,
    trusted: bool,
    ids: Sequence[int],
    cancel: Cancel | None,
) -> Steps[None]:
    """Open the written folder, and compare its weights and logits with the open model's.

    Raises:
        ModelError: it does not open, or is not the same to the bit.
    """
    with temporary_folder(folder.parent) as left:
        try:
            again = yield from open_model(
                str(folder),
                models=folder,
                dtype=opened.info.dtype,
                device_map={"": "disk"},
                offload_folder=left,
                trust_remote_code=trusted,
            )
        except ModelError as error:
            raise ModelError(f"the exported model does not open: {error.message}", "it was removed again") from error
        for number, (name, tensor) in enumerate(state.items()):
            if cancel is not None:
                cancel.look()
            yield Progress("comparing", number, len(state), "weights")
            if not _has(again.model, name, tensor):
                raise ModelError(f"the exported model is not the same: {name} differs", "it was removed again")
    _lend(opened, again.model, state)
    if not torch.equal(_logits(opened, ids, cancel), _logits(again, ids, cancel)):
        raise ModelError("the exported model does not compute the same logits", "it was removed again")


def _has(model: nn.Module, name: str, tensor: Tensor) -> bool:
    """Whether a model with its weights on disk has this tensor under this name, to the bit."""
    try:
        there = weight_of(model, name)
    except AttributeError:
        return False
    if there.shape != tensor.shape or there.dtype != tensor.dtype:
        return False
    bits = [weights.detach().reshape(-1).contiguous().cpu().view(torch.uint8) for weights in (there, tensor)]
    return torch.equal(*bits)


def _lend(opened: OpenModel, model: PreTrainedModel, state: Mapping[str, Tensor]) -> None:
    """Let a model with its weights on disk compute with the tensors of the open one.

    Equal numbers at other addresses are not always summed in the same order, so both models read the same tensors.
    """
    remove_hook_from_module(model, recurse=True)
    _give(model, state)
    for name, buffer in _bare(opened.model).named_buffers():
        parent, _, last = name.replace(".base_layer.", ".").rpartition(".")
        model.get_submodule(parent)._buffers[last] = buffer
    places = getattr(_bare(opened.model), "hf_device_map", None)
    if places is not None:
        dispatch_model(
            model, places, main_device=opened.device, skip_keys=getattr(model, "_skip_keys_device_placement", None)
        )


@torch.inference_mode()
def _logits(opened: OpenModel, ids: Sequence[int], cancel: Cancel | None) -> Tensor:
    batch = torch.tensor([list(ids)], device=opened.device)
    with watched(opened.anatomy, cancel):
        logits: Tensor = opened.model(input_ids=batch, use_cache=False).logits
    return logits.cpu()


def _sync(folder: Path) -> None:
    """Flush every file to disk, and make it readable by those who can read the folder."""
    for path in folder.iterdir():
        path.chmod(folder.stat().st_mode & 0o666)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
