"""Runs the command files that come with the workbench: every `expect` must hold, each file within ten minutes.

    python -m benchmarks.cookbook [NAME…] [--json] [--pages]

Each runs in a temporary home with the embedded models alone. With --pages, `docs/cookbook/NAME.md` is written for each:
the file's comments, its lines with their actual output, and a picture of one result.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, closing
from dataclasses import dataclass, field
from html import unescape
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from rich.console import Console
from rich.text import Text

from benchmarks.measuring import THREADS, Figure, report, surroundings
from commands import library, script
from manual.svg import self_contained
from sessions.events import Event, Failed, Result, Started
from sessions.results import CommandFile
from sessions.session import Session
from sessions.store import Store
from workbench.lines import Lines
from workbench.rendering.outcomes import present

PAGES = Path(__file__).parents[1] / "docs" / "cookbook"
#: Seconds that a file may take, and columns of a page.
LIMIT, WIDTH = 600.0, 100
#: The line whose result is the picture of a page: the last that begins so.
PICTURED = {
    "capital": "sweep",
    "crab": "rounds lessons",
    "induction": "attention L18/H6",
    "kernel": "evaluate",
    "meow": "rewrite quiet",
    "patchscope": 'inject texas --into "x:"',
}


@dataclass
class Run:
    """A file that was run: the events of each line by its number, and the seconds of the whole file."""

    file: CommandFile
    events: dict[int, list[Event]] = field(default_factory=dict)
    failed: Failed | None = None
    seconds: float = 0.0


def main() -> None:
    names = [word for word in sys.argv[1:] if not word.startswith("-")]
    sys.argv = [word for word in sys.argv if word not in names]
    torch.set_num_threads(THREADS)
    files = [file for file in library.files() if not names or file.name in names]
    with TemporaryDirectory() as folder, chdir(folder):
        runs = [run(file, Path(folder) / file.name) for file in files]
        if "--pages" in sys.argv:
            for done in runs:
                write_page(done, Path(folder))
    for done in runs:
        if done.failed is not None:
            print(f"{done.failed.where}: {done.failed.message}", file=sys.stderr)
    figures = [
        Figure(f"{done.file.name}: minutes", done.seconds / 60, LIMIT / 60, {}) if done.failed is None
        else Figure(f"{done.file.name}: stopped, lines left", 1, 0, {})
        for done in runs
    ]  # fmt: skip
    report("the cookbook, whole", figures, surroundings("float32", "cpu"), switches=["--pages"])


def run(file: CommandFile, home: Path) -> Run:
    """Run a file in a home with the embedded models alone."""
    home.mkdir()
    (home / "models").symlink_to(Store().models)
    done, number, start = Run(file), 0, perf_counter()
    with closing(Session(home)) as session:
        try:
            for event in script.play(session, Path(file.path)):
                if isinstance(event, Started):
                    number = int(event.where.rpartition(":")[2])
                if isinstance(event, Failed):
                    done.failed = event
                done.events.setdefault(number, []).append(event)
        except script.ScriptStopped:
            pass
    done.seconds = perf_counter() - start
    return done


def write_page(done: Run, folder: Path) -> None:
    """Write the page of a file and its picture."""
    name = done.file.name
    PAGES.mkdir(parents=True, exist_ok=True)
    places = {str(folder / name): "~", str(library.FOLDER): "examples"}
    (PAGES / f"{name}.svg").write_text(_with_short_paths(_picture(done), places), encoding="utf-8")
    minutes = f"{done.seconds / 60:.1f} minutes without a GPU"
    top = [
        f"# {name}", "", done.file.heading, "", f"`workbench run {name}` takes {minutes}.", "",
        f"![{PICTURED[name]}]({name}.svg)", "",
    ]  # fmt: skip
    text = "\n".join([*top, *_body(done)]) + "\n"
    for path, short in places.items():
        text = text.replace(path, short)
    (PAGES / f"{name}.md").write_text(text, encoding="utf-8")


def _body(done: Run) -> Iterator[str]:
    """The file's comments as paragraphs, and between them its lines with their output."""
    remark: list[str] = []
    block: list[Event] = []
    lines = Path(done.file.path).read_text(encoding="utf-8").splitlines()
    heading = next(at for at, line in enumerate(lines) if not line.startswith("#"))
    for number, line in enumerate(lines[heading:], heading + 1):
        if line.startswith("#"):
            yield from _console(block)
            block = []
            remark.append(line.removeprefix("#").strip())
        elif remark:
            yield from (" ".join(remark), "")
            remark = []
        block += done.events.get(number, [])
    yield from _console(block)


def _console(events: Sequence[Event]) -> Iterator[str]:
    if events:
        out = StringIO()
        with closing(Lines(Console(file=out, width=WIDTH, markup=False, emoji=False, highlight=False))) as lines:
            for event in events:
                lines.show(event)
        yield from ("```text", *out.getvalue().rstrip("\n").split("\n"), "```", "")


def _picture(done: Run) -> str:
    """The result of the pictured line as an SVG without external resources."""
    console = Console(file=StringIO(), record=True, width=WIDTH, markup=False, emoji=False, highlight=False)
    shown = ""
    pictured: Result | None = None
    for events in done.events.values():
        line = next((event.line for event in events if isinstance(event, Started)), "")
        results = [event for event in events if isinstance(event, Result)]
        if line.startswith(PICTURED[done.file.name]) and results:
            shown, pictured = line, results[-1]
    if pictured is not None:
        console.print(Text(f"> {shown}", style="bold"))
        for part in present(pictured.value, WIDTH, pictured.seconds, ""):
            console.print(part)
    return self_contained(console.export_svg(title=f"workbench run {done.file.name}", unique_id=done.file.name))


def _with_short_paths(svg: str, places: dict[str, str]) -> str:
    """The drawing with paths of this machine replaced; a text is as long as it is drawn, so its length goes with it."""

    def shortened(match: re.Match[str]) -> str:
        text = match["text"]
        for path, short in places.items():
            text = text.replace(path, short)
        length = float(match["length"]) * len(unescape(text)) / max(len(unescape(match["text"])), 1)
        return f'textLength="{length:.1f}"{match["rest"]}>{text}<'

    return re.sub(r'textLength="(?P<length>[\d.]+)"(?P<rest>[^>]*)>(?P<text>[^<]*)<', shortened, svg)


if __name__ == "__main__":
    main()
