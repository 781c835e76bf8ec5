"""Universal neurons: those that answer to every prompt and so explain none of them.

Some neurons carry large relevance whatever the prompt (Transluce, circuits on MLP neurons, 2025;
Gurnee et al. 2024 study them at length). They are found here by attributing the model's own
prediction on prompts that have nothing in common, and keeping the neurons that are among the
strongest of nearly all of them.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

from sessions.circuits.choosing import Choice
from sessions.circuits.discovery import Question, discover
from sessions.disk import write_file
from sessions.errors import ArtifactError
from sessions.events import Progress, Steps
from sessions.model.cancel import Cancel
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel
from sessions.model.tokens import encode

#: Facts, sums, code, dialogue, other languages, lists: nothing in common but being text.
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


def detect(opened: OpenModel, cancel: Cancel | None = None) -> Steps[frozenset[tuple[int, int]]]:
    """The (layer, index) of neurons among the `STRONGEST` of at least `SHARE` of `PROMPTS`."""
    seen: Counter[tuple[int, int]] = Counter()
    for number, text in enumerate(PROMPTS):
        yield Progress("universal neurons", number, len(PROMPTS), "prompts")
        encoded = encode(opened.tokenizer, Prompt(text=text, chat=False))
        found = discover(opened, encoded, Question(), choice=Choice(count=STRONGEST), cancel=cancel)
        seen.update({neuron.site for neuron in found.circuit.neurons})
    return frozenset(site for site, count in seen.items() if count >= SHARE * len(PROMPTS))


class _Known(Struct, frozen=True):
    """What is kept on disk: the sites found, and the procedure that found them."""

    procedure: str
    sites: tuple[tuple[int, int], ...]


#: Changes with anything that would change the outcome, so that an older file is not believed.
_PROCEDURE = sha256(repr((PROMPTS, STRONGEST, SHARE)).encode()).hexdigest()[:16]


def known(opened: OpenModel, home: Path, cancel: Cancel | None = None) -> Steps[frozenset[tuple[int, int]]]:
    """The model's universal neurons: read from the home folder, or detected and written there.

    A home that cannot be written costs the detection again next time, and nothing else.
    """
    path = home / "universal" / f"{opened.info.fingerprint}.json"
    found = _read(path)
    if found is None:
        found = yield from detect(opened, cancel)
        with suppress(ArtifactError):
            content = msgspec.json.encode(_Known(_PROCEDURE, tuple(sorted(found))))
            write_file(path, content, force=True)
    return found


def _read(path: Path) -> frozenset[tuple[int, int]] | None:
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Known)
    except (OSError, ValueError):  # unreadable or damaged: it can be found again
        return None
    return frozenset(kept.sites) if kept.procedure == _PROCEDURE else None
