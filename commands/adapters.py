"""Adapters beside the weights, and in them: `adapter list`, `load`, `on`, `off`, `merge`, `unmerge`, `save`, `delete`.

Each is a verb of its own; `adapter` alone lists them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import structs

from commands.edits import FAMILY
from commands.names import AdapterName, FileName, Name, OutputFile
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import Gain, Word
from sessions.artifacts import check_model
from sessions.errors import ArtifactError, UsageError
from sessions.events import Progress, Steps
from sessions.loaded_adapters import (
    loaded_adapters,
    merge,
    put_on,
    row,
    shelf_of,
    shown,
    take_in,
    taken_in,
    turn,
    unmerge,
)
from sessions.results import AdapterShown, AdaptersListed, Deleted
from sessions.session import Session

#: Before the name of a round, whose adapter is meant.
_ROUND = "round:"


class AdapterSource(Word):
    """What can be loaded: an adapter that is kept, a PEFT folder, or the adapter of a round."""

    name = "adapter"
    shape = "NAME|FOLDER|round:NAME"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [
            *AdapterName().completions(session, incomplete),
            *FileName("/").completions(session, incomplete),
        ]


@verb("adapter list", family=FAMILY, synonyms=("adapters", "loras"), example="adapter list", default=True)
class ListAdapters(Request, frozen=True):
    """List the kept adapters, and which of them are on."""

    reads_only = True

    def run(self, session: Session) -> AdaptersListed:
        return AdaptersListed(rows=tuple(row(session, name) for name in shelf_of(session).names()))


@verb(
    "adapter load",
    family=FAMILY,
    synonyms=("lora", "peft", "load lora", "load adapter"),
    needs=("model",),
    example=("adapter load fr", "adapter load ./french --as fr --weight 0.5", "adapter load round:crab-1"),
)
class LoadAdapter(Request, frozen=True):
    """Load a LoRA adapter onto the model: a kept one, a PEFT folder, or the adapter of a round.

    A PEFT folder has adapter_config.json and adapter_model.safetensors: LoRA, rsLoRA or DoRA. round:NAME is the
    adapter that a round trained. An adapter from a folder or a round is copied and kept under a name.

    The adapter is an edit like others, and several may be on at once: edits lists it, undo removes it, off and on
    keep its place. While it is on, every verb sees the model with it: neurons, attributions, texts. Suppressed
    neurons stay at zero in the adapter as well.
    """

    which: Annotated[
        str, Arg(AdapterSource(), "a kept adapter, a PEFT folder, or round:NAME", metavar=AdapterSource.shape)
    ]
    name: Annotated[
        str | None, Opt(Name(), "the name to keep a folder's adapter under (default: the folder's)", flag="--as")
    ] = None
    weight: Annotated[float | None, Opt(Gain(), "how many times as strong as it was trained (default: 1)")] = None
    force: Annotated[bool, Flag("load it even if it was made on another model; replace an adapter of that name")] = (
        False
    )

    def run(self, session: Session) -> Steps[AdapterShown]:
        session.opened()
        weight = 1.0 if self.weight is None else self.weight
        typed = structs.replace(self, weight=None if weight == 1 else weight, force=False)
        if self.which in shelf_of(session).names():
            if self.name not in (None, self.which):
                raise UsageError(
                    f"adapter '{self.which}' already has a name", "--as is for an adapter from a folder or a round"
                )
            line = structs.replace(typed, name=None).line()
            return (yield from put_on(session, self.which, weight, line, self.force))
        path, name = self._source(session)
        line = structs.replace(typed, name=name).line()
        with taken_in(session, name, self.force):
            notes = yield from take_in(session, path, name, line, self.force)
            return (yield from put_on(session, name, weight, line, self.force, notes))

    def _source(self, session: Session) -> tuple[Path, str]:
        """The folder that it is taken from, and the name that it is kept under."""
        if self.which.startswith(_ROUND):
            return _of_round(session, Name().read(self.which.removeprefix(_ROUND)), self.name)
        path = FileName().read(self.which)
        if not path.exists() and "/" not in self.which:
            shelf_of(session).read(AdapterName().read(self.which))  # there is none: its error names the nearest
        try:
            return path.absolute(), self.name or Name().read(path.absolute().name)
        except UsageError as error:
            raise UsageError(error.message, "give it a name: --as NAME") from error


def _of_round(session: Session, round_name: str, name: str | None) -> tuple[Path, str]:
    """The folder of the adapter that a round has trained, and the name that it is kept under."""
    from sessions.training.round import Rounds

    rounds = Rounds(session.store)
    trained, info = rounds.load(round_name), session.opened().info
    check_model(trained.fingerprint, trained.model, info.fingerprint, info.name)
    if not rounds.adapter(round_name).is_dir():
        raise ArtifactError(
            f"round '{round_name}' has no adapter", "adapters exist only for rounds that were trained here: rounds"
        )
    return rounds.adapter(round_name).absolute(), name or round_name


class _OneAdapter(Request, frozen=True):
    """An action on one adapter that is kept."""

    which: Annotated[str, Arg(AdapterName(), "the adapter's name", metavar="NAME")]


@verb(
    "adapter on",
    family=FAMILY,
    synonyms=("turn on adapter", "enable adapter"),
    needs=("model",),
    example="adapter on fr",
)
class TurnAdapterOn(_OneAdapter, frozen=True):
    """Turn an adapter back on, at its place in the order."""

    def run(self, session: Session) -> Steps[AdapterShown]:
        yield Progress("editing")
        return turn(session, self.which, True)


@verb(
    "adapter off",
    family=FAMILY,
    synonyms=("turn off adapter", "disable adapter"),
    needs=("model",),
    example="adapter off fr",
)
class TurnAdapterOff(_OneAdapter, frozen=True):
    """Turn an adapter off, and keep its place in the order."""

    def run(self, session: Session) -> Steps[AdapterShown]:
        yield Progress("editing")
        return turn(session, self.which, False)


@verb("adapter merge", family=FAMILY, synonyms=("merge", "bake", "fuse"), needs=("model",), example="adapter merge fr")
class MergeAdapter(_OneAdapter, frozen=True):
    """Merge an adapter that is on into the weights, and report the rounding error.

    Each weight is rounded once. The result counts the positions at which the likeliest next token changes. A merge
    that would change more than rounding does, such as one beside a DoRA on the same projections, is refused.
    """

    def run(self, session: Session) -> Steps[AdapterShown]:
        yield Progress("editing")
        return (yield from merge(session, self.which, self.line()))


@verb("adapter unmerge", family=FAMILY, synonyms=("unfuse", "unbake"), needs=("model",), example="adapter unmerge fr")
class UnmergeAdapter(_OneAdapter, frozen=True):
    """Undo a merge: restore the exact weights, and keep the adapter on beside them."""

    def run(self, session: Session) -> Steps[AdapterShown]:
        yield Progress("editing")
        return unmerge(session, self.which)


@verb(
    "adapter save",
    family=FAMILY,
    synonyms=("save adapter", "save lora", "export adapter"),
    example="adapter save fr --to fr-peft",
)
class SaveAdapter(_OneAdapter, frozen=True, kw_only=True):
    """Write an adapter to a PEFT folder for other programs, scaled by its current weight."""

    to: Annotated[Path, Opt(OutputFile(), "the folder to write")]
    force: Annotated[bool, Flag("replace that folder's files")] = False

    def run(self, session: Session) -> Steps[AdapterShown]:
        from sessions.adapters.adapter_store import put_out
        from sessions.model.background import in_background

        shelf, loaded = shelf_of(session), loaded_adapters(session).get(self.which)
        weight = 1.0 if loaded is None else loaded.adapter.weight

        def write() -> Path:
            kept = shelf.read(self.which)
            return put_out(kept, shelf.path(self.which), self.to.absolute(), weight, force=self.force)

        written = yield from in_background(lambda _: write(), "writing the adapter")
        notes = [] if weight == 1 else [f"its weight of {weight:g} is written into the alphas"]
        return shown(session, "saved", self.which, notes=notes, path=str(written))


@verb(
    "adapter delete",
    family=FAMILY,
    synonyms=("delete adapter", "delete lora"),
    example=("adapter delete fr", "adapter delete fr --restore"),
)
class DeleteAdapter(_OneAdapter, frozen=True):
    """Move a kept adapter to the trash, or restore the one last deleted under its name."""

    restore: Annotated[bool, Flag("restore the one last deleted under that name")] = False

    def run(self, session: Session) -> AdapterShown | Deleted:
        shelf = shelf_of(session)
        if self.restore:
            shelf.restore(self.which)
            return shown(session, "restored", self.which)
        if self.which in loaded_adapters(session):
            raise UsageError(f"adapter '{self.which}' is loaded", "remove it first with undo; edits shows where it is")
        shelf.delete(self.which)
        return Deleted(name=f"adapter {self.which}", restore=structs.replace(self, restore=True).line())
