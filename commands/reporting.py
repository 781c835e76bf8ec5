"""A session or a journal as one HTML page: `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from commands.control import FAMILY
from commands.names import FileName, OutputFile
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import ListWord, TextWord
from sessions.errors import UsageError
from sessions.events import Progress, Steps
from sessions.files.disk import check_target, write_file
from sessions.procedures.reporting import JOURNAL, lines_of, state_at_end
from sessions.reporting.page import page
from sessions.reporting.report import Report, numbered, only, run_with, since
from sessions.results import Reported
from sessions.session import Session

ENDINGS = (".html", ".htm")


class JournalName(FileName):
    """A journal: the name of a host that kept it, or a file."""

    name = "journal"
    shape = "NAME|FILE"

    def __init__(self) -> None:
        super().__init__(".jsonl")

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        hosts = [] if session is None else sorted((session.home / "hosts").glob(f"*/{JOURNAL}"))
        return [*((each.parent.name, "journal") for each in hosts), *super().completions(session, incomplete)]


class VerbNames(ListWord):
    """Verbs with commas between them."""

    shape = "VERB,…"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        from commands.completing import summaries  # of the verbs, which use these words

        before, comma, _ = incomplete.rpartition(",")
        return [(f"{before}{comma}{name}", about) for name, about in summaries().items()]


@verb(
    "report",
    family=FAMILY,
    example=("report session.html", "report today.html --since discover", "report all.html --journal default"),
)
class WriteReport(Request, frozen=True):
    """Write the session as one HTML page: every line with its result, and a file that runs them again.

    The page has the model with its fingerprint, versions and times; the lines that ran in this session, each with the
    view of its result, its figures and its circuit, those that failed with their error; the edges of a circuit as a
    graph to pan, zoom and pin; the session's state at the end; and the lines as a command file. It is one file, loads
    nothing, is light or dark as its reader prefers, and prints.

    --since LINE begins at a line: its number on the page, -10 for the last ten, or the latest line that begins with the
    text. --only VERB,… shows the lines of these verbs. Numbers stay those of all lines, and the command file has all
    lines up to the last that is shown.

    --journal shows a journal in place of this session: that of a host by its name, with the lines of all its sessions,
    or a file.
    """

    path: Annotated[Path, Arg(OutputFile(".html"), "the page to write, which ends in .html")]
    since: Annotated[
        str | None, Opt(TextWord(), "begin at this line: its number, -N, or its first words", metavar="LINE")
    ] = None
    only: Annotated[tuple[str, ...] | None, Opt(VerbNames(), "show the lines of these verbs alone")] = None
    journal: Annotated[
        Path | None, Opt(JournalName(), "show a journal: a host's name, or a file (default: this session)")
    ] = None
    force: Annotated[bool, Flag("replace the file if it exists")] = False

    def run(self, session: Session) -> Steps[Reported]:
        from commands.grammar import VERBS
        from commands.repeating import command_file

        check_page(self.path, self.force)
        source = lines_of(session, None if self.journal is None else str(self.journal))
        lines = numbered(source.records)
        shown = lines if self.since is None else since(lines, self.since)
        shown = only(shown, self.only, VERBS) if self.only else shown
        own = self.journal is None
        yield Progress("drawing", 0, len(shown), "lines")
        report = Report(
            source=source.name,
            lines=shown,
            total=len(lines),
            facts=tuple(run_with(shown)),
            state=(yield from state_at_end(session)) if own else (),
            commands=command_file(
                source.records[: shown[-1].number if shown else None], source.name, _folder() if own else ""
            ),
            notes=tuple(source.notes),
        )
        content = page(report)
        written = write_file(self.path.absolute(), content, force=self.force, what=f"'{self.path}'")
        return Reported(
            path=str(written),
            lines=len(shown),
            failed=report.failed,
            bytes=sum(map(len, content)),
            notes=report.notes,
        )


def _folder() -> str:
    """The folder that relative paths are read from; "" where it has been removed."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def check_page(path: Path, force: bool) -> None:
    """Refuse a page that could not be written, before anything else is done.

    Raises:
        UsageError: it is not named as a page, or is a folder.
        ArtifactError: it exists, and `force` is off.
    """
    check_target(path, "report.html", force=force)
    if path.suffix.lower() not in ENDINGS:
        name = path.with_suffix(".html") if path.name else path / "report.html"
        raise UsageError(f"a report is an HTML page, and '{path}' does not end in .html", f"for example: report {name}")
