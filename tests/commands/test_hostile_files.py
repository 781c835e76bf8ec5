"""Files that nobody made in good faith: whatever one holds, it is refused when it is read, in one plain error."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from msgspec import structs

from commands import run
from sessions.circuits.circuit import Circuit
from sessions.directions.findings import Origin
from sessions.directions.vector import Vector
from sessions.edits.edit import Edit, LowRank, Neurons, Projection
from sessions.edits.files import EditFile
from sessions.events import Failed
from sessions.files.layouts import _digest
from sessions.files.tensor_file import TensorBytes, Tensors
from sessions.interventions.presets import Known, Preset
from sessions.model.info import Token
from sessions.model.opening import OpenModel
from sessions.model.units import Unit
from sessions.session import Session
from sessions.training.round import Rounds
from tests.adapters import small
from tests.commands.driving import failure, result, unharmed
from tests.rounds import kept

DEEP = "[" * 3000 + "]" * 3000
#: Ids that a vocabulary of 64 does not have.
BEYOND = (64, 10**8, 2**64 - 1, -5)


def refused(session: Session, line: str, message: str = "") -> Failed:
    """The line fails, with an error that is the file's and no defect of the workbench, and changes nothing."""
    with unharmed(session):
        failed = failure(session, line)
    assert failed.error in ("artifact", "usage", "model"), failed
    assert message in failed.message, failed
    return failed


def saved(session: Session, kind: str, body: Any, name: str = "odd") -> None:
    """Save something as a file that says it was made on the open model."""
    info = session.opened().info
    of = {"model": info.name, "fingerprint": info.fingerprint, "command": "x"}
    session.store.save(kind, name, body, **of, force=True)


# ---- configurations and pickles

YAML = {
    "nested deeply": "a: " + "[" * 1200 + "]" * 1200,
    "never ending": "[" * 1200,
    "a number of 5,000 digits": f"a: {'9' * 5000}",
    "a rank of 30 digits": f"mode_name: D\ntraining: {{target_modules: [q], lora_r: {'9' * 30}}}",
    "a day that is none": "a: 2001-99-99",
    "a word that is to be a number": "a: !!int foo",
    "a word that is to be a float": "a: !!float foo",
    "a word that is to be a time": "a: !!timestamp foo",
    "a word that is to be a switch": "a: !!bool foo",
    "half a character": 'mode_name: "\\ud800"\ntraining: {target_modules: [q]}',
    "a rate that is no number": "mode_name: D\ntraining: {target_modules: [q], lr: .nan}",
    "keys of several kinds": "mode_name: D\n1: 2\nnull: 3",
}


@pytest.mark.parametrize("name", YAML)
def test_a_configuration_is_refused_where_it_is_read(little: Session, name: str) -> None:
    Path("x.yaml").write_text(YAML[name])
    refused(little, "import x.yaml", "x.yaml")
    assert not Path("x.wb").exists()


UNIT = torch.eye(32)[0]
SIGNATURE = {"target_layer": 1, "target_index": 3, "v_disc_n": UNIT, "v_pos_n": UNIT, "v_meow_n": UNIT}
SCORES = {0: torch.ones(48)}
PICKLES: dict[str, dict[Any, Any]] = {
    "a sparse tensor": {**SIGNATURE, "v_disc_n": UNIT.to_sparse()},
    "a complex tensor": {**SIGNATURE, "v_disc_n": UNIT.to(torch.complex64)},
    "a tensor without numbers": {**SIGNATURE, "v_disc_n": torch.zeros(32, device="meta")},
    "a number without numbers": {**SIGNATURE, "default_alpha": torch.zeros(1, device="meta")},
    "a whole number of 400 digits": {**SIGNATURE, "default_alpha": 10**400},
    "a layer of 66 bits": {**SIGNATURE, "target_layer": 2**65},
    "a layer of 5,000 digits": {**SIGNATURE, "target_layer": 10**5000},
    "a difference of 400 digits": {"top_diff": [(1, 2, 10**400)]},
    "a layer written with 5,000 digits": {"cum_neuron_down": {"9" * 5000: torch.ones(48)}},
    "one layer by a number and by a text": {"cum_neuron_down": {0: torch.ones(48), "0": torch.ones(48)}},
    "sparse scores": {"cum_neuron_down": {0: torch.ones(48).to_sparse()}},
    "neurons of several kinds": {"cum_neuron_down": SCORES, "suppress_dict": {0: [1, "x", None]}},
    "a neuron of 70 bits": {"cum_neuron_down": SCORES, "suppress_dict": {0: [2**70]}},
    "a neuron twice": {"cum_neuron_down": SCORES, "suppress_dict": {0: [1, 1]}},
    "a neuron that the model lacks": {"cum_neuron_down": SCORES, "suppress_dict": {0: [48]}},
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_is_refused_where_it_is_read_and_nothing_of_it_is_kept(little: Session, name: str) -> None:
    torch.save(PICKLES[name], "x.pt")
    refused(little, "import x.pt", "x.pt" if name != "a layer of 66 bits" else "")
    assert result(little, "list").rows == ()
    assert Rounds(little.store).names() == []


def test_a_pickle_with_keys_of_several_kinds_is_shown_and_nothing_of_it_is_kept(little: Session) -> None:
    torch.save({1: 2, "x": 3, None: 4, (1, 2): 3, b"x": 1}, "x.pt")
    shown = result(little, "import x.pt")
    assert [entry.about for entry in shown.entries] == ["2", "3", "4", "3", "1"]
    assert result(little, "list").rows == ()


def test_losses_that_are_no_numbers_are_left_out(little: Session) -> None:
    torch.save({"cum_neuron_down": SCORES, "per_qa_loss_curves": {"a": [(0, 10**400)], (1, 2): [(0, 1.0)]}}, "x.pt")
    result(little, "import x.pt")


# ---- circuits

Broken = Callable[[Circuit], Circuit]
CIRCUITS: dict[str, tuple[Broken, str]] = {
    "no neurons": (lambda circuit: structs.replace(circuit, neurons=()), "holds no neurons"),
    "one neuron twice": (lambda circuit: structs.replace(circuit, neurons=circuit.neurons[:1] * 2), "twice"),
    "one neuron twice, once from the end": (
        lambda circuit: structs.replace(circuit, neurons=(Unit(1, 2, 5), Unit(1, 2, -1))),
        "twice",
    ),
    "a position behind the prompt": (
        lambda circuit: structs.replace(circuit, neurons=(Unit(1, 2, 6),)),
        "its prompt has 6 tokens",
    ),
    "a position before the prompt": (
        lambda circuit: structs.replace(circuit, neurons=(Unit(1, 2, -7),)),
        "its prompt has 6 tokens",
    ),
    "a layer below 0": (lambda circuit: structs.replace(circuit, neurons=(Unit(-1, 2, 3),)), "count from 0"),
    "a layer that the model lacks": (lambda circuit: structs.replace(circuit, neurons=(Unit(3, 2, 3),)), "layer 3"),
    "fewer texts than ids": (lambda circuit: structs.replace(circuit, tokens=("a",)), "6 ids and 1 texts"),
    **{
        f"the id {token} in its prompt": (
            lambda circuit, token=token: structs.replace(circuit, ids=(*circuit.ids[:-1], token)),
            str(token),
        )
        for token in BEYOND
    },
    **{
        f"the id {token} as its target": (
            lambda circuit, token=token: structs.replace(
                circuit, target=structs.replace(circuit.target, tokens=(Token(token, "x"),))
            ),
            str(token),
        )
        for token in BEYOND
    },
    "a counterfactual that the model lacks": (
        lambda circuit: structs.replace(circuit, target=structs.replace(circuit.target, counterfactual=Token(64, "x"))),
        "its target",
    ),
}


@pytest.mark.parametrize("name", CIRCUITS)
def test_a_circuit_is_refused_alike_by_load_and_import(little: Session, twenty: Circuit, name: str) -> None:
    broken, message = CIRCUITS[name]
    circuit = broken(twenty)
    saved(little, "circuit", circuit)
    Path("odd.json").write_bytes(msgspec.json.encode(circuit))
    refused(little, "load odd", message)
    refused(little, "import odd.json", message)


def test_a_circuit_that_was_loaded_without_a_model_is_let_go_where_the_model_lacks_it(
    little: Session, empty: Session, tiny_llama: OpenModel, twenty: Circuit
) -> None:
    saved(little, "circuit", structs.replace(twenty, ids=(*twenty.ids[:-1], 64)))
    without = Session(little.home)
    result(without, "load odd")
    assert without.circuit is not None
    without.use_model(tiny_llama)
    assert without.circuit is None


def test_positions_of_a_circuit_without_ids_are_those_of_its_prompt(little: Session) -> None:
    for position, there in ((5, True), (6, False)):
        Path("c.json").write_text(json.dumps({"neurons": {f"1,{position},3": 0.5}, "prompt": "the cat"}))
        if there:
            result(little, "import c.json")
        else:
            refused(little, "import c.json", "L1/N3@6")


@pytest.mark.parametrize("number", ["9" * 30, "9" * 5000, "-" + "9" * 30])
def test_whole_numbers_of_more_than_64_bits_are_no_numbers_of_a_file(little: Session, number: str) -> None:
    Path("x.json").write_text('{"neurons": {"1,2,3": ' + number + "}}")
    refused(little, "import x.json", "more than 64 bits")
    Path("x.json").write_text('[{"layer": 1, "index": 2, "gain": 1, "tier": ' + number + "}]")
    refused(little, "import x.json --as preset:odd", "more than 64 bits")


# ---- vectors

ORIGIN = Origin(text="the cat", ids=(1, 61, 10), position=2, token="e")


@pytest.mark.parametrize("token", BEYOND)
def test_a_vector_that_was_captured_in_no_text_of_the_model_is_refused_when_read(little: Session, token: int) -> None:
    origin = structs.replace(ORIGIN, ids=(1, 61, token))
    saved(little, "vector", Vector("resid_post", {1: torch.ones(32)}, 1, 0, "llama", origin))
    for line in ('inject odd --into "the dog" --at dog', "vector odd"):
        refused(little, line, str(token))


@pytest.mark.parametrize("neuron", ["zzz", "L9/N1", "L1/N48", f"L{'9' * 5000}/N1"])
def test_a_vector_that_was_captured_for_no_neuron_of_the_model_is_refused_when_read(
    little: Session, neuron: str
) -> None:
    origin = structs.replace(ORIGIN, neuron=neuron)
    saved(little, "vector", Vector("resid_post", {1: torch.ones(32)}, 1, 0, "llama", origin))
    refused(little, 'inject odd --into "the dog" --at dog')


# ---- edits


@pytest.mark.parametrize(
    "name",
    ["__class__", "__dict__", "forward", "config", "", "model..layers", "model.layers.99.mlp.down_proj", "a" * 999],
)
def test_an_edit_of_what_is_no_projection_is_refused(little: Session, name: str) -> None:
    change = LowRank(name, torch.zeros(32, 1), torch.zeros(1, 48))
    saved(little, "edit", EditFile(Edit("import", "odd", (change,))))
    for line in ("edits load odd", "inspect odd"):
        assert len(refused(little, line).message) < 400


@pytest.mark.parametrize(
    "change",
    [
        Neurons(1, "gate", (3, 3), torch.zeros(2, 32)),
        Neurons(1, "gate", (-3,), torch.zeros(1, 32)),
        Neurons(1, "gate", (), torch.zeros(0, 32)),
        Projection(1, "down", torch.zeros(0, 32)),
    ],
)
def test_an_edit_of_no_neuron_or_direction_is_refused(little: Session, change: Any) -> None:
    saved(little, "edit", EditFile(Edit("import", "odd", (change,))))
    refused(little, "edits load odd", "odd.safetensors")


# ---- atlases


class _Raw:
    """Tensors as they are, for a file that no atlas could have written."""

    def __init__(self, contents: Tensors) -> None:
        self.contents = contents

    def packed(self) -> Tensors:
        return self.contents


@pytest.fixture
def atlas(little: Session) -> Tensors:
    """The contents of an atlas of one layer."""
    Path("c.txt").write_text("the cat sat\n\nthe dog ate\n")
    result(little, "atlas build good --corpus c.txt --layers 1")
    found = little.saved.read_atlas("good")[0].packed()
    little.store.delete("atlas", "good")
    return found


def _of(tensor: TensorBytes, dtype: str, change: Callable[[Any], Any]) -> TensorBytes:
    values = np.ascontiguousarray(change(np.frombuffer(tensor.data, dtype).reshape(tensor.shape)))
    return TensorBytes(tensor.dtype, values.shape, values.tobytes())


ATLASES: dict[str, tuple[str, Callable[[TensorBytes], TensorBytes]]] = {
    "ids beyond the vocabulary": ("documents.ids", lambda each: _of(each, "<i4", lambda ids: ids + 64)),
    "ids below 0": ("documents.ids", lambda each: _of(each, "<i4", lambda ids: ids - 64)),
    "texts that are no UTF-8": ("texts.json", lambda _: TensorBytes("U8", (5,), b'["\xff"]')),
    "texts that are nested deeply": ("texts.json", lambda _: TensorBytes("U8", (5000,), b"[" * 5000)),
}


@pytest.mark.parametrize("name", ATLASES)
def test_an_atlas_is_refused_when_it_is_read(little: Session, atlas: Tensors, name: str) -> None:
    tensor, change = ATLASES[name]
    saved(little, "atlas", _Raw(Tensors(atlas.fields, {**atlas.tensors, tensor: change(atlas.tensors[tensor])})))
    for line in ("atlas show L1/N3 --name odd", "atlas top 1 --name odd", "quiet --name odd"):
        refused(little, line)


def test_an_atlas_without_maxima_or_of_other_neurons_is_refused(little: Session, atlas: Tensors) -> None:
    none = {
        name: _of(atlas.tensors[name], "<i8" if name.endswith("_at") else "<f4", lambda rows: rows[:0])
        for name in ("layer.1.high", "layer.1.high_at", "layer.1.low", "layer.1.low_at")
    }
    moved = {name.replace("layer.1.", "layer.9."): each for name, each in atlas.tensors.items()}
    for tensors in ({**atlas.tensors, **none}, moved):
        saved(little, "atlas", _Raw(Tensors(atlas.fields, tensors)))
        refused(little, "atlas top 1 --name odd")


# ---- presets, rounds, sweeps, adapters


@pytest.mark.parametrize(
    "neurons",
    [
        (),
        (Known(id="x", layer=-1, index=3, gain=1.0),),
        (Known(id="x", layer=1, index=3, gain=1.0), Known(id="y", layer=1, index=3, gain=2.0)),
        (Known(id="x", layer=1, index=3, gain=1.0, positions=((5, 2),)),),
    ],
)
def test_a_preset_is_refused_when_it_is_read(little: Session, neurons: tuple[Known, ...]) -> None:
    saved(little, "preset", Preset(neurons=neurons))
    for line in ("preset apply odd", "suppress preset:odd", "export x.json --name preset:odd"):
        refused(little, line, "odd")


ROUNDS: dict[str, tuple[tuple[str, ...], Any]] = {
    "no losses before": (("outcome", "initial"), []),
    "other losses after": (("outcome", "final"), [1.0]),
    "a control without losses": (("control",), {"initial": [], "final": [], "curve": []}),
    "batches of nothing": (("plan", "batch"), 0),
    "a recruit below 0": (("recruited",), [{"layer": 0, "index": -1}]),
    "a file elsewhere": (("files",), {"../../../etc/passwd": "x"}),
    "a file with a null character": (("files",), {"a\0b": "x"}),
}


@pytest.mark.parametrize("name", ROUNDS)
def test_a_round_is_refused_when_it_is_read(little: Session, tiny_llama: OpenModel, name: str) -> None:
    kept(little.store, tiny_llama)
    path = Rounds(little.store).path("round-1") / "round.json"
    told = json.loads(path.read_bytes())
    (*outer, last), value = ROUNDS[name]
    inside = told
    for key in outer:
        inside = inside[key]
    inside[last] = value
    path.write_text(json.dumps(told))
    for line in ("recruits round-1", "suppress recruits:round-1"):
        refused(little, line, "round.json")


SWEEPS: dict[str, tuple[tuple[Any, ...], Any]] = {
    "no prompts": (("prompts",), []),
    "no selections": (("selections",), []),
    "no multipliers": (("multipliers",), []),
    "no tokens": (("decoding", "max_tokens"), -1),
    "batches of nothing": (("batch",), 0),
    "a selection of nothing": (("selections", 0, "neurons"), []),
    "a neuron that is none": (("selections", 0, "neurons"), ["zzz"]),
    "a target that the model lacks": (("prompts", 0, "target"), {"tokens": [{"id": 64, "text": "x"}]}),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_a_plan_of_a_sweep_is_refused_when_it_is_read(little: Session, name: str) -> None:
    result(little, "sweep top3 0 --save odd --max-tokens 1")
    folder = little.home / "sweeps" / "odd"
    plan = json.loads((folder / "plan.json").read_bytes())
    (*outer, last), value = SWEEPS[name]
    inside = plan["body"]
    for key in outer:
        inside = inside[key]
    inside[last] = value
    plan["sha256"] = _digest(plan["body"], "plan")
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "cells.jsonl").write_bytes(b"")
    refused(little, "sweep --resume odd")


@pytest.mark.parametrize(
    "more",
    [
        {"lora_alpha": 10**400},
        {"lora_alpha": 1e308},
        {"r": 2**70},
        {"modules_to_save": 1},
        {"rank_pattern": {"(": 2}},
        {"rank_pattern": {"a{99999999999999}": 2}},
        {"rank_pattern": {"(" * 500 + ")" * 500: 2}},
    ],
)
def test_an_adapter_is_refused_when_it_is_read(little: Session, tiny_llama: OpenModel, more: dict[str, Any]) -> None:
    folder = small(Path("adapter"), tiny_llama)
    config = folder / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_bytes()), **more}))
    refused(little, "adapter load adapter --as odd")


def test_a_corpus_that_is_nested_deeply_is_refused(little: Session) -> None:
    Path("c.jsonl").write_text('{"text": ' + DEEP + "}\n")
    refused(little, "atlas build odd --corpus c.jsonl --layers 1", "line 1")


# ---- folders and command files


def test_a_chain_of_command_files_ends_in_one_error(empty: Session) -> None:
    for number in range(60):
        Path(f"{number}.wb").write_text(f"run {number + 1}.wb\n")
    Path("60.wb").write_text("info\n")
    first, *rest = [event for event in run(empty, "run 0.wb") if isinstance(event, Failed)]
    assert "files that run each other" in first.message and first.error == "usage"
    assert all(event.error == "script" for event in rest)
    assert result(empty, "info") and empty.files == ()


def test_a_path_of_a_thousand_folders_is_a_path(little: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions.files.disk.sync_folder", lambda _: None)  # a thousand of them take a while
    deep = "/".join(["a"] * 1000)
    try:
        assert Path(result(little, f"export {deep}/c.json").path).is_file()
        assert len(result(little, f"import {deep}/c.json").circuit) == 20
    finally:
        subprocess.run(["rm", "-rf", "a"], check=True)  # Python 3.11 could not
