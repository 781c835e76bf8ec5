"""Universal neurons: those that are strong in every prompt and so explain none of them.

Some neurons carry large relevance whatever the prompt (Transluce, circuits on MLP neurons, 2025; Gurnee et al. 2024
study them at length). They are detected by attributing the model's own prediction on prompts that have nothing in
common: neurons among the strongest of nearly all of them are universal. Where a list is published for a checkpoint,
that list is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

from sessions.cancel import Cancel
from sessions.circuits.discovery import AttributionOptions, DiscoveryQuestion, discover
from sessions.circuits.methods import within_reach
from sessions.circuits.pruning import CircuitSize
from sessions.errors import ArtifactError
from sessions.events import Progress, Steps
from sessions.files.disk import read_file, write_file
from sessions.model.info import ModelInfo, Prompt
from sessions.model.opening import OpenModel
from sessions.model.tokens import encode

#: Facts, sums, code, dialogue, other languages, lists: prompts with nothing in common.
PROMPTS = (
    "The capital of France is",
    "Twelve plus thirty is equal to",
    "def add(a, b):\n    return a +",
    "She opened the door, looked around and whispered:",
    "Water freezes at zero degrees and boils at one hundred",
    "Monday, Tuesday, Wednesday, Thursday,",
    "El gato duerme sobre la",
    "Once upon a time, in a small village by the sea, there lived an old",
    "The opposite of hot is",
    "To make the soup, first chop the onions and then",
    "In the year 1969, astronauts first walked on the",
    "He was late because his car had broken",
)
STRONGEST = 100
SHARE = 0.8


class Constant(Struct, frozen=True):
    """A universal neuron, and in how many of `PROMPTS` it is among the `STRONGEST`; None where not counted."""

    layer: int
    index: int
    prompts: int | None = None

    @property
    def site(self) -> tuple[int, int]:
        return self.layer, self.index


class Published(Struct, frozen=True, kw_only=True):
    """A published list of universal neurons for a checkpoint.

    The checkpoint is recognised by its ids on the model hub and, since a folder can have any name, by its shape:
    layers, d_model, d_mlp, vocabulary.
    """

    source: str
    ids: tuple[str, ...]
    shape: tuple[int, int, int, int]
    neurons: tuple[tuple[int, int], ...]


#: A published list replaces detection, so that results agree with those published with it.
PUBLISHED = (
    Published(
        source="Transluce, circuits on MLP neurons (2025)",
        ids=(
            "meta-llama/Llama-3.1-8B",
            "meta-llama/Llama-3.1-8B-Instruct",
            "meta-llama/Meta-Llama-3.1-8B",
            "meta-llama/Meta-Llama-3.1-8B-Instruct",
        ),
        shape=(32, 4096, 14336, 128256),
        neurons=(
            (23, 306), (20, 3972), (18, 7417), (16, 1241), (13, 4208), (11, 11321), (10, 11570), (9, 4255), (7, 6673),
            (6, 5866), (5, 7012), (2, 4786),
        ),
    ),
)  # fmt: skip


class Universal(Struct, frozen=True, kw_only=True):
    """A model's universal neurons, and where they are from: `published`, or "" where they were detected here."""

    neurons: tuple[Constant, ...]
    published: str = ""

    @property
    def sites(self) -> frozenset[tuple[int, int]]:
        return frozenset(neuron.site for neuron in self.neurons)


def detect(opened: OpenModel, cancel: Cancel | None = None) -> Steps[Universal]:
    """The neurons among the `STRONGEST` of at least `SHARE` of `PROMPTS`, those of the most prompts first.

    They are attributed by the default method or, where it does not support the family, by its substitute.

    Raises:
        ModelError: an attribution is not finite.
    """
    method = within_reach(opened.anatomy)
    how = AttributionOptions(method.name, method.attention_by_default())
    seen: Counter[tuple[int, int]] = Counter()
    for number, text in enumerate(PROMPTS):
        yield Progress("universal neurons", number, len(PROMPTS), "prompts")
        encoded = encode(opened.tokenizer, Prompt(text=text, chat=False))
        circuit = discover(
            opened, encoded, DiscoveryQuestion(), choice=CircuitSize(count=STRONGEST), how=how, cancel=cancel
        )
        seen.update({neuron.site for neuron in circuit.circuit.neurons})
    often = [Constant(*site, count) for site, count in seen.items() if count >= SHARE * len(PROMPTS)]
    return Universal(neurons=tuple(sorted(often, key=lambda constant: (-(constant.prompts or 0), constant.site))))


def published(info: ModelInfo, ids: Iterable[str] = ()) -> Universal | None:
    """The published list for a model, by its name or one of its other `ids`; None where there is none."""
    names = {name.lower() for name in (info.name, *ids)}
    shape = (info.n_layers, info.d_model, max(info.d_mlp), info.vocab_size)
    for entry in PUBLISHED:
        if entry.shape == shape and names & {one.lower() for one in entry.ids}:
            return Universal(neurons=tuple(Constant(*site) for site in entry.neurons), published=entry.source)
    return None


class _Known(Struct, frozen=True):
    """The cache on disk: the neurons found, and the procedure that found them."""

    procedure: str
    neurons: tuple[Constant, ...]


#: Changes with anything that affects the outcome or the file, so that an older file is ignored.
_PROCEDURE = sha256(repr((PROMPTS, STRONGEST, SHARE, "with counts")).encode()).hexdigest()[:16]


def known(opened: OpenModel, home: Path, cancel: Cancel | None = None) -> Steps[frozenset[tuple[int, int]]]:
    """The (layer, index) of the model's universal neurons, as `listed` has them."""
    return (yield from listed(opened, home, cancel)).sites


def listed(opened: OpenModel, home: Path, cancel: Cancel | None = None) -> Steps[Universal]:
    """The model's universal neurons: published, read from the home folder, or detected and written there.

    If the home folder cannot be written, detection is only repeated next time.
    """
    elsewhere = published(opened.info, [str(getattr(opened.model.config, "_name_or_path", ""))])
    if elsewhere is not None:
        return elsewhere
    path = home / "universal" / f"{opened.info.fingerprint}.json"
    universal = _read(path)
    if universal is None:
        universal = yield from detect(opened, cancel)
        with suppress(ArtifactError):
            write_file(path, msgspec.json.encode(_Known(_PROCEDURE, universal.neurons)), force=True)
    return universal


def _read(path: Path) -> Universal | None:
    try:
        kept = msgspec.json.decode(read_file(path), type=_Known)
    except (ArtifactError, ValueError, RecursionError):  # unreadable or damaged: it can be found again
        return None
    return Universal(neurons=kept.neurons) if kept.procedure == _PROCEDURE else None
