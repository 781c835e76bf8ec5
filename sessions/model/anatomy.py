"""Finds the parts of a causal language model. No other file knows architectures.

Transformers has no common names for the parts that an experiment needs, but it has common structures. The
decoder layers are the only `ModuleList` of length `num_hidden_layers` that is a direct child of
`get_decoder()`. Inside a layer, the neurons are the input coordinates of the *down projection*,
which has one of the names in `DOWN_NAMES`, outside the attention block. In a mixture of experts the down
projections are one 3-D parameter, and the neurons are the return value of `experts._apply_gate`.

`Anatomy` also answers the other questions about a family (which products are gated, where relevance rules
apply, what the model cannot do), so that no other file names a family.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import LinearAttentionCacheLayerMixin

from sessions.errors import ModelError
from sessions.model.homes import home_of
from sessions.model.info import HEADS, RULES
from sessions.model.parts import Anatomy, Layer, Refusal
from sessions.model.positions import by_length
from sessions.model.sites import DenseSite, ExpertSite, HeadSite, NeuronSite

DOWN_NAMES = frozenset({"down_proj", "c_proj", "dense_4h_to_h", "fc2", "w2", "output_linear"})
GATED_NAMES = frozenset({"gate_proj", "gate_up_proj", "input_linear"})
FINAL_NORM_NAMES = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
POSITION_NAMES = frozenset({"wpe", "embed_positions"})
#: Modules besides the down projection whose input is a product of two computed streams.
PRODUCT_NAMES = frozenset({"per_layer_projection"})
#: The gate that weighs the shared expert of all tokens; relevance treats it as a router.
SHARED_GATE_NAME = "shared_expert_gate"
#: The norm of some families between the down projection and the residual stream.
WRITE_NORM_NAME = "post_feedforward_layernorm"
#: Names of the norm before the MLP; a block's is the first of these that it has.
READ_NORM_NAMES = ("pre_feedforward_layernorm", "post_attention_layernorm", "ln_2", "input_layernorm")
#: The norm between the attention and the residual stream, in families that have `WRITE_NORM_NAME` too.
ATTENTION_WRITE_NORM_NAME = "post_attention_layernorm"
#: The last projection of an attention module.
OUTPUT_NAMES = frozenset({"o_proj", "out_proj", "c_proj", "dense"})
#: The argument of a decoder layer that is the layer's own token embedding.
PER_LAYER_NAME = "per_layer_input"
#: The projections that read the residual stream in an MLP, and what each computes.
READER_NAMES = {
    "gate_proj": "gate",
    "up_proj": "up",
    "gate_up_proj": "gate and up",
    "input_linear": "gate and up",
    "c_fc": "in",
    "dense_h_to_4h": "in",
    "fc1": "in",
}


def read(model: PreTrainedModel) -> Anatomy:
    """Find the parts of `model`, and prepare its experts for hooks and its rotary modules for independent rows.

    Raises:
        ModelError: the architecture is unknown; the message names the part.
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
        # This implementation calls `_apply_gate` once for the rows of all experts, and copies no weights. `hooks` knows
        # the order of the rows.
        model.set_experts_implementation("grouped_mm")
    recurrent = _is_recurrent(config)
    norms = [module for module in decoder.modules() if _is_norm(module)]
    centring = {kind for kind, norm in {type(norm): norm for norm in norms}.items() if _centres(norm)}
    return Anatomy(
        decoder=decoder,
        layers=layers,
        final_norm=_final_norm(decoder, family),
        head=head,
        embeddings=tuple(m for m in decoder.modules() if isinstance(m, nn.Embedding)),
        norms=tuple(norm for norm in norms if type(norm) not in centring),
        centring_norms=tuple(norm for norm in norms if type(norm) in centring),
        activations=tuple(m for m in decoder.modules() if _is_activation(m)),
        products=tuple(m for name, m in decoder.named_modules() if _last(name) in PRODUCT_NAMES),
        routers=(
            *(site.router for site in experts if site.router is not None),
            *(m for name, m in decoder.named_modules() if _last(name) == SHARED_GATE_NAME),
            *(gate for attention in _attentions(blocks) for gate in _output_gates(attention)),
        ),
        qk_projections=tuple(_unexchangeable_qk(blocks)),
        context=_context(decoder),
        shares_keys=bool(getattr(config, "num_kv_shared_layers", 0)),
        streams=int(getattr(config, "altup_num_inputs", 1)),
        stream=int(getattr(config, "altup_active_idx", 0)),
        positions=by_length(decoder),
        recurrent=recurrent,
        text_config=config,
        refusals=tuple(_refusals(decoder, blocks, experts, recurrent, family)),
    )


def _decoder_blocks(decoder: nn.Module, config: object, family: str) -> nn.ModuleList:
    count = getattr(config, "num_hidden_layers", None)
    stacks = [m for m in decoder.children() if isinstance(m, nn.ModuleList) and len(m) == count]
    if len(stacks) > 1:  # other lists can have that length: the blocks are those with a down projection
        stacks = [stack for stack in stacks if next(_dense_sites(stack[0]), None) or next(_experts(stack[0]), None)]
    if len(stacks) != 1:
        raise ModelError(
            f"cannot tell the decoder layers of '{family}' apart: {len(stacks)} lists of {count} blocks",
            "this architecture is not supported",
        )
    return stacks[0]


def _layer(block: nn.Module, family: str, number: int) -> Layer:
    sites: list[NeuronSite] = []
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
        read_norm = None  # this family norms the outputs of attention and MLP, not their inputs
    return Layer(
        block,
        tuple(sites),
        read_norm,
        write_norm,
        _writer(block, sites, write_norm),
        _attention_writer(block, write_norm),
        _attention_output(block),
        _per_layer_input(block),
        _heads(block),
    )


def _heads(block: nn.Module) -> HeadSite | None:
    """The heads of the block's only attention module; None if it has none, or its output projection reads no whole
    number of equal slices."""
    pairs = [
        (attention, child)
        for attention in _attentions(block)
        for name, child in attention.named_children()
        if name in OUTPUT_NAMES
    ]
    if len(pairs) != 1:
        return None
    attention, output = pairs[0]
    config = getattr(attention, "config", None)
    count = getattr(attention, "num_heads", getattr(config, "num_attention_heads", None))
    width = _in_features(output)
    if not isinstance(count, int) or width % count:
        return None
    shared = getattr(attention, "num_key_value_groups", None)
    keys = count // shared if isinstance(shared, int) and shared else getattr(attention, "num_kv_heads", count)
    return HeadSite(output, attention, count, int(keys), width // count)


def _writer(block: nn.Module, sites: Sequence[NeuronSite], write_norm: nn.Module | None) -> nn.Module | None:
    """The norm after the MLP, a dense MLP's down projection, or the module that sums the experts' outputs."""
    if write_norm is not None:
        return write_norm
    experts = {id(site.experts) for site in sites if isinstance(site, ExpertSite)}
    if not experts:
        return sites[0].down if len(sites) == 1 and isinstance(sites[0], DenseSite) else None
    summing = [m for m in block.modules() if any(id(child) in experts for child in m.children())]
    return summing[0] if len(summing) == 1 and summing[0] is not block else None


def _attention_writer(block: nn.Module, write_norm: nn.Module | None) -> nn.Module | None:
    """The norm after the attention, or else the output projection of the block's only attention module."""
    children = dict(block.named_children())
    if write_norm is not None and ATTENTION_WRITE_NORM_NAME in children:
        return children[ATTENTION_WRITE_NORM_NAME]
    return _attention_output(block)


def _attention_output(block: nn.Module) -> nn.Module | None:
    outputs = [
        child for attention in _attentions(block) for name, child in attention.named_children() if name in OUTPUT_NAMES
    ]
    return outputs[0] if len(outputs) == 1 else None


def _per_layer_input(block: nn.Module) -> int | None:
    if not any(_last(name) in PRODUCT_NAMES for name, _ in block.named_modules()):
        return None
    names = list(inspect.signature(type(block).forward).parameters)[1:]  # without self
    return names.index(PER_LAYER_NAME) if PER_LAYER_NAME in names else None


def _dense_sites(block: nn.Module) -> Iterator[tuple[nn.Module, bool, tuple[tuple[str, nn.Module], ...]]]:
    """Each down projection of a block, whether it is gated, and the projections that feed it; not attention's
    `c_proj`."""
    for name, module in block.named_modules():
        *parents, last = name.split(".")
        if last not in DOWN_NAMES or any("attn" in p or "attention" in p for p in parents) or _of_experts(module):
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


def _is_recurrent(config: PreTrainedConfig) -> bool:
    """Whether some layers keep a running state (linear attention, state spaces), which no other row can reuse."""
    return any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in DynamicCache(config=config).layers)


def _unexchangeable_qk(blocks: nn.ModuleList) -> Iterator[nn.Module]:
    """Query and key projections of attention modules written before transformers' attention interface."""
    for attention in _attentions(blocks):
        if not has_eager_attention(attention):
            yield from _separate_qk(attention)


def _separate_qk(attention: nn.Module) -> tuple[nn.Module, ...]:
    """The separate query and key projections; none if they are fused with others."""
    children = dict(attention.named_children())
    names = ("q_proj", "k_proj")
    return tuple(children[name] for name in names) if children.keys() >= set(names) else ()


def _attentions(blocks: nn.Module) -> Iterator[nn.Module]:
    """The innermost attention modules."""
    for module in blocks.modules():
        if _is_attention(module) and not any(_is_attention(child) for child in module.children()):
            yield module


def _output_gates(attention: nn.Module) -> Iterator[nn.Module]:
    """The projections that gate the output of an attention module."""
    return (child for name, child in attention.named_children() if "gate" in name and isinstance(child, nn.Linear))


def _is_attention(module: nn.Module) -> bool:
    return type(module).__name__.endswith("Attention")


def _unknown_mlp(block: nn.Module) -> str | None:
    """The name of a part of a block that has an activation function but no known neurons; None if there is none.

    Activation functions in the attention, or in the MLP of a known site, do not count.
    """
    parents = {".".join(name.split(".")[:-1]) for name, module in block.named_modules() if _is_activation(module)}
    known = {".".join(name.split(".")[:-1]) for name, _ in block.named_modules() if _last(name) in DOWN_NAMES}
    known |= {name for name, module in block.named_modules() if hasattr(module, "_apply_gate") or _is_attention(module)}
    return next((p for p in sorted(parents) if not any(_within(p, k) or _within(k, p) for k in known)), None)


def _within(name: str, parent: str) -> bool:
    return name == parent or not parent or name.startswith(f"{parent}.")


def has_eager_attention(module: nn.Module) -> bool:
    """Whether the file that defines `module` offers the family's own eager attention function."""
    return hasattr(sys.modules[type(module).__module__], "eager_attention_forward")


def _refusals(
    decoder: nn.Module, blocks: nn.ModuleList, experts: list[ExpertSite], recurrent: bool, family: str
) -> Iterator[Refusal]:
    """The abilities that this model lacks, with the reason."""
    if not any(_heads(block) for block in blocks):
        yield HEADS, f"no attention of '{family}' has an output projection that reads equal slices, one a head"
    if any(site.activation is None for site in experts):
        yield (
            RULES,
            f"the experts of '{family}' compute their activation inside a function, where no rule reaches",
        )
    if any(_last(name) == "altup" for name, _ in decoder.named_modules()):
        yield (
            RULES,
            f"'{family}' mixes several residual streams by learned products (AltUp), which no rule covers",
        )
    if recurrent:
        yield (
            RULES,
            f"layers of '{family}' keep a running state (linear attention, state spaces), which no rule covers",
        )
    unknown = next(filter(None, map(_unknown_mlp, blocks)), None)
    if unknown is not None:
        yield (
            RULES,
            f"'{unknown}' of '{family}' has an activation function, and it is not known what it writes with",
        )
    for attention in _attentions(blocks):
        if not has_eager_attention(attention) and not _separate_qk(attention):
            yield (
                RULES,
                f"the attention of '{family}' can neither be exchanged nor its queries and keys held constant",
            )
            return


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower() and not any(True for _ in module.children())


def _centres(norm: nn.Module) -> bool:
    """Whether a norm subtracts the mean, so that a constant added to all coordinates changes nothing."""
    if isinstance(norm, nn.LayerNorm):
        return True
    weight = getattr(norm, "weight", None)
    shape = getattr(norm, "normalized_shape", None) if weight is None else weight.shape
    needed = [arg for arg in inspect.signature(norm.forward).parameters.values() if arg.default is arg.empty]
    home = home_of(norm)  # its weights may be offloaded
    if shape is None or len(needed) > 1 or home.type == "meta":
        return False
    dtype = torch.float32 if weight is None else weight.dtype
    probe = torch.linspace(-1, 2, shape[-1], dtype=torch.float32).pow(3).expand(shape)[None].to(home, dtype)
    with torch.no_grad():
        return bool(torch.allclose(norm(probe).float(), norm(probe + 2).float(), rtol=0.02, atol=0.02))


def _is_activation(module: nn.Module) -> bool:
    home = type(module).__module__
    return home == "transformers.activations" or home == "torch.nn.modules.activation"


def _is_module(thing: object) -> bool:
    return isinstance(thing, nn.Module)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _of_experts(module: nn.Module) -> bool:
    """Whether a projection has a matrix for each of several experts."""
    return getattr(getattr(module, "weight", None), "ndim", 2) == 3


def _in_features(down: nn.Module) -> int:
    """The number of inputs of a projection; GPT-2's `Conv1D` stores its weight transposed."""
    features = getattr(down, "in_features", None)
    return int(features if features is not None else down.weight.shape[0])  # type: ignore[index]
