"""Samples of `edits` and `inspect`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.edits import findings
from sessions.events import Value
from sessions.model.units import Neuron
from sessions.results import EditInspected, EditRow, EditsShown
from tests.samples import filled


def samples(text: str) -> Iterator[Value]:
    """Edits, one of them off; what is in an edit of each kind."""
    first = filled(EditRow, text, name=text or "a")
    rows = first, structs.replace(first, number=2, on=False, norm=None)
    yield EditsShown(rows=rows, done="undone", named=(text, "b"), undone=(text,), notes=(text,))
    yield EditsShown(rows=())
    push = filled(findings.DeltaPush, text, z=-12.5)
    changed = findings.DeltaPart(part="gate", norm=0.01, relative=None, embeddings=(text,) * 3, stream=(text,))
    delta = findings.NeuronDelta(parts=(changed, structs.replace(changed, part="down", relative=0.02)), push=push)
    part = filled(findings.EditedPart, text, part="gate", after=4.9e5, embeddings=(text,) * 3, stream=(text,))
    parts = part, structs.replace(part, part="down", cosine=None)
    neuron = filled(findings.EditedNeuron, text, parts=parts, cosines=(1.0, 0.61), delta=delta)
    reading = findings.DeltaDirection(size=2.5, share=0.6, reads=(Neuron(12, 3),) * 5, push=push)
    writing = findings.DeltaDirection(size=1.0, share=0.1, stream=(text,) * 3, writes=(Neuron(12, 4),))
    matrix = filled(findings.EditedMatrix, text, where="L12 down", kind="without", directions=(reading, writing))
    whole = filled(
        EditInspected, text, neurons=(neuron, structs.replace(neuron, cosines=(), delta=None)), delta=delta.parts,
        matrices=(matrix, structs.replace(matrix, kind="all but")), apart=9.9e-7, notes=(text,), delta_top10=0.35,
        tokens=((text, 3), (" a", 1)), delta_tokens=((text, 3), (" a", 1)),
    )  # fmt: skip
    yield whole
    added = (filled(findings.EditedMatrix, text, kind="added"),)
    yield structs.replace(whole, number=0, on=False, neurons=(), total=0, tokens=(), matrices=added, apart=1e-3)
