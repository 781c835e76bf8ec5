"""`Method`: an attribution method with its name, options, limits and computation.

A method is one subclass of `Method` in one file of this room. Everything else is derived from it: completion and help
(`name`, `summary`), the options that go with it (`attentions`, `references`, `takes_steps`, `many`), what it conserves,
and which models it refuses. Nothing outside this room compares names of methods.

The class statement imports no torch, because the grammar reads it for help. Science is imported inside the functions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from sessions.events import Steps

if TYPE_CHECKING:
    from sessions.cancel import Cancel
    from sessions.circuits.attribution import Attribution, Reference
    from sessions.circuits.passes import Pass
    from sessions.circuits.pruning import Candidates
    from sessions.model.opening import OpenModel
    from sessions.model.parts import Anatomy
    from sessions.model.target import Target

#: What neurons may be compared with: zero, their means, or their activations in another prompt.
REFERENCES = ("zero", "mean", "prompt")


class Method(ABC):
    """One way to attribute a target to neurons."""

    name: ClassVar[str]
    #: One line for help and completion.
    summary: ClassVar[str]
    #: What is conserved, in a sentence; "" for nothing.
    conserves: ClassVar[str] = ""
    #: Rules for attention that it takes, its default first; empty where it has none.
    attentions: ClassVar[tuple[str, ...]] = ("gradient", "frozen")
    #: Whether the setting `attention` is its default rule.
    by_setting: ClassVar[bool] = False
    references: ClassVar[tuple[str, ...]] = REFERENCES
    #: Whether it runs several passes, as given by --steps.
    takes_steps: ClassVar[bool] = False
    #: Whether it attributes many prompts at once.
    many: ClassVar[bool] = True
    #: Whether its numbers are estimates. Where they are not, each candidate is measured alone, so layers have to be
    #: chosen first and there is nothing to verify afterwards.
    estimates: ClassVar[bool] = True
    #: The ability it needs of a model (`Anatomy.require`); "" for none.
    needs: ClassVar[str] = ""
    #: Whether it works on a mixture of experts.
    experts: ClassVar[bool] = True
    #: The substitute for models that this method does not support; "" for none.
    instead: ClassVar[str] = ""

    @abstractmethod
    def attribute(self, run: Pass) -> Attribution:
        """The relevance of every neuron at every position.

        `passes.gradients` makes the passes; a method chooses the rules and says what is conserved.
        """

    def measure(
        self,
        ranked: Candidates,
        opened: OpenModel,
        ids: Sequence[int],
        target: Target,
        *,
        reference: Reference | None = None,
        batch: int | None = None,
        cancel: Cancel | None = None,
    ) -> Steps[Candidates]:
        """The candidates with exact numbers in place of estimates. A method that estimates returns them unchanged."""
        yield from ()
        return ranked

    def why_not(self, anatomy: Anatomy) -> str | None:
        """Why the rules of this method do not cover the model; None where they do."""
        return anatomy.why_not(self.needs)

    def check_model(self, anatomy: Anatomy, reference: Reference | None = None) -> None:
        """Raise `ModelError` where the method does not support the model, or a reference on it."""
        from sessions.circuits.attribution import OTHER_REFERENCE, refuse_experts

        if self.estimates:
            anatomy.check_gradients(self.name)
        if self.needs:
            anatomy.require(self.needs)
        if not self.experts:
            refuse_experts(anatomy, self.name)
        if reference is not None:
            refuse_experts(anatomy, OTHER_REFERENCE)

    def attention_by_default(self, setting: str = "frozen") -> str:
        """The default rule for attention; "" where the method takes none."""
        if self.by_setting:
            return setting
        return self.attentions[0] if self.attentions else ""
