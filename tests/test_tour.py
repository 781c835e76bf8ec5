"""The tour: a notebook with its outputs, made from a script whose cells run."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import matplotlib
import nbformat
import pytest

import workbench
from sessions.model.opening import OpenModel

DOCS = Path(__file__).parents[1] / "docs"
maker = runpy.run_path(str(DOCS / "make_tour.py"))
CELLS = tuple(maker["cells"]((DOCS / "tour.py").read_text("utf-8")))
NOTEBOOK: Any = nbformat.read(DOCS / "tour.ipynb", as_version=4)  # type: ignore[no-untyped-call]
#: Code that shows nothing.
SILENT = ("wb.close()",)


def test_the_notebook_has_the_cells_of_the_script() -> None:
    nbformat.validate(NOTEBOOK)  # type: ignore[no-untyped-call]
    stored = [(cell.cell_type, cell.source) for cell in NOTEBOOK.cells]
    assert stored == list(CELLS), "the tour has changed: run python docs/make_tour.py"


def test_every_cell_of_code_has_an_output_that_is_fit_to_be_seen() -> None:
    for cell in NOTEBOOK.cells:
        if cell.cell_type == "code" and cell.source not in SILENT:
            assert cell.outputs, cell.source
            for output in cell.outputs:
                assert output.output_type in ("execute_result", "display_data", "stream")
                assert output.get("name") != "stderr"
                assert output.text.strip() if output.output_type == "stream" else any(output.data.values())
            if ".plot" in cell.source:
                assert any("image/png" in output.get("data", {}) for output in cell.outputs)
    text = re.sub(r'"image/png": "[^"]*"', "", (DOCS / "tour.ipynb").read_text("utf-8"))
    assert not re.findall(r"/tmp/|/root/|/home/|site-packages", text)


def test_the_cells_of_the_tour_run(
    knowing: Path, smollm2: OpenModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    matplotlib.use("agg")
    wb = workbench.open(home=knowing)
    wb.session.use_model(smollm2)
    monkeypatch.setattr(workbench, "open", {"smollm2": wb}.__getitem__)
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(CELLS):
        if cell.kind == "code":
            exec(compile(cell.source, f"tour.py, cell {number + 1}", "exec"), names)
    assert len(names["neurons"]) == 60 and names["found"].circuit.top(1)[0].index == 1005
    assert names["swept"].knee is not None and names["axes"].lines
    assert "there is no layer 99" in capsys.readouterr().out
