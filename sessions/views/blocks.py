"""Blocks: the parts that every view of a result is made of, as plain data with a JSON form.

A view says *what* to show. A renderer for each surface draws it: terminal lines, HTML, plain data. A new result
therefore needs one view and no drawing code. Texts are raw here and may hold anything that a model wrote; each renderer
makes them safe for its own surface.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Cell = int | float | str | tuple[str, ...] | None
"""The value of a table cell: a number, a text, several tokens, or None for unknown."""

Kind = Literal["number", "index", "signed", "share", "signed share", "multiple", "token", "name", "text", "context"]
"""How a column is written. An index is an integer that names something: it has no thousands separators. A share is a
fraction, written in percent. A multiple is written behind `×`. A signed number always shows its sign. A token is
quoted. A name in a key column is never cut; a text may be cut. A context is the text before a token, the token, and the
text after it; both sides may be cut, the token is not."""

NUMBERS: tuple[Kind, ...] = ("number", "index", "signed", "share", "signed share", "multiple")
"""Kinds that are aligned to the right and never cut."""


class Block(Struct, frozen=True, kw_only=True, tag=True, tag_field="block"):
    """Base of all blocks. The class name is the JSON field `block`."""


class Fact(Struct, frozen=True):
    """A short statement. With a `name` it has a row of its own, behind that name.

    `parts` replace `text` where one name has several statements. Their row is wrapped between them and never cut.
    """

    text: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The statement, or its parts joined."""
        return " · ".join(self.parts) or self.text


class Facts(Block, frozen=True, kw_only=True):
    """Short statements in a row. Where `timed`, the duration of the command is added to them.

    `title` stands above them. The names of consecutive titled blocks are aligned. A `conclusion` says what came of the
    command: the headline of the result is made of it.
    """

    items: tuple[Fact, ...]
    title: str = ""
    timed: bool = False
    conclusion: bool = False


class Column(Struct, frozen=True, kw_only=True):
    """A column of a table.

    `drop` is its place in the order in which columns are dropped where room is short: 1 goes first, and columns with
    the same number go together. None makes it a key column, which is never dropped and never cut. `digits` are the
    decimals, None for what suits the kind. `bar` is the value of a full-length bar beside the column; 0 draws no bar. A
    `whole` text is wrapped where there is room for several lines, one that `folds` at any width. `about` explains a
    short title. A `rounded` number that is smaller than its digits is written 0. `words` are numbers that are written
    as a word, and `unknown` is what stands for None.
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
    rounded: bool = False
    words: tuple[tuple[float, str], ...] = ()
    unknown: str = "–"


UNITS = ("neuron", "head", "expert")
"""Kinds of rows that verbs select by name."""


class StandsFor(Struct, frozen=True):
    """What a row is about: its kind (neuron, circuit, edit, round, arm, …) and its name as typed in commands."""

    kind: str
    name: str


class Row(Struct, frozen=True, kw_only=True):
    """A row of a table, with one cell per column. `mark` is written before the first key: `✗` broken, `○` the knee,
    `│ ├` the branches of a tree."""

    cells: tuple[Cell, ...]
    stands_for: StandsFor | None = None
    mark: str = ""


class Table(Block, frozen=True, kw_only=True):
    """Rows under columns, with `note` below them. Short rows of an `abreast` table are set in several columns where
    there is room, and are read downwards.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    title: str = ""
    note: str = ""
    abreast: bool = False


class ArmText(Struct, frozen=True, kw_only=True):
    """A text and facts about it. `parts_at` is the character at which it first differs from the first text, or None.

    `thought` is what the model thought before it. `streamed` is the text as it arrived while the model wrote, where
    that differs, for example because it includes the thought.
    """

    facts: tuple[str, ...]
    text: str
    parts_at: int | None = None
    thought: str = ""
    streamed: str = ""


class Texts(Block, frozen=True, kw_only=True):
    """Texts side by side, one per arm. Where `timed`, the duration of the command is added to them."""

    arms: tuple[ArmText, ...]
    timed: bool = False


class Bar(Struct, frozen=True, kw_only=True):
    """A token's probability before and after. `role` says whether it is the target or what it is measured against."""

    token: str
    before: float
    after: float
    role: str = ""


class Bars(Block, frozen=True, kw_only=True):
    """A distribution before and after. `names` are the names of the two arms."""

    title: str
    names: tuple[str, str]
    bars: tuple[Bar, ...]


class Line(Struct, frozen=True, kw_only=True):
    """A line of a curve: its points as (x, y), with y None where unknown. `marked` are the x of points to mark."""

    name: str
    points: tuple[tuple[float, float | None], ...]
    marked: tuple[float, ...] = ()


class Curve(Block, frozen=True, kw_only=True):
    """Lines over a common x.

    A table of the same view has the numbers of a `tabled` curve: as plain data it is that table, not one of its own.
    """

    title: str
    x: str
    lines: tuple[Line, ...]
    tabled: bool = False


class HeatScale(Struct, frozen=True, kw_only=True):
    """The ends of a map's shades: two numbers and their names. The second may be the smaller one."""

    start: float
    end: float
    names: tuple[str, str]

    def part(self, value: float) -> float:
        """The position of a number between start (0) and end (1); below 0 where it lies beyond the start."""
        return (value - self.start) / (self.end - self.start) if self.end != self.start else 0.0


class Heat(Block, frozen=True, kw_only=True):
    """Numbers by row and column, shaded by size or, with a `scale`, by their position on it.

    A cell is None where unknown. Columns are ordered, so that a renderer may merge neighbours.
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
    """Lines below each other, parents before children."""

    title: str
    branches: tuple[Branch, ...]


class Link(Struct, frozen=True, kw_only=True):
    """A weighted edge between two nodes, by name."""

    source: str
    target: str
    weight: float


class Graph(Block, frozen=True, kw_only=True):
    """Nodes in layers, lowest first, and the edges between them.

    `names` are those of the layers, where they have any. `notes` has a short text for some nodes, such as a token. With
    `tabled` the edges are in a table of the same view too: a surface that draws no pictures leaves the graph out.
    """

    title: str
    layers: tuple[tuple[str, ...], ...]
    links: tuple[Link, ...]
    names: tuple[str, ...] = ()
    notes: dict[str, str] = {}
    tabled: bool = False


class Note(Block, frozen=True, kw_only=True):
    """A sentence. A `remark` comments on the result. A `verdict` is a conclusion, with the text as its reason."""

    text: str
    role: Literal["plain", "remark"] = "plain"
    verdict: str = ""


AnyBlock = Facts | Table | Texts | Bars | Curve | Heat | Tree | Graph | Note
"""Any block of the closed set."""
