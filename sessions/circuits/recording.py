"""Recording: what neurons were in a text, and what they are on average; the references of attribution.

A mean is taken over every position but the first, where attention sinks and activations are like nowhere else, of
all texts alike. Means are kept in the home folder, by the model's fingerprint and the texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sessions.circuits.attribution import Reference
from sessions.disk import write_file
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.events import Progress, Steps
from sessions.model.anatomy import Anatomy
from sessions.model.cancel import Cancel
from sessions.model.hooks import Change, after, on_neurons, together, watched
from sessions.model.opening import OpenModel
from sessions.model.tokens import last_positions


@torch.inference_mode()
def recorded(opened: OpenModel, ids: Sequence[int], length: int, cancel: Cancel | None = None) -> Reference:
    """What every neuron is in a text, as the reference of one of `length` tokens.

    The two are aligned at their ends. Where the text is the shorter one, the positions before it have no reference
    and count as not different: NaN stands there.

    Raises:
        ModelError: a mixture of experts, whose neurons differ from text to text.
    """
    neurons, embedded = _read(opened, ids, cancel)
    return Reference(
        tuple(_aligned(each, length) for each in neurons),
        tuple(_aligned(each[0], length)[None] for each in embedded),
    )


def _aligned(values: Tensor, length: int) -> Tensor:
    """The last `length` rows, NaN before the first."""
    missing = max(length - len(values), 0)
    return torch.cat([values.new_full((missing, values.shape[1]), torch.nan), values[-length:]])


def means(
    opened: OpenModel, texts: Sequence[Sequence[int]], home: Path, cancel: Cancel | None = None
) -> Steps[tuple[Tensor, ...]]:
    """Mean activation of every neuron, `[width]` a site in float32; read from the home folder where they are known.

    Args:
        texts: ids of each text.

    Raises:
        UsageError: no text has a second token.
        ModelError: a mixture of experts.
    """
    path = home / "means" / f"{_key(opened.info.fingerprint, texts)}.safetensors"
    known = _kept(path, opened.anatomy)
    if known is not None:
        return known
    texts = [ids for ids in texts if len(ids) > 1]
    if not texts:
        raise UsageError("there is no text to take means over", "every text needs two tokens at least")
    sums = [torch.zeros(site.width) for layer in opened.anatomy.layers for site in layer.sites]
    for number, ids in enumerate(texts):
        yield Progress("mean activations", number, len(texts), "texts")
        with torch.inference_mode():
            for total, values in zip(sums, _read(opened, ids, cancel)[0], strict=True):
                total += values[1:].float().sum(0).cpu()
    count = sum(len(ids) - 1 for ids in texts)
    found = tuple(total / count for total in sums)
    with suppress(ArtifactError):  # they are only made again
        write_file(path, save({str(number): each for number, each in enumerate(found)}), force=True, what="means")
    return found


def _key(fingerprint: str, texts: Sequence[Sequence[int]]) -> str:
    return f"{fingerprint[:16]}-{sha256(repr([list(ids) for ids in texts]).encode()).hexdigest()[:16]}"


def _kept(path: Path, anatomy: Anatomy) -> tuple[Tensor, ...] | None:
    """The means in a file; None where there are none for these sites."""
    widths = [site.width for layer in anatomy.layers for site in layer.sites]
    with suppress(OSError, SafetensorError):
        tensors = load_file(path)
        found = tuple(tensors[str(number)] for number in range(len(widths)) if str(number) in tensors)
        if [tuple(each.shape) for each in found] == [(width,) for width in widths]:
            return found
    return None


def _read(opened: OpenModel, ids: Sequence[int], cancel: Cancel | None) -> tuple[list[Tensor], list[Tensor]]:
    """Activations of each site, `[seq, width]`, and the output of each embedding, `[1, seq, d]`, in a text."""
    anatomy = opened.anatomy
    if anatomy.has_experts:
        raise ModelError(
            "neurons of a mixture of experts have no reference: each text is sent to experts of its own",
            "use --reference zero",
        )
    neurons: list[Tensor] = []
    embedded: list[Tensor] = []

    def keep(into: list[Tensor]) -> Change:
        def record(values: Tensor, _: object) -> Tensor:
            into.append(values.reshape(-1, values.shape[-1]))
            return values

        return record

    def keep_embedding(_: Tensor, output: Tensor) -> Tensor:
        embedded.append(output)
        return output

    hooks = [on_neurons(site, keep(neurons)) for layer in anatomy.layers for site in layer.sites]
    hooks += [after(embedding, keep_embedding) for embedding in anatomy.embeddings]
    text = torch.tensor([list(ids)], device=opened.model.device)
    with watched(anatomy, cancel), together(hooks):
        opened.model(input_ids=text, use_cache=False, logits_to_keep=last_positions(1, text))
    return neurons, embedded
