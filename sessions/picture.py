"""Pictures of results, SVG or PNG, drawn with matplotlib.

The colours are those of Okabe and Ito (2008), which most colour-blind people can tell apart. The same numbers give the
same bytes: no date is written, ids inside an SVG come from a fixed salt, and a user's matplotlib settings are ignored.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sessions.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".svg", ".png")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY, RULE = "#555555", "#C8C8C8"
SIZE, _RESOLUTION = (7.2, 4.4), 160  # inches, dots an inch
_SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # it comes with matplotlib, so pictures are the same everywhere
    "font.size": 10,
    "svg.hashsalt": "workbench",
    "svg.fonttype": "path",
    "text.parse_math": False,
    "text.usetex": False,
}


def check_ending(path: Path) -> None:
    """Raise `UsageError` unless the name of a file ends in one of `ENDINGS`."""
    if path.suffix.lower() not in ENDINGS:
        endings = ", ".join(ENDINGS)
        raise UsageError(f"a chart cannot be called '{path}': the endings are {endings}", f"--chart {path.stem}.svg")


def picture(draw: Callable[[Figure], None], ending: str) -> bytes:
    """The bytes of a picture that `draw` draws on a figure; `ending` is ".svg" or ".png"."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # The settings hold while drawing only, on top of matplotlib's own defaults.
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        parameters: Any = matplotlib.rcParams
        parameters.update(_SETTINGS)
        warnings.simplefilter("ignore")  # characters that the font lacks are drawn as boxes
        figure = Figure(figsize=SIZE, dpi=_RESOLUTION, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        drawn = io.BytesIO()
        kind = ending.lower().removeprefix(".")
        metadata: dict[str, str | None] = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(drawn, format=kind, metadata=metadata)
        return drawn.getvalue()
