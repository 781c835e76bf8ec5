"""Presets say what was live, inventories come back as they were, and what could be read in two ways is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from sessions.earlier.inventories import SPELLINGS, presets_within, read_inventory, written
from sessions.errors import ArtifactError, UsageError
from sessions.interventions.intervention import Intervention, TokenScope, refuse_overlaps
from sessions.interventions.presets import MODES, REGIONS, Known, Preset, clash, part, preset_of, treatments
from sessions.model.units import Unit
from sessions.store import Store


def read(contents: Any) -> Preset:
    return read_inventory(json.dumps(contents).encode(), "known.json")


def refused(contents: Any) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        read(contents)
    assert caught.value.hint, caught.value.message
    return caught.value


# ---- inventories

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), texts
)
contents = st.recursive(values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
spans = st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda pair: (min(pair), max(pair)))


def is_extra(key: str) -> bool:
    plain = key.strip().lower().replace("-", "_").replace(" ", "_")
    return not any(plain in spellings for spellings in SPELLINGS.values())


extras = st.dictionaries(texts.filter(is_extra), contents, max_size=3)
known_neurons = st.builds(
    Known,
    id=texts.filter(lambda text: "/" not in text and "#" not in text),
    layer=st.integers(0, 99),
    index=st.integers(0, 99_999),
    gain=st.floats(-1e6, 1e6),
    tier=st.none() | st.integers(-9, 9) | texts,
    region=st.sampled_from(REGIONS),
    mode=st.sampled_from(MODES),
    position=st.none() | st.integers(-9, 99),
    positions=st.lists(spans, max_size=2).map(tuple),
    more=extras.filter(lambda fields: len({key.strip().lower() for key in fields}) == len(fields)),
)
presets = st.builds(
    Preset,
    neurons=st.lists(known_neurons, min_size=1, max_size=6).map(tuple),
    under=st.sampled_from(["neurons", "inventory", "items"]),
    more=st.dictionaries(texts.filter(lambda key: is_extra(key) and key not in ("kind", "body")), values, max_size=3),
).filter(lambda preset: clash(preset.neurons) is None)


@given(presets)
def test_an_inventory_that_is_written_is_read_as_it_was(preset: Preset) -> None:
    data = written(preset)
    assert read_inventory(data, "known.json") == preset
    assert written(read_inventory(data, "known.json")) == data


@given(presets)
def test_an_inventory_that_is_a_plain_list_stays_a_list(preset: Preset) -> None:
    bare = structs.replace(preset, under="", more={})
    assert isinstance(json.loads(written(bare)), list)
    assert read_inventory(written(bare), "known.json") == bare


def test_other_fields_of_an_inventory_are_kept() -> None:
    entry = {"id": "bravado", "layer": 3, "index": 7, "gain": 2.5, "region": "always", "seen": ["rap", 2]}
    inventory = {"by": "a friend", "neurons": [entry], "of": {"model": None}}
    assert json.loads(written(read(inventory))) == inventory


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "L24/N1005", "gain": 2},
        {"id": "L24#1005", "gain": 2},
        {"neuron": "L24/N1005", "gain": 2},
        {"layer": "24", "neuron": "1005", "gain": 2},
        {"layer": "L24", "idx": "N1005", "gain": 2.0, "id": "L24/N1005"},
        {"Layer": 24, "Neuron Index": 1005, "strength": 2, "region": None, "tier": None},
        {"layer_idx": 24, "neuron-idx": 1005, "gain": 2, "region": "Everywhere", "mode": "add"},
    ],
)
def test_usual_spellings_are_understood(entry: dict[str, Any]) -> None:
    (known,) = read([entry]).neurons
    assert (Unit.parse(known.id), known.neuron, known.gain) == (Unit(24, 1005), Unit(24, 1005), 2.0)
    assert (known.region, known.mode, known.tier) == ("always", "shift", None)


def test_a_mode_beside_the_list_is_the_default_of_its_entries() -> None:
    entries = [{"id": "L1/N2", "gain": 3}, {"id": "L1/N3", "gain": 3, "mode": "hold"}]
    assert [known.mode for known in read({"mode": "multiply", "known": entries}).neurons] == ["multiply", "hold"]


GOOD = {"id": "calm", "layer": 3, "index": 7, "gain": 2}


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"region": "middle"}, "entry 2 ('calm') has 'middle' for 'region'", "one of always, answer, thought"),
        ({"region": 3}, "entry 2 ('calm') has 3 for 'region'", "answer"),
        ({"gain": "strong"}, "entry 2 ('calm') has 'strong' for 'gain'", "3.5"),
        ({"gain": True}, "entry 2 ('calm') has True for 'gain'", "a number"),
        ({"gain": 1e7}, "has 10000000.0 for 'gain'", "a million"),
        ({"gain": float("nan")}, "has nan for 'gain'", "a number"),
        ({"gain": None}, "entry 2 ('calm') has no gain", '"gain": 3.5'),
        ({"layer": None}, "entry 2 ('calm') has no layer", '"layer": 24'),
        ({"layer": -1}, "entry 2 ('calm') has -1 for 'layer'", "24 or L24"),
        ({"layer": "N3"}, "has 'N3' for 'layer'", "24 or L24"),
        ({"layer": 3.5}, "has 3.5 for 'layer'", "whole number"),
        ({"index": [7]}, "has a list for 'index'", "1005 or N1005"),
        ({"neuron": 8}, "the index 7 by 'index' and 8 by 'neuron'", "once"),
        ({"id": "L4/N7"}, "the layer 4 by its id and 3 by 'layer'", "once"),
        ({"neuron": "L3/N7", "id": "L3/N8"}, "names L3/N7 and L3/N8", "one neuron"),
        ({"id": ["calm"]}, "has a list for 'id'", "a text"),
        ({"ID": "calm"}, "has 'id' twice", "once"),
        ({"tier": 1.5}, "has 1.5 for 'tier'", "whole number"),
        ({"mode": "double"}, "has 'double' for 'mode'", "shift, multiply, hold"),
        ({"position": "last"}, "has 'last' for 'position'", "-1"),
        ({"positions": [[5, 3]]}, "has a list for 'positions'", "[[3, 9]"),
    ],
)
def test_a_malformed_entry_is_named_with_what_to_write(change: dict[str, Any], message: str, hint: str) -> None:
    error = refused([{"id": "L1/N1", "gain": 1}, {**GOOD, **change}])
    assert message in error.message and "known.json: entry 2" in error.message
    assert hint in error.hint


@pytest.mark.parametrize("missing", ["layer", "index", "gain"])
def test_a_missing_field_of_an_inventory_is_named(missing: str) -> None:
    entry = {key: value for key, value in GOOD.items() if key != missing}
    assert f"entry 1 ('calm') has no {missing}" in refused({"neurons": [entry]}).message


@pytest.mark.parametrize(
    ("inventory", "message"),
    [
        ([], "holds no neurons"),
        ({"neurons": []}, "holds no neurons"),
        ({}, "holds no list of neurons"),
        ({"neurons": {"3,1,7": 0.5}}, "holds no list of neurons"),
        ({"neurons": [GOOD], "items": [GOOD]}, "has both 'neurons' and 'items'"),
        (7, "holds a number where an inventory is a list"),
        ([GOOD, 7], "entry 2 is a number, not an object"),
        ([GOOD, GOOD], "entry 1 ('calm') and entry 2 ('calm') both change L3/N7"),
        ([GOOD, {**GOOD, "region": "answer"}], "both change L3/N7"),
    ],
)
def test_a_file_that_is_not_an_inventory_is_refused(inventory: Any, message: str) -> None:
    assert message in refused(inventory).message


def test_a_neuron_may_be_there_for_the_answer_and_for_the_thought() -> None:
    entries = [{**GOOD, "region": "answer"}, {**GOOD, "region": "thinking", "gain": -1}]
    assert [known.region for known in read(entries).neurons] == ["answer", "thought"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'[{"id": "L1/N1", "gain": 1, "gain": 2}]', "the key 'gain' twice"),
        (b'[{"id": "L1/N1" "gain": 1}]', "malformed at line 1, column 17"),
        (b'[{"id": "L1/N1", "gain": 1, "seen": NaN}]', "a number that JSON cannot hold"),
        (b'[{"id": "L1/N1\xff", "gain": 1}]', "not UTF-8"),
        (b"", "malformed at line 1, column 1"),
    ],
)
def test_a_file_that_would_lose_something_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        read_inventory(data, "known.json")


def test_a_byte_order_mark_is_skipped() -> None:
    assert read_inventory(b"\xef\xbb\xbf" + json.dumps([GOOD]).encode(), "known.json") == read([GOOD])


# ---- what a preset does


def known(text: str, gain: float, **more: Any) -> Known:
    neuron = Unit.parse(text)
    fields = {"id": text, "layer": neuron.layer, "index": neuron.index, "position": neuron.position}
    return Known(**{**fields, "gain": gain, **more})


LEGENDED = {
    "model_path": "x",
    "known_neurons": [
        {"id": "L15#1511", "layer": 15, "index": 1511, "default_gain": 2.0, "tier": "verified", "region": "answer"},
        {"id": "L16#1298", "layer": 16, "index": 1298, "default_gain": -1.5, "tier": "lit", "region": "always"},
    ],
    "presets": [
        {"name": "baseline", "enabled": []},
        {"name": "code v1", "enabled": ["L15#1511", "L16#1298"], "_note": "best"},
        {"name": "turned", "enabled": ["L16#1298"], "overrides": {"L16#1298": 3.0}},
    ],
}


def test_the_presets_within_an_inventory_have_its_neurons_with_gains_of_their_own() -> None:
    inventory = read(LEGENDED)
    assert [each.gain for each in inventory.neurons] == [2.0, -1.5]
    found = presets_within(inventory, "known.json")
    assert list(found) == ["code v1", "turned"]  # one that enables nothing does nothing
    assert found["code v1"].neurons == inventory.neurons and found["code v1"].more == {"_note": "best"}
    assert [(each.id, each.gain, each.region) for each in found["turned"].neurons] == [("L16#1298", 3.0, "always")]
    assert read_inventory(written(inventory), "again.json") == inventory


@pytest.mark.parametrize(
    ("presets", "message"),
    [
        ({"a": 1}, "'presets' is an object, not a list"),
        ([{"enabled": []}], "preset 1 has no name"),
        ([["a"]], "preset 1 has no name"),
        ([{"name": "a", "enabled": "L15#1511"}], "has a text for 'enabled'"),
        ([{"name": "a", "enabled": ["L15#1512"]}], "names 'L15#1512' under 'enabled'"),
        ([{"name": "a", "enabled": [3]}], "names 3 under 'enabled'"),
        ([{"name": "a", "enabled": ["L15#1511"], "overrides": {"L16#1298": 1}}], "and does not enable it"),
        ([{"name": "a", "enabled": ["L15#1511"], "overrides": {"L15#1511": "2"}}], "has no number for 'L15#1511'"),
        ([{"name": "a", "enabled": []}, {"name": "a", "enabled": []}], "two presets called 'a'"),
    ],
)
def test_a_preset_within_an_inventory_that_means_nothing_is_named(presets: Any, message: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        presets_within(read({**LEGENDED, "presets": presets}), "known.json")
    assert message in caught.value.message and caught.value.hint


def test_gains_act_as_their_modes_say() -> None:
    preset = Preset(
        neurons=(
            known("L1/N1", 2.0),
            known("L1/N2", -3.0, region="answer"),
            known("L1/N3", 3.0, mode="multiply"),
            known("L2/N4", 0.5, mode="hold", positions=((0, 3),)),
            known("L2/N5", 0.25),
            known("L2/N6@4", 3.0, mode="multiply"),
        )
    )
    made = treatments(preset, "preset calm", "</think>")
    assert [(t.neurons, t.multiplier, t.constants, t.where) for t in made] == [
        ((Unit(1, 1), Unit(2, 5)), 1.0, (2.0, 0.25), TokenScope()),
        ((Unit(1, 2),), 1.0, (-3.0,), TokenScope("answer", (), "</think>")),
        ((Unit(1, 3), Unit(2, 6, 4)), 3.0, (), TokenScope()),
        ((Unit(2, 4),), 0.0, (0.5,), TokenScope("all", ((0, 3),))),
    ]
    labels = [treatment.label for treatment in made]
    assert labels[:2] == ["preset calm: shift", "preset calm: shift in the answer"] and len(set(labels)) == 4
    refuse_overlaps(made)


def done_by(live: Sequence[Intervention]) -> set[Any]:
    return {
        (neuron, each.where.region, each.where.spans, each.multiplier, constant)
        for each in live
        for neuron, constant in zip(each.neurons, each.constants or [0.0] * len(each.neurons), strict=True)
        if (each.multiplier, constant) != (1, 0)
    }


@given(presets)
def test_what_is_live_is_what_was_saved(preset: Preset) -> None:
    made = treatments(preset, "it")
    assert done_by(treatments(preset_of(made), "it")) == done_by(made)


def test_neurons_that_are_multiplied_and_shifted_at_once_are_no_preset() -> None:
    with pytest.raises(UsageError, match="both multiplies and shifts its neurons"):
        preset_of([Intervention((Unit(1, 2),), 2.0, (3.0,), label="both")])


@pytest.mark.parametrize(
    ("mode", "factor", "gain"), [("shift", 0.5, 1.5), ("hold", 2, 6), ("multiply", 0.5, 2), ("multiply", 0, 1)]
)
def test_a_gain_is_scaled_from_where_it_does_nothing(mode: Any, factor: float, gain: float) -> None:
    assert known("L1/N1", 3.0, mode=mode).scaled(factor).gain == gain


def test_a_part_of_a_preset_is_chosen_by_tier_and_region() -> None:
    preset = Preset(
        neurons=(
            known("L1/N1", 1, tier=1),
            known("L1/N2", 1, tier="A", region="answer"),
            known("L1/N3", 1, tier=1, region="answer"),
        )
    )
    assert part(preset, "calm") == preset
    assert [each.index for each in part(preset, "calm", tiers=("1",)).neurons] == [1, 3]
    assert [each.index for each in part(preset, "calm", tiers=("1",), regions=("answer",)).neurons] == [3]
    assert part(preset, "calm", tiers=("1", "A"), regions=("always", "answer")) == preset
    for tiers, regions, hint in (
        (("A", "B"), (), "its tiers: 1, A"),
        ((), ("thought",), "its regions: always, answer"),
    ):
        with pytest.raises(UsageError) as caught:
            part(preset, "calm", tiers=tiers, regions=regions)
        assert caught.value.hint == hint
    with pytest.raises(UsageError, match="both that tier and that region"):
        part(preset, "calm", tiers=("A",), regions=("always",))


# ---- on disk


@settings(max_examples=25, deadline=None)
@given(preset=presets)
def test_a_saved_preset_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, preset: Preset) -> None:
    store = Store(tmp_path_factory.mktemp("home"))
    store.save("preset", "calm", preset, model="tiny", fingerprint="f00d", command="preset save calm")
    header, body = store.load("preset", "calm", Preset)
    assert body == preset and header.size == len(preset) and header.target == preset.target


def test_a_saved_file_is_read_as_an_inventory_too(tmp_path: Path) -> None:
    preset = Preset(neurons=(known("L1/N1", 2.0, tier=3),))
    path = Store(tmp_path).save("preset", "calm", preset, model="tiny", fingerprint="f00d", command="preset save calm")
    assert path == tmp_path / "presets" / "calm.json"
    assert read_inventory(path.read_bytes(), str(path)) == preset
