"""Reads and writes inventories: JSON lists of known neurons, in the spellings that researchers use.

An inventory is a list of objects, or an object that holds such a list:

    [{"id": "bravado", "layer": 24, "index": 1005, "gain": 3.5, "tier": "A", "region": "answer"}, …]

`layer`, `index` and `gain` are required. An id such as `L24/N1005` stands for layer and index. `region` is answer,
thought or always (the default). `mode` says what the gain does: multiply, hold or shift (the default); a mode beside
the list applies to all its neurons. `SPELLINGS` lists the other spellings of each key. An unknown key is kept, and
written back.

The reader accepts any of these spellings. It refuses an entry that can be read in two ways, and names its number.

An inventory may define presets beside its list: neurons that are used together, by their ids, some with another gain:

    "presets": [{"name": "calm", "enabled": ["bravado", "L16/N1298"], "overrides": {"bravado": -2.0}}, …]
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import structs

from sessions import artifacts
from sessions.cancel import look
from sessions.errors import ArtifactError, UsageError
from sessions.files import json_text
from sessions.interventions.presets import MODES, REGIONS, Known, Preset, sound
from sessions.model.units import Kind, Unit

#: Keys of an object that may hold the list, and the spellings of each field, the workbench's own first.
LISTS = ("neurons", "inventory", "known_neurons", "known", "entries", "items", "enabled")
SPELLINGS = {
    "id": ("id", "name"),
    "layer": ("layer", "layer_index", "layer_idx"),
    "index": ("index", "idx", "neuron", "neuron_index", "neuron_idx", "neuron_id"),
    "gain": ("gain", "default_gain", "strength", "coefficient"),
    "tier": ("tier",),
    "region": ("region",),
    "mode": ("mode",),
    "position": ("position",),
    "positions": ("positions",),
}
_REGIONS = {"all": "always", "everywhere": "always", "thinking": "thought", "think": "thought", "reasoning": "thought"}
_MODES = {"add": "shift", "scale": "multiply", "set": "hold", "set-to": "hold"}
_LARGEST = 1e6  # as for multipliers
_SHAPE = 'an inventory is a list of {"id": "…", "layer": 24, "index": 1005, "gain": 3.5, "region": "answer"}'
_PRESET_SHAPE = 'a preset of an inventory is {"name": "…", "enabled": ["L24/N1005"], "overrides": {"L24/N1005": 2.0}}'
_A_GAIN = "a number between a million and minus a million: 3.5"
#: The letter before each number, and how to write it.
_WRITE = {"layer": ("L", "24 or L24"), "index": ("N", "1005 or N1005")}

Word = TypeVar("Word", bound=str)


def read_inventory(data: bytes, source: str) -> Preset:
    """The preset in a file's bytes, which are an inventory or a preset that the workbench saved.

    Raises:
        ArtifactError: the file is neither, an entry is malformed, or two entries conflict; the message names the entry.
    """
    contents = json_text.foreign(data, source)
    if isinstance(contents, dict) and {"kind", "body"} <= contents.keys():
        artifact = artifacts.opened(json_text.without_mark(data), "preset", source)
        return sound(artifacts.body_of(artifact, Preset, source), source)
    return inventory_in(contents, source)


def inventory_in(contents: Any, source: str) -> Preset:
    """The preset in the decoded contents of a JSON or YAML file.

    Raises:
        ArtifactError: as `read_inventory` raises it.
    """
    under, entries, others = _listed(contents, source)
    mode = others.pop("mode", None)
    mode = "shift" if mode is None else mode
    neurons = tuple(_Entry(number, entry, source).known(mode) for number, entry in enumerate(entries, 1))
    preset = sound(Preset(neurons=neurons, under=under, more=others), source)
    written(preset, source)  # an inventory that cannot be written back is refused here
    return preset


def presets_within(inventory: Preset, source: str) -> dict[str, Preset]:
    """The presets that an inventory defines beside its list, by name; a preset that enables no neuron is left out.

    Raises:
        ArtifactError: a preset is malformed, or names a neuron that the inventory lacks; the message says which.
    """
    entries = inventory.more.get("presets", [])
    if not isinstance(entries, list):
        raise ArtifactError(f"{source}: 'presets' is {json_text.named(entries)}, not a list", _PRESET_SHAPE)
    known = {neuron.id: neuron for neuron in inventory.neurons}
    presets = [_Enabled(number, entry, known, source) for number, entry in enumerate(entries, 1)]
    twice = [name for name, count in Counter(preset.name for preset in presets).items() if count > 1]
    if twice:
        raise ArtifactError(f"{source} has two presets called {twice[0]!a}", "give each a name of its own")
    return {preset.name: Preset(neurons=preset.neurons(), more=preset.more()) for preset in presets if preset.ids}


class _Enabled:
    """Reads one preset of an inventory; its errors name the preset."""

    def __init__(self, number: int, fields: Any, known: Mapping[str, Known], source: str) -> None:
        self.what, self.known = f"{source}: preset {number}", known
        if not isinstance(fields, dict) or not isinstance(fields.get("name"), str) or not fields["name"]:
            raise ArtifactError(f"{self.what} has no name", _PRESET_SHAPE)
        self.name, self.fields = fields["name"], fields
        self.what += f" ({self.name[:40]!a})"
        self.ids: list[str] = self._named("enabled", list)
        self.gains: dict[str, Any] = self._named("overrides", dict)

    def _named(self, key: str, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
        """The ids under a key; raises for an id that the inventory lacks."""
        value: Any = self.fields.get(key) or kind()
        if not isinstance(value, kind):
            raise ArtifactError(f"{self.what} has {json_text.named(value)} for '{key}'", _PRESET_SHAPE)
        for name in value:
            if not isinstance(name, str) or name not in self.known:
                raise ArtifactError(
                    f"{self.what} names {ascii(name)[:40]} under '{key}', which no entry of the list is called",
                    "name neurons by the ids of the list",
                )
        return value

    def neurons(self) -> tuple[Known, ...]:
        unused = next((name for name in self.gains if name not in self.ids), None)
        if unused is not None:
            raise ArtifactError(f"{self.what} overrides {unused[:40]!a} and does not enable it", "enable it as well")
        return tuple(self._neuron(name) for name in dict.fromkeys(self.ids))

    def _neuron(self, name: str) -> Known:
        gain = self.gains.get(name, self.known[name].gain)
        if not _is_gain(gain):
            raise ArtifactError(f"{self.what} has no number for {name[:40]!a}", f"write {_A_GAIN}")
        return structs.replace(self.known[name], gain=float(gain))

    def more(self) -> dict[str, Any]:
        return {key: value for key, value in self.fields.items() if key not in ("name", "enabled", "overrides")}


def written(preset: Preset, what: str = "the inventory", about: Mapping[str, str] | None = None) -> bytes:
    """The preset as an indented JSON inventory, which `read_inventory` reads back.

    Args:
        about: fields to write beside the list; dropped where the inventory was a plain list.

    Raises:
        ArtifactError: the preset holds a number or a text that JSON cannot express.
    """
    entries = [_entry(known) for known in preset.neurons]
    if not preset.under:
        return json_text.readable(entries, what)
    return json_text.readable({**(about or {}), **preset.more, preset.under: entries}, what)


def _entry(known: Known) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(known)
    more = fields.pop("more", {})
    return {**fields, "region": known.region, **more}


def _listed(contents: Any, source: str) -> tuple[str, list[Any], dict[str, Any]]:
    """The key of the list ("" for a plain list), the list, and the other fields."""
    if isinstance(contents, list):
        under, entries, others = "", contents, {}
    elif isinstance(contents, dict):
        keys = [key for key in contents if key in LISTS and isinstance(contents[key], list)]
        if len(keys) != 1:
            problem = f"has both '{keys[0]}' and '{keys[1]}'" if keys else "holds no list of neurons"
            raise ArtifactError(f"{source} {problem}", f"{_SHAPE}, or an object with that list under 'neurons'")
        under, entries = keys[0], contents[keys[0]]
        others = {key: value for key, value in contents.items() if key != under}
    else:
        raise ArtifactError(f"{source} holds {json_text.named(contents)} where an inventory is a list", _SHAPE)
    if not entries:
        raise ArtifactError(f"{source} holds no neurons", _SHAPE)
    return under, entries, others


class _Entry:
    """Reads one entry of an inventory; its errors name the entry."""

    def __init__(self, number: int, fields: Any, source: str) -> None:
        self.what = f"{source}: entry {number}"
        if not isinstance(fields, dict):
            raise ArtifactError(f"{self.what} is {json_text.named(fields)}, not an object", _SHAPE)
        self.fields = fields
        plain = {key: key.strip().lower().replace("-", "_").replace(" ", "_") for key in fields}
        self.keys = {
            name: [key for spelling in spellings for key in fields if plain[key] == spelling]
            for name, spellings in SPELLINGS.items()
        }
        twice = [key for key, count in Counter(plain.values()).items() if count > 1]
        if twice:
            raise ArtifactError(f"{self.what} has '{twice[0]}' twice", "spell each key once")
        if self.keys["id"]:
            self.what += f" ({ascii(self.fields[self.keys['id'][0]])[:40]})"

    def known(self, mode: Any) -> Known:
        """The entry as a known neuron; `mode` is the inventory's default mode."""
        look()
        named = self._named()
        layer, index = (self._number(name, named) for name in ("layer", "index"))
        position = self._field("position", named.position if named else None)
        if position is not None and type(position) is not int:
            raise self._wrong("position", position, "a whole number, such as 3 or -1")
        kind: Kind = "neuron" if named is None else named.kind
        return Known(
            id=self._id(Unit(layer, index, position, kind=kind)),
            layer=layer,
            index=index,
            kind=kind,
            gain=self._gain(),
            tier=self._tier(),
            region=self._word("region", self._field("region", "always"), REGIONS, _REGIONS),
            mode=self._word("mode", self._field("mode", mode), MODES, _MODES),
            position=position,
            positions=self._positions(),
            more={key: value for key, value in self.fields.items() if key not in self._taken()},
        )

    def _taken(self) -> set[str]:
        """Keys that are written back in the workbench's own spelling; a field's second spelling is kept unchanged."""
        return {keys[0] for keys in self.keys.values() if keys}

    def _field(self, name: str, default: Any = None) -> Any:
        value = self.fields[self.keys[name][0]] if self.keys[name] else None
        return default if value is None else value

    def _wrong(self, name: str, value: Any, write: str) -> ArtifactError:
        key = self.keys[name][0] if self.keys[name] else name
        shown = ascii(value)[:40] if isinstance(value, str | int | float) else json_text.named(value)
        return ArtifactError(f"{self.what} has {shown} for '{key}'", f"write {write}")

    def _named(self) -> Unit | None:
        """The neuron that a text of the entry names, such as `L24/N1005`; None if no text names one."""
        first: Unit | None = None
        for key in (*self.keys["index"], *self.keys["id"]):
            try:
                neuron = Unit.parse(self.fields[key]) if isinstance(self.fields[key], str) else None
            except UsageError:
                continue
            if first is not None and neuron is not None and neuron.anywhere != first.anywhere:
                raise ArtifactError(f"{self.what} names {first} and {neuron}", "name one neuron in one entry")
            first = first or neuron
        return first

    def _number(self, name: str, named: Unit | None) -> int:
        """The entry's layer or index; raises where its fields and its id disagree."""
        letter, write = _WRITE[name]
        values = {} if named is None else {"its id": getattr(named, name)}
        for key in self.keys[name]:
            value = self.fields[key]
            if value is None or (isinstance(value, str) and _is_neuron(value)):
                continue
            match = re.fullmatch(rf"\s*{letter}?([0-9]{{1,9}})\s*", str(value), re.IGNORECASE)
            if match is None or isinstance(value, bool):
                raise self._wrong(name, value, f"a whole number from 0: {write}")
            values[f"'{key}'"] = int(match[1])
        if not values:
            raise ArtifactError(f"{self.what} has no {name}", f'write "{name}": {write.partition(" ")[0]}')
        if len(set(values.values())) > 1:
            all_values = " and ".join(f"{value} by {key}" for key, value in values.items())
            raise ArtifactError(f"{self.what} has the {name} {all_values}", "give it once")
        return next(iter(values.values()))

    def _id(self, neuron: Unit) -> str:
        value = self._field("id", str(neuron))
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self._wrong("id", value, 'a text: "id": "L24/N1005"')
        return str(value)

    def _gain(self) -> float:
        value = self._field("gain")
        if value is None:
            raise ArtifactError(f"{self.what} has no gain", 'write a number: "gain": 3.5')
        if not _is_gain(value):
            raise self._wrong("gain", value, _A_GAIN)
        return float(value)

    def _tier(self) -> str | int | None:
        value = self._field("tier")
        if value is None or (isinstance(value, str | int) and not isinstance(value, bool)):
            return value
        raise self._wrong("tier", value, 'a text or a whole number: "tier": 1')

    def _word(self, name: str, value: Any, words: tuple[Word, ...], usual: Mapping[str, str]) -> Word:
        given = value.strip().lower() if isinstance(value, str) else ""
        for word in words:
            if usual.get(given, given) == word:
                return word
        raise self._wrong(name, value, f"one of {', '.join(words)}")

    def _positions(self) -> tuple[tuple[int, int], ...]:
        value = self._field("positions", [])
        try:
            spans = msgspec.convert(value, tuple[tuple[int, int], ...])
        except msgspec.ValidationError:
            spans = ((1, 0),)
        if any(not 0 <= first <= last for first, last in spans):
            raise self._wrong("positions", value, "first and last of each span, from 0: [[3, 9], [12, 12]]")
        return spans


def _is_gain(value: Any) -> bool:
    number = not isinstance(value, bool) and isinstance(value, int | float)
    return number and math.isfinite(value) and abs(value) <= _LARGEST


def _is_neuron(text: str) -> bool:
    try:
        Unit.parse(text)
    except UsageError:
        return False
    return True
