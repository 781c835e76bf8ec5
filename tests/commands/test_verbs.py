"""What each verb does, on a tiny model; and that their examples and the example file say the truth, on a real one."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import commands
from commands.grammar import VERBS
from sessions.directions import sae_files
from sessions.events import Progress, Text
from sessions.last_output import LastOutput
from sessions.model.opening import OpenModel, adopt
from sessions.session import Session
from tests.adapters import small
from tests.autoencoders import random_autoencoder
from tests.commands.driving import events_of, failure, result
from tests.edits import louder
from tests.families import tiny, tiny_tokenizer
from tests.rounds import kept

CAPITAL = Path(commands.__file__).parent / "examples" / "capital.wb"


# ---- the examples, on a real model


@pytest.fixture(scope="module")
def austin(tmp_path_factory: pytest.TempPathFactory, constants: Path, smollm2: OpenModel) -> Session:
    """A session with smollm2, its prompt and the circuit of " Austin"."""
    session = Session(tmp_path_factory.mktemp("austin"))
    constants.mkdir(exist_ok=True)
    (session.home / "universal").symlink_to(constants, target_is_directory=True)
    session.model = smollm2
    result(session, "set max_tokens 4")
    result(session, "prompt What is the capital of Texas?")
    result(session, "seed The capital of Texas is")
    result(session, 'discover " Austin"')
    return session


@pytest.fixture
def ready(austin: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session of its own like that, with a saved circuit, and the files that examples speak of."""
    from tests.conftest import models_folder

    home = shutil.copytree(austin.home, tmp_path / "home")
    (home / "models").symlink_to(models_folder(), target_is_directory=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    session = Session(home, journal="default")
    session.model, session.prompt, session.circuit = austin.model, austin.prompt, austin.circuit
    session.settings = austin.settings
    result(session, "export circuit.json")
    Path("known.json").write_text('[{"id": "L24/N1005", "gain": 2, "region": "generated"}]')
    result(session, "import known.json --as preset:calm")
    sae_files.write(random_autoencoder(session.opened()), Path("autoencoder"))
    for seed, name in enumerate(("fr", "es")):
        small(session.home / "adapters" / name, session.opened(), seed=seed)
    shutil.copy(CAPITAL, "capital.wb")
    Path("sums.txt").write_text(f"{sha256(Path('known.json').read_bytes()).hexdigest()}  known.json\n")
    Path("samples.jsonl").write_text('{"prompt": "Where is Halm?", "reply": "By the sea."}\n')
    kept(session.store, session.opened())
    Path("tasks.jsonl").write_text('{"prompt": "What is the capital of Texas?", "answer": "Austin"}\n')
    yield session
    session.close()


#: Lines that an example needs before it, beside what `ready` has.
BEFORE = {
    **dict.fromkeys(("load", "delete", "compare"), (VERBS["save"].example,)),
    **dict.fromkeys(("atlas show", "atlas top"), ("atlas build tiny --docs 2 --layers 12",)),
    "means show": ("means build facts --docs 2",),
    "lens show": ("lens fit mine --docs 2 --layers 28 --steps 1 --batch 4",),
    "inject": (VERBS["capture"].example,),
    "preset save": ("shift L24/N1005 2 --live",),
    "redo": ("undo",),
    "edits on": ("edits off 1",),
    "edits load": ("undo",),
    "adapter on": ("adapter load fr", "adapter off fr"),
    "adapter off": ("adapter load fr",),
    "adapter merge": ("adapter load fr",),
    "adapter unmerge": ("adapter load fr", "adapter merge fr"),
}
#: Verbs whose examples speak of the edit `meow`.
EDITED = ("inspect", "undo", "redo", "edits on", "edits off", "edits load", "edits compare")


@pytest.mark.parametrize("name", [name for name in VERBS if name != "run"])
def test_the_example_of_every_verb_runs_as_it_stands(ready: Session, name: str) -> None:
    if name in EDITED:
        ready.take_edit(louder(ready.opened()), "meow", "rewrite L1/N3")
    for line in BEFORE.get(name, ()):
        result(ready, line)
    assert result(ready, VERBS[name].example) is not None


# ---- setting up


def test_a_model_is_described_when_none_is_named(little: Session) -> None:
    assert little.model is not None
    assert result(little, "model").info == little.model.info


def test_a_new_model_keeps_prompt_and_settings_and_lets_the_circuit_go(little: Session, tiny_chat: OpenModel) -> None:
    tiny_chat.model.save_pretrained("other")
    tiny_chat.tokenizer.save_pretrained("other")
    events = events_of(little, "model other --dtype float32 --device cpu")
    assert any(isinstance(event, Progress) for event in events)
    assert little.model is not None and little.model.info.family == "qwen3_moe"
    assert little.prompt is not None and little.prompt.text == "the cat"
    assert little.settings.max_tokens == 4
    assert little.circuit is None
    (notes,) = [event.value.notes for event in events if hasattr(event, "value")]
    assert "the circuit was made on tiny and is dropped" in notes


def test_the_same_weights_keep_their_circuit(little: Session, tiny_llama: OpenModel) -> None:
    circuit = little.circuit
    little.use_model(tiny_llama)
    assert little.circuit is circuit


def test_a_prompt_is_shown_as_the_model_reads_it(little: Session) -> None:
    encoded = result(little, "prompt the  dog").encoded
    assert encoded.prompt.text == encoded.text == "the dog"
    assert encoded.tokens == ("<s>", "th", "e", " d", "o", "g")
    assert (encoded.ids[0], encoded.bos) == (1, 1)
    assert result(little, "prompt").encoded == result(little, "tokens").encoded == encoded
    assert result(little, 'prompt "the  dog"').encoded.text == "the  dog"


def test_a_prompt_goes_through_the_template_unless_it_is_raw(little: Session, tiny_chat: OpenModel) -> None:
    little.use_model(tiny_chat)
    asked = result(little, "prompt the dog").encoded
    assert (asked.text, asked.templated) == ("<s>the dog. ", True)
    assert result(little, 'prompt the dog --system "be brief"').encoded.text == "<s>be brief. the dog. "
    assert result(little, "prompt the dog --raw").encoded.text == "the dog"
    assert "no thinking switch" in result(little, "prompt the dog --thinking on").notes[0]


def test_without_a_template_a_prompt_is_raw_and_says_so(little: Session) -> None:
    assert "no chat template" in result(little, "prompt the dog").notes[0]
    assert result(little, "prompt the dog --raw").notes == ()


def test_the_seed_follows_the_prompt_until_there_is_a_new_one(little: Session) -> None:
    encoded = result(little, 'seed " sat on"').encoded
    assert encoded.text == "the cat sat on"
    assert little.state().seed == " sat on"
    assert result(little, "seed").encoded.text == "the cat"
    result(little, 'seed " sat"')
    assert result(little, "prompt a dog").encoded.prompt.seed == ""


# ---- reading


def test_generate_streams_the_text_it_returns(little: Session) -> None:
    events = events_of(little, "generate --max-tokens 9")
    arm = events[-1].value.arm  # type: ignore[attr-defined]
    assert "".join(event.text for event in events if isinstance(event, Text)) == arm.text
    assert len(arm.ids) <= 9 and arm.stopped in ("eos", "length")
    assert result(little, "generate --max-tokens 9").arm == arm


def test_settings_decide_and_flags_override_them_once(little: Session) -> None:
    result(little, "set max_tokens 2")
    assert len(result(little, "generate").arm.ids) == 2
    assert len(result(little, "generate --max-tokens 3").arm.ids) == 3
    assert little.settings.max_tokens == 2
    result(little, "set sample on")
    result(little, "set temperature 3")
    sampled = [result(little, f"generate --rng {rng}").arm.ids for rng in range(6)]
    assert len(set(sampled)) > 1
    assert result(little, "generate --rng 0").arm.ids == sampled[0]
    greedy = {result(little, f"generate --greedy --rng {rng}").arm.ids for rng in range(3)}
    assert len(greedy) == 1


def test_a_stop_ends_the_text_before_it(little: Session) -> None:
    whole = result(little, "generate --max-tokens 20").arm.text
    stop = whole[3:5]
    arm = result(little, f'generate --max-tokens 20 --stop "{stop}" --stop zzzz').arm
    assert (arm.text, arm.stopped) == (whole[: whole.index(stop)], "stop")


def test_top_and_prob_read_one_distribution(little: Session) -> None:
    everything = result(little, "top 64").chances
    assert len(everything) == 64
    assert sum(chance.probability for chance in everything) == pytest.approx(1, abs=1e-5)
    assert [chance.rank for chance in everything] == list(range(1, 65))
    assert result(little, "top 3").chances == everything[:3]
    found = result(little, 'prob b " a" th').chances
    assert {chance.text for chance in found} == {"b", " a", "th"}
    assert set(found) <= set(everything)


# ---- circuits


def test_discover_takes_the_likeliest_token_unless_it_is_given_one(little: Session) -> None:
    likeliest, second = result(little, "top 2").chances
    target = result(little, "discover --keep-universal").circuit.target
    assert (target.tokens[0].id, target.counterfactual.id) == (likeliest.id, second.id)
    assert target.value == pytest.approx(likeliest.logit - second.logit, abs=1e-3)
    alone = result(little, "discover --target-only --keep-universal").circuit.target
    assert alone.counterfactual is None
    assert alone.value == pytest.approx(likeliest.logit, abs=1e-3)


def test_discover_chooses_as_it_is_told(little: Session) -> None:
    def circuit(options: str) -> Any:
        return result(little, f"discover a --keep-universal {options}").circuit

    result(little, "set top 7")
    assert len(circuit("")) == 7
    strengths = [abs(neuron.attribution) for neuron in circuit("--top 50").neurons]
    assert len(strengths) == 50 and strengths == sorted(strengths, reverse=True)
    assert {neuron.layer for neuron in circuit("--layers 1").neurons} == {1}
    assert all(neuron.position > 0 for neuron in circuit("--top 300").neurons)
    assert any(neuron.position == 0 for neuron in circuit("--top 300 --keep-bos").neurons)
    assert len(circuit("--per-layer 2 --top 300")) == 6
    part = circuit("--percentage 5")
    assert all(abs(neuron.attribution) >= 0.05 * abs(part.target.value) for neuron in part.neurons)
    assert len(circuit("--cumulative 0.1")) < len(circuit("--cumulative 0.9"))
    assert circuit("").conservation < 1e-5
    assert circuit("--attention gradient").attention == "gradient"
    result(little, "set attention gradient")
    assert circuit("").attention == "gradient"
    assert circuit("--attention frozen").attention == "frozen"


def test_discover_leaves_universal_neurons_out_and_says_so(little: Session) -> None:
    found = result(little, "discover a --top 300")
    left_out = next(note for note in found.notes if "universal neurons left out" in note)
    count = int(left_out.split()[0])
    everything = result(little, "discover a --top 300 --keep-universal")
    assert found.candidates == everything.candidates - 5 * count
    sites = {neuron.site for neuron in found.circuit.neurons}
    assert len({neuron.site for neuron in everything.circuit.neurons} - sites) > 0


def test_the_neuron_table_says_what_each_neuron_is_and_does(little: Session) -> None:
    table = result(little, "neurons top5 --rows 3 --tokens 2")
    assert (table.total, len(table.rows)) == (5, 3)
    for row, neuron in zip(table.rows, table.circuit.neurons, strict=False):
        assert row.neuron == neuron
        assert row.neuron.activation is not None
        assert row.token == table.circuit.tokens[neuron.position]
        assert row.share == pytest.approx(neuron.attribution / table.circuit.target.value)
        assert len(row.up) == len(row.down) == 2
    assert len(result(little, "neurons").rows) == 20


def test_a_neuron_that_was_only_named_has_no_attribution(little: Session) -> None:
    (row,) = result(little, "neurons L0/N0").rows
    assert (row.neuron.attribution, row.share, row.token) == (None, None, "")


def test_keep_and_drop_share_a_circuit_between_them(little: Session) -> None:
    whole = little.circuit
    assert whole is not None
    kept = result(little, "keep top5 + L2/*").circuit
    little.circuit = whole
    dropped = result(little, "drop top5 + L2/*")
    assert dropped.before == 20
    assert {*kept.neurons, *dropped.circuit.neurons} == set(whole.neurons)
    assert len(kept) + len(dropped.circuit) == 20
    assert dropped.circuit.name == "" and "dropped top5 + L2/*" in dropped.circuit.chosen


@pytest.mark.parametrize(
    ("selection", "same"),
    [("all - L2/*", "all-L2/*"), ("top5,top3", "top5"), ("all & top4", "top4"), ("TOP3", "top3"), ("l0-2/*", "L0-2/*")],
)
def test_a_selection_can_be_written_in_more_than_one_way(little: Session, selection: str, same: str) -> None:
    assert little.select(selection).neurons == little.select(same).neurons


def test_a_name_with_a_dash_wins_over_a_difference(little: Session) -> None:
    result(little, "save a-top")
    whole = little.circuit
    result(little, "keep top5")
    result(little, "save a")
    assert whole is not None
    assert {neuron.site for neuron in little.select("a-top").neurons} == {neuron.site for neuron in whole.neurons}
    assert len(little.select("a-top2").neurons) == 3
    assert len(little.select("a-top-a").neurons) == 15
    assert len(little.select("a-top-L0-1/*").neurons) == len(little.select("a-top & L2/*").neurons)


# ---- interventions


def test_ablate_shows_both_texts_and_leaves_nothing(little: Session) -> None:
    plain = result(little, "generate").arm
    compared = result(little, "ablate")
    baseline, ablated = compared.arms
    assert (baseline.text, baseline.multiplier, ablated.multiplier) == (plain.text, 1.0, 0.0)
    assert compared.target == little.circuit.target  # type: ignore[union-attr]
    assert baseline.target == pytest.approx(compared.target.value, abs=1e-3)
    assert ablated.target != pytest.approx(baseline.target, abs=1e-3)
    assert compared.neurons == len({neuron.site for neuron in little.circuit.neurons})  # type: ignore[union-attr]
    moved = [abs(shift.after - shift.before) for shift in compared.shifts]
    assert moved == sorted(moved, reverse=True) and moved[0] > 0
    assert result(little, "generate").arm == plain


def test_a_factor_of_one_changes_nothing(little: Session) -> None:
    baseline, same = result(little, "amplify all 1").arms
    assert (same.text, same.target) == (baseline.text, baseline.target)
    assert result(little, "amplify all").arms[1].multiplier == 2.0


def test_a_neuron_with_a_position_is_changed_there_only(little: Session) -> None:
    assert little.circuit is not None
    neuron = little.circuit.neurons[0]
    everywhere = result(little, f"ablate L{neuron.layer}/N{neuron.index}").arms[1]
    there = result(little, f"ablate {neuron}").arms[1]
    nowhere = result(little, f"amplify {neuron} 1").arms[1]
    assert len({everywhere.target, there.target, nowhere.target}) == 3
    assert result(little, "ablate top1 --at circuit").arms[1].target == there.target
    assert result(little, "ablate top1 --at all").arms[1].target == everywhere.target
    last = little.model and len(result(little, "tokens").encoded.ids) - 1
    here = f"L{neuron.layer}/N{neuron.index}"
    assert result(little, f"ablate {here}@-1").arms[1] == result(little, f"ablate {here}@{last}").arms[1]


def test_a_sweep_is_the_same_as_its_single_runs(little: Session) -> None:
    swept = result(little, "sweep all 0 0.5 3 -1")
    assert [arm.multiplier for arm in swept.arms] == [0, 0.5, 3, -1]
    for arm in swept.arms:
        alone = result(little, f"amplify all {arm.multiplier}").arms[1]
        assert arm.text == alone.text
        assert arm.target == pytest.approx(alone.target, abs=1e-3)
    assert [arm.multiplier for arm in result(little, "sweep").arms] == [0, 0.5, 1, 1.5, 2]
    assert result(little, "sweep all - L2/*, L0/N1 0 1").selection == "all - L2/*, L0/N1"


def test_another_prompt_than_the_circuits_is_pointed_out(little: Session) -> None:
    result(little, "prompt a dog")
    compared = result(little, "ablate")
    assert compared.target is None
    assert compared.notes == ("the circuit was found on another prompt, 'the cat'",)


# ---- by name


def test_a_circuit_comes_back_as_it_was_saved(little: Session) -> None:
    saved = result(little, "save texas")
    assert Path(saved.path).is_file()
    circuit = little.circuit
    result(little, "keep top5")
    result(little, "prompt something else")
    loaded = result(little, "load texas")
    assert loaded.circuit == little.circuit == circuit
    assert little.prompt == circuit.prompt  # type: ignore[union-attr]
    assert little.state().circuit == "texas"
    (row,) = result(little, "list").rows
    assert (row.name, row.size, row.model, row.command) == ("texas", 20, "tiny", "save texas")


def test_a_name_is_replaced_on_request_only(little: Session) -> None:
    result(little, "save texas")
    result(little, "keep top5")
    assert "--force" in failure(little, "save texas").hint
    result(little, "save texas --force")
    assert len(result(little, "load texas").circuit) == 5


def test_what_is_deleted_can_be_restored(little: Session) -> None:
    result(little, "save texas")
    deleted = result(little, "delete texas")
    assert result(little, "list").rows == ()
    result(little, deleted.restore)
    assert len(result(little, "load texas").circuit) == 20


def test_a_saved_name_is_a_selection(little: Session) -> None:
    result(little, "keep top5")
    result(little, "save best")
    result(little, "discover a --top 20 --keep-universal")
    assert result(little, "neurons best").total == 5
    assert result(little, "neurons all - best").total == 15
    assert len(result(little, "drop best").circuit) == 15


def test_a_circuit_can_be_loaded_before_its_model(little: Session) -> None:
    result(little, "save texas")
    later = Session(little.home)
    result(later, "load texas")
    later.use_model(little.opened())
    assert result(later, "ablate --max-tokens 4").arms == result(little, "ablate").arms


@pytest.mark.parametrize("options", ["", "--format json"])
def test_an_exported_circuit_is_imported_as_it_was(little: Session, options: str) -> None:
    circuit = little.circuit
    assert result(little, f"export c.json {options}").format == "json"
    result(little, "keep top5")
    imported = result(little, "import c.json --as again")
    assert imported.circuit == little.circuit
    assert imported.circuit.neurons == circuit.neurons  # type: ignore[union-attr]
    assert [row.name for row in result(little, "list").rows] == ["again"]


def test_other_programs_get_their_formats(little: Session) -> None:
    circuit = little.circuit
    assert circuit is not None
    assert result(little, "export c.csv").format == "csv"
    with open("c.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [f"L{row['layer']}/N{row['index']}@{row['position']}" for row in rows] == list(map(str, circuit.neurons))
    result(little, "export r.json --format reference")
    written = json.loads(Path("r.json").read_text())
    neuron = circuit.neurons[0]
    assert written["neurons"][f"{neuron.layer},{neuron.position},{neuron.index}"] == neuron.attribution
    back = result(little, "import r.json").circuit
    assert [n.place for n in back.neurons] == [n.place for n in circuit.neurons]
    assert back.target.tokens == circuit.target.tokens
    assert back.fingerprint == circuit.fingerprint
    result(little, "save a")
    result(little, "export saved.json --name a")
    assert "--force" in failure(little, "export saved.json").hint
    result(little, "export saved.json --force")


# ---- the session


def test_info_tells_everything(little: Session) -> None:
    info = result(little, "info")
    assert info.state == little.state()
    assert (info.state.model, info.state.circuit_size) == ("tiny", 20)
    assert info.home == str(little.home)
    assert info.settings["max_tokens"] == "4"
    assert {"workbench", "torch", "transformers", "python"} <= set(info.versions)


def test_settings_are_shown_and_changed(empty: Session) -> None:
    shown = result(empty, "set")
    assert set(shown.settings) == set(shown.described)
    assert (shown.settings["sample"], shown.changed) == ("off", "")
    for word, value in {"on": True, "off": False, "yes": True, "no": False, "true": True, "0": False}.items():
        assert result(empty, f"set sample {word}").changed == "sample"
        assert empty.settings.sample is value


def test_help_lists_the_verbs_and_explains_one(empty: Session) -> None:
    listed = [name for _, rows in result(empty, "help").families for name, _ in rows]
    assert sorted(listed) == sorted(VERBS)
    shown = result(empty, "help discover")
    assert (shown.verb, shown.example) == ("discover", VERBS["discover"].example)
    assert "--vs" in shown.text


@pytest.mark.parametrize(
    "statement",
    [
        "prompt.tokens == 6",
        "prompt.tokens != 7",
        "circuit.size >= 20",
        "circuit.size < 21",
        "circuit.conservation < 0.00001",
        'circuit.name == ""',
        "model == tiny",
        "model contains in",
        "model lacks x",
        "model matches ^t.n",
        "model != other",
        'prob " a" > 0',
        'prob " a" <= 1',
    ],
)
def test_expect_checks_what_is(little: Session, statement: str) -> None:
    result(little, "top")
    checked = result(little, f"expect {statement}")
    assert checked.actual


@pytest.mark.parametrize("statement", ["circuit.size > 20", "model == other", 'prob " a" > 1', "prompt.tokens < 6"])
def test_expect_fails_when_the_claim_is_false(little: Session, statement: str) -> None:
    result(little, "top")
    failed = failure(little, f"expect {statement}")
    assert failed.error == "expectation"
    assert ", but it is " in failed.message


def test_expect_speaks_of_the_last_text_and_the_last_distribution(little: Session) -> None:
    text = result(little, "generate").arm.text
    likeliest = result(little, "top 1").chances[0]
    result(little, f'expect text == "{text}"')  # `top` has made no text
    result(little, f'expect top == "{likeliest.text}"')
    baseline, changed = result(little, "amplify all -9").arms
    result(little, f'expect text == "{changed.text}"')
    result(little, f'expect baseline == "{baseline.text}"')
    result(little, f'expect top == "{changed.next_tokens[0].text}"')
    last = result(little, "sweep all 0 1 7").arms[-1]
    result(little, f'expect text == "{last.text}"')
    assert failure(little, "expect baseline contains x").message == "there is no baseline yet"
    result(little, "prompt a dog")
    assert failure(little, "expect text contains x").message == "there is no text yet"


def test_a_text_is_found_in_either_form_of_its_accents(empty: Session) -> None:
    empty.last_output = LastOutput(text="Es Pari\u0301s")
    assert result(empty, "expect text contains París").actual
    assert failure(empty, "expect text lacks París").error == "expectation"


def test_a_model_with_learned_positions_is_never_run_past_them(home: Path) -> None:
    session = Session(home=home)
    session.use_model(adopt(tiny("gpt2"), tiny_tokenizer(), name="tiny-gpt2"))
    failed = failure(session, "prompt --raw " + "a " * 129)
    assert "positions" in failed.message and failed.hint
    result(session, "prompt --raw " + "a " * 60)
    generated = result(session, "generate --max-tokens 400").arm
    room = 128 - len(session.encoded().ids) + 1
    assert len(generated.ids) <= room
    result(session, "discover --top 5")


def test_a_model_that_is_open_just_so_is_not_loaded_a_second_time(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    tiny("llama").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    session = Session(home=home)
    result(session, f"model {folder}")
    first = session.model
    opened = result(session, f"model {folder}")
    assert session.model is first and "already" in opened.notes[0]
    result(session, f"model {folder} --dtype bfloat16")
    assert session.model is not first
    second = session.model
    result(session, f"model {folder} --dtype bfloat16 --again")
    assert session.model is not second


def test_a_circuit_whose_prompt_the_model_cannot_hold_is_refused_before_anything_is_saved(
    home: Path, tmp_path: Path
) -> None:
    session = Session(home=home)
    session.use_model(adopt(tiny("gpt2"), tiny_tokenizer(), name="tiny-gpt2"))
    path = tmp_path / "long.json"
    prompt = "a " * 129
    path.write_text(
        json.dumps({"neurons": {"1,0,2": 0.5}, "prompt": prompt, "target_token": "b", "total_logit_diff": 1})
    )
    failed = failure(session, f"import {path} --as long")
    assert "positions" in failed.message
    assert session.store.names("circuit") == [] and session.circuit is None
