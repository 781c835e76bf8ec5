"""Methods of attribution stand in one room: a class is all that one takes, and nothing else knows them by name."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sessions
from sessions.circuits.attribution import Attribution
from sessions.circuits.discovery import AttributionOptions, DiscoveryQuestion, Scope, discover, discovering
from sessions.circuits.methods import DEFAULT, METHODS, Method, within_reach
from sessions.circuits.passes import Pass, gradients
from sessions.circuits.pruning import CircuitSize
from sessions.errors import ModelError, UsageError
from sessions.events import finished
from sessions.model import homes
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel, adopt
from sessions.model.tokens import encode
from sessions.notebook import Model
from tests.families import tiny, tiny_tokenizer
from tests.sessions.model.test_homes import on_disk

ROOT = Path(sessions.__file__).parents[1]
ROOM = ROOT / "sessions" / "circuits" / "methods"
#: The name of an ability of models is that of the method that needs it, and stands in one place below the room.
ABILITIES = ROOT / "sessions" / "model" / "info.py"


class Opposite(Method):
    """The negative of gradient × activation: a method that no file of the product knows."""

    name = "opposite"
    summary = "gradient times activation, with the other sign"
    attentions = ("gradient",)
    references = ("zero",)
    many = False

    def attribute(self, run: Pass) -> Attribution:
        found = gradients(run)
        return Attribution(tuple(replace(site, relevance=-site.relevance) for site in found.sites), found.value)


@pytest.fixture
def opposite(monkeypatch: pytest.MonkeyPatch) -> Method:
    method = Opposite()
    monkeypatch.setitem(METHODS, method.name, method)
    return method


@pytest.fixture(scope="module")
def opened() -> OpenModel:
    return adopt(tiny("llama"), tiny_tokenizer(), name="tiny")


def numbers(opened: OpenModel, method: str) -> dict[Any, float | None]:
    encoded = encode(opened.tokenizer, Prompt(text="the cat", chat=False))
    found = discover(
        opened, encoded, DiscoveryQuestion(), choice=CircuitSize(30), how=AttributionOptions(method, "gradient")
    )
    return {neuron.place: neuron.attribution for neuron in found.circuit.neurons}


def test_a_method_of_one_class_attributes(opposite: Method, opened: OpenModel) -> None:
    known, found = numbers(opened, "atp"), numbers(opened, opposite.name)
    assert found == {place: -(value or 0.0) for place, value in known.items()}


def test_a_method_of_one_class_is_one_of_a_notebook(opposite: Method, opened: OpenModel) -> None:
    found = Model(opened).attribute("the cat", method=opposite.name)
    assert found.conservation is None and found.top(1)[0].attribution
    with pytest.raises(UsageError, match="opposite does not take --attention frozen"):
        Model(opened).attribute("the cat", method=opposite.name, attention="frozen")


def test_no_file_outside_the_room_names_a_method() -> None:
    """A string that is the name of a method would be compared with one, or be a default beside the registry's."""
    files = [path for room in ("sessions", "commands", "workbench") for path in (ROOT / room).rglob("*.py")]
    outside = [path for path in files if ROOM not in path.parents and path != ABILITIES]
    assert len(files) - len(outside) > len(METHODS)
    said = {
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}"
        for path in outside
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in METHODS
    }
    assert not said


def test_each_method_has_a_file_that_opens_with_its_algorithm() -> None:
    for name, method in METHODS.items():
        module = sys.modules[type(method).__module__]
        assert Path(str(module.__file__)).parent == ROOM
        assert str(module.__doc__).startswith(f"{name}: ")
        assert method.summary and set(method.references) and set(method.attentions) <= {"frozen", "gradient"}


def test_the_default_is_the_first_and_stands_aside_where_a_model_is_out_of_reach(opened: OpenModel) -> None:
    assert next(iter(METHODS)) == DEFAULT and within_reach(opened.anatomy) is METHODS[DEFAULT]
    other = within_reach(adopt(tiny("gemma3n"), tiny_tokenizer(), name="tiny-3n").anatomy)
    assert other is METHODS[METHODS[DEFAULT].instead]


def test_the_registry_and_the_facade_need_no_torch() -> None:
    code = (
        "import sys, sessions, sessions.circuits.methods as m; [each.summary for each in m.METHODS.values()]; "
        "sessions.open; print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_what_takes_no_gradient_works_where_gradients_have_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal of the others recommends it."""
    opened = on_disk("llama", tmp_path, "model.layers.1")
    monkeypatch.setattr(homes, "free_memory", lambda _: 1000)
    encoded = encode(opened.tokenizer, Prompt(text="the cat", chat=False))
    with pytest.raises(ModelError, match="needs gradients") as error:
        discover(opened, encoded, DiscoveryQuestion(), choice=CircuitSize(5))
    assert "--method exact" in error.value.hint
    how, scope = AttributionOptions("exact", ""), Scope(layers=(1,), positions=(-1,))
    found = finished(
        discovering(opened, encoded, DiscoveryQuestion(), choice=CircuitSize(5), scope=scope, how=how)
    ).circuit
    whole = adopt(tiny("llama"), tiny_tokenizer(), name="tiny")
    same = discover(whole, encoded, DiscoveryQuestion(), choice=CircuitSize(5), scope=scope, how=how).circuit
    assert [neuron.place for neuron in found.neurons] == [neuron.place for neuron in same.neurons]


# The façade


@pytest.mark.parametrize("how", [{}, {"method": "atp"}, {"method": "ig", "steps": 3}, {"attention": "gradient"}])
def test_a_notebook_finds_what_discovery_finds(how: dict[str, Any], opened: OpenModel) -> None:
    found = Model(opened).attribute("the cat", counterfactual=" a", **how)
    encoded = encode(opened.tokenizer, Prompt(text="the cat", chat=False))
    assert found.encoded == encoded
    method = METHODS[how.get("method", DEFAULT)]
    way = AttributionOptions(
        method.name, how.get("attention", method.attention_by_default()), steps=how.get("steps", 16)
    )
    question = DiscoveryQuestion((), found.target.counterfactual)
    circuit = discover(opened, encoded, question, choice=CircuitSize(20), how=way).circuit
    assert found.top(20) == circuit.neurons and found.value == circuit.target.value
    assert found.conservation == circuit.conservation and found.target == circuit.target
    assert found.dense().shape == (3, len(encoded.ids), 48) and found.dense()[:, 0].any()


def test_a_notebook_measures_the_neurons_of_some_layers(opened: OpenModel) -> None:
    found = Model(opened).attribute("the cat", method="exact", layers=[1], positions=[-1])
    assert found.dense().shape[0] == 1 and {neuron.layer for neuron in found.top(5)} == {1}
    assert {neuron.position for neuron in found.top(5)} == {len(found.encoded.ids) - 1}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"method": "igg"}, "unknown method 'igg'"),
        ({"method": "exact"}, "exact without layers"),
        ({"method": "exact", "layers": [1], "attention": "frozen"}, "measures"),
        ({"steps": 4}, "--steps is for --method ig, not for relp"),
        ({"layers": [9]}, "there is no layer 9"),
        ({"positions": [90]}, "no position 90"),
        ({"sequence": True}, "sequence needs a target"),
        ({"counterfactual": " a", "target_only": True}, "excludes"),
    ],
)
def test_options_that_exclude_each_other_are_refused_in_a_notebook(
    how: dict[str, Any], said: str, opened: OpenModel
) -> None:
    with pytest.raises(UsageError, match=said):
        Model(opened).attribute("the cat", **how)
