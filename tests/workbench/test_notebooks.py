"""Results where Python displays them: as HTML in a notebook, as at most forty lines in IPython, short in a REPL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

import workbench
from sessions import results
from sessions.errors import UsageError
from sessions.events import Value
from sessions.views import view
from sessions.views.html import to_html
from tests.samples import NASTY, samples
from workbench.notebooks import MOST, is_notebook, running_shell, shortened_text


@pytest.fixture
def shell() -> Iterator[Any]:
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def test_a_notebook_shows_the_view_as_html_and_as_lines(shell: Any, tmp_path: Path) -> None:
    with workbench.open(home=tmp_path) as wb:
        shown, _ = shell.display_formatter.format(wb.set())
        assert shown["text/html"] == to_html(view(wb.set())) == wb.set().to_html()
        assert shown["text/plain"].startswith("setting") and "max_tokens" in shown["text/plain"]
        assert "\x1b" not in shown["text/plain"]
        assert repr(wb.set()).startswith("SettingsShown(")


def test_every_result_displays_itself_without_a_shell() -> None:
    for value in samples(" Austin"):
        assert value._repr_html_() == to_html(view(value))
    assert running_shell() is None and not is_notebook()


def test_ipython_writes_at_most_forty_lines_and_says_how_to_see_the_others() -> None:
    for text in NASTY.values():
        for value in samples(text):
            lines = shortened_text(value, 100).split("\n")
            whole = value.to_text().split("\n")
            assert len(lines) <= MOST
            if len(whole) <= MOST:
                assert lines == whole
            else:
                assert lines[:-1] == whole[: MOST - 1]
                assert lines[-1].startswith(f"… {len(whole) - MOST + 1:,} more lines: print(_.to_text())")
    assert any(len(value.to_text().split("\n")) > MOST for text in NASTY.values() for value in samples(text))


def test_lines_are_as_wide_as_is_asked_and_end_without_blanks() -> None:
    value = next(value for value in samples("x") if isinstance(value, results.NeuronTable))
    narrow, wide = value.to_text(40), value.to_text(160)
    assert max(map(len, narrow.split("\n"))) <= 40 < max(map(len, wide.split("\n")))
    assert all(line == line.rstrip() for line in narrow.split("\n") + wide.split("\n"))


def test_a_result_with_nothing_to_show_is_its_repr(shell: Any, tmp_path: Path) -> None:
    with workbench.open(home=tmp_path):
        shown, _ = shell.display_formatter.format(results.Quit())
    assert shown["text/plain"] == "Quit()"


def test_without_the_views_a_result_says_what_to_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Value, "presenter", None)
    value = results.Quit()
    assert value._repr_html_() is None
    with pytest.raises(UsageError, match="no views") as caught:
        value.plot()
    assert "workbench.notebooks" in caught.value.hint


def test_a_notebook_with_a_kernel_shows_progress_in_place_and_then_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    notebook = nbformat.v4.new_notebook()
    cells = [
        "import time, workbench, workbench.progress\n"
        "workbench.progress.SHOWN_AFTER = 0.0\n"
        "wb = workbench.open()\nown = wb._events\n",
        "from sessions.events import Progress, Started\n"
        "def slow(line):\n"
        "    yield Started('set', line)\n"
        "    for number in range(3):\n"
        "        yield Progress('working', number, 3, 'cells')\n"
        "        time.sleep(0.15)\n"
        "    yield from own(line)\n"
        "wb._events = slow\n"
        "wb.set()",
    ]
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    messages: list[dict[str, Any]] = []

    class Client(nbclient.NotebookClient):  # type: ignore[misc, name-defined]
        def process_message(self, message: Any, cell: Any, number: int) -> Any:
            messages.append(message)
            return super().process_message(message, cell, number)

    Client(notebook, kernel_name="python3", timeout=120).execute()
    progress = [each["content"] for each in messages if each["msg_type"] in ("display_data", "update_display_data")]
    assert "working" in progress[0]["data"]["text/html"] and 'value="2" max="3"' in progress[-2]["data"]["text/html"]
    assert progress[-1]["data"]["text/html"] == ""
    assert len({each["transient"]["display_id"] for each in progress}) == 1
    bar, result = notebook.cells[1].outputs
    assert bar.data["text/html"] == "" and 'class="wb"' in result.data["text/html"]
    assert len(result.data["text/plain"].split("\n")) <= MOST
