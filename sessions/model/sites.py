"""Sites: where a layer computes its units. A site is a module whose input, or a part of it, is the units' activations.

`anatomy` finds the sites of a model; `hooks.on_neurons` hands over their activations.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class DenseSite:
    """The neurons of one dense MLP: the input coordinates of `down`.

    They are neurons `offset … offset + width − 1` of their layer. `gated` says whether each is a
    product of a gate and an up projection; `readers` are the projections that compute them.
    """

    down: nn.Module
    offset: int
    width: int
    gated: bool
    readers: tuple[tuple[str, nn.Module], ...] = ()

    @property
    def module(self) -> nn.Module:
        """The module whose input is the neurons' activations."""
        return self.down


@dataclass(frozen=True)
class ExpertSite:
    """The neurons of all experts of one mixture-of-experts block.

    Expert `e`, coordinate `i` is number `offset + e · d_expert + i` of the layer. `activation` is
    the nonlinearity inside the experts if it is a module, else None.
    """

    experts: nn.Module
    router: nn.Module | None
    offset: int
    n_experts: int
    d_expert: int
    activation: nn.Module | None

    @property
    def width(self) -> int:
        return self.n_experts * self.d_expert

    @property
    def module(self) -> nn.Module:
        return self.experts


@dataclass(frozen=True)
class HeadSite:
    """The attention heads of one layer: equal slices of the input of `output`, the attention's output projection.

    Head `h` is coordinates `h · d_head … (h + 1) · d_head − 1`, each position's mean of the head's values weighed by
    its pattern (before the projection gates of some families, if any, are part of it). `n_key_heads` is smaller than
    `n_heads` where heads share keys and values: heads `h` with equal `h // (n_heads // n_key_heads)` do.
    """

    output: nn.Module
    attention: nn.Module
    n_heads: int
    n_key_heads: int
    d_head: int
    offset: int = 0
    gated: bool = False

    @property
    def width(self) -> int:
        return self.n_heads * self.d_head

    @property
    def module(self) -> nn.Module:
        return self.output


#: Where the neurons of a layer are.
NeuronSite = DenseSite | ExpertSite
#: Where units of any kind are.
Site = DenseSite | ExpertSite | HeadSite
