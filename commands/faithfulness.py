"""What a circuit keeps of a behaviour, alone, and what is left without it: `faithfulness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from commands.choices import HELD, ORDER
from commands.machines import WORKERS_ON, Machines
from commands.names import FileName, TextsOrMeans
from commands.request import Arg, Excludes, Flag, Opt, Request
from commands.verb import verb
from commands.words import SEEDS, Sizes, Whole
from sessions.artifacts import Key
from sessions.events import Steps
from sessions.procedures.faithfulness import CONTROLS, faithfulness_of
from sessions.results import Faithfulness
from sessions.session import Session

FAMILY = "Circuits"


@verb(
    "faithfulness",
    family=FAMILY,
    synonyms=("completeness", "sufficiency", "necessity", "evaluate circuit"),
    needs=("model", "circuit"),
    example=("faithfulness --sizes 10,50,200", "faithfulness --means means:facts", "faithfulness --curve"),
)
class MeasureFaithfulness(Request, frozen=True):
    """Measure how much of the behaviour the circuit keeps alone, and how much is left without it.

    Kept is the mean target with only the circuit's first neurons active and all others held at their means: 1 is
    the whole behaviour, 0 that of no neuron at all, and above 1 the neurons left out work against the target. Left
    is the same with only the circuit's neurons held: near 0, the circuit is complete. As many random neurons of the
    same layers are the control. A mean is per position, counted from the end; the first position is left as it is.

    With --reference corrupt, for prompts that are pairs, the others are held at their values in the corrupt prompt of
    each, position by position.

    A circuit has neurons for the target and against it. --order helping puts those for it first: fewer of them
    carry the behaviour, but alone they exaggerate it.

    --curve ranks all units of the model anew, on the circuit's prompts and by its method, and keeps 0.1 percent of
    them, 0.2, … to all. CPR is the area under that curve of what is kept, CMD its distance from 1, as in the MIB
    benchmark. Random units are drawn only if --controls says so.

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
    curve: Annotated[bool, Flag("measure from 0.1 percent to all of the model's units, with the areas CPR and CMD")] = (
        False
    )
    order: Annotated[str, Opt(ORDER, "which neurons come first")] = "strongest"
    reference: Annotated[str, Opt(HELD, "what the others are held at: mean, zero, means:NAME or corrupt")] = "mean"
    means: Annotated[
        Path | Key | None, Opt(TextsOrMeans(), "means:NAME, or prompts to take means over (default: those measured on)")
    ] = None
    controls: Annotated[
        int | None, Opt(Whole(0, 10_000), f"random circuits to draw for comparison (default: {CONTROLS})")
    ] = None
    seed: Annotated[int | None, Opt(Whole(0, SEEDS), "random seed for these (default: the setting rng)")] = None
    batch: Annotated[
        int | None, Opt(Whole(), "tokens computed at once, which bounds the memory (default: 1024, or what is free)")
    ] = None
    force: Annotated[bool, Flag("use means:NAME of another model")] = False
    machines: Machines = Machines()

    rules = (
        WORKERS_ON,
        Excludes("curve", ("sizes", "order"), "{one} has sizes and an order of its own"),
    )

    def run(self, session: Session) -> Steps[Faithfulness]:
        session.found()
        engine = yield from self.machines.engine(session)
        return (
            yield from faithfulness_of(
                session,
                file=self.file,
                raw=self.raw,
                sizes=self.sizes,
                curve=self.curve,
                order=self.order,
                reference=self.reference,
                means=self.means,
                controls=self.controls,
                seed=self.seed,
                batch=self.batch,
                force=self.force,
                engine=engine,
            )
        )
