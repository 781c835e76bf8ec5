"""The pane of the next-token distribution, or of its change by an intervention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.strip import Strip

from commands.calling import call_line
from sessions.interventions.arms import Shift
from sessions.model.info import TokenChance
from sessions.results import Compared, Distribution, Generated, Injected
from sessions.views.interventions import target_roles
from workbench.app.scroll_pane import Paragraph, RichParagraph, ScrollPane
from workbench.app.session_view import Facet, SessionView
from workbench.app.wrapping import TableRows, row
from workbench.writing import bar, chance, fitted, inline, quoted, signed

#: The width from which a shift takes one line, and a chance shows its logit and id.
WIDE = 64
_BOLD, _DIM = Style(bold=True), Style(dim=True)
_ROLES = {"target": "●", "against": "○"}
_FIRST = ("No next-token distribution yet. Try:", "  top")


class ChancesPane(ScrollPane):
    """The last next-token distribution. Enter composes a `discover` for the token at the cursor."""

    heading: ClassVar[str] = "Next token"
    facets: ClassVar[Facet] = Facet.CHANCES
    news: ClassVar[Facet] = Facet.CHANCES
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", "token", id="chances.up", show=False),
        Binding("down,j", "step(1)", "token", id="chances.down", show=False),
        Binding("enter", "discover", "discover it", id="chances.discover"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._value: Distribution | Generated | Compared | Injected | None = None
        self._table: Chances | Shifts | None = None
        self._number = 0

    def show(self, view: SessionView, changed: Facet) -> None:
        value = view.chances
        if value is not self._value or not self.blocks:
            self._value, self._number = value, 0
            self._table = _table(value)
            self.blocks = [self._table or RichParagraph(*(Text(line, style="dim") for line in _FIRST))]
            self.begin()
        self.settle()

    def chosen(self) -> str:
        return self._table.token(self._number) if self._table else ""

    def text(self) -> str:
        if self._table is None:
            return ""
        return "\n".join(line.text.rstrip() for line in [*self._table.head(99), *self._table.lines(99)])

    def remarks(self) -> str:
        match self._value:
            case Compared(verb=verb, selection=selection):
                return fitted(f"{inline(verb)} {inline(selection)}", 24)
            case Injected(placed=placed):
                return fitted(f"inject {inline(', '.join(place.name for place in placed))}", 24)
            case Distribution(encoded=encoded) if encoded.prompt.seed:
                return f"after {_end(encoded.prompt.seed)}"
        return ""

    def head(self, width: int) -> Sequence[Strip]:
        return self._table.head(width) if self._table else ()

    def dressed(self, block: Paragraph, number: int, line: Strip) -> Strip:
        if not self.has_focus or self._table is None or number // self._table.each(self.size.width) != self._number:
            return line
        cursor = self.get_component_rich_style("scroll--cursor", partial=True)
        return row(*((text, cursor if text.startswith('"') else style) for text, style, _ in line))

    def action_step(self, tokens: int) -> None:
        """Move the cursor by some tokens."""
        if self._table:
            self._number = min(max(self._number + tokens, 0), len(self._table) - 1)
            each = self._table.each(self.size.width)
            self.reveal(self._table, self._number * each, each)

    def action_discover(self) -> None:
        """Put a `discover` for the token at the cursor into the command line."""
        if self._table and len(self._table):
            self.post_message(self.Typed(call_line("discover", self._table.token(self._number))))


class Chances(Paragraph):
    """Tokens with their probabilities, the likeliest first."""

    def __init__(self, chances: Sequence[TokenChance]) -> None:
        self._chances = chances
        self._digits = len(str(max((token.rank for token in chances), default=1)))

    def __len__(self) -> int:
        return len(self._chances)

    def token(self, number: int) -> str:
        return self._chances[number].text if number < len(self._chances) else ""

    def each(self, width: int) -> int:
        """Lines per token."""
        return 1

    def head(self, width: int) -> Sequence[Strip]:
        return ()

    def drawn(self, width: int) -> Sequence[Strip]:
        return TableRows(len(self._chances), lambda number: self._row(self._chances[number], width))

    def _row(self, token: TokenChance, width: int) -> Strip:
        behind = f" {signed(token.logit):>8} {token.id:>7}" if width >= WIDE else ""
        room = width - self._digits - len(" ") - len(" 0.000") - 1 - len(behind)
        name = min(max(room * 5 // 9, 6), 24)
        cells = max(room - name - 1, 0)
        return row(
            (f"{token.rank:>{self._digits}} ", _DIM),
            _padded(quoted(token.text), name),
            f" {chance(token.probability):>5} {bar(token.probability, cells):<{cells}}",
            (behind, _DIM),
        )


class Shifts(Paragraph):
    """Changes of tokens' probabilities, the largest first; before and after side by side, or one above the other."""

    def __init__(self, value: Compared | Injected) -> None:
        self._shifts: Sequence[Shift] = value.shifts
        self._names = [inline(arm.name) for arm in value.arms[:2]]
        self._roles = target_roles(value.target)

    def __len__(self) -> int:
        return len(self._shifts)

    def token(self, number: int) -> str:
        return self._shifts[number].token.text if number < len(self._shifts) else ""

    def each(self, width: int) -> int:
        """Lines per token."""
        return 1 if width >= WIDE else 2

    def head(self, width: int) -> Sequence[Strip]:
        """The headings of the columns, and the meaning of the marks."""
        roles = [f"{_ROLES[role]} {role}" for role in self._roles.values()]
        before, after = self._names[0], self._names[-1]
        if width < WIDE:
            return [row((fitted("  ".join([f"{before}/{after}", *roles]), width), _DIM))]
        name, cells = self._columns(width)
        names = "".join(_padded(f"{'':7}{each}", cells + 7) for each in (before, after))
        line = " " * (name + 2) + names
        return [row((line + f"{'change':>8}", _DIM))]

    def drawn(self, width: int) -> Sequence[Strip]:
        each = self.each(width)
        draw = self._wide if each == 1 else self._narrow
        return TableRows(
            each * len(self._shifts), lambda number: draw(self._shifts[number // each], number % each, width)
        )

    def _columns(self, width: int) -> tuple[int, int]:
        """Cells for the token, and for each bar."""
        room = width - len("● ") - 2 * len("0.000  ") - len(" +0.000  ") - len("● target ○ against")
        name = min(max(room // 3, 12), 24)
        return name, max((room - name) // 2, 4)

    def _wide(self, shift: Shift, line: int, width: int) -> Strip:
        name, cells = self._columns(width)
        return row(
            self._mark(shift),
            _padded(quoted(shift.token.text), name),
            *(f" {chance(p):>5} {bar(p, cells):<{cells}}" for p in (shift.before, shift.after)),
            f" {signed(shift.after - shift.before):>7}  {self._roles.get(shift.token.id, '')}",
        )

    def _narrow(self, shift: Shift, line: int, width: int) -> Strip:
        name = min(max((width - 9) // 2, 6), 20)
        cells = max(width - 2 - name - len(" 0.000 "), 0)
        drawn = f" {chance(p := shift.after if line else shift.before):>5} {bar(p, cells)}"
        if line:
            return row(f"{signed(shift.after - shift.before):>{name + 2}}", drawn)
        return row(self._mark(shift), _padded(quoted(shift.token.text), name), drawn)

    def _mark(self, shift: Shift) -> tuple[str, Style]:
        return f"{_ROLES.get(self._roles.get(shift.token.id, ''), ' ')} ", _BOLD


def _table(value: Distribution | Generated | Compared | Injected | None) -> Chances | Shifts | None:
    match value:
        case Distribution(chances=chances):
            return Chances(chances)
        case Generated(arm=arm):
            return Chances(sorted(arm.next_tokens, key=lambda token: token.rank))
        case Compared() | Injected():
            return Shifts(value)
    return None


def _end(text: str, longest: int = 14) -> str:
    """The last words of a text, in quotes."""
    if len(text) <= longest:
        return quoted(text)
    last = text[-longest:]
    return f"…{quoted(last[max(last.find(' '), 0) :])}"


def _padded(text: str, width: int) -> str:
    """The text cut or padded to so many cells."""
    shown = fitted(text, width)
    return shown + " " * (width - cell_len(shown))
