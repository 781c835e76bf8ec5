"""What a circuit keeps of a behaviour, alone, and what is left without it: `faithfulness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from commands.choices import HELD, ORDER
from commands.names import FileName, TextsOrMeans
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import SEEDS, Sizes, Whole
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.procedures.faithfulness import cases_for, doubts_about, held_values, helping_first, rows_of
from sessions.results import Faithfulness
from sessions.session import Session
from sessions.store import Key

FAMILY = "Circuits"

#: Random circuits that are drawn as a control.
CONTROLS = 3


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
        cases, notes = yield from cases_for(session, circuit, self.file, self.raw, tokens)
        own = self.file is None and not circuit.prompts
        ranking = ranked(circuit.neurons, len(cases[0].ids) if own else None)
        if ranking[0].position is None and any(neuron.position is not None for neuron in circuit.neurons):
            notes.append(f"at all positions, the circuit's {len(circuit)} neurons are {len(ranking)}")
        if self.order == "helping":
            ranking = helping_first(ranking)
        held, how, more = yield from held_values(
            session, cases, self.reference, self.means, self.raw, tokens, self.force
        )
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
            rows=rows_of(sizes, found),
            controls=CONTROLS if self.controls is None else self.controls,
            notes=(*notes, *more, *doubts_about(found)),
        )
