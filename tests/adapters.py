"""Adapters with random factors, made and written by PEFT itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from sessions.files.json_text import readable
from sessions.model.opening import OpenModel
from tests.families import tiny

#: Projections of each family, its down projection among them.
TARGETS = {
    "llama": ("q_proj", "gate_proj", "down_proj"),
    "phi3": ("qkv_proj", "gate_up_proj", "down_proj"),
    "gpt2": ("c_attn", "c_fc", "c_proj"),
    "gemma3": ("o_proj", "up_proj", "down_proj"),
    "gpt_neox": ("query_key_value", "dense_4h_to_h"),
    "qwen2_moe": ("q_proj", "shared_expert.down_proj"),
    "mixtral": ("q_proj", "o_proj"),
}


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def made(
    folder: Path, family: str = "llama", *, seed: int = 0, model: PreTrainedModel | None = None, **config: Any
) -> PeftModel:
    """Write a random adapter of a tiny model to a folder. Returns PEFT's own model with it."""
    base = tiny(family) if model is None else model
    words = {"r": 4, "lora_alpha": 8, "target_modules": list(TARGETS[family]), "task_type": "CAUSAL_LM", **config}
    draw = torch.Generator().manual_seed(seed)
    with quiet():
        wrapped = get_peft_model(base, LoraConfig(**words))
        for name, parameter in wrapped.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                nn.init.normal_(parameter, std=0.1, generator=draw)
        wrapped.save_pretrained(folder)
    return wrapped.eval()


def read_by_peft(folder: Path, family: str = "llama", model: PreTrainedModel | None = None) -> PeftModel:
    """A tiny model with the adapter of a folder, as any other program would load it."""
    with quiet():
        return PeftModel.from_pretrained(tiny(family) if model is None else model, folder).eval()


def small(folder: Path, opened: OpenModel, *, seed: int = 0, rank: int = 2) -> Path:
    """Write a slight adapter of the first layer of an open model, without wrapping it."""
    draw = torch.Generator().manual_seed(seed)
    names = [name for name, _ in opened.model.named_modules() if name.endswith((".0.mlp.down_proj", ".0.mlp.up_proj"))]
    tensors = {}
    for name in names:
        module: Any = opened.model.get_submodule(name)
        tensors[f"base_model.model.{name}.lora_A.weight"] = 0.01 * torch.randn(rank, module.in_features, generator=draw)
        tensors[f"base_model.model.{name}.lora_B.weight"] = 0.01 * torch.randn(
            module.out_features, rank, generator=draw
        )
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": names}
    (folder / "adapter_config.json").write_bytes(readable(config, "a config"))
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    return folder
