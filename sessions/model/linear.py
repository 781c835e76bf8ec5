"""Linear parts of maps on the residual stream: of affine maps, and of norms.

A direction is not a state: the bias of a map, which is added to every state, says nothing about a direction. So a map f
is applied as (f(v) − f(−v)) / 2, in which biases cancel. Without biases the result is exact to the bit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sessions.errors import ModelError
from sessions.model.homes import home_of


def odd_part(f: Callable[[Tensor], Tensor], directions: Tensor) -> Tensor:
    """`f` of directions without its constant part. For a norm and a head it is linear up to a positive factor."""
    return (f(directions) - f(-directions)) / 2


@torch.no_grad()
def carried_back(norm: nn.Module, directions: Tensor, *, inverse: bool = False) -> Tensor:
    """The directions `[k, d_model]` before a norm that correspond to directions after it.

    Up to a factor for each token, a norm multiplies by its weights, and may subtract the mean first:
    y = g · (x − mean x). So the component of y along a direction q is that of x along g · q, without its mean. With
    `inverse`, the result is the directions that the norm turns into q.

    Raises:
        ModelError: the norm does more than that.
    """
    home, like = home_of(norm), next(norm.parameters(), torch.empty(0))

    def odd(given: Tensor) -> Tensor:
        return odd_part(norm, given[None, None].to(home, like.dtype))[0, 0].float().cpu()

    width = directions.shape[1]
    probe = 1.0 - 2.0 * (torch.arange(width) % 2)
    probe = (probe - probe.mean()) / (probe - probe.mean()).square().mean().sqrt()
    weights = odd(probe) / probe
    centred = bool(odd(torch.ones(width)).norm() < 1e-2 * weights.norm())
    check = torch.linspace(-1, 2, width) ** 3
    expected, made = weights * (check - check.mean() if centred else check), odd(check)
    if float(nn.functional.cosine_similarity(expected, made, dim=0)) < 0.999:
        raise ModelError(f"a norm of this model ({type(norm).__name__}) does more than scale", "choose other layers")
    if inverse:
        # A coordinate that the norm puts out can be written with anything.
        turned = torch.where(weights.abs() > 1e-6 * weights.abs().max(), directions / weights, 0.0)
    else:
        turned = directions * weights
    return turned - turned.mean(1, keepdim=True) if centred else turned
