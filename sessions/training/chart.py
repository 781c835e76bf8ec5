"""A trajectory as a picture: where each round's loss began and ended, and its control's, over what it forbade."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions.picture import COLOURS, GREY, RULE, picture
from sessions.training.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def drawn(series: Trajectory, ending: str) -> bytes:
    """The picture; `ending` is ".svg" or ".png"."""
    return picture(lambda figure: _draw(figure, series), ending)


def _draw(figure: Figure, series: Trajectory) -> None:
    axes, at = figure.add_subplot(), list(range(len(series.passages)))
    before, after = ([getattr(passage, name) for passage in series.passages] for name in ("initial", "final"))
    axes.vlines(at, after, before, color=RULE, linewidth=1.2, zorder=1)
    axes.plot(at, before, marker="o", fillstyle="none", linestyle="none", color=COLOURS[0], label="before")
    axes.plot(at, after, marker="o", color=COLOURS[0], label="after, without them")
    control = [
        (number, passage.control) for number, passage in enumerate(series.passages) if passage.control is not None
    ]
    if control:
        numbers, ends = zip(*control, strict=True)
        axes.plot(numbers, ends, marker="s", linestyle="--", color=COLOURS[1], label="after, without random ones")
    axes.set_xticks(at, [f"{passage.name}\n{passage.suppressed:,}" for passage in series.passages])
    axes.set_xlabel("round, and neurons suppressed in it")
    axes.set_ylabel("mean loss, nats a token")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    axes.set_title(series.verdict or "no verdict", loc="left", fontsize=10, color=GREY)
