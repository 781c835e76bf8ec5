"""The Jacobian lens and its relevance form: a layer's states carried to the last layer by a mean derivative.

The Jacobian lens reads a state h of layer l as head(norm(J_l h)), where J_l is the mean, over texts and positions, of
the derivative of the last layer's state by the state at layer l. What a direction tends to do to later predictions is
read, rather than what it would predict if it stood at the end. Gurnee et al. 2026 (Anthropic); reference implementation
`anthropics/jacobian-lens`, also in TransformerLens as `JacobianLens`. As there:

1. One pass over a text. Positions before the sixteenth, attention sinks among them, and the last one are left out.
2. For an output dimension i, the gradient of the sum over these positions of coordinate i of the last state. By
   causality it is, at a position p of layer l, Σ over p' ≥ p of ∂ last[p', i] / ∂ h_l[p].
3. Row i of J_l is its mean over these positions, then over the texts, each of which counts the same.

All output dimensions are computed, many at a time; nothing is drawn or trained.

The relevance lens is the same mean in the network that the rules of relevance propagation make linear around each text
(`rules.linearised`, with the half rule on gated MLPs): norms, activation functions and, by default, attention patterns
are constants (TransformerLens's `RelevanceLens`, which keeps the ordinary gradient through attention, is `gradient`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sessions.cancel import Cancel, look
from sessions.circuits.rules import Attention, half, linearised, takes_half
from sessions.errors import ModelError, NotFinite, UsageError
from sessions.events import Progress, Steps
from sessions.lenses.findings import EMBEDDINGS
from sessions.model.homes import home_of
from sessions.model.hooks import after, before, on_neurons, together, watched
from sessions.model.info import RULES
from sessions.model.logits import no_logits
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy

#: Positions at the start of a text that are left out, attention sinks among them.
SKIPPED = 16
#: Numbers of gradients that are in memory at once.
AT_ONCE = 2**25


@dataclass(frozen=True)
class Derivative:
    """Which derivative is averaged. With `linear`, that of the network made linear, its attention by that rule."""

    linear: bool = False
    attention: Attention = "frozen"
    skip: int = SKIPPED

    def __str__(self) -> str:
        of = f"in the linearised network, attention {self.attention}" if self.linear else "the model's own derivative"
        return f"{of}, without the first {self.skip} positions and the last of each text"


def jacobians(
    opened: OpenModel,
    texts: Sequence[tuple[int, ...]],
    layers: Sequence[int],
    derivative: Derivative,
    cancel: Cancel | None = None,
) -> Steps[tuple[dict[int, Tensor], int, int]]:
    """The mean Jacobian of each layer, `[d_model, d_model]` on the CPU, and the texts and positions it is taken over.

    Raises:
        UsageError: no text is long enough.
        ModelError: the family is out of reach of the rules, or has several residual streams.
        NotFinite: a derivative is not finite.
    """
    anatomy = opened.anatomy
    check_derivative(opened, derivative)
    long = [text for text in texts if len(text) > derivative.skip + 1]
    if not long:
        longest = max(map(len, texts), default=0)
        raise UsageError(
            f"no text has more than {derivative.skip + 1} tokens, and the first {derivative.skip} and the last are "
            f"left out: the longest has {longest}",
            "leave out fewer: --skip 1",
        )
    width = anatomy.d_model
    sums = {layer: torch.zeros(width, width) for layer in layers}
    positions = 0
    for number, ids in enumerate(long):
        for layer, rows, values in _rows(opened, ids, layers, derivative, cancel):
            if layer == layers[0]:
                yield Progress("derivatives", number * width + rows.start, len(long) * width, "dimensions")
            sums[layer][rows] += values
        positions += len(ids) - 1 - derivative.skip
    if not all(bool(total.isfinite().all()) for total in sums.values()):
        raise NotFinite("a derivative is not finite", "open the model with --dtype float32")
    return {layer: total / len(long) for layer, total in sums.items()}, len(long), positions


def check_derivative(opened: OpenModel, derivative: Derivative) -> None:
    """Raise `ModelError` unless the derivative can be taken on this model."""
    anatomy = opened.anatomy
    reason = anatomy.why_not(RULES) if derivative.linear else None
    if reason is not None:
        raise ModelError(f"a relevance lens cannot be fitted on this model: {reason}", "--kind jacobian can")
    if anatomy.streams > 1:
        raise ModelError(
            f"'{opened.info.family}' mixes several residual streams: a lens for one of them leaves out the others",
            "lens without a name reads its layers as they are",
        )
    anatomy.check_gradients("lens fit")


def _rows(
    opened: OpenModel, ids: Sequence[int], layers: Sequence[int], derivative: Derivative, cancel: Cancel | None
) -> Iterator[tuple[int, slice, Tensor]]:
    """Rows of the Jacobians of a text: a layer, which rows, and these, `[rows, d_model]` on the CPU."""
    anatomy, width = opened.anatomy, opened.anatomy.d_model
    kept = slice(derivative.skip, len(ids) - 1)
    numbers = max(width * len(layers), 4 * max(anatomy.widths), anatomy.n_heads * len(ids))  # of each position
    at_once = max(1, AT_ONCE // (len(ids) * numbers))
    seen: dict[int, Tensor] = {}
    batch = torch.tensor([list(ids)], device=home_of(anatomy.embeddings[0]))
    with torch.enable_grad(), watched(anatomy, cancel), _differentiated(opened, derivative):
        with together(_records(anatomy, layers, seen)), no_logits(anatomy):
            opened.model(input_ids=batch, use_cache=False)
        last = seen[anatomy.n_layers - 1][0, kept].sum(0)
        sources = [seen[layer] for layer in layers]
        for start in range(0, width, at_once):
            look()
            rows = slice(start, min(start + at_once, width))
            chosen = torch.eye(width, dtype=last.dtype, device=last.device)[rows]
            gradients = torch.autograd.grad(last, sources, chosen, is_grads_batched=True, retain_graph=True)
            for layer, gradient in zip(layers, gradients, strict=True):
                yield layer, rows, gradient[:, 0, kept].float().mean(1).cpu()


def _records(anatomy: Anatomy, layers: Sequence[int], seen: dict[int, Tensor]) -> Iterator[Any]:
    """Hooks that record the states after some layers and the last. The lowest is where the graph begins."""
    lowest = min(layers)

    def keep(layer: int, output: Any) -> Any:
        hidden = anatomy.residual(output)
        if layer == lowest:
            hidden = hidden.detach().requires_grad_()
        seen[layer] = hidden
        return anatomy.with_residual(output, hidden)

    def kept(layer: int, _: Tensor, output: Any) -> Any:
        return keep(layer, output)

    if EMBEDDINGS in layers:
        yield before(anatomy.layers[0].block, lambda hidden: keep(EMBEDDINGS, hidden))
    for layer in sorted({*layers, anatomy.n_layers - 1} - {EMBEDDINGS}):
        yield after(anatomy.layers[layer].block, partial(kept, layer))


@contextmanager
def _differentiated(opened: OpenModel, derivative: Derivative) -> Iterator[None]:
    """Inside the block, gradients are those of the derivative."""
    if not derivative.linear:
        yield
        return
    anatomy = opened.anatomy
    with ExitStack() as stack:
        stack.enter_context(linearised(opened.model, anatomy, derivative.attention))
        for _, site in anatomy.unit_sites():
            if takes_half(site):
                stack.enter_context(on_neurons(site, lambda values, _: half(values)))
        yield
