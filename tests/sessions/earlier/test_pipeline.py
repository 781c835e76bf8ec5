"""The configuration of the earlier pipeline becomes a command file that the grammar reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.grammar import parse
from commands.script import read as read_script
from sessions.earlier.pipeline import command_file, configuration, contents_of
from sessions.errors import ArtifactError

YAML = """
mode_name: D
description: a fourth round
suppression:
  include_inventory: true
  inventory_tiers: [A, B]
  inventory_regions: [answer]
  add_recruits:
    - {source: out/mode_C/raw.pt, top_n: 30, label: C}
training:
  qa_ids: [1, 2]
  lora_r: 4
  lora_alpha: 8
  lr: 2.0e-4
  n_epochs: 3
  target_modules: [q_proj, down_proj]
  max_prompt_tokens: 900
  weights: {concl: 2.0, filler: 0.5, glue: 0.1}
inference:
  qa_id: 1
  max_new_tokens: 90
  modes:
    - {label: free, hooks_active: false}
    - {label: held, hooks_active: true, note: as trained}
"""


def test_every_line_is_a_command_and_says_what_the_configuration_said(tmp_path: Path) -> None:
    path = tmp_path / "mode_D.wb"
    path.write_text(
        command_file(configuration(contents_of(YAML.encode(), "mode_D.yaml"), "mode_D.yaml"), "mode_D.yaml")
    )
    values = {"model": "smollm2", "data": "s.jsonl", "inventory": "i.json", "mode_C": "c.pt", "prompt": "hello"}
    calls = [parse(line.text) for line in read_script(path, values)]
    trained = next(call for call in calls if call.verb == "train-round")
    asked = {name: trained.params[name] for name in ("rank", "alpha", "lr", "epochs", "modules", "budget", "name")}
    assert asked == {
        "rank": 4, "alpha": 8, "lr": 2e-4, "epochs": 3, "modules": ("q_proj", "down_proj"), "budget": 900,
        "name": "mode-D",
    }  # fmt: skip
    assert dict(trained.params["weights"]) == {"conclusions": 2.0, "filler": 0.5, "glue": 0.1}
    suppressed = [call.params["selection"] for call in calls if call.verb == "suppress"]
    assert suppressed == [
        "(preset:inventory:A, preset:inventory:B) & preset:inventory:answer",
        "recruits:mode-C:30",
    ]
    assert [call.verb for call in calls][-3:] == ["generate", "release", "generate"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"mode_name: [", "is not YAML"),
        (b"mode_name: D\n", "training"),
        (b"mode_name: D\ntraining: {target_modules: q_proj}\n", "target_modules"),
        (b"- 1\n", "not a configuration"),
        (b"!!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_with_the_place(data: bytes, why: str) -> None:
    with pytest.raises(ArtifactError, match=why):
        configuration(contents_of(data, "x.yaml"), "x.yaml")
