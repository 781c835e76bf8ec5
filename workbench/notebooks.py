"""How results show themselves in Python: in a notebook as HTML, in IPython as lines, as frames and as drawings.

Importing this gives results their methods `to_text`, `to_html`, `to_pandas` and `plot`, and the HTML that notebooks
display. `show_views` also makes IPython write a result as lines in place of its `repr`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from io import StringIO
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from sessions.events import Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

#: Lines of a result in IPython, and their width in a notebook, in cells.
MOST, WIDTH = 40, 100


class Views:
    """Results by their views. Each of these is imported when it is first needed."""

    def text(self, value: Value, width: int) -> str:
        return "\n".join(_lines(value, width))

    def html(self, value: Value) -> str:
        from sessions.views import view
        from sessions.views.html import to_html

        return to_html(view(value))

    def pandas(self, value: Value, table: int | str | None) -> DataFrame:
        from sessions.views.plain import all_tables, chosen, to_pandas

        return to_pandas(chosen(all_tables(value), table))

    def plot(self, value: Value, ax: Axes | None) -> Axes:
        from sessions.views import view
        from sessions.views.plots import plot

        return plot(view(value), ax)


Value.presenter = Views()


def show_views() -> None:
    """Make the IPython that runs this code, if any, write each result as lines.

    In a notebook, `tqdm` warns that it has no widgets as soon as transformers imports it; nothing here needs them.
    """
    shell = running_shell()
    if is_notebook():
        warnings.filterwarnings("ignore", "IProgress not found")
    if shell is not None and shell.display_formatter is not None:
        shell.display_formatter.formatters["text/plain"].for_type(Value, _write)


def running_shell() -> Any:
    """The IPython shell that runs this code; None outside of IPython."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()


def is_notebook() -> bool:
    """Whether a notebook runs this code: IPython in a kernel, not in a terminal."""
    return getattr(running_shell(), "kernel", None) is not None


def shortened_text(value: Value, width: int) -> str:
    """The result as lines, at most `MOST`; the last then says how many more there are and how to see them."""
    lines = list(_lines(value, width))
    if len(lines) > MOST:
        left = len(lines) - MOST + 1
        lines[MOST - 1 :] = [f"… {left:,} more lines: print(_.to_text()) shows all, _.to_pandas() gives the numbers"]
    return "\n".join(lines)


def _write(value: Value, printer: Any, cycle: bool) -> None:
    width = WIDTH if is_notebook() else get_terminal_size((WIDTH, 24)).columns
    printer.text(shortened_text(value, width) or repr(value))


def _lines(value: Value, width: int) -> Iterator[str]:
    """The view of a result as lines of a terminal, without colours and without blanks at their ends."""
    from rich.console import Console

    from workbench.rendering.outcomes import present

    console = Console(file=StringIO(), width=width, color_system=None, markup=False, emoji=False, highlight=False)
    for part in present(value, width):
        for segments in console.render_lines(part, pad=False):
            yield "".join(segment.text for segment in segments).rstrip()
