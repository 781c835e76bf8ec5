"""ig: activation times the mean gradient on the path to the prompt.

1. The embeddings are interpolated from the reference's, or from zero, to the prompt's in `steps` equal steps.
2. At each step the model's own gradient of the target is taken at every neuron.
3. A neuron's attribution is (activation − reference) × the mean of these gradients.

Integrated gradients, Sundararajan et al. 2017; along the inputs as in EAP-IG, Hanna et al. 2024.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sessions.circuits.methods.method import Method

if TYPE_CHECKING:
    from sessions.circuits.attribution import Attribution
    from sessions.circuits.passes import Pass


class Ig(Method):
    """Integrated gradients."""

    name = "ig"
    summary = "activation times the mean gradient on the way from zero, or the reference, to the prompt"
    takes_steps = True
    experts = False

    def attribute(self, run: Pass) -> Attribution:
        from sessions.circuits.passes import gradients

        attribution = gradients(run, points=[1 - step / run.steps for step in range(run.steps)])
        return replace(attribution, outputs=None, inputs=None)
