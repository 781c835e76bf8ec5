"""`edits`, `undo`, `redo`, `inspect`, and edits among what is saved, as typed, on tiny models; and what survives."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import run
from commands.completing import complete
from sessions import saved_state
from sessions.edits.edit import Edit, LowRank, Neurons
from sessions.errors import ArtifactError
from sessions.events import finished
from sessions.files import disk
from sessions.model.opening import OpenModel, adopt
from sessions.session import Session
from tests.commands.driving import failure, failure_in, result, unharmed
from tests.edits import added, bits, cut, louder
from tests.families import tiny, tiny_tokenizer
from workbench.rendering.outcomes import standing


@pytest.fixture
def opened() -> OpenModel:
    return adopt(tiny("llama"), tiny_tokenizer(), name="tiny")


@pytest.fixture
def session(empty: Session, opened: OpenModel) -> Iterator[Session]:
    """A session with a model of its own, a prompt, and three edits: meow, cut, low."""
    empty.use_model(opened)
    result(empty, "set max_tokens 4")
    result(empty, "prompt the cat")
    for name, edit in {"meow": louder(opened), "cut": cut(opened), "low": added(opened)}.items():
        empty.take_edit(edit, name, f"{edit.verb} by hand")
    yield empty
    empty.close()


def listed(value: Any) -> list[tuple[int, str, bool]]:
    return [(row.number, row.name, row.on) for row in value.rows]


# ---- the ledger


def test_edits_are_listed_with_what_they_are(session: Session) -> None:
    shown = result(session, "edits")
    assert listed(shown) == [(1, "meow", True), (2, "cut", True), (3, "low", True)]
    assert [row.verb for row in shown.rows] == ["rewrite", "surgery", "adapter"]
    assert all(row.norm > 0 and row.about for row in shown.rows)
    assert result(session, "edits list") == shown


def test_an_edit_is_turned_off_and_on_by_number_or_name(session: Session, opened: OpenModel) -> None:
    whole = bits(opened)
    off = result(session, "edits off 2")
    assert (off.done, off.named, listed(off)[1]) == ("off", ("cut",), (2, "cut", False))
    assert bits(opened) != whole
    assert result(session, "edits on cut").named == ("cut",)
    assert bits(opened) == whole
    result(session, "edits off edit:meow")
    assert result(session, "edits off all").named == ("cut", "low")
    assert result(session, "edits on all").named == ("meow", "cut", "low")
    assert bits(opened) == whole


def test_undo_and_redo_take_as_many_as_they_are_told(session: Session, opened: OpenModel) -> None:
    whole = bits(opened)
    undone = result(session, "undo 2")
    assert (undone.done, undone.named, undone.undone) == ("undone", ("low", "cut"), ("cut", "low"))
    assert result(session, "redo").named == ("cut",)
    assert result(session, "redo").undone == ()
    assert bits(opened) == whole
    result(session, "undo 3")
    session.close()
    assert bits(opened) == bits(adopt(tiny("llama"), tiny_tokenizer(), name="tiny"))


def test_a_saved_edit_is_loaded_where_it_belongs(session: Session) -> None:
    result(session, "undo 3")
    assert listed(result(session, "edits load low")) == [(1, "low", True)]
    other = adopt(tiny("llama", seed=1), tiny_tokenizer(), name="other")
    session.use_model(other)
    with unharmed(session):
        failed = failure(session, "edits load low")
        assert "it was made on tiny" in failed.message and "--force" in failed.hint
    loaded = result(session, "edits load low --force")
    assert loaded.notes[0] == "it was made on tiny and is used on other"
    session.use_model(adopt(tiny("gpt2"), tiny_tokenizer(), name="third"))
    with unharmed(session):
        assert "gate" in failure(session, "edits load meow --force").message


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("undo 104", "changes to undo, not 104"),
        ("redo", "there is nothing to redo"),
        ("undo 0", "not a whole number"),
        ("edits off 4", "there is no edit 4"),
        ("edits on 1", "edit 1 is on already"),
        ("edits on all", "all edits are on already"),
        ("edits off moew", "no edit 'moew' is applied"),
        ("edits off", "edits off needs an edit"),
        ("edits load", "edits load needs an edit"),
        ("edits load nosuch", "no edit is called 'nosuch'"),
        ("edits load meow", "edit 'meow' is applied already, as number 1"),
        ("edits meow", "edits has no 'meow'"),
        ("edits list 2", "unexpected extra argument (2)"),
        ("edits off 1 --max-tokens 3", "edits off has no option --max-tokens"),
        ("edits off 1 --force", "edits off has no option --force"),
        ("edits compare 9", "there is no edit 9"),
        ("inspect 9", "there is no edit 9"),
        ("inspect nosuch", "no edit is called 'nosuch'"),
        ("inspect ../x", "is a path"),
    ],
)
def test_lines_about_edits_that_cannot_be_done_are_refused_and_change_nothing(
    session: Session, line: str, said: str
) -> None:
    before = bits(session.opened())
    with unharmed(session):
        failed = failure(session, line)
        assert said in failed.message
        assert failed.hint
    assert bits(session.opened()) == before


def test_with_nothing_applied_there_is_nothing_to_undo(empty: Session, opened: OpenModel) -> None:
    assert "no model is open" in failure(empty, "edits").message
    empty.use_model(opened)
    assert result(empty, "edits").rows == ()
    assert failure(empty, "undo").message == "there is nothing to undo"
    result(empty, "prompt the cat")
    assert failure(empty, "edits compare").message == "no edit is on"


# ---- with and without


def test_a_text_is_shown_without_the_edits_and_with_them(session: Session) -> None:
    whole = bits(session.opened())
    edited = result(session, "generate").arm
    result(session, "edits off all")
    plain = result(session, "generate").arm
    result(session, "edits on all")
    compared = result(session, "edits compare")
    assert [arm.name for arm in compared.arms] == ["unedited", "edited"]
    assert [arm.ids for arm in compared.arms] == [plain.ids, edited.ids]
    assert [(chance.id, round(chance.logit, 4)) for chance in edited.next_tokens] == [
        (chance.id, round(chance.logit, 4)) for chance in compared.arms[1].next_tokens[: len(edited.next_tokens)]
    ]
    assert len(compared.arms[1].kl) == len(plain.ids) and max(compared.arms[1].kl) > 0.01
    assert compared.shifts and session.last_output.text == edited.text and session.last_output.baseline == plain.text
    assert bits(session.opened()) == whole


def test_one_edit_is_left_out_while_the_others_stay(session: Session) -> None:
    result(session, "edits off cut")
    without = result(session, "generate").arm
    result(session, "edits on cut")
    compared = result(session, "edits compare cut --max-tokens 4")
    assert [arm.name for arm in compared.arms] == ["without cut", "with cut"]
    assert compared.arms[0].ids == without.ids
    result(session, "edits off cut")  # and one that is off is put in for as long
    assert [arm.ids for arm in result(session, "edits compare 2").arms] == [arm.ids for arm in compared.arms]
    assert [entry.on for entry in session.edits().entries] == [True, False, True]


def test_a_comparison_that_is_cancelled_leaves_the_edits_where_they_were(session: Session) -> None:
    before = bits(session.opened())
    for count in (1, 3, 6):
        steps = run(session, "edits compare")
        events = [next(steps) for _ in range(count)]
        session.cancel.request()
        events += list(steps)
        assert failure_in(events).error == "cancelled"
        assert bits(session.opened()) == before
    steps = run(session, "inspect 1")
    next(steps), next(steps)
    steps.close()
    assert bits(session.opened()) == before and listed(result(session, "edits"))[0] == (1, "meow", True)


def test_a_circuit_says_which_edits_it_was_found_with(session: Session) -> None:
    result(session, "discover a --top 5 --keep-universal")
    assert session.circuit is not None and session.circuit.edits == ("meow", "cut", "low")
    assert result(session, "ablate top1").notes == ()
    result(session, "edits off cut")
    assert "the circuit was found with the edit cut, which is off now" in result(session, "ablate top1").notes
    result(session, "discover a --top 5 --keep-universal")
    result(session, "edits on cut")
    assert "the circuit was found without the edit cut, which is on now" in result(session, "ablate top1").notes


def test_the_guard_is_on_where_an_edit_says_something(session: Session) -> None:
    assert result(session, "edits compare meow").arms[0].guarded is not None
    assert result(session, "edits compare low").arms[0].guarded is None


# ---- inspecting


def test_an_edit_of_neurons_is_told_by_its_parts(session: Session, opened: OpenModel) -> None:
    shown = result(session, "inspect meow --tokens 2")
    assert (shown.number, shown.on, shown.verb, shown.command) == (1, True, "rewrite", "rewrite by hand")
    assert shown.facts == {"token": " a"} and shown.total == 2
    first = shown.neurons[0]
    assert str(first.neuron) == "L1/N3" and [part.part for part in first.parts] == ["gate", "up", "down"]
    with session.edits().lifted():
        plain = {name: row.float() for name, row in opened.anatomy.read_rows(1, 3).items()}
    for part in first.parts[:2]:
        now = opened.anatomy.read_rows(1, 3)[part.part]
        assert part.before == pytest.approx(float(plain[part.part].norm()), rel=1e-5)
        assert part.after == pytest.approx(float(now.norm()), rel=1e-5)
        assert part.cosine == pytest.approx(float(torch.cosine_similarity(now, plain[part.part], dim=0)), abs=1e-5)
        assert len(part.embeddings) == len(part.stream) == 2
    assert shown.apart < 1e-5
    assert sum(count for _, count in shown.tokens) == 4


def test_a_column_that_is_one_token_is_seen_to_be_that(session: Session, opened: OpenModel) -> None:
    rows = opened.model.get_output_embeddings().weight
    direction = rows[40] / rows[40].norm()
    session.take_edit(Edit("rewrite", "", (Neurons(2, "down", (7,), 5 * direction[None]),)), "one", "by hand")
    (neuron,) = result(session, "inspect one").neurons
    assert neuron.cosines[0] > 0.999 > abs(neuron.cosines[1])
    assert [round(part.after, 3) for part in neuron.parts if part.part == "down"] == [5.0]
    session.take_edit(Edit("rewrite", "", (Neurons(2, "down", (8,), torch.zeros(1, 32)),)), "none", "by hand")
    (silent,) = result(session, "inspect none").neurons
    assert (silent.up, silent.share, silent.cosines) == ((), 0.0, ())


def test_the_change_of_a_neuron_is_told_by_itself(session: Session, opened: OpenModel) -> None:
    """A small change in the direction of a token is hidden in a neuron that says another; alone it is seen."""
    rows = opened.model.get_output_embeddings().weight.detach()
    direction = 0.01 * rows[40] / rows[40].norm()
    read = opened.model.get_input_embeddings().weight.detach()[20]
    changes = (
        Neurons(2, "down", (7, 9), torch.stack([direction, -direction]), adds=True),
        Neurons(2, "gate", (7, 9), 0.02 * torch.stack([read, read]) / read.norm(), adds=True),
    )
    session.take_edit(Edit("train-round", "", changes), "small", "by hand")
    with session.edits().lifted():
        was = float(opened.anatomy.down_column(2, 7).norm())
    shown = result(session, "inspect small")
    said = {part.part: part for part in shown.neurons[0].delta.parts}
    assert said["down"].norm == pytest.approx(0.01, rel=1e-3)
    assert said["down"].relative == pytest.approx(0.01 / was, rel=1e-3)
    assert said["gate"].norm == pytest.approx(0.02, rel=1e-3) and len(said["gate"].embeddings) == 3
    assert said["up"].norm == 0 and said["up"].embeddings == ()
    up, down = (neuron.delta.push for neuron in shown.neurons)
    token = opened.tokenizer.decode([40])
    assert up.token == up.up[0] == down.token == down.down[0] == token
    assert up.z > 3 > -3 > down.z and up.z == pytest.approx(-down.z, rel=1e-3)
    assert up.cosine == pytest.approx(1, abs=1e-3) and down.cosine == pytest.approx(-1, abs=1e-3)
    assert 0.1 < up.concentration < 1 and shown.neurons[0].up[0] != token
    assert [part.part for part in shown.delta] == ["gate", "up", "down"]
    assert shown.delta[2].norm == pytest.approx(0.01 * 2**0.5, rel=1e-3)
    assert shown.delta_top10 == 1 and dict(shown.delta_tokens)[token] == 1


def test_a_change_that_leaves_the_columns_alone_pushes_nothing(session: Session) -> None:
    session.take_edit(Edit("rewrite", "", (Neurons(2, "up", (8,), torch.ones(1, 32)),)), "rows", "by hand")
    (neuron,) = result(session, "inspect rows").neurons
    assert neuron.delta.push is None and neuron.delta.parts[1].stream
    assert result(session, "inspect rows").delta_tokens == ()


def test_what_an_adapter_adds_is_told_by_its_strongest_directions(session: Session, opened: OpenModel) -> None:
    rows = opened.model.get_output_embeddings().weight.detach()
    left = torch.stack([rows[40] / rows[40].norm(), rows[41] / rows[41].norm()], 1)
    right = torch.zeros(2, opened.anatomy.layers[2].width)
    right[0, 11], right[1, 5] = 3.0, -1.0
    session.take_edit(Edit("adapter", "", (LowRank("model.layers.2.mlp.down_proj", left, right),)), "a", "by hand")
    (matrix,) = result(session, "inspect a").matrices
    first, second = matrix.directions
    assert first.share + second.share == pytest.approx(1, abs=1e-4) and first.share > 0.8
    assert first.size**2 + second.size**2 == pytest.approx(matrix.change**2, rel=1e-3)
    assert str(first.reads[0]) == "L2/N11" and str(second.reads[0]) == "L2/N5"
    assert first.push.token == first.push.up[0] == opened.tokenizer.decode([40]) and first.push.z > 3
    wide = torch.zeros(opened.anatomy.layers[2].width, 1)
    wide[4] = 2.0
    low = LowRank("model.layers.2.mlp.gate_proj", wide, rows[40][None])
    session.take_edit(Edit("adapter", "", (low,)), "b", "by hand")
    ((only,),) = [matrix.directions for matrix in result(session, "inspect b").matrices]
    assert str(only.writes[0]) == "L2/N4" and only.push is None and len(only.embeddings) == len(only.stream) == 3
    assert only.share == pytest.approx(1)


def test_the_directions_of_a_cut_are_those_it_takes(session: Session) -> None:
    down, attention = result(session, "inspect cut").matrices
    assert [len(each.directions) for each in (down, attention)] == [2, 2]
    assert sum(each.share for each in down.directions) == pytest.approx(1, abs=1e-4)
    assert down.directions[0].push is not None and attention.directions[0].push is not None
    assert down.directions[0].reads and not attention.directions[0].reads


def test_the_change_of_any_family_is_told(empty: Session) -> None:
    for family in ("gpt2", "gemma3", "mixtral", "phi3"):
        empty.use_model(adopt(tiny(family), tiny_tokenizer(), name=family))
        empty.take_edit(louder(empty.opened()), f"meow-{family}", "by hand")
        empty.take_edit(added(empty.opened()), f"low-{family}", "by hand")
        shown = result(empty, f"inspect meow-{family}")
        assert all(neuron.delta.push is not None for neuron in shown.neurons)
        assert all(part.norm > 0 for neuron in shown.neurons for part in neuron.delta.parts)
        assert result(empty, f"inspect low-{family}").matrices[0].directions


def test_a_subspace_is_told_by_what_it_takes(session: Session) -> None:
    shown = result(session, "inspect cut")
    assert [(each.where, each.kind, each.dims) for each in shown.matrices] == [
        ("L1 down", "without", 2),
        ("L1 attn_out", "without", 2),
    ]
    assert all(0.01 < each.share < 0.3 for each in shown.matrices)
    assert shown.norm == pytest.approx(sum(each.change**2 for each in shown.matrices) ** 0.5)
    assert shown.norm == pytest.approx(result(session, "edits").rows[1].norm)
    (factors,) = result(session, "inspect 3").matrices
    assert (factors.kind, factors.dims) == ("added", 2)


def test_a_saved_edit_is_inspected_without_being_applied(session: Session) -> None:
    whole = result(session, "inspect cut")
    result(session, "undo 2")
    before = bits(session.opened())
    shown = result(session, "inspect cut")
    assert (shown.number, shown.on) == (0, False) and shown.matrices == whole.matrices
    assert bits(session.opened()) == before


def test_an_edit_reaches_both_uses_of_a_tied_matrix_and_that_is_said(empty: Session) -> None:
    empty.use_model(adopt(tiny("gemma"), tiny_tokenizer(), name="tied"))
    result(empty, "prompt the cat")
    change = LowRank("lm_head", torch.ones(64, 1), torch.ones(1, 32) * 0.01)
    empty.take_edit(Edit("adapter", "", (change,)), "low", "by hand")
    shown = result(empty, "inspect low")
    said = "lm_head and model.embed_tokens are one matrix: the edit reaches both"
    assert said in shown.notes and shown.apart is None
    assert any("not compared with the same edit as hooks" in note for note in shown.notes)
    result(empty, "undo")
    assert said in result(empty, "edits load low").notes
    empty.close()


def test_an_edit_of_experts_is_inspected_without_hooks(empty: Session) -> None:
    empty.use_model(adopt(tiny("mixtral"), tiny_tokenizer(), name="experts"))
    result(empty, "prompt the cat")
    empty.take_edit(louder(empty.opened()), "meow", "by hand")
    shown = result(empty, "inspect meow")
    assert shown.apart is None and "expert" in shown.notes[0] and len(shown.neurons) == 2
    empty.close()


# ---- saved by name


def test_a_new_edit_is_saved_before_it_counts(session: Session, opened: OpenModel) -> None:
    first = session.take_edit(louder(opened, seed=5), "", "rewrite L1/N3")
    assert (first.name, len(first.sha256), first.command) == ("rewrite-1", 64, "rewrite L1/N3")
    result(session, "delete edit:rewrite-1")  # which is applied all the same
    assert session.take_edit(louder(opened, seed=6), "", "x").name == "rewrite-2"
    result(session, "delete edit:rewrite-1 --restore")
    rows = {row.name: row for row in result(session, "list").rows}
    assert set(rows) == {"meow", "cut", "low", "rewrite-1", "rewrite-2"} and rows["cut"].kind == "edit"


def test_an_edit_that_cannot_be_saved_changes_nothing(
    session: Session, opened: OpenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before, names = bits(opened), session.store.names("edit")
    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left"):
        session.take_edit(louder(opened, seed=5), "more", "by hand")
    monkeypatch.undo()
    with pytest.raises(ArtifactError, match="exists already"):
        result(session, "undo")
        session.take_edit(louder(opened, seed=5), "low", "by hand")
    with pytest.raises(ArtifactError):
        session.take_edit(Edit("x", "", (Neurons(1, "gate", (3,), torch.zeros(1, 31)),)), "wrong", "by hand")
    result(session, "redo")
    assert bits(opened) == before and session.store.names("edit") == names


def test_a_damaged_file_is_refused_and_changes_nothing(session: Session) -> None:
    result(session, "undo")
    path = session.store.path("edit", "low")
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole[:-1] + bytes([whole[-1] ^ 1]), b"", whole[:40]):
        path.write_bytes(damaged)
        with unharmed(session):
            assert failure(session, "edits load low").error == "artifact"
    assert [row.error != "" for row in result(session, "list").rows if row.name == "low"] == [True]


def test_an_applied_edit_can_be_deleted_and_that_is_said(session: Session) -> None:
    deleted = result(session, "delete edit:meow")
    assert "still applied" in deleted.notes[0]
    result(session, deleted.restore)
    result(session, "undo 3")
    assert result(session, "delete edit:meow").notes == ()


def test_an_edit_goes_from_file_to_file(session: Session) -> None:
    assert result(session, "export meow.safetensors --name edit:meow").format == "safetensors"
    assert result(session, "import meow.safetensors --as edit:again").name == "edit:again"
    result(session, "undo 3")
    before = bits(session.opened())
    result(session, "edits load meow")
    meow = bits(session.opened())
    result(session, "undo")
    result(session, "edits load again")
    assert bits(session.opened()) == meow != before
    with unharmed(session):
        assert "holds an edit" in failure(session, "import meow.safetensors --as vector:x").message
        assert "cannot be written as json" in failure(session, "export x.json --name edit:meow").message
        assert "exists already" in failure(session, "import meow.safetensors").message
    session.use_model(adopt(tiny("llama", seed=1), tiny_tokenizer(), name="other"))
    assert "was made on tiny" in failure(session, "import meow.safetensors --as edit:third").message


# ---- what a session says and keeps


def test_the_state_names_the_edits(session: Session) -> None:
    result(session, "edits off 2")
    state = session.state()
    assert (state.edits, state.edits_applied, state.edits_on) == (("1 meow", "2 cut (off)", "3 low"), 3, 2)
    assert standing(state)["force"] == "edits 2 of 3"
    result(session, "edits on 2")
    assert standing(session.state())["force"] == "edits 3"


def test_edits_are_offered_by_number_and_name(session: Session) -> None:
    result(session, "undo")

    def offered(line: str) -> list[str]:
        return [completion.text for completion in complete(line, None, session)]

    assert offered("edits o") == ["on", "off"]
    assert offered("edits off ") == ["meow", "cut", "1", "2", "all"]
    assert offered("edits load ") == ["cut", "low", "meow"]
    assert offered("inspect ") == ["meow", "cut", "low", "1", "2"]
    assert offered("delete edit:m") == ["edit:meow"]


def test_the_same_weights_opened_again_keep_their_edits_and_others_do_not(session: Session, opened: OpenModel) -> None:
    whole = bits(opened)
    again = adopt(tiny("llama"), tiny_tokenizer(), name="tiny")
    plain = bits(again)
    session.use_model(again)
    assert bits(again) == whole and bits(opened) == plain
    session.use_model(adopt(tiny("qwen2"), tiny_tokenizer(), name="other"))
    assert session.edits().entries == () and bits(again) == plain


# ---- coming back


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model in a folder."""
    tiny("llama").save_pretrained(tmp_path / "tiny")
    tiny_tokenizer().save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def edited(home: Path, folder: Path) -> Session:
    """A session in which the second of three edits is off, and a fourth and fifth are undone."""
    session = Session(home)
    result(session, f"model {folder} --device cpu")
    for number in range(5):
        session.take_edit(louder(session.opened(), seed=number), f"e{number + 1}", "by hand")
    result(session, "edits off 2")
    result(session, "undo 2")
    return session


def restored(home: Path, state: saved_state.SavedState) -> tuple[Session, tuple[str, ...]]:
    session = Session(home)
    return session, finished(saved_state.restore(session, state))


def test_a_session_comes_back_with_its_edits_in_their_order(tmp_path: Path, folder: Path) -> None:
    session = edited(tmp_path / "home", folder)
    saved_state.write(tmp_path / "state.json", saved_state.kept(session))
    again, missing = restored(tmp_path / "home", saved_state.read(tmp_path / "state.json"))
    assert missing == ()
    assert again.state() == session.state()
    assert bits(again.opened()) == bits(session.opened())
    result(session, "redo 2")
    result(again, "redo 2")
    assert bits(again.opened()) == bits(session.opened())
    result(again, "undo 5")
    result(session, "undo 5")
    assert bits(again.opened()) == bits(session.opened())


def test_a_file_that_is_another_one_now_is_said_and_what_lies_on_it_stays_away(tmp_path: Path, folder: Path) -> None:
    session = edited(tmp_path / "home", folder)
    state = saved_state.kept(session)
    session.take_edit(louder(session.opened(), seed=9), "e9", "by hand")
    result(session, "delete edit:e2")
    result(session, f"export {tmp_path}/e9.safetensors --name edit:e9")
    result(session, f"import {tmp_path}/e9.safetensors --as edit:e2")
    again, missing = restored(tmp_path / "home", state)
    assert missing == ("edit 'e2' did not come back (nor did the 3 after it): its file has changed",)
    assert [entry.edit.name for entry in again.edits().entries] == ["e1"]
    result(again, "delete edit:e1")
    again, missing = restored(tmp_path / "home", state)
    assert "edit 'e1' did not come back (nor did the 4 after it): no edit is called 'e1'" in missing[0]


def test_on_another_model_no_edit_comes_back(tmp_path: Path, folder: Path) -> None:
    state = saved_state.kept(edited(tmp_path / "home", folder))
    tiny("llama", seed=1).save_pretrained(folder)
    again, missing = restored(tmp_path / "home", state)
    assert "the model is not the one it was on" in missing[-1]
    assert again.edits().entries == () and bits(again.opened())
