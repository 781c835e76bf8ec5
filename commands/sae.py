"""States as sums of sparse features: `sae`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from commands.capturing import FAMILY, marked_in
from commands.choices import STATE, OneOf
from commands.names import FileName, Name, SavedName
from commands.prompting import decoded
from commands.vectors import refuse_taken
from commands.verb import argument, option, verb
from commands.words import SEEDS, Gain, Length, Number, Rows, Text, Whole
from sessions.directions.features import ARCHITECTURES, Which
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition, shifts
from sessions.lines import line_of
from sessions.results import AutoencoderOpened, Compared, StateEncoded
from sessions.session import Reading, Session

if TYPE_CHECKING:
    from torch import Tensor

    from sessions.directions.sae import Autoencoder
    from sessions.directions.vector import Vector

ACTIONS = OneOf(
    "action",
    {
        "load": "open an autoencoder and say what it is",
        "encode": "which features a state has, and what they leave unexplained",
        "inject": "write on with the reconstruction, or a feature, in the state's place",
    },
)
_ARCHITECTURE = OneOf("architecture", ARCHITECTURES)
#: Options that only some actions have a use for.
_ENCODE, _INJECT = ("rows", "save"), ("scale", "value", "add", "max_tokens")
_EITHER = ("at", "nth", "vector", "feature")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the options say of the state, of what is made of it, and of where that goes."""

    at: str | None
    nth: int | None
    vector: str | None
    rows: int | None
    feature: int | None
    scale: float | None
    value: float | None
    add: bool
    save: str | None
    max_tokens: int | None
    force: bool

    def check(self, action: str) -> None:
        """Raise `UsageError` for what an action has no use for, and for what contradicts itself."""
        useless = {"load": _ENCODE + _INJECT + _EITHER, "encode": _INJECT, "inject": _ENCODE}[action]
        wrong = next((name for name in useless if getattr(self, name) not in (None, False)), None)
        if wrong is not None:
            meant = "encode" if wrong in _ENCODE else "inject" if wrong in _INJECT else "encode and inject"
            raise UsageError(f"--{wrong.replace('_', '-')} says nothing to sae {action}", f"it is for {meant}")
        if action == "encode" and self.vector is not None and (self.at is not None or self.nth is not None):
            raise UsageError("--at is a place in the prompt, and --vector another state", "leave one of them out")
        if self.feature is None and (self.scale is not None or self.value is not None or self.add):
            raise UsageError("--scale, --value and --add are for a single feature", "name it: --feature 12")
        if self.scale is not None and self.value is not None:
            raise UsageError("--scale and --value both say how strong it is", "leave one of them out")


@verb("sae", family=FAMILY, example="sae encode autoencoder --at capital --nth 1")
@argument("action", help="load, encode or inject", type=ACTIONS, default="encode")
@argument(
    "path",
    help="a SAELens folder, a .safetensors file, or RELEASE:ID (default: the one opened last)",
    type=FileName(".safetensors"),
    required=False,
)
@option("--at", type=Text(), help="where in the prompt: a word, or a position (default: -1, the last)")
@option("--nth", type=Whole(), help="which one, where the word stands there more than once")
@option("--vector", type=SavedName("vector"), help="a captured state in place of the prompt's own")
@option("--rows", type=Rows(), help="features to list (default: the setting rows)")
@option("--feature", type=Whole(0, SEEDS), help="this feature alone")
@option("--scale", type=Number(), help="inject the feature at that many times its activation")
@option("--value", type=Gain(), help="inject the feature at that activation, whatever its own is")
@option("--add", is_flag=True, help="add the feature to the state, and do not put it in its place")
@option("--save", type=Name(), help="save the reconstruction, or the feature's part of it, as a vector")
@option("--max-tokens", type=Length(), help="tokens to generate at most (default: the setting max_tokens)")
@option("--layer", type=Whole(0), help="the layer it is for, where its files do not say")
@option("--site", type=STATE, help="the place there, where its files do not say")
@option("--architecture", type=_ARCHITECTURE, help="how its features come to be active, where its files do not say")
@option("--k", type=Whole(), help="how many are active at once, of a top-k whose files do not say")
@option("--force", is_flag=True, help="replace what has that name; use a vector of another model")
def sae(
    session: Session,
    action: str,
    path: Path | None,
    layer: int | None,
    site: str | None,
    architecture: str | None,
    k: int | None,
    **asked: Any,
) -> Steps[AutoencoderOpened | StateEncoded | Compared]:
    """Take a state apart into the features of a sparse autoencoder, and put what these say of it back.

    The autoencoder is read from a SAELens folder (cfg.json, sae_weights.safetensors) or from one .safetensors file
    with W_enc, b_enc, W_dec and b_dec. Naming one with any action opens it, and the session remembers it: after that,
    sae encode --at WORD is enough. RELEASE:ID names a published one, which the package sae-lens fetches.

    encode lists the strongest features of the state at a position of the prompt, or of a captured vector: activation,
    share of what all write, and the tokens that the feature's direction pushes. Beside them stand the number of active
    features (L0), the share of the state they leave unexplained (1 is no better than the decoder's bias), and the
    cosine of state and reconstruction.

    inject writes on from the prompt with the reconstruction at that position, beside the baseline and a state that is
    as far off in a random direction. With --feature, what that feature writes stands there alone, at its activation, at
    --scale times that or at --value; or is added to the state, with --add. The control is then a random direction of
    that length.
    """
    which, wanted = _meant(session, path, layer, site, architecture, k), Wanted(**asked)
    wanted.check(action)
    found = yield from session.autoencoder(which)
    value: AutoencoderOpened | StateEncoded | Compared
    if action == "load":
        value = AutoencoderOpened(about=found.about, notes=found.remarks)
    elif action == "encode":
        value = _encoded(session, found, wanted)
    else:
        value = yield from _injected(session, found, wanted)
    session.sae = which
    return value


def _meant(
    session: Session, path: Path | None, layer: int | None, site: str | None, architecture: str | None, k: int | None
) -> Which:
    """The autoencoder that is named, or the one before; of the same one, what was said of it before still holds."""
    before = session.sae
    if path is None and before is None:
        raise UsageError("no autoencoder has been opened", "name one: sae load FOLDER, FILE.safetensors or RELEASE:ID")
    where = "" if path is None else str(path.absolute()) if path.exists() else str(path)
    which = before if before is not None and where in ("", before.path) else Which(where)
    said = {"layer": layer, "site": site, "architecture": architecture, "k": k}
    return structs.replace(which, **{name: each for name, each in said.items() if each is not None})


# ---- states


def _captured(session: Session, found: Autoencoder, position: int) -> Vector:
    """The state at a position of the prompt, at the autoencoder's place."""
    from sessions.patching.transplanting import captured

    return captured(
        session.opened(),
        (session.encoded(), Condition("source", session.in_force)),
        position,
        found.about.layer,
        found.about.site,  # type: ignore[arg-type]
        suppressed=session.under(),
        cancel=session.cancel,
    )


def _saved(session: Session, found: Autoencoder, name: str, force: bool) -> tuple[Vector, tuple[str, ...]]:
    """A saved vector as a state at the autoencoder's place, and remarks."""
    saved, notes = session.saved.read_vector(name, force=force)
    saved.check(session.opened().anatomy)
    about = found.about
    same = {(about.site, about.layer)}  # what leaves a layer enters the next
    same |= {("resid_post", about.layer - 1)} if about.site == "resid_pre" else set()
    same |= {("resid_pre", about.layer + 1)} if about.site == "resid_post" else set()
    layer = next((layer for layer in saved.layers if (saved.site, layer) in same), None)
    if layer is None:
        layers = ", ".join(map(str, saved.layers))
        raise ArtifactError(
            f"vector '{name}' is at {saved.site} of layer {layers}, and the autoencoder is for {about.site} of "
            f"layer {about.layer}",
            f"capture one there: capture NAME --layer {about.layer} --site {about.site}",
        )
    doubt = () if saved.origin else (f"vector '{name}' is no captured state, and autoencoders are trained on states",)
    state = replace(saved, site=about.site, directions={about.layer: saved.directions[layer]})  # type: ignore[arg-type]
    return state, (*notes, *doubt)


def _position(session: Session, wanted: Wanted, notes: list[str]) -> int:
    """The position in the prompt that is meant; what should be said of it is put to the notes."""
    encoded = session.encoded()
    if wanted.at is None and wanted.nth is not None:
        raise UsageError("--nth says which of several, and no word is named", "for example: --at the --nth 2")
    return marked_in(encoded, "-1" if wanted.at is None else wanted.at, wanted.nth, notes)


def _state(session: Session, found: Autoencoder, wanted: Wanted, position: int, notes: list[str]) -> Vector:
    """The state that is meant: a vector's, or that at a position of the prompt."""
    if wanted.vector is not None:
        state, more = _saved(session, found, wanted.vector, wanted.force)
        notes += more
        return state
    if position < max(session.encoded().bos, session.encoded().prefix):
        notes.append(
            f"position {position} begins the text: no other is like it, and few autoencoders are trained on it"
        )
    return _captured(session, found, position)


# ---- encoding


def _encoded(session: Session, found: Autoencoder, wanted: Wanted) -> StateEncoded:
    from sessions.directions.sae import encoding

    notes = [*found.remarks]
    if wanted.feature is not None:
        found.check(wanted.feature)
    if wanted.save is not None:
        refuse_taken(session, wanted.save, wanted.force)
    position = _position(session, wanted, notes) if wanted.vector is None else None
    state = _state(session, found, wanted, position or 0, notes)
    x = state.directions[found.about.layer]
    rows = wanted.rows or session.settings.rows
    return StateEncoded(
        about=found.about,
        encoding=encoding(session.opened(), found, x, rows, wanted.feature),
        position=position,
        token="" if position is None else session.encoded().tokens[position],
        vector=wanted.vector or "",
        feature=wanted.feature,
        saved=wanted.save or "",
        path="" if wanted.save is None else _kept(session, found, wanted, state, wanted.save, position),
        notes=tuple(notes),
    )


def _kept(session: Session, found: Autoencoder, wanted: Wanted, state: Vector, name: str, position: int | None) -> str:
    """Save the reconstruction of a state, or a feature's part of it, as a vector; returns the path of its file."""
    info, layer = session.opened().info, found.about.layer
    x = state.directions[layer]
    said = {"--at": position} if position is not None else {"--vector": wanted.vector}
    if wanted.feature is None:
        made = replace(state, directions={layer: _reconstructed(found, x)})
    else:  # which was the state of no text
        made = replace(state, directions={layer: _part(found, x, wanted)[0]}, origin=None)
    options = {**said, "--feature": wanted.feature, "--save": name}
    path = session.store.save(
        "vector",
        name,
        made,
        model=info.name,
        fingerprint=info.fingerprint,
        command=line_of(["sae", "encode", found.about.source], options),
        force=wanted.force,
    )
    return str(path)


def _reconstructed(found: Autoencoder, x: Tensor) -> Tensor:
    return found.decode(found.encode(x), x)


def _part(found: Autoencoder, x: Tensor, wanted: Wanted) -> tuple[Tensor, float]:
    """What a feature writes at an activation, which is its own in the state unless said otherwise, and that."""
    assert wanted.feature is not None
    found.check(wanted.feature)
    activation = wanted.value
    if activation is None:
        activation = float(found.encode(x)[wanted.feature]) * (1.0 if wanted.scale is None else wanted.scale)
        if activation == 0 and wanted.scale != 0:
            raise UsageError(
                f"feature {wanted.feature} is not active in this state",
                "sae encode lists those that are; sae inject --value 10 takes it at an activation of 10",
            )
    return found.written(wanted.feature, activation, x), activation


# ---- injecting


def _injected(session: Session, found: Autoencoder, wanted: Wanted) -> Steps[Compared]:
    """The baseline, the state that is put there, and one put there at random, side by side."""
    from sessions.comparisons.diverging import divergences
    from sessions.interventions.answering import compare
    from sessions.patching.injecting import Injection, injected, random_like
    from sessions.patching.reaching import reaches

    opened, encoded, about, rng = session.opened(), session.encoded(), found.about, session.settings.rng
    notes = [*found.remarks]
    position = _position(session, wanted, notes)
    x = _state(session, found, wanted, position, notes).directions[about.layer]
    if wanted.feature is None:
        made = _reconstructed(found, x)
        control, names = x + random_like(made - x, rng), ("reconstruction", "as far off")
    else:
        made, activation = _part(found, x, wanted)
        name = f"{'plus ' if wanted.add else ''}feature {wanted.feature} at {activation:.4g}"
        control, names = random_like(made, rng), (name, "random direction")

    def put(vector: Tensor) -> list[Injection]:
        return [Injection(about.layer, about.site, position, vector, adds=wanted.add)]  # type: ignore[arg-type]

    asked = (encoded, Condition("baseline", session.in_force))
    if not reaches(opened, asked, about.layer, about.site, position, session.cancel):  # type: ignore[arg-type]
        notes.append(
            f"nothing after position {position} reads layer {about.layer} there: what is put there is not seen"
        )
    rows = [[], put(made), put(control)]
    conditions = [Condition(name, session.in_force) for name in ("baseline", *names)]
    decoding = decoded(session, max_tokens=wanted.max_tokens)
    with injected(opened.anatomy, rows):
        arms, logits = yield from compare(opened, encoded, conditions, decoding, cancel=session.cancel)
    with injected(opened.anatomy, rows):
        kl = yield from divergences(opened, encoded, conditions, arms[0].ids, cancel=session.cancel)
    arms = tuple(structs.replace(arm, kl=each) for arm, each in zip(arms, kl, strict=True))
    session.reading = Reading(text=arms[1].text, baseline=arms[0].text, logits=logits[1])
    return Compared(
        verb="sae inject",
        selection=names[0],
        neurons=0,
        scope=f"{about.site} of layer {about.layer} at position {position}, {encoded.tokens[position]!r}",
        encoded=encoded,
        target=None,
        arms=arms,
        shifts=shifts(arms[0], arms[1]),
        notes=tuple(notes),
    )
