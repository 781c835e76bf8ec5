"""What came of a call, as an agent gets it: as text, and as structured data."""

from __future__ import annotations

import io
import json
from typing import Any

from rich.console import Console

from sessions.events import Failed, Result, to_json
from workbench.lines import Lines

#: Columns of texts.
WIDTH = 100
#: About the most characters of structured data, and how many items of a list are kept where there are more.
MOST = 24_000
_KEPT = (200, 50, 20, 5)


def text_of(outcome: Result | Failed) -> str:
    """A result or a failure as the REPL shows it, in 100 columns and without colours."""
    out = io.StringIO()
    console = Console(
        file=out, width=WIDTH, force_terminal=False, color_system=None, markup=False, emoji=False, highlight=False
    )
    Lines(console).show(outcome)
    return out.getvalue().strip("\n").encode(errors="backslashreplace").decode()


def structured(outcome: Result | Failed) -> dict[str, Any]:
    """A result as JSON values: its `kind`, its fields and its `notes`. Of a failure, what is wrong and what to do.

    Where a result is long, long lists are cut, and `shortened` has how many items each had, by its path. The journal
    has the result in full.
    """
    told: dict[str, Any] = json.loads(to_json(outcome))
    if isinstance(outcome, Failed):
        return {key: told[key] for key in ("error", "message", "hint", "where")}
    value: dict[str, Any] = told["value"]
    shown, cut = value, dict[str, int]()
    for most in _KEPT:
        if len(json.dumps(shown, ensure_ascii=False)) <= MOST:
            break
        cut = {}
        shown = _shortened(value, most, "", cut)
    return {**shown, "shortened": cut} if cut else shown


def _shortened(value: Any, most: int, path: str, cut: dict[str, int]) -> Any:
    """The value with at most so many items in each list; `cut` gets the lengths of those that had more."""
    if isinstance(value, dict):
        return {key: _shortened(each, most, f"{path}.{key}".lstrip("."), cut) for key, each in value.items()}
    if isinstance(value, list):
        if len(value) > most:
            cut[path] = max(cut.get(path, 0), len(value))
        return [_shortened(each, most, f"{path}[]", cut) for each in value[:most]]
    return value
