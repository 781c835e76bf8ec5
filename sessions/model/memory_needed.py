"""How much memory a command needs on the device besides the weights, as a formula of the model's shape.

    b  bytes of a number            L  layers             S  tokens of the prompt
    D  d_model                      F  neurons of a layer, the most of any
    Q  width of all query heads     K  width of all key heads

Nothing here looks at a device or at a tensor: `benchmarks.memory` holds the formulas against counted bytes, within a
tenth. They are for dense models whose attention is fused and frozen, the default. Every function gives bytes at the
peak, besides the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes of a number in float32 and of a whole number.
_WIDE, _WHOLE = 4, 8
#: Elements of an attention pattern that the backward pass of frozen attention has in memory at once, at most.
PATTERN = 2**23
#: Bytes for each of them beside the score itself: softmax in float32, which copies what it is given.
_SOFTMAX = 8


@dataclass(frozen=True)
class Shape:
    """The sizes of a model. `weights` are bytes, `neurons` all there are, `d_mlp` the most of a layer; `d_query` and
    `d_key` are the widths of all query and all key heads; `itemsize` is the bytes of a number."""

    weights: int
    layers: int
    d_model: int
    d_mlp: int
    neurons: int
    heads: int
    d_query: int
    d_key: int
    vocabulary: int
    itemsize: int
    gated: bool = True

    @property
    def graph(self) -> int:
        """Numbers that the forward pass of an attribution keeps of a token, over all layers: of each neuron its
        activation, the constant slope of its nonlinearity and, with a gate, both factors of the product; of each layer
        the constant slopes of two norms, and queries and keys."""
        return self.neurons * (4 if self.gated else 2) + self.layers * (2 * self.d_model + self.d_query + self.d_key)

    @property
    def working(self) -> int:
        """Numbers of a token that one layer computes at once: the states, and gate, up and their product."""
        return 3 * self.d_model + (3 if self.gated else 2) * self.d_mlp

    @property
    def cached(self) -> int:
        """Numbers of a token in the keys and values of all layers."""
        return 2 * self.layers * self.d_key


def forward(shape: Shape, tokens: int) -> int:
    """A pass that keeps nothing."""
    return tokens * shape.working * shape.itemsize


def recording(shape: Shape, tokens: int) -> int:
    """A pass that records every neuron and head."""
    units = shape.neurons + shape.layers * shape.d_query
    return forward(shape, tokens) + tokens * units * shape.itemsize


def attributing(shape: Shape, tokens: int) -> int:
    """An attribution: one forward pass that keeps its graph, and one backward pass.

    The peak is in the backward pass of the top layer, while all the graph is still there: at its MLP, where the
    gradient and the relevance of its neurons are computed and the halves of the product get theirs; or at its
    attention, whose MLP has let go of its part by then. Below, a layer's graph is let go for its relevance, which is
    smaller.
    """
    b, graph = shape.itemsize, tokens * shape.graph * shape.itemsize
    mlp = tokens * (shape.d_mlp * (_WIDE + 3 * b) + 2 * shape.d_model * b)
    pattern = min(shape.heads * tokens * tokens, PATTERN) * (_SOFTMAX + b)
    let_go = (3 if shape.gated else 1) * shape.d_mlp * b
    attention = tokens * (shape.d_mlp * _WIDE - let_go + 4 * shape.d_query * b) + pattern
    return graph + max(mlp, attention)


def verifying(shape: Shape, tokens: int, *, rows: int, read: int) -> int:
    """Exact effects: the outputs of all layers on the unchanged prompt, and batches that continue its keys and values.

    Args:
        rows: units in the largest batch.
        read: tokens that each of its rows computes.
    """
    cached = tokens * shape.cached * shape.itemsize
    outputs = tokens * shape.layers * shape.d_model * shape.itemsize
    # The prefix itself, and a copy for each row, which grows by the layer that is computed.
    return outputs + cached + rows * (cached + cached // (2 * shape.layers)) + forward(shape, rows * read)


def tracing(shape: Shape, tokens: int, *, rows: int) -> int:
    """Edges: an attribution and, after it, a pass whose MLPs are cut, with `rows` gradients of it at once."""
    b = shape.itemsize
    cut = tokens * (shape.graph - shape.neurons) * b
    mlp = rows * tokens * 3 * shape.d_mlp * b
    return max(attributing(shape, tokens), cut + mlp)


def averaging(shape: Shape, tokens: int, *, longest: int) -> int:
    """Means at each position of texts of `longest` tokens, `tokens` at once."""
    units = shape.neurons + shape.layers * shape.d_query
    return recording(shape, tokens) + longest * units * _WIDE


def keeping(shape: Shape, tokens: int, *, places: int, ranked: int, rankings: int) -> int:
    """Faithfulness: what units are held at, at each of `places`, and the place of each of `ranked` units in each of
    some rankings; and a batch of `tokens`, of which one layer holds what it is given, what is held and what is picked.
    """
    held = places * (shape.neurons * shape.itemsize + rankings * ranked * _WHOLE)
    return held + forward(shape, tokens) + tokens * shape.d_model * shape.itemsize


def surveying(shape: Shape, tokens: int, *, statistics: int, working: int) -> int:
    """An atlas: its `statistics` and what folding a batch into them takes (both of `atlas.folding`), and a pass."""
    return statistics + working + forward(shape, tokens)


def training(shape: Shape, tokens: int, *, learned: int, reply: int) -> int:
    """A step of training with a float32 adapter of `learned` numbers on every projection.

    The graph keeps gate, up, activation and product of each neuron, and queries, keys, values and the output of
    attention. An adapter reads float32, as norms do: in another dtype each keeps a copy of what it reads. The peak is
    in the backward pass of the top layer: at its MLP, where the gradient of its neurons is counted; or before, at the
    logits of `reply` tokens, which are softened in float32. The adapter has two moments.
    """
    b = shape.itemsize
    graph = b * (4 * shape.neurons + shape.layers * 2 * (shape.d_query + shape.d_key))
    if b < _WIDE:
        graph += _WIDE * (shape.neurons + shape.layers * (7 * shape.d_model + shape.d_query))
    else:
        graph += _WIDE * shape.layers * 4 * shape.d_model
    mlp = tokens * shape.d_mlp * (3 * _WIDE + b - (_WIDE if b < _WIDE else 0))
    logits = reply * shape.vocabulary * (b + 3 * _WIDE)
    return tokens * graph + max(mlp, logits) + 3 * learned * _WIDE


def adapter(shape: Shape, rank: int) -> int:
    """Numbers of an adapter on every projection of every layer."""
    attention = 4 * shape.d_model + 2 * shape.d_query + 2 * shape.d_key
    return rank * (shape.layers * (attention + 3 * shape.d_model) + 3 * shape.neurons)
