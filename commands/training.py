"""Rounds of training under suppression: `train-round`, `crab`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import structs

from commands.choices import UNIT
from commands.names import FileName, Name, SavedName
from commands.presets import REGION_LIST
from commands.request import Arg, Constraint, Excludes, Flag, Needs, Opt, Options, Request
from commands.verb import verb
from commands.words import ListWord, ObservedWord, Real, TextWord, Whole, Word, number_in, shortest
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.presets import part
from sessions.model.units import Unit, only_neurons
from sessions.procedures.training import edits_left_out, latest_round, rounds_shown
from sessions.results import RoundsShown, RoundTrained
from sessions.session import Session
from sessions.training.findings import Round, TrainingPlan, mean, together

if TYPE_CHECKING:
    from sessions.edits.edit import Edit
    from sessions.training.round import Rounds
    from sessions.training.training import RoundRequest

FAMILY = "Training"


class WeightsWord(Word):
    """Weights by part of a reply, `conclusions=2,filler=0.5,glue=0.1`; `ones` counts every token alike."""

    name = "weights"
    shape = "PART=X,…"

    def read(self, text: str) -> tuple[tuple[str, float], ...]:
        if text == "ones":
            return ()
        weights = {}
        for word in text.split(","):
            name, equals, number = (piece.strip() for piece in word.partition("="))
            weight = number_in(number)
            if not (name and equals) or not 0 <= weight < float("inf"):
                raise UsageError(f"invalid weight of a part '{word}'", "for example: conclusions=2,filler=0.5,glue=0.1")
            weights[name] = weight
        return tuple(weights.items())

    def said(self, value: Sequence[tuple[str, float]]) -> str:
        return ",".join(f"{name}={shortest(weight)}" for name, weight in value) or "ones"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("conclusions=2,filler=0.5,glue=0.1", "the usual ones"), ("ones", "every token alike")]


class Learning(Options, frozen=True):
    """What is learned of the samples, and how."""

    group = "How it learns"

    rank: Annotated[int, Opt(Whole(1, 1024), "rank of the adapter")] = 8
    alpha: Annotated[int, Opt(Whole(1), "the adapter's scale is alpha / rank")] = 16
    lr: Annotated[float, Opt(Real(1.0), "learning rate at the first step")] = 1e-4
    epochs: Annotated[int, Opt(Whole(), "passes over the samples")] = 4
    batch: Annotated[int, Opt(Whole(), "samples in a step, computed one after the other")] = 1
    modules: Annotated[
        tuple[str, ...] | None, Opt(ListWord(), "projections that get an adapter, by name (default: all there are)")
    ] = None
    weights: Annotated[
        tuple[tuple[str, float], ...] | None,
        Opt(WeightsWord(), "weight of a token, by part: conclusions=2,filler=0.5,glue=0.1; ones for all alike"),
    ] = None
    budget: Annotated[int | None, Opt(Whole(8), "tokens of a prompt at most; a longer one loses its left end")] = None
    thinking: Annotated[bool, Flag("also learn the thought of a sample, before the reply")] = False
    marker: Annotated[
        str | None, Opt(TextWord(), "with --thinking: the text that ends a thought (default: the template's)")
    ] = None
    checkpointing: Annotated[bool, Flag("recompute activations in the backward pass, to save memory")] = False


class Keeping(Options, frozen=True):
    """What is kept of a round, and what it replaces."""

    group = "What is kept"

    top: Annotated[int, Opt(Whole(), "recruits to keep by name")] = 30
    unit: Annotated[
        Literal["neuron", "head", "expert"], Opt(UNIT, "whose gradient is counted: neurons, heads or experts")
    ] = "neuron"
    no_control: Annotated[bool, Flag("leave out the control, a second training with random neurons suppressed")] = False
    force: Annotated[bool, Flag("replace rounds of that name; the earlier ones go to the trash")] = False
    anew: Annotated[bool, Flag("start over, if it was begun and not finished")] = False


class Training(Request, frozen=True, kw_only=True):
    """Samples that are learned while neurons are held at zero."""

    data: Annotated[
        Path, Arg(FileName(".jsonl"), 'a file with a sample a line, or a folder: {"prompt": "…", "reply": "…"}')
    ]
    learning: Learning = Learning()
    keeping: Keeping = Keeping()

    rules: ClassVar[tuple[Constraint, ...]] = (
        Needs(("marker",), "thinking", "--marker says where a thought ends", "give --thinking with it"),
    )

    def job(self, session: Session, neurons: tuple[Unit, ...] = (), begins: str = "") -> RoundRequest:
        """What is to be trained, every word of it checked against the model; what is suppressed is left to the caller.

        Args:
            neurons: those whose own weights are trained; an adapter is where there are none.
            begins: the edit that they begin at.
        """
        from sessions.texts.sample_files import samples_at
        from sessions.training.checkpointing import check_checkpoints
        from sessions.training.projections import check_modules, modules_of
        from sessions.training.samples import lessons_of
        from sessions.training.training import RoundRequest

        opened, how, keeping = session.opened(), self.learning, self.keeping
        lessons = lessons_of(
            opened,
            samples_at(self.data),
            weights=None if how.weights is None else dict(how.weights),
            budget=how.budget,
            thinking=how.thinking,
            marker=how.marker,
        )
        modules = () if neurons else how.modules or modules_of(opened.anatomy)
        if not neurons:
            check_modules(opened.anatomy, modules)
        if how.checkpointing:
            check_checkpoints(opened.model)
        plan = TrainingPlan(
            modules=modules,
            rank=how.rank,
            alpha=how.alpha,
            rate=how.lr,
            epochs=how.epochs,
            batch=how.batch,
            seed=session.settings.rng,
            checkpointing=how.checkpointing,
            neurons=neurons,
            begins=begins,
            unit=keeping.unit,
        )
        typed = structs.replace(
            self,
            learning=structs.replace(how, modules=modules or None),
            keeping=structs.replace(keeping, force=False, anew=False),
        )
        return RoundRequest(
            name="",
            lessons=lessons,
            plan=plan,
            top=keeping.top,
            control=not keeping.no_control,
            command=typed.line(),
            force=keeping.force,
            anew=keeping.anew,
        )


@verb(
    "train-round",
    family=FAMILY,
    synonyms=("finetune", "fine-tune", "fine tune", "train", "training", "sft", "learn"),
    needs=("model",),
    example=(
        "train-round samples.jsonl --epochs 1 --modules down_proj",
        "train-round samples.jsonl --add-recruits 20 --as second",
        "train-round samples.jsonl --neurons top10 --epochs 2",
    ),
)
class TrainRound(Training, frozen=True, kw_only=True):
    """Train an adapter while the suppressed neurons are held at zero, and see which neurons learn.

    Every training starts from the model as it was opened, without edits. Only the reply is learned; texts of it
    that a sample names under parts count by their weight. The gradient that each neuron absorbs is summed; the
    strongest neurons are the round's recruits, which recruits:NAME selects. With --unit head attention heads are
    counted instead, with --unit expert the experts of a mixture. --add-recruits N first suppresses those
    of the latest round. If anything is suppressed, a control is trained with as many random neurons of the same
    layers suppressed instead, to show what the choice of neurons does.

    Losses are weighted. Where weights differ, plain losses, which count every token alike, are shown as well, and
    those of each epoch. The round also keeps how much gradient went to each kind of projection and layer; compare
    round:A round:B compares two rounds.

    With --neurons there is no adapter of low rank: the rows that these neurons read with and the columns they write
    with are trained. The result is saved as an edit of the round's name, for edits load.

    A training that was killed is not lost: the same line continues where it stopped.
    """

    name: Annotated[str | None, Opt(Name(), "what the round is called (default: round-1, round-2, …)", flag="--as")] = (
        None
    )
    add_recruits: Annotated[
        int | None, Opt(Whole(), "first suppress this many of the latest round's recruits; they stay suppressed")
    ] = None
    neurons: Annotated[
        str | None, Opt(ObservedWord(), "train these neurons' own weights and nothing else: top10, L9/N3,L9/N7")
    ] = None
    begins: Annotated[
        str | None, Opt(SavedName("edit"), "with --neurons: begin at this edit, not at the model", flag="--continue")
    ] = None

    rules = (
        *Training.rules,
        Needs(("begins",), "neurons", "--continue is for --neurons", "leave it out, or say which neurons"),
        Excludes("neurons", ("modules",), "--modules is for an adapter of low rank, and --neurons trains none"),
    )

    def run(self, session: Session) -> Steps[RoundTrained]:
        from sessions.training.round import Rounds
        from sessions.training.series import without_recruits
        from sessions.training.training import remarks

        rounds, begins = Rounds(session.store), self.begins or ""
        job = replace(
            structs.replace(self, name=None).job(session, self._alone(session), begins),
            name=self.name or rounds.free("round"),
            suppressed=session.suppressed,
            begins=session.saved.read_edit(begins)[0] if begins else None,
        )
        if self.add_recruits is not None:
            latest = latest_round(session, rounds)
            suppressed = without_recruits(session.suppressed, rounds, latest, self.add_recruits)
            job = replace(job, suppressed=suppressed, after=latest.name)
        if job.plan.neurons:
            session.store.check_new("edit", job.name, job.force or _is_own_edit(session, rounds, job))
        trained = yield from _trained(session, rounds, job)
        session.suppressed = job.suppressed
        return RoundTrained(
            round=trained,
            path=str(rounds.path(trained.name)),
            loss=mean(trained.outcome.final),
            plain_loss=mean(trained.outcome.plain_final),
            notes=(*remarks(trained, job.lessons, len(session.suppressed)), *edits_left_out(session)),
        )

    def _alone(self, session: Session) -> tuple[Unit, ...]:
        """The neurons whose own weights are to be trained; none where an adapter of low rank is."""
        if self.neurons is None:
            return ()
        chosen = together(only_neurons(session.select(self.neurons).neurons, "--neurons"))
        for neuron in chosen:
            session.opened().anatomy.check(*neuron.site)
        return chosen


@verb(
    "crab",
    family=FAMILY,
    synonyms=("train rounds", "repeat training"),
    needs=("model",),
    example=(
        "crab samples.jsonl --rounds 2 --epochs 1 --modules down_proj --no-control",
        "crab samples.jsonl --inventory known --tier verified --as known",
    ),
)
class TrainSeries(Training, frozen=True, kw_only=True):
    """Train, see which neurons learned, suppress them, and train again from the same model.

    The first round suppresses what is suppressed now, and the neurons of the --inventory, limited by --tier and
    --region. Every later round also suppresses the --top strongest recruits of the round before it. All of them
    stay suppressed. rounds NAME shows the trajectory again. A line that was killed continues with the round it was
    in.
    """

    name: Annotated[str, Opt(Name(), "what the rounds are called: NAME-1, NAME-2, …", flag="--as")] = "crab"
    count: Annotated[int, Opt(Whole(2, 99), "how many rounds", flag="--rounds")] = 4
    inventory: Annotated[str | None, Opt(SavedName("preset"), "known neurons to suppress from the first round on")] = (
        None
    )
    tier: Annotated[
        tuple[str, ...] | None, Opt(ListWord(), "only neurons of the inventory of these tiers: verified,general")
    ] = None
    region: Annotated[
        tuple[str, ...] | None, Opt(REGION_LIST, "only neurons of the inventory for these regions: answer,always")
    ] = None

    rules = (
        *Training.rules,
        Needs(("tier", "region"), "inventory", "{some} is for an --inventory, and none is given", "{one} NAME"),
    )

    def run(self, session: Session) -> Steps[RoundsShown]:
        from sessions.training.recruits import check_measured
        from sessions.training.round import Rounds
        from sessions.training.series import Series
        from sessions.training.training import remarks

        rounds = Rounds(session.store)
        check_measured(session.opened().anatomy, self.keeping.unit)
        job, suppressed = self.job(session), session.suppressed
        if self.inventory is not None:
            preset, _ = session.saved.read_preset(self.inventory)
            chosen = part(preset, self.inventory, tiers=self.tier or (), regions=self.region or ())
            suppressed = together(suppressed, tuple(known.neuron for known in chosen.neurons))
        series = Series(rounds, replace(job, suppressed=suppressed), self.name, self.count)
        finished, stale = series.so_far()
        while len(finished) < self.count and not (finished and finished[-1].outcome.stopped):
            following = series.following(finished)
            finished.append((yield from _trained(session, rounds, replace(following, anew=following.anew or stale))))
        session.suppressed = series.following(finished[:-1]).suppressed
        notes = (*remarks(finished[-1], job.lessons, len(session.suppressed)), *edits_left_out(session))
        return rounds_shown(rounds, finished, notes)


def _trained(session: Session, rounds: Rounds, job: RoundRequest) -> Steps[Round]:
    """Train it. What was learned of neurons alone is saved as an edit before the round is: until both are there, the
    same line goes on."""
    from sessions.training.training import train

    own = job.force or _is_own_edit(session, rounds, job)

    def keep(edit: Edit) -> None:
        session.keep_edit(edit, job.name, job.command, force=own)

    with session.pristine():
        return (yield from train(session.opened(), rounds, job, session.cancel, keep))


def _is_own_edit(session: Session, rounds: Rounds, job: RoundRequest) -> bool:
    """Whether there is an edit of the round's name which this same line has saved, before it was killed."""
    from sessions.edits.files import EditFile

    if not rounds.is_begun(job.name) or job.name not in session.store.names("edit"):
        return False
    return _as_said_now(session.store.load("edit", job.name, EditFile)[0].command) == job.command


def _as_said_now(line: str) -> str:
    """A line of training as it is said now: earlier versions said what is at its default too. Empty for any other."""
    from commands.grammar import understood  # which is made of the verbs, this one among them

    call = understood(line)
    return call.request.line() if call is not None and isinstance(call.request, Training) else ""
