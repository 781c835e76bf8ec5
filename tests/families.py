"""Tiny random models of real families, and what tests need to work with them.

The models are transformers' own classes with three layers, a vocabulary of 64 and float32 weights
drawn from a seed. Every weight is random, those of the norms too, and large enough that a rule which
is missing somewhere changes a result by far more than rounding does.
"""

from __future__ import annotations

import string
from typing import Any
from zlib import crc32

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

VOCABULARY = 64
LAYERS = 3
WINDOW = 16

_PLAIN: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
}
_SLIDING: dict[str, Any] = {
    **_PLAIN,
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
_PER_LAYER: dict[str, Any] = {
    **_SLIDING,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 8,
    "num_kv_shared_layers": 1,
}
_EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2}

#: Family → (transformers' model type, arguments of its config).
_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", _PLAIN),
    "mistral": ("mistral", {**_PLAIN, "sliding_window": WINDOW}),
    "smollm3": ("smollm3", {**_PLAIN, "no_rope_layers": [1, 0, 1]}),
    "qwen2": ("qwen2", _PLAIN),
    "qwen3": ("qwen3", _PLAIN),
    "gemma": ("gemma", _PLAIN),
    "gemma2": ("gemma2", {**_SLIDING, "query_pre_attn_scalar": 8}),
    "gemma3": ("gemma3_text", {**_SLIDING, "query_pre_attn_scalar": 8}),
    "gemma3n": (
        "gemma3n_text",
        {
            **_PER_LAYER,
            "intermediate_size": [48] * LAYERS,
            "laurel_rank": 4,
            "activation_sparsity_pattern": [0.0] * LAYERS,
            "altup_num_inputs": 2,
        },
    ),
    "gemma4": (
        "gemma4_text",
        {
            **_PER_LAYER,
            "layer_types": ["sliding_attention", "full_attention", "full_attention"],
            "global_head_dim": 16,
            "use_double_wide_mlp": True,
        },
    ),
    "phi3": ("phi3", _PLAIN),
    "olmo2": ("olmo2", _PLAIN),
    "gpt2": ("gpt2", {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": LAYERS, "n_head": 4, "n_positions": 128}),
    "gpt_neo": (
        "gpt_neo",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "num_layers": LAYERS,
            "attention_types": [[["global", "local", "global"], 1]],
            "window_size": WINDOW,
            "num_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 128,
        },
    ),
    "gpt_neox": ("gpt_neox", _PLAIN),
    "mixtral": ("mixtral", {**_PLAIN, **_EXPERTS, "num_local_experts": 4}),
    "qwen2_moe": (
        "qwen2_moe",
        {
            **_PLAIN,
            **_EXPERTS,
            "num_experts": 4,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 24,
            "decoder_sparse_step": 1,
        },
    ),
    "qwen3_moe": (
        "qwen3_moe",
        {
            **_PLAIN,
            **_EXPERTS,
            "num_experts": 4,
            "moe_intermediate_size": 16,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [0],
        },
    ),
    "gpt_oss": (
        "gpt_oss",
        {
            **_SLIDING,
            **_EXPERTS,
            "num_local_experts": 4,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    "bloom": ("bloom", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": LAYERS, "n_head": 4}),
}

MOE = ("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss")
#: Built the old way, with attention that transformers' interface cannot reach.
OLD = ("bloom",)
DENSE = tuple(family for family in _CONFIGS if family not in MOE + OLD)


def tiny(family: str, seed: int = 0, *, biases: bool = False, **changed: Any) -> PreTrainedModel:
    """A random model of a family, some of its config `changed`. Its biases are zero unless `biases` asks for random
    ones."""
    kind, arguments = _CONFIGS[family]
    config = AutoConfig.for_model(kind, **{**arguments, **changed}, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    _randomise(model, torch.Generator().manual_seed(crc32(family.encode()) + seed), biases)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def _randomise(model: nn.Module, generator: torch.Generator, biases: bool) -> None:
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if "bias" in name.rpartition(".")[2]:
            weight.copy_(0.2 * noise if biases else torch.zeros_like(noise))
        elif weight.ndim >= 2:
            weight.copy_(0.25 * noise)
        else:  # norms and single scales, around the value they start from: 1, or 0 where the family adds the 1
            weight.add_(0.3 * noise)


def tiny_tokenizer(*, bos: bool = True, template: str | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer for the tiny models: letters, a few pairs, and each lower-case letter with a leading space.

    Its specials are `<pad>` 0, `<s>` 1 (before every text, if `bos`), `</s>` 2 and `<unk>` 3.
    """
    space, letters = "Ġ", list(string.ascii_lowercase)
    pairs = [(space, letter) for letter in letters] + [("t", "h"), ("h", "e"), ("i", "n")]
    words = ["<pad>", "<s>", "</s>", "<unk>", space, "Ċ", *letters, ".", ",", "?", *("".join(pair) for pair in pairs)]
    backend = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, pairs, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if bos:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    assert len(tokenizer) == VOCABULARY
    tokenizer.chat_template = template
    return tokenizer
