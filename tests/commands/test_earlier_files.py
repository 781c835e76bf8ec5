"""Each kind of file of an earlier project, damaged in the ways that files get damaged: one clear error, no harm."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import run
from sessions.circuits.circuit import Circuit
from sessions.events import Failed
from sessions.session import Session
from sessions.training.round import Rounds
from tests.adapters import small
from tests.commands.driving import failure, result, unharmed

D_MODEL, D_MLP, LAYERS = 32, 48, 3
NAN = float("nan")

MODE = """\
mode_name: D
suppression:
  include_inventory: false
  add_recruits: [{source: J:/outputs/missing/raw.pt, top_n: 3, label: missing}]
training: {n_epochs: 1, lr: 1.0e-4, lora_r: 2, lora_alpha: 4, qa_ids: [1], target_modules: [q_proj, down_proj]}
inference: {qa_id: 1, max_new_tokens: 4, modes: [{label: held, hooks_active: true}]}
"""
ANCHOR = """\
preset_name: anchor
enabled:
  - {id: "L1#5", gain: -3.5, region: answer}
  - {id: "L2#7", gain: 2.0, region: always}
"""


def unit(seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(D_MODEL, generator=torch.Generator().manual_seed(seed)), dim=0)


def inventory() -> dict[str, Any]:
    known = [{"id": f"L{at}#{at + 3}", "layer": at, "index": at + 3, "default_gain": 2.0, "tier": "verified",
              "region": "answer"} for at in range(LAYERS)]  # fmt: skip
    return {"known_neurons": known, "presets": [{"name": "first", "enabled": ["L0#3"], "overrides": {"L0#3": 1.5}}]}


def signature() -> dict[str, Any]:
    return {"target_layer": 1, "target_index": 7, "v_disc_n": unit(0), "v_pos_n": unit(1), "v_meow_n": unit(2),
            "scale_g": 0.3, "scale_u": 0.4, "default_alpha": 3.0}  # fmt: skip


def deltas() -> dict[str, Any]:
    parts = {"L1_gate": (1, D_MODEL), "L1_up": (1, D_MODEL), "L1_down": (D_MODEL, 1)}
    return {"_pool": [{"layer": 1, "index": 4}], **{name: torch.ones(shape) for name, shape in parts.items()}}


def raw_round() -> dict[str, Any]:
    return {"cum_neuron_down": {at: torch.arange(D_MLP).float() for at in range(LAYERS)}, "suppress_dict": {1: [2]}}


def differences() -> dict[str, Any]:
    return {"top_diff": [(1, 5, 0.5), (2, 7, -1.5)]}


def factors() -> dict[str, Any]:
    stem = "base_model.model.model.layers.1.mlp.down_proj"
    return {f"{stem}.lora_A.weight": torch.ones(2, D_MLP), f"{stem}.lora_B.weight": torch.ones(D_MODEL, 2)}


#: Files that `import` knows, by name: as contents of JSON, as a text, or as what torch.save is given.
JSONS: dict[str, Callable[[], Any]] = {"inventory.json": inventory}
TEXTS = {"mode_D.yaml": MODE, "anchor.yaml": ANCHOR}
PICKLES: dict[str, Callable[[], dict[str, Any]]] = {
    "signature.pt": signature,
    "deltas.pt": deltas,
    "raw.pt": raw_round,
    "diff.pt": differences,
    "lora.pt": factors,
}
#: What else a line says of them.
MORE = {"inventory.json": " --as preset:inv", "lora.pt": " --alpha 4"}
KINDS = (*JSONS, *TEXTS, *PICKLES, "circuit.json")


@pytest.fixture
def good(little: Session, twenty: Circuit) -> Session:
    """A session with a good file of each kind in its folder."""
    for name, contents in JSONS.items():
        Path(name).write_text(json.dumps(contents()))
    for name, text in TEXTS.items():
        Path(name).write_text(text)
    for name, held in PICKLES.items():
        torch.save(held(), name)
    result(little, "export circuit.json")
    return little


def line(name: str) -> str:
    return f"import {name}{MORE.get(name, '')}"


def kept(session: Session) -> list[str]:
    """Everything that is in the home folder, and command files beside the damaged one."""
    found = [str(path.relative_to(session.home)) for path in session.home.rglob("*") if path.is_file()]
    return sorted(each for each in found if "journal" not in each) + sorted(map(str, Path().glob("*.wb")))


def refused(session: Session, line: str) -> str:
    """The line fails in one plain error, and nothing is changed or kept by it. Returns what was said."""
    before = kept(session)
    with unharmed(session):
        failed = failure(session, line)
    assert failed.error in ("artifact", "usage", "model"), failed
    assert "defect" not in failed.message and "Traceback" not in failed.message
    assert "\n" not in failed.message, failed
    assert kept(session) == before
    return failed.message


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_earlier_file_is_read_if_complete(good: Session, name: str) -> None:
    result(good, line(name))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.97])
@pytest.mark.parametrize("name", [name for name in KINDS if not name.endswith(".yaml")])
def test_a_file_that_is_cut_off_is_refused_by_its_name(good: Session, name: str, share: float) -> None:
    data = Path(name).read_bytes()
    Path(name).write_bytes(data[: int(share * len(data))])
    assert name in refused(good, line(name))


@pytest.mark.parametrize("name", TEXTS)
def test_a_configuration_that_is_cut_off_is_read_as_far_as_it_says_something_or_refused(
    good: Session, name: str
) -> None:
    text = TEXTS[name]
    for end in range(0, len(text), 23):
        Path(name).write_text(text[:end])
        before = good.state()
        for event in run(good, f"{line(name)} --force"):
            failed = getattr(event, "error", None)
            assert failed in (None, "artifact", "usage", "model"), (text[:end], event)
        assert good.state() == before


class Runs:
    """What a pickle can do: call something when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("it ran",)


@pytest.mark.parametrize("name", PICKLES)
def test_code_in_a_pickle_is_never_run(good: Session, name: str) -> None:
    torch.save({**PICKLES[name](), "more": Runs()}, name)
    refused(good, line(name))
    assert not Path("it ran").exists()


@pytest.mark.parametrize("worth", [NAN, math.inf, -math.inf])
@pytest.mark.parametrize("name", PICKLES)
def test_numbers_that_are_none_are_refused(good: Session, name: str, worth: float) -> None:
    def spoilt(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            value = value.clone()
            value.view(-1)[0] = worth
            return value
        if isinstance(value, dict):
            return {key: spoilt(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(spoilt, value))
        return worth if isinstance(value, float) else value

    torch.save(spoilt(PICKLES[name]()), name)
    assert name in refused(good, line(name))


@pytest.mark.parametrize("name", ["inventory.json", "anchor.yaml", "circuit.json"])
def test_numbers_that_are_none_are_refused_in_texts_too(good: Session, name: str) -> None:
    text = Path(name).read_text()
    number = {"inventory.json": "2.0", "anchor.yaml": "-3.5"}.get(name)
    if number is None:
        number = str(json.loads(text)["neurons"][0]["attribution"]) if "neurons" in json.loads(text) else ""
    for word in (".nan", ".inf") if name.endswith(".yaml") else ("NaN", "Infinity", "1e999"):
        Path(name).write_text(text.replace(number, word, 1) if number else text.replace("0.", word, 1))
        refused(good, line(name))


OTHER_MODEL: dict[str, Callable[[], Any]] = {
    "signature.pt": lambda: {**signature(), "target_layer": 30},
    "deltas.pt": lambda: {**deltas(), "L1_gate": torch.ones(1, 64)},
    "raw.pt": lambda: {"cum_neuron_down": {at: torch.ones(6144) for at in range(35)}},
    "diff.pt": lambda: {"top_diff": [(30, 5, 0.5)]},
    "lora.pt": lambda: {key.replace("layers.1", "layers.30"): value for key, value in factors().items()},
    "inventory.json": lambda: {"known_neurons": [{"id": "L26#449", "layer": 26, "index": 449, "default_gain": 2.0}]},
    "anchor.yaml": lambda: ANCHOR.replace("L2#7", "L26#10136"),
}


@pytest.mark.parametrize("name", OTHER_MODEL)
def test_a_file_for_another_model_is_refused(good: Session, name: str) -> None:
    held = OTHER_MODEL[name]()
    if name.endswith(".pt"):
        torch.save(held, name)
    else:
        Path(name).write_text(held if isinstance(held, str) else json.dumps(held))
    message = refused(good, line(name))
    assert name in message or "this model lacks" in message


@pytest.mark.parametrize("contents", ["null", "3", '"text"', "[]", "{}", "[[1, 2]]", '{"known_neurons": 3}', "true"])
@pytest.mark.parametrize("name", ["inventory.json", "anchor.yaml", "circuit.json"])
def test_a_file_of_another_shape_is_refused(good: Session, name: str, contents: str) -> None:
    Path(name).write_text(contents)
    assert name in refused(good, line(name))


@pytest.mark.parametrize("held", [None, 3, [], "text", {"a": 1}, {}, torch.ones(3), [torch.ones(2)], {"top_diff": 3},
                                  {"cum_neuron_down": 3}, {"cum_neuron_down": {}}, {"_pool": 3}, {"top_diff": []}],
                         ids=str)  # fmt: skip
def test_a_pickle_of_another_shape_is_shown_or_refused_and_nothing_is_kept(good: Session, held: Any) -> None:
    torch.save(held, "x.pt")
    before = kept(good)
    with unharmed(good):
        events = list(run(good, "import x.pt"))
    errors = [event.error for event in events if hasattr(event, "error")]
    assert all(error in ("artifact", "usage", "model") for error in errors), events
    assert kept(good) == before


SAMPLE = {
    "input": "abc",
    "output": "fed",
    "conclusion_analysis": {"deep": ["ed"], "shallow": ["not in it"]},
    "glue_sentences": ["fe"],
}
SAMPLES: dict[str, Any] = {
    "an empty phrase": {**SAMPLE, "glue_sentences": ["fe", ""]},
    "a phrase list that is a number": {**SAMPLE, "glue_sentences": 3},
    "phrases of which none is in the reply": {**SAMPLE, "conclusion_analysis": ["x"], "glue_sentences": ["y"]},
    "a reply that is missing": {"input": "abc"},
    "an empty reply": {**SAMPLE, "output": ""},
    "a reply that is no text": {**SAMPLE, "output": NAN},
    "a list of nothing": [],
    "a list of numbers": [1, 2],
}
TRAIN = "train-round QA01.json --epochs 1 --rank 2"


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_that_teaches_nothing_is_refused_before_anything_is_trained(good: Session, name: str) -> None:
    Path("QA01.json").write_text(json.dumps(SAMPLES[name]))
    assert "QA01.json" in refused(good, TRAIN)
    assert Rounds(good.store).names() == []


def test_a_sample_that_is_imported_says_what_it_is_for(good: Session) -> None:
    Path("QA01.json").write_text(json.dumps(SAMPLE))
    assert "train-round" in failure(good, "import QA01.json").hint


def test_a_large_file_that_is_cut_off_is_damaged_and_not_an_error_of_the_disk(good: Session) -> None:
    torch.save({"trace": torch.zeros(300_000)}, "trace.pt")
    data = Path("trace.pt").read_bytes()
    for share in (0.1, 0.5, 0.7, 0.9):
        Path("trace.pt").write_bytes(data[: int(share * len(data))])
        assert "trace.pt was not written by torch.save" in refused(good, "import trace.pt")


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_a_sample_that_is_cut_off_is_refused(good: Session, share: float) -> None:
    text = json.dumps(SAMPLE)
    Path("QA01.json").write_text(text[: int(share * len(text))])
    assert "QA01.json" in refused(good, TRAIN)


@pytest.mark.parametrize("phrases", [{"conclusion_analysis": {}, "glue_sentences": []}, {"glue_sentences": []}])
def test_a_sample_with_an_empty_list_of_phrases_is_taught_as_a_whole(good: Session, phrases: dict[str, Any]) -> None:
    Path("QA01.json").write_text(json.dumps({**SAMPLE, **phrases}))
    assert result(good, f"{TRAIN} --no-control").round.outcome.final


def test_rounds_that_a_configuration_names_and_nobody_has_are_named_before_anything_is_trained(good: Session) -> None:
    result(good, "import mode_D.yaml")
    path = Path("mode_D.wb")
    path.write_text(path.read_text().replace("model ${model}\n", ""))
    Path("QA01.json").write_text(json.dumps(SAMPLE))
    said = "run mode_D.wb --set data=QA01.json --set prompt=abc"
    assert "no value for ${mode_missing}" in refused(good, said)
    before = kept(good)
    with unharmed(good):
        failed = [event for event in run(good, f"{said} --set mode_missing=nowhere.pt") if isinstance(event, Failed)]
    assert "nowhere.pt" in failed[0].message and kept(good) == before


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.97])
def test_an_adapter_that_is_cut_off_is_refused(good: Session, file: str, share: float) -> None:
    folder = small(Path("fr"), good.opened())
    data = (folder / file).read_bytes()
    (folder / file).write_bytes(data[: int(share * len(data))])
    assert file in refused(good, "adapter load ./fr") or share == 0.97
