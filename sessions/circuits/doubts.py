"""Remarks on a circuit that is used in another state of the session than it was found in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sessions.circuits.circuit import Circuit
from sessions.model.info import Prompt


def doubts_of(
    circuit: Circuit, prompt: Prompt | None, suppressed: Sequence[str], edits: Sequence[str]
) -> Iterator[str]:
    """Remarks on a circuit that is used with another prompt, other suppressed neurons or other weights."""
    yield from _of_prompt(circuit, prompt)
    released = set(circuit.suppressed) - set(suppressed)
    if released:
        yield f"the circuit was found while {min(released)} was suppressed, which it no longer is"
    gone = [name for name in circuit.edits if name not in edits]
    new = [name for name in edits if name not in circuit.edits]
    if gone:
        yield f"the circuit was found with the edit {', '.join(gone)}, which is off now"
    if new:
        yield f"the circuit was found without the edit {', '.join(new)}, which is on now"


def _of_prompt(circuit: Circuit, prompt: Prompt | None) -> Iterator[str]:
    if circuit.prompt == prompt:
        return
    if circuit.prompts:
        if all(record.to_read() != prompt for record in circuit.prompts):
            yield f"the circuit was found on {len(circuit.prompts)} prompts, and this is none of them"
    elif not circuit.prompt.text:
        yield "the circuit does not say which prompt it was found on"
    else:
        yield f"the circuit was found on another prompt, {circuit.prompt.text!r}"
