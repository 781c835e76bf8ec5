"""The parts of a causal language model (neuron sites, layers, the whole model) and the questions other rooms ask.

`anatomy` alone knows the parts of each model family and their names. It reads them off a model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sessions.errors import ModelError, UsageError
from sessions.model.homes import check_room
from sessions.model.info import HEADS, RULES
from sessions.model.linear import odd_part
from sessions.model.positions import LengthEncoding
from sessions.model.sites import DenseSite, ExpertSite, HeadSite, NeuronSite, Site
from sessions.model.units import NEURONS, Kind, Unit
from sessions.model.weights import dense_columns, dense_rows, dense_written, expert_columns, expert_rows

#: What works where an ability is missing.
_INSTEAD = {
    RULES: "discover --method atp works on it, and so do generate, top, ablate, verify and sweep",
    HEADS: "its neurons can be attributed and ablated: discover --units neurons",
}
#: An ability, such as `info.RULES`, and why the model lacks it.
Refusal = tuple[str, str]


@dataclass(frozen=True)
class Layer:
    """One decoder layer: its block, the sites of its neurons, and the norms before and after its MLP."""

    block: nn.Module
    sites: tuple[NeuronSite, ...]
    read_norm: nn.Module | None
    write_norm: nn.Module | None
    writer: nn.Module | None
    """The module whose output the MLP adds to the residual stream; None if no single module has that output."""
    attention_writer: nn.Module | None = None
    """The module whose output the attention adds to the residual stream; None if no single module has that output."""
    attention_output: nn.Module | None = None
    """The output projection of the attention, before any norm; None if the block has not exactly one."""
    per_layer_input: int | None = None
    """The number of the block's argument that is the layer's own token embedding; None in families without one."""
    heads: HeadSite | None = None
    """The attention heads; None in a layer without attention, or one whose heads cannot be told apart."""

    @property
    def width(self) -> int:
        """Neurons in this layer (`d_mlp`, over all experts)."""
        return sum(site.width for site in self.sites)


@dataclass(frozen=True)
class Anatomy:
    """The parts of one model.

    `embeddings` are all modules whose output enters the network as an input: token, position and per-layer embeddings.

    Relevance rules treat these modules: `norms`; `centring_norms`, which subtract the mean first; `activations`;
    `products`, whose input is a product of two streams; `routers`, which weigh the output of other modules; and
    `qk_projections`, the query and key projections of families whose attention transformers' interface cannot replace.

    `context` is the number of learned position embeddings, None if positions are computed without a limit.
    `shares_keys` says that some layers read keys and values of earlier layers, which must run first. `streams` is the
    number of residual streams; attention and MLP work on number `stream`. `positions` encodes positions by the length
    of the text, None if the length does not matter. `recurrent` says that some layers keep a running state of the text
    instead of keys and values.
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
        """The number of tokens that the model can both read (embedding) and write (head)."""
        rows = int(self.embeddings[0].num_embeddings)  # type: ignore[arg-type]
        return min(rows, int(getattr(self.head, "out_features", rows)))

    @property
    def n_heads(self) -> int:
        return int(self.text_config.num_attention_heads)  # type: ignore[attr-defined]

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of neurons of each layer."""
        return tuple(layer.width for layer in self.layers)

    def counts(self, kind: Kind) -> tuple[int, ...]:
        """The number of units of a kind in each layer; no heads where they cannot be told apart."""
        if kind == "neuron":
            return self.widths
        if kind == "head":
            return tuple(0 if layer.heads is None else layer.heads.n_heads for layer in self.layers)
        return tuple(
            sum(site.n_experts for site in layer.sites if isinstance(site, ExpertSite)) for layer in self.layers
        )

    @property
    def embeds_per_layer(self) -> bool:
        """Whether layers take an embedding of their own for every token."""
        return any(layer.per_layer_input is not None for layer in self.layers)

    @property
    def has_experts(self) -> bool:
        return any(isinstance(site, ExpertSite) for layer in self.layers for site in layer.sites)

    def why_not(self, ability: str) -> str | None:
        """Why the model lacks this ability; None if it has it."""
        return next((reason for name, reason in self.refusals if name == ability), None)

    def require(self, ability: str) -> None:
        """Raise `ModelError` if the model lacks this ability."""
        reason = self.why_not(ability)
        if reason is not None:
            raise ModelError(f"{ability} is not available on this model: {reason}", _INSTEAD.get(ability, ""))

    def check_gradients(self, what: str) -> None:
        """Raise `ModelError` if the offloaded weights that a backward pass brings back do not fit into memory."""
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
        wrong = next((token for token in ids if not 0 <= token < self.n_tokens), None)
        if wrong is not None:
            raise UsageError(f"there is no token {wrong}", f"its tokens are 0 to {self.n_tokens - 1:,}")

    def check_length(self, tokens: int) -> None:
        """Raise `UsageError` if a text has more tokens than the model has positions."""
        if self.context is not None and tokens > self.context:
            raise UsageError(
                f"the text has {tokens:,} tokens, and the model has {self.context:,} positions", "shorten the prompt"
            )

    def goes_on(self, read: int, length: int) -> bool:
        """Whether the cache of a text's first `read` tokens equals that of a pass over `length` tokens.

        If it does not, the text must be read again from its beginning.
        """
        # A running state belongs to one position of one row, and cannot be cut or copied.
        return not self.recurrent and self.encodes_alike(read, length)

    def encodes_alike(self, length: int, other: int) -> bool:
        """Whether texts of both lengths encode their positions alike."""
        return self.positions is None or self.positions.alike(length, other)

    def as_long_as(self, *lengths: int) -> AbstractContextManager[None]:
        """Inside the block, encode the positions of each row as in a text of that many tokens.

        One length serves all rows. Outside the block, the length follows from the positions of the pass.
        """
        return nullcontext() if self.positions is None else self.positions.as_long_as(lengths)

    def coordinates(self, unit: Unit) -> tuple[Site, range]:
        """The site that computes a unit, and the unit's coordinates there: one of a neuron, several of others.

        Raises:
            UsageError: there is no such unit.
            ModelError: the heads of this layer cannot be told apart.
        """
        if unit.kind == "neuron":
            site, local = self.site_of(unit.layer, unit.index)
            return site, range(local, local + 1)
        self.check_layer(unit.layer)
        if unit.kind == "head":
            heads = self.heads_of(unit.layer)
            _check_index(unit, "head", heads.n_heads)
            return heads, range(unit.index * heads.d_head, (unit.index + 1) * heads.d_head)
        experts = next((site for site in self.layers[unit.layer].sites if isinstance(site, ExpertSite)), None)
        if experts is None:
            raise UsageError(f"layer {unit.layer} has no experts", "write a neuron, as in L24/N1005, or a head, L5/H3")
        _check_index(unit, "expert", experts.n_experts)
        return experts, range(unit.index * experts.d_expert, (unit.index + 1) * experts.d_expert)

    def has(self, unit: Unit) -> bool:
        """Whether the model has this unit."""
        try:
            self.coordinates(unit)
        except (UsageError, ModelError):
            return False
        return True

    def heads_of(self, layer: int) -> HeadSite:
        """The heads of a layer.

        Raises:
            UsageError: there is no such layer.
            ModelError: the layer has no attention, or its heads cannot be told apart.
        """
        self.check_layer(layer)
        self.require(HEADS)
        heads = self.layers[layer].heads
        if heads is None:
            raise ModelError(f"layer {layer} has no attention heads", f"layers with heads: {self._with_heads}")
        return heads

    @property
    def _with_heads(self) -> str:
        return ", ".join(str(number) for number, layer in enumerate(self.layers) if layer.heads) or "none"

    def unit_sites(self, kinds: Collection[Kind] = NEURONS) -> tuple[tuple[int, Site], ...]:
        """Where units of some kinds are: each site with its layer, from the first layer on, heads before neurons."""
        sites: list[tuple[int, Site]] = []
        for number, layer in enumerate(self.layers):
            if "head" in kinds and layer.heads is not None:
                sites.append((number, layer.heads))
            if "neuron" in kinds:
                sites += [(number, site) for site in layer.sites]
        return tuple(sites)

    def site_of(self, layer: int, index: int) -> tuple[NeuronSite, int]:
        """The site of a neuron, and the neuron's number within the site."""
        self.check(layer, index)
        for site in self.layers[layer].sites:
            if index < site.offset + site.width:
                return site, index - site.offset
        raise AssertionError("sites cover the layer")

    def scores(self, hidden: Tensor, ids: Sequence[int], forward: Callable[[Tensor], Tensor]) -> Tensor:
        """The head's scores of some tokens, `[…, len(ids)]`, for its input `hidden`, `[…, d_model]`.

        A plain head multiplies by the rows of these tokens only. Any other head (packed, offloaded, with an adapter)
        computes all scores with `forward`. Scores are not yet logits (see `sessions.model.logits`). They are on the
        device of the head, which can differ from that of the last layer.
        """
        if type(self.head) is not nn.Linear or self.head.weight.is_meta:
            scores = forward(hidden)
            return scores.index_select(-1, torch.tensor(list(ids), device=scores.device))
        wanted = torch.tensor(list(ids), device=self.head.weight.device)
        bias = None if self.head.bias is None else self.head.bias[wanted]
        return nn.functional.linear(hidden.to(wanted.device), self.head.weight[wanted], bias)

    def residual(self, output: Any) -> Tensor:
        """The residual stream in the output of a decoder layer, `[batch, seq, d_model]`.

        Of several streams, the one that attention and MLP work on.
        """
        hidden = output[0] if isinstance(output, tuple) else output
        return hidden[self.stream] if hidden.ndim == 4 else hidden

    def with_residual(self, output: Any, hidden: Tensor) -> Any:
        """The output, or the input, of a decoder layer with its residual stream replaced by `hidden`."""
        if isinstance(output, tuple):
            return (self.with_residual(output[0], hidden), *output[1:])
        if output.ndim != 4:
            return hidden
        return torch.cat([output[: self.stream], hidden[None], output[self.stream + 1 :]])

    def down_column(self, layer: int, index: int) -> Tensor:
        """The vector that one unit of a neuron's activation adds to the residual stream, `[d_model]`.

        Exact up to a positive factor if a norm stands between the MLP and the residual stream.
        """
        return self.down_columns(layer, [index])[0]

    @torch.no_grad()
    def down_columns(self, layer: int, indices: Sequence[int]) -> Tensor:
        """The `down_column` of several neurons of a layer, `[n, d_model]`."""
        places = [self.site_of(layer, index) for index in indices]
        first, norm = places[0][0], self.layers[layer].write_norm
        if any(site is not first for site, _ in places):
            return torch.stack([self.down_column(layer, index) for index in indices])
        inside = [local for _, local in places]
        columns = expert_columns(first, inside) if isinstance(first, ExpertSite) else dense_columns(first, inside)
        return columns if norm is None else odd_part(norm, columns[None])[0]

    @torch.no_grad()
    def written(self, layer: int, activations: Tensor) -> Tensor:
        """The vector that all activations of a layer, `[d_mlp]`, add to the residual stream, `[d_model]`.

        Exact up to a positive factor, as `down_column`. Dense layers only, because a router weighs experts.
        """
        dense = [site for site in self.layers[layer].sites if isinstance(site, DenseSite)]
        total = sum(dense_written(site, activations[site.offset : site.offset + site.width]) for site in dense)
        norm = self.layers[layer].write_norm
        return total if norm is None else odd_part(norm, total[None, None])[0, 0]  # type: ignore[return-value,index]

    def read_rows(self, layer: int, index: int) -> dict[str, Tensor]:
        """The directions that a neuron reads in the normed input of its MLP, `[d_model]` each, by name.

        The names are "gate" and "up", or "in" if there is no gate. Empty if the projections have unknown names.
        """
        site, local = self.site_of(layer, index)
        if isinstance(site, ExpertSite):
            return expert_rows(site, local)
        return dense_rows(site, local, self.d_model)


def _check_index(unit: Unit, what: str, count: int) -> None:
    """Raise `UsageError` unless a layer of `count` such units has this one."""
    if not 0 <= unit.index < count:
        raise UsageError(f"layer {unit.layer} has no {what} {unit.index}", f"its {what}s are 0 to {count - 1}")
