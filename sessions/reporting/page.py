"""The page of a report: one self-contained HTML document, light and dark, that prints.

The views of results are drawn by `sessions.views.html`, so they look as in a notebook. Every text is escaped. What is
not: the style, and the script that makes graphs move, both files beside this one. A Content-Security-Policy in the page
allows that script by its hash and nothing else, and no request of any kind; without scripts the page loses only the
movement.
"""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

from msgspec import structs

from sessions.cancel import look
from sessions.circuits.circuit import Circuit
from sessions.events import Failed, Result, Value
from sessions.journal import Record, as_data, told
from sessions.reporting.report import Report, ReportLine, clock
from sessions.results import OlderResult
from sessions.views import view
from sessions.views.blocks import AnyBlock, Facts, Table
from sessions.views.circuits import STRONGEST, circuit_table
from sessions.views.html import STYLE, drawn
from sessions.views.writing import counted, duration, escaped, inline, plain, shortened

#: Rows beyond which a table scrolls in a box of its own.
_LONG = 60
#: Rows of whole circuits behind `discover` and the like, on one page; those of the last lines have precedence.
_MOST_ROWS = 20_000
#: Characters of a line in the list of lines, and of a field of a result that another version wrote.
_LISTED, _FIELD = 120, 2000


def page(report: Report) -> list[bytes]:
    """The document, in pieces."""
    sections = _sections(report)
    script = _script() if any('class="wb-graph"' in section for section in sections) else ""
    end = f"</main></div>{f'<script>{script}</script>' if script else ''}</body></html>\n"
    parts = (
        _head(report, script),
        f'<body class="wb"><div class="frame">{_contents(report)}<main>{_header(report)}',
        *sections,
        _state(report),
        _again(report),
        end,
    )
    return [part.encode() for part in parts]


def _head(report: Report, script: str) -> str:
    allowed = f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" if script else "'none'"
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        '<link rel="icon" href="data:,">'
        f"<title>{escaped(_title(report))}</title><style>{STYLE}{_read('page.css')}</style></head>"
    )


def _title(report: Report) -> str:
    return f"Report of {report.source}"


def _script() -> str:
    return _read("graph.js")


@cache
def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


# ---- what stands around the lines


def _contents(report: Report) -> str:
    lines = "".join(map(_entry, report.lines))
    ends = '<li><a href="#state"><span></span>the state at the end</a></li>' if report.state else ""
    ends += '<li><a href="#again"><span></span>the lines as a command file</a></li>' if report.commands else ""
    return f'<nav aria-label="Lines"><h2>{counted(len(report.lines), "line")}</h2><ol>{lines}{ends}</ol></nav>'


def _entry(line: ReportLine) -> str:
    failed = line.record.outcome == "failed"
    text = escaped(shortened(line.record.line.strip(), _LISTED))
    kind, mark = (' class="failed"', "✗ ") if failed else ("", "")
    return f'<li{kind}><a href="#line-{line.number}"><span>{line.number}</span><code>{mark}{text}</code></a></li>'


def _header(report: Report) -> str:
    shown = len(report.lines)
    count = f"{shown:,} of {counted(report.total, 'line')}" if shown < report.total else counted(shown, "line")
    failed = f" · {report.failed:,} failed" if report.failed else ""
    notes = "".join(f'<p class="wb-dim">· {html.escape(plain(note))}</p>' for note in report.notes)
    none = "None of its lines is shown." if report.total else "No command has run yet."
    return (
        f"<header><h2>Neuron Workbench · report</h2><h1>{escaped(report.source)}</h1><p>{count}{failed}</p>"
        f"{drawn(Facts(items=report.facts)) if report.facts else ''}{'' if shown else f'<p>{none}</p>'}{notes}</header>"
    )


def _state(report: Report) -> str:
    if not report.state:
        return ""
    return f'<section id="state"><h2>The state at the end</h2>{"".join(map(_block, report.state))}</section>'


def _again(report: Report) -> str:
    """The command file, to be copied and to be downloaded."""
    if not report.commands:
        return ""
    data = b64encode(report.commands.encode()).decode()
    shown = plain(report.commands)
    unseen = "" if shown == report.commands else " Characters that cannot be seen are escaped below, not in the file."
    link = f'<a download="report.wb" href="data:text/plain;charset=utf-8;base64,{data}">report.wb</a>'
    return (
        '<section id="again"><h2>The lines as a command file</h2>'
        f"<p>Download {link} and run it: <code>workbench run report.wb</code>.{unseen}</p>"
        f"<pre>{html.escape(shown)}</pre></section>"
    )


# ---- lines


def _sections(report: Report) -> list[str]:
    """A section for each line. The last circuits are shown whole, as far as there is room."""
    room, whole = _MOST_ROWS, set[int]()
    results = [_result(line.record) for line in report.lines]
    for at in reversed(range(len(results))):
        look()
        size = len(circuit) if (circuit := _circuit(results[at])) is not None else 0
        if STRONGEST < size <= room:
            room -= size
            whole.add(at)
    return [
        _section(line, result, at in whole) for at, (line, result) in enumerate(zip(report.lines, results, strict=True))
    ]


def _result(record: Record) -> Value | Failed:
    """What came of a line; of a result of another version its fields, shortened."""
    outcome = told(record)[1]
    if not isinstance(outcome, Result):
        return outcome
    return _shortened(outcome.value) if isinstance(outcome.value, OlderResult) else outcome.value


def _shortened(value: OlderResult) -> OlderResult:
    return structs.replace(value, fields=tuple((name, shortened(text, _FIELD)) for name, text in value.fields))


def _circuit(result: Value | Failed) -> Circuit | None:
    circuit = getattr(result, "circuit", None)
    return circuit if isinstance(circuit, Circuit) else None


def _section(line: ReportLine, result: Value | Failed, whole: bool) -> str:
    look()
    record, number = line.record, line.number
    author = f"{escaped(record.author)} · " if record.author else ""
    took = f"{author}{duration(record.seconds)} · {html.escape(clock(record.time)[11:])}"
    text = f'<code translate="no">{html.escape(plain(record.line.strip()))}</code>'
    head = f'<h3 class="head"><a href="#line-{number}">{number}</a>{text}<span class="took">{took}</span></h3>'
    body = "".join(_failure(result) if isinstance(result, Failed) else _blocks(record, result))
    if whole and (circuit := _circuit(result)) is not None:
        body += f"<details><summary>all {len(circuit):,} neurons</summary>{_block(circuit_table(circuit))}</details>"
    return f'<section class="line" id="line-{number}">{head}{body}</section>'


def _failure(failed: Failed) -> Iterator[str]:
    where = f"{inline(failed.where)}: " if failed.where else ""
    hint = f"<p>→ {html.escape(plain(failed.hint))}</p>" if failed.hint else ""
    message = html.escape(where + plain(failed.message))
    yield f'<div class="failure"><p class="wb-note">✗ {message}</p>{hint}</div>'


def _blocks(record: Record, value: Value) -> Iterator[str]:
    """The view of a result, or its fields where another version wrote it and no view can be made of it."""
    try:
        drawings = [*map(_block, view(value))]
    except Exception:
        fields = _shortened(as_data(record.value if isinstance(record.value, dict) else {}))
        drawings = [*map(_block, view(fields))]
    yield from drawings


def _block(block: AnyBlock) -> str:
    drawing = drawn(block)
    return (
        f'<div class="long" tabindex="0">{drawing}</div>'
        if isinstance(block, Table) and len(block.rows) > _LONG
        else drawing
    )
