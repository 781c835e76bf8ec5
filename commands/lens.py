"""What the model would say after each layer: `lens`, and its parts `components`, `fit`, `show`, `list`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import structs

from commands.choices import ATTENTION, OneOf
from commands.corpus import OfCorpus
from commands.fields import NeuronRows
from commands.names import FileName, SavedName
from commands.ranges import Layers, Positions
from commands.request import Arg, Excludes, Flag, Needs, Opt, Options, Request
from commands.verb import verb
from commands.words import SEEDS, Length, Real, TextWord, TokenWord, Whole
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.procedures.lens import lens_fitted, lens_read, lens_shown, logit_components
from sessions.references import corpus as corpus_of
from sessions.results import LensFitted, LensRead, Listed, LogitComponents
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.lenses.jacobians import Derivative
    from sessions.lenses.tuning import TuningRecipe

FAMILY = "Hidden states"

OF = OneOf(
    "measure",
    {
        "prob": "the probability of the token",
        "rank": "its rank, 1 for the likeliest",
        "entropy": "how undecided the prediction is, in nats",
        "kl": "how far it is from the model's own prediction, KL(model ‖ lens), in nats",
        "top": "the likeliest token and its probability",
    },
)
KIND = OneOf(
    "kind of lens",
    {
        "tuned": "maps trained to predict what the model predicts (tuned lens)",
        "jacobian": "the mean derivative of the last state by the layer's (Jacobian lens)",
        "relevance": "the same in the linearised network of relp (relevance lens)",
    },
)
At = Annotated[str | None, Opt(TextWord(), "a word of the text, or a position (default: the prompt's last)")]
Nth = Annotated[int | None, Opt(Whole(), "which occurrence, where the word occurs several times")]
_NTH = Needs(("nth",), "at", "--nth says which of several, and no word is named", "for example: --at the --nth 2")


@verb(
    "lens read",
    family=FAMILY,
    synonyms=("logit lens", "tuned lens", "jacobian lens", "unembed", "early exit", "layer predictions"),
    needs=("model", "prompt"),
    example=("lens", 'lens --target " Austin" --of rank', "lens --generate 6 --layers 20-29 --of top"),
    default=True,
)
class ReadLens(Request, frozen=True):
    """Read what the model would say after each layer of the prompt.

    The residual stream after a layer goes through the model's own final norm and head, as if that layer were the last
    (logit lens). The table shows one position, layer by layer: the likeliest tokens, probability and rank of the
    target, entropy, and the divergence from the model's own prediction. The map shows one measure at all positions.
    The last layer is the model's own prediction. "embed" is the output of the embeddings, before any layer.

    The target is the circuit's or, without one, each position's likeliest token. With --generate the model answers
    first, and the lens reads its tokens too; each of them is then measured against itself.

    A NAME reads through a lens that lens fit has made: tuned, Jacobian or relevance. Layers that it has no map for are
    left out. At most 256 positions are read at once.
    """

    name: Annotated[str | None, Arg(SavedName("lens"), "a fitted lens to read through (default: the logit lens)")] = (
        None
    )
    target: Annotated[str | None, Opt(TokenWord(), "the token whose probability and rank are shown")] = None
    at: At = None
    nth: Nth = None
    positions: Annotated[tuple[int, int] | None, Opt(Positions(), "positions of the map (default: all)")] = None
    layers: Annotated[tuple[int, int] | None, Opt(Layers(), "layers to read (default: all)")] = None
    measure: Annotated[str, Opt(OF, "what the map shows", flag="--of")] = "prob"
    generate: Annotated[int | None, Opt(Length(), "let the model write up to this many tokens, and read them too")] = (
        None
    )
    force: Annotated[bool, Flag("use a lens of another model")] = False

    rules = (_NTH, Needs(("force",), "name", "--force is for a fitted lens", "name one: lens NAME --force"))

    def run(self, session: Session) -> Steps[LensRead]:
        return (
            yield from lens_read(
                session,
                name=self.name,
                target=self.target,
                at=self.at,
                nth=self.nth,
                positions=self.positions,
                layers=self.layers,
                of=self.measure,
                generate=self.generate,
                force=self.force,
            )
        )


@verb(
    "lens components",
    family=FAMILY,
    synonyms=("dla", "direct logit attribution", "logit attribution", "decompose logit", "residual decomposition"),
    needs=("model", "prompt"),
    example=("lens components", 'lens components --target " Austin" --target-only', 'lens components --vs " Dallas"'),
)
class ShowComponents(Request, frozen=True):
    """Take a logit apart into what each component writes: direct logit attribution.

    The embeddings, every attention and every MLP add to the residual stream. What each adds to the target, through
    the final norm and head alone, sums to the target exactly: the norm's scale is held at its value at that position,
    and biases of norm and head are a part of their own. Attention is also split into its heads.

    The target is the difference to the strongest other token, unless --vs names another or --target-only takes the
    logit alone; without --target it is the circuit's or the likeliest token's. What a component does through later
    layers is not in its part: discover, verify and edges show that.
    """

    reads_only = True

    target: Annotated[
        str | None, Opt(TokenWord(), "the token to explain (default: the circuit's, or the likeliest)")
    ] = None
    vs: Annotated[
        str | None, Opt(TokenWord(), "explain the difference to this token (default: the strongest other)")
    ] = None
    target_only: Annotated[bool, Flag("explain the logit alone, not a difference")] = False
    at: At = None
    nth: Nth = None
    rows: NeuronRows = None

    rules = (Excludes("vs", ("target_only",)), _NTH)

    def run(self, session: Session) -> LogitComponents:
        return logit_components(
            session,
            target=self.target,
            vs=self.vs,
            alone=self.target_only,
            at=self.at,
            nth=self.nth,
            rows=self.rows,
        )


class HowTuned(Options, frozen=True):
    """How a tuned lens is trained."""

    group = "For a tuned lens"

    steps: Annotated[int | None, Opt(Whole(), "training steps (default: 50)")] = None
    batch: Annotated[int | None, Opt(Whole(), "positions in each step (default: 64)")] = None
    rate: Annotated[float | None, Opt(Real(100.0), "learning rate of the first step (default: 1)")] = None
    rng: Annotated[int | None, Opt(Whole(0, SEEDS), "seed of the random numbers (default: 0)")] = None

    def recipe(self) -> TuningRecipe:
        """The recipe, with what is not given as usual."""
        from sessions.lenses.tuning import TuningRecipe

        return TuningRecipe(**{name: value for name, value in structs.asdict(self).items() if value is not None})


class HowDerived(Options, frozen=True):
    """Which derivative is averaged."""

    group = "For a Jacobian or a relevance lens"

    skip: Annotated[int | None, Opt(Whole(), "positions at the start of each text to leave out (default: 16)")] = None
    attention: Annotated[
        str | None, Opt(ATTENTION, "of a relevance lens: the rule for attention (default: the setting attention)")
    ] = None

    def derivative(self, session: Session, kind: str) -> Derivative:
        """The derivative of a kind of lens."""
        from sessions.lenses.jacobians import SKIPPED, Derivative

        attention = self.attention or session.settings.attention
        return Derivative(kind == "relevance", attention, self.skip or SKIPPED)  # type: ignore[arg-type]


@verb(
    "lens fit",
    family=FAMILY,
    synonyms=("train lens", "fit lens", "train tuned lens"),
    needs=("model",),
    example=(
        "lens fit mine --layers 27-28 --docs 4 --steps 2",
        "lens fit means-of-j --kind jacobian --layers 28 --docs 2 --length 24",
    ),
)
class FitLens(Request, frozen=True):
    """Fit a lens on texts, and save it under a name.

    tuned trains an affine map for each layer, so that its states predict what the model predicts: the paper's recipe,
    with fewer tokens (50 steps of 64 positions). More steps and larger ones make it better: --steps 250 --batch 4096 on
    a GPU. jacobian takes the mean derivative of the last layer's state by each layer's, and relevance the same in the
    network that relp makes linear; both take a backward pass for each of d_model dimensions and text.

    Every tenth text is held out, and the divergence from the model's own prediction there is measured, without the
    lens and with it. Suppression and edits are in force meanwhile. A lens belongs to its model.
    """

    name: Annotated[str, Arg(SavedName("lens"), "the name to save it under")]
    kind: Annotated[str, Opt(KIND, "what is fitted")] = "tuned"
    prompts: Annotated[Path | None, Opt(FileName(), "fit it on a file of prompts")] = None
    raw: Annotated[bool, Flag("with --prompts: read them without the chat template")] = False
    read: OfCorpus = OfCorpus()
    layers: Annotated[tuple[int, int] | None, Opt(Layers(), "layers to fit (default: all, and the embeddings)")] = None
    tuning: HowTuned = HowTuned()
    derived: HowDerived = HowDerived()
    force: Annotated[bool, Flag("replace a lens of that name")] = False

    rules = (
        Excludes(
            "prompts", ("corpus", "length", "docs"), "{other} is for a corpus, and --prompts names a file of prompts"
        ),
        Needs(("raw",), "prompts", "--raw is for --prompts: a corpus is read as it stands", "leave it out"),
    )

    def run(self, session: Session) -> Steps[LensFitted]:
        self._check()
        session.opened()
        session.store.check_new("lens", self.name, self.force)
        recipe = self.tuning.recipe() if self.kind == "tuned" else self.derived.derivative(session, self.kind)
        if self.prompts is None:
            texts, over = yield from self.read.ids(session)
        else:
            texts, over = corpus_of(session, self.prompts, self.raw)
        return (
            yield from lens_fitted(
                session,
                name=self.name,
                kind=self.kind,
                texts=texts,
                over=over,
                layers=self.layers,
                recipe=recipe,
                command=structs.replace(self, force=False).line(),
                force=self.force,
            )
        )

    def _check(self) -> None:
        """Raise `UsageError` for an option of another kind of lens."""
        others = ("skip", "attention") if self.kind == "tuned" else ("steps", "batch", "rate", "rng")
        wrong = next((name for name in others if self.gives(name)), None)
        if self.kind == "jacobian" and wrong is None and self.gives("attention"):
            wrong = "attention"
        if wrong is not None:
            raise UsageError(f"--{wrong} does not go with --kind {self.kind}", "leave it out, or choose another --kind")


@verb("lens show", family=FAMILY, synonyms=("show lens",), example="lens show mine")
class ShowLens(Request, frozen=True):
    """Show how a saved lens was fitted, and how far its predictions are from the model's own."""

    reads_only = True

    name: Annotated[str, Arg(SavedName("lens"), "the name it was saved under")]
    force: Annotated[bool, Flag("show it even if it was fitted on another model")] = False

    def run(self, session: Session) -> LensFitted:
        return lens_shown(session, name=self.name, force=self.force)


@verb("lens list", family=FAMILY, synonyms=("lenses",), example="lens list")
class ListLenses(Request, frozen=True):
    """List the lenses that are saved."""

    reads_only = True

    def run(self, session: Session) -> Listed:
        return Listed(rows=tuple(session.store.rows("lens")))
