"""Files of earlier projects: what they hold is used, nothing in them is run, and what does not fit is named."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor
from torch.nn import functional

from sessions.earlier.published import Data, Signature, read
from sessions.earlier.published_lora import Lora
from sessions.earlier.published_round import PublishedRound
from sessions.edits.edit import Edit
from sessions.errors import ArtifactError, UsageError
from sessions.interventions.presets import Preset
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from tests.families import tiny, tiny_tokenizer

D_MODEL = 32


def unit(seed: int) -> Tensor:
    return functional.normalize(torch.randn(D_MODEL, generator=torch.Generator().manual_seed(seed)), dim=0)


def written(tmp_path: Path, contents: Any) -> Path:
    path = tmp_path / "file.pt"
    torch.save(contents, path)
    return path


def signature() -> dict[str, Any]:
    return {
        "target_layer": 1, "target_index": 7, "v_disc_n": unit(0), "v_pos_n": unit(1), "v_meow_n": unit(2),
        "b_layer": 2, "b_index": 3, "v_just_meowed_n": unit(3), "scale_g": 0.3, "scale_u": 0.4, "scale_g_b": 0.5,
        "scale_u_b": 0.6, "default_alpha": 3.0, "default_beta": 2.0, "v_meow_context_n": None, "model_path": "x",
    }  # fmt: skip


@pytest.fixture(scope="module")
def opened() -> OpenModel:
    return adopt(tiny("llama"), tiny_tokenizer(), name="llama")


def mlp(opened: OpenModel, layer: int) -> Any:
    return opened.model.get_decoder().layers[layer].mlp


def test_a_signature_rewrites_both_neurons_as_its_project_did(tmp_path: Path, opened: OpenModel) -> None:
    found = read(written(tmp_path, signature()))
    assert isinstance(found, Signature)
    edit = found.edit("file.pt")
    assert edit.pushes
    with edit.applied(opened):
        torch.testing.assert_close(mlp(opened, 1).gate_proj.weight[7], 0.3 * unit(0))
        torch.testing.assert_close(mlp(opened, 1).up_proj.weight[7], 0.4 * unit(1))
        torch.testing.assert_close(mlp(opened, 1).down_proj.weight[:, 7], 3.0 * unit(2))
        torch.testing.assert_close(mlp(opened, 2).gate_proj.weight[3], 0.5 * unit(3))
        torch.testing.assert_close(mlp(opened, 2).up_proj.weight[3], 0.6 * unit(3))
        torch.testing.assert_close(mlp(opened, 2).down_proj.weight[:, 3], -2.0 * unit(2))


def test_alpha_and_beta_take_the_place_of_the_files_and_beta_zero_leaves_the_brake_out(tmp_path: Path) -> None:
    found = read(written(tmp_path, signature()))
    assert isinstance(found, Signature)
    edit = found.edit("file.pt", alpha=5.0, beta=0.0)
    assert len(edit.changes) == 3
    assert edit.facts["alpha"] == "5"
    alone = {key: value for key, value in signature().items() if not key.startswith("b_")}
    found = read(written(tmp_path, alone))
    assert isinstance(found, Signature)
    assert found.beta == 0
    with pytest.raises(ArtifactError, match="no second neuron"):
        found.edit("file.pt", beta=1.0)


def test_deltas_are_added_to_rows_and_columns(tmp_path: Path, opened: OpenModel) -> None:
    deltas = {"L1_gate": torch.randn(2, D_MODEL), "L1_up": torch.randn(2, D_MODEL), "L1_down": torch.randn(D_MODEL, 2)}
    held = {"_pool": [{"layer": 1, "index": 4}, {"layer": 1, "index": 9}], **deltas}
    found = read(written(tmp_path, held))
    assert isinstance(found, Edit)
    before = [getattr(mlp(opened, 1), name).weight.clone() for name in ("gate_proj", "up_proj", "down_proj")]
    with found.applied(opened):
        after = [getattr(mlp(opened, 1), name).weight.clone() for name in ("gate_proj", "up_proj", "down_proj")]
    for number, key in enumerate(("L1_gate", "L1_up")):
        torch.testing.assert_close((after[number] - before[number])[[4, 9]], deltas[key])
    torch.testing.assert_close((after[2] - before[2])[:, [4, 9]], deltas["L1_down"])


def test_differences_become_shifts_and_recruits_a_ranking(tmp_path: Path) -> None:
    found = read(written(tmp_path, {"top_diff": [(1, 5, 0.5), (2, 7, -1.5)], "sizes": [1]}))
    assert isinstance(found, Preset)
    assert [(each.layer, each.index, each.gain, each.mode) for each in found.neurons] == [
        (1, 5, 0.5, "shift"),
        (2, 7, -1.5, "shift"),
    ]
    round_ = {
        "suppress_dict": {1: [2], "2": [0]},
        "cum_neuron_down": {1: torch.tensor([1.0, 3.0, 9.0]), 2: torch.tensor([5.0, 2.0])},
        "cum_grad": {(1, "down_proj"): 1.0},
        "per_qa_loss_curves": {4: [(2.0, 2.5), (1.0, 1.5)]},
    }
    trained = read(written(tmp_path, round_))
    assert isinstance(trained, PublishedRound)
    assert trained.recruits.suppressed == (Unit(1, 2), Unit(2, 0))
    assert [neuron.site for neuron in trained.recruits.strongest(9)] == [(1, 1), (2, 1), (1, 0)]
    assert trained.losses == {"4": (2.5, 1.5)}


class Runs:
    """What a pickle can do: call something when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("save", [torch.save, lambda held, path: path.write_bytes(pickle.dumps(held["more"], 2))])
def test_a_pickle_that_would_run_something_is_refused_by_its_name_and_never_run(tmp_path: Path, save: Any) -> None:
    proof = tmp_path / "it ran"
    path = tmp_path / "file.pt"
    save({**signature(), "more": Runs(proof)}, path)
    with pytest.raises(ArtifactError, match="mkdir"):
        read(path)
    assert not proof.exists()


def _without(key: str) -> dict[str, Any]:
    return {name: value for name, value in signature().items() if name != key}


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        ({"a.q_proj.lora_A.weight": torch.zeros(2, 4)}, "only lora_A of a.q_proj"),
        (
            {"a.lora_A": torch.zeros(2, 4), "a.lora_B": torch.zeros(4, 3)},
            r"do not fit each other: \[2, 4\] and \[4, 3\]",
        ),
        ({"a.lora_A": torch.full((2, 4), torch.nan), "a.lora_B": torch.zeros(4, 2)}, "not finite"),
        ({"a.lora_A": torch.zeros(2), "a.lora_B": torch.zeros(4, 2)}, "a factor is a matrix"),
        ({"a_means": [torch.zeros(3)], "b_means": [torch.zeros(4)]}, "3 means and 4 in layer 0"),
        ({"a_means": [torch.zeros(3)], "b_means": []}, "as many layers"),
        (_without("v_pos_n"), "has no v_pos_n"),
        ({**signature(), "v_pos_n": unit(0)[:8]}, "norm|widths"),
        ({**signature(), "v_pos_n": 3 * unit(0)}, "norm"),
        ({**signature(), "v_meow_n": unit(0) * float("nan")}, "not finite"),
        ({**signature(), "target_layer": "one"}, "target_layer"),
        ({**signature(), "default_alpha": float("inf")}, "default_alpha"),
        ({"_pool": []}, "_pool"),
        ({"_pool": [{"layer": 1}]}, "entry 1"),
        ({"_pool": [{"layer": 1, "index": 2}], "L1_gate": torch.zeros(2, 4)}, "2 lines in L1_gate"),
        ({"top_diff": [(1, 2)]}, "row 1"),
        ({"top_diff": [(1, 2, 0.5), (1, 2, 0.5)]}, "twice"),
        ({"cum_neuron_down": {"x": torch.zeros(3)}}, "not the number of a layer"),
        ({"cum_neuron_down": {1: torch.zeros(3)}, "suppress_dict": {1: ["a"]}}, "not a neuron"),
    ],
)
def test_contents_that_do_not_fit_each_other_are_named(tmp_path: Path, contents: Any, why: str) -> None:
    with pytest.raises(ArtifactError, match=why):
        read(written(tmp_path, contents))


def test_the_means_of_all_neurons_give_the_strongest_differences(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    before, after = ([torch.randn(width, generator=generator) for width in (20, 30)] for _ in range(2))
    held = {"base_means": before, "other_means": after, "top_diff": [(1, 2, float(after[1][2] - before[1][2]))]}
    named = read(written(tmp_path, held))
    assert isinstance(named, Preset) and [str(each.neuron) for each in named.neurons] == ["L1/N2"]
    found = read(written(tmp_path, held), top=7)
    assert isinstance(found, Preset) and len(found) == 7
    differences = {(layer, index): float(after[layer][index] - before[layer][index])
                   for layer in range(2) for index in range(len(before[layer]))}  # fmt: skip
    strongest = sorted(differences, key=lambda site: -abs(differences[site]))[:7]
    assert [(each.neuron.site, each.gain) for each in found.neurons] == [
        (site, differences[site]) for site in strongest
    ]


@pytest.mark.parametrize(
    "scan",
    [
        {0: [3, 5], 2: [1]},
        {"0": [3, 5], "2": torch.tensor([1])},
        [torch.arange(8) % 8 == 3, torch.zeros(8, dtype=torch.bool), torch.arange(8) == 1],
    ],
    ids=["indices", "texts and tensors", "masks"],
)
def test_a_scan_of_dead_neurons_is_a_selection(tmp_path: Path, scan: Any) -> None:
    found = read(written(tmp_path, {"threshold": 0.1, "dead_neurons": scan}))
    assert isinstance(found, Preset)
    sites = [each.neuron.site for each in found.neurons]
    assert sites in ([(0, 3), (0, 5), (2, 1)], [(0, 3), (2, 1)])
    assert {(each.mode, each.gain) for each in found.neurons} == {("hold", 0.0)}


def test_a_lora_is_read_whatever_stands_before_the_names_of_its_projections(tmp_path: Path) -> None:
    a, b = torch.randn(2, 4), torch.randn(6, 2)
    keys = "base_model.model.model.layers.0.up_proj.lora_{}.default.weight", "layers.0.up_proj.lora_{}.weight"
    for key, names in zip(keys, (("A", "B"), ("down", "up")), strict=True):
        held = {key.format(names[0]): a, key.format(names[1]): b}
        for contents in (held, {"state_dict": held, "alpha": 8}):
            found = read(written(tmp_path, contents))
            assert isinstance(found, Lora)
            assert found.alpha == (8 if "alpha" in contents else None)
            config, weights = found.as_peft({"model.layers.0.up_proj"}, 16.0, "file.pt")
            assert config == {
                "peft_type": "LORA",
                "r": 2,
                "lora_alpha": 16,
                "target_modules": ["model.layers.0.up_proj"],
            }
            tensors = load(weights)
            assert torch.equal(tensors["base_model.model.model.layers.0.up_proj.lora_A.weight"], a)
            assert torch.equal(tensors["base_model.model.model.layers.0.up_proj.lora_B.weight"], b)
            with pytest.raises(ArtifactError, match="this model does not have"):
                found.as_peft({"model.layers.0.down_proj"}, 16.0, "file.pt")
    found = read(written(tmp_path, held))
    assert isinstance(found, Lora)
    with pytest.raises(UsageError, match="does not say the alpha"):
        found.as_peft({"model.layers.0.up_proj"}, None, "file.pt")


def test_any_other_data_is_shown_as_what_it_holds(tmp_path: Path) -> None:
    held = {
        "config": {"prompt": "Who?", "sigma": 0.5, "on": True, "none": None},
        "sweep": torch.tensor([[1.0, float("nan")], [3.0, 5.0]]),
        "means": [torch.zeros(3) for _ in range(4)],
        "sites": [{"L": 1}, {"L": 2}],
        "by_layer": {layer: torch.zeros(2) for layer in range(12)},
    }
    found = read(written(tmp_path, held))
    assert isinstance(found, Data) and found.left == 0
    assert {entry.key: (entry.kind, entry.about) for entry in found.entries} == {
        "config.prompt": ("text", "Who?"),
        "config.sigma": ("number", "0.5"),
        "config.on": ("true or false", "True"),
        "config.none": ("nothing", "None"),
        "sweep": ("tensor [2, 2] float32", "1 to 5, mean 3, 1 not finite"),
        "means": ("list of 4", "tensors [3] float32"),
        "sites": ("list of 2", "{L}, {L}"),
        "by_layer": ("dictionary of 12", "keys 0, 1, 2, … · tensors [2] float32"),
    }
    many = read(written(tmp_path, [{"a": index} for index in range(3)]))
    assert isinstance(many, Data) and many.entries[0].kind == "list of 3"
    wide = read(written(tmp_path, {f"k{index}": {"v": index} for index in range(300)}))
    assert isinstance(wide, Data)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "junk.pt"
    path.write_bytes(b"hello")
    with pytest.raises(ArtifactError, match="damaged"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(ArtifactError, match="damaged"):
        read(path)
    with pytest.raises(ArtifactError, match="there is no file"):
        read(tmp_path / "nowhere.pt")
