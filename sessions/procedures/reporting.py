"""What a report is made of: the lines of this session or of a journal, and what the session holds at the end."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sessions.errors import ArtifactError, UsageError, WorkbenchError
from sessions.events import Steps
from sessions.files.disk import check_regular
from sessions.journal import Record, read
from sessions.procedures.edits import edits_shown
from sessions.procedures.neuron_card import neuron_table
from sessions.results import NeuronTable
from sessions.session import Session
from sessions.views import view
from sessions.views.blocks import AnyBlock, Fact, Facts
from sessions.views.circuits import circuit_table
from sessions.views.writing import counted, quoted

#: Neurons of the circuit, and tokens that each pushes, in the state at the end.
NEURONS, TOKENS = 200, 3
JOURNAL = "journal.jsonl"


class ReportSource(NamedTuple):
    """Where lines come from: its name, its records, and remarks on what is missing."""

    name: str
    records: list[Record]
    notes: list[str]


def lines_of(session: Session, journal: str | None) -> ReportSource:
    """The lines that ran in this session since it began, or those of a journal: a host's name, or a file.

    Raises:
        UsageError: this session keeps no journal, or there is no such one.
        ArtifactError: it cannot be read.
    """
    if journal is not None:
        path = _path(session, journal)
        return ReportSource(f"journal {journal}", *read(path))
    if session.journal is None:
        raise UsageError("this session keeps no journal", "name one: --journal default, or --journal FILE")
    name = session.journal.path.parent.name
    return ReportSource(f"session {name}", *session.journal.own())


def _path(session: Session, journal: str) -> Path:
    """The journal of a host, or the file of that path."""
    hosts = session.home / "hosts"
    own = hosts / journal / JOURNAL
    if journal == Path(journal).name and own.is_file():
        return own
    path = Path(journal).expanduser()
    try:
        return check_regular(path)
    except ArtifactError as error:
        names = sorted(each.parent.name for each in hosts.glob(f"*/{JOURNAL}"))
        hint = f"journals of this home: {', '.join(names)}" if names else "give the path of a journal.jsonl"
        raise UsageError(f"there is no journal '{journal}'", hint) from error


def state_at_end(session: Session) -> Steps[tuple[AnyBlock, ...]]:
    """What the session holds: model, prompt, what is in force, its edits, and its circuit as a table."""
    state = session.state()
    held: dict[str, tuple[str, ...]] = {
        "model": tuple(filter(None, (state.model, state.dtype, state.device))),
        "prompt": (quoted(state.prompt),) if state.prompt else (),
        "seed": (quoted(state.seed),) if state.seed else (),
        "suppressed": (counted(state.suppressed, "neuron"), *state.first_suppressed) if state.suppressed else (),
        "live": state.live,
        "sae": (state.sae,) if state.sae else (),
        "atlas": (state.atlas,) if state.atlas else (),
    }
    blocks: list[AnyBlock] = [Facts(items=tuple(Fact("", name, parts) for name, parts in held.items() if parts))]
    if session.ledger is not None and session.ledger.entries:
        blocks += view(edits_shown(session.ledger))
    if session.circuit is not None and len(session.circuit):
        circuit = session.circuit
        name = f"circuit {circuit.name}" if circuit.name else "the circuit"
        blocks.append(Facts(items=(Fact(f"{name}: {counted(len(circuit), 'neuron')}"), Fact(circuit.chosen))))
        try:
            table: NeuronTable = yield from neuron_table(session, text="all", most=NEURONS, tokens=TOKENS)
            blocks += view(table)
        except WorkbenchError:  # without a model, or where its weights cannot be read, the circuit speaks for itself
            blocks.append(circuit_table(circuit))
    return tuple(blocks)
