"""Maps of the residual stream as linear ones: of an affine map its linear part, of a norm what it does to directions.

A direction is not a state. What a bias adds to every state says nothing of a direction, and shown with it would be the
bias's own: so a map f is read as (f(v) − f(−v)) / 2, in which biases cancel, to the bit where there are none.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sessions.errors import ModelError
from sessions.model.homes import home_of


def odd_part(f: Callable[[Tensor], Tensor], directions: Tensor) -> Tensor:
    """What `f` makes of directions, its constant left out: of a norm and a head, up to a positive factor, linear."""
    return (f(directions) - f(-directions)) / 2


@torch.no_grad()
def carried_back(norm: nn.Module, directions: Tensor, *, inverse: bool = False) -> Tensor:
    """What a norm makes these directions `[k, d_model]` of.

    Up to a factor a token, a norm multiplies by its weights, and may take the mean away first: y = g · (x − mean x).
    What it lets through of x along a direction q is then x along g · q, without its mean. With `inverse`, the
    directions are those that the norm turns into q instead.

    Raises:
        ModelError: the norm is of another make.
    """
    home, like = home_of(norm), next(norm.parameters(), torch.empty(0))

    def asked(given: Tensor) -> Tensor:
        return odd_part(norm, given[None, None].to(home, like.dtype))[0, 0].float().cpu()

    width = directions.shape[1]
    probe = 1.0 - 2.0 * (torch.arange(width) % 2)
    probe = (probe - probe.mean()) / (probe - probe.mean()).square().mean().sqrt()
    weights = asked(probe) / probe
    centred = bool(asked(torch.ones(width)).norm() < 1e-2 * weights.norm())
    check = torch.linspace(-1, 2, width) ** 3
    expected, made = weights * (check - check.mean() if centred else check), asked(check)
    if float(nn.functional.cosine_similarity(expected, made, dim=0)) < 0.999:
        raise ModelError(f"a norm of this model ({type(norm).__name__}) does more than scale", "choose other layers")
    if inverse:
        # A coordinate that the norm puts out can be written with anything.
        turned = torch.where(weights.abs() > 1e-6 * weights.abs().max(), directions / weights, 0.0)
    else:
        turned = directions * weights
    return turned - turned.mean(1, keepdim=True) if centred else turned
