"""Rounds of training under suppression: `train-round`, `crab`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.names import FileName, Name, SavedName
from commands.presets import REGION_LIST
from commands.verb import Function, argument, option, verb
from commands.weights import WeightsWord, spelt
from commands.words import Listed, Observed, Real, Text, Whole
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.events import Steps
from sessions.interventions.presets import part
from sessions.lines import line_of, with_options
from sessions.model.units import Neuron
from sessions.results import RoundsShown, RoundTrained
from sessions.session import Session
from sessions.texts.sample_files import samples_at
from sessions.training.findings import Plan, Round, mean

if TYPE_CHECKING:
    from sessions.edits.edit import Edit
    from sessions.training.round import Rounds
    from sessions.training.samples import Lesson
    from sessions.training.training import Job

FAMILY = "Training"


_OPTIONS = (
    argument(
        "data", help='a file with a sample a line, or a folder: {"prompt": "…", "reply": "…"}', type=FileName(".jsonl")
    ),
    option("--rank", type=Whole(1, 1024), default=8, help="rank of the adapter"),
    option("--alpha", type=Whole(1), default=16, help="its scale is alpha / rank"),
    option("--lr", type=Real(1.0), default=1e-4, help="learning rate at the first step"),
    option("--epochs", type=Whole(), default=4, help="how often every sample is met"),
    option("--batch", type=Whole(), default=1, help="samples a step, one after the other"),
    option("--modules", type=Listed(), help="projections that get an adapter, by name (default: all there are)"),
    option("--weights", type=WeightsWord(), help="what tokens count by part: conclusions=2,filler=0.5,glue=0.1; ones"),
    option("--budget", type=Whole(8), help="tokens of a prompt at most; a longer one loses its left end"),
    option("--thinking", is_flag=True, help="learn the thought of a sample too, before the reply"),
    option("--marker", type=Text(), help="of --thinking: the text that ends a thought (default: the template's)"),
    option("--top", type=Whole(), default=30, help="recruits that are kept by name"),
    option("--no-control", is_flag=True, help="without the second training, under as many random neurons"),
    option("--checkpointing", is_flag=True, help="compute activations again on the way back, to save memory"),
    option("--force", is_flag=True, help="replace rounds of that name; the earlier ones go to the trash"),
    option("--anew", is_flag=True, help="begin again, if it was begun and not finished"),
)


def _options(*own: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """What every training takes, with the verb's own options before it."""

    def decorate(function: Function) -> Function:
        for each in reversed((_OPTIONS[0], *own, *_OPTIONS[1:])):
            function = each(function)
        return function

    return decorate


@dataclass(frozen=True)
class Course:
    """What a line asks to be trained: the job but for its name and what is suppressed."""

    job: Job
    lessons: tuple[Lesson, ...]


@verb("train-round", family=FAMILY, example="train-round samples.jsonl --epochs 1 --modules down_proj")
@_options(
    option("--as", "name", type=Name(), help="what the round is called (default: round-1, round-2, …)"),
    option("--add-recruits", type=Whole(), help="suppress so many of the latest round's recruits first, to stay"),
    option("--neurons", type=Observed(), help="train these neurons' own weights and nothing else: top10, L9/N3,L9/N7"),
    option("--continue", "begins", type=SavedName("edit"), help="of --neurons: begin at this edit, not at the model"),
)
def train_round(
    session: Session,
    name: str | None,
    add_recruits: int | None,
    neurons: str | None,
    begins: str | None,
    **asked: Any,
) -> Steps[RoundTrained]:
    """Train an adapter while the suppressed neurons are held at zero, and see which neurons learn.

    Training starts from the model as it was opened, edits left out, every time. Only the reply is learned; texts of
    it that a sample names under parts count by their weight. For each neuron the gradient that it absorbed is summed:
    the strongest are the round's recruits, which recruits:NAME selects everywhere. With --add-recruits N, those of the
    latest round are suppressed first. Where anything is suppressed, the same is trained once more with as many random
    neurons of the same layers suppressed instead, to tell what the choice of neurons does.

    Losses are weighted; where the weights differ, the plain ones, which count every token alike, are shown as well, and
    those that each epoch met. The round also keeps how much gradient went to each kind of projection and layer;
    compare round:A round:B holds it against another's.

    With --neurons there is no adapter of low rank: the rows that these neurons read with and the columns they write
    with are trained, and what was learned is saved as an edit of the round's name, for edits load.

    What was trained when it was killed is not lost: the same line goes on.
    """
    from sessions.training.round import Rounds

    rounds = Rounds(session.store)
    course = _course(session, "train-round", asked, _alone(session, neurons, begins, asked), begins or "")
    suppressed, after = session.suppressed, ""
    if add_recruits is not None:
        latest = _latest(session, rounds)
        suppressed, after = without(session.suppressed, rounds, latest, add_recruits), latest.name
    said = {"--add-recruits": add_recruits, "--neurons": neurons or None, "--continue": begins or None}
    job = replace(
        course.job,
        name=name or rounds.free("round"),
        suppressed=suppressed,
        after=after,
        begins=session.saved.read_edit(begins)[0] if begins else None,
        command=with_options(course.job.command, said),
    )
    taken = neurons and job.name in session.store.names("edit")
    if taken and not (job.force or _is_own_edit(session, rounds, job)):
        raise ArtifactError(f"edit '{job.name}' exists already", "replace it with --force, or choose another name")
    found = yield from _trained(session, rounds, job)
    session.suppressed = job.suppressed
    return RoundTrained(
        round=found,
        path=str(rounds.path(found.name)),
        loss=mean(found.outcome.final),
        plain_loss=mean(found.outcome.plain_final),
        notes=tuple(_remarks(session, found, course.lessons)),
    )


def _alone(session: Session, neurons: str | None, begins: str | None, asked: dict[str, Any]) -> tuple[Neuron, ...]:
    """The neurons whose own weights are to be trained; none where an adapter of low rank is."""
    if neurons is None:
        if begins is not None:
            raise UsageError("--continue is for --neurons", "leave it out, or say which neurons")
        return ()
    if asked["modules"] is not None:
        raise UsageError("--modules is for an adapter of low rank, and --neurons trains none", "leave one of them out")
    chosen = _joined(session.select(neurons).neurons)
    for neuron in chosen:
        session.opened().anatomy.check(*neuron.site)
    return chosen


@verb("crab", family=FAMILY, example="crab samples.jsonl --rounds 2 --epochs 1 --modules down_proj --no-control")
@_options(
    option("--as", "name", type=Name(), default="crab", help="what the rounds are called: NAME-1, NAME-2, …"),
    option("--rounds", "count", type=Whole(2, 99), default=4, help="how many"),
    option("--inventory", type=SavedName("preset"), help="known neurons to suppress from the first round on"),
    option("--tier", type=Listed(), help="of the inventory, only neurons of these tiers: verified,general"),
    option("--region", type=REGION_LIST, help="of the inventory, only neurons for these regions: answer,always"),
)
def crab(
    session: Session,
    name: str,
    count: int,
    inventory: str | None,
    tier: tuple[str, ...] | None,
    region: tuple[str, ...] | None,
    **asked: Any,
) -> Steps[RoundsShown]:
    """Train, see who learned, forbid them, train again: round after round from the same model.

    The first round suppresses what is suppressed now, and the neurons of the --inventory, or those of them that --tier
    and --region leave; every later one also the --top strongest recruits of the round before it. All of them stay
    suppressed. rounds NAME shows the trajectory again. A line that was killed goes on with the round it was in.
    """
    from commands.rounds import shown
    from sessions.training.round import Rounds

    rounds = Rounds(session.store)
    _check_measured(session)
    course = _course(session, "crab", asked)
    suppressed = session.suppressed
    if inventory is not None:
        preset, _ = session.saved.read_preset(inventory)
        chosen = part(preset, inventory, tiers=tier or (), regions=region or ())
        suppressed = _joined(suppressed, tuple(known.neuron for known in chosen.neurons))
    elif tier or region:
        raise UsageError("--tier and --region are of the --inventory, and none is given", "name it: --inventory NAME")
    said = {
        "--as": name,
        "--rounds": count,
        "--inventory": inventory or None,
        "--tier": ",".join(tier or ()) or None,
        "--region": ",".join(region or ()) or None,
    }
    first = replace(course.job, suppressed=suppressed, command=with_options(course.job.command, said))
    found, stale = _so_far(rounds, first, name, count)
    while len(found) < count and not (found and found[-1].outcome.stopped):
        job = _next(rounds, first, name, found)
        found.append((yield from _trained(session, rounds, replace(job, anew=job.anew or stale))))
    session.suppressed = _next(rounds, first, name, found[:-1]).suppressed
    return shown(rounds, found, notes=tuple(_remarks(session, found[-1], course.lessons)))


def _check_measured(session: Session) -> None:
    """Refuse a model none of whose neurons can be recruits."""
    from sessions.model.parts import DenseSite

    sites = [site for layer in session.opened().anatomy.layers for site in layer.sites]
    if not any(isinstance(site, DenseSite) for site in sites):
        raise ModelError(
            "all neurons of this model are those of experts, and what these learn is not measured",
            "train-round trains an adapter all the same",
        )


def _next(rounds: Rounds, first: Job, name: str, found: Sequence[Round]) -> Job:
    """The round of a series that comes after those there are: without their recruits."""
    job = replace(first, name=f"{name}-{len(found) + 1}")
    if not found:
        return job
    return replace(job, suppressed=without(first.suppressed, rounds, found[-1], first.top), after=found[-1].name)


def _so_far(rounds: Rounds, first: Job, name: str, count: int) -> tuple[list[Round], bool]:
    """The rounds of a series that have been trained already just so: one that was killed goes on behind them. With
    --force these are only those before one that was begun; otherwise all are trained anew.

    The flag says that some later round was begun in another series, and is to be forgotten.

    Raises:
        ArtifactError: there are rounds of that name of another training, and they are not to be replaced.
    """
    begun = max((each for each in range(1, count + 1) if rounds.is_begun(f"{name}-{each}")), default=0)
    last = count if not first.force else 0 if first.anew else begun - 1
    found: list[Round] = []
    while len(found) < last:
        done = _done(rounds, _next(rounds, first, name, found))
        if done is None:
            break
        found.append(done)
        if done.outcome.stopped:
            break
    stale = begun > len(found) + 1
    if stale and not (first.force or first.anew):
        raise ArtifactError(
            f"round '{name}-{begun}' was begun in another series and not finished",
            "choose another name with --as, or begin again with --anew",
        )
    return found, stale


def _course(
    session: Session, verb_name: str, asked: dict[str, Any], neurons: tuple[Neuron, ...] = (), begins: str = ""
) -> Course:
    """What is to be learned and how, every word of it checked against the model."""
    from sessions.training.checkpointing import check_checkpoints
    from sessions.training.projections import check_modules, modules_of
    from sessions.training.samples import lessons_of
    from sessions.training.training import Job

    opened, data = session.opened(), asked["data"]
    samples = samples_at(data.expanduser())
    weights = None if asked["weights"] is None else dict(asked["weights"])
    lessons = lessons_of(
        opened,
        samples,
        weights=weights,
        budget=asked["budget"],
        thinking=asked["thinking"],
        marker=asked["marker"],
    )
    modules = () if neurons else asked["modules"] or modules_of(opened.anatomy)
    if not neurons:
        check_modules(opened.anatomy, modules)
    if asked["checkpointing"]:
        check_checkpoints(opened.model)
    plan = Plan(
        modules=tuple(modules),
        rank=asked["rank"],
        alpha=asked["alpha"],
        rate=asked["lr"],
        epochs=asked["epochs"],
        batch=asked["batch"],
        seed=session.settings.rng,
        checkpointing=asked["checkpointing"],
        neurons=neurons,
        begins=begins,
    )
    job = Job(
        name="",
        lessons=lessons,
        plan=plan,
        top=asked["top"],
        control=not asked["no_control"],
        command=_line(verb_name, data, plan, asked),
        force=asked["force"],
        anew=asked["anew"],
    )
    return Course(job, lessons)


def _trained(session: Session, rounds: Rounds, job: Job) -> Steps[Round]:
    """Train it. What was learned of neurons alone is saved as an edit before the round is: until both are there, the
    same line goes on."""
    from sessions.training.training import train

    own = job.force or _is_own_edit(session, rounds, job)

    def keep(edit: Edit) -> None:
        session.keep_edit(edit, job.name, job.command, force=own)

    with session.pristine():
        return (yield from train(session.opened(), rounds, job, session.cancel, keep))


def _is_own_edit(session: Session, rounds: Rounds, job: Job) -> bool:
    """Whether there is an edit of the round's name which this same line has saved, before it was killed."""
    from sessions.edits.files import EditFile

    if not rounds.is_begun(job.name) or job.name not in session.store.names("edit"):
        return False
    return session.store.load("edit", job.name, EditFile)[0].command == job.command


def _done(rounds: Rounds, job: Job) -> Round | None:
    """The round, where it has been trained already just so; None where it is to be trained.

    Raises:
        ArtifactError: there is one of that name, of another training, and it is not to be replaced.
    """
    from sessions.training.training import is_of

    if job.name not in rounds.names():
        return None
    found = rounds.load(job.name)
    if is_of(job, found):
        return found
    if job.force:
        return None
    raise ArtifactError(
        f"round '{job.name}' exists already, and is of another training",
        "choose another name with --as, or replace it with --force",
    )


def _latest(session: Session, rounds: Rounds) -> Round:
    known = rounds.of_model(session.opened().info.fingerprint)
    if not known:
        raise ArtifactError("there is no round of this model to take recruits from", "train one first, without them")
    return known[-1]


def without(suppressed: tuple[Neuron, ...], rounds: Rounds, earlier: Round, count: int) -> tuple[Neuron, ...]:
    """What is suppressed, what the earlier round suppressed, and its strongest recruits."""
    return _joined(suppressed, earlier.suppressed, rounds.recruits(earlier.name).strongest(count))


def _joined(*neurons: tuple[Neuron, ...]) -> tuple[Neuron, ...]:
    return tuple({each.site: Neuron(*each.site) for group in neurons for each in group}.values())


def _line(verb_name: str, data: Path, plan: Plan, asked: dict[str, Any]) -> str:
    """The line that trains it again, but for names."""
    weights = asked["weights"]
    said = {"--rank": plan.rank, "--alpha": plan.alpha, "--lr": f"{plan.rate:g}", "--epochs": plan.epochs,
            "--batch": plan.batch, "--top": asked["top"], "--modules": ",".join(plan.modules) or None,
            "--weights": None if weights is None else spelt(weights),
            "--budget": asked["budget"], "--marker": asked["marker"]}  # fmt: skip
    flags = {f"--{flag.replace('_', '-')}": asked[flag] for flag in ("thinking", "no_control", "checkpointing")}
    return line_of([verb_name, data], said | flags)


def _remarks(session: Session, found: Round, lessons: tuple[Lesson, ...]) -> list[str]:
    notes = []
    if found.outcome.stopped:
        notes.append(f"{found.outcome.stopped}; what was learned before it is kept")
    cut = [lesson for lesson in lessons if lesson.cut]
    if cut:
        longest = max(each.cut for each in cut)
        notes.append(f"{len(cut)} prompts lost their left end to the budget, {longest:,} characters at most")
    skipped = [(lesson.name, phrase) for lesson in lessons for phrase in lesson.skipped]
    if skipped:
        name, phrase = skipped[0]
        notes.append(
            f"{len(skipped)} phrases are not in their reply word for word and count for nothing: "
            f"the first is {phrase[:40]!r} of {name}"
        )
    if found.after:
        notes.append(f"what was recruited stays suppressed: {len(session.suppressed):,} neurons now are")
    if found.plan.neurons:
        notes.append(f"saved as edit {found.name} as well: edits load {found.name}")
    if found.outcome.lacks:
        notes.append(
            f"on this device {found.outcome.lacks} does not always give the same bits: trained again, or gone on with, "
            "it may end in others"
        )
    if not found.recruited and len(found.outcome.curve) == 1 and not found.plan.neurons:
        notes.append("no neuron was recruited: B begins at zero, so what A reads has no gradient in the first step")
    elif not found.recruited:
        notes.append("no neuron was measured: those of experts are not")
    active = session.edits().active
    if active:
        notes.append(f"the edits that are on were left out: {', '.join(edit.name for edit in active)}")
    return notes
