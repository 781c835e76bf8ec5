"""`adapter`, `ensemble`: adapters go on, off, into the weights and out to the bit, and are kept whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from commands import run
from sessions import saved_state
from sessions.adapters.adapter_store import ABOUT
from sessions.adapters.folders import CONFIG, WEIGHTS
from sessions.errors import UsageError
from sessions.evaluation.arms import arms_of
from sessions.events import Progress, Result, finished
from sessions.model.hooks import count_hooks
from sessions.model.opening import OpenModel, adopt
from sessions.results import AdapterRow
from sessions.session import Session
from tests.adapters import made, read_by_peft
from tests.commands.driving import failure, failure_in, result, unharmed
from tests.families import tiny, tiny_tokenizer

IDS = torch.tensor([[1, 9, 27, 17, 51, 5]])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three PEFT folders: fr, es, and wide, of another rank."""
    folder = tmp_path_factory.mktemp("peft")
    for seed, (name, more) in enumerate({"fr": {}, "es": {}, "wide": {"r": 8}}.items()):
        made(folder / name, seed=seed, **more)
    return folder


@pytest.fixture(scope="module")
def model() -> OpenModel:
    """A tiny model, which every session gives back as it was."""
    return adopt(tiny("llama"), tiny_tokenizer(), name="tiny")


@pytest.fixture
def fresh(empty: Session, folders: Path, model: OpenModel) -> Iterator[Session]:
    """A session with the model, and the folders in its working directory."""
    shutil.copytree(folders, Path(), dirs_exist_ok=True)
    empty.use_model(model)
    result(empty, "set max_tokens 4")
    yield empty
    empty.close()
    assert not hasattr(model.model, "peft_config")


@pytest.fixture
def loaded(fresh: Session) -> Session:
    """The same with fr and es on, es at half its strength."""
    result(fresh, "adapter load fr")
    result(fresh, "adapter load es --weight 0.5")
    return fresh


def logits(session: Session) -> Tensor:
    with torch.no_grad():
        return session.opened().model(IDS).logits


def bits(session: Session) -> list[Any]:
    model = session.opened().model
    return [(name, value.clone()) for name, value in model.state_dict().items()]


def same(first: list[Any], second: list[Any]) -> bool:
    pairs = zip(first, second, strict=True)
    return len(first) == len(second) and all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def listed(session: Session) -> dict[str, AdapterRow]:
    return {row.name: row for row in result(session, "adapter list").rows}


def states(session: Session) -> dict[str, str]:
    return {name: row.state for name, row in listed(session).items()}


# ---- on and off


def test_a_folder_is_taken_in_and_put_on(fresh: Session) -> None:
    was = bits(fresh)
    shown = result(fresh, "adapter load fr --as french")
    assert (shown.done, shown.row.name, shown.row.state, shown.row.number) == ("loaded", "french", "on", 1)
    assert (shown.row.rank, shown.row.projections, shown.row.targets) == (4, 9, ("down_proj", "gate_proj", "q_proj"))
    assert torch.equal(logits(fresh), read_by_peft(Path("fr"))(IDS).logits)
    kept = fresh.home / "adapters" / "french"
    assert sorted(each.name for each in kept.iterdir()) == sorted([CONFIG, WEIGHTS, ABOUT])
    for name in (CONFIG, WEIGHTS):
        assert (kept / name).read_bytes() == (Path("fr") / name).read_bytes()
    assert [row.name for row in result(fresh, "edits").rows] == ["french"]
    result(fresh, "undo")
    assert same(bits(fresh), was)
    result(fresh, "redo")
    assert states(fresh) == {"french": "on"}


def test_what_is_kept_does_not_need_its_folder_any_more(loaded: Session) -> None:
    on = logits(loaded)
    result(loaded, "undo 2")
    shutil.rmtree("fr")
    shutil.rmtree("es")
    result(loaded, "adapter load fr")
    result(loaded, "adapter load es --weight 0.5")
    assert torch.equal(logits(loaded), on)
    assert len(loaded.store.names("edit")) == 2


def test_an_adapter_turned_off_keeps_its_place_on_the_ledger(loaded: Session) -> None:
    both = logits(loaded)
    result(loaded, "adapter off fr")
    assert states(loaded) == {"es": "on", "fr": "off"}
    result(loaded, "undo")
    assert torch.equal(logits(loaded), tiny("llama")(IDS).logits)
    result(loaded, "redo")
    result(loaded, "adapter on fr")
    assert torch.equal(logits(loaded), both)


def test_another_weight_takes_the_place_of_the_first(loaded: Session) -> None:
    result(loaded, "undo")
    result(loaded, "adapter load es --weight -1")
    assert listed(loaded)["es"].weight == -1
    assert result(loaded, "edits").rows[1].about.endswith("at -1 of its strength")


def test_a_session_that_comes_back_has_its_adapters(loaded: Session, tmp_path: Path) -> None:
    on, state = logits(loaded), saved_state.kept(loaded)
    again = Session(loaded.home)
    again.use_model(adopt(tiny("llama"), tiny_tokenizer(), name="tiny"))
    assert finished(saved_state.restore(again, state)) == ()
    assert torch.equal(logits(again), on)
    again.close()


def test_everything_reads_the_model_with_them(loaded: Session) -> None:
    result(loaded, "prompt the cat")
    result(loaded, "discover a --top 20 --keep-universal")
    assert loaded.circuit is not None and loaded.circuit.conservation is not None
    assert loaded.circuit.edits == ("fr", "es") and loaded.circuit.conservation < 1e-5
    result(loaded, "suppress top3")
    for line in ("neurons", f"neuron {loaded.circuit.neurons[5].site}".replace("(", "L").replace(", ", "/N")[:-1],
                 "ablate top5", "generate", "verify top5", "edits compare"):  # fmt: skip
        result(loaded, line)
    result(loaded, "undo 2")


# ---- into the weights


def test_merge_makes_an_adapter_an_edit_of_weights_and_unmerge_takes_it_out(loaded: Session) -> None:
    on, was = logits(loaded), bits(loaded)
    shown = result(loaded, "adapter merge fr")
    assert (shown.done, shown.row.state) == ("merged", "merged")
    assert shown.positions > 100 and shown.changed < shown.positions / 50
    into = logits(loaded)
    assert torch.allclose(into, on, atol=1e-3) and not torch.equal(into, on)
    assert [row.name for row in result(loaded, "edits").rows] == ["fr", "es", "fr-merged"]
    assert result(loaded, "adapter unmerge fr").row.state == "on"
    assert same(bits(loaded), was) and torch.equal(logits(loaded), on)
    result(loaded, "adapter merge fr")
    assert torch.equal(logits(loaded), into)
    result(loaded, "undo 3")
    assert torch.equal(logits(loaded), tiny("llama")(IDS).logits)


def test_a_merge_with_edits_above_it_is_turned_off_and_on(loaded: Session) -> None:
    on = logits(loaded)
    result(loaded, "adapter merge fr")
    result(loaded, "adapter load wide --weight 0")
    result(loaded, "adapter unmerge fr")
    assert torch.equal(logits(loaded), on)
    result(loaded, "adapter merge fr")
    assert states(loaded)["fr"] == "merged"
    assert len(result(loaded, "edits").rows) == 4


def test_in_bfloat16_the_count_says_what_rounding_changes(fresh: Session) -> None:
    fresh.use_model(adopt(tiny("llama").to(torch.bfloat16), tiny_tokenizer(), name="tiny"))
    result(fresh, "adapter load fr")
    assert result(fresh, "adapter merge fr").changed > 0


# ---- written for others


@pytest.mark.parametrize("kind", [{}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 3}}, {"use_dora": True}])
def test_what_is_saved_gives_other_programs_the_same_logits(fresh: Session, kind: dict[str, Any]) -> None:
    made(Path("kind"), seed=5, **kind)
    result(fresh, "adapter load kind --weight 0.5")
    shown = result(fresh, "adapter save kind --to out/peft")
    assert shown.path == str(Path("out/peft").absolute())
    assert torch.allclose(read_by_peft(Path("out/peft"))(IDS).logits, logits(fresh), atol=1e-5)
    result(fresh, "undo")
    result(fresh, "adapter load out/peft --as back")
    assert listed(fresh)["back"].weight == 1


# ---- several in one


def test_an_ensemble_is_put_on_in_place_of_its_members(loaded: Session) -> None:
    both = logits(loaded)
    shown = result(loaded, "ensemble fr=1 es=0.5 --as both")
    assert (shown.off < 1e-6, shown.taken_off, shown.combination) == (True, ("fr", "es"), "cat")
    assert states(loaded) == {"both": "on", "es": "off", "fr": "off"}
    assert torch.allclose(logits(loaded), both, atol=1e-4)
    assert torch.equal(logits(loaded), read_by_peft(loaded.home / "adapters" / "both")(IDS).logits)


def test_factors_that_torch_saved_are_an_adapter_that_is_kept(fresh: Session) -> None:
    from safetensors.torch import load_file

    result(fresh, "adapter load fr")
    alone = logits(fresh)
    result(fresh, "undo")
    torch.save(load_file(fresh.home / "adapters" / "fr" / WEIGHTS), "lora.pt")
    alpha = json.loads((fresh.home / "adapters" / "fr" / CONFIG).read_text())["lora_alpha"]
    assert "--alpha 16" in failure(fresh, "import lora.pt").hint
    saved = result(fresh, f"import lora.pt --alpha {alpha} --as again")
    assert "adapter load again puts it on" in saved.notes[0]
    result(fresh, "adapter load again")
    assert torch.allclose(logits(fresh), alone, atol=1e-6)
    assert "applied already" in failure(fresh, f"import lora.pt --alpha {alpha} --as again").message


def test_a_file_of_other_data_is_shown_and_nothing_is_kept(fresh: Session) -> None:
    torch.save({"trace": torch.zeros(3, 4), "prompt": "who?"}, "trace.pt")
    shown = result(fresh, "import trace.pt")
    assert [(entry.key, entry.kind) for entry in shown.entries] == [
        ("trace", "tensor [3, 4] float32"), ("prompt", "text"),
    ]  # fmt: skip
    assert "--top is for differences" in failure(fresh, "import trace.pt --top 4").message
    assert "--alpha is for the signature" in failure(fresh, "import trace.pt --alpha 4").message


def test_only_takes_off_what_else_is_on_and_without_it_that_is_said(loaded: Session) -> None:
    result(loaded, "ensemble fr=1 es=0.5 --as first")
    first = logits(loaded)
    added = result(loaded, "ensemble fr=0.5 es=1 --as second")
    assert states(loaded)["first"] == "on" and "still on and added to it: first; --only" in added.notes[-1]
    result(loaded, "undo 4")
    result(loaded, "ensemble fr=0.5 es=1 --as third")
    shown = result(loaded, "ensemble fr=1 es=0.5 --only --as fourth")
    assert shown.taken_off == ("third",) and torch.allclose(logits(loaded), first, atol=1e-5)


def test_kept_adapters_are_arms_at_any_weight(loaded: Session) -> None:
    result(loaded, "ensemble fr=0.2 es=0.8 --only --as both")
    ensemble = logits(loaded)
    arms = arms_of(loaded.arm_sources(), ("base", "fr*0.2+es*0.8", "es*0", "fr"))
    seen, model = [], loaded.arm_sources().working()
    for arm in arms:
        with arm.within(model):
            seen.append(logits(loaded))
    assert torch.equal(logits(loaded), ensemble)  # and all is as it was
    assert torch.allclose(seen[1], ensemble, atol=1e-5)
    assert torch.allclose(seen[0], seen[2], atol=1e-6) and not torch.allclose(seen[0], seen[3], atol=1e-3)
    assert arms[1].about == "with fr*0.2, es*0.8"
    for word, said in (
        ("fr*x", "invalid weight 'x' for fr"),
        ("fr*inf", "invalid weight 'inf'"),
        ("none*1", "there is no adapter 'none'"),
    ):
        with pytest.raises(UsageError, match=said.replace("*", ".")):
            arms_of(loaded.arm_sources(), (word,))


@pytest.mark.parametrize("combination", ["cat", "linear", "svd"])
def test_an_ensemble_of_one_is_that_one(fresh: Session, combination: str) -> None:
    result(fresh, "adapter load fr")
    alone = logits(fresh)
    assert result(fresh, f"ensemble fr=1 --combination {combination}").row.name == "ensemble-1"
    assert torch.allclose(logits(fresh), alone, atol=1e-4)


def test_ensembles_of_adapters_that_are_only_kept(loaded: Session) -> None:
    result(loaded, "undo 2")
    first = result(loaded, "ensemble fr=0.6 es=0.4 --combination dare_ties --density 0.7 --as first")
    assert first.off > 0.1 and first.taken_off == ()
    result(loaded, "undo")
    assert result(loaded, "ensemble fr=0.6 es=0.4 --combination svd --rank 2").row.rank == 2


# ---- kept


def test_what_is_deleted_can_be_had_back(loaded: Session) -> None:
    with unharmed(loaded):
        assert failure(loaded, "adapter delete fr").message == "adapter 'fr' is loaded"
    result(loaded, "undo 2")
    deleted = result(loaded, "adapter delete fr")
    assert "fr" not in states(loaded)
    result(loaded, deleted.restore)
    assert states(loaded) == {"es": "", "fr": ""}
    result(loaded, "adapter load fr")


def test_a_damaged_adapter_is_a_line_of_the_list(loaded: Session) -> None:
    result(loaded, "undo 2")
    (loaded.home / "adapters" / "fr" / WEIGHTS).unlink()
    assert "has no adapter_model.safetensors" in listed(loaded)["fr"].error
    assert listed(loaded)["es"].error == ""
    weights = loaded.home / "adapters" / "es" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    with unharmed(loaded):
        assert "its sha256 differs" in failure(loaded, "adapter load es").message


def test_an_edit_of_an_adapter_that_was_exchanged_is_not_applied(loaded: Session) -> None:
    result(loaded, "undo 2")
    result(loaded, "adapter delete fr")
    made(Path("other"), seed=9)
    result(loaded, "adapter load other --as fr")
    result(loaded, "undo")
    shutil.rmtree(loaded.home / "adapters" / "fr")
    shutil.copytree(loaded.home / "adapters" / "es", loaded.home / "adapters" / "fr")
    with unharmed(loaded):
        assert "was replaced" in failure(loaded, "edits load fr").message


def traces(session: Session) -> list[str]:
    return sorted(str(path.relative_to(session.home)) for path in session.home.rglob("*") if path.is_file())


@pytest.mark.parametrize("line", ["adapter load ./wide --as new", "adapter merge fr", "ensemble fr=1 es=1 --as new"])
def test_a_cancelled_adapter_line_leaves_nothing(loaded: Session, line: str) -> None:
    was = traces(loaded)
    for seen in range(1, 20):
        events: list[Any] = []
        before = held_back(loaded)
        for event in run(loaded, line):
            events.append(event)
            if sum(isinstance(each, Progress) for each in events) == seen:
                loaded.cancel.request()
        if any(isinstance(event, Result) for event in events):
            break  # it was asked too late
        assert failure_in(events).error == "cancelled"
        assert (traces(loaded), held_back(loaded)) == (was, before)
    assert seen > 2


def held_back(session: Session) -> tuple[Any, ...]:
    """What a cancelled line must leave: the ledger, and the model as that has it."""
    rows = [(row.name, row.on) for row in result(session, "edits").rows]
    return rows, logits(session).numpy().tobytes(), count_hooks(session.opened().model)


# ---- what is wrong


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)


def without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def pickled(folder: Path) -> None:
    torch.save({"lora": torch.ones(1)}, folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()


def no_json(folder: Path) -> None:
    (folder / CONFIG).write_text("{")


def prompts(folder: Path) -> None:
    (folder / CONFIG).write_text('{"peft_type": "PROMPT_TUNING"}')


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (nothing, "is not there"),
        (without_weights, "has no adapter_model.safetensors"),
        (pickled, "is a pickle, which can run code"),
        (no_json, "adapter_config.json is malformed at line 1"),
        (prompts, "is of the type PROMPT_TUNING"),
    ],
)
def test_a_bad_folder_is_one_error_and_nothing_else(fresh: Session, change: Any, said: str) -> None:
    change(Path("fr"))
    was = traces(fresh)
    with unharmed(fresh):
        assert said in failure(fresh, "adapter load ./fr").message
    assert traces(fresh) == was


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        ("adapter load", "needs a name or folder or round:name", "adapter load NAME|FOLDER|round:NAME"),
        ("adapter load frr", "no adapter is called 'frr'", "did you mean fr"),
        ("adapter load fr --as other", "already has a name", "--as"),
        ("adapter load fr", "edit 'fr' is applied already", "edits"),
        ("adapter load ./wide --as fr", "edit 'fr' is applied already", "edits"),
        ("adapter load ./wide --as kept", "adapter 'kept' exists already", "--force"),
        ("adapter load fr --weight much", "is not a gain", "a number"),
        ("adapter on fr", "is on already", "adapter list"),
        ("adapter off wide", "adapter 'wide' is not loaded", "adapter load wide"),
        ("adapter merge wide", "adapter 'wide' is not loaded", "adapter load wide"),
        ("adapter unmerge fr", "is not merged", "adapter merge fr"),
        ("adapter save fr", "adapter save needs --to", "adapter save NAME --to FILE"),
        ("adapter save fr --to es", "exists already", "--force"),
        ("adapter save none --to out", "no adapter is called 'none'", "adapter load"),
        ("adapter delete none", "no adapter is called 'none'", "adapter load"),
        ("adapter delete none --restore", "no adapter called 'none' was deleted", "trash"),
        ("adapter list fr", "unexpected extra argument (fr)", "adapter list"),
        ("adapter off fr --weight 2", "adapter off has no option --weight", "it is an option of adapter load"),
        ("adapter tune fr", "adapter has no 'tune'", "one of: adapter list"),
        ("ensemble", "needs adapters with their weights", "fr=0.6"),
        ("ensemble fr", "has no weight", "fr=0.4"),
        ("ensemble fr=much", "invalid weight 'much'", "fr=0.4"),
        ("ensemble fr=nan", "invalid weight 'nan'", "fr=0.4"),
        ("ensemble fr=1 fr=2", "is named twice", "one weight"),
        ("ensemble fr=0 es=0", "all weights are 0", "a=0.5"),
        ("ensemble fr=1 none=1", "no adapter is called 'none'", "adapter load"),
        ("ensemble fr=1 kept=1 --combination linear", "needs equal ranks", "--combination cat or svd"),
        ("ensemble fr=1 es=1 --rank 2", "--rank does not apply to cat", "rank"),
        ("ensemble fr=1 es=1 --density 0.5", "--density does not apply to cat", "all numbers"),
        ("ensemble fr=1 es=1 --as kept", "adapter 'kept' exists already", "--force"),
    ],
)
def test_wrong_adapter_lines_are_refused_and_the_session_stays_as_it_was(
    loaded: Session, line: str, said: str, hint: str
) -> None:
    result(loaded, "adapter load wide --as kept")
    result(loaded, "undo")
    was = traces(loaded)
    with unharmed(loaded):
        failed = failure(loaded, line)
        assert said in failed.message and hint in failed.hint
    assert traces(loaded) == was


def test_what_is_merged_has_to_come_out_before_it_goes_off(loaded: Session) -> None:
    result(loaded, "adapter merge fr")
    for line in ("adapter off fr", "adapter merge fr", "ensemble fr=1 es=1", "edits off 1"):
        with unharmed(loaded):
            assert "merged" in failure(loaded, line).message
    result(loaded, "adapter off es")
    assert states(loaded) == {"es": "off", "fr": "merged"}


def test_an_adapter_of_another_model_is_refused_unless_it_is_forced(loaded: Session, tiny_llama: OpenModel) -> None:
    result(loaded, "ensemble fr=1 es=1 --as mine")
    result(loaded, "adapter save mine --to mine")
    other = adopt(tiny("llama", seed=3), tiny_tokenizer(), name="other")
    loaded.use_model(other)
    with unharmed(loaded):
        assert "it was made on tiny" in failure(loaded, "adapter load mine").message
        assert "it was made on tiny" in failure(loaded, "adapter load ./mine --as again").message
    assert "is used on other" in " ".join(result(loaded, "adapter load mine --force").notes)
    loaded.use_model(adopt(tiny("gpt2"), tiny_tokenizer(), name="gpt2"))
    with unharmed(loaded):
        wrong = failure(loaded, "adapter load ./mine --as again --force")
        assert "which this model does not have" in wrong.message and "c_attn" in wrong.hint


def test_a_failed_load_with_force_leaves_what_had_the_name(loaded: Session) -> None:
    result(loaded, "undo 2")
    was = traces(loaded)
    made(Path("odd"), "gpt2", seed=4)
    with unharmed(loaded):
        failure(loaded, "adapter load ./odd --as fr --force")
    assert traces(loaded) == was
    result(loaded, "adapter load ./wide --as fr --force")
    assert listed(loaded)["fr"].rank == 8


def test_a_config_that_says_more_is_read_with_a_remark(fresh: Session) -> None:
    config = json.loads(Path("fr", CONFIG).read_text())
    Path("fr", CONFIG).write_text(json.dumps({**config, "invented": True, "base_model_name_or_path": "org/other"}))
    notes = " ".join(result(fresh, "adapter load ./fr").notes)
    assert "made on other" in notes and "invented" in notes
