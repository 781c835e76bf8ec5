"""Where modules compute, wherever their weights lie; and what is refused where these cannot come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate import dispatch_model
from torch import Tensor, nn

from sessions.circuits.attributing import attribute
from sessions.circuits.attribution import Attribution
from sessions.directions.lens import predicted
from sessions.errors import ModelError
from sessions.events import finished
from sessions.model import homes
from sessions.model.fingerprint import of_bits
from sessions.model.homes import home_of, weight_of
from sessions.model.opening import OpenModel, adopt
from sessions.training.findings import TrainingPlan
from sessions.training.learning import learn
from sessions.training.samples import Lesson
from tests.accelerator import placements, pretended
from tests.families import tiny, tiny_tokenizer

IDS = torch.tensor([[1, 9, 27, 17, 51, 5]])


def on_disk(family: str, folder: Path, *names: str, device: str | int = "cpu") -> OpenModel:
    """A tiny model whose modules of these names are offloaded, all others on a device."""
    model = tiny(family)
    places = placements.device_map(model, placements.Placement("", 1, device, device))
    assert places.keys() >= set(names)
    dispatch_model(model, places | dict.fromkeys(names, "disk"), main_device=device, offload_dir=str(folder))
    return adopt(model, tiny_tokenizer(), name="tiny", fingerprint="same")


def relp(opened: OpenModel) -> Attribution:
    return attribute(opened.model, opened.anatomy, IDS, lambda logits: logits[0, 5])


def same(one: Attribution, other: Attribution) -> bool:
    pairs = zip(one.sites, other.sites, strict=True)
    return all(torch.allclose(a.relevance.cpu(), b.relevance.cpu(), atol=1e-6) for a, b in pairs)


def test_a_module_computes_where_its_weights_come_to(tmp_path: Path) -> None:
    with pretended(devices=2):
        opened = on_disk("llama", tmp_path, "model.layers.1", "lm_head", device=1)
        down = opened.anatomy.layers[1].sites[0].module
        assert next(down.parameters()).is_meta
        assert {home_of(down), home_of(opened.anatomy.head), home_of(opened.anatomy.final_norm), opened.device} == {
            torch.device("cuda", 1)
        }
        assert torch.equal(weight_of(down, "weight").cpu(), tiny("llama").model.layers[1].mlp.down_proj.weight)


def test_a_module_without_weights_computes_anywhere_and_one_whose_weights_are_nowhere_nowhere() -> None:
    assert home_of(nn.SiLU()).type == "cpu"
    nowhere = nn.Linear(2, 3, device="meta")
    assert home_of(nowhere).type == "meta"
    with pytest.raises(ModelError, match="weight of Linear is not in memory"):
        weight_of(nowhere, "weight")


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "gemma3", "qwen3_moe"])
def test_an_offloaded_layer_is_read_as_one_in_memory(family: str, tmp_path: Path) -> None:
    """Norms that centre, columns and rows of neurons, those of experts too, and their relevance."""
    plain = adopt(tiny(family), tiny_tokenizer(), name="tiny")
    names = {id(module): name for name, module in plain.model.named_modules()}
    layer = names[id(plain.anatomy.layers[1].block)]
    opened = on_disk(family, tmp_path, layer, names[id(plain.anatomy.final_norm)])
    assert len(opened.anatomy.centring_norms) == len(plain.anatomy.centring_norms)
    columns = [each.anatomy.down_columns(1, [3, 5]) for each in (opened, plain)]
    assert torch.allclose(*columns, atol=1e-6)
    assert torch.allclose(*(predicted(each.anatomy, columns[0]) for each in (opened, plain)), atol=1e-5)
    rows = [each.anatomy.read_rows(1, 3) for each in (opened, plain)]
    assert rows[0].keys() == rows[1].keys() and all(torch.allclose(row, rows[1][name]) for name, row in rows[0].items())
    assert same(relp(opened), relp(plain))


def test_the_bits_of_offloaded_weights_are_those_of_weights_in_memory(tmp_path: Path) -> None:
    opened = on_disk("llama", tmp_path, "model.layers.1", "lm_head")
    assert finished(of_bits(opened.model)) == finished(of_bits(tiny("llama")))


def test_a_norm_and_a_head_may_be_elsewhere_than_the_last_layer() -> None:
    plain = adopt(tiny("gpt2", biases=True), tiny_tokenizer(), name="tiny")
    with pretended(devices=2):
        model = tiny("gpt2", biases=True)
        places = placements.device_map(model, placements.TWO)
        dispatch_model(model, places | {"transformer.ln_f": 0, "transformer.h.0": 1}, main_device=0)
        assert same(relp(adopt(model, tiny_tokenizer(), name="tiny")), relp(plain))


def test_ids_may_be_anywhere_and_relevance_of_layers_on_several_devices_is_one_tensor() -> None:
    with pretended(devices=2):
        model = tiny("llama")
        dispatch_model(model, placements.device_map(model, placements.TWO), main_device=0)
        found = relp(adopt(model, tiny_tokenizer(), name="tiny"))
        assert {str(site.relevance.device) for site in found.sites} == {"cuda:0", "cuda:1"}
        plain = relp(adopt(tiny("llama"), tiny_tokenizer(), name="tiny"))
        assert torch.allclose(found.dense().cpu(), plain.dense(), atol=1e-6)


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which a thousand bytes are free."""
    monkeypatch.setattr(homes, "free_memory", lambda _: 1000)
    yield


def test_gradients_that_would_bring_all_weights_back_are_refused_before_they_start(tight: None, tmp_path: Path) -> None:
    opened = on_disk("llama", tmp_path, "model.layers.1")
    read: list[Tensor] = []
    opened.model.get_input_embeddings().register_forward_pre_hook(lambda _, args: read.append(args[0]))
    with pytest.raises(ModelError, match=r"relp needs gradients, .* back to cpu: .* MiB, and .* MiB are free") as error:
        relp(opened)
    assert "--method exact" in error.value.hint and not read


def test_an_offloaded_embedding_is_in_nobodys_way(tight: None, tmp_path: Path) -> None:
    """No gradient needs it."""
    opened = on_disk("llama", tmp_path, "model.embed_tokens")
    assert opened.device.type == "cpu"
    assert same(relp(opened), relp(adopt(tiny("llama"), tiny_tokenizer(), name="tiny")))


def test_training_is_refused_where_a_weight_is_offloaded(tmp_path: Path) -> None:
    opened = on_disk("llama", tmp_path, "lm_head")
    lesson = Lesson("one", (1, 9, 27), 1, (1.0, 1.0))
    with pytest.raises(ModelError, match=r"training needs all weights in memory, and lm_head.weight is offloaded"):
        finished(learn(opened, [lesson], TrainingPlan(modules=("down_proj",))))
    assert not hasattr(opened.model, "peft_config")


def test_free_memory_is_what_a_device_says() -> None:
    with pretended(devices=2, memory=10_000):
        held = torch.zeros(1000, device="cuda:1")
        assert homes.free_memory(held.device) == 10_000 - held.nbytes
    assert (homes.free_memory(torch.device("cpu")) or 1) > 0
    assert homes.free_memory(torch.device("mps")) is None


def test_weights_that_are_split_over_processes_are_refused_at_opening() -> None:
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor
    from torch.testing._internal.distributed.fake_pg import FakeStore

    model = tiny("llama")
    distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    try:
        up = model.model.layers[0].mlp.up_proj
        up.weight = nn.Parameter(distribute_tensor(up.weight.data, init_device_mesh("cpu", (2,)), [Shard(0)]))
        with pytest.raises(ModelError, match=r"layers.0.mlp.up_proj.weight is split over several processes"):
            adopt(model, tiny_tokenizer(), name="tiny")
    finally:
        distributed.destroy_process_group()
