"""Every token of smollm2 can be drawn: none moves the cursor or recolours the screen, or is wider than it says."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.strip import Strip
from tokenizers import Tokenizer

from sessions.events import Result, Started, Text, finished
from sessions.model.embedded import prepared
from sessions.model.info import Encoded, Prompt, Token, TokenChance
from sessions.model.target import Target
from sessions.model.units import Unit
from sessions.results import Discovered, NeuronRow, NeuronTable
from tests.circuits import circuit_of
from tests.conftest import models_folder
from tests.workbench.app.alone import Alone, alone, press
from tests.workbench.app.telling import about, fed, tell
from workbench.app.pane import Pane
from workbench.app.panes.chances import Chances
from workbench.app.panes.neurons import NeuronsPane
from workbench.app.panes.result import ResultPane
from workbench.app.session_view import SessionView
from workbench.writing import quoted

#: A screen on which much can be looked at at once.
TALL = (160, 200)
PROMPT = Encoded(prompt=Prompt(text="Hello"), text="Hello", ids=(1,), tokens=("Hello",), bos=0, templated=False)
#: Format characters that are harmless, and needed.
HARMLESS = set("\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u08e2")


@pytest.fixture(scope="module")
def vocabulary() -> list[str]:
    """The text of every token."""
    folder = finished(prepared("smollm2", models_folder()))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = [tokenizer.decode([number], skip_special_tokens=False) for number in range(tokenizer.get_vocab_size())]
    assert len(texts) == 49152 and "<|im_start|>" in texts and "\n" in texts
    return texts


def parts(vocabulary: Sequence[str], size: int) -> list[Sequence[str]]:
    """The vocabulary in pieces of so many tokens."""
    return [vocabulary[start : start + size] for start in range(0, len(vocabulary), size)]


def looked_at(pane: Pane, view: SessionView, texts: Sequence[str] = ()) -> list[str]:
    """The rows of a pane from the first page to the last, each of them looked at; `texts` are streamed to it first."""
    found: list[str] = []

    async def then(app: Alone, pilot: Pilot[None]) -> None:
        for text in texts:
            tell(pane, view, *about("a", Text(text, "baseline"), Text(text[::-1], "ablated")))
        await press(pilot, "home")
        last: list[str] = []
        while True:
            page = [checked(strip, TALL[0]) for strip in app.screen._compositor.render_strips()]
            if page == last:
                return
            found.extend(page)
            last = page
            await press(pilot, "pagedown")

    alone(pane, view, then, TALL)
    return found


def checked(strip: Strip, width: int) -> str:
    """The text of a row on the screen, harmless in every character and as wide as it says."""
    assert strip.cell_length == cell_len(strip.text) == width
    wrong = {each for each in set(strip.text) if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert wrong <= HARMLESS, strip.text
    return strip.text


def test_in_a_result(vocabulary: list[str]) -> None:
    texts = [Text("".join(part)) for part in parts(vocabulary, 512)]
    text = "\n".join(looked_at(ResultPane(), fed(about("a", Started("", "generate"), *texts))))
    assert "\\x1b" in text or "\\x00" in text
    assert all(token in text for token in vocabulary if token.isascii() and token.isalpha() and len(token) < 40)


def test_in_texts_that_are_compared(vocabulary: list[str]) -> None:
    texts = ["".join(part) for part in parts(vocabulary, 4096)]
    text = "".join(looked_at(ResultPane(), fed(about("a", Started("", "ablate top10"))), texts))
    assert "│" in text and "▸" in text


def test_in_the_next_token_s_chances(vocabulary: list[str]) -> None:
    chances = Chances([TokenChance(n, token, 1 / (n + 1), 0.0, n + 1) for n, token in enumerate(vocabulary)])
    for token, line in zip(vocabulary, chances.lines(34), strict=True):
        text = checked(line.adjust_cell_length(34), 34)
        assert len(quoted(token)) > 11 or quoted(token) in text


def test_in_the_table_of_neurons(vocabulary: list[str]) -> None:
    rows = []
    for pushed in rows_of(vocabulary, 58):
        neuron = Unit(0, len(rows), 0, 1.0 / (len(rows) + 1), 1.0)
        rows.append(NeuronRow(neuron=neuron, token=pushed[0], share=0.1, up=tuple(pushed), down=()))
    circuit = circuit_of(
        (row.neuron for row in rows),
        ("Hello",),
        prompt=PROMPT.prompt,
        target=Target(tokens=(Token(0, vocabulary[0]),), value=1.0),
    )
    found = Discovered(circuit=circuit, candidates=len(rows))
    table = NeuronTable(circuit=circuit, rows=tuple(rows), total=len(rows))
    view = fed(
        [*about("a", Started("", "discover"), Result(found)), *about("b", Started("", "neurons"), Result(table))]
    )
    text = "\n".join(looked_at(NeuronsPane(), view))
    assert all(" ".join(map(quoted, row.up)) in text for row in rows[:: len(rows) // 50])


def rows_of(vocabulary: Sequence[str], width: int) -> list[list[str]]:
    """The tokens in rows of at most `width` cells, quoted, with blanks between; a longer one stands alone."""
    rows: list[list[str]] = [[]]
    used = 0
    for token in vocabulary:
        used += cell_len(quoted(token)) + 1
        if used > width and rows[-1]:
            rows.append([])
            used = cell_len(quoted(token)) + 1
        rows[-1].append(token)
    return rows
