"""`Report`: what a page shows, as data: the lines that were chosen, and what they were run with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import TypeVar

from msgspec import Struct

from sessions.errors import UsageError
from sessions.journal import Record
from sessions.lines import QUIET
from sessions.views.blocks import AnyBlock, Fact
from sessions.views.writing import counted, duration, shortened

T = TypeVar("T")

#: Lines that an error names.
_NAMED = 3


class ReportLine(Struct, frozen=True):
    """A finished command, and its number among all of its source, from 1."""

    number: int
    record: Record


class Report(Struct, frozen=True, kw_only=True):
    """What a page shows.

    `source` names the session or the journal, which has `total` lines in all. `facts` are what the lines were run with.
    `state` are blocks of what the session holds at the end, none for a journal. `commands` is the command file that
    runs the lines again. `notes` are remarks on what is missing.
    """

    source: str
    lines: tuple[ReportLine, ...]
    total: int
    facts: tuple[Fact, ...]
    state: tuple[AnyBlock, ...] = ()
    commands: str = ""
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """How many of the lines failed."""
        return sum(line.record.outcome == "failed" for line in self.lines)


def numbered(records: Iterable[Record]) -> tuple[ReportLine, ...]:
    """Records with their numbers, from 1."""
    shown = (record for record in records if record.outcome == "failed" or not record.line.endswith(QUIET))
    return tuple(ReportLine(number, record) for number, record in enumerate(shown, 1))


def since(lines: Sequence[ReportLine], start: str) -> tuple[ReportLine, ...]:
    """The lines from one on: that of a number, of the last so many where it is negative, or else the latest line that
    begins with the text.

    Raises:
        UsageError: there is no such line.
    """
    digits = start.removeprefix("-")
    if digits.isdecimal() and len(digits) < 10:
        number = int(start)
        if number == 0 or number > len(lines):
            there = f"they are numbered from 1 to {len(lines):,}" if lines else "there are none"
            raise UsageError(f"there is no line {number:,}", f"{there}; -1 is the last")
        return tuple(lines[number:] if number < 0 else lines[number - 1 :])
    words = " ".join(start.split())
    found = next((at for at in reversed(range(len(lines))) if _words(lines[at]).startswith(words)), None)
    if found is None:
        last = ", ".join(f"{line.number} {shortened(_words(line), 40)}" for line in lines[-_NAMED:])
        raise UsageError(f"no line begins with '{shortened(start, 60)}'", f"the last lines: {last}" if last else "")
    return tuple(lines[found:])


def _words(line: ReportLine) -> str:
    return " ".join(line.record.line.split())


def only(lines: Sequence[ReportLine], verbs: Collection[str], known: Collection[str]) -> tuple[ReportLine, ...]:
    """The lines of these verbs; `atlas` means all whose first word it is. `known` are the verbs that there are.

    Raises:
        UsageError: one of them is neither a verb nor that of any line.
    """
    names = {*known, *(line.record.verb for line in lines)}
    names |= {name.partition(" ")[0] for name in names}
    wrong = next((verb for verb in verbs if verb not in names), None)
    if wrong is not None:
        near = get_close_matches(wrong, names, 1)
        used = ", ".join(sorted({line.record.verb for line in lines if line.record.verb}))
        raise UsageError(f"there is no verb '{wrong}'", f"did you mean {near[0]}?" if near else f"of the lines: {used}")
    return tuple(line for line in lines if {line.record.verb, line.record.verb.partition(" ")[0]} & {*verbs})


def run_with(lines: Sequence[ReportLine]) -> Iterator[Fact]:
    """What lines were run with: models, versions, seeds, people, and when."""
    records = [line.record for line in lines]
    if not records:
        return
    openings = _openings(records)
    models = dict.fromkeys((each.model, each.fingerprint) for each in records if each.model)
    for model, fingerprint in models:
        ran = sum((each.model, each.fingerprint) == (model, fingerprint) for each in records)
        count = counted(ran, "line") if len(models) > 1 else ""
        yield Fact("", "model", tuple(filter(None, (model, openings.get(fingerprint, ""), count))))
        yield Fact(fingerprint, "fingerprint")
    if not models:
        yield Fact("none was open", "model")
    for versions in _distinct(each.versions for each in records):
        yield Fact("", "versions", tuple(f"{name} {version}" for name, version in versions.items()))
    yield Fact("", "random seed", tuple(str(each) for each in _distinct(each.rng for each in records)))
    authors = _distinct(each.author for each in records if each.author)
    if authors:
        yield Fact("", "typed by", tuple(authors))
    yield Fact("", "when", (_span(records[0].time, records[-1].time), f"{duration(_seconds(records))} of work"))


def _openings(records: Iterable[Record]) -> dict[str, str]:
    """Precision and device of each model that was opened, by its fingerprint."""
    found = {}
    for record in records:
        info = record.value.get("info") if isinstance(record.value, dict) else None
        if isinstance(info, dict) and "dtype" in info:
            dtype = f"{info['dtype']} {info.get('quantisation', '')}".strip()
            found[str(info.get("fingerprint", ""))] = f"{dtype} on {info.get('device', '?')}"
    return found


def _distinct(values: Iterable[T]) -> list[T]:
    """Values without repetitions, in order; they need not be hashable."""
    found: list[T] = []
    for value in values:
        if not found or (value != found[-1] and value not in found):
            found.append(value)
    return found


def _seconds(records: Iterable[Record]) -> float:
    """Time taken, without that of files, whose lines are there themselves."""
    return sum(record.seconds for record in records if record.verb != "run")


def _span(first: str, last: str) -> str:
    """Two moments, the second in short where it is the same day."""
    begin, end = clock(first), clock(last)
    same = begin[:10] == end[:10]
    return f"{begin} UTC" if begin == end else f"{begin} – {end[11:] if same else end} UTC"


def clock(time: str) -> str:
    """`2026-11-30 16:25` of a moment as the journal has it."""
    return time[:16].replace("T", " ")
