"""The page of a report: it shows every text, runs none, asks for nothing, and is there whatever a journal holds."""

from __future__ import annotations

import re
import time
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs, to_builtins

import sessions.reporting.page as page_file
from sessions import results
from sessions.events import Failed, Value
from sessions.journal import Dropped, Record
from sessions.reporting.page import page
from sessions.reporting.report import Report, numbered, run_with
from sessions.views import view
from tests.samples import NASTY, samples

HOSTILE = (
    "</script></style></title></pre><script>alert(1)</script><img src=x onerror=alert(1)> &amp; \"q\" 'q' <!-- ]]>"
)
TEXTS = {**NASTY, "hostile": HOSTILE, "rtl": "שלום 12 مرحبا", "bytes": "\\xe3 \ufffd"}
VOID = {"meta", "link"}
TAGS = {
    "a", "b", "bdi", "body", "caption", "circle", "code", "details", "div", "g", "h1", "h2", "h3", "head", "header",
    "html", "li", "line", "link", "main", "meta", "nav", "ol", "p", "path", "polyline", "pre", "rect", "script",
    "section", "span", "style", "summary", "svg", "table", "tbody", "td", "text", "th", "thead", "title", "tr", "ul",
}  # fmt: skip


class Read(HTMLParser):
    """What a page has: tags, attributes with their values, the texts of scripts, and all other text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        else:
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value for attribute, value in self.attributes if attribute == name]


def record(value: Any, line: str = 'discover " Austin"', **changes: Any) -> Record:
    made = Record(
        line=line, verb="discover", arguments={}, outcome="result", value=to_builtins(value, enc_hook=str),
        seconds=0.25, rng=0, time="2026-11-30T16:25:18+00:00", versions={"python": "3.12", "torch": "2.13"},
        model="smollm2", fingerprint="f00d",
    )  # fmt: skip
    return structs.replace(made, **changes)


def report(*records: Record, **changes: Any) -> Report:
    lines = numbered(records)
    made = Report(source="session default", lines=lines, total=len(lines), facts=tuple(run_with(lines)))
    return structs.replace(made, **changes)


def text_of(made: Report) -> str:
    return b"".join(page(made)).decode()


def checked(made: Report) -> Read:
    """A page, read; nothing in it is any script's but ours, and nothing is asked for."""
    read = Read(text_of(made))
    assert set(read.tags) <= TAGS
    assert not [name for name, _ in read.attributes if name.startswith("on") or name in ("src", "srcdoc", "action")]
    assert all(value.startswith(("#", "data:")) for value in read.values("href"))
    ours = (Path(page_file.__file__).parent / "graph.js").read_text("utf-8")
    assert read.scripts in ([], [ours])
    (policy,) = (value for value in read.values("content") if "default-src" in value)
    digest = f"sha256-{b64encode(sha256(ours.encode()).digest()).decode()}" if read.scripts else "none"
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy and f"script-src '{digest}';" in policy
    return read


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_of_a_result_a_line_or_an_author_becomes_markup(text: str) -> None:
    safe = text.encode(errors="replace").decode()  # a journal is UTF-8
    records = [record(value, f"prompt {safe}", author=safe) for value in samples(safe)]
    records += [record(Failed("model", safe, safe, safe), safe, outcome="failed", model=safe, fingerprint=safe)]
    state = tuple(block for value in samples(text) for block in view(value))
    made = report(*records, source=text, notes=(text,), commands=f"# {safe}\n{safe}\n", state=state)
    read = checked(made)
    assert read.scripts  # the samples have edges
    if text == HOSTILE:
        assert read.text.count(HOSTILE) > 500
    if text == NASTY["bidi"]:
        assert "\u202e" not in read.text and "\\u202e" in read.text


def test_texts_that_run_from_right_to_left_do_not_turn_what_stands_beside_them() -> None:
    page_text = text_of(report(record(results.Saved(name="שלום", path="/x"))))
    assert "<bdi>saved שלום</bdi> · /x" in page_text
    assert "unicode-bidi:plaintext" in page_text


def test_a_script_is_there_where_a_graph_is() -> None:
    edges = next(value for value in samples(" Austin") if isinstance(value, results.Edges) and value.edges)
    assert checked(report(record(edges))).scripts
    assert not checked(report(record(results.Quit()))).scripts


def test_the_script_ends_nowhere_but_at_its_end_and_makes_no_markup() -> None:
    script = (Path(page_file.__file__).parent / "graph.js").read_text("utf-8")
    assert not re.search(
        r"</|<!--|innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|fetch|import", script
    )


def test_every_line_has_its_place_its_time_and_a_link() -> None:
    read = checked(report(record(results.Quit(), "quit"), record(results.Quit(), "set top 5", seconds=65.0)))
    assert [value for value in read.values("id") if value.startswith("line-")] == ["line-1", "line-2"]
    assert read.values("href").count("#line-2") == 2
    assert "0.25 s · 16:25" in read.text and "1 min 05 s · 16:25" in read.text
    for said in ("smollm2", "f00d", "python 3.12", "torch 2.13", "random seed", "2026-11-30 16:25 UTC"):
        assert said in read.text


def test_failures_are_shown_with_what_to_do() -> None:
    failed = Failed("usage", "no model is open", "open one: model smollm2", "x.wb:3")
    read = checked(report(record(failed, "top", outcome="failed")))
    assert "✗ x.wb:3: no model is open" in read.text and "→ open one: model smollm2" in read.text
    assert "1 line · 1 failed" in read.text


def test_an_empty_journal_is_a_page_too() -> None:
    read = checked(report())
    assert "0 lines" in read.text and "No command has run yet." in read.text
    assert "None of its lines is shown." in checked(report(total=7)).text


def test_what_another_version_wrote_is_shown_field_by_field() -> None:
    older = {"kind": "Discovered", "neurons": [[24, 1005]], "why": "<b>", "long": "x" * 10_000}
    unknown = {"kind": "Ancient", "said": "hello"}
    for value in (older, unknown, {}, [], None, 3, {"kind": ["list"]}, {"dropped": 3}):
        checked(report(record(value)))
    read = checked(report(record(older), record(unknown)))
    assert "[[24, 1005]]" in read.text and "another version wrote this result" in read.text and "hello" in read.text
    assert "x" * 1990 in read.text and "x" * 2001 not in read.text


def test_a_result_whose_view_cannot_be_made_is_shown_field_by_field() -> None:
    """A result reads as today's, but what hangs together in it does not."""
    edges = next(value for value in samples(" Austin") if isinstance(value, results.Edges) and value.edges)
    broken = structs.replace(edges, inflows=())
    with pytest.raises(KeyError):
        view(broken)
    assert "another version wrote this result" in checked(report(record(broken))).text


def test_a_result_that_was_too_large_for_the_journal_says_so() -> None:
    read = checked(report(record(Dropped("SweptGrid", "9 bytes of JSON, more than the 8 that are journaled"))))
    assert "SweptGrid: 9 bytes of JSON" in read.text


def test_a_circuit_is_shown_whole_behind_its_strongest_neurons() -> None:
    found = next(value for value in samples("x") if isinstance(value, results.Discovered))
    many = structs.replace(found.circuit, neurons=found.circuit.neurons * 50)
    read = checked(report(record(structs.replace(found, circuit=many))))
    assert "all 200 neurons" in read.text and read.tags.count("details") == 1
    assert "details" not in checked(report(record(found))).tags


def test_the_command_file_is_there_to_be_read_and_to_be_saved() -> None:
    commands = "# a\nprompt \"\u202eevil\u200b\"\nprompt '</pre>'\n"
    read = checked(report(record(results.Quit()), commands=commands))
    link = next(value for value in read.values("href") if value.startswith("data:text"))
    assert b64decode(link.partition("base64,")[2]).decode() == commands
    assert "\\u202eevil\\u200b" in read.text and "prompt '</pre>'" in read.text and "escaped below" in read.text


def test_several_models_versions_and_people_are_all_named() -> None:
    opened = {"kind": "ModelOpened", "info": {"fingerprint": "f00d", "dtype": "bfloat16", "device": "cuda:0"}}
    other = record(results.Quit(), model="gemma", fingerprint="cafe", rng=3, versions={"torch": "2.14"}, author="ann")
    read = checked(report(record(opened), record(results.Quit()), other))
    for said in ("bfloat16 on cuda:0 · 2 lines", "gemma · 1 line", "cafe", "torch 2.14", "0 · 3", "ann"):
        assert said in read.text


def test_a_page_of_five_thousand_lines_is_made_in_a_few_seconds() -> None:
    kinds: tuple[type[Value], ...] = (results.NeuronTable, results.Compared, results.Expected, results.Discovered)
    values = [next(value for value in samples(" Austin") if isinstance(value, kind)) for kind in kinds]
    records = [record(values[number % 4]) for number in range(5000)]
    start = time.perf_counter()
    made = page(report(*records))
    assert time.perf_counter() - start < 20  # 3 s on two slow cores
    assert b"".join(made).count(b'<section class="line"') == 5000
