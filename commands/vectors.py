"""Directions made from prompts, and what is like what: `vector`, `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from commands.choices import SITE
from commands.circuits import range_of
from commands.names import CURRENT, ArtifactName, Prompts, SavedName
from commands.ranges import Layers
from commands.reading import prompts_of
from commands.rounds import RoundName
from commands.verb import argument, option, verb
from commands.words import Whole
from sessions.circuits.circuit import Circuit
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.lines import line_of
from sessions.model.info import same_model
from sessions.results import CircuitHeldAgainst, CircuitsCompared, RoundsCompared, VectorsCompared, VectorShown
from sessions.session import Session
from sessions.store import Key

if TYPE_CHECKING:
    from sessions.vectors.vector import Vector

FAMILY = "Circuits"

#: Neurons of a circuit and of a vector that are held against each other.
STRONGEST = 50


class ComparedName(ArtifactName):
    """What can be compared: a circuit, the current one, a vector, or a round of training, `round:NAME`."""

    def __init__(self) -> None:
        super().__init__(current=True, kinds=("circuit", "vector"))

    def read(self, text: str) -> Key:
        kind, colon, name = text.partition(":")
        return Key("round", RoundName().read(name)) if colon and kind == "round" else super().read(text)

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        rounds = RoundName().completions(session, incomplete)
        return [*super().completions(session, incomplete), *((f"round:{name}", what) for name, what in rounds)]


_COMPARED = ComparedName()


@verb("vector", family=FAMILY, example='vector joy "I feel wonderful" "I feel terrible" --layers 9-20')
@argument("name", help="the name to save it under, or, alone, of the vector to show", type=SavedName("vector"))
@argument("positive", help="a file of prompts, or one prompt: what it points to", type=Prompts(), required=False)
@argument("negative", help="the same: what it points away from", type=Prompts(), required=False)
@option("--site", type=SITE, help="where: resid_post (the default), mlp_out or neurons")
@option("--layers", type=Layers(), help="only these layers: 9-26")
@option("--raw", is_flag=True, help="read the prompts without the chat template")
@option("--force", is_flag=True, help="replace what has that name; show it even if it was made on another model")
def vector(
    session: Session,
    name: str,
    positive: str | None,
    negative: str | None,
    site: str | None,
    layers: tuple[int, int] | None,
    raw: bool,
    force: bool,
) -> Steps[VectorShown]:
    """Make a control vector from two sets of prompts and save it; with a name alone, show it.

    At each layer it is the mean over the positive prompts minus the mean over the negative ones, at the last
    token: of the residual stream, of what the MLP adds to it, or of the layer's neurons. Files hold a prompt a
    line, as text or as JSON, {"prompt": "…", "seed": "…"}; the sides need not be of one size.

    Shown are its norm, its cosine with the layer below, the neurons of the layer that lie along it, how much of
    it the best few of them make up (and of a random direction), and the tokens it pushes.
    """
    if positive is None or negative is None:
        if positive is not None:
            raise UsageError(
                "a vector is a difference: there are positive prompts and no negative ones",
                f"vector {name} POSITIVE NEGATIVE",
            )
        if site is not None or raw:
            raise UsageError(
                f"{'--raw' if site is None else '--site'} is for making a vector, and there are no prompts",
                f'for example: vector {name} "I feel wonderful" "I feel terrible"',
            )
        return (yield from _shown(session, name, layers, force))
    return (yield from _made(session, name, (positive, negative), site or "resid_post", layers, raw, force))


def _shown(session: Session, name: str, layers: tuple[int, int] | None, force: bool) -> Steps[VectorShown]:
    found, notes = session.read_vector(name, force=force)
    first, last = layers or (0, max(found.layers))
    chosen = [layer for layer in found.layers if first <= layer <= last]
    if not chosen:
        raise UsageError(
            f"vector '{name}' has no direction in the layers {first}-{last}",
            f"it has layers {found.layers[0]} to {found.layers[-1]}",
        )
    return (yield from taken_apart(session, found, chosen, notes))


def _made(
    session: Session,
    name: str,
    words: tuple[str, str],
    site: str,
    layers: tuple[int, int] | None,
    raw: bool,
    force: bool,
) -> Steps[VectorShown]:
    from sessions.vectors.control import difference_of_means

    opened = session.opened()
    chosen = range_of(session, layers)
    refuse_taken(session, name, force)
    positive, negative = ([session.read(each.to_read()).ids for each in prompts_of(word, raw)] for word in words)
    made = yield from difference_of_means(
        opened,
        positive,
        negative,
        site=site,  # type: ignore[arg-type]
        layers=chosen,
        cancel=session.cancel,
    )
    result = yield from taken_apart(session, made.named(name, made.model, made.fingerprint), made.layers)
    options = {"--site": site, "--layers": f"{layers[0]}-{layers[1]}" if layers else None, "--raw": raw}
    path = session.store.save(
        "vector",
        name,
        made,
        model=made.model,
        fingerprint=made.fingerprint,
        command=line_of(["vector", name, *words], options),
        force=force,
    )
    return structs.replace(result, path=str(path))


def refuse_taken(session: Session, name: str, force: bool) -> None:
    """Raise `ArtifactError` where a vector has that name, before anything is computed for another."""
    if not force and name in session.store.names("vector"):
        raise ArtifactError(f"vector '{name}' exists already", "replace it with --force, or choose another name")


def taken_apart(
    session: Session, found: Vector, layers: Sequence[int], notes: tuple[str, ...] = ()
) -> Steps[VectorShown]:
    """A vector, decomposed at some of its layers."""
    from sessions.vectors.decomposing import decomposed

    directions = yield from decomposed(session.opened(), found, layers, cancel=session.cancel)
    return VectorShown(
        name=found.name,
        site=found.site,
        model=found.model,
        prompts=(found.positives, found.negatives),
        directions=directions,
        origin=found.origin,
        notes=notes,
    )


@verb("compare", family=FAMILY, example="compare texas current")
@argument("first", help="a circuit's name, or vector:NAME, or current, or round:NAME", type=_COMPARED)
@argument("second", help="the same (default: the current circuit)", type=_COMPARED, default=CURRENT)
@option(
    "--top", type=Whole(), help="how many of the strongest are held against each other (default: 50, or 10, 50, 100)"
)
@option("--force", is_flag=True, help="even if they were made on different models")
def compare(
    session: Session, first: Key, second: Key, top: int | None, force: bool
) -> Steps[CircuitsCompared | CircuitHeldAgainst | VectorsCompared | RoundsCompared]:
    """Compare two circuits, two vectors, a circuit and a vector, or two rounds of training.

    Two circuits: the neurons they share, among all and among the strongest, with positions and wherever they fire,
    and whether they rank these alike. Two vectors: their cosine at each layer. A circuit and a vector: how much of
    the vector lies in what the circuit's neurons can write, beside random circuits of the same size; and which of the
    50 neurons whose columns lie most along the vector are among the circuit's strongest 50, beside how many would be
    by chance. --top N takes N instead of 50. Two rounds: their losses, where their gradient went by projection and
    layer, and the recruits they share.
    """
    rounds = [key for key in (first, second) if key.kind == "round"]
    if rounds and top is not None:
        raise UsageError("--top is for circuits, and these are rounds", "leave it out")
    if len(rounds) == 2:
        return _two_rounds(session, first.name, second.name, force)
    if rounds:
        raise UsageError("a round is compared with another round", f"name both: compare {rounds[0]} round:OTHER")
    vectors = [key for key in (first, second) if key.kind == "vector"]
    circuits = [key for key in (first, second) if key.kind != "vector"]
    if len(vectors) == 2:
        if top is not None:
            raise UsageError("--top is for circuits, and both are vectors", "leave it out")
        return _two_vectors(session, first, second, force)
    if len(circuits) == 2:
        return _two_circuits(session, first, second, top, force)
    return (yield from _one_of_each(session, circuits[0], vectors[0], top or STRONGEST, force))


def _two_circuits(session: Session, first: Key, second: Key, top: int | None, force: bool) -> CircuitsCompared:
    from sessions.circuits.comparing import compared

    ours, theirs = _circuit(session, first), _circuit(session, second)
    notes = _of_one_model(first, ours, second, theirs, force)
    return CircuitsCompared(names=(str(first), str(second)), comparison=compared(ours, theirs, top), notes=notes)


def _two_vectors(session: Session, first: Key, second: Key, force: bool) -> VectorsCompared:
    from sessions.vectors.against import beside

    ours, theirs = (session.read_vector(key.name, force=True)[0] for key in (first, second))
    notes = _of_one_model(first, ours, second, theirs, force)
    names, sites = (first.name, second.name), (ours.site, theirs.site)
    return VectorsCompared(names=names, sites=sites, layers=beside(ours, theirs), notes=notes)


def _two_rounds(session: Session, first: str, second: str, force: bool) -> RoundsCompared:
    from sessions.training.comparing import compared
    from sessions.training.round import Rounds

    shelf = Rounds(session.store)
    ours, theirs = shelf.load(first), shelf.load(second)
    alike, notes = same_model(ours.fingerprint, theirs.fingerprint), []
    if not alike:
        said = f"round '{first}' was trained on {ours.model} and '{second}' on {theirs.model}"
        if not force:
            raise ArtifactError(said, "compare them all the same with --force")
        notes.append(said)
    if ours.samples != theirs.samples:
        notes.append("they were trained on other samples: only the means of their losses stand side by side")
    elif ours.data != theirs.data:
        notes.append("their samples have the same names, and other tokens or weights")
    if bool(ours.outcome.gradient) != bool(theirs.outcome.gradient):
        notes.append(f"round '{second if ours.outcome.gradient else first}' does not have its gradient by projection")
    found = shelf.recruits(first)
    measured = sum(len(row) for row in found.scores[found.usual].values()) if alike and found.scores else None
    return RoundsCompared(names=(first, second), comparison=compared(ours, theirs, measured), notes=tuple(notes))


def _one_of_each(session: Session, circuit: Key, vector: Key, top: int, force: bool) -> Steps[CircuitHeldAgainst]:
    from sessions.circuits.comparing import attribution_by_neuron
    from sessions.vectors.against import held_against, overlap

    opened = session.opened()
    ours = session.found() if circuit.kind == CURRENT else session.read_circuit(circuit.name, force=force)[0]
    theirs, notes = session.read_vector(vector.name, force=force)
    spans, ranks = yield from held_against(opened.anatomy, ours, theirs, session.cancel)
    shared = yield from overlap(opened.anatomy, ours, theirs, top, session.cancel)
    return CircuitHeldAgainst(
        circuit=str(circuit),
        size=len(attribution_by_neuron(ours)),
        vector=vector.name,
        site=theirs.site,
        spans=spans,
        ranks=ranks,
        overlap=shared,
        notes=notes,
    )


def _circuit(session: Session, key: Key) -> Circuit:
    """A circuit, whatever model it was made on."""
    return session.found() if key.kind == CURRENT else session.read_circuit(key.name, force=True)[0]


def _of_one_model(
    first: Key, ours: Circuit | Vector, second: Key, theirs: Circuit | Vector, force: bool
) -> tuple[str, ...]:
    """A remark where two things were made on different models and are compared all the same."""
    if ours.fingerprint == theirs.fingerprint or not (ours.fingerprint and theirs.fingerprint):
        return ()
    said = f"{first} was made on {ours.model} and {second} on {theirs.model}"
    if ours.model == theirs.model:
        said += f" with other weights ({ours.fingerprint[:12]}, {theirs.fingerprint[:12]})"
    if force:
        return (said,)
    raise ArtifactError(said, "compare them all the same with --force")
