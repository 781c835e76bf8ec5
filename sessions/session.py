"""The session: one model with its edits, its prompt, the current circuit and the settings, in one object.

Commands change it, everything else only reads it. It holds what must survive from one command to
the next and no science: attribution, generation and interventions are functions of the rooms next
door, which a notebook can call without a session.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from sessions.cancel import Cancel
from sessions.circuits.circuit import Circuit
from sessions.circuits.selection import Selection, Surroundings, resolve
from sessions.circuits.sound import fits
from sessions.directions.features import Which
from sessions.errors import ModelError, UsageError
from sessions.events import Progress, State, Steps, Value
from sessions.files.temporary import swept_home
from sessions.interventions.intervention import Intervention
from sessions.journal import Journal
from sessions.model.info import Conversation, Encoded, Opening, Prompt, same_model
from sessions.model.units import Neuron
from sessions.past import Held, Past
from sessions.saved import SavedArtifacts
from sessions.settings import Settings
from sessions.store import Key, Store

if TYPE_CHECKING:  # the rooms that need torch or numpy are imported when a model is
    from torch import Tensor

    from sessions.directions.sae import Autoencoder
    from sessions.edits.edit import Edit
    from sessions.edits.ledger import Ledger, LedgerEntry
    from sessions.evaluation.named import ArmSources
    from sessions.interventions.suppressing import Suppression
    from sessions.model.opening import OpenModel


#: Suppressed neurons, and edits, that the state names; the rest it counts.
FIRST = 8
#: Results of each verb that `expect` can speak of.
REMEMBERED = 5


@dataclass(frozen=True)
class LastOutput:
    """What `expect` speaks of: the last text and next-token distribution, `logits` being `[vocab]`.

    After a comparison these are the changed arm's, and `baseline` is the text beside it. `scores` are the numbers of
    the last evaluation, by name.
    """

    text: str | None = None
    baseline: str | None = None
    logits: Tensor | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


class Session:
    """A model and what is being done to it.

    Args:
        home: folder of named artifacts; by default `WORKBENCH_HOME` or the platform's data folder.
        journal: name of the journal that finished commands are written to; "" keeps none.

    Raises:
        ArtifactError: the home cannot be used.
    """

    def __init__(self, home: Path | None = None, journal: str = "") -> None:
        self.store = Store(home)
        self.home = self.store.home
        swept_home(self.home)
        self.model: OpenModel | None = None
        self.saved = SavedArtifacts(self.store, lambda: self.model)
        self.journal = Journal(self.home / "hosts" / journal / "journal.jsonl") if journal else None
        self.cancel = Cancel()
        self.settings = Settings()
        self.past = Past()
        self.author = ""  # who typed the line that runs, where there are several
        self.ledger: Ledger | None = None  # the edits in its weights
        self.opening: Opening | None = None  # how to open that model again, where a line opened it
        self.prompt: Prompt | None = None
        self.circuit: Circuit | None = None
        self.suppressed: tuple[Neuron, ...] = ()  # held at zero in everything, until released
        self.quiet: tuple[Neuron, ...] = ()  # what was found to be quiet last
        self.live: tuple[Intervention, ...] = ()  # in force in every text that is generated, until released
        self.sae: Which | None = None  # the sparse autoencoder that was opened last
        self.history = Conversation()  # what was said with `say`
        self.last_output = LastOutput()
        self.results: dict[str, deque[Value]] = defaultdict(lambda: deque(maxlen=REMEMBERED))  # by verb, the last last
        self.folder = Path()  # what completion takes relative paths to be relative to
        self.files: tuple[Path, ...] = ()  # command files being run, outermost first
        self.trusting = False  # whether these may open models that come with code of their own
        self._encoded: Encoded | None = None
        self._suppression: Suppression | None = None  # while its neurons are held
        self._autoencoder: tuple[object, Autoencoder] | None = None  # read already, and what it was read from

    def opened(self) -> OpenModel:
        """The open model.

        Raises:
            ModelError: none is open.
        """
        if self.model is None:
            raise ModelError("no model is open", "open one: model smollm2")
        return self.model

    def encoded(self) -> Encoded:
        """The current prompt as the open model reads it.

        Raises:
            UsageError: no prompt is set.
        """
        self.opened()
        if self.prompt is None:
            raise UsageError("no prompt is set", "set one: prompt What is the capital of Texas?")
        if self._encoded is None or self._encoded.prompt != self.prompt:
            self._encoded = self.read(self.prompt)
        return self._encoded

    def found(self) -> Circuit:
        """The current circuit.

        Raises:
            UsageError: there is none.
        """
        if self.circuit is None:
            raise UsageError("there is no circuit yet", 'find one: discover " Austin", or load NAME')
        return self.circuit

    def open(self, opening: Opening) -> Steps[OpenModel]:
        """Open a model and take it; until it is ready the old one stays.

        Raises:
            ModelError: there is no such model, or it cannot be loaded as asked.
        """
        yield Progress("starting torch")  # whose import takes seconds
        from sessions.model.opening import open_model

        request = structs.asdict(opening)
        name, _ = request.pop("name"), request.pop("folder")
        opened = yield from open_model(name, models=self.store.models, **request)
        self.use_model(opened, opening)
        return opened

    def use_model(self, opened: OpenModel, opening: Opening | None = None) -> None:
        """Take another model. Prompt and settings stay; a circuit of other weights, and what is in force, does not.

        Edits go along to another copy of the same weights. The model that is left gets its own weights back.
        `opening` is what it was opened with, so that it can be opened again.

        Raises:
            ModelError: an edit cannot be applied to this copy, whose weights are packed, say; the old one stays.
        """
        from sessions.edits.ledger import Ledger

        same = self.model is not None and same_model(self.model.info.fingerprint, opened.info.fingerprint)
        if self.ledger is None:
            self.ledger = Ledger(opened)
        elif self.model is not opened:
            left, self.ledger = self.ledger, self.ledger.moved(opened) if same else Ledger(opened)
            left.close()
        self.model, self.opening = opened, opening
        self._encoded = None
        self.last_output = LastOutput()
        if self.circuit is not None and not (
            same_model(self.circuit.fingerprint, opened.info.fingerprint) and fits(self.circuit, opened.anatomy)
        ):
            self.circuit = None
        if not same:
            self.suppressed, self.live, self.quiet = (), (), ()
            self.past.clear()

    def held(self) -> Held:
        """What a line may change and `undo` brings back, as it is now."""
        return Held(self.prompt, self.circuit, self.suppressed, self.live)

    def hold(self, held: Held) -> None:
        """Take back what was held before."""
        if held.prompt != self.prompt:
            self._encoded, self.last_output = None, LastOutput()
        self.prompt, self.circuit, self.suppressed, self.live = held

    def edit_names(self) -> tuple[str, ...]:
        """The names of the edits that are applied, first to last."""
        return () if self.ledger is None else tuple(entry.edit.name for entry in self.ledger.entries)

    def undone_names(self) -> tuple[str, ...]:
        """The names of the edits that can be brought back, the next one last."""
        return () if self.ledger is None else tuple(entry.edit.name for entry in self.ledger.undone)

    def use_prompt(self, prompt: Prompt) -> Encoded:
        """Take another prompt, if the model can read it; the circuit stays, with the prompt it came from."""
        encoded = self.read(prompt)
        self.prompt, self._encoded = prompt, encoded
        self.last_output = LastOutput()
        return encoded

    def read(self, prompt: Prompt) -> Encoded:
        """A prompt as the open model would read it; nothing is taken.

        Raises:
            UsageError: it is empty, or longer than the model has positions for.
            ModelError: no model is open, or its template refuses the prompt.
        """
        from sessions.model.tokens import encode

        opened = self.opened()
        encoded = encode(opened.tokenizer, prompt)
        opened.anatomy.check_length(len(encoded.ids))
        return encoded

    def prompt_of(self, circuit: Circuit) -> tuple[Prompt, str]:
        """The prompt of a circuit as it was read when that was found, and a remark where it would be read otherwise.

        A template may have changed since, or write today's date.

        Raises:
            UsageError, ModelError: as `read` does.
        """
        prompt, ids = circuit.prompt, circuit.asked
        if not same_model(circuit.fingerprint, self.opened().info.fingerprint):  # whose tokens are others
            return prompt, ""
        if not ids or not (prompt.text or prompt.exact):
            return prompt, ""
        now = self.read(prompt).ids
        if now == ids:
            return prompt, ""
        remark = f"its prompt is read as the {len(ids):,} tokens it was found on; now it would be {len(now):,} others"
        return structs.replace(prompt, exact=ids), remark

    def select(self, text: str, *, length: int | None = None) -> Selection:
        """The neurons a selection means in this session.

        Args:
            length: tokens of the text that the caller reads, which positions are of: those below 0 count from its end.
                0 for several texts, where they stay as they are; the session's prompt where it is left out.

        Raises:
            UsageError: it means none, or has a position that is not in the text.
        """
        around = Surroundings(
            circuit=self.circuit,
            widths=() if self.model is None else self.model.anatomy.widths,
            length=self._length() if length is None else length,
            names=tuple(self.store.names("circuit")),
            read=lambda name: self.saved.read_circuit(name)[0],
            suppressed=self.suppressed,
            recruits=self.saved.neurons_of_round,
            preset=self.saved.neurons_of_preset,
            atlas=self.saved.neurons_of_atlas,
            quiet=self.quiet,
        )
        return resolve(text, around)

    def _length(self) -> int:
        if self.prompt is not None and self.model is not None:
            return len(self.encoded().ids)
        return 0 if self.circuit is None else len(self.circuit.ids)

    def circuit_length(self) -> int:
        """Tokens of the text that the circuit was found on, 0 where these are several; the session's prompt where the
        circuit does not say, or there is none."""
        if self.circuit is None or not (self.circuit.ids or self.circuit.prompts):
            return self._length()
        return len(self.circuit.ids)

    def autoencoder(self, which: Which) -> Steps[Autoencoder]:
        """A sparse autoencoder that fits the open model; its files are read again where they have changed.

        Raises:
            ArtifactError: there is none, it is damaged, or it is for states of another width, layer or model.
            ModelError: no model is open, or it has no such site.
        """
        from sessions.directions.sae import fitted
        from sessions.directions.sae_files import read, stamp

        opened = self.opened()
        version = (which, stamp(which))
        if self._autoencoder is None or self._autoencoder[0] != version:
            self._autoencoder = None  # two may not fit into memory
            yield Progress("reading the autoencoder")
            self._autoencoder = (version, (yield from read(which)))
        return fitted(self._autoencoder[1], opened)

    def edits(self) -> Ledger:
        """The edits of the open model.

        Raises:
            ModelError: none is open.
        """
        from sessions.edits.ledger import Ledger

        opened = self.opened()
        if self.ledger is None:
            self.ledger = Ledger(opened)
        return self.ledger

    def take_edit(self, edit: Edit, name: str, command: str, *, force: bool = False) -> Edit:
        """Apply a new edit and save it under a name; without one, under that of its verb and the next free number.

        Raises:
            UsageError, ModelError, ArtifactError: it does not fit the model, or cannot be saved; nothing has changed.
        """
        ledger = self.edits()
        applied = (entry.edit.name for entry in ledger.entries)  # whose file may have been deleted
        name = name or self.store.free("edit", edit.verb, applied)
        ledger.check_new(name)
        self.keep_edit(edit, name, command, force=force)
        saved, _ = self.saved.read_edit(name)  # what is in the weights is what is in the file
        ledger.apply(saved)
        return saved

    def keep_edit(self, edit: Edit, name: str, command: str, *, force: bool = False) -> Path:
        """Save an edit of the open model under a name, without applying it, and return its path.

        Raises:
            UsageError, ModelError, ArtifactError: it does not fit the model, or cannot be saved.
        """
        from sessions.edits.files import EditFile

        opened = self.opened()
        with edit.applied(opened):
            pass  # it fits: what is saved can be applied
        return self.keep(Key("edit", name), EditFile(edit.recorded(opened)), command, force=force)

    def keep(self, key: Key, body: Any, command: str, *, force: bool = False) -> Path:
        """Save something that belongs to the open model, and return its path. `command` is the line that made it.

        Raises:
            ModelError, ArtifactError: no model is open; or it cannot be saved.
        """
        info = self.opened().info
        about = {"model": info.name, "fingerprint": info.fingerprint, "command": command}
        return self.store.save(key.kind, key.name, body, **about, force=force)

    @contextmanager
    def suppressing(self) -> Iterator[Suppression | None]:
        """Inside the block the suppressed neurons are at zero in every pass; None where there are none.

        Blocks within blocks do not add up: what is suppressed when the innermost is entered is what holds there.
        """
        outer, self._suppression = self._suppression, None
        with outer.lifted() if outer is not None else nullcontext():
            try:
                if self.model is None or not self.suppressed:
                    yield None
                    return
                from sessions.interventions.suppressing import Suppression

                self._suppression = Suppression(self.model.anatomy, self.suppressed)
                with self._suppression.held():
                    yield self._suppression
            finally:
                self._suppression = outer

    @contextmanager
    def unsuppressed(self) -> Iterator[None]:
        """Inside the block no neuron is held at zero, in the command that is running."""
        with self._suppression.lifted() if self._suppression is not None else nullcontext():
            yield

    @contextmanager
    def pristine(self) -> Iterator[None]:
        """Inside the block the model is as it was opened: nothing is suppressed, and no edit is in its weights."""
        with self._suppression.lifted() if self._suppression is not None else nullcontext(), self.edits().lifted():
            yield

    def arm_sources(self) -> ArmSources:
        """What the arms of an evaluation are made of here.

        Raises:
            ModelError: no model is open.
        """
        from sessions.evaluation.named import ArmSources

        return ArmSources(
            opened=self.opened(),
            ledger=self.edits(),
            store=self.store,
            read_edit=lambda name: self.saved.read_edit(name)[0],
            unsuppressed=self.unsuppressed,
        )

    def use_circuit(self, circuit: Circuit) -> Circuit:
        """Take a circuit that has just been found, with what was suppressed and edited then."""
        edits = () if self.ledger is None else tuple(edit.name for edit in self.ledger.active)
        suppressed = tuple(str(neuron) for neuron in self.suppressed)
        self.circuit = structs.replace(circuit, suppressed=suppressed, edits=edits)
        return self.circuit

    @property
    def in_force(self) -> tuple[Intervention, ...]:
        """What is done in every text: all that is live, but to suppressed neurons, which stay at zero."""
        suppressed = frozenset(neuron.site for neuron in self.suppressed)
        kept = (treatment.turned.without(suppressed) for treatment in self.live)
        return tuple(treatment for treatment in kept if treatment.neurons)

    def state_key(self) -> str:
        """What is suppressed and which edits are in the weights, as a key for what depends on it; empty for nothing."""
        sites = sorted(neuron.site for neuron in self.suppressed)
        edits = "" if self.ledger is None else self.ledger.key()
        return sha256((repr(sites) + edits).encode()).hexdigest()[:16] if sites or edits else ""

    def universal(self) -> Steps[frozenset[tuple[int, int]]]:
        """The open model's universal neurons, found once for each model and kept in the home folder: those of the model
        as it was opened, whatever is suppressed or edited."""
        from sessions.circuits import universal

        opened = self.opened()
        with self.unsuppressed(), self.edits().lifted():
            return (yield from universal.known(opened, self.home, self.cancel))

    def state(self) -> State:
        """What the session holds, in a line."""
        info = None if self.model is None else self.model.info
        entries = () if self.ledger is None else self.ledger.entries
        return State(
            model="" if info is None else info.name,
            dtype="" if info is None else info.dtype,
            device="" if info is None else info.device,
            prompt="" if self.prompt is None else self.prompt.text,
            seed="" if self.prompt is None else self.prompt.seed,
            circuit="" if self.circuit is None else self.circuit.name or "unnamed",
            circuit_size=0 if self.circuit is None else len(self.circuit),
            suppressed=len(self.suppressed),
            first_suppressed=tuple(str(neuron) for neuron in self.suppressed[:FIRST]),
            live=tuple(treatment.said for treatment in self.live),
            edits=tuple(_labels(entries)[-FIRST:]),
            edits_applied=len(entries),
            edits_on=sum(entry.on for entry in entries),
            exchanges=len(self.history),
            sae="" if self.sae is None else str(self.sae),
            atlas=self.saved.latest_atlas(),
        )

    def close(self) -> None:
        """Let go of the model, which gets its own weights back."""
        if self.ledger is not None:
            self.ledger.close()
        self.ledger = None
        self.model = self.opening = self._autoencoder = None
        self.last_output = LastOutput()


def _labels(entries: tuple[LedgerEntry, ...]) -> list[str]:
    """Edits for the state: number, name, how strong it is, and whether it is off."""
    return [
        f"{number} {each.edit.name}{each.edit.turned}{'' if each.on else ' (off)'}"
        for number, each in enumerate(entries, 1)
    ]
