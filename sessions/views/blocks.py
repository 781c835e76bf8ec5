"""The blocks that every view of a result is made of: data alone, which turns into JSON and back.

A view says *what* is to be seen, and a renderer for each surface draws it: lines in a terminal, HTML, plain data. So a
new result is seen well everywhere, and nobody draws it twice. Texts are raw here: they may hold whatever a model wrote.
Each renderer makes them safe for its own surface.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Cell = int | float | str | tuple[str, ...] | None
"""What stands in a table: a number, a text, several tokens, or nothing that is known."""

Kind = Literal["number", "index", "signed", "share", "signed share", "multiple", "token", "name", "text", "context"]
"""How a column is written. An index is an integer that names something: it has no thousands separators. A share is a
fraction, written in percent; a multiple stands behind `×`. A signed number always shows its sign. A token stands in
quotes. A name is never cut where it is in a key column. A text may be cut. A context is what stands before a token, the
token, and what stands after it; it is cut on both sides, and the token stays."""

NUMBERS: tuple[Kind, ...] = ("number", "index", "signed", "share", "signed share", "multiple")
"""Kinds that stand to the right and are never cut."""


class Block(Struct, frozen=True, kw_only=True, tag=True, tag_field="block"):
    """Base of all blocks. The class name is the JSON field `block`."""


class Fact(Struct, frozen=True):
    """A short statement. With a `name` it stands in a row of its own, behind that name.

    `parts` are several statements behind one name, in the place of `text`. Their row breaks between them, and is shown
    to its end however long it is.
    """

    text: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The statement, or its parts in a row."""
        return " · ".join(self.parts) or self.text


class Facts(Block, frozen=True, kw_only=True):
    """Short statements in a row. Where they are `timed`, the time that the command took belongs to them.

    `title` stands above them; named facts under titles that follow each other stand in line.
    """

    items: tuple[Fact, ...]
    title: str = ""
    timed: bool = False


class Column(Struct, frozen=True, kw_only=True):
    """A column of a table.

    `drop` is its place in the order in which columns go where room is short: 1 goes first, and columns with the same
    number go together. None makes it a key column, which is never dropped and never cut. `digits` are those behind the
    point, None for what suits the kind. `bar` is the size that a whole bar beside the column stands for; 0 draws none.
    A text that is `whole` goes on in the next line where there is room for several, and one that `folds` does so at any
    width. `about` says what a short title means.
    """

    key: str
    title: str
    kind: Kind = "text"
    drop: int | None = None
    digits: int | None = None
    bar: float = 0.0
    whole: bool = False
    folds: bool = False
    about: str = ""


class StandsFor(Struct, frozen=True):
    """The thing that a row is about: its kind (neuron, circuit, edit, round, arm, …), and its name as one types it."""

    kind: str
    name: str


class Row(Struct, frozen=True, kw_only=True):
    """A row of a table: a cell a column. `mark` is written before the first key: `✗` broken, `○` the knee, `│ ├` what
    the row hangs on."""

    cells: tuple[Cell, ...]
    stands_for: StandsFor | None = None
    mark: str = ""


class Table(Block, frozen=True, kw_only=True):
    """Rows under columns. `note` stands below them. Short rows that are `abreast` stand side by side where there is
    room for several, and are read downwards.

    `pane` names the pane of the app that shows these rows all the time, so that its transcript need not repeat them.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    title: str = ""
    note: str = ""
    pane: str = ""
    abreast: bool = False


class ArmText(Struct, frozen=True, kw_only=True):
    """A text and what is said of it. It leaves the first text at the character `parts_at`, None where it does not.

    `thought` is what the model thought before it wrote that. `streamed` is the text as it comes while the model writes,
    where that is another: with the thought before it, perhaps.
    """

    facts: tuple[str, ...]
    text: str
    parts_at: int | None = None
    thought: str = ""
    streamed: str = ""


class Texts(Block, frozen=True, kw_only=True):
    """Texts side by side, one an arm. Where they are `timed`, the time that the command took belongs to them."""

    arms: tuple[ArmText, ...]
    timed: bool = False


class Bar(Struct, frozen=True, kw_only=True):
    """A token's probability before and after; `role` says what the token is to the target."""

    token: str
    before: float
    after: float
    role: str = ""


class Bars(Block, frozen=True, kw_only=True):
    """A distribution before and after. `names` are those of the two arms."""

    title: str
    names: tuple[str, str]
    bars: tuple[Bar, ...]


class Line(Struct, frozen=True, kw_only=True):
    """A line of a curve: its points as (x, y), y None where nothing is known."""

    name: str
    points: tuple[tuple[float, float | None], ...]


class Curve(Block, frozen=True, kw_only=True):
    """Lines over a common x."""

    title: str
    x: str
    lines: tuple[Line, ...]


class HeatScale(Struct, frozen=True, kw_only=True):
    """What the shades of a map run between: two numbers and their names. The second can be the smaller one."""

    start: float
    end: float
    names: tuple[str, str]

    def part(self, value: float) -> float:
        """How far a number is on the way from the start to the end: below 0 where it is further away than the start."""
        return (value - self.start) / (self.end - self.start) if self.end != self.start else 0.0


class Heat(Block, frozen=True, kw_only=True):
    """Numbers by row and column, as shades: of their size or, on a `scale`, of their way along it.

    A cell is None where nothing is known. Columns stand in an order: what is next to each other can be drawn as one.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[float | None, ...], ...]
    scale: HeatScale | None = None


class Branch(Struct, frozen=True, kw_only=True):
    """A line of a tree, `depth` steps below its root."""

    depth: int
    text: str
    stands_for: StandsFor | None = None


class Tree(Block, frozen=True, kw_only=True):
    """Lines that stand below each other, parents before children."""

    title: str
    branches: tuple[Branch, ...]


class Link(Struct, frozen=True, kw_only=True):
    """A weighted edge between two nodes, by name."""

    source: str
    target: str
    weight: float


class Graph(Block, frozen=True, kw_only=True):
    """Nodes in layers, lowest first, and the edges between them."""

    title: str
    layers: tuple[tuple[str, ...], ...]
    links: tuple[Link, ...]


class Note(Block, frozen=True, kw_only=True):
    """A sentence. A `remark` stands beside the result; a `verdict` is the head of one, with the text as its reason."""

    text: str
    role: Literal["plain", "remark"] = "plain"
    verdict: str = ""


AnyBlock = Facts | Table | Texts | Bars | Curve | Heat | Tree | Graph | Note
"""One of the closed set."""
