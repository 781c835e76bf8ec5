"""`SessionView`: what the panes show, derived from the host's messages alone.

`SessionView.feed` takes one message after another. The panes read the view and keep no session state of their own. So
two clients that received the same messages show the same, whenever they attached. Nothing here draws.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Flag, auto

from msgspec import structs

from sessions.circuits.circuit import Circuit
from sessions.events import Event, Failed, Partial, Progress, Result, Started, State, Text, Value
from sessions.lines import QUIET
from sessions.model.units import Place
from sessions.results import (
    Compared,
    Discovered,
    Distribution,
    Generated,
    Imported,
    Injected,
    Loaded,
    Narrowed,
    NeuronCard,
    NeuronRow,
    NeuronTable,
    PromptSet,
    Ran,
    Restored,
    Verified,
)
from workbench.app.host_listener import Gone, Heard, Starting, Told
from workbench.host.messages import JOURNAL_TICKET, Finished, Missed, Queued, Welcome

#: The most lines that the history keeps; the journal has them all.
MOST_ENTRIES = 2000


class Facet(Flag):
    """The parts of a session view that can change."""

    ENTRIES = auto()
    RESULTS = auto()
    CIRCUIT = auto()
    CHANCES = auto()
    JOBS = auto()
    STATE = auto()
    HOST = auto()


NOTHING = Facet(0)
EVERYTHING = ~NOTHING


@dataclass(eq=False)
class HistoryEntry:
    """A line of the history, with its output so far and its outcome.

    `texts` are the streamed texts by arm ("" for a single one), `partial` is its result so far, `before` the number of
    lines it waits for, and `version` grows with each message about it.
    """

    line: str
    author: str
    ticket: str
    where: str = ""
    before: int = 0
    started: bool = False
    texts: dict[str, str] = field(default_factory=dict)
    progress: Progress | None = None
    partial: Value | None = None
    outcome: Result | Failed | None = None
    version: int = 0

    @property
    def value(self) -> Value | None:
        """The result's value; None without a result."""
        return self.outcome.value if isinstance(self.outcome, Result) else None

    @property
    def quiet(self) -> bool:
        """Whether the app ran it by itself. A failure is listed all the same."""
        return self.line.endswith(QUIET) and not isinstance(self.outcome, Failed)


class SessionView:
    """The session as this client knows it.

    Attributes:
        entries: the lines, oldest first.
        state: the session's state.
        circuit: the session's circuit, or None.
        rows: results of `neurons`, by place.
        cards: results of `neuron`, by place.
        latest: the entry whose result was last worth showing: it ended, or has texts or a result so far.
        chances: the last next-token distribution, or the last change of one.
        running: the running line; `step` is the innermost, of a command file.
        busy: the ticket and start of the line that ran when this client attached, in seconds since 1970.
        waiting: the lines that wait.
        host: the host's condition in a few words; empty if it is well.
        cleared: whether the user cleared the lines that had ended.
    """

    def __init__(self) -> None:
        self.host = "looking for the host"
        self.name = ""
        self._pid = 0
        self._lost: list[HistoryEntry] = []
        self._clear()

    def _clear(self) -> None:
        self.entries: list[HistoryEntry] = []
        self.state = State()
        self.circuit: Circuit | None = None
        self.rows: dict[Place, NeuronRow] = {}
        self.cards: dict[Place, NeuronCard] = {}
        self.latest: HistoryEntry | None = None
        self.chances: Distribution | Generated | Compared | Injected | None = None
        self.running: HistoryEntry | None = None
        self.busy = ("", 0.0)
        self.waiting: list[HistoryEntry] = []
        self.missed = 0
        self.cleared = False
        self._open: list[HistoryEntry] = []  # of the running line, outermost first

    def forget_ended(self) -> Facet:
        """Drop the lines that have ended; the journal keeps them. Returns the facets that it changed."""
        self.entries = [entry for entry in self.entries if entry.outcome is None]
        self.latest = self.latest if self.latest in self.entries else None
        self.missed, self.cleared = 0, True
        return Facet.ENTRIES

    @property
    def step(self) -> HistoryEntry | None:
        """The innermost running line."""
        return self._open[-1] if self._open else self.running

    def feed(self, heard: Heard) -> Facet:
        """Take one message. Returns the facets that it changed."""
        match heard:
            case Starting(name=name):
                self.name, self.host = name, "starting the host"
                return Facet.HOST
            case Gone(reason=reason):
                self.host = reason
                self._cut_short()
                return Facet.HOST | Facet.JOBS | Facet.ENTRIES
            case Welcome():
                return self._welcome(heard)
            case Missed(count=count):
                self.missed += count
                return Facet.ENTRIES
            case Queued(line=line, ticket=ticket, author=author, before=before):
                self.waiting.append(self._added(HistoryEntry(line, author, ticket, before=before)))
                return Facet.ENTRIES | Facet.JOBS
            case Told(ticket=ticket, author=author, event=event):
                return self._recalled_end(ticket) | self._told(ticket, author, event)
            case Finished(ticket=ticket):
                return self._finished(ticket)
        return NOTHING

    def _welcome(self, welcome: Welcome) -> Facet:
        if welcome.pid == self._pid:  # the same host: only the connection was lost
            self._lost = []
        self._pid = welcome.pid
        self._clear()  # the host sends all its messages again
        if welcome.busy is not None:
            self.busy = welcome.busy.ticket, welcome.since
        self.name, self.host, self.state = welcome.name, "", welcome.state
        return EVERYTHING

    def _cut_short(self) -> None:
        """Mark running and waiting lines as failed: the host has ended."""
        for entry in self.entries:
            if entry.outcome is None:
                entry.outcome = Failed("host", "the host ended before this line did", "type it again")
                entry.progress = None
                entry.version += 1
                self._lost.append(entry)
        self.running, self.waiting, self._open = None, [], []

    def _recalled_end(self, ticket: str) -> Facet:
        """Add the lines lost with the last host, after those that the new host replays from the journal."""
        if ticket == JOURNAL_TICKET or not self._lost:
            return NOTHING
        self.entries += self._lost
        self._lost = []
        return Facet.ENTRIES

    def _told(self, ticket: str, author: str, event: Event) -> Facet:
        match event:
            case State():
                return self._held(event)
            case Started(line=line, where=where):
                return self._started(ticket, author, line, where)
        entry = self._current(ticket, author)
        entry.version += 1
        match event:
            case Progress():
                entry.progress = event
                return Facet.JOBS
            case Text(text=text, arm=arm):
                entry.texts[arm] = entry.texts.get(arm, "") + text
                return Facet.ENTRIES
            case Partial(value=value):
                entry.partial = value
                return Facet.ENTRIES
            case Result() | Failed():
                return self._ended(entry, event)
        return NOTHING

    def _started(self, ticket: str, author: str, line: str, where: str) -> Facet:
        entry = next((each for each in self.waiting if each.ticket == ticket), None)
        if entry is None:
            entry = self._added(HistoryEntry(line, author, ticket, where))
        else:
            self.waiting.remove(entry)
            for other in self.waiting:
                other.before -= 1
        entry.started, entry.before = True, 0
        entry.version += 1
        if not self._open:
            self.running = entry
        self._open.append(entry)
        return self._shown(entry) | Facet.JOBS

    def _current(self, ticket: str, author: str) -> HistoryEntry:
        """The entry that an event is about: a waiting line, the innermost running one, or one that never started."""
        waits = next((each for each in self.waiting if each.ticket == ticket), None)
        if waits is not None:
            return waits
        if self._open and self._open[-1].ticket == ticket:
            return self._open[-1]
        return self._added(HistoryEntry("", author, ticket))

    def _added(self, entry: HistoryEntry) -> HistoryEntry:
        """Add an entry after the lines that have started and before those that wait."""
        waits = next((at for at, each in enumerate(self.entries) if each in self.waiting), len(self.entries))
        self.entries.insert(len(self.entries) if entry.before else waits, entry)
        if len(self.entries) > MOST_ENTRIES:
            del self.entries[: MOST_ENTRIES // 10]
        return entry

    def _shown(self, entry: HistoryEntry) -> Facet:
        """Make an entry the one that is shown. The lines of a command file are shown, not the file after them."""
        after_its_lines = isinstance(entry.value, Ran) and self.latest is not None and bool(self.latest.where)
        if not entry.quiet and not after_its_lines:
            self.latest = entry
        return Facet.ENTRIES

    def _ended(self, entry: HistoryEntry, outcome: Result | Failed) -> Facet:
        entry.outcome, entry.progress = outcome, None
        if entry in self._open:
            del self._open[self._open.index(entry) :]
        elif entry in self.waiting:
            self.waiting.remove(entry)
        changed = self._shown(entry) | Facet.JOBS | (NOTHING if entry.quiet else Facet.RESULTS)
        return changed | self._returned(entry) if isinstance(outcome, Result) else changed

    def _returned(self, entry: HistoryEntry) -> Facet:
        match entry.value:
            case Discovered(circuit=circuit) | Loaded(circuit=circuit) | Imported(circuit=circuit):
                return self._found(circuit)
            case Narrowed(circuit=circuit):
                return self._found(circuit)
            case Restored(circuit=circuit, state=state):
                return self._found(circuit) | self._held(state)
            case Verified(circuit=circuit):
                self.circuit = circuit  # the same neurons: keep rows and cards
                return Facet.CIRCUIT
            case NeuronTable(rows=rows):
                self.rows |= {row.neuron.place: row for row in rows}
                return Facet.CIRCUIT
            case NeuronCard(neuron=neuron) as value:
                self.cards[neuron.place] = value
                return Facet.CIRCUIT
            case Compared(shifts=()):  # more than two arms
                return NOTHING
            case Compared() | Injected() | Distribution() | Generated() as value:
                self.chances = value
                return Facet.CHANCES
            case PromptSet(generated=Generated() as value):
                self.chances = value
                return Facet.CHANCES
        return NOTHING

    def _found(self, circuit: Circuit | None) -> Facet:
        self.circuit = circuit
        self.rows, self.cards = {}, {}
        return Facet.CIRCUIT

    def _held(self, state: State) -> Facet:
        other_atlas, self.state = state.atlas != self.state.atlas, state
        if state.circuit_size == 0 and self.circuit is not None:
            self.circuit, self.rows, self.cards = None, {}, {}
            return Facet.STATE | Facet.CIRCUIT
        if other_atlas:  # drop what came from the other atlas
            self.rows = {place: structs.replace(row, peak=None, rate=None) for place, row in self.rows.items()}
            self.cards = {place: structs.replace(card, atlas=None) for place, card in self.cards.items()}
            return Facet.STATE | Facet.CIRCUIT
        return Facet.STATE

    def _finished(self, ticket: str) -> Facet:
        if self.running is not None and self.running.ticket == ticket:
            self.running, self._open = None, []
        self.waiting = [each for each in self.waiting if each.ticket != ticket]
        return Facet.JOBS
