"""Exact effects: `verify`."""

from __future__ import annotations

from typing import Annotated

from commands.choices import REFERENCE
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import SelectionWord, TextWord, Whole
from sessions.events import Steps
from sessions.procedures.circuits import verified
from sessions.results import Verified
from sessions.session import Session

FAMILY = "Circuits"


@verb(
    "verify",
    family=FAMILY,
    synonyms=("exact effect", "validate", "single ablation"),
    needs=("model", "circuit"),
    example=("verify top20", "verify top20 --reference mean"),
)
class Verify(Request, frozen=True):
    """Measure the exact effect of each neuron: the target without it, one neuron at a time.

    The effect is the target's value minus its value with that neuron alone at zero, at its position: positive where
    it helps, in logits, as the attribution is. Nothing is estimated, yet two hundred neurons cost about ten forward
    passes, because only what changes is computed again. The circuit keeps the effects, and the result shows how
    well the attributions agree with them.

    A neuron can also be held at its mean, or at its value in another prompt, aligned at the end. For a circuit
    found on many prompts, effects are means over these, and so is the mean to hold at. If these are pairs, it can be
    held at its values in the corrupt prompt of each, position by position: --reference corrupt.
    """

    selection: Annotated[str, Arg(SelectionWord(), "which neurons (default: the whole circuit)")] = "all"
    reference: Annotated[
        str, Opt(REFERENCE, "what each is held at: zero, its mean, means:NAME, a prompt, or corrupt")
    ] = "zero"
    reference_seed: Annotated[str | None, Opt(TextWord(), "the seed of that prompt (default: this prompt's)")] = None
    batch: Annotated[
        int | None, Opt(Whole(), "tokens computed at once, which bounds the memory (default: 2048, or what is free)")
    ] = None
    force: Annotated[bool, Flag("use means:NAME of another model")] = False

    def run(self, session: Session) -> Steps[Verified]:
        return (
            yield from verified(
                session,
                selection=self.selection,
                reference_seed=self.reference_seed,
                reference=self.reference,
                batch=self.batch,
                force=self.force,
            )
        )
