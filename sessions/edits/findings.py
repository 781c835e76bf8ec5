"""What `inspect` finds in an edit. Data only."""

from __future__ import annotations

from msgspec import Struct

from sessions.model.units import Unit


class DeltaPart(Struct, frozen=True, kw_only=True):
    """The change of a row or a column: its value after an edit minus that before.

    `norm` is the norm of the change, `relative` that over the norm of the original, None where that is zero. For a row,
    `embeddings` are tokens whose embedding lies along the change, `stream` those that a residual stream along it would
    predict.
    """

    part: str
    norm: float
    relative: float | None
    embeddings: tuple[str, ...] = ()
    stream: tuple[str, ...] = ()


class DeltaPush(Struct, frozen=True, kw_only=True):
    """What a change pushes: a direction of the residual stream, through the final norm and the unembedding.

    `up` and `down` are the tokens that it pushes most. `token` is the one whose logit it moves furthest from the mean
    of all, up or down. `z` is that distance in standard deviations, `concentration` its share of all squared distances
    from the mean: 1 where it moves one token alone. `cosine` is the cosine of the direction with the token's row of the
    unembedding, None where that is unavailable.
    """

    up: tuple[str, ...]
    down: tuple[str, ...]
    token: str
    z: float
    concentration: float
    cosine: float | None = None


class NeuronDelta(Struct, frozen=True, kw_only=True):
    """The change of a neuron. `push` is what the change of its column pushes when the neuron is positive; None where
    the column did not change."""

    parts: tuple[DeltaPart, ...]
    push: DeltaPush | None = None


class DeltaDirection(Struct, frozen=True, kw_only=True):
    """A singular direction of the change of a matrix: what it reads, and what it writes when it reads that.

    `size` is the singular value, `share` its part of the squared norm of the change. What it reads are `reads`, the
    neurons of a down projection, or tokens: `embeddings` and `stream` as of a row. What it writes are `writes`, the
    neurons of a projection that makes them, or `push`, into the residual stream. A singular direction has two signs:
    the one shown pushes its token up or, where it pushes none, drives the first of its neurons up. What is not known of
    a projection is empty.
    """

    size: float
    share: float
    reads: tuple[Unit, ...] = ()
    embeddings: tuple[str, ...] = ()
    stream: tuple[str, ...] = ()
    writes: tuple[Unit, ...] = ()
    push: DeltaPush | None = None


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
    the second's; empty where these rows are not to be had. `delta` is the change alone.
    """

    neuron: Unit
    parts: tuple[EditedPart, ...]
    up: tuple[str, ...]
    down: tuple[str, ...]
    share: float
    cosines: tuple[float, ...] = ()
    delta: NeuronDelta | None = None


class EditedMatrix(Struct, frozen=True, kw_only=True):
    """A whole matrix that an edit changes: "L12 down", or its name in the model.

    `dims` is the dimension of the subspace, or the rank of what is added. `share` is how much of the matrix's squared
    norm went away, of a projection (the variance of what it writes, were its inputs white); of what is added, the norm
    of that over the norm of the matrix. `change` is the norm of the difference, `directions` are its strongest.
    """

    where: str
    kind: str
    dims: int
    share: float
    change: float
    directions: tuple[DeltaDirection, ...] = ()
