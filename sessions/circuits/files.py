"""Circuits as files: this workbench's own JSON, the reference implementation's files, and tables.

The reference implementation keeps a circuit as

    {"neurons": {"24,41,1005": 1.52, …}, "prompt": "…", "target_token": " Austin", "total_logit_diff": 1.94}

where a key is `layer,position,neuron`, and position -1 means no position (its contrastive circuits).
Such a file does not say which model it was made on, nor the token ids: those fields stay empty. The
mapping is also found under `circuit` or `attributions`, or at the top level among the other fields.

What is read here is text from strangers: it is parsed as JSON and checked, and nothing else.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import Any

import msgspec

from sessions import artifacts
from sessions.circuits.circuit import Circuit
from sessions.circuits.sound import UNKNOWN_ID, sound
from sessions.errors import ArtifactError
from sessions.files import json_text
from sessions.files.json_text import named, without_mark
from sessions.model.info import Prompt, Token
from sessions.model.target import Target
from sessions.model.units import Unit

#: Where a foreign file may keep its neurons, the reference implementation's own key first.
MAPPINGS = ("neurons", "circuit", "attributions")
COLUMNS = ("layer", "index", "position", "token", "attribution", "share", "activation", "effect", "kind")

# Nine digits are beyond any model, and far from what a file could overflow.
_KEY = re.compile(r"\s*([0-9]{1,9})\s*,\s*(-1|[0-9]{1,9})\s*,\s*([0-9]{1,9})\s*")
_MEANT_AS_KEY = re.compile(r"[-\d\s]|[^,]*,[^,]*,")
_SAMPLE = "it is a sample to train on: train-round FILE"
_SHAPE = 'a circuit file of the reference implementation holds {"neurons": {"layer,position,neuron": value, …}, …}'


def read_circuit(data: bytes, source: str) -> Circuit:
    """The circuit in a file's bytes, whichever of the three formats it has.

    They are told apart by what they hold: a saved artifact (`kind` and `body`), an exported circuit
    (`neurons` is a list), or a circuit of the reference implementation.

    Args:
        source: how errors name the file.

    Raises:
        ArtifactError: it is none of them, or a malformed one; the message names the place.
    """
    fields = _fields(data, source)
    if "kind" in fields and "body" in fields:
        artifact = artifacts.opened(without_mark(data), "circuit", source)
        return sound(artifacts.body_of(artifact, Circuit, source), source)
    if isinstance(fields.get("neurons"), list):
        return sound(json_text.decoded(without_mark(data), Circuit, source), source)
    return _reference(fields, source)


def read_reference(data: bytes, source: str) -> Circuit:
    """The circuit in a file of the reference implementation, its neurons strongest first.

    Token ids are `UNKNOWN_ID`; prompt ids, tokens, model and fingerprint are empty: unknown.

    Raises:
        ArtifactError: the file is malformed; the message names the key, or line and column.
    """
    return _reference(_fields(data, source), source)


def write_reference(circuit: Circuit) -> bytes:
    """The circuit as a file that the reference implementation loads. Activations and ids are left out.

    Raises:
        ArtifactError: the circuit has no neurons, a neuron has no attribution, or two stand at one place.
    """
    neurons = {_key(neuron, circuit): _finite(neuron.attribution, str(neuron)) for neuron in circuit.neurons}
    if len(neurons) < len(circuit.neurons):
        raise ArtifactError("two neurons of the circuit stand at one place, which the reference format cannot say")
    if not neurons:
        raise ArtifactError("the circuit has no neurons")
    contents = {
        "neurons": neurons,
        "prompt": circuit.prompt.text,
        "target_token": "".join(token.text for token in circuit.target.tokens),
        "total_logit_diff": _finite(circuit.target.value, "the target's value"),
    }
    # ASCII: the reference implementation opens files in the encoding of whatever locale it runs in.
    return json.dumps(contents, indent=2, allow_nan=False).encode() + b"\n"


def write_json(circuit: Circuit) -> bytes:
    """The circuit, all of it, as JSON laid out to be read and edited; `read_circuit` takes it back.

    Raises:
        ArtifactError: it has no neurons, two at one place, or a number that is not finite.
    """
    return json_text.readable(msgspec.to_builtins(sound(circuit, "the circuit")), "the circuit")


def write_csv(circuit: Circuit) -> str:
    """The neurons as a table, strongest first: texts quoted, numbers bare, what is unknown empty."""
    table = io.StringIO(newline="")
    # Every text is quoted since a token may be a carriage return, which a csv reader ends a row at.
    rows = csv.writer(table, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    rows.writerow(COLUMNS)
    for neuron in circuit.neurons:
        token = circuit.token(neuron.position)
        share = circuit.share(neuron)
        rows.writerow(
            (
                neuron.layer,
                neuron.index,
                neuron.position,
                token,
                neuron.attribution,
                share,
                neuron.activation,
                neuron.effect,
                neuron.kind,
            )
        )
    return table.getvalue()


def _fields(data: bytes, source: str) -> dict[str, Any]:
    """The JSON object in the bytes, its keys checked to be different."""
    fields = json_text.foreign(data, source)
    if not isinstance(fields, dict):
        raise ArtifactError(f"{source} holds {named(fields)} where a circuit is an object", _SHAPE)
    return fields


def _reference(fields: dict[str, Any], source: str) -> Circuit:
    attributions = _attributions(fields, source)
    neurons = [_neuron(key, value, source) for key, value in attributions.items()]
    # A stable sort: neurons of one strength stay in the order of the file.
    neurons.sort(key=lambda neuron: -abs(neuron.attribution or 0.0))
    token, difference = _text(fields, "target_token", source), fields.get("total_logit_diff")
    circuit = Circuit(
        neurons=tuple(neurons),
        prompt=Prompt(text=_text(fields, "prompt", source)),
        ids=(),
        tokens=(),
        target=Target(
            tokens=(Token(UNKNOWN_ID, token),) if token else (),
            value=0.0 if difference is None else _number(difference, "'total_logit_diff'", source),
        ),
        method="imported",
        attention="",
        chosen="imported",
        conservation=None,
        total=None,
        model="",
        fingerprint="",
    )
    return sound(circuit, source)


def _attributions(fields: dict[str, Any], source: str) -> dict[str, Any]:
    """The mapping from `layer,position,neuron` to attribution, wherever in the file it is."""
    here = [name for name in MAPPINGS if name in fields]
    if len(here) > 1:
        raise ArtifactError(f"{source} has both '{here[0]}' and '{here[1]}': which holds the circuit is not clear")
    if not here:
        entries = {key: value for key, value in fields.items() if _MEANT_AS_KEY.match(key)}
        if not entries:
            sample = {"input", "output"} <= fields.keys() or {"prompt", "reply"} <= fields.keys()
            raise ArtifactError(f"{source} holds no neurons", _SAMPLE if sample else _SHAPE)
        return entries
    entries = fields[here[0]]
    if not isinstance(entries, dict):
        raise ArtifactError(f"{source}: '{here[0]}' is {named(entries)}, not an object", _SHAPE)
    return entries


def _neuron(key: str, value: Any, source: str) -> Unit:
    match = _KEY.fullmatch(key)
    if match is None:
        raise ArtifactError(
            f"{source} has the key {key!r}, which is not a neuron",
            "a key is layer,position,neuron, each a whole number from 0; position -1 is none: 24,41,1005",
        )
    layer, position, index = (int(number) for number in match.groups())
    return Unit(layer, index, None if position == -1 else position, _number(value, f"'{key}'", source))


def _number(value: Any, what: str, source: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArtifactError(f"{source}: the value of {what} is {named(value)}, not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ArtifactError(f"{source}: the value of {what} is {number}, not a finite number")
    return number


def _text(fields: dict[str, Any], name: str, source: str) -> str:
    text = fields.get(name)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise ArtifactError(f"{source}: '{name}' is {named(text)}, not a text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ArtifactError(f"{source}: '{name}' is not valid Unicode from character {error.start} on") from error
    return text


def _key(neuron: Unit, circuit: Circuit) -> str:
    if neuron.kind != "neuron":
        raise ArtifactError(
            f"{neuron} is a {neuron.kind}: the reference format has neurons only", "export as json or csv"
        )
    position = -1 if neuron.position is None else neuron.position
    if neuron.position is not None and position < 0:
        position += len(circuit.ids)
        if position < 0:
            raise ArtifactError(f"{neuron} counts from the end of a prompt whose length is not known")
    return f"{neuron.layer},{position},{neuron.index}"


def _finite(value: float | None, what: str) -> float:
    if value is None or not math.isfinite(value):
        given = "no attribution" if value is None else str(value)
        raise ArtifactError(f"{what} has {given}, and the reference format needs a number", "export as json or csv")
    return value
