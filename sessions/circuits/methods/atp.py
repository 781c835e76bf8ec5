"""atp: activation times gradient.

A neuron's attribution is (activation − reference) × the model's own gradient of the target. To first order this is the
change of the target that patching in the reference would undo.

Attribution patching, Nanda 2023, Syed et al. 2023. With reference zero it is gradient × input.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sessions.circuits.methods.method import Method

if TYPE_CHECKING:
    from sessions.circuits.attribution import Attribution
    from sessions.circuits.passes import Pass


class Atp(Method):
    """Attribution patching."""

    name = "atp"
    summary = "activation times gradient"

    def attribute(self, run: Pass) -> Attribution:
        from sessions.circuits.passes import gradients

        return replace(gradients(run), outputs=None, inputs=None)
