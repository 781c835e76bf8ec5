"""`universal` shows the neurons that `discover` leaves out, and says where they are from."""

from __future__ import annotations

import json

import pytest

from commands import run
from sessions.circuits import universal
from sessions.circuits.universal import PUBLISHED, Constant, published
from sessions.events import finished
from sessions.model.info import ModelInfo
from sessions.model.opening import adopt
from sessions.session import Session
from tests.commands.driving import events_of, failure_in, result, unharmed
from tests.families import tiny, tiny_tokenizer


def test_universal_lists_the_neurons_that_discover_leaves_out(little: Session) -> None:
    shown = result(little, "universal --tokens 2")
    assert (shown.model, shown.published, shown.prompts, shown.strongest) == ("tiny", "", 12, 100)
    assert shown.rows and all(row.prompts >= 0.8 * 12 for row in shown.rows)
    assert [row.prompts for row in shown.rows] == sorted((row.prompts for row in shown.rows), reverse=True)
    assert all(len(row.up) == len(row.down) == 2 for row in shown.rows)
    found = result(little, "discover a --top 300 --no-verify")
    assert f"{len(shown.rows)} universal neurons left out" in str(found.notes)
    assert not {row.neuron.site for row in shown.rows} & {neuron.site for neuron in found.circuit.neurons}


def test_universal_neurons_are_found_once_and_an_outdated_file_is_ignored(little: Session) -> None:
    result(little, "universal")
    assert len(events_of(little, "universal")) == 2  # started, result: nothing was computed
    (path,) = (little.home / "universal").iterdir()
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({"procedure": kept["procedure"], "sites": [[0, 1]]}))
    assert len(events_of(little, "universal")) > 2
    assert json.loads(path.read_text()) == kept


def test_a_model_out_of_reach_of_relp_is_attributed_by_atp(little: Session) -> None:
    opened = adopt(tiny("gemma3n"), tiny_tokenizer(), name="tiny-3n")
    assert opened.anatomy.why_not("relp") is not None
    little.use_model(opened)
    with unharmed(little):
        shown = result(little, "universal")
    assert shown.rows and all(row.prompts >= 0.8 * shown.prompts for row in shown.rows)


def test_a_cancelled_search_keeps_nothing(little: Session) -> None:
    with unharmed(little):
        events = []
        for event in run(little, "universal"):
            events.append(event)
            little.cancel.request()
        assert failure_in(events).error == "cancelled"
    assert not (little.home / "universal").exists()


def info(name: str, **changes: object) -> ModelInfo:
    shape = {"n_layers": 32, "d_model": 4096, "d_mlp": (14336,) * 32, "vocab_size": 128256, **changes}
    return ModelInfo(
        name=name, source="hub, revision 0e9e39f", family="llama", fingerprint="f00d", dtype="bfloat16", device="cpu",
        n_heads=32, n_parameters=8_030_261_248, has_template=True, has_thinking=False, **shape,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("name", [*PUBLISHED[0].ids, "meta-llama/llama-3.1-8b-instruct"])
def test_a_checkpoint_with_a_published_list_has_that(name: str) -> None:
    found = published(info(name))
    assert found is not None and "Transluce" in found.published
    assert len(found.neurons) == 12
    assert {(23, 306), (20, 3972), (2, 4786)} <= found.sites
    assert found.neurons[0] == Constant(23, 306, None)


@pytest.mark.parametrize(
    "other",
    [
        info("Llama-3.1-8B"),
        info("someone/Llama-3.1-8B-Instruct-tuned"),
        info("meta-llama/Llama-3.1-8B", n_layers=80),
        info("meta-llama/Llama-3.1-8B", vocab_size=128000),
        info("meta-llama/Llama-3.1-8B", d_mlp=(8192,) * 32),
    ],
)
def test_a_name_or_a_shape_alone_is_no_evidence(other: ModelInfo) -> None:
    assert published(other) is None


def test_a_model_from_a_notebook_is_known_by_its_config() -> None:
    assert published(info("mine"), ["meta-llama/Llama-3.1-8B"]) is not None


def test_a_published_list_takes_the_place_of_detection(little: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = little.opened()
    shape = (opened.info.n_layers, opened.info.d_model, max(opened.info.d_mlp), opened.info.vocab_size)
    mine = universal.Published(source="a paper", ids=("Tiny",), shape=shape, neurons=((2, 7), (0, 1)))
    monkeypatch.setattr(universal, "PUBLISHED", (mine,))
    shown = result(little, "universal")
    assert [str(row.neuron) for row in shown.rows] == ["L2/N7", "L0/N1"]
    assert shown.published == "a paper" and shown.rows[0].prompts is None
    assert not (little.home / "universal").exists()
    assert finished(little.universal()) == {(2, 7), (0, 1)}
