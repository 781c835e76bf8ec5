"""Building an atlas: one pass over a corpus, without the head and without the layers above the last one wanted.

Documents are read in chunks of `CHUNK`. Those of a chunk run in batches of similar length, padded as by `model.rows`,
and the activations at each counted position are folded into the statistics during the pass (`folding`). Special tokens,
such as BOS, are read by the model and not counted. Between chunks the state of the build can be saved (`unfinished`). A
build that continues from there computes the same batches, and so the same bits.

Memory is needed for the statistics, whose size is known before anything runs, for the documents with maxima, and for a
batch. `plan` makes batches smaller to fit, and refuses what does not fit. The model's own pass is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import islice
from time import monotonic

import numpy as np
import torch
from msgspec import Struct
from torch import Tensor

from sessions.atlas.atlas import Array, Atlas, AtlasAbout, AtlasLayer, Documents
from sessions.atlas.folding import Running, bytes_of, working_bytes
from sessions.cancel import Cancel
from sessions.errors import UsageError
from sessions.events import Progress, Steps
from sessions.files.disk import LARGEST
from sessions.model.finite import not_finite
from sessions.model.homes import home_of
from sessions.model.hooks import Routing, on_neurons, only_to, watched
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.rows import LARGEST_BATCH, batches, padded_rows
from sessions.model.sites import DenseSite, ExpertSite, Site
from sessions.model.texts import special_ids
from sessions.model.tokens import plain_ids, token_text
from sessions.texts.corpus import Corpus, Survey

#: Documents between two points at which a build can continue.
CHUNK = 128
#: Seconds at least between two checkpoints.
SECONDS = 30.0
#: Highest and lowest activations that are kept of each neuron.
K = 10
LENGTH = 128
#: MiB that an atlas may take beside the model while it is built.
MEMORY = 1024
_MIB = 2**20
#: Characters of a text that are tokenised for each token wanted: hardly any token is longer.
_CHARACTERS = 64


class AtlasPlan(Struct, frozen=True, kw_only=True):
    """The plan of a build.

    `batch` counts the tokens computed at once, padding included; `bytes` bounds the memory of the statistics, the
    documents and a batch.
    """

    model: str
    dtype: str
    under: str
    corpus: str
    survey: Survey
    layers: tuple[int, ...]
    length: int
    k: int
    batch: int
    bytes: int


@dataclass
class Progressed:
    """The progress of a build: documents read, empty ones, positions counted, and documents that may have maxima."""

    documents: int = 0
    empty: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        self.kept: dict[int, Array] = {}


def plan(
    opened: OpenModel,
    corpus: Corpus,
    survey: Survey,
    *,
    layers: Sequence[int] | None = None,
    length: int = LENGTH,
    k: int = K,
    batch: int = LARGEST_BATCH,
    memory: int = MEMORY,
    under: str = "",
) -> AtlasPlan:
    """The plan for `build`.

    Args:
        layers: which; all if None.
        length: tokens that documents are cut to, BOS included.
        batch: tokens computed at once at most, padding included; fewer where memory asks for it.
        memory: MiB that the statistics and a batch may take together.
        under: a key of what is suppressed.

    Raises:
        UsageError: there is no such layer, documents would be longer than the model has positions, or it cannot be
            done within the memory.
    """
    anatomy = opened.anatomy
    chosen = tuple(range(anatomy.n_layers) if layers is None else layers)
    for layer in chosen:
        anatomy.check(layer, 0)
    if anatomy.context is not None and length > anatomy.context:
        raise UsageError(f"the model has {anatomy.context:,} positions, not {length:,}", "make --length shorter")
    sites = [site for _, site in sites_of(anatomy, chosen)]
    widest = max(site.d_expert if isinstance(site, ExpertSite) else site.width for site in sites)
    neurons = sum(site.width for site in sites)
    fixed = sum(bytes_of(site.width, k) for site in sites) + _kept(survey.documents, neurons, k) * length * 4
    for tokens in (batch >> times for times in range(batch.bit_length())):
        needed = fixed + working_bytes(widest, k, tokens)
        if needed <= memory * _MIB or tokens < length:
            break
    if fixed > LARGEST:
        raise UsageError(
            f"an atlas of {neurons:,} neurons has {fixed // _MIB:,} MiB, and a file at most {LARGEST // _MIB:,}",
            "fewer layers (--layers 0-9), maxima (--top 5) or documents (--docs 10000)",
        )
    if needed > memory * _MIB:
        raise UsageError(
            f"an atlas of {neurons:,} neurons takes {-(-needed // _MIB):,} MiB, and {memory:,} may be taken",
            f"--memory {-(-needed // _MIB)}, or fewer layers (--layers 12) or maxima (--top 5)",
        )
    return AtlasPlan(
        model=opened.info.fingerprint,
        dtype=opened.info.dtype,
        under=under,
        corpus=corpus.name,
        survey=survey,
        layers=chosen,
        length=length,
        k=k,
        batch=tokens,
        bytes=needed,
    )


def _kept(documents: int, neurons: int, k: int) -> int:
    """How many documents are kept at most: all, or twice as many as can have maxima, or a few chunks."""
    return min(documents, max(4 * neurons * k, 8 * CHUNK))


class Building:
    """An atlas while it is built: the statistics of each site of the layers, and how far it is."""

    def __init__(self, opened: OpenModel, plan: AtlasPlan) -> None:
        self.opened, self.plan = opened, plan
        self.sites = sites_of(opened.anatomy, plan.layers)
        self.running = [begun(site, plan.k) for _, site in self.sites]
        self.progress = Progressed()
        self._special = special_ids(opened.tokenizer)
        self._limit = 8 * CHUNK

    def fold(self, texts: Sequence[str], cancel: Cancel | None = None) -> Iterator[int]:
        """Fold in the next documents of the corpus; yields the number of documents read after each batch.

        Raises:
            ModelError: an activation is not finite; the message names the layer.
        """
        first = self.progress.documents
        ids = [document_ids(self.opened, text, self.plan.length) for text in texts]
        counted = [[at for at, token in enumerate(document) if token not in self._special] for document in ids]
        saying = [number for number, positions in enumerate(counted) if positions]
        done = len(texts) - len(saying)
        for part in batches([len(ids[number]) for number in saying], self.plan.batch):
            rows = [saying[number] for number in part]
            self._run([ids[row] for row in rows], [counted[row] for row in rows], [first + row for row in rows], cancel)
            done += len(rows)
            yield first + done
        for (layer, _), running in zip(self.sites, self.running, strict=True):
            if not running.finite:
                names = [f"document {first + row + 1}" for row in saying]
                raise not_finite(self.opened, [ids[row] for row in saying], f"an activation of layer {layer}", names)
        self.progress.kept.update({first + row: np.asarray(ids[row], dtype=np.int32) for row in saying})
        self.progress.documents += len(texts)
        self.progress.empty += len(texts) - len(saying)
        if len(self.progress.kept) > self._limit:
            self.prune()

    @torch.inference_mode()
    def _run(
        self,
        ids: Sequence[Sequence[int]],
        counted: Sequence[Sequence[int]],
        numbers: Sequence[int],
        cancel: Cancel | None,
    ) -> None:
        """One batch: ids of each row, the positions that count, and the documents' numbers."""
        anatomy = self.opened.anatomy
        begins = [number * self.plan.length for number in numbers]
        batch = Batch.of(counted, max(map(len, ids)), begins, self.progress.tokens)
        with ExitStack() as stack:
            read = stack.enter_context(padded_rows(self.opened, ids))
            stack.enter_context(watched(anatomy, cancel))
            stack.enter_context(only_to(anatomy, max(self.plan.layers)))
            for (_, site), running in zip(self.sites, self.running, strict=True):
                stack.enter_context(folding_into(site, running, batch))
            anatomy.decoder(input_ids=read, use_cache=False)
        self.progress.tokens += len(batch.rows)

    def prune(self) -> None:
        """Drop the documents without a maximum."""
        wanted = np.zeros(self.progress.documents, dtype=bool)
        for layer in self.running:
            for positions in (layer.high_at, layer.deep_at):
                wanted[positions[positions >= 0].cpu().numpy() // self.plan.length] = True
        self.progress.kept = {number: ids for number, ids in sorted(self.progress.kept.items()) if wanted[number]}
        self._limit = max(8 * CHUNK, 2 * len(self.progress.kept))

    def finished(self) -> Atlas:
        """The atlas of what was folded.

        Raises:
            UsageError: no document had anything to count.
        """
        if not self.progress.tokens:
            count = self.progress.documents
            which = f"all {count:,} documents" if count > 1 else "the only document"
            raise UsageError(
                f"{which} of '{self.plan.corpus}' {'are' if count > 1 else 'is'} empty", "give a corpus with text in it"
            )
        self.prune()
        kept = self.progress.kept
        ids = np.concatenate(list(kept.values()))
        starts = np.cumsum([0, *(len(document) for document in kept.values())])
        tokenizer = self.opened.tokenizer
        return Atlas(
            AtlasAbout(
                corpus=self.plan.corpus,
                sha256=self.plan.survey.sha256,
                documents=self.progress.documents,
                empty=self.progress.empty,
                tokens=self.progress.tokens,
                length=self.plan.length,
                k=self.plan.k,
                dtype=self.plan.dtype,
                under=self.plan.under,
            ),
            by_layer(self.sites, self.running),
            Documents(np.asarray(list(kept), dtype=np.int64), starts.astype(np.int64), ids),
            {int(token): token_text(tokenizer, int(token)) for token in np.unique(ids)},
            model=self.opened.info.name,
            fingerprint=self.opened.info.fingerprint,
        )


def document_ids(opened: OpenModel, text: str, length: int) -> list[int]:
    """The ids of a document, cut to `length` tokens."""
    return plain_ids(opened.tokenizer, text[: length * _CHARACTERS])[:length]


def sites_of(anatomy: Anatomy, layers: Sequence[int]) -> list[tuple[int, Site]]:
    """The sites of some layers, each with its layer."""
    return [(layer, site) for layer in layers for site in anatomy.layers[layer].sites]


def begun(site: Site, k: int) -> Running:
    """Empty statistics of a site's neurons, on the device that computes these."""
    gated = site.gated if isinstance(site, DenseSite) else True
    return Running.empty(site.width, k, gated, home_of(site.module))


def by_layer(sites: Sequence[tuple[int, Site]], running: list[Running]) -> dict[int, AtlasLayer]:
    """The finished statistics of the sites, joined by layer.

    The running statistics are removed from the list one by one, so that the memory bound holds.
    """
    parts: dict[int, list[AtlasLayer]] = {}
    for layer, _ in sites:
        parts.setdefault(layer, []).append(running.pop(0).finished())
    return {layer: part[0] if len(part) == 1 else _joined(part) for layer, part in parts.items()}


def _joined(parts: Sequence[AtlasLayer]) -> AtlasLayer:
    names = AtlasLayer.__dataclass_fields__
    return AtlasLayer(**{name: np.concatenate([getattr(part, name) for part in parts], -1) for name in names})


@dataclass(frozen=True)
class Batch:
    """Which rows of a flattened batch of `size` positions are counted, their places, and the count so far."""

    rows: Tensor
    places: Tensor
    size: int
    seen: int

    @classmethod
    def of(cls, counted: Sequence[Sequence[int]], longest: int, firsts: Sequence[int], seen: int = 0) -> Batch:
        """The positions of each row that are counted; `firsts` are the places of their positions 0."""
        rows = torch.tensor([row * longest + at for row, positions in enumerate(counted) for at in positions])
        places = torch.tensor(
            [first + at for first, positions in zip(firsts, counted, strict=True) for at in positions]
        )
        return cls(rows, places, len(counted) * longest, seen)


def folding_into(site: Site, running: Running, batch: Batch) -> AbstractContextManager[None]:
    """Inside the block a pass over the batch is folded into the statistics of a site."""

    def record(values: Tensor, routing: Routing | None) -> Tensor:
        if not len(batch.rows):
            return values
        if routing is None:
            flat = values.reshape(-1, values.shape[-1])
            rows, places = batch.rows.to(values.device), batch.places.to(values.device)
            running.fold(flat if len(rows) == batch.size else flat.index_select(0, rows), places, seen=batch.seen)
        else:
            assert isinstance(site, ExpertSite)
            _fold_experts(site, running, values, routing, batch)
        return values

    return on_neurons(site, record)


def _fold_experts(site: ExpertSite, running: Running, values: Tensor, routing: Routing, batch: Batch) -> None:
    """Each expert's neurons, at the positions that were sent to it alone."""
    place = torch.full((batch.size,), -1, device=values.device)
    place[batch.rows.to(values.device)] = batch.places.to(values.device)
    place = place.repeat_interleave(routing.per_token)
    for expert in routing.experts.unique().tolist():
        rows = ((routing.experts == expert) & (place >= 0)).nonzero()[:, 0]
        columns = slice(expert * site.d_expert, (expert + 1) * site.d_expert)
        running.fold(values[rows], place[rows], columns)


def build(
    building: Building,
    corpus: Corpus,
    keep: Callable[[], None] | None = None,
    *,
    seconds: float = SECONDS,
    cancel: Cancel | None = None,
) -> Steps[Atlas]:
    """Read the rest of the corpus and make the atlas.

    Args:
        keep: saves the state of the build; called between chunks, at most once in `seconds`.

    Raises:
        ArtifactError: a file of the corpus is gone or has changed, or `keep` cannot write.
        ModelError: an activation is not finite.
        UsageError: the corpus has no token to count.
        Cancelled: `cancel` was requested; all hooks are removed.
    """
    total = building.plan.survey.documents
    yield Progress("atlas", building.progress.documents, total, "documents")
    texts = corpus.documents()
    for _ in islice(texts, building.progress.documents):  # they were folded in before
        if cancel is not None:
            cancel.look()
    written = monotonic()
    while chunk := list(islice(texts, CHUNK)):
        for done in building.fold(chunk, cancel):
            yield Progress("atlas", done, total, "documents")
        if keep is not None and building.progress.documents < total and monotonic() - written >= seconds:
            building.prune()
            keep()
            written = monotonic()
    corpus.check(building.plan.survey)
    return building.finished()
