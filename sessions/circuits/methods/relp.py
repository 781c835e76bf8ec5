"""relp: relevance in the network made linear around the prompt.

1. The rules of `rules.linearised` (LRP) make the network linear around the prompt: norms and activation functions by
   the identity rule, products of gate and up by the half rule, attention held constant or with its own gradient.
2. A neuron's attribution is (activation − reference) × gradient of the target in that network.

RelP, Jafari et al. 2025. The form for MLP neurons is that of the Transluce circuits work, 2025. LRP for transformers is
AttnLRP, Achtibat et al. 2024.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sessions.circuits.methods.method import Method
from sessions.model.info import RULES

if TYPE_CHECKING:
    from sessions.circuits.attribution import Attribution
    from sessions.circuits.passes import Pass


class Relp(Method):
    """Relevance propagation."""

    name = "relp"
    summary = "relevance in the network made linear around the prompt"
    conserves = "with frozen attention and reference zero, relevance at the embeddings sums to the target"
    attentions = ("frozen", "gradient")
    by_setting = True
    needs = RULES
    instead = "atp"

    def attribute(self, run: Pass) -> Attribution:
        from sessions.circuits.passes import gradients

        attribution = gradients(run, linear=True)
        return attribution if run.reference is None else replace(attribution, outputs=None, inputs=None)
