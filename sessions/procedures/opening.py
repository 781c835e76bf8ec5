"""What to say of a model that was opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions.model.info import ModelInfo, same_model

if TYPE_CHECKING:
    from sessions.circuits.circuit import Circuit


def dropped_circuit(circuit: Circuit, info: ModelInfo) -> str:
    """Why a circuit does not stay with the model that was opened."""
    if same_model(circuit.fingerprint, info.fingerprint):
        return "the circuit has a neuron or a token that this model lacks, and is dropped"
    return f"the circuit was made on {circuit.model or 'an unnamed model'} and is dropped"


def generation_rules(info: ModelInfo) -> tuple[str, ...]:
    """A remark on the rules of a model's generation_config, which other programs apply."""
    rules = info.generation_rules
    return (f"other programs apply its generation_config when they generate: {'; '.join(rules)}",) if rules else ()
