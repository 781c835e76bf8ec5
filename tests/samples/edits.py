"""Samples of `edits` and `inspect`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.circuits.circuit import Neuron
from sessions.edits.findings import (
    DeltaDirection,
    DeltaPart,
    DeltaPush,
    EditedMatrix,
    EditedNeuron,
    EditedPart,
    NeuronDelta,
)
from sessions.events import Value
from sessions.results import EditInspected, EditRow, EditsShown


def samples(text: str) -> Iterator[Value]:
    """Edits, one of them off; what is in an edit of each kind."""
    first = EditRow(number=1, name=text or "a", verb="rewrite", about=text, on=True, norm=12.5)
    rows = first, structs.replace(first, number=2, on=False, norm=None)
    yield EditsShown(rows=rows, done="undone", named=(text, "b"), undone=(text,), notes=(text,))
    yield EditsShown(rows=())
    whole = _of_neurons(text)
    yield whole
    added = EditedMatrix(where=text, kind="added", dims=8, share=0.5, change=8.25)
    yield structs.replace(
        whole, number=0, on=False, neurons=(), total=0, tokens=(), facts={}, apart=1e-3, matrices=(added,)
    )


def _of_neurons(text: str) -> EditInspected:
    """An edit of forty neurons, of which two are shown, and of two matrices."""
    part = EditedPart(part="gate", before=0.0, after=4.9e5, cosine=None, embeddings=(text,) * 3, stream=(text,))
    push = DeltaPush(up=(text,) * 3, down=(text,), token=text, z=-12.5, concentration=0.31, cosine=None)
    changed = DeltaPart(part="gate", norm=0.01, relative=None, embeddings=(text,) * 3, stream=(text,))
    delta = NeuronDelta(parts=(changed, structs.replace(changed, part="down", relative=0.02)), push=push)
    neuron = EditedNeuron(
        neuron=Neuron(24, 1005), parts=(part, structs.replace(part, part="down", cosine=-0.5)), up=(text,), down=(),
        share=0.99, cosines=(1.0, 0.61), delta=delta,
    )  # fmt: skip
    along = DeltaDirection(size=2.5, share=0.6, reads=(Neuron(12, 3),) * 5, push=structs.replace(push, cosine=0.5))
    across = DeltaDirection(size=1.0, share=0.1, embeddings=(text,), stream=(text,) * 3, writes=(Neuron(12, 4),))
    matrix = EditedMatrix(
        where="L12 down", kind="without", dims=10, share=0.017, change=24.2, directions=(along, across)
    )
    counts = ((text, 3), (" a", 1))
    return EditInspected(
        number=1, name=text, verb="rewrite", about=text, on=True, model=text, command=text, norm=12.5,
        facts={text: text, "α": "3"}, neurons=(neuron, structs.replace(neuron, cosines=(), delta=None)), total=40,
        tokens=counts, matrices=(matrix, structs.replace(matrix, kind="all but")), apart=9.9e-7, notes=(text,),
        delta=delta.parts, delta_tokens=counts, delta_top10=0.35,
    )  # fmt: skip
