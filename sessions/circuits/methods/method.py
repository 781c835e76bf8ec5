"""What an attribution method is: its name, what it takes, what it cannot do, and how it attributes.

A method is one subclass of `Method` in one file of this room. Everything else is read off it: what completion and help
say (`name`, `summary`), which options go with it (`attentions`, `references`, `takes_steps`, `many`), what it
conserves, and which models it refuses. Nothing outside this room compares names of methods.

The class statement imports no torch: the grammar reads it for help. Science is imported inside the functions.
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

#: What neurons may be compared with: nothing, their means, or what they are in another prompt.
REFERENCES = ("zero", "mean", "prompt")


class Method(ABC):
    """One way to attribute a target to neurons."""

    name: ClassVar[str]
    #: One line for help and completion.
    summary: ClassVar[str]
    #: What is conserved, in a sentence; "" for nothing.
    conserves: ClassVar[str] = ""
    #: Rules for attention that it takes, its own default first; empty where it propagates nothing.
    attentions: ClassVar[tuple[str, ...]] = ("gradient", "frozen")
    #: Whether the setting `attention` says which rule it takes where the line does not.
    by_setting: ClassVar[bool] = False
    references: ClassVar[tuple[str, ...]] = REFERENCES
    #: Whether it runs several passes, as many as --steps says.
    takes_steps: ClassVar[bool] = False
    #: Whether it attributes many prompts at once.
    many: ClassVar[bool] = True
    #: Whether its numbers are estimates. Where they are not, each candidate is measured alone, so layers are chosen
    #: first and nothing is verified afterwards.
    estimates: ClassVar[bool] = True
    #: The ability it needs of a model (`Anatomy.require`); "" for none.
    needs: ClassVar[str] = ""
    #: Whether it works on a mixture of experts.
    experts: ClassVar[bool] = True
    #: The method to take where a model is out of reach of this one; "" for none.
    instead: ClassVar[str] = ""

    @abstractmethod
    def attribute(self, run: Pass) -> Attribution:
        """The relevance of every neuron at every position.

        `passes.gradients` makes the passes; a method says by which rules, and what the numbers conserve.
        """

    def measure(
        self,
        found: Candidates,
        opened: OpenModel,
        ids: Sequence[int],
        target: Target,
        *,
        reference: Reference | None = None,
        batch: int | None = None,
        cancel: Cancel | None = None,
    ) -> Steps[Candidates]:
        """The candidates with exact numbers in place of estimates. A method that estimates leaves them as they are."""
        yield from ()
        return found

    def why_not(self, anatomy: Anatomy) -> str | None:
        """Why no rule of this method covers the model; None where they do."""
        return anatomy.why_not(self.needs)

    def check_model(self, anatomy: Anatomy, reference: Reference | None = None) -> None:
        """Raise `ModelError` where the model, or a reference on it, is out of reach of the method."""
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
        """The rule for attention where none is given; "" where the method takes none."""
        if self.by_setting:
            return setting
        return self.attentions[0] if self.attentions else ""
