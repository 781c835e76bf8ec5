"""A model with towers for pictures and sound beside its decoder: whatever names modules means the decoder's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.models.gemma4.configuration_gemma4 import Gemma4AudioConfig, Gemma4Config, Gemma4VisionConfig

from sessions.model.opening import adopt
from sessions.session import Session
from tests.commands.driving import result
from tests.families import tiny, tiny_tokenizer

_HEADS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def towered() -> Any:
    """A tiny model of the layout, with random weights."""
    vision = Gemma4VisionConfig(**_HEADS, intermediate_size=48, num_key_value_heads=2, head_dim=16)
    config = Gemma4Config(
        text_config=tiny("gemma4").config.to_dict(),
        vision_config=vision.to_dict(),
        audio_config=Gemma4AudioConfig(**_HEADS).to_dict(),
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture
def towers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.chdir(tmp_path)
    session = Session(tmp_path / "home")
    session.use_model(adopt(towered(), tiny_tokenizer(), name="towers"))
    Path("samples.jsonl").write_text('{"prompt": "the cat", "reply": "a dog"}\n{"prompt": "the hen", "reply": "dog"}\n')
    return session


def logits(model: nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=torch.tensor([[1, 5, 9]])).logits
    return found


@pytest.mark.parametrize("modules", ["", " --modules q_proj,down_proj"], ids=["all", "named"])
def test_a_round_trains_the_decoder_and_leaves_the_towers_alone(towers: Session, modules: str) -> None:
    before = logits(towers.opened().model)
    trained = result(towers, f"train-round samples.jsonl --as one --epochs 2 --lr 1e-2 --rank 2 --no-control{modules}")
    assert trained.round.recruited
    assert torch.equal(logits(towers.opened().model), before)
    config = json.loads((Path(trained.path) / "adapter" / "adapter_config.json").read_text())
    named = [name for name in config["target_modules"] if "tower" in name]
    assert named == []
    result(towers, "adapter load round:one --as one")
    assert not torch.allclose(logits(towers.opened().model), before)
    wrapped = [name for name, module in towers.opened().model.named_modules() if hasattr(module, "lora_A")]
    assert wrapped and all("language_model" in name for name in wrapped)


def test_crab_walks_on_it(towers: Session) -> None:
    line = "crab samples.jsonl --rounds 2 --epochs 1 --rank 2 --top 3 --no-control --modules down_proj"
    assert len(result(towers, line).rounds) == 2


def test_everything_else_that_names_modules_means_the_decoder(towers: Session) -> None:
    result(towers, "prompt the cat")
    result(towers, "discover a --top 10 --keep-universal")
    for line in ("verify top3", "ablate top3 --max-tokens 2", "surgery --layers 0-1 --tokens a --as cut", "undo",
                 "edges top5 --top 3", "fingerprint", "neuron L1/N3"):  # fmt: skip
        result(towers, line)
    result(towers, "export written --model")
