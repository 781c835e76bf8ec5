"""Circuits as files: what is written comes back, and what is malformed is refused with its place."""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sessions.circuits.circuit import Circuit
from sessions.circuits.files import COLUMNS, read_circuit, read_reference, write_csv, write_json, write_reference
from sessions.errors import ArtifactError
from sessions.model.info import Prompt, Token
from sessions.model.target import Target
from sessions.model.units import Unit
from sessions.store import Store

REFERENCE = {
    "neurons": {"24,41,1005": 1.5198812, "29,41,1498": -0.6524401, "29,41,66": 0.5991968, "30,-1,7": -2},
    "prompt": "What is the capital of Texas?",
    "target_token": " Austin",
    "total_logit_diff": 1.9434223175048828,
}

finite = st.floats(allow_nan=False, allow_infinity=False)
# The whole of Unicode, as hypothesis gives it: lone surrogates are no text, and are refused elsewhere.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def circuits(draw: st.DrawFn) -> Circuit:
    tokens = draw(st.lists(texts, max_size=6))
    positions = st.none() | (st.integers(-len(tokens), len(tokens) - 1) if tokens else st.integers(-3, 3))
    index = st.integers(0, 99_999)
    places = draw(st.lists(st.tuples(index, index, positions), min_size=1, max_size=6, unique=True))
    optional = st.none() | finite
    return Circuit(
        neurons=tuple(Unit(*each, draw(optional), draw(optional)) for each in places),
        prompt=Prompt(text=draw(texts), seed=draw(texts), chat=draw(st.booleans()), system=draw(st.none() | texts)),
        ids=tuple(range(len(tokens))),
        tokens=tuple(tokens),
        target=Target(
            tokens=tuple(Token(draw(st.integers(-1, 300_000)), text) for text in draw(st.lists(texts, max_size=2))),
            counterfactual=draw(st.none() | st.builds(Token, st.integers(0, 9), texts)),
            value=draw(finite),
        ),
        method=draw(texts),
        attention="frozen",
        chosen="top 3",
        conservation=draw(optional),
        total=draw(optional),
        model=draw(texts),
        fingerprint=draw(texts),
        name="texas",
    )


def reference(**changes: Any) -> bytes:
    return json.dumps({**REFERENCE, **changes}).encode()


def one(key: str, value: Any = 1.0) -> bytes:
    return reference(neurons={key: value})


# ---- own format


@given(circuits())
def test_a_circuit_written_as_json_comes_back_equal(circuit: Circuit) -> None:
    assert read_circuit(write_json(circuit), "x.json") == circuit


@given(circuits())
def test_a_saved_circuit_comes_back_equal_by_name_and_as_a_file(
    tmp_path_factory: pytest.TempPathFactory, circuit: Circuit
) -> None:
    store = Store(tmp_path_factory.mktemp("home"))
    path = store.save("circuit", "texas", circuit, model="m", fingerprint="f", command="save texas")
    assert store.load("circuit", "texas", Circuit)[1] == circuit
    assert read_circuit(path.read_bytes(), str(path)) == circuit


def test_a_saved_circuit_that_was_edited_is_not_imported(tmp_path: Path) -> None:
    circuit = read_circuit(reference(), "x.json")
    path = Store(tmp_path).save("circuit", "texas", circuit, model="m", fingerprint="f", command="")
    data = path.read_bytes().replace(b'"layer":24', b'"layer":25')
    with pytest.raises(ArtifactError, match="changed or damaged"):
        read_circuit(data, str(path))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"layer":24', '"layer":-1', "has L-1/N1005@41: layers and neurons count from 0"),
        ('"layer":24', '"layer":"24"', "`$.neurons[1].layer`"),
        ('"prompt"', '"promt"', "missing required field `prompt`"),
        ('"layer":29,"index":66', '"layer":24,"index":1005', "has L24/N1005@41 twice"),
        ('"ids": []', '"ids": [1, 2]', "has L24/N1005@41, and its prompt has 2 tokens"),
        ("1.5198812", "NaN", "malformed at line 4, column"),
        ("1.5198812", "1e999", "out of range"),
    ],
)
def test_an_edited_export_that_cannot_be_is_refused_with_its_place(old: str, new: str, said: str) -> None:
    text = write_json(read_circuit(reference(), "x.json")).decode()
    assert old in text
    with pytest.raises(ArtifactError, match=re.escape(said)):
        read_circuit(text.replace(old, new, 1).encode(), "x.json")


# ---- the reference implementation's format


def test_a_reference_file_is_read_strongest_first() -> None:
    for read in (read_circuit, read_reference):
        circuit = read(reference(), "x.json")
        assert [str(neuron) for neuron in circuit.neurons] == ["L30/N7", "L24/N1005@41", "L29/N1498@41", "L29/N66@41"]
        assert circuit.neurons[1].attribution == 1.5198812
        assert circuit.prompt.text == "What is the capital of Texas?"
        assert circuit.target == Target(tokens=(Token(-1, " Austin"),), value=1.9434223175048828)
        assert (circuit.ids, circuit.tokens, circuit.model, circuit.fingerprint) == ((), (), "", "")


@pytest.mark.parametrize(
    "fields",
    [
        {"circuit": {"1,2,3": 0.5}, "prompt": "p"},
        {"attributions": {"1,2,3": 0.5}},
        {"1,2,3": 0.5, "prompt": "p", "target_token": " x", "model": "llama", "edges": [[1, 2]]},
        {"neurons": {" 1, 2, 3 ": 0.5}, "target_token": None, "total_logit_diff": None},
    ],
)
def test_the_mapping_is_found_wherever_it_is(fields: dict[str, Any]) -> None:
    for data in (json.dumps(fields).encode(), b"\xef\xbb\xbf" + json.dumps(fields, indent=2).encode()):
        assert read_circuit(data, "x.json").neurons == (Unit(1, 3, 2, 0.5),)


@given(circuits())
def test_what_the_reference_format_can_say_survives_it(circuit: Circuit) -> None:
    neurons = tuple(
        structs.replace(each, position=None if each.position is None else abs(each.position), attribution=1.0 / (i + 1))
        for i, each in enumerate(circuit.neurons)
    )
    neurons = tuple({each.place: each for each in neurons}.values())
    again = read_circuit(write_reference(circuit.with_neurons(neurons, "some")), "x.json")
    assert again.neurons == tuple(structs.replace(each, activation=None) for each in neurons)
    assert again.prompt.text == circuit.prompt.text
    assert again.target.value == circuit.target.value
    assert "".join(token.text for token in again.target.tokens) == "".join(t.text for t in circuit.target.tokens)


def test_a_reference_file_is_written_as_the_reference_writes_it() -> None:
    assert json.loads(write_reference(read_circuit(reference(), "x.json"))) == REFERENCE


def test_a_position_counted_from_the_end_is_resolved_for_the_reference() -> None:
    circuit = read_circuit(reference(neurons={"1,0,3": 1.0}), "x.json")
    last = circuit.with_neurons((Unit(1, 3, -1, 1.0),), "one")
    with pytest.raises(ArtifactError, match="length is not known"):
        write_reference(last)
    assert b'"1,41,3"' in write_reference(structs.replace(last, ids=tuple(range(42))))


def test_what_the_reference_format_cannot_say_is_refused() -> None:
    circuit = read_circuit(reference(), "x.json")
    for neurons, said in (
        ((Unit(1, 2, 3),), "L1/N2@3 has no attribution"),
        ((Unit(1, 2, 3, float("nan")),), "has nan"),
        ((Unit(1, 2, 3, 1.0), Unit(1, 2, 3, 2.0)), "stand at one place"),
        ((), "no neurons"),
    ):
        with pytest.raises(ArtifactError, match=said):
            write_reference(circuit.with_neurons(neurons, ""))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (one("24,41"), "the key '24,41', which is not a neuron"),
        (one("24,41,x"), "the key '24,41,x'"),
        (one("24,41,1005,1"), "the key '24,41,1005,1'"),
        (one("L24,41,1005"), "the key 'L24,41,1005'"),
        (one("-1,41,1005"), "the key '-1,41,1005'"),
        (one("24,-2,1005"), "the key '24,-2,1005'"),
        (one("24,41,-5"), "the key '24,41,-5'"),
        (one("24,41,1.5"), "the key '24,41,1.5'"),
        (one("24,41,٣"), "which is not a neuron"),
        (one("24,41,12345678901234567890"), "which is not a neuron"),
        (one("24,41,5", "1.5"), "the value of '24,41,5' is a text, not a number"),
        (one("24,41,5", True), "the value of '24,41,5' is true or false"),
        (one("24,41,5", None), "the value of '24,41,5' is null"),
        (one("24,41,5", [1]), "the value of '24,41,5' is a list"),
        (one("24,41,5", float("nan")), "the value of '24,41,5' is nan, not a finite number"),
        (one("24,41,5", float("-inf")), "is -inf, not a finite number"),
        (one("24,41,5", 10**400), "a number of more than 64 bits"),
        (one("24,41,5").replace(b"1.0", b"9" * 5000), "a number of more than 64 bits"),
        (reference(neurons={}), "holds no neurons"),
        (reference(neurons="24,41,5"), "'neurons' is a text, not an object"),
        (reference(circuit={"1,2,3": 1.0}), "both 'neurons' and 'circuit'"),
        (reference(neurons={"1,2,3": 1.0, "01,2,3": 2.0}), "has L1/N3@2 twice"),
        (b'{"neurons": {"1,2,3": 1.0, "1,2,3": 2.0}}', "has the key '1,2,3' twice"),
        (b'{"neurons": {"1,2,3": 1.0}, "prompt": "a", "prompt": "b"}', "has the key 'prompt' twice"),
        (reference(prompt=3), "'prompt' is a number, not a text"),
        (reference(target_token=["a"]), "'target_token' is a list, not a text"),
        (reference(prompt="\udc80"), "'prompt' is not valid Unicode from character 0"),
        (reference(total_logit_diff="1"), "the value of 'total_logit_diff' is a text"),
        (reference(total_logit_diff=False), "the value of 'total_logit_diff' is true or false"),
        (reference(total_logit_diff=float("nan")), "the value of 'total_logit_diff' is nan"),
        (b"{}", "holds no neurons"),
        (b'{"prompt": "p"}', "holds no neurons"),
        (b"[]", "holds a list where a circuit is an object"),
        (b"", "malformed at line 1, column 1"),
        (b'{\n "neurons": {\n  "1,2,3" 4}}', "malformed at line 3, column 11"),
        (b'{"neurons":\n "\xff"}', "not UTF-8 text: line 2, column 3"),
        ("{}".encode("utf-16"), "not UTF-8 text: line 1, column 1"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (pickle.dumps({"neurons": {"1,2,3": 1.0}}), "not UTF-8 text"),
        (pickle.dumps({"neurons": {"1,2,3": 1.0}}, protocol=0), "malformed at line 1"),
        (b'{"kind": "vector", "format": 1, "body": {}}', "holds a vector, not a circuit"),
        (b'{"kind": "circuit", "format": 9, "body": {}}', "has format 9"),
        (b'{"kind": "circuit", "format": 1, "body": {}}', "missing required field"),
    ],
)
def test_a_malformed_file_is_refused_naming_file_and_place(data: bytes, said: str) -> None:
    with pytest.raises(ArtifactError, match=re.escape(said)) as caught:
        read_circuit(data, "folder/x.json")
    assert caught.value.message.startswith("folder/x.json")


@given(
    st.binary(max_size=60)
    | texts.map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["neurons", "circuit", "prompt", "kind", "body", "1,2,3", "4,5", "x"]), inner
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_a_file_holds_it_is_a_circuit_or_an_error(data: bytes) -> None:
    try:
        circuit = read_circuit(data, "x.json")
    except ArtifactError as error:
        assert error.message.startswith("x.json")
    else:
        assert read_circuit(write_json(circuit), "y.json") == circuit


# ---- tables


@given(circuits())
def test_a_table_has_every_neuron_and_every_number_exactly(circuit: Circuit) -> None:
    header, *rows = csv.reader(io.StringIO(write_csv(circuit), newline=""))
    assert tuple(header) == COLUMNS
    assert len(rows) == len(circuit)

    def number(cell: str) -> float | None:
        return float(cell) if cell else None

    for neuron, (layer, index, position, token, attribution, share, activation, effect, kind) in zip(
        circuit.neurons, rows, strict=True
    ):
        assert (int(layer), int(index), number(position), kind) == neuron.place
        assert token == ("" if neuron.position is None or not circuit.tokens else circuit.tokens[neuron.position])
        assert (number(attribution), number(activation)) == (neuron.attribution, neuron.activation)
        assert number(effect) == neuron.effect
        assert number(share) == circuit.share(neuron)


def test_a_circuit_is_written_as_a_csv_table() -> None:
    circuit = read_circuit(reference(neurons={"24,1,1005": 1.5, "3,-1,7": 0.5}, total_logit_diff=2.0), "x.json")
    circuit = structs.replace(circuit, ids=(1, 2), tokens=("<s>", ' "hi"\r'))
    assert write_csv(circuit) == (
        '"layer","index","position","token","attribution","share","activation","effect","kind"\n'
        '24,1005,1," ""hi""\r",1.5,0.75,"","","neuron"\n'
        '3,7,"","",0.5,0.25,"","","neuron"\n'
    )
