"""A circuit made by hand, for tests that look at what is done with one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import structs

from sessions.circuits.circuit import Circuit
from sessions.model.info import Prompt, Token
from sessions.model.target import Target
from sessions.model.units import Unit


def circuit_of(neurons: Iterable[Unit], tokens: Sequence[str] = ("a", "b", "c", "d"), **changes: Any) -> Circuit:
    """The neurons as a circuit on a prompt of these tokens; `changes` are any of its other fields."""
    neurons = tuple(neurons)
    circuit = Circuit(
        neurons=neurons,
        prompt=Prompt(text="x"),
        ids=tuple(range(len(tokens))),
        tokens=tuple(tokens),
        target=Target(tokens=(Token(3, " c"),), value=2.0),
        method="relp",
        attention="frozen",
        chosen=f"top {len(neurons)}",
        conservation=0.0,
        total=1.0,
        model="tiny",
        fingerprint="f",
    )
    return structs.replace(circuit, **changes)
