"""Recording: activations of neurons and heads in a text, and their means over texts; the references of attribution.

A mean is taken over all positions of all texts but the first of each, an attention sink with activations like no other
position's. Means are cached in the home folder, by the model's fingerprint, the texts, and what was suppressed.
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

from sessions.cancel import Cancel
from sessions.circuits.attribution import OTHER_REFERENCE, Reference, refuse_experts
from sessions.circuits.cases import Case
from sessions.errors import ArtifactError, UsageError
from sessions.events import Progress, Steps
from sessions.files.disk import check_regular, write_file
from sessions.model import memory_needed
from sessions.model.finite import all_finite, not_finite
from sessions.model.homes import home_of
from sessions.model.hooks import Change, after, on_neurons, together, watched
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.rows import in_batches, padded_rows
from sessions.model.sites import HeadSite, Site
from sessions.model.tokens import last_positions
from sessions.model.units import Kind

#: Units whose activations are recorded; a reference of them can hold any circuit.
RECORDED: tuple[Kind, ...] = ("neuron", "head")


@torch.inference_mode()
def recorded(opened: OpenModel, ids: Sequence[int], length: int, cancel: Cancel | None = None) -> Reference:
    """The activations of all neurons and heads in a text, as the reference of a text of `length` tokens.

    The two are aligned at their ends. Where the recorded text is shorter, the positions before it have no reference
    (NaN) and count as unchanged.

    Raises:
        ModelError: a mixture of experts, whose active neurons differ from text to text.
    """
    read = _read(opened, [ids], cancel)
    return Reference(
        tuple(_aligned(layer[0], length) for layer in read.activations),
        tuple(_aligned(stream[0], length)[None] for stream in read.embedded),
        heads=tuple(_aligned(layer[0], length) for layer in read.heads),
    )


@torch.inference_mode()
def corrupt_reference(opened: OpenModel, cases: Sequence[Case], cancel: Cancel | None = None) -> Reference:
    """The activations in the corrupt prompts of some cases, as the reference of these as padded rows:
    `[cases, longest, width]`.

    Raises:
        ModelError: a mixture of experts.
    """
    return _read(opened, [case.corrupt.ids for case in cases if case.corrupt is not None], cancel)


def _aligned(values: Tensor, length: int) -> Tensor:
    """The last `length` rows, NaN before the first."""
    missing = max(length - len(values), 0)
    return torch.cat([values.new_full((missing, values.shape[1]), torch.nan), values[-length:]])


def means(
    opened: OpenModel,
    texts: Sequence[Sequence[int]],
    home: Path,
    cancel: Cancel | None = None,
    *,
    aligned: bool = False,
    under: str = "",
    batch: int | None = None,
) -> Steps[Reference]:
    """Mean activation of every neuron and head, `[width]` for each site in float32; from the cache where it has them.

    Args:
        texts: ids of each text.
        aligned: a mean for each position, counted from the end: `[positions, width]` for each site, the last position
            last. Positions that fewer than half of the texts have share the first row with the furthest position that
            half of them have: a mean over one or two texts would just be these texts.
        under: a key of what is suppressed, which means depend on (`Session.state_key`).
        batch: tokens read at once, padding included; by default as many as memory allows.

    Raises:
        UsageError: no text has a second token.
        ModelError: a mixture of experts.
    """
    path = home / "means" / f"{_key(opened.info.fingerprint, texts, aligned, under)}.safetensors"
    sites = [site for _, site in opened.anatomy.unit_sites(RECORDED)]
    known = _kept(path, opened.anatomy, aligned)
    if known is not None:
        return known
    texts = [ids for ids in texts if len(ids) > 1]
    if not texts:
        raise UsageError("there is no text to take means over", "every text needs at least two tokens")
    lengths = [len(ids) for ids in texts]
    places = max(lengths) - 1 if aligned else 1
    # One more row takes the positions that do not count: to leave them out by a mask would wait for the device.
    sums = [torch.zeros(places + 1, site.width, device=home_of(site.module)) for site in sites]
    counts = torch.zeros(places)
    done = 0
    yield Progress("mean activations", 0, len(texts), "texts")

    @torch.inference_mode()
    def activations(rows: Sequence[int]) -> tuple[Tensor, ...]:
        return _read(opened, [texts[row] for row in rows], cancel).by_site(opened.anatomy, RECORDED)

    for rows, read in in_batches(opened, lengths, batch, memory_needed.recording, activations):
        place = _places([lengths[row] for row in rows], places if aligned else None)
        counts += torch.bincount(place[place >= 0], minlength=places)
        if not all_finite(read):
            raise not_finite(opened, [texts[row] for row in rows], "a mean")
        where = torch.where(place < 0, places, place).flatten().to(opened.device)
        for total, values in zip(sums, read, strict=True):
            total.index_add_(0, where.to(total.device), values.flatten(0, 1).float().to(total.device))
        done += len(rows)
        del read, values  # the next batch needs their memory
        yield Progress("mean activations", done, len(texts), "texts")
    averages = tuple(_pooled(total.cpu()[:-1], counts, len(texts) / 2) for total in sums)
    averages = averages if aligned else tuple(mean[0] for mean in averages)
    heads = [isinstance(site, HeadSite) for site in sites]
    known = Reference(
        tuple(mean for mean, head in zip(averages, heads, strict=True) if not head),
        from_end=aligned,
        heads=tuple(mean for mean, head in zip(averages, heads, strict=True) if head),
    )
    with suppress(ArtifactError):  # a cache that cannot be written only costs time
        write_file(path, save(_named(known)), force=True, what="means")
    return known


def _places(lengths: Sequence[int], places: int | None) -> Tensor:
    """The place that each position is added to, `[rows, longest]`: 0 or, with `places`, the one as far from the end; -1
    for the first position and for padding."""
    ends, position = torch.tensor(lengths)[:, None], torch.arange(max(lengths))[None]
    place = torch.zeros(len(lengths), max(lengths), dtype=torch.long) if places is None else position - ends + places
    return torch.where((position > 0) & (position < ends), place, -1)


def _pooled(sums: Tensor, counts: Tensor, least: float) -> Tensor:
    """Means of the places, from the first that at least `least` texts have; earlier places are pooled into it."""
    first = int((counts >= least).nonzero()[0])
    together = sums[: first + 1].sum(0, keepdim=True) / counts[: first + 1].sum()
    return torch.cat([together, sums[first + 1 :] / counts[first + 1 :, None]])


def _key(fingerprint: str, texts: Sequence[Sequence[int]], aligned: bool, under: str) -> str:
    ids = repr([list(ids) for ids in texts]) + under + fingerprint.partition("+")[2]
    return f"{fingerprint[:16]}-{sha256(ids.encode()).hexdigest()[:16]}{'-aligned' if aligned else ''}"


def _named(means: Reference) -> dict[str, Tensor]:
    """The means by their names in a file."""
    neurons = {str(number): mean for number, mean in enumerate(means.activations)}
    return neurons | {f"heads.{number}": mean for number, mean in enumerate(means.heads)}


def _kept(path: Path, anatomy: Anatomy, aligned: bool) -> Reference | None:
    """The means in a file; None where it has none for these sites."""
    with suppress(OSError, SafetensorError, ArtifactError):
        tensors = load_file(check_regular(path))

        def those(prefix: str, kind: Kind) -> tuple[Tensor, ...]:
            widths = [site.width for _, site in anatomy.unit_sites((kind,))]
            means = tuple(tensors[name] for number in range(len(widths)) if (name := f"{prefix}{number}") in tensors)
            if [tuple(mean.shape[aligned:]) for mean in means] != [(width,) for width in widths]:
                raise ArtifactError("the file has means of other sites")
            return means

        return Reference(those("", "neuron"), from_end=aligned, heads=those("heads.", "head"))
    return None


def _read(opened: OpenModel, texts: Sequence[Sequence[int]], cancel: Cancel | None) -> Reference:
    """Activations of each site, `[texts, seq, width]`, and the output of each embedding, `[texts, seq, d]`, in texts
    padded on the right."""
    anatomy = opened.anatomy
    refuse_experts(anatomy, OTHER_REFERENCE)
    shape = len(texts), max(map(len, texts))
    neurons: dict[int, Tensor] = {}
    embedded: list[Tensor] = []

    def keep(site: Site) -> Change:
        def record(values: Tensor, _: object) -> Tensor:
            neurons[id(site)] = values.reshape(*shape, -1)
            return values

        return record

    def keep_embedding(_: Tensor, output: Tensor) -> Tensor:
        embedded.append(output)
        return output

    sites = [site for _, site in anatomy.unit_sites(RECORDED)]
    hooks = [on_neurons(site, keep(site)) for site in sites]
    hooks += [after(embedding, keep_embedding) for embedding in anatomy.embeddings]
    with watched(anatomy, cancel), padded_rows(opened, texts) as ids, together(hooks):
        opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(1, ids))
    heads = tuple(neurons[id(site)] for site in sites if isinstance(site, HeadSite))
    return Reference(
        tuple(neurons[id(site)] for site in sites if not isinstance(site, HeadSite)), tuple(embedded), heads=heads
    )
