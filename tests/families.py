"""Tiny random models of real families, and what tests need to work with them.

`python -m tests.families` writes what each can do into `docs/limits.md`, whose words `tests/test_families.py` proves.

The models are transformers' own classes with three layers, a vocabulary of 64 and float32 weights
drawn from a seed. Every weight is random, those of the norms too, and large enough that a rule which
is missing somewhere changes a result by far more than rounding does.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

VOCABULARY = 64
LAYERS = 3
WINDOW = 16
#: Tokens from which on the families that stretch their rotary embeddings encode positions otherwise.
STRETCHED = 16

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
    "gemma2": ("gemma2", {**_SLIDING, "query_pre_attn_scalar": 8, "final_logit_softcapping": 2.0}),
    "gemma3": ("gemma3_text", {**_SLIDING, "query_pre_attn_scalar": 8}),
    "gemma3n": (
        "gemma3n_text",
        {
            **_PER_LAYER,
            "intermediate_size": [48] * LAYERS,
            "laurel_rank": 4,
            "activation_sparsity_pattern": [0.0] * LAYERS,
            "altup_num_inputs": 2,
            "final_logit_softcapping": 2.0,
        },
    ),
    "gemma4": (
        "gemma4_text",
        {
            **_PER_LAYER,
            "layer_types": ["sliding_attention", "full_attention", "full_attention"],
            "global_head_dim": 16,
            "use_double_wide_mlp": True,
            "final_logit_softcapping": 2.0,
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
    "granite": (
        "granite",
        {
            **_PLAIN,
            "logits_scaling": 4.0,
            "residual_multiplier": 0.7,
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.2,
        },
    ),
    "cohere": ("cohere", {**_PLAIN, "logit_scale": 0.25}),
    "phi3-longrope": (
        "phi3",
        {
            **_PLAIN,
            "original_max_position_embeddings": STRETCHED,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "original_max_position_embeddings": STRETCHED,
                "short_factor": [1.0, 1.0, 1.0, 1.0],
                "long_factor": [1.5, 2.0, 4.0, 8.0],
            },
        },
    ),
    "llama-dynamic": (
        "llama",
        {
            **_PLAIN,
            "max_position_embeddings": STRETCHED,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
        },
    ),
    "glm": ("glm", _PLAIN),
    "glm4": ("glm4", _PLAIN),
    "falcon": (
        "falcon",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
        },
    ),
    "starcoder2": ("starcoder2", _PLAIN),
    "stablelm": ("stablelm", _PLAIN),
    "nemotron": ("nemotron", _PLAIN),
    "exaone4": ("exaone4", _PLAIN),
    "opt": (
        "opt",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "word_embed_proj_dim": 32,
            "ffn_dim": 48,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
        },
    ),
    "phi": ("phi", _PLAIN),
    "deepseek_v3": (
        "deepseek_v3",
        {
            **{name: value for name, value in _PLAIN.items() if name != "head_dim"},
            **_EXPERTS,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "n_shared_experts": 1,
            "n_group": 2,
            "topk_group": 1,
            "moe_intermediate_size": 16,
            "first_k_dense_replace": 1,
            "q_lora_rank": 12,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
    ),
    "glm4_moe": (
        "glm4_moe",
        {
            **_PLAIN,
            **_EXPERTS,
            "n_routed_experts": 4,
            "n_shared_experts": 1,
            "moe_intermediate_size": 16,
            "first_k_dense_replace": 1,
        },
    ),
    "qwen3_next": (
        "qwen3_next",
        {
            **_PLAIN,
            **_EXPERTS,
            "num_experts": 4,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 24,
            "decoder_sparse_step": 1,
            "layer_types": ["linear_attention", "full_attention", "linear_attention"],
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
    ),
    "falcon_h1": (
        "falcon_h1",
        {**_PLAIN, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8},
    ),
    "jamba": (
        "jamba",
        {
            **_PLAIN,
            **_EXPERTS,
            "num_experts": 2,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
        },
    ),
}

MOE = ("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss")
#: Built the old way, with attention that transformers' interface cannot reach.
OLD = ("bloom",)
#: Families that `tests/test_families.py` alone goes through.
OTHERS = tuple(_CONFIGS)[tuple(_CONFIGS).index("granite") :]
ALL = tuple(_CONFIGS)
DENSE = tuple(family for family in _CONFIGS if family not in MOE + OLD + OTHERS)

#: Why relevance is not propagated through some families: what `discover`, unless `--method atp`, and `edges` refuse.
NO_RULE = {
    "gemma3n": "'gemma3n_text' mixes several residual streams by learned products (AltUp), which no rule covers",
    "gpt_oss": "the experts of 'gpt_oss' compute their activation inside a function, where no rule reaches",
    "bloom": "the attention of 'bloom' can neither be exchanged nor its queries and keys held constant",
    "falcon": "the attention of 'falcon' can neither be exchanged nor its queries and keys held constant",
    **{
        family: f"layers of '{family}' keep a running state (linear attention, state spaces), which no rule covers"
        for family in ("qwen3_next", "falcon_h1", "jamba")
    },
}


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


#: The page with the table, and what stands around the table in it.
PAGE = Path(__file__).parents[1] / "docs" / "limits.md"
MARKS = "<!-- families: written by `python -m tests.families` -->\n\n", "\n<!-- end of families -->\n"


def table() -> str:
    """The families by what they can do, as Markdown."""
    reasons: dict[str, list[str]] = {}
    for family in ALL:
        reason = NO_RULE.get(family, "").replace(f"'{_CONFIGS[family][0]}'", "the family")
        reasons.setdefault(reason, []).append(f"`{family}`")
    able = {
        reason: f"all but `edges`, and `discover` with `--method atp` only: {reason}" if reason else "everything"
        for reason in reasons
    }
    rows = [f"| {able[reason]} | {' '.join(sorted(names))} |" for reason, names in sorted(reasons.items())]
    return "\n".join(["| can do | families |", "| --- | --- |", *rows]) + "\n"


def main() -> None:
    head, _, rest = PAGE.read_text("utf-8").partition(MARKS[0])
    PAGE.write_text(f"{head}{MARKS[0]}{table()}{MARKS[1]}{rest.partition(MARKS[1])[2]}", "utf-8")


if __name__ == "__main__":
    main()
