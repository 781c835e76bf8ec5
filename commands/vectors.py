"""Directions made from prompts, and what is like what: `vector`, `compare`."""

from __future__ import annotations

from typing import Annotated

from msgspec import structs

from commands.choices import SITE
from commands.names import ArtifactName, Prompts, RoundName, SavedName
from commands.ranges import Layers
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import Whole
from sessions.artifacts import Key
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.procedures.circuits import range_of
from sessions.procedures.comparing import CURRENT, circuit_and_vector, two_circuits, two_rounds, two_vectors
from sessions.procedures.vectors import taken_apart, vector_shown
from sessions.results import CircuitHeldAgainst, CircuitsCompared, RoundsCompared, VectorsCompared, VectorShown
from sessions.session import Session
from sessions.texts.prompt_sources import prompts_of

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


@verb(
    "vector",
    family=FAMILY,
    synonyms=("control vector", "steering vector", "direction", "steer", "caa", "repe", "difference of means"),
    needs=("model",),
    example=(
        'vector joy "I feel wonderful" "I feel terrible" --layers 9-20',
        'vector calm "I am calm" "I am angry" --site mlp_out',
        "vector joy",
    ),
)
class MakeVector(Request, frozen=True):
    """Make a control vector from two sets of prompts and save it; with a name alone, show it.

    At each layer it is the mean over the positive prompts minus the mean over the negative ones, at the last token:
    of the residual stream, of what the MLP adds to it, or of the layer's neurons. Files hold one prompt a line, as
    text or as JSON, {"prompt": "…", "seed": "…"}; the two sides may differ in size.

    The result shows its norm, its cosine with the layer below, the neurons of the layer most along it, how much of
    it the best few of them make up (and of a random direction), and the tokens it pushes.
    """

    name: Annotated[str, Arg(SavedName("vector"), "the name to save it under; alone, the vector to show")]
    positive: Annotated[str | None, Arg(Prompts(), "a file of prompts, or one prompt: what it points towards")] = None
    negative: Annotated[str | None, Arg(Prompts(), "the same: what it points away from")] = None
    site: Annotated[str | None, Opt(SITE, "where: resid_post (the default), mlp_out or neurons")] = None
    layers: Annotated[tuple[int, int] | None, Opt(Layers(), "only these layers: 9-26")] = None
    raw: Annotated[bool, Flag("read the prompts without the chat template")] = False
    force: Annotated[bool, Flag("replace a vector of that name; show one of another model")] = False

    def run(self, session: Session) -> Steps[VectorShown]:
        if self.positive is None or self.negative is None:
            if self.positive is not None:
                raise UsageError(
                    "the negative prompts are missing: a vector is a difference",
                    f"vector {self.name} POSITIVE NEGATIVE",
                )
            if self.site is not None or self.raw:
                raise UsageError(
                    f"{'--raw' if self.site is None else '--site'} is for making a vector, which needs prompts",
                    f'for example: vector {self.name} "I feel wonderful" "I feel terrible"',
                )
            return (yield from vector_shown(session, self.name, self.layers, self.force))
        return (yield from self._made(session, (self.positive, self.negative)))

    def _made(self, session: Session, sides: tuple[str, str]) -> Steps[VectorShown]:
        from sessions.directions.control import difference_of_means

        opened, chosen, name = session.opened(), range_of(session, self.layers), self.name
        session.store.check_new("vector", name, self.force)
        texts = [[session.read(record.to_read()).ids for record in prompts_of(word, self.raw)] for word in sides]
        made = yield from difference_of_means(
            opened,
            *texts,
            site=self.site or "resid_post",  # type: ignore[arg-type]
            layers=chosen,
            cancel=session.cancel,
        )
        result = yield from taken_apart(session, made.named(name, made.model, made.fingerprint), made.layers)
        line = structs.replace(self, site=made.site, force=False).line()
        path = session.keep(Key("vector", name), made, line, force=self.force)
        return structs.replace(result, path=str(path))


@verb(
    "compare",
    family=FAMILY,
    synonyms=("similarity", "overlap", "cosine", "diff"),
    example=("compare texas current", "compare vector:calm vector:joy", "compare round:crab-1 round:crab-2"),
)
class CompareCircuits(Request, frozen=True):
    """Compare two circuits, two vectors, a circuit and a vector, or two rounds of training.

    Two circuits: the neurons they share, among all and among the strongest, with and without positions, and whether
    they rank these alike. Two vectors: their cosine at each layer. A circuit and a vector: how much of the vector
    lies in the span of the circuit's neurons, beside random circuits of the same size; and which of the 50 neurons
    most along the vector are among the circuit's strongest 50, beside how many would be by chance. --top N takes N
    instead of 50. Two rounds: their losses, where their gradient went by projection and layer, and the recruits
    they share.
    """

    first: Annotated[Key, Arg(_COMPARED, "a circuit's name, or vector:NAME, or current, or round:NAME", "NAME")]
    second: Annotated[Key, Arg(_COMPARED, "the same (default: the current circuit)", "[NAME]")] = Key(CURRENT, "")
    top: Annotated[
        int | None, Opt(Whole(), "how many of the strongest to compare (default: 50; for two circuits 10, 50 and 100)")
    ] = None
    force: Annotated[bool, Flag("even if they were made on different models")] = False

    def run(self, session: Session) -> Steps[CircuitsCompared | CircuitHeldAgainst | VectorsCompared | RoundsCompared]:
        rounds = [key for key in (self.first, self.second) if key.kind == "round"]
        if rounds and self.top is not None:
            raise UsageError("--top is for circuits, and these are rounds", "leave it out")
        if len(rounds) == 2:
            return two_rounds(session, self.first.name, self.second.name, self.force)
        if rounds:
            raise UsageError("a round is compared with another round", f"name both: compare {rounds[0]} round:OTHER")
        vectors = [key for key in (self.first, self.second) if key.kind == "vector"]
        circuits = [key for key in (self.first, self.second) if key.kind != "vector"]
        if len(vectors) == 2:
            if self.top is not None:
                raise UsageError("--top is for circuits, and both are vectors", "leave it out")
            return two_vectors(session, self.first, self.second, self.force)
        if len(circuits) == 2:
            return two_circuits(session, self.first, self.second, self.top, self.force)
        return (yield from circuit_and_vector(session, circuits[0], vectors[0], self.top or STRONGEST, self.force))
