"""Building an atlas: one pass over a corpus, without the head and without the layers above the last one wanted.

Documents are read in chunks of `CHUNK`. Those of a chunk run in batches of similar length, padded as by `model.rows`,
and the activations at each counted position are folded into the statistics during the pass (`folding`). Special tokens,
such as BOS, are read by the model and not counted. Between chunks the state of the build can be saved (`unfinished`). A
build that continues from there computes the same batches, and so the same bits. A chunk is a piece (`model.pieces`):
others can fold chunks from nothing, and their statistics are merged in the order of the documents, to the same bits.

Memory is needed for the statistics, whose size is known before anything runs, for the documents with maxima, and for a
batch. `plan` makes batches smaller to fit, and refuses what does not fit. The model's own pass is not counted. On an
accelerator the activations of two batches are kept until they are merged (`in_flight`), or of as many sites as fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from time import monotonic

import numpy as np
import torch
from msgspec import Struct

from sessions.atlas.atlas import Array, Atlas, AtlasAbout, Documents
from sessions.atlas.folding import bytes_of, working_bytes
from sessions.atlas.in_flight import Flight
from sessions.atlas.site_folding import Batch, begun, by_layer, folding_into, sites_of
from sessions.cancel import Cancel
from sessions.errors import UsageError, WorkbenchError
from sessions.events import Progress, Steps
from sessions.files.disk import LARGEST
from sessions.model.finite import not_finite
from sessions.model.homes import free_memory
from sessions.model.hooks import only_to, watched
from sessions.model.opening import OpenModel
from sessions.model.pieces import Computing, Engine, WorkingModel
from sessions.model.rows import LARGEST_BATCH, batches, padded_rows
from sessions.model.sites import ExpertSite
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
    documents and a batch, and `held` what of it activations on an accelerator may take that are not merged yet.
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
    held: int = 0


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
    memory: int | None = None,
    under: str = "",
) -> AtlasPlan:
    """The plan for `build`.

    Args:
        layers: which; all if None.
        length: tokens that documents are cut to, BOS included.
        batch: tokens computed at once at most, padding included; fewer where memory asks for it.
        memory: MiB that the statistics and a batch may take together; if None `MEMORY`, and of an accelerator a quarter
            of what is free, for activations that are not merged yet.
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
    allowed = (MEMORY if memory is None else memory) * _MIB
    for tokens in (batch >> times for times in range(batch.bit_length())):
        needed = fixed + working_bytes(widest, k, tokens)
        if needed <= allowed or tokens < length:
            break
    if fixed > LARGEST:
        raise UsageError(
            f"an atlas of {neurons:,} neurons has {fixed // _MIB:,} MiB, and a file at most {LARGEST // _MIB:,}",
            "fewer layers (--layers 0-9), maxima (--top 5) or documents (--docs 10000)",
        )
    if needed > allowed:
        raise UsageError(
            f"an atlas of {neurons:,} neurons takes {-(-needed // _MIB):,} MiB, and {allowed // _MIB:,} may be taken",
            f"--memory {-(-needed // _MIB)}, or fewer layers (--layers 12) or maxima (--top 5)",
        )
    held = 0
    if opened.device.type != "cpu":
        free = free_memory(opened.device) or 0
        room = (max(allowed, free // 4) if memory is None else allowed) - needed
        held = min(room, 2 * tokens * neurons * 4)
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
        bytes=needed + held,
        held=held,
    )


def _kept(documents: int, neurons: int, k: int) -> int:
    """How many documents are kept at most: all, or twice as many as can have maxima, or a few chunks."""
    return min(documents, max(4 * neurons * k, 8 * CHUNK))


class AtlasChunk(Struct, frozen=True):
    """Documents of a corpus as ids, after `first` documents with `seen` counted positions."""

    first: int
    seen: int
    ids: tuple[tuple[int, ...], ...]


class Building:
    """An atlas while it is built: the statistics of each site of the layers, and how far it is."""

    def __init__(self, opened: OpenModel, plan: AtlasPlan) -> None:
        self.opened, self.plan = opened, plan
        self.sites = sites_of(opened.anatomy, plan.layers)
        self.running = [begun(site, plan.k) for _, site in self.sites]
        self.progress = Progressed()
        self._special = special_ids(opened.tokenizer)
        self._limit = 8 * CHUNK
        self._flying: list[Flight] = []

    def read(self, texts: Sequence[str], first: int, seen: int) -> AtlasChunk:
        """The next documents of the corpus as ids, after `first` documents and `seen` counted positions."""
        ids = tuple(tuple(document_ids(self.opened, text, self.plan.length)) for text in texts)
        return AtlasChunk(first, seen, ids)

    def counted(self, chunk: AtlasChunk) -> list[list[int]]:
        """The positions of each document that count: all but those of special tokens."""
        return [[at for at, token in enumerate(ids) if token not in self._special] for ids in chunk.ids]

    def fold(self, texts: Sequence[str], cancel: Cancel | None = None) -> Iterator[int]:
        """Fold in the next documents of the corpus; yields the number of documents read after each batch.

        Raises:
            ModelError: an activation is not finite; the message names the layer.
        """
        return self.fold_chunk(self.read(texts, self.progress.documents, self.progress.tokens), cancel)

    def fold_chunk(self, chunk: AtlasChunk, cancel: Cancel | None = None) -> Iterator[int]:
        """Fold in a chunk, as `fold` does."""
        counted, ids = self.counted(chunk), chunk.ids
        saying = [number for number, positions in enumerate(counted) if positions]
        before, tokens = [running.set_apart() for running in self.running], self.progress.tokens
        done = len(ids) - len(saying)
        for part in batches([len(ids[number]) for number in saying], self.plan.batch):
            rows = [saying[number] for number in part]
            numbers = [chunk.first + row for row in rows]
            self._run([ids[row] for row in rows], [counted[row] for row in rows], numbers, tokens, cancel)
            tokens += sum(len(counted[row]) for row in rows)
            done += len(rows)
            yield chunk.first + done
        self._land(0)
        for running, sums in zip(self.running, before, strict=True):
            running.add(sums)
        for (layer, _), running in zip(self.sites, self.running, strict=True):
            if not running.finite:
                names = [f"document {chunk.first + row + 1}" for row in saying]
                raise not_finite(self.opened, [ids[row] for row in saying], f"an activation of layer {layer}", names)
        self._advance(chunk)

    def merge(self, chunk: AtlasChunk, statistics: Sequence[Mapping[str, Array]]) -> None:
        """Take in the next chunk, which was folded elsewhere."""
        for running, part in zip(self.running, statistics, strict=True):
            running.merge(part)
        self._advance(chunk)

    def _advance(self, chunk: AtlasChunk) -> None:
        counted = self.counted(chunk)
        kept = {chunk.first + row: np.asarray(chunk.ids[row], dtype=np.int32) for row, at in enumerate(counted) if at}
        self.progress.kept.update(kept)
        self.progress.documents += len(counted)
        self.progress.empty += len(counted) - len(kept)
        self.progress.tokens += sum(map(len, counted))
        if len(self.progress.kept) > self._limit:
            self.prune()

    @torch.inference_mode()
    def _run(
        self,
        ids: Sequence[Sequence[int]],
        counted: Sequence[Sequence[int]],
        numbers: Sequence[int],
        seen: int,
        cancel: Cancel | None,
    ) -> None:
        """One batch: ids of each row, the positions that count, the documents' numbers, and the count so far."""
        anatomy = self.opened.anatomy
        begins = [number * self.plan.length for number in numbers]
        batch = Batch.of(counted, max(map(len, ids)), begins, seen, self.plan.held // 2)
        with ExitStack() as stack:
            read = stack.enter_context(padded_rows(self.opened, ids))
            stack.enter_context(watched(anatomy, cancel))
            stack.enter_context(only_to(anatomy, max(self.plan.layers)))
            for (_, site), running in zip(self.sites, self.running, strict=True):
                stack.enter_context(folding_into(site, running, batch))
            anatomy.decoder(input_ids=read, use_cache=False)
        if batch.left:
            self._flying.append(Flight(batch.left))
        self._land(1)

    def _land(self, flying: int) -> None:
        """Merge the batches but for the last ones, so many, which stay in flight."""
        while len(self._flying) > flying:
            self._flying.pop(0).land()

    def prune(self) -> None:
        """Drop the documents without a maximum."""
        wanted = np.zeros(self.progress.documents, dtype=bool)
        for layer in self.running:
            positions = layer.best_at.cpu().numpy()
            wanted[positions[positions >= 0] // self.plan.length] = True
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


@dataclass(frozen=True)
class AtlasJob:
    """A build as pieces."""

    plan: AtlasPlan

    def size(self, piece: AtlasChunk) -> float:
        return len(piece.ids)

    def state(self, piece: AtlasChunk) -> None:
        return None

    def compute(self, model: WorkingModel, piece: AtlasChunk) -> Computing[list[dict[str, Array]]]:
        part = Building(model.opened, self.plan)
        part.progress.documents, part.progress.tokens = piece.first, piece.seen
        for done in part.fold_chunk(piece, model.cancel):
            yield done - piece.first
        return [running.state() for running in part.running]


def build(
    building: Building,
    corpus: Corpus,
    keep: Callable[[], None] | None = None,
    *,
    seconds: float = SECONDS,
    cancel: Cancel | None = None,
    engine: Engine | None = None,
) -> Steps[Atlas]:
    """Read the rest of the corpus and make the atlas.

    Args:
        keep: saves the state of the build; called between chunks, at most once in `seconds`.
        engine: folds the chunks elsewhere; by default they are folded here, without a copy of the statistics.

    Raises:
        ArtifactError: a file of the corpus is gone or has changed, or `keep` cannot write.
        ModelError: an activation is not finite.
        UsageError: the corpus has no token to count.
        Cancelled: `cancel` was requested; all hooks are removed.
    """
    progress, total = building.progress, building.plan.survey.documents
    before, written = progress.documents, monotonic()
    yield Progress("atlas", before, total, "documents")
    texts = corpus.documents()
    for _ in islice(texts, before):  # they were folded in before
        if cancel is not None:
            cancel.look()

    def checkpoint() -> None:
        nonlocal written
        if keep is not None and progress.documents < total and monotonic() - written >= seconds:
            building.prune()
            keep()
            written = monotonic()

    def chunks() -> Iterator[AtlasChunk]:
        first, seen = progress.documents, progress.tokens
        while texts_ := list(islice(texts, CHUNK)):
            chunk = building.read(texts_, first, seen)
            yield chunk
            first, seen = first + len(chunk.ids), seen + sum(map(len, building.counted(chunk)))

    def take(chunk: AtlasChunk, statistics: list[dict[str, Array]]) -> None:
        building.merge(chunk, statistics)
        checkpoint()

    if engine is None:
        for chunk in chunks():
            for done in building.fold_chunk(chunk, cancel):
                yield Progress("atlas", done, total, "documents")
            checkpoint()
    else:
        try:
            yield from engine(
                AtlasJob(building.plan),
                chunks(),
                take,
                lambda done, _: Progress("atlas", before + done, total, "documents"),
            )
        except WorkbenchError:  # such as of a cluster that is gone
            if keep is not None and progress.documents > before:
                building.prune()
                keep()
            raise
    corpus.check(building.plan.survey)
    return building.finished()
