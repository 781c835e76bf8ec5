"""The session: one model with its edits, its prompt, the current circuit and the settings, in one object.

Commands change it; everything else only reads it. It holds what must survive from one command to the next, and no
science: attribution, generation and interventions are functions of other rooms, which a notebook calls without a
session.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from sessions.artifacts import Key
from sessions.cancel import Cancel
from sessions.circuits.circuit import Circuit
from sessions.circuits.selection import Selection, Surroundings, resolve
from sessions.circuits.sound import fits
from sessions.directions.features import Which
from sessions.directions.sae_cache import AutoencoderCache
from sessions.errors import ModelError, UsageError
from sessions.events import Progress, State, Steps, Value
from sessions.files.temporary import swept_home
from sessions.interventions.intervention import Intervention, in_force
from sessions.interventions.suppression_stack import SuppressionStack
from sessions.journal import Journal
from sessions.last_output import LastOutput
from sessions.model.info import Conversation, Encoded, Opening, Prompt, same_model
from sessions.model.units import Unit, key_of
from sessions.overview import overview
from sessions.past import Held, Past
from sessions.permits import Permits
from sessions.saved import SavedArtifacts
from sessions.settings import Settings
from sessions.store import Store

if TYPE_CHECKING:  # these rooms import torch or numpy: they are imported when a model is opened
    from sessions.directions.sae import Autoencoder
    from sessions.edits.edit import Edit
    from sessions.edits.ledger import Ledger
    from sessions.evaluation.named import ArmSources
    from sessions.interventions.suppressing import Suppression
    from sessions.model.opening import OpenModel

#: Results of each verb that `expect` can check.
REMEMBERED = 5


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
        self.author = ""  # who typed the line that runs, where several people share the session
        self.ledger: Ledger | None = None  # the edits of the model
        self.opening: Opening | None = None  # how to open the model again, where a line opened it
        self.prompt: Prompt | None = None
        self.circuit: Circuit | None = None
        self.suppressed: tuple[Unit, ...] = ()  # held at zero in everything, until released
        self.quiet: tuple[Unit, ...] = ()  # found by the last search for quiet neurons
        self.live: tuple[Intervention, ...] = ()  # in force in every text that is generated, until released
        self.sae: Which | None = None  # the sparse autoencoder that was opened last
        self.history = Conversation()  # the exchanges of `say`
        self.last_output = LastOutput()
        self.results: dict[str, deque[Value]] = defaultdict(lambda: deque(maxlen=REMEMBERED))  # by verb, newest last
        self.folder = Path()  # the folder that completion reads relative paths from
        self.files: tuple[Path, ...] = ()  # command files being run, outermost first
        self.permits = Permits()  # of the line that runs
        self.trusting = False  # whether command files may open models that come with their own code
        self.with_model = ExitStack()  # what ends when the model is closed or exchanged: workers on other machines
        self._encoded: Encoded | None = None
        self.suppressions = SuppressionStack()
        self._autoencoders = AutoencoderCache()

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
        """Open a model and switch to it; the old one stays until the new one is ready (see `model.parking`). Raises as
        `open_model` does."""
        yield Progress("starting torch")  # its import takes seconds
        from sessions.model.opening import open_model
        from sessions.model.parking import parking

        request = structs.asdict(opening)
        name, _ = request.pop("name"), request.pop("folder")
        with parking(self.model) as make_room:
            opened = yield from open_model(name, models=self.store.models, make_room=make_room, **request)
            self.use_model(opened, opening)
        return opened

    def use_model(self, opened: OpenModel, opening: Opening | None = None) -> None:
        """Switch to another model.

        Prompt and settings stay. A circuit stays if it fits the weights; suppression, interventions and edits stay if
        the weights are the same. The old model gets its own weights back.

        Args:
            opening: how it was opened, so that it can be opened again.

        Raises:
            ModelError: an edit cannot be applied to this copy, because its weights are packed for example; the old
                model stays.
        """
        from sessions.edits.ledger import Ledger

        same = self.model is not None and same_model(self.model.info.fingerprint, opened.info.fingerprint)
        if self.ledger is None:
            self.ledger = Ledger(opened)
        elif self.model is not opened:
            left, self.ledger = self.ledger, self.ledger.moved(opened) if same else Ledger(opened)
            left.close()
        if self.model is not opened:
            self.with_model.close()
        self.model, self.opening = opened, opening
        self._encoded, self.last_output = None, LastOutput()
        if self.circuit is not None and not (
            same_model(self.circuit.fingerprint, opened.info.fingerprint) and fits(self.circuit, opened.anatomy)
        ):
            self.circuit = None
        if not same:
            self.suppressed, self.live, self.quiet = (), (), ()
            self.past.clear()

    def held(self) -> Held:
        """The values that a line may change and `undo` brings back."""
        return Held(self.prompt, self.circuit, self.suppressed, self.live)

    def hold(self, values: Held) -> None:
        """Restore the values of an earlier `held`."""
        if values.prompt != self.prompt:
            self._encoded, self.last_output = None, LastOutput()
        self.prompt, self.circuit, self.suppressed, self.live = values

    def edit_names(self) -> tuple[str, ...]:
        """The names of the edits that are applied, first to last."""
        return () if self.ledger is None else tuple(entry.edit.name for entry in self.ledger.entries)

    def undone_names(self) -> tuple[str, ...]:
        """The names of the edits that `redo` can bring back, the next one last."""
        return () if self.ledger is None else tuple(entry.edit.name for entry in self.ledger.undone)

    def use_prompt(self, prompt: Prompt) -> Encoded:
        """Set another prompt, if the model can read it. The circuit stays."""
        encoded = self.read(prompt)
        self.prompt, self._encoded = prompt, encoded
        self.last_output = LastOutput()
        return encoded

    def read(self, prompt: Prompt) -> Encoded:
        """A prompt as the open model reads it; the session's own prompt stays.

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
        """The prompt of a circuit with the token ids it was found on, and a remark where it now has other ids.

        The chat template may have changed since, or it writes today's date.

        Raises:
            UsageError, ModelError: as `read` does.
        """
        prompt = circuit.prompt
        same = same_model(circuit.fingerprint, self.opened().info.fingerprint)  # another model has other tokens
        if not same or not circuit.asked or not (prompt.text or prompt.exact):
            return prompt, ""
        return circuit.prompt_as_found(self.read(prompt).ids)

    def select(self, text: str, *, length: int | None = None) -> Selection:
        """The neurons a selection means in this session.

        Args:
            length: tokens of the text that positions refer to; negative positions count from its end. 0 for several
                texts: negative positions stay as they are. Left out: that of the session's prompt.

        Raises:
            UsageError: it means no unit, or has a position that is not in the text.
        """
        anatomy = None if self.model is None else self.model.anatomy
        around = Surroundings(
            circuit=self.circuit,
            widths=() if anatomy is None else anatomy.widths,
            heads=() if anatomy is None else anatomy.counts("head"),
            experts=() if anatomy is None else anatomy.counts("expert"),
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
        """Tokens of the text that the circuit was found on, 0 where it was found on several texts.

        Without a circuit, or where it does not say, those of the session's prompt.
        """
        if self.circuit is None or not (self.circuit.ids or self.circuit.prompts):
            return self._length()
        return len(self.circuit.ids)

    def autoencoder(self, which: Which) -> Steps[Autoencoder]:
        """A sparse autoencoder that fits the open model; its files are read again where they have changed.

        Raises:
            ArtifactError: there is none, it is damaged, or it is for states of another width, layer or model.
            ModelError: no model is open, or it has no such site.
        """
        return (yield from self._autoencoders.read(which, self.opened()))

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
        """Apply a new edit and save it under a name; by default the name of its verb and the next free number.

        Raises:
            UsageError, ModelError, ArtifactError: it does not fit the model, or cannot be saved; nothing has changed.
        """
        ledger = self.edits()
        applied = (entry.edit.name for entry in ledger.entries)  # the files of some may have been deleted
        name = name or self.store.free("edit", edit.verb, applied)
        ledger.check_new(name)
        self.keep_edit(edit, name, command, force=force)
        saved, _ = self.saved.read_edit(name)  # so that the weights get exactly what is in the file
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
            pass  # raises if it does not fit
        return self.keep(Key("edit", name), EditFile(edit.recorded(opened)), command, force=force)

    def keep(self, key: Key, body: Any, command: str, *, force: bool = False) -> Path:
        """Save something that belongs to the open model, and return its path. `command` is the line that made it.

        Raises:
            ModelError, ArtifactError: no model is open; or it cannot be saved.
        """
        info = self.opened().info
        about = {"model": info.name, "fingerprint": info.fingerprint, "command": command}
        return self.store.save(key.kind, key.name, body, **about, force=force)

    def suppressing(self) -> AbstractContextManager[Suppression | None]:
        """Inside the block the suppressed neurons are at zero in every pass. Yields None where there are none. Nested
        blocks do not accumulate; the innermost applies."""
        return self.suppressions.held(None if self.model is None else self.model.anatomy, self.suppressed)

    def unsuppressed(self) -> AbstractContextManager[None]:
        """Inside the block no neuron is suppressed."""
        return self.suppressions.lifted()

    @contextmanager
    def pristine(self) -> Iterator[None]:
        """Inside the block the model is as it was opened: no neuron is suppressed, and no edit is in its weights."""
        with self.unsuppressed(), self.edits().lifted():
            yield

    def arm_sources(self) -> ArmSources:
        """The parts of this session that the arms of an evaluation are made of.

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
        """Make a newly found circuit the current one, and record what is suppressed and edited now."""
        edits = () if self.ledger is None else tuple(edit.name for edit in self.ledger.active)
        suppressed = tuple(str(neuron) for neuron in self.suppressed)
        self.circuit = structs.replace(circuit, suppressed=suppressed, edits=edits)
        return self.circuit

    @property
    def in_force(self) -> tuple[Intervention, ...]:
        """The live interventions at their strength. Suppressed neurons are left out: they stay at zero."""
        return in_force(self.live, self.suppressed)

    def state_key(self) -> str:
        """A hash of the suppressed neurons and the edits in the weights; empty where there are none."""
        edits = "" if self.ledger is None else self.ledger.key()
        return sha256((key_of(self.suppressed) + edits).encode()).hexdigest()[:16] if self.suppressed or edits else ""

    def universal(self) -> Steps[frozenset[tuple[int, int]]]:
        """The universal neurons of the model as it was opened, whatever is suppressed or edited.

        They are found once for each model and kept in the home folder.
        """
        from sessions.circuits import universal

        with self.pristine():
            return (yield from universal.known(self.opened(), self.home, self.cancel))

    def state(self) -> State:
        """Names and counts of what the session holds, for the headers of front ends."""
        return overview(self)

    def close(self) -> None:
        """Close the model and give it its own weights back."""
        if self.ledger is not None:
            self.ledger.close()
        self.with_model.close()
        self.ledger = self.model = self.opening = None
        self._autoencoders.clear()
        self.last_output = LastOutput()
