"""Where the parts of a causal language model are: the one file that knows architectures.

Transformers has no common names for the parts an experiment needs, but it has common shapes. The
decoder layers are the only `ModuleList` of length `num_hidden_layers` that is a direct child of
`get_decoder()`. Inside a layer, the neurons are the input coordinates of the *down projection*,
which goes by one of five names outside the attention block. In a mixture of experts the down
projections are one 3-D parameter, and the neurons are what `experts._apply_gate` returns.

Everything else that other rooms ask about a family (which products are gated, where relevance rules
apply, what the model cannot do) is answered by `Anatomy` too, so that no other file names a family.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sessions.errors import ModelError, UsageError
from sessions.model.weights import dense_columns, dense_rows, dense_written, expert_columns, expert_rows

DOWN_NAMES = frozenset({"down_proj", "c_proj", "dense_4h_to_h", "fc2", "w2"})
GATED_NAMES = frozenset({"gate_proj", "gate_up_proj"})
FINAL_NORM_NAMES = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
POSITION_NAMES = frozenset({"wpe", "embed_positions"})
#: Modules besides the down projection whose input is a product of two computed streams.
PRODUCT_NAMES = frozenset({"per_layer_projection"})
#: The gate that weighs an expert which every token goes to; it routes, so relevance treats it as a router.
SHARED_GATE_NAME = "shared_expert_gate"
#: The norm that some families put between the down projection and the residual stream.
WRITE_NORM_NAME = "post_feedforward_layernorm"
#: The norm that an MLP reads the residual stream through, the first that a block has.
READ_NORM_NAMES = ("pre_feedforward_layernorm", "post_attention_layernorm", "ln_2", "input_layernorm")
#: Projections that an MLP reads the residual stream with, by what they make.
READER_NAMES = {
    "gate_proj": "gate",
    "up_proj": "up",
    "gate_up_proj": "gate and up",
    "c_fc": "in",
    "dense_h_to_4h": "in",
    "fc1": "in",
}


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


Site = DenseSite | ExpertSite

#: An ability, such as "attribution", and why the model lacks it.
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

    @property
    def width(self) -> int:
        """Neurons in this layer (`d_mlp`, over all experts)."""
        return sum(site.width for site in self.sites)


@dataclass(frozen=True)
class Anatomy:
    """The parts of one model.

    `embeddings` are all modules whose output enters the network as an input (token, position and
    per-layer embeddings). `norms` and `activations` are the modules that a linearisation replaces,
    `products` those whose input is a product of two streams, `qk_projections` the query and key
    projections of families whose attention cannot be exchanged through transformers' interface.
    `context` is the number of positions a learned position embedding has, None where positions are
    computed and have no end.
    """

    decoder: nn.Module
    layers: tuple[Layer, ...]
    final_norm: nn.Module
    head: nn.Module
    embeddings: tuple[nn.Module, ...]
    norms: tuple[nn.Module, ...]
    activations: tuple[nn.Module, ...]
    products: tuple[nn.Module, ...]
    routers: tuple[nn.Module, ...]
    qk_projections: tuple[nn.Module, ...]
    context: int | None
    text_config: object
    refusals: tuple[Refusal, ...]

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def d_model(self) -> int:
        return int(self.text_config.hidden_size)  # type: ignore[attr-defined]

    @property
    def n_heads(self) -> int:
        return int(self.text_config.num_attention_heads)  # type: ignore[attr-defined]

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of each layer."""
        return tuple(layer.width for layer in self.layers)

    @property
    def has_experts(self) -> bool:
        return any(isinstance(site, ExpertSite) for layer in self.layers for site in layer.sites)

    def require(self, ability: str) -> None:
        """Raise `ModelError` when the model is known not to be able to do this."""
        for name, reason in self.refusals:
            if name == ability:
                raise ModelError(
                    f"{ability} is not available on this model: {reason}",
                    "generate, top, ablate, amplify and sweep work on it, with neurons named one by one",
                )

    def check(self, layer: int, index: int) -> None:
        """Raise `UsageError` unless layer `layer` has a neuron `index`."""
        if not 0 <= layer < self.n_layers:
            raise UsageError(f"there is no layer {layer}", f"layers are 0 to {self.n_layers - 1}")
        width = self.layers[layer].width
        if not 0 <= index < width:
            raise UsageError(f"layer {layer} has no neuron {index}", f"its neurons are 0 to {width - 1}")

    def check_length(self, tokens: int) -> None:
        """Raise `UsageError` when a text is longer than the model has positions for."""
        if self.context is not None and tokens > self.context:
            raise UsageError(
                f"the text has {tokens:,} tokens, and the model has {self.context:,} positions", "shorten the prompt"
            )

    def site_of(self, layer: int, index: int) -> tuple[Site, int]:
        """The site that holds a neuron, and the neuron's number within the site."""
        self.check(layer, index)
        for site in self.layers[layer].sites:
            if index < site.offset + site.width:
                return site, index - site.offset
        raise AssertionError("sites cover the layer")

    @property
    def shares_keys(self) -> bool:
        """Whether some layers read the keys and values of earlier ones, and so need these to have run."""
        return bool(getattr(self.text_config, "num_kv_shared_layers", 0))

    def logits(self, hidden: Tensor, ids: Sequence[int]) -> Tensor:
        """Raw logits of some tokens alone, `[…, len(ids)]`, from what enters the head, `[…, d_model]`.

        The rows of a plain head are used by themselves; any other kind (packed weights, an adapter) computes all.
        No hook of the head is called.
        """
        wanted = torch.tensor(list(ids), device=hidden.device)
        if type(self.head) is not nn.Linear:
            return self.head.forward(hidden).index_select(-1, wanted)
        bias = None if self.head.bias is None else self.head.bias[wanted]
        return nn.functional.linear(hidden, self.head.weight[wanted], bias)

    def residual(self, output: Any) -> Tensor:
        """The residual stream in what a decoder layer returned, `[batch, seq, d_model]`: of several streams (AltUp)
        the one that attention and MLP work on."""
        hidden = output[0] if isinstance(output, tuple) else output
        return hidden[getattr(self.text_config, "altup_active_idx", 0)] if hidden.ndim == 4 else hidden

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
        return columns if norm is None else norm(columns[None])[0]

    @torch.no_grad()
    def written(self, layer: int, activations: Tensor) -> Tensor:
        """What these activations of all neurons of a layer, `[d_mlp]`, add to the residual stream, `[d_model]`.

        Up to a positive factor, as a column. Of a dense layer only: experts are weighed by their router.
        """
        dense = [site for site in self.layers[layer].sites if isinstance(site, DenseSite)]
        total = sum(dense_written(site, activations[site.offset : site.offset + site.width]) for site in dense)
        norm = self.layers[layer].write_norm
        return total if norm is None else norm(total[None, None])[0, 0]  # type: ignore[return-value,index]

    def read_rows(self, layer: int, index: int) -> dict[str, Tensor]:
        """What a neuron reads: by name ("gate", "up", or "in" where there is no gate) the direction, `[d_model]`, in
        what its MLP is given, after the norm. Empty where the projections go by no name this file knows."""
        site, local = self.site_of(layer, index)
        if isinstance(site, ExpertSite):
            return expert_rows(site, local)
        return dense_rows(site, local, self.d_model)


def read(model: PreTrainedModel) -> Anatomy:
    """Find the parts of `model`, and prepare its experts for hooks.

    Raises:
        ModelError: the model is not built in a way this file knows; the message names the part.
    """
    family = str(getattr(model.config, "model_type", type(model).__name__))
    decoder = model.get_decoder()
    config = model.config.get_text_config()
    blocks = _decoder_blocks(decoder, config, family)
    layers = tuple(_layer(block, family, number) for number, block in enumerate(blocks))
    head = model.get_output_embeddings()
    if head is None:
        raise ModelError(f"'{family}' has no output embedding", "open a causal language model")
    experts = [site for layer in layers for site in layer.sites if isinstance(site, ExpertSite)]
    if experts:
        # Of the implementations transformers offers, this one calls `_apply_gate` with rows in token order.
        model.set_experts_implementation("batched_mm")
    return Anatomy(
        decoder=decoder,
        layers=layers,
        final_norm=_final_norm(decoder, family),
        head=head,
        embeddings=tuple(m for m in decoder.modules() if isinstance(m, nn.Embedding)),
        norms=tuple(m for m in decoder.modules() if _is_norm(m)),
        activations=tuple(m for m in decoder.modules() if _is_activation(m)),
        products=tuple(m for name, m in decoder.named_modules() if _last(name) in PRODUCT_NAMES),
        routers=(
            *(site.router for site in experts if site.router is not None),
            *(m for name, m in decoder.named_modules() if _last(name) == SHARED_GATE_NAME),
        ),
        qk_projections=tuple(_unexchangeable_qk(blocks)),
        context=_context(decoder),
        text_config=config,
        refusals=tuple(_refusals(decoder, blocks, experts, family)),
    )


def _decoder_blocks(decoder: nn.Module, config: object, family: str) -> nn.ModuleList:
    count = getattr(config, "num_hidden_layers", None)
    stacks = [m for m in decoder.children() if isinstance(m, nn.ModuleList) and len(m) == count]
    if len(stacks) > 1:  # a model may keep other lists of that length: the blocks are those with a down projection
        stacks = [stack for stack in stacks if next(_dense_sites(stack[0]), None) or next(_experts(stack[0]), None)]
    if len(stacks) != 1:
        raise ModelError(
            f"cannot tell the decoder layers of '{family}' apart: {len(stacks)} lists of {count} blocks",
            "this architecture is not supported",
        )
    return stacks[0]


def _layer(block: nn.Module, family: str, number: int) -> Layer:
    sites: list[Site] = []
    offset = 0
    for down, gated, readers in _dense_sites(block):
        sites.append(DenseSite(down, offset, _in_features(down), gated, readers))
        offset += sites[-1].width
    for experts, router in _experts(block):
        sites.append(_expert_site(experts, router, offset))
        offset += sites[-1].width
    if not sites:
        raise ModelError(
            f"layer {number} of '{family}' has no down projection this workbench knows",
            f"looked for {', '.join(sorted(DOWN_NAMES))} and for experts",
        )
    children = dict(block.named_children())
    write_norm = children.get(WRITE_NORM_NAME)
    read_norm = next((children[name] for name in READ_NORM_NAMES if name in children), None)
    if write_norm is not None and READ_NORM_NAMES[0] not in children:
        read_norm = None  # a family that norms what comes out of attention and MLP, and not what goes in
    return Layer(block, tuple(sites), read_norm, write_norm, _writer(block, sites, write_norm))


def _writer(block: nn.Module, sites: Sequence[Site], write_norm: nn.Module | None) -> nn.Module | None:
    """The norm on the way out, a dense MLP's down projection, or the module that sums what the experts say."""
    if write_norm is not None:
        return write_norm
    experts = {id(site.experts) for site in sites if isinstance(site, ExpertSite)}
    if not experts:
        return sites[0].down if len(sites) == 1 and isinstance(sites[0], DenseSite) else None
    summing = [m for m in block.modules() if any(id(child) in experts for child in m.children())]
    return summing[0] if len(summing) == 1 and summing[0] is not block else None


def _dense_sites(block: nn.Module) -> Iterator[tuple[nn.Module, bool, tuple[tuple[str, nn.Module], ...]]]:
    """Each down projection of a block, whether it is gated, and the projections that feed it; attention's own
    `c_proj` left out."""
    for name, module in block.named_modules():
        *parents, last = name.split(".")
        if last not in DOWN_NAMES or any("attn" in p or "attention" in p for p in parents):
            continue
        mlp = dict((block.get_submodule(".".join(parents)) if parents else block).named_children())
        readers = tuple((READER_NAMES[child], module) for child, module in mlp.items() if child in READER_NAMES)
        yield module, any(child in GATED_NAMES for child in mlp), readers


def _experts(block: nn.Module) -> Iterator[tuple[nn.Module, nn.Module | None]]:
    """Each block of experts of a layer, with the router that feeds it."""
    for parent in block.modules():
        children = dict(parent.named_children())
        for child in children.values():
            if hasattr(child, "_apply_gate"):
                yield child, children.get("router", children.get("gate"))


def _expert_site(experts: nn.Module, router: nn.Module | None, offset: int) -> ExpertSite:
    down: Tensor = experts.down_proj  # type: ignore[assignment]
    n_experts, *sides = down.shape
    d_expert = sides[0] if getattr(experts, "is_transposed", False) else sides[1]
    activation = getattr(experts, "act_fn", None)
    return ExpertSite(experts, router, offset, n_experts, d_expert, activation if _is_module(activation) else None)


def _final_norm(decoder: nn.Module, family: str) -> nn.Module:
    for name in FINAL_NORM_NAMES:
        module = getattr(decoder, name, None)
        if isinstance(module, nn.Module):
            return module
    raise ModelError(f"'{family}' has no final norm this workbench knows", "this architecture is not supported")


def _context(decoder: nn.Module) -> int | None:
    for name, module in decoder.named_modules():
        if _last(name) in POSITION_NAMES and isinstance(module, nn.Embedding):
            return int(module.num_embeddings - getattr(module, "offset", 0))
    return None


def _unexchangeable_qk(blocks: nn.ModuleList) -> Iterator[nn.Module]:
    """Query and key projections of attention modules written before transformers' attention interface."""
    for attention in _attentions(blocks):
        if not has_eager_attention(attention):
            yield from _separate_qk(attention)


def _separate_qk(attention: nn.Module) -> tuple[nn.Module, ...]:
    """The projections that make queries and keys alone; none where they are fused with others."""
    children = dict(attention.named_children())
    names = ("q_proj", "k_proj")
    return tuple(children[name] for name in names) if children.keys() >= set(names) else ()


def _attentions(blocks: nn.ModuleList) -> Iterator[nn.Module]:
    """The innermost attention modules."""
    for module in blocks.modules():
        if _is_attention(module) and not any(_is_attention(child) for child in module.children()):
            yield module


def _is_attention(module: nn.Module) -> bool:
    return type(module).__name__.endswith("Attention")


def has_eager_attention(module: nn.Module) -> bool:
    """Whether the file that defines `module` offers the family's own eager attention function."""
    return hasattr(sys.modules[type(module).__module__], "eager_attention_forward")


def _refusals(decoder: nn.Module, blocks: nn.ModuleList, experts: list[ExpertSite], family: str) -> Iterator[Refusal]:
    """What this model cannot do, with the reason."""
    if any(site.activation is None for site in experts):
        yield (
            "attribution",
            f"the experts of '{family}' compute their activation inside a function, where no rule reaches",
        )
    if any(_last(name) == "altup" for name, _ in decoder.named_modules()):
        yield (
            "attribution",
            f"'{family}' mixes several residual streams by learned products (AltUp), which no rule covers",
        )
    for attention in _attentions(blocks):
        if not has_eager_attention(attention) and not _separate_qk(attention):
            yield (
                "attribution",
                f"the attention of '{family}' can neither be exchanged nor its queries and keys held constant",
            )
            return


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower() and not any(True for _ in module.children())


def _is_activation(module: nn.Module) -> bool:
    home = type(module).__module__
    return home == "transformers.activations" or home == "torch.nn.modules.activation"


def _is_module(thing: object) -> bool:
    return isinstance(thing, nn.Module)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _in_features(down: nn.Module) -> int:
    """Inputs of a projection: `Linear` says so, GPT-2's `Conv1D` keeps its weight transposed."""
    features = getattr(down, "in_features", None)
    return int(features if features is not None else down.weight.shape[0])  # type: ignore[index]
