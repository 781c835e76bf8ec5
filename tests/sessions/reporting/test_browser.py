"""A report in a browser: its graph can be panned, zoomed and pinned, and nothing that is not ours runs or is loaded.

Where no Chromium is installed, nothing here runs; what the page is made of is checked in `test_page`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sessions import results
from tests.samples import samples
from tests.sessions.reporting.test_page import HOSTILE, TEXTS, record, report, text_of
from tests.workbench.app.chromium import PATH, Page, opened

pytestmark = pytest.mark.skipif(PATH is None, reason="needs Chromium")

GRAPH = "document.querySelector('svg.wb-graph')"


def in_browser(tmp_path: Path, page: str, steps: Callable[[Page], Awaitable[None]]) -> None:
    """Take steps in a page that was opened from a file."""
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")

    async def run() -> None:
        async with opened(path.as_uri(), tmp_path) as shown:
            await shown.until(f"document.readyState === 'complete' && !!{GRAPH}")
            await shown.value(f"{GRAPH}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
            await steps(shown)

    asyncio.run(run())


async def middle(page: Page, element: str) -> tuple[float, float]:
    x, y = await page.value(
        f"(() => {{ const b = {element}.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
    )
    return x, y


async def mouse(page: Page, x: float, y: float, *moved: tuple[float, float]) -> None:
    """Press the button, move, and let it go."""
    await page.do("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
    for x, y in moved:
        await page.do("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1)
    await page.do("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)


async def press(page: Page, key: str) -> None:
    await page.do("Input.dispatchKeyEvent", type="keyDown", key=key)
    await page.do("Input.dispatchKeyEvent", type="keyUp", key=key)


async def view_box(page: Page) -> list[float]:
    return [float(number) for number in (await page.value(f"{GRAPH}.getAttribute('viewBox')")).split()]


def edges_page() -> str:
    edges = next(value for value in samples(" Austin") if isinstance(value, results.Edges) and len(value.edges) > 1)
    return text_of(report(record(edges)))


def test_a_graph_is_panned_zoomed_and_pinned(tmp_path: Path) -> None:
    async def steps(page: Page) -> None:
        x, y = await middle(page, GRAPH)
        corner = (x - 300, y - 60)
        before = await view_box(page)
        await mouse(page, *corner, (corner[0] + 20, corner[1]), (corner[0] + 40, corner[1] + 30))
        panned = await view_box(page)
        assert panned[0] < before[0] and panned[1] < before[1] and panned[2:] == before[2:]
        await page.do("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-200)
        await page.until(f"{GRAPH}.viewBox.baseVal.width < {panned[2] - 1}")
        await press(page, "0")
        fitted = await view_box(page)
        await press(page, "ArrowRight")
        assert (await view_box(page))[0] > fitted[0]
        await press(page, "+")
        assert (await view_box(page))[2] < fitted[2]
        await press(page, "0")
        assert await view_box(page) == fitted
        await mouse(page, *await middle(page, "document.querySelector('[data-node=\"0\"]')"))
        assert await page.value("document.querySelectorAll('.wb-node.pinned').length") == 1
        lit = await page.value("document.querySelectorAll('.wb-edge.on').length")
        assert lit == await page.value('document.querySelectorAll(\'[data-from="0"], [data-to="0"]\').length') > 0
        assert "output" in await page.value("document.querySelector('.pins').textContent")
        await press(page, "Escape")
        assert await page.value("document.querySelectorAll('.pinned').length") == 0
        await page.value("document.querySelector('.tools input').focus()")
        await page.do("Input.insertText", text="output")
        await page.type("\n")
        assert await page.value("document.querySelector('.pinned text').textContent") == "output"
        assert page.complaints == [] and len(page.asked_for) == 1

    in_browser(tmp_path, edges_page(), steps)


def test_nothing_that_a_text_brings_runs_or_is_loaded(tmp_path: Path) -> None:
    async def steps(page: Page) -> None:
        assert await page.value("document.querySelectorAll('script').length") == 1
        assert await page.value("document.querySelectorAll('img, iframe, object, form').length") == 0
        assert await page.value("document.querySelectorAll('.live').length") > 0  # our script does run
        assert page.complaints == [] and len(page.asked_for) == 1
        await page.value(
            "(() => { const script = document.createElement('script'); script.textContent = 'window.evil = 1';"
            " document.body.append(script); })()"
        )
        assert await page.value("String(window.evil)") == "undefined"
        assert any("Content Security Policy" in complaint for complaint in page.complaints)

    texts = [text.encode(errors="replace").decode() for text in (HOSTILE, *TEXTS.values())]
    values = [value for text in texts for value in samples(text)]
    in_browser(tmp_path, text_of(report(*(record(value, HOSTILE) for value in values), commands=HOSTILE)), steps)
