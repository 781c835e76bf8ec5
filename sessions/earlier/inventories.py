"""Inventories: JSON files of known neurons, as people who look for such neurons keep them, read and written.

An inventory is a list of objects, or an object that holds such a list:

    [{"id": "bravado", "layer": 24, "index": 1005, "gain": 3.5, "tier": "A", "region": "answer"}, …]

`layer`, `index` and `gain` are needed; an id such as `L24/N1005` stands for layer and index. `region` is answer,
thought or, where nothing is said, always; `mode` is what the gain does: multiply, hold or, where nothing is said,
shift. A mode beside the list is that of all its neurons. The keys have other usual spellings, below; what is none of
them is kept, and written again.

Spelling is taken as it comes, meaning is not: what could be read in two ways is refused, with the entry's number.

An inventory may say beside its list which of its neurons are used together, by their ids and, where a gain is another
than the list has, with it:

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

from sessions import store
from sessions.cancel import look
from sessions.errors import ArtifactError, UsageError
from sessions.files import json_text
from sessions.interventions.presets import MODES, REGIONS, Known, Preset, sound
from sessions.model.units import Neuron

#: Where an inventory that is an object may keep its list, and how each field may be spelt, its own spelling first.
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
_SAID = {"layer": ("L", "24 or L24"), "index": ("N", "1005 or N1005")}

Word = TypeVar("Word", bound=str)


def read_inventory(data: bytes, source: str) -> Preset:
    """The preset in a file's bytes: an inventory, or a preset as it is saved.

    Raises:
        ArtifactError: it is neither, or an entry is malformed, or two clash; the message names the entry.
    """
    contents = json_text.foreign(data, source)
    if isinstance(contents, dict) and {"kind", "body"} <= contents.keys():
        artifact = store.opened(json_text.without_mark(data), "preset", source)
        return sound(store.body_of(artifact, Preset, source), source)
    return inventory_in(contents, source)


def inventory_in(contents: Any, source: str) -> Preset:
    """The preset in what a file of JSON or YAML says.

    Raises:
        ArtifactError: as `read_inventory` does.
    """
    under, listed, beside = _listed(contents, source)
    mode = beside.pop("mode", None)
    mode = "shift" if mode is None else mode
    neurons = tuple(_Entry(number, each, source).known(mode) for number, each in enumerate(listed, 1))
    preset = sound(Preset(neurons=neurons, under=under, more=beside), source)
    written(preset, source)  # so that nothing is taken in that could not be given back
    return preset


def presets_within(inventory: Preset, source: str) -> dict[str, Preset]:
    """The presets that an inventory says beside its list, by their names; one that enables nothing is left out.

    Raises:
        ArtifactError: one is malformed, or names a neuron that the inventory lacks; the message says which.
    """
    said = inventory.more.get("presets", [])
    if not isinstance(said, list):
        raise ArtifactError(f"{source}: 'presets' is {json_text.named(said)}, not a list", _PRESET_SHAPE)
    known = {each.id: each for each in inventory.neurons}
    found = [_Enabled(number, each, known, source) for number, each in enumerate(said, 1)]
    twice = [name for name, count in Counter(each.name for each in found).items() if count > 1]
    if twice:
        raise ArtifactError(f"{source} has two presets called {twice[0]!a}", "give each a name of its own")
    return {each.name: Preset(neurons=each.neurons(), more=each.more()) for each in found if each.ids}


class _Enabled:
    """One of an inventory's own presets while it is read; its errors say which it is."""

    def __init__(self, number: int, fields: Any, known: Mapping[str, Known], source: str) -> None:
        self.what, self.known = f"{source}: preset {number}", known
        if not isinstance(fields, dict) or not isinstance(fields.get("name"), str) or not fields["name"]:
            raise ArtifactError(f"{self.what} has no name", _PRESET_SHAPE)
        self.name, self.fields = fields["name"], fields
        self.what += f" ({self.name[:40]!a})"
        self.ids: list[str] = self._named("enabled", list)
        self.gains: dict[str, Any] = self._named("overrides", dict)

    def _named(self, key: str, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
        """The ids under a key, each of which the inventory has."""
        value: Any = self.fields.get(key) or kind()
        if not isinstance(value, kind):
            raise ArtifactError(f"{self.what} has {json_text.named(value)} for '{key}'", _PRESET_SHAPE)
        for each in value:
            if not isinstance(each, str) or each not in self.known:
                raise ArtifactError(
                    f"{self.what} names {ascii(each)[:40]} under '{key}', which no entry of the list is called",
                    "name neurons by the ids of the list",
                )
        return value

    def neurons(self) -> tuple[Known, ...]:
        unused = next((each for each in self.gains if each not in self.ids), None)
        if unused is not None:
            raise ArtifactError(f"{self.what} overrides {unused[:40]!a} and does not enable it", "enable it as well")
        return tuple(self._neuron(each) for each in dict.fromkeys(self.ids))

    def _neuron(self, name: str) -> Known:
        gain = self.gains.get(name, self.known[name].gain)
        if not _is_gain(gain):
            raise ArtifactError(f"{self.what} has no number for {name[:40]!a}", f"write {_A_GAIN}")
        return structs.replace(self.known[name], gain=float(gain))

    def more(self) -> dict[str, Any]:
        return {key: value for key, value in self.fields.items() if key not in ("name", "enabled", "overrides")}


def written(preset: Preset, what: str = "the inventory", about: Mapping[str, str] | None = None) -> bytes:
    """The preset as an inventory that `read_inventory` takes back, laid out to be read.

    Args:
        about: what to say beside the list, unless the inventory was nothing but a list.

    Raises:
        ArtifactError: JSON cannot say a number or a text that it holds.
    """
    listed = [_entry(known) for known in preset.neurons]
    if not preset.under:
        return json_text.readable(listed, what)
    return json_text.readable({**(about or {}), **preset.more, preset.under: listed}, what)


def _entry(known: Known) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(known)
    more = fields.pop("more", {})
    return {**fields, "region": known.region, **more}


def _listed(contents: Any, source: str) -> tuple[str, list[Any], dict[str, Any]]:
    """The key the list stands under, the list, and what stands beside it."""
    if isinstance(contents, list):
        under, listed, beside = "", contents, {}
    elif isinstance(contents, dict):
        keys = [key for key in contents if key in LISTS and isinstance(contents[key], list)]
        if len(keys) != 1:
            said = f"has both '{keys[0]}' and '{keys[1]}'" if keys else "holds no list of neurons"
            raise ArtifactError(f"{source} {said}", f"{_SHAPE}, or an object with that list under 'neurons'")
        under, listed = keys[0], contents[keys[0]]
        beside = {key: value for key, value in contents.items() if key != under}
    else:
        raise ArtifactError(f"{source} holds {json_text.named(contents)} where an inventory is a list", _SHAPE)
    if not listed:
        raise ArtifactError(f"{source} holds no neurons", _SHAPE)
    return under, listed, beside


class _Entry:
    """One entry of an inventory while it is read; its errors say which it is."""

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
        """The entry as a neuron; `mode` is that of the inventory."""
        look()
        named = self._named()
        layer, index = (self._number(name, named) for name in ("layer", "index"))
        position = self._field("position", named.position if named else None)
        if position is not None and type(position) is not int:
            raise self._wrong("position", position, "a whole number, such as 3 or -1")
        return Known(
            id=self._id(Neuron(layer, index, position)),
            layer=layer,
            index=index,
            gain=self._gain(),
            tier=self._tier(),
            region=self._word("region", self._field("region", "always"), REGIONS, _REGIONS),
            mode=self._word("mode", self._field("mode", mode), MODES, _MODES),
            position=position,
            positions=self._positions(),
            more={key: value for key, value in self.fields.items() if key not in self._taken()},
        )

    def _taken(self) -> set[str]:
        """Keys that are said again in our own spelling; the second spelling of a field is kept as it is."""
        return {keys[0] for keys in self.keys.values() if keys}

    def _field(self, name: str, default: Any = None) -> Any:
        value = self.fields[self.keys[name][0]] if self.keys[name] else None
        return default if value is None else value

    def _wrong(self, name: str, value: Any, write: str) -> ArtifactError:
        key = self.keys[name][0] if self.keys[name] else name
        shown = ascii(value)[:40] if isinstance(value, str | int | float) else json_text.named(value)
        return ArtifactError(f"{self.what} has {shown} for '{key}'", f"write {write}")

    def _named(self) -> Neuron | None:
        """The neuron that a text of the entry names, `L24/N1005`."""
        found: Neuron | None = None
        for key in (*self.keys["index"], *self.keys["id"]):
            try:
                neuron = Neuron.parse(self.fields[key]) if isinstance(self.fields[key], str) else None
            except UsageError:
                continue
            if found is not None and neuron is not None and neuron.site != found.site:
                raise ArtifactError(f"{self.what} names {found} and {neuron}", "name one neuron in one entry")
            found = found or neuron
        return found

    def _number(self, name: str, named: Neuron | None) -> int:
        """Layer or index: what the entry says, in all the ways it says it, which must agree."""
        letter, write = _SAID[name]
        said = {} if named is None else {"its id": getattr(named, name)}
        for key in self.keys[name]:
            value = self.fields[key]
            if value is None or (isinstance(value, str) and _is_neuron(value)):
                continue
            match = re.fullmatch(rf"\s*{letter}?([0-9]{{1,9}})\s*", str(value), re.IGNORECASE)
            if match is None or isinstance(value, bool):
                raise self._wrong(name, value, f"a whole number from 0: {write}")
            said[f"'{key}'"] = int(match[1])
        if not said:
            raise ArtifactError(f"{self.what} has no {name}", f'write "{name}": {write.partition(" ")[0]}')
        if len(set(said.values())) > 1:
            told = " and ".join(f"{value} by {key}" for key, value in said.items())
            raise ArtifactError(f"{self.what} has the {name} {told}", "say it once")
        return next(iter(said.values()))

    def _id(self, neuron: Neuron) -> str:
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
        said = value.strip().lower() if isinstance(value, str) else ""
        for word in words:
            if usual.get(said, said) == word:
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
        Neuron.parse(text)
    except UsageError:
        return False
    return True
