"""Layer-wise relevance propagation as rules for the backward pass.

LRP (Bach et al. 2015) propagates the value of an output back to its inputs and conserves it on the way. For
transformers (AttnLRP, Achtibat et al. 2024; MLP circuits, Jafari et al. 2024, Transluce 2025) it takes five rules.
Under them relevance is plain gradient × activation of a linearised network whose forward values are the model's own:

*identity*  A norm or an activation function y(x), elementwise after centring, has the constant gradient y/x.
*half*      A product a · b, such as gate · up, gives half of its relevance to each factor.
*attention* `frozen`: the attention pattern is a constant, relevance flows through the values alone.
            `gradient`: queries and keys keep their ordinary gradient, which does not conserve, through whatever
            implementation of attention the model runs with.
*router*    Which expert a token goes to, and with what weight, is a constant.
*head*      The operation from the head's scores to the logits, a softcap or a scale, takes the identity rule
            (`behind_the_head`): the logits are the model's own, and relevance reaches the scores undiminished.

`linearised` installs the rules inside a block and replaces no module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sessions.errors import ModelError
from sessions.model.attending import eager_of, exchanged, fused_attention, registered
from sessions.model.homes import weight_of
from sessions.model.hooks import after, before, together
from sessions.model.memory_needed import PATTERN
from sessions.model.parts import Anatomy
from sessions.model.sites import ExpertSite, Site

Attention = Literal["frozen", "gradient"]

#: Names of our attention implementations with a constant pattern: the family's eager one, and torch's fused one.
FROZEN, FROZEN_FUSED = "workbench_frozen", "workbench_frozen_fused"


class _Identity(torch.autograd.Function):
    """Value `y`; gradient with respect to `x` is the constant `linear / x` (0 where x is 0)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, linear: Tensor) -> Tensor:
        ctx.save_for_backward(torch.where(x == 0, 0, linear / x))
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (ratio,) = ctx.saved_tensors
        return grads[0] * ratio, None, None


class _Half(torch.autograd.Function):
    """Value `x`; half of its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * 0.5


def half(x: Tensor) -> Tensor:
    """The half rule: `x` itself, with half of its gradient. Any shape."""
    return _Half.apply(x)  # type: ignore[no-untyped-call]


def takes_half(site: Site) -> bool:
    """Whether the units of a site are products of a gate and another stream, which take the half rule."""
    return isinstance(site, ExpertSite) or site.gated


def identity(x: Tensor, y: Tensor) -> Tensor:
    """The identity rule: `y` itself, with the gradient y/x held constant. `x`, `y` of one shape."""
    y = y.detach()
    return _Identity.apply(x, y, y)  # type: ignore[no-untyped-call]


def identity_centred(norm: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The identity rule for a norm that centres: the ratio is taken on x minus its mean, without the norm's bias."""
    y = y.detach()
    linear = y if getattr(norm, "bias", None) is None else y - weight_of(norm, "bias")
    return _Identity.apply(x - x.mean(-1, keepdim=True), y, linear)  # type: ignore[no-untyped-call]


def behind_the_head(scores: Tensor, logits: Tensor) -> Tensor:
    """The identity rule from the head's scores to the logits that the model returned, of one shape.

    Where these are equal, up to their dtype, the logits are returned unchanged.

    Raises:
        ModelError: the family's operation there is not elementwise.
    """
    if scores.shape != logits.shape:
        raise ModelError(
            "no rule covers this model: its logits are not an elementwise function of its head's scores", ""
        )
    if scores is logits:  # most families return their head's scores; looking at the numbers would wait for the device
        return logits
    scores = scores.to(logits.device)  # a model over several devices returns its logits on the first
    if torch.equal(scores.detach().to(logits.dtype), logits.detach()):
        return logits
    return identity(scores, logits)


def linear_norms(anatomy: Anatomy) -> Iterator[AbstractContextManager[None]]:
    """Hooks that give all norms the identity rule: their scales are constants."""
    for norm in anatomy.norms:
        yield after(norm, identity)
    for norm in anatomy.centring_norms:
        yield after(norm, partial(identity_centred, norm))


@contextmanager
def linearised(model: PreTrainedModel, anatomy: Anatomy, attention: Attention) -> Iterator[None]:
    """Inside the block, gradients of `model` are those of the linearised network.

    The half rule on the MLPs themselves is not installed here: the code that records the neurons does that (see
    `passes`), since a neuron's relevance is counted before it is halved.
    """
    with ExitStack() as stack:
        for hook in linear_norms(anatomy):
            stack.enter_context(hook)
        for activation in anatomy.activations:
            stack.enter_context(after(activation, identity))
        for product in anatomy.products:
            stack.enter_context(before(product, half))
        for router in anatomy.routers:
            stack.enter_context(after(router, lambda _, output: _detached(output)))
        stack.enter_context(attended(model, anatomy, attention))
        yield


def _detached(output: Any) -> Any:
    if isinstance(output, tuple):
        return tuple(_detached(part) for part in output)
    return output.detach() if isinstance(output, Tensor) else output


@contextmanager
def attended(model: PreTrainedModel, anatomy: Anatomy, attention: Attention) -> Iterator[None]:
    """Inside the block, a frozen attention pattern receives no gradient."""
    if attention == "gradient":
        yield
        return
    held = (after(projection, lambda _, output: output.detach()) for projection in anatomy.qk_projections)
    with together(held), exchanged(model, FROZEN, FROZEN_FUSED):
        yield


def _frozen_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> Any:
    """The family's own eager attention, softcaps and sinks included, with a constant pattern."""
    constant = attention_mask if attention_mask is None else attention_mask.detach()  # some families compute it
    return eager_of(module)(module, query.detach(), key.detach(), value, constant, **kwargs)


def _frozen_fused(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> Any:
    """Torch's fused attention, with a constant pattern that is never stored."""
    query, key = query.detach(), key.detach()
    with torch.no_grad():
        output, _ = fused_attention(module, query, key, value, attention_mask, **kwargs)
    scale = kwargs.get("scaling") or query.shape[-1] ** -0.5
    return _Constant.apply(value, output, query, key, attention_mask, scale), None  # type: ignore[no-untyped-call]


class _Constant(torch.autograd.Function):
    """Value `output`, `[batch, seq, heads, d]`; gradient with respect to `value`, `[batch, key heads, seq, d]`, through
    the pattern of `query` and `key`, which is a constant.

    The pattern P is recomputed, a block of queries at a time: ∂/∂value = Pᵀ · ∂/∂output. `mask` is true where a query
    attends; without one, attention is causal.
    """

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, output: Tensor, query: Tensor, key: Tensor, mask: Tensor | None, scale: float
    ) -> Tensor:
        ctx.save_for_backward(query, key, mask)
        ctx.scale = scale
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, mask = ctx.saved_tensors
        batch, heads, length, _ = query.shape
        shared = heads // key.shape[1]  # query heads for each key head
        key = key.repeat_interleave(shared, 1).transpose(-2, -1)
        arriving = grads[0].transpose(1, 2)
        leaving = torch.zeros_like(arriving)
        rows = max(1, PATTERN // (batch * heads * length))
        blocks = zip(range(0, length, rows), query.split(rows, 2), arriving.split(rows, 2), strict=True)
        for first, asking, share in blocks:
            scores = asking @ key * ctx.scale
            looks = _before(first, scores) if mask is None else mask[..., first : first + rows, :]
            pattern = scores.masked_fill_(~looks, torch.finfo(scores.dtype).min).softmax(-1, dtype=torch.float32)
            leaving += pattern.to(share.dtype).transpose(-2, -1) @ share
        return leaving.reshape(batch, -1, shared, length, leaving.shape[-1]).sum(2), None, None, None, None, None


def _before(first: int, scores: Tensor) -> Tensor:
    """The causal mask for the queries from `first` on, as `[…, rows, seq]`."""
    here = torch.arange(first, first + scores.shape[-2], device=scores.device)
    return here[:, None] >= torch.arange(scores.shape[-1], device=scores.device)


registered(FROZEN, _frozen_attention)
registered(FROZEN_FUSED, _frozen_fused, fused=True)
