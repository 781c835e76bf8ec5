"""Draws blocks as lines of a terminal, never wider than it.

Signs and marks are characters; colour only repeats them. `workbench.rendering.tables` draws tables,
`workbench.rendering.heat` heat maps and `workbench.rendering.curve` curves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import singledispatch
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from sessions.views import blocks
from sessions.views.plain import bars_table
from sessions.views.writing import duration, inline, plain, signed
from workbench.rendering.curve import curve
from workbench.rendering.heat import heat
from workbench.rendering.tables import table
from workbench.writing import facts, fitted

WIDE = 100
"""The width from which texts stand side by side."""
_TEXT = 40
"""The least cells of a text beside others."""
#: The indentation below a title, and of a tree's branches.
_INDENT = 2


class DrawingArea(NamedTuple):
    """What the drawing of blocks depends on.

    `width` is in cells. `seconds` is the time that the command took. `streamed` is the text that was just
    streamed to the user; it is not printed again. `names` is the width of names under titles.
    """

    width: int
    seconds: float = 0.0
    streamed: str = ""
    names: int = 0


def drawn(blocks_of: Iterable[blocks.AnyBlock], place: DrawingArea) -> Iterator[RenderableType]:
    """What to print for these blocks, in order."""
    before: blocks.AnyBlock | None = None
    blocks_of = tuple(blocks_of)
    titled = (block for block in blocks_of if isinstance(block, blocks.Facts) and block.title)
    names = (cell_len(inline(fact.name)) for block in titled for fact in block.items)
    widest = max(names, default=0)
    place = place._replace(names=widest if widest <= place.width // 4 else 0)
    for block in blocks_of:
        if _stands_apart(before, block):
            yield Text("")
        yield from draw(block, place)
        before = block


def _stands_apart(before: blocks.AnyBlock | None, block: blocks.AnyBlock) -> bool:
    """Whether an empty line comes before a block: before a titled block, and between a table and a second table or a
    verdict."""
    if isinstance(block, blocks.Facts | blocks.Tree) and block.title:
        return before is not None
    if not isinstance(before, blocks.Table):
        return isinstance(before, blocks.Texts) and isinstance(block, blocks.Table)
    return isinstance(block, blocks.Table) or (isinstance(block, blocks.Note) and bool(block.verdict))


@singledispatch
def draw(block: blocks.AnyBlock, place: DrawingArea) -> Iterator[RenderableType]:
    """What to print for one block."""
    raise NotImplementedError(type(block).__name__)


draw.register(blocks.Table, lambda block, place: table(block, place.width))
draw.register(blocks.Heat, lambda block, place: heat(block, place.width))
draw.register(blocks.Curve, lambda block, place: curve(block, place.width))


@draw.register
def _(block: blocks.Facts, place: DrawingArea) -> Iterator[RenderableType]:
    if block.title:
        yield Text(inline(block.title), style="dim", overflow="fold")
    row = [inline(fact.line) for fact in block.items if not fact.name]
    row += [duration(place.seconds)] if block.timed and place.seconds else []
    if row:
        yield facts(row, place.width)
    named = [fact for fact in block.items if fact.name]
    if named:
        margin = _INDENT if block.title else 0
        widest = max((place.names if block.title else 0, *(cell_len(inline(fact.name)) for fact in named)))
        beside = min(widest, (place.width - margin) // 2)
        room = max(1, place.width - margin - beside - 2)
        grid = Grid(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        grid.add_column(style="dim", width=beside, overflow="fold")
        grid.add_column(width=room, overflow="fold")
        for fact in named:
            parts = facts(map(inline, fact.parts), room)
            grid.add_row(Text(inline(fact.name)), parts or Text(fitted(inline(fact.text), 3 * place.width)))
        yield Padding(grid, (0, 0, 0, margin)) if margin else grid


@draw.register
def _(block: blocks.Note, place: DrawingArea) -> Iterator[RenderableType]:
    if block.verdict:
        yield Text.assemble((inline(block.verdict), "bold"), f": {inline(block.text)}", overflow="fold")
    elif block.role == "remark":
        yield Text(f"· {plain(block.text)}", style="dim", overflow="fold")
    else:
        yield Text(inline(block.text), overflow="fold")


@draw.register
def _(block: blocks.Texts, place: DrawingArea) -> Iterator[RenderableType]:
    arms = block.arms
    beside = place.width >= WIDE and place.width // len(arms) >= _TEXT
    width = place.width // len(arms) - 3 if beside else place.width
    timed = duration(place.seconds) if block.timed and place.seconds else ""
    headings = []
    for arm in arms:
        heading = facts([*map(inline, arm.facts), timed], width)
        heading.stylize("dim")
        headings.append(heading)
    if len(arms) == 1:  # the facts of a single text stand below it
        yield from _texts(arms[0], place.streamed)
        yield from headings if headings[0] else ()
        return
    texts = [_text(arm) for arm in arms]
    if not beside:
        for heading, text in zip(headings, texts, strict=True):
            yield heading
            yield text
        return
    grid = Grid(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False, expand=True)
    for _ in arms:
        grid.add_column(ratio=1, overflow="fold")
    grid.add_row(*headings)
    grid.add_row(*texts)
    yield grid


def _texts(arm: blocks.ArmText, streamed: str) -> Iterator[Text]:
    """The thought and the text of an arm; nothing if both were just streamed."""
    if streamed and streamed == (arm.streamed or arm.text):
        return
    if arm.thought:
        yield Text(plain(arm.thought), style="dim", overflow="fold")
        yield Text("")
    yield _text(arm)


def _text(arm: blocks.ArmText) -> Text:
    """The text of an arm, with `▸` where it departs from the first arm's. An empty text is shown as (empty)."""
    if not arm.text:
        return Text("(empty)", style="dim")
    if arm.parts_at is None:
        return Text(plain(arm.text), overflow="fold")
    same, other = plain(arm.text[: arm.parts_at]), plain(arm.text[arm.parts_at :])
    return Text.assemble(same, ("▸", "bold"), other, overflow="fold")


@draw.register
def _(block: blocks.Bars, place: DrawingArea) -> Iterator[RenderableType]:
    yield from table(bars_table(block), place.width)


@draw.register
def _(block: blocks.Tree, place: DrawingArea) -> Iterator[RenderableType]:
    if block.title:
        yield Text(inline(block.title), style="dim", overflow="fold")
    for branch in block.branches:
        indent = " " * _INDENT * min(branch.depth + bool(block.title), place.width // 4)
        yield Text(fitted(f"{indent}{'└ ' if branch.depth else ''}{inline(branch.text)}", place.width))


@draw.register
def _(block: blocks.Graph, place: DrawingArea) -> Iterator[RenderableType]:
    """The edges as a list, the strongest first: a terminal has no room for arrows that cross. A table that has them
    makes the list needless."""
    if block.tabled:
        return
    if block.title:
        yield Text(inline(block.title), style="dim", overflow="fold")
    for link in sorted(block.links, key=lambda link: -abs(link.weight)):
        yield Text(f"{signed(link.weight)} {inline(link.source)} → {inline(link.target)}", overflow="fold")
