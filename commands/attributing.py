"""How `discover` attributes: over which prompts, by which method, and what neurons are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from commands.choices import AGGREGATE, ALIGN, ATTENTION, METHOD, REFERENCE
from commands.names import FileName
from commands.request import Flag, Opt, Options
from commands.words import Real, TextWord, Whole
from sessions.circuits.methods import DEFAULT, METHODS, check_options, listed
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.model.info import Encoded
from sessions.references import compared_with, is_prompt, kind, named, prompts_with_targets
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.circuits.aggregation import Aggregation
    from sessions.circuits.cases import Case
    from sessions.circuits.discovery import AttributionOptions
    from sessions.circuits.pruning import CircuitSize

#: The methods that --steps is for.
STEPPED = listed(method.name for method in METHODS.values() if method.takes_steps)


class MethodOptions(Options, frozen=True):
    """How neurons are attributed, and what they are compared with."""

    group = "How"

    method: Annotated[str, Opt(METHOD, "attribution method")] = DEFAULT
    attention: Annotated[
        str | None,
        Opt(ATTENTION, "how relevance passes through attention (default: for relp the setting, else gradient)"),
    ] = None
    reference: Annotated[
        str | None,
        Opt(
            REFERENCE,
            "reference activations: zero, mean, means:NAME, a prompt or, for pairs of prompts, corrupt (default: zero; "
            "for many prompts, their mean)",
        ),
    ] = None
    reference_seed: Annotated[str | None, Opt(TextWord(), "the seed of that prompt (default: this prompt's)")] = None
    steps: Annotated[int | None, Opt(Whole(2), f"passes of --method {STEPPED} (default: 16)")] = None

    def way(
        self, session: Session, over: Encoded | Sequence[Case], usual: str, *, force: bool
    ) -> Steps[tuple[AttributionOptions, list[str]]]:
        """How to attribute, and remarks on it.

        Args:
            over: the prompt, or the many that are attributed.
            usual: what neurons are compared with where the line does not say.
            force: compare with means of another model.

        Raises:
            UsageError: two of the options do not go together.
            ModelError: this model's family is out of reach of the method.
        """
        from sessions.circuits.attribution import STEPS
        from sessions.circuits.discovery import AttributionOptions

        attention, reference, chosen = self.attention, self.reference or usual, METHODS[self.method]
        check_options(chosen, attention=attention, steps=self.steps, reference=kind(reference))
        if self.reference_seed is not None and not is_prompt(reference):
            raise UsageError(
                "--reference-seed needs a prompt as --reference", 'for example: --reference "the other prompt"'
            )
        if attention is None:
            attention = chosen.attention_by_default(session.settings.attention)
        compared, notes = yield from compared_with(session, over, reference, self.reference_seed, force=force)
        chosen.check_model(session.opened().anatomy, compared)
        return AttributionOptions(self.method, attention, compared, named(reference), self.steps or STEPS), notes


class ManyPrompts(Options, frozen=True):
    """Many prompts instead of one, and how their attributions become one."""

    group = "Many prompts"

    prompts: Annotated[
        Path | None, Opt(FileName(), "a file of prompts: explain the targets of all of them together")
    ] = None
    raw: Annotated[bool, Flag("with --prompts: read them without the chat template")] = False

    aggregate: Annotated[
        str | None,
        Opt(AGGREGATE, "with --prompts: how attributions become one number (default: magnitude)"),
    ] = None
    align: Annotated[
        str | None,
        Opt(ALIGN, "with --prompts: none sums over positions (the default), end keeps positions apart"),
    ] = None
    threshold: Annotated[
        float | None,
        Opt(Real(100.0), "with --prompts: below this percent of a prompt's target, a neuron counts as 0 there"),
    ] = None

    def cases(
        self, session: Session, method: str, reference: str, batch: int | None
    ) -> Steps[tuple[tuple[Case, ...], list[str]]]:
        """The prompts with their targets, and remarks on these."""
        assert self.prompts is not None
        return (yield from prompts_with_targets(session, self.prompts, self.raw, method, reference, batch))

    def gathering(self, choice: CircuitSize) -> Aggregation:
        """How attributions become one.

        Raises:
            UsageError: the choice is by what is not aggregated.
        """
        from sessions.circuits.aggregation import Aggregation

        if self.aggregate == "share" and (choice.percentage is not None or choice.cumulative is not None):
            raise UsageError(
                "--aggregate share ranks by number of prompts, so --percentage and --cumulative do not apply",
                "set the size with --top, and what counts in a prompt with --threshold",
            )
        usual = "mean" if self.align == "end" else "magnitude"
        return Aggregation(self.aggregate or usual, self.align == "end", self.threshold)  # type: ignore[arg-type]
