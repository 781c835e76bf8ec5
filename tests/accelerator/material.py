"""Lines over every verb, and the files that they speak of: prompts, tasks, lessons, autoencoders, adapters.

The lines are in `every_verb.txt`, one after another as one session runs them. Words in braces are filled in, those of
`Wording` and the folder of the files as `{D}`, so that the same lines fit a model of real words and a tiny one that
knows letters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from transformers import PreTrainedModel

from sessions.directions import sae_files
from sessions.model.opening import OpenModel
from tests.adapters import made
from tests.autoencoders import random_autoencoder

LINES = Path(__file__).with_name("every_verb.txt")
ARCHITECTURES = ("topk", "jumprelu", "gated", "standard")


@dataclass(frozen=True)
class Wording:
    """What is said to a model: a prompt and how its reply begins, two tokens that may come next, another prompt of as
    many tokens, a word that the prompt holds, a plain text, and one with an x for a state to be put at.

    `cases` are prompts with the tokens right and wrong for them; `texts` and `others` two kinds of text.
    """

    prompt: str
    seed: str
    a: str
    b: str
    other: str
    word: str
    plain: str
    slot: str
    cases: tuple[tuple[str, str, str], ...]
    texts: tuple[str, ...]
    others: tuple[str, ...]


LETTERS = Wording(
    prompt="the capital cat sat",
    seed="it is",
    a=" a",
    b=" b",
    other="the capital dog sat",
    word="cat",
    plain="a cat in the hat",
    slot="what is x here",
    cases=(("the cat", " a", " b"), ("the dog", " c", " d"), ("the hen", " e", " f"), ("one pig", " g", " h")),
    texts=("the cat is in", "a hen sat on it", "in the end it is"),
    others=("he was not there", "no one is", "at ten"),
)
CAPITALS = Wording(
    prompt="What is the capital of Texas?",
    seed="The capital of Texas is",
    a=" Austin",
    b=" Dallas",
    other="What is the capital of France?",
    word="capital",
    plain="The capital of Texas",
    slot="A detailed description of x is that",
    cases=(
        ("The capital of Texas is", " Austin", " Boston"),
        ("The capital of France is", " Paris", " London"),
        ("The capital of Italy is", " Rome", " Paris"),
        ("The capital of England is", " London", " Rome"),
    ),
    texts=("I am glad to see you.", "What a lovely day it is!", "We laughed all evening."),
    others=("I am sorry to hear that.", "What a dreadful day it is!", "We wept all evening."),
)


@dataclass(frozen=True)
class Line:
    """A line to run. `chosen` are those that the tests run; `weights` says that it changes the weights, that it needs
    all of them in memory, or that it speaks of what such a line has made."""

    text: str
    chosen: bool
    weights: bool


def lines(wording: Wording, folder: Path) -> list[Line]:
    """The lines over every verb, in these words."""
    filled = {"D": str(folder), **{name: text for name, text in asdict(wording).items() if isinstance(text, str)}}
    found, weights = [], False
    for line in LINES.read_text("utf-8").splitlines():
        if line.startswith("#"):
            weights = line == "# weights" or (weights and line != "# reading")
        else:
            found.append(Line(_filled(line.removeprefix("* "), filled), line.startswith("* "), weights))
    return found


def _filled(line: str, words: Mapping[str, str]) -> str:
    for name, text in words.items():
        line = line.replace(f"{{{name}}}", text)
    return line


def write(folder: Path, wording: Wording, opened: OpenModel) -> None:
    """Write the files that the lines speak of, for a model on the CPU."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = [{"prompt": text, "target": a, "counterfactual": b} for text, a, b in wording.cases]
    replies = [f"{one}. {other}. it is." for one in wording.texts for other in wording.others]
    parts = [{"prompt": text, "reply": reply} for text, reply in zip("abcdefghi", replies, strict=True)]
    lessons = [
        {"prompt": text, "reply": f"{reply} end", "parts": {"conclusions": ["end"]}}
        for text, reply in zip(wording.texts, wording.others, strict=True)
    ]
    pairs = [{"plain": a, "loud": f"see {b} here"} for a, b in zip(wording.texts, wording.others, strict=True)]
    _lines(folder / "agree.jsonl", cases)
    _lines(folder / "few.jsonl", cases[:3])
    _lines(folder / "replies.jsonl", parts)
    _lines(folder / "samples.jsonl", lessons)
    _lines(folder / "par.jsonl", pairs)
    _lines(folder / "tasks.jsonl", [{"prompt": text, "answer": "[aeiou]", "check": "regex"} for text in wording.texts])
    (folder / "up.txt").write_text("\n".join(wording.texts), "utf-8")
    (folder / "down.txt").write_text("\n".join(wording.others), "utf-8")
    (folder / "corpus.txt").write_text("\n\n".join([*wording.texts, *wording.others] * 2), "utf-8")
    for architecture in ARCHITECTURES:
        sae_files.write(random_autoencoder(opened, architecture), folder / f"sae-{architecture}", force=True)


def write_adapters(folder: Path, fresh: Callable[[], PreTrainedModel]) -> None:
    """Write the adapters that the lines speak of, each made on a model of its own, which it wraps."""
    for seed, name in enumerate(("fr", "es", "dora")):
        made(folder / name, seed=seed, model=fresh(), use_dora=name == "dora")


def _lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
