"""What a circuit keeps of a behaviour, alone, and what is left without it: `faithfulness`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import structs

from commands.choices import HELD, ORDER
from commands.names import FileName, TextsOrMeans
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.verification import explained
from commands.words import SEEDS, Sizes, Whole
from sessions.circuits.circuit import Circuit
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.model.units import Neuron
from sessions.references import ENOUGH, corpus, kept_means, means_named
from sessions.results import Faithfulness, FaithfulnessRow
from sessions.session import Session
from sessions.store import Key
from sessions.texts.prompt_files import PromptRecord
from sessions.texts.prompt_sources import prompts_in

if TYPE_CHECKING:
    from torch import Tensor

    from sessions.circuits.cases import Case
    from sessions.circuits.faithfulness import Measured

FAMILY = "Circuits"

#: Random circuits that are drawn as a control.
CONTROLS = 3
#: Where all neurons together do less than this share of the target, fractions of what they do say little.
LITTLE = 0.1


@verb("faithfulness", family=FAMILY, example=("faithfulness --sizes 10,50,200", "faithfulness --means means:facts"))
class MeasureFaithfulness(Request, frozen=True):
    """Measure how much of the behaviour the circuit keeps alone, and how much is left without it.

    Kept is the mean target with only the circuit's first neurons active and all others held at their means: 1 is
    the whole behaviour, 0 that of no neuron at all, and above 1 the neurons left out work against the target. Left
    is the same with only the circuit's neurons held: near 0, the circuit is complete. As many random neurons of the
    same layers are the control. A mean is per position, counted from the end; the first position is left as it is.

    A circuit has neurons for the target and against it. --order helping puts those for it first: fewer of them
    carry the behaviour, but alone they exaggerate it.

    Neurons count at all positions, unless positions are counted from the end or the prompt is the circuit's own.
    Measure best on prompts other than those the circuit was found on.
    """

    file: Annotated[Path | None, Arg(FileName(".jsonl"), "a file of prompts (default: those of the circuit)")] = None
    raw: Annotated[bool, Flag("read the prompts of files without the chat template")] = False
    sizes: Annotated[
        tuple[int, ...], Opt(Sizes(), "sizes to measure: this many of the circuit's strongest, and all of them")
    ] = (
        10,
        25,
        50,
        100,
        200,
        400,
    )
    order: Annotated[str, Opt(ORDER, "which neurons come first")] = "strongest"
    reference: Annotated[str, Opt(HELD, "what the other neurons are held at: mean, zero or means:NAME")] = "mean"
    means: Annotated[
        Path | Key | None, Opt(TextsOrMeans(), "means:NAME, or prompts to take means over (default: those measured on)")
    ] = None
    controls: Annotated[
        int | None, Opt(Whole(0, 10_000), f"random circuits to draw for comparison (default: {CONTROLS})")
    ] = None
    seed: Annotated[int | None, Opt(Whole(0, SEEDS), "random seed for these (default: the setting rng)")] = None
    batch: Annotated[int | None, Opt(Whole(), "tokens computed at once, which bounds the memory (default: 1024)")] = (
        None
    )
    force: Annotated[bool, Flag("use means:NAME of another model")] = False

    def run(self, session: Session) -> Steps[Faithfulness]:
        from sessions.circuits.attribution import refuse_experts
        from sessions.circuits.faithfulness import faithfulness as measure
        from sessions.circuits.faithfulness import ranked
        from sessions.model.rows import LARGEST_BATCH

        circuit, tokens = session.found(), self.batch or LARGEST_BATCH
        refuse_experts(session.opened().anatomy, "faithfulness")
        if self.raw and self.file is None and self.means is None:
            raise UsageError("--raw is for a file of prompts", "for example: faithfulness keys.jsonl --raw")
        cases, notes = yield from _cases(session, circuit, self.file, self.raw, tokens)
        own = self.file is None and not circuit.prompts
        ranking = ranked(circuit.neurons, len(cases[0].ids) if own else None)
        if ranking[0].position is None and any(neuron.position is not None for neuron in circuit.neurons):
            notes.append(f"at all positions, the circuit's {len(circuit)} neurons are {len(ranking)}")
        if self.order == "helping":
            ranking = _helping_first(ranking)
        held, how, more = yield from _held(session, cases, self.reference, self.means, self.raw, tokens, self.force)
        sizes = (*(size for size in self.sizes if size < len(ranking)), len(ranking))
        found = yield from measure(
            session.opened(),
            cases,
            ranking,
            sizes,
            held,
            controls=CONTROLS if self.controls is None else self.controls,
            seed=session.settings.rng if self.seed is None else self.seed,
            batch=tokens,
            cancel=session.cancel,
        )
        return Faithfulness(
            prompts=len(cases),
            size=len(ranking),
            order=self.order,
            held=how,
            whole=found.whole,
            none=found.none,
            rows=_rows(sizes, found),
            controls=CONTROLS if self.controls is None else self.controls,
            notes=(*notes, *more, *_doubts(found)),
        )


def _helping_first(ranking: tuple[Neuron, ...]) -> tuple[Neuron, ...]:
    """Those first that are most for the target."""
    if any(neuron.attribution is None for neuron in ranking):
        raise UsageError("--order helping needs attributions, and the circuit's neurons have none", "leave it out")
    return tuple(sorted(ranking, key=lambda neuron: -(neuron.attribution or 0.0)))


def _cases(
    session: Session, circuit: Circuit, file: Path | None, raw: bool, batch: int
) -> Steps[tuple[tuple[Case, ...], list[str]]]:
    """What is measured on, and remarks on it."""
    from sessions.circuits.cases import remarks, resolve_targets

    if file is None and not circuit.prompts:
        return (yield from _own(session, circuit, batch)), []
    asked = circuit.prompts if file is None else prompts_in(file, raw).prompts
    cases = yield from resolve_targets(session.opened(), asked, batch=batch, cancel=session.cancel)
    behind = [case for case in cases if case.target.value <= 0]
    notes = list(remarks(session.opened(), cases))
    if file is None:
        notes.append("measured on the prompts the circuit was found on; other prompts say more")
    if behind:
        first = behind[0]
        notes.append(
            f"{len(behind)} of {len(cases)} targets are no likelier than their counterfactuals: the first is "
            f"{first.target.tokens[0].text!r} after {first.asked.prompt!r}"
        )
    return cases, notes


def _own(session: Session, circuit: Circuit, batch: int) -> Steps[tuple[Case, ...]]:
    """The one prompt that the circuit was found on."""
    from sessions.circuits.cases import resolve_targets

    target, hint = circuit.target, "name a file of prompts: faithfulness keys.jsonl"
    if target.sequence:
        raise UsageError("the circuit explains a whole text; faithfulness measures the next token", hint)
    if not target.tokens or any(token.id < 0 for token in target.tokens):
        raise UsageError("the circuit does not say which tokens it explains", hint)
    read = explained(session)
    other = "" if target.counterfactual is None else target.counterfactual.text
    asked = PromptRecord(
        prompt=read.prompt.text,
        target=target.tokens[0].text,
        counterfactual=other,
        seed=read.prompt.seed,
        raw=not read.prompt.chat,
        system=read.prompt.system,
        thinking=read.prompt.thinking,
    )
    (case,) = yield from resolve_targets(session.opened(), [asked], batch=batch, cancel=session.cancel)
    return (replace(case, encoded=read, target=case.target if target.counterfactual is None else target),)


def _held(
    session: Session,
    cases: tuple[Case, ...],
    reference: str,
    over: Path | Key | None,
    raw: bool,
    batch: int,
    force: bool,
) -> Steps[tuple[tuple[Tensor, ...], str, list[str]]]:
    """What neurons are held at, of each site, and in words; and remarks on it."""
    import torch

    from sessions.circuits.recording import means

    notes: list[str] = []
    if reference == "zero":
        if over is not None:
            raise UsageError("--means does not go with --reference zero", "leave one of them out")
        layers = session.opened().anatomy.layers
        return tuple(torch.zeros(site.width) for layer in layers for site in layer.sites), "zero", notes
    kept = over if isinstance(over, Key) else None
    if (name := means_named(reference)) is not None:
        if over is not None:
            raise UsageError(f"--means does not go with --reference {reference}", "leave one of them out")
        kept = Key("means", name)
    if kept is not None:
        held, notes = kept_means(session, kept.name, places=True, force=force)
        return held, str(kept), notes
    if isinstance(over, Path):
        texts, which = corpus(session, over, raw)
    elif len(cases) > 1:
        texts, which = [case.ids for case in cases], "these prompts"
        if len(cases) < ENOUGH:
            notes.append(f"a mean over {len(cases)} prompts says little beyond these: --means FILE takes others")
    else:
        texts, which = corpus(session)
        notes.append("the built-in texts are unlike this prompt: --means FILE, of prompts like it, says more")
    opened, home, under = session.opened(), session.home, session.state_key()
    found = yield from means(opened, texts, home, session.cancel, aligned=True, under=under, batch=batch)
    return found, f"its mean over {which}", notes


def _rows(sizes: tuple[int, ...], found: Measured) -> tuple[FaithfulnessRow, ...]:
    rows = [
        FaithfulnessRow(size=size, kept=kept, left=left)
        for size, kept, left in zip(sizes, found.circuit.kept, found.circuit.left, strict=True)
    ]
    if found.control is not None:
        pairs = zip(rows, found.control.kept, found.control.left, strict=True)
        rows = [structs.replace(row, random_kept=kept, random_left=left) for row, kept, left in pairs]
    return tuple(rows)


def _doubts(found: Measured) -> list[str]:
    if abs(found.whole - found.none) < LITTLE * abs(found.whole):
        return ["holding all neurons hardly changes the target: fractions of that change say little"]
    if found.whole <= 0:
        return ["on average the targets are no likelier than their counterfactuals: there is little to keep"]
    return []
