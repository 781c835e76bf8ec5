"""Makes docs/tour.ipynb from the cells of docs/tour.py, runs it in a kernel, and stores what the cells show.

    python docs/make_tour.py

It runs in a temporary home with the embedded models alone, and takes about a minute. The extras `notebook` and `dev`
are needed. tests/test_tour.py checks that the notebook has the cells of the script, and that these run.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import nbformat

FOLDER = Path(__file__).parent
SOURCE, NOTEBOOK = FOLDER / "tour.py", FOLDER / "tour.ipynb"
#: Where cells begin.
_CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)


class Cell(NamedTuple):
    """A cell of the tour."""

    kind: Literal["markdown", "code"]
    source: str


def cells(text: str) -> Iterator[Cell]:
    """The cells of a script in the percent format, in order. What stands before the first is a remark."""
    _, *parts = _CELL.split(text)
    for mark, body in zip(parts[::2], parts[1::2], strict=True):
        if mark:
            yield Cell(
                "markdown", "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip().split("\n"))
            )
        else:
            yield Cell("code", body.strip())


def main() -> None:
    from nbclient import NotebookClient

    from sessions.store import Store

    notebook: Any = nbformat.v4.new_notebook()  # type: ignore[no-untyped-call]
    make: dict[str, Any] = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    for number, cell in enumerate(cells(SOURCE.read_text(encoding="utf-8")), 1):
        notebook.cells.append(make[cell.kind](cell.source, id=f"cell-{number}"))
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        (home / "models").symlink_to(Store().models, target_is_directory=True)
        os.environ |= {"WORKBENCH_HOME": str(home), "PYTHONPATH": str(FOLDER.parent)}
        NotebookClient(notebook, kernel_name="python3", timeout=600, resources={"metadata": {"path": folder}}).execute()
        for cell in notebook.cells:
            _clean(cell, {str(home): "~/workbench", folder: "~"})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    nbformat.write(notebook, NOTEBOOK)  # type: ignore[no-untyped-call]


def _clean(cell: Any, places: dict[str, str]) -> None:
    """Leave out when a cell ran and the progress that was removed, and shorten paths."""
    cell.metadata = {}
    if cell.cell_type != "code":
        return
    kept = [each for each in cell.outputs if each.output_type != "display_data" or any(each.data.values())]
    if any(each.output_type == "stream" and each.name == "stderr" for each in kept):
        raise SystemExit(f"a cell writes to stderr: {kept}")
    shown = json.dumps(kept)
    for path, short in places.items():
        shown = shown.replace(path, short)
    cell.outputs = [nbformat.from_dict(each) for each in json.loads(shown)]  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
