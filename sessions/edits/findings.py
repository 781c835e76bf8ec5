"""What `inspect` finds in an edit. Data only."""

from __future__ import annotations

from msgspec import Struct

from sessions.circuits.circuit import Neuron


class EditedPart(Struct, frozen=True, kw_only=True):
    """A row or the column of an edited neuron: its norm before and after the edit, and the cosine of the two lines.

    The cosine is None where one of them is zero. Of a row that is read with, `embeddings` are tokens whose embedding
    lies along it, `stream` those that a residual stream along it would predict.
    """

    part: str
    before: float
    after: float
    cosine: float | None
    embeddings: tuple[str, ...] = ()
    stream: tuple[str, ...] = ()


class EditedNeuron(Struct, frozen=True, kw_only=True):
    """A neuron after an edit.

    `up` and `down` are the tokens that its column pushes. `share` is what the first of them gets of a softmax over what
    the column alone would predict, `cosines` those of the column with the first token's row of the unembedding and with
    the second's; empty where these rows are not to be had.
    """

    neuron: Neuron
    parts: tuple[EditedPart, ...]
    up: tuple[str, ...]
    down: tuple[str, ...]
    share: float
    cosines: tuple[float, ...] = ()


class EditedMatrix(Struct, frozen=True, kw_only=True):
    """A whole matrix that an edit changes: "L12 down", or its name in the model.

    `dims` is the dimension of the subspace, or the rank of what is added. `share` is how much of the matrix's squared
    norm went away, of a projection (the variance of what it writes, were its inputs white); of what is added, the norm
    of that over the norm of the matrix. `change` is the norm of the difference.
    """

    where: str
    kind: str
    dims: int
    share: float
    change: float
