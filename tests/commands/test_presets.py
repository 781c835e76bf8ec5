"""`preset`: what is live is saved by name and made live again, and inventories of known neurons are presets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commands.completing import complete
from sessions.interventions.intervention import EVERYWHERE, Intervention, TokenScope
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from sessions.results import Listed, PresetShown, Saved
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed
from tests.families import tiny, tiny_tokenizer

KNOWN = [
    {"id": "bravado", "layer": 0, "index": 7, "gain": 2.5, "tier": "A", "region": "always", "seen": 12},
    {"id": "L1/N3", "layer": 1, "index": 3, "gain": -1.0, "tier": 2, "region": "generated"},
    {"id": "L2/N9", "layer": 2, "index": 9, "gain": 3.0, "tier": "A", "region": "always", "mode": "multiply"},
]


@pytest.fixture
def calm(little: Session) -> Session:
    """The session with the tiny model, and the inventory above saved as `calm`."""
    Path("known.json").write_text(json.dumps(KNOWN))
    result(little, "import known.json --as preset:calm")
    return little


def refused(session: Session, line: str, message: str, hint: str = "") -> None:
    """The line fails, says why, and nothing has changed: what is live neither."""
    live = session.live
    with unharmed(session):
        failed = failure(session, line)
    assert session.live is live
    assert message in failed.message, failed
    assert hint in failed.hint and (failed.hint or not hint), failed


def test_an_inventory_is_imported_and_exported_as_it_was(calm: Session) -> None:
    result(calm, "export out.json --name preset:calm")
    assert json.loads(Path("out.json").read_text()) == KNOWN
    saved = result(calm, "import out.json --as preset:again")
    assert isinstance(saved, Saved) and saved.name == "preset:again"
    assert "does not say which model" in saved.notes[0]


def test_the_presets_within_an_inventory_are_saved_beside_it(little: Session) -> None:
    neurons = [{**each, "default_gain": each["gain"]} for each in KNOWN]
    presets = [
        {"name": "none", "enabled": []},
        {"name": "the loud", "enabled": ["bravado", "L2/N9"], "overrides": {"bravado": -1}},
    ]
    Path("known.json").write_text(json.dumps({"known_neurons": neurons, "presets": presets}))
    notes = result(little, "import known.json --as preset:calm").notes
    assert "saved too: preset apply calm.theloud" in notes[-1]
    assert [row.name for row in result(little, "preset").rows] == ["calm", "calm.theloud"]
    shown = result(little, "preset apply calm.theloud")
    assert [(each.id, each.gain) for each in shown.neurons] == [("bravado", -1.0), ("L2/N9", 3.0)]
    refused(little, "import known.json --as preset:calm", "exists already", "--force")
    result(little, "import known.json --as preset:calm --force")


def test_a_preset_may_be_yaml_and_says_that_it_is_for_thinking(little: Session) -> None:
    Path("anchor.yaml").write_text(
        'preset_name: anchor\nthink_mode: true\nenabled:\n  - {id: "L0#7", gain: -3.5, region: thought}\n'
        '  - {id: "L1#3", gain: 2.0, region: always}\n'
    )
    saved = result(little, "import anchor.yaml")
    assert saved.name == "preset:anchor-1" and "say with --thinking on" in saved.notes[-1]
    shown = result(little, "preset list anchor-1")
    assert [(str(each.neuron), each.gain, each.region) for each in shown.neurons] == [
        ("L0/N7", -3.5, "thought"), ("L1/N3", 2.0, "always"),
    ]  # fmt: skip
    assert result(little, "import anchor.yaml --as preset:other").name == "preset:other"
    Path("anchor.yaml").write_text("enabled: [L0#7]\n")
    refused(little, "import anchor.yaml --as preset:bad", "entry 1 is a text, not an object", "an inventory is")


def test_several_tiers_and_regions_are_chosen_at_once(calm: Session) -> None:
    chosen = result(calm, "preset list calm --tier A,2 --region generated,always").neurons
    assert [known.id for known in chosen] == ["bravado", "L1/N3", "L2/N9"]
    assert [known.id for known in result(calm, "preset list calm --tier A --region always").neurons] == [
        "bravado", "L2/N9",
    ]  # fmt: skip
    refused(calm, "preset list calm --region always,everywhere", "unknown region 'everywhere'", "one of")
    result(calm, "suppress (preset:calm:A, preset:calm:2) & (preset:calm:generated, L2/*)")
    assert {str(neuron) for neuron in calm.suppressed} == {"L1/N3", "L2/N9"}


def test_a_preset_that_is_applied_is_in_force_in_every_text(calm: Session) -> None:
    before = result(calm, "generate").arm
    shown = result(calm, "preset apply calm")
    assert isinstance(shown, PresetShown) and shown.live and (len(shown.neurons), shown.size) == (3, 3)
    assert "does not say which model" in shown.notes[0]
    assert [(t.neurons, t.multiplier, t.constants, t.where) for t in calm.live] == [
        ((Unit(0, 7),), 1.0, (2.5,), EVERYWHERE),
        ((Unit(1, 3),), 1.0, (-1.0,), TokenScope("generated")),
        ((Unit(2, 9),), 3.0, (), EVERYWHERE),
    ]
    after = result(calm, "generate").arm
    assert after.next_tokens != before.next_tokens and after.guarded is not None and before.guarded is None
    result(calm, "release all")
    assert result(calm, "generate").arm == before


def test_a_preset_is_applied_in_part_and_at_another_strength(calm: Session) -> None:
    shown = result(calm, "preset apply calm --tier A --gain 0.5")
    assert [(known.id, known.gain) for known in shown.neurons] == [("bravado", 1.25), ("L2/N9", 2.0)]
    assert shown.size == 3 and len(calm.live) == 2
    calm.live = ()
    result(calm, "preset apply calm --region generated --gain -2")
    (treatment,) = calm.live
    assert (treatment.neurons, treatment.constants) == ((Unit(1, 3),), (2.0,))


def test_what_is_live_is_saved_and_comes_back(calm: Session) -> None:
    result(calm, "shift L0/N7 2 --live")
    result(calm, "amplify L1/N3 0 --generated --live")
    live = calm.live
    saved = result(calm, "preset save mine")
    assert saved.name == "preset:mine" and Path(saved.path).name == "mine.json"
    calm.live = ()
    assert result(calm, "preset apply mine").notes == ()
    assert [(t.neurons, t.multiplier, any(t.constants), t.where) for t in calm.live] == [
        (t.neurons, t.multiplier, any(t.constants), t.where) for t in live
    ]


def test_presets_are_listed_shown_and_deleted_like_what_else_is_saved(calm: Session) -> None:
    rows = result(calm, "preset").rows
    assert [(row.name, row.kind, row.size, row.target) for row in rows] == [
        ("calm", "preset", 3, "shift always, shift generated, multiply always")
    ]
    assert [row.kind for row in result(calm, "list").rows] == ["preset"]
    shown = result(calm, "preset list calm --tier 2")
    assert [known.id for known in shown.neurons] == ["L1/N3"] and not shown.live and not calm.live
    assert result(calm, "delete preset:calm").restore == "delete preset:calm --restore"
    assert result(calm, "preset list") == Listed(rows=())
    result(calm, "delete preset:calm --restore")
    assert [each.text for each in complete("preset apply c", session=calm)] == ["calm"]
    assert [each.text for each in complete("delete preset:", session=calm)] == ["preset:calm"]


def test_a_preset_keeps_to_the_model_it_was_made_on(calm: Session, tiny_chat: OpenModel) -> None:
    result(calm, "shift L0/N7 2 --live")
    result(calm, "preset save mine")
    calm.use_model(adopt(tiny("llama", seed=7), tiny_tokenizer(), name="other"))
    refused(calm, "preset apply mine", "it was made on tiny, and other is open", "--force")
    result(calm, "export mine.json --name preset:mine")
    refused(calm, "import mine.json --as preset:theirs", "it was made on tiny", "--force")
    assert "it was made on tiny" in result(calm, "preset apply mine --force").notes[0]
    assert len(calm.live) == 1


def test_a_thought_needs_a_marker(calm: Session) -> None:
    Path("thinking.json").write_text(json.dumps([{"id": "L1/N3", "gain": 1, "region": "thought"}]))
    result(calm, "import thinking.json --as preset:thinking")
    refused(calm, "preset apply thinking", "does not say how a thought ends", "--marker")
    result(calm, "preset apply thinking --marker </think>")
    assert [treatment.where for treatment in calm.live] == [TokenScope("thought", (), "</think>")]


def test_the_whole_reply_of_a_model_that_does_not_think_is_its_answer(calm: Session) -> None:
    known = [{"id": f"L1/N{index}", "gain": 1, "region": region} for index, region in enumerate(("thought", "answer"))]
    Path("both.json").write_text(json.dumps(known))
    result(calm, "import both.json --as preset:both")
    shown = result(calm, "preset apply both")
    assert "all of a reply is its answer; 1 neurons for the thought are left out" in shown.notes[-1]
    assert [(treatment.neurons, treatment.where) for treatment in calm.live] == [
        ((Unit(1, 1),), TokenScope("generated"))
    ]


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("preset save mine", "nothing is live", "--live"),
        ("preset save", "preset save needs a name", "preset save mine"),
        ("preset apply", "preset apply needs a name", "preset apply calm"),
        ("preset apply clam", "no preset is called 'clam'", "did you mean calm?"),
        ("preset aply calm", "preset has no 'aply'", "did you mean preset apply?"),
        ("preset apply calm --tier B", "has the tier 'B'", "its tiers: A, 2"),
        ("preset apply calm --region answer", "has the region 'answer'", "its regions: always, generated"),
        ("preset apply calm --region middle", "unknown region 'middle'", "one of"),
        ("preset apply calm --gain much", "'much' is not a multiplier", "0.5"),
        ("preset apply calm --marker </think>", "no neuron of the preset is for thought or answer", ""),
        ("preset list --gain 2", "preset list has no option --gain", "it is an option of preset apply"),
        (
            "preset save mine --tier A",
            "preset save has no option --tier",
            "an option of preset apply and preset list",
        ),
        ("import known.json", "is not a circuit but an inventory", "--as preset:NAME"),
        ("import known.json --as preset:calm", "preset 'calm' exists already", "--force"),
        ("import known.json --as vector:calm", "a .json file holds a circuit or an inventory", "--as calm"),
        (
            "import a.safetensors --as preset:calm",
            "file holds a vector, means, a lens or an edit, not a preset",
            "--as calm",
        ),
        ("import missing.json --as preset:x", "missing.json", ""),
        ("export out.csv --name preset:calm", "a preset cannot be written as csv", "json"),
        ("compare preset:calm", "a preset cannot be named here", "circuit, vector"),
        ("set guard sometimes", "for guard", "set guard auto"),
        ("set repetition_penalty 0", "for repetition_penalty", "set repetition_penalty 1.0"),
        ("set no_repeat_ngram -1", "for no_repeat_ngram", "set no_repeat_ngram 0"),
        ("generate --repetition-penalty 0", "is not a number above 0", "0.5"),
        ("generate --no-repeat-ngram two", "is not a whole number", "10"),
    ],
)
def test_impossible_preset_lines_are_refused_and_change_nothing(
    calm: Session, line: str, message: str, hint: str
) -> None:
    refused(calm, line, message, hint)


def test_a_neuron_that_the_model_lacks_is_named_and_nothing_applied(little: Session, tiny_llama: OpenModel) -> None:
    Path("known.json").write_text(json.dumps([KNOWN[0], {"id": "far", "layer": 2, "index": 48, "gain": 1}]))
    refused(little, "import known.json --as preset:far", "has L2/N48 (far), which this model lacks", "open")
    assert little.store.names("preset") == []
    little.model = None
    result(little, "import known.json --as preset:far")
    little.model = tiny_llama
    refused(little, "preset apply far", "has L2/N48 (far), which this model lacks", "open the model")


def test_two_things_are_not_done_to_one_neuron(calm: Session) -> None:
    calm.live = (Intervention((Unit(1, 3),), 0.0, (), TokenScope("generated"), "mute"),)
    said = "'mute' and 'preset calm: shift in what is generated' both change L1/N3"
    refused(calm, "preset apply calm", said, "release all")
    calm.live = (Intervention((Unit(1, 3),), 0.0, (), TokenScope("prompt"), "mute"),)
    assert result(calm, "preset apply calm").live and len(calm.live) == 4
    refused(calm, "preset apply calm", "both change L0/N7", "release all")


def test_what_is_suppressed_stays_at_zero(calm: Session) -> None:
    result(calm, "suppress L0/N7")
    shown = result(calm, "preset apply calm")
    assert [known.id for known in shown.neurons] == ["L1/N3", "L2/N9"]
    assert shown.notes[-1] == "1 of them are suppressed and stay at zero: the first is L0/N7"
    calm.live = ()
    result(calm, "suppress L1/N3,L2/N9")
    refused(calm, "preset apply calm", "all neurons of preset 'calm' are suppressed", "release all")


# ---- rules against repetition


def guarded(session: Session, line: str) -> Any:
    return result(session, line).arm.guarded


def test_the_guard_is_on_where_something_is_pushed_unless_that_is_said(calm: Session) -> None:
    assert guarded(calm, "generate") is None
    assert guarded(calm, "generate --guard") is not None
    calm.live = (Intervention((Unit(1, 3),), 1.0, (4.0,), EVERYWHERE, "push"),)
    assert guarded(calm, "generate") is not None
    assert guarded(calm, "generate --no-guard") is None
    result(calm, "set guard off")
    assert guarded(calm, "generate") is None
    assert guarded(calm, "generate --guard") is not None
    assert guarded(calm, "generate --repetition-penalty 1.3") is not None
    assert guarded(calm, "generate --no-repeat-ngram 2") is not None
    calm.live = (Intervention((Unit(1, 3),), 0.0, (), EVERYWHERE, "mute"),)
    result(calm, "set guard auto")
    assert guarded(calm, "generate") is None
    result(calm, "set guard yes")
    assert result(calm, "set").settings["guard"] == "on" and guarded(calm, "generate") is not None


def test_settings_hold_for_every_text(little: Session) -> None:
    result(little, "set max_tokens 30")
    result(little, "set no_repeat_ngram 1")
    ids = result(little, "generate").arm.ids
    assert len(set(ids)) == len(ids) and not set(ids) & set(little.encoded().ids)
    assert result(little, "generate --no-repeat-ngram 0").arm.ids != ids
