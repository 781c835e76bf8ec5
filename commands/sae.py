"""States as sums of sparse features: `sae load`, `encode`, `inject`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import structs

from commands.capturing import FAMILY
from commands.choices import STATE, OneOf
from commands.fields import MaxTokens
from commands.names import FileName, Name, SavedName
from commands.request import Arg, Excludes, Flag, Needs, Opt, Options, Request
from commands.verb import verb
from commands.words import SEEDS, Gain, NumberWord, RowsWord, TextWord, Whole
from sessions.artifacts import Key
from sessions.directions.features import ARCHITECTURES, Which
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.procedures.autoencoders import compared_with_reconstruction, reconstruction_and_control, state_at
from sessions.procedures.states import marked_in
from sessions.results import AutoencoderOpened, Compared, StateEncoded
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.directions.sae import Autoencoder
    from sessions.directions.vector import Vector


class Unsaid(Options, frozen=True):
    """What the files of an autoencoder may leave out."""

    group = "Where its files do not say"

    layer: Annotated[int | None, Opt(Whole(0), "the layer it is for")] = None
    site: Annotated[str | None, Opt(STATE, "the place in that layer")] = None
    architecture: Annotated[
        str | None, Opt(OneOf("architecture", ARCHITECTURES), "how its features come to be active")
    ] = None
    k: Annotated[int | None, Opt(Whole(), "of a top-k autoencoder: how many features are active at once")] = None


class OfAutoencoder(Request, frozen=True):
    """Something that is done with a sparse autoencoder. To name one opens it."""

    path: Annotated[
        Path | None,
        Arg(FileName(".safetensors"), "a SAELens folder, a .safetensors file, or RELEASE:ID (default: the last one)"),
    ] = None
    unsaid: Unsaid = Unsaid()

    def which(self, session: Session) -> Which:
        """The autoencoder that is named, or the one before; of the same one, what was said of it before still holds."""
        path, before = self.path, session.sae
        if path is None and before is None:
            raise UsageError("no autoencoder is open", "name one: sae load FOLDER, FILE.safetensors or RELEASE:ID")
        where = "" if path is None else str(path.absolute()) if path.exists() else str(path)
        which = before if before is not None and where in ("", before.path) else Which(where)
        given = {name: value for name, value in structs.asdict(self.unsaid).items() if value is not None}
        return structs.replace(which, **given)


class StateAt(Options, frozen=True):
    """A state: the prompt's own at a position, or a captured one."""

    group = "The state"

    at: Annotated[str | None, Opt(TextWord(), "where in the prompt: a word, or a position (default: -1, the last)")] = (
        None
    )
    nth: Annotated[int | None, Opt(Whole(), "which occurrence, where the word occurs several times")] = None
    vector: Annotated[str | None, Opt(SavedName("vector"), "a captured state in place of the prompt's own")] = None

    def position(self, session: Session, notes: list[str]) -> int:
        """The position in the prompt that is meant; what should be said of it is put to the notes."""
        return marked_in(session.encoded(), "-1" if self.at is None else self.at, self.nth, notes)


_NTH = Needs(("nth",), "at", "--nth says which of several, and no word is named", "for example: --at the --nth 2")


@verb(
    "sae load",
    family=FAMILY,
    synonyms=("autoencoder", "sparse autoencoder", "dictionary", "open sae"),
    needs=("model",),
    example=("sae load autoencoder", "sae load plain.safetensors --layer 12"),
)
class LoadAutoencoder(OfAutoencoder, frozen=True):
    """Open a sparse autoencoder and describe it.

    It is read from a SAELens folder (cfg.json, sae_weights.safetensors) or from one .safetensors file with W_enc,
    b_enc, W_dec and b_dec. RELEASE:ID names a published one, which the package sae-lens fetches. The session
    remembers it.
    """

    def run(self, session: Session) -> Steps[AutoencoderOpened]:
        which = self.which(session)
        sae = yield from session.autoencoder(which)
        session.sae = which
        return AutoencoderOpened(about=sae.about, notes=sae.remarks)


@verb(
    "sae encode",
    family=FAMILY,
    synonyms=("features", "decompose", "sae features"),
    needs=("model",),
    example=("sae encode autoencoder --at capital --nth 1", "sae encode --vector texas --rows 5"),
    default=True,
)
class EncodeState(OfAutoencoder, frozen=True):
    """Decompose a state into the features of a sparse autoencoder.

    The strongest features of the state at a position of the prompt, or of a captured vector, are listed:
    activation, share of what all features write, and the tokens that the feature's direction pushes. The result
    also gives the number of active features (L0), the share of the state left unexplained (1 is no better than the
    decoder's bias), and the cosine of state and reconstruction.

    To name an autoencoder opens it (see sae load), and the session remembers it: after that, sae encode --at WORD
    is enough.
    """

    where: StateAt = StateAt()
    rows: Annotated[int | None, Opt(RowsWord(), "features to list (default: the setting rows)")] = None
    feature: Annotated[int | None, Opt(Whole(0, SEEDS), "this feature alone")] = None
    save: Annotated[str | None, Opt(Name(), "save the reconstruction, or the feature's part of it, as a vector")] = None
    force: Annotated[bool, Flag("replace a vector of that name; use a vector of another model")] = False

    rules = (
        Excludes("vector", ("at", "nth"), "--at is a position in the prompt, and --vector another state"),
        _NTH,
    )

    def run(self, session: Session) -> Steps[StateEncoded]:
        from sessions.directions.sae import encoding

        which = self.which(session)
        sae = yield from session.autoencoder(which)
        notes = [*sae.remarks]
        if self.feature is not None:
            sae.check(self.feature)
        if self.save is not None:
            session.store.check_new("vector", self.save, self.force)
        position = self.where.position(session, notes) if self.where.vector is None else None
        state = state_at(session, sae, position or 0, self.force, notes, vector_name=self.where.vector)
        rows = self.rows or session.settings.rows
        encoded = encoding(session.opened(), sae, state.directions[sae.about.layer], rows, self.feature)
        saved = "" if self.save is None else self._saved(session, sae, which, state, self.save, position)
        session.sae = which
        return StateEncoded(
            about=sae.about,
            encoding=encoded,
            position=position,
            token="" if position is None else session.encoded().tokens[position],
            vector=self.where.vector or "",
            feature=self.feature,
            saved=self.save or "",
            path=saved,
            notes=tuple(notes),
        )

    def _saved(
        self, session: Session, sae: Autoencoder, which: Which, state: Vector, name: str, position: int | None
    ) -> str:
        """Save the reconstruction of a state, or a feature's part of it, as a vector; returns the path of its file."""
        layer = sae.about.layer
        x = state.directions[layer]
        if self.feature is None:
            made = replace(state, directions={layer: sae.reconstructed(x)})
        else:  # which was the state of no text
            made = replace(state, directions={layer: sae.part(x, self.feature)[0]}, origin=None)
        resolved = structs.replace(
            self,
            path=Path(sae.about.source),
            unsaid=Unsaid(which.layer, which.site or None, which.architecture or None, which.k),
            where=StateAt(vector=self.where.vector) if position is None else StateAt(at=str(position)),
            force=False,
        )
        return str(session.keep(Key("vector", name), made, resolved.line(), force=self.force))


@verb(
    "sae inject",
    family=FAMILY,
    synonyms=("reconstruct", "steer feature", "splice"),
    needs=("model",),
    example=("sae inject autoencoder --at capital --nth 1", "sae inject --at capital --feature 1265 --scale 4 --add"),
)
class InjectReconstruction(OfAutoencoder, frozen=True):
    """Replace a state with an autoencoder's reconstruction of it, and generate from there.

    The reconstruction at a position of the prompt is compared with the baseline and with a state as far off in a
    random direction. With --feature, the state is replaced by what that feature writes alone, at its activation, at
    --scale times that or at --value; --add adds it to the state instead. The control is then a random direction of
    that length.
    """

    where: StateAt = StateAt()
    feature: Annotated[int | None, Opt(Whole(0, SEEDS), "this feature alone")] = None
    scale: Annotated[float | None, Opt(NumberWord(), "inject the feature at this many times its activation")] = None
    value: Annotated[float | None, Opt(Gain(), "inject the feature at this activation")] = None
    add: Annotated[bool, Flag("add the feature to the state instead of replacing it")] = False
    max_tokens: MaxTokens = None
    force: Annotated[bool, Flag("use a vector of another model")] = False

    rules = (
        Needs(
            ("scale", "value", "add"),
            "feature",
            "--scale, --value and --add are for a single feature",
            "name it: --feature 12",
        ),
        Excludes("scale", ("value",), "--scale and --value both set the strength"),
        _NTH,
    )

    def run(self, session: Session) -> Steps[Compared]:
        which = self.which(session)
        sae = yield from session.autoencoder(which)
        notes = [*sae.remarks]
        position = self.where.position(session, notes)
        state = state_at(session, sae, position, self.force, notes, vector_name=self.where.vector)
        made = reconstruction_and_control(
            sae,
            state.directions[sae.about.layer],
            session.settings.rng,
            feature=self.feature,
            scale=self.scale,
            value=self.value,
            adds=self.add,
        )
        compared = yield from compared_with_reconstruction(
            session, sae, position, made, notes, adds=self.add, max_tokens=self.max_tokens, verb=self.verb_name
        )
        session.sae = which
        return compared
