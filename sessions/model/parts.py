"""The parts of a causal language model, and what other rooms ask of them: sites of neurons, layers, the whole.

Which parts a family has, and by what names, is known to `anatomy` alone, which reads them off a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sessions.errors import ModelError, UsageError
from sessions.model.homes import check_room
from sessions.model.linear import odd_part
from sessions.model.positions import LengthEncoding
from sessions.model.weights import dense_columns, dense_rows, dense_written, expert_columns, expert_rows


@dataclass(frozen=True)
class DenseSite:
    """The neurons of one dense MLP: the input coordinates of `down`.

    They are numbers `offset … offset + width − 1` of their layer. `gated` says whether each is a
    product of a gate and an up projection; `readers` are the projections they are made with.
    """

    down: nn.Module
    offset: int
    width: int
    gated: bool
    readers: tuple[tuple[str, nn.Module], ...] = ()

    @property
    def module(self) -> nn.Module:
        """The module that takes the neurons' activations."""
        return self.down


@dataclass(frozen=True)
class ExpertSite:
    """The neurons of all experts of one mixture-of-experts block.

    Expert `e`, coordinate `i` is number `offset + e · d_expert + i` of the layer. `activation` is
    the nonlinearity inside the experts where it is a module, else None.
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


Site = DenseSite | ExpertSite

#: An ability, such as `info.RULES`, and why the model lacks it.
Refusal = tuple[str, str]


@dataclass(frozen=True)
class Layer:
    """One decoder layer: the block itself, the places its neurons live, and its MLP's norms on the way in and out."""

    block: nn.Module
    sites: tuple[Site, ...]
    read_norm: nn.Module | None
    write_norm: nn.Module | None
    writer: nn.Module | None
    """The module whose output is what the MLP adds to the residual stream; None where it is no one module's."""
    attention_writer: nn.Module | None = None
    """The same of the attention."""
    attention_output: nn.Module | None = None
    """The projection that the attention writes with, before any norm; None where there is no one such."""
    per_layer_input: int | None = None
    """Which argument of the block's call is the layer's own embedding of each token; None in families without one."""

    @property
    def width(self) -> int:
        """Neurons in this layer (`d_mlp`, over all experts)."""
        return sum(site.width for site in self.sites)


@dataclass(frozen=True)
class Anatomy:
    """The parts of one model.

    `embeddings` are all modules whose output enters the network as an input (token, position and
    per-layer embeddings). `norms`, `centring_norms`, which take the mean away first, and `activations` are the modules
    that a linearisation replaces, `products` those whose input is a product of two streams, `routers` those that weigh
    what others compute, `qk_projections` the query and key projections of families whose attention cannot be exchanged
    through transformers' interface.
    `context` is the number of positions a learned position embedding has, None where positions are
    computed and have no end. `shares_keys` says that some layers read the keys and values of earlier
    ones, and so need these to have run; `streams` how many residual streams there are, and `stream` which of
    them attention and MLP work on. `positions` is how positions are encoded by the length of the text, None where it
    does not matter; `recurrent` says that some layers keep a running state of the text in place of keys and values.
    """

    decoder: nn.Module
    layers: tuple[Layer, ...]
    final_norm: nn.Module
    head: nn.Module
    embeddings: tuple[nn.Module, ...]
    norms: tuple[nn.Module, ...]
    centring_norms: tuple[nn.Module, ...]
    activations: tuple[nn.Module, ...]
    products: tuple[nn.Module, ...]
    routers: tuple[nn.Module, ...]
    qk_projections: tuple[nn.Module, ...]
    context: int | None
    shares_keys: bool
    streams: int
    stream: int
    positions: LengthEncoding | None
    recurrent: bool
    text_config: object
    refusals: tuple[Refusal, ...]

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def d_model(self) -> int:
        return int(self.text_config.hidden_size)  # type: ignore[attr-defined]

    @property
    def n_tokens(self) -> int:
        """Tokens that the model has an embedding for and can say."""
        rows = int(self.embeddings[0].num_embeddings)  # type: ignore[arg-type]
        return min(rows, int(getattr(self.head, "out_features", rows)))

    @property
    def n_heads(self) -> int:
        return int(self.text_config.num_attention_heads)  # type: ignore[attr-defined]

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of each layer."""
        return tuple(layer.width for layer in self.layers)

    @property
    def embeds_per_layer(self) -> bool:
        """Whether each layer is given an embedding of its own of every token."""
        return any(layer.per_layer_input is not None for layer in self.layers)

    @property
    def has_experts(self) -> bool:
        return any(isinstance(site, ExpertSite) for layer in self.layers for site in layer.sites)

    def why_not(self, ability: str) -> str | None:
        """Why the model is known not to be able to do this; None where it can."""
        return next((reason for name, reason in self.refusals if name == ability), None)

    def require(self, ability: str) -> None:
        """Raise `ModelError` when the model is known not to be able to do this."""
        reason = self.why_not(ability)
        if reason is not None:
            raise ModelError(
                f"{ability} is not available on this model: {reason}",
                "discover --method atp works on it, and so do generate, top, ablate, verify and sweep",
            )

    def check_gradients(self, what: str) -> None:
        """Raise `ModelError` where gradients would bring back more offloaded weights than there is room for."""
        check_room([*(layer.block for layer in self.layers), self.final_norm, self.head], what)

    def check_layer(self, layer: int) -> None:
        """Raise `UsageError` unless there is a layer `layer`."""
        if not 0 <= layer < self.n_layers:
            raise UsageError(f"there is no layer {layer}", f"layers are 0 to {self.n_layers - 1}")

    def check(self, layer: int, index: int) -> None:
        """Raise `UsageError` unless layer `layer` has a neuron `index`."""
        self.check_layer(layer)
        width = self.layers[layer].width
        if not 0 <= index < width:
            raise UsageError(f"layer {layer} has no neuron {index}", f"its neurons are 0 to {width - 1}")

    def check_tokens(self, ids: Iterable[int]) -> None:
        """Raise `UsageError` unless the model has all of these tokens."""
        wrong = next((each for each in ids if not 0 <= each < self.n_tokens), None)
        if wrong is not None:
            raise UsageError(f"there is no token {wrong}", f"its tokens are 0 to {self.n_tokens - 1:,}")

    def check_length(self, tokens: int) -> None:
        """Raise `UsageError` when a text is longer than the model has positions for."""
        if self.context is not None and tokens > self.context:
            raise UsageError(
                f"the text has {tokens:,} tokens, and the model has {self.context:,} positions", "shorten the prompt"
            )

    def goes_on(self, read: int, length: int) -> bool:
        """Whether what was cached of a text's first `read` tokens is what a pass over `length` of them computes.

        Where it is not, the text is read again from its beginning.
        """
        # A running state is of one place in one row, and is not cut or copied.
        return not self.recurrent and self.encodes_alike(read, length)

    def encodes_alike(self, length: int, other: int) -> bool:
        """Whether the positions of texts of both lengths are encoded alike."""
        return self.positions is None or self.positions.alike(length, other)

    def as_long_as(self, *lengths: int) -> AbstractContextManager[None]:
        """Inside the block, passes encode positions as those of texts of these many tokens, one number a row or one for
        all. Without it they go by the positions they compute."""
        return nullcontext() if self.positions is None else self.positions.as_long_as(lengths)

    def site_of(self, layer: int, index: int) -> tuple[Site, int]:
        """The site that holds a neuron, and the neuron's number within the site."""
        self.check(layer, index)
        for site in self.layers[layer].sites:
            if index < site.offset + site.width:
                return site, index - site.offset
        raise AssertionError("sites cover the layer")

    def scores(self, hidden: Tensor, ids: Sequence[int], forward: Callable[[Tensor], Tensor]) -> Tensor:
        """What the head says of some tokens alone, `[…, len(ids)]`, from what enters it, `[…, d_model]`.

        The rows of a plain head are used by themselves; of any other kind (packed weights, an adapter, offloaded ones)
        `forward`, the head's own, computes all. Scores are not yet logits (see `sessions.model.logits`), and are where
        the head is, which need not be where the last layer is.
        """
        if type(self.head) is not nn.Linear or self.head.weight.is_meta:
            scores = forward(hidden)
            return scores.index_select(-1, torch.tensor(list(ids), device=scores.device))
        wanted = torch.tensor(list(ids), device=self.head.weight.device)
        bias = None if self.head.bias is None else self.head.bias[wanted]
        return nn.functional.linear(hidden.to(wanted.device), self.head.weight[wanted], bias)

    def residual(self, output: Any) -> Tensor:
        """The residual stream in what a decoder layer returned, `[batch, seq, d_model]`: of several streams the
        one that attention and MLP work on."""
        hidden = output[0] if isinstance(output, tuple) else output
        return hidden[self.stream] if hidden.ndim == 4 else hidden

    def with_residual(self, output: Any, hidden: Tensor) -> Any:
        """What a decoder layer returned, or is given, with another residual stream: what `residual` reads there."""
        if isinstance(output, tuple):
            return (self.with_residual(output[0], hidden), *output[1:])
        if output.ndim != 4:
            return hidden
        return torch.cat([output[: self.stream], hidden[None], output[self.stream + 1 :]])

    def down_column(self, layer: int, index: int) -> Tensor:
        """What one unit of a neuron's activation adds to the residual stream, `[d_model]`.

        Up to a positive factor where a norm stands between the MLP and the residual stream.
        """
        return self.down_columns(layer, [index])[0]

    @torch.no_grad()
    def down_columns(self, layer: int, indices: Sequence[int]) -> Tensor:
        """The same of several neurons of a layer, `[n, d_model]`."""
        places = [self.site_of(layer, index) for index in indices]
        first, norm = places[0][0], self.layers[layer].write_norm
        if any(site is not first for site, _ in places):
            return torch.stack([self.down_column(layer, index) for index in indices])
        inside = [local for _, local in places]
        columns = expert_columns(first, inside) if isinstance(first, ExpertSite) else dense_columns(first, inside)
        return columns if norm is None else odd_part(norm, columns[None])[0]

    @torch.no_grad()
    def written(self, layer: int, activations: Tensor) -> Tensor:
        """What these activations of all neurons of a layer, `[d_mlp]`, add to the residual stream, `[d_model]`.

        Up to a positive factor, as a column. Of a dense layer only: experts are weighed by their router.
        """
        dense = [site for site in self.layers[layer].sites if isinstance(site, DenseSite)]
        total = sum(dense_written(site, activations[site.offset : site.offset + site.width]) for site in dense)
        norm = self.layers[layer].write_norm
        return total if norm is None else odd_part(norm, total[None, None])[0, 0]  # type: ignore[return-value,index]

    def read_rows(self, layer: int, index: int) -> dict[str, Tensor]:
        """What a neuron reads: by name ("gate", "up", or "in" where there is no gate) the direction, `[d_model]`, in
        what its MLP is given, after the norm. Empty where the projections go by no name this file knows."""
        site, local = self.site_of(layer, index)
        if isinstance(site, ExpertSite):
            return expert_rows(site, local)
        return dense_rows(site, local, self.d_model)
