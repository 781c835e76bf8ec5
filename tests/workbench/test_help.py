"""`help VERB` in lines: options stand under the headings of their groups, one a line, and so do examples."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from commands.control import ShowHelp
from commands.grammar import VERBS
from sessions.session import Session
from workbench.rendering.outcomes import present


def lines_of(verb: str, width: int) -> list[str]:
    console = Console(file=StringIO(), width=width, markup=False, emoji=False, highlight=False)
    for part in present(ShowHelp(tuple(verb.split())).run(Session()), width):
        console.print(part)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_options_stand_in_lines_of_their_own_under_their_heading() -> None:
    lines = lines_of("discover", 100)
    heading = lines.index("One prompt")
    assert lines[heading + 1].startswith("  --vs TOKEN")
    assert lines[heading + 2].startswith("  --target-only")
    assert lines.count("Examples") == 1
    assert '  discover " Austin" --vs " Houston" --top 100' in lines


def test_every_option_of_every_verb_begins_a_line_of_its_help() -> None:
    for name, verb in VERBS.items():
        begun = {line.split()[0].split("/")[0] for line in lines_of(name, 100) if line.startswith("  -")}
        wanted = {param.opts[0] for param in verb.params if param.opts[0].startswith("--")}
        assert wanted <= begun, f"help {name}"
