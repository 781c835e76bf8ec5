"""What rounds of training came to: `rounds`, `recruits`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from commands.choices import OneOf
from commands.edits import in_states
from commands.names import FileName, Name
from commands.training import FAMILY
from commands.verb import argument, option, verb
from commands.words import Length, Rows, Word
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.files.disk import write_file
from sessions.model.info import same_model
from sessions.results import Compared, RecruitRow, RecruitsShown, RoundsShown
from sessions.session import Session
from sessions.training.findings import Round, series_of

if TYPE_CHECKING:
    from sessions.training.recruits import Measure
    from sessions.training.round import Rounds

MEASURE = OneOf(
    "measure",
    {
        "gradient": "what each step's gradient was, summed",
        "largest": "the largest of all steps",
        "last": "that of the last step",
        "activation": "gradient × activation, summed",
    },
)


class RoundName(Word):
    """A round of training: its name, or N for `round-N`."""

    name = "round"
    shape = "ROUND"

    def read(self, text: str) -> str:
        return f"round-{text}" if text.isdecimal() else Name().read(text)

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        if session is None:
            return []
        try:
            folders = sorted((session.store.home / "rounds").iterdir())
        except OSError:
            return []
        return [(each.name, "round") for each in folders if (each / "round.json").is_file()]


class SeriesName(RoundName):
    """Rounds: one by its name, or all that are called so with a number behind it."""

    name = "rounds"
    shape = "NAME"

    def read(self, text: str) -> str:
        return Name().read(text)

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        names = [name for name, _ in super().completions(session, incomplete)]
        stems = dict.fromkeys(series_of(name) for name in names)
        return [
            *((stem, "series of rounds") for stem in stems if stem not in names),
            *((each, "round") for each in names),
        ]


@verb("rounds", family=FAMILY, example="rounds")
@argument(
    "names",
    metavar="NAME…",
    help="a series, or rounds in their order (default: the latest series)",
    type=SeriesName(),
    nargs=-1,
)
@option("--chart", type=FileName(".svg"), help="write the trajectory to this file, .svg or .png")
@option("--answer", is_flag=True, help="answer the session's prompt with each round's adapter instead")
@option("--max-tokens", type=Length(), help="of --answer: tokens at most (default: the setting max_tokens)")
@option("--force", is_flag=True, help="replace the chart's file")
def rounds(
    session: Session,
    names: tuple[str, ...],
    chart: Path | None,
    answer: bool,
    max_tokens: int | None,
    force: bool,
) -> Steps[RoundsShown | Compared]:
    """Show the trajectory of a series of rounds: what each forbade, and what it still learned.

    Losses are means over the samples, in nats a token: before, after, and after the control, which had as many random
    neurons of the same layers suppressed. Kept is the fall from where the series began, as a share of that of the
    control; share, what of the gradient the recruits absorbed; again counts recruits of earlier rounds among them.

    The verdict: single-point, where no round without earlier recruits kept half; exhausted, where some did and the last
    did not; where the last did, several solutions if the recruits absorbed a fifth of the gradient or more, distributed
    if less. Without a control there is none.

    Plain losses, which count every token of a reply alike, are shown where they differ. One round alone is shown with
    the losses of each epoch and the gradient by projection and layer; compare round:A round:B shows two side by side.

    With --answer, the prompt is answered by the model as it was opened and with the adapter of each round, once with
    what the round held at zero and once with nothing suppressed. evaluate FILE --arms base,round:NAME counts.
    """
    from sessions.training.round import Rounds

    shelf = Rounds(session.store)
    known = shelf.of_model(session.opened().info.fingerprint)
    if not known:
        raise ArtifactError("there is no round of this model", "train one: train-round FILE.jsonl")
    if max_tokens is not None and not answer:
        raise UsageError("--max-tokens is for --answer", "leave it out")
    found, others = _meant(known, names or (series_of(known[-1].name),))
    result = shown(shelf, found, notes=(f"other rounds: {', '.join(others)}",) if others and not names else ())
    if answer:
        return (yield from _answered(session, found, max_tokens))
    if chart is None:
        return result
    from sessions.picture import check_ending
    from sessions.training.chart import drawn

    check_ending(chart)
    path = write_file(chart.absolute(), drawn(result.trajectory, chart.suffix), force=force, what=f"'{chart}'")
    return structs.replace(result, chart=str(path))


def _meant(known: Sequence[Round], names: Sequence[str]) -> tuple[list[Round], list[str]]:
    """The rounds that are meant, in their order, and the series of all others."""
    stems = list(dict.fromkeys(series_of(each.name) for each in known))
    found: list[Round] = []
    for name in names:
        mine = [each for each in known if series_of(each.name) == name] or [each for each in known if each.name == name]
        if not mine:
            raise UsageError(f"there is no round or series '{name}' of this model", f"there is: {', '.join(stems)}")
        found += [each for each in mine if each not in found]
    return found, [stem for stem in stems if stem not in {series_of(each.name) for each in found}]


def _answered(session: Session, found: Sequence[Round], max_tokens: int | None) -> Steps[Compared]:
    """The session's prompt without any round, and with the adapter of each."""
    from sessions.evaluation.arms import arms_of

    words = ["base"]
    for each in found:
        words += [f"round:{each.name}", *([f"round:{each.name}+unsuppressed"] if each.suppressed else [])]
    states = [(arm.name, arm.within) for arm in arms_of(session.arm_sources(), tuple(words))]
    return (yield from in_states(session, "rounds", ", ".join(each.name for each in found), states, max_tokens))


def shown(shelf: Rounds, found: Sequence[Round], notes: tuple[str, ...] = ()) -> RoundsShown:
    """The trajectory of rounds in their order."""
    from sessions.training.trajectory import trajectory

    pairs = []
    for each in found:
        absorbed = shelf.recruits(each.name)
        total = absorbed.total(absorbed.usual)
        strongest = sum(neuron.attribution or 0.0 for neuron in each.recruited)
        pairs.append((each, strongest / total if total and each.recruited else None))
    return RoundsShown(trajectory=trajectory(pairs), rounds=tuple(found), notes=notes)


@verb("recruits", family=FAMILY, example="recruits")
@argument("name", metavar="ROUND", help="by name or number (default: the latest)", type=RoundName(), required=False)
@option("--top", type=Rows(), default=30, help="how many of the strongest to show")
@option("--by", type=MEASURE, help="gradient (the default), largest, last or activation")
def recruits(session: Session, name: str | None, top: int, by: str | None) -> RecruitsShown:
    """Show the neurons that absorbed most gradient in a round, and what each of them pushes.

    recruits:NAME is the same as a selection, everywhere: suppress recruits:1, ablate recruits:1:10.
    """
    from sessions.directions.lens import pushed
    from sessions.training.round import Rounds

    opened, shelf = session.opened(), Rounds(session.store)
    known = shelf.of_model(opened.info.fingerprint)
    if name is None and not known:
        raise ArtifactError("there is no round of this model", "train one: train-round FILE.jsonl")
    found = shelf.load(name or known[-1].name)
    if not same_model(found.fingerprint, opened.info.fingerprint):
        raise ArtifactError(f"round '{found.name}' was trained on {found.model}", "open that model first")
    absorbed = shelf.recruits(found.name)
    measure: Measure = by or absorbed.usual  # type: ignore[assignment]
    neurons = absorbed.strongest(top, measure)
    earlier = {neuron.site: each.name for each in known if each.created < found.created for neuron in each.recruited}
    total = absorbed.total(measure)
    tokens = pushed(opened.anatomy, opened.tokenizer, neurons)
    rows = tuple(
        RecruitRow(
            neuron, (neuron.attribution or 0.0) / total if total else 0.0, up, down, earlier.get(neuron.site, "")
        )
        for neuron, (up, down) in zip(neurons, tokens, strict=True)
    )
    return RecruitsShown(name=found.name, measure=measure, rows=rows, total=total, suppressed=len(found.suppressed))
