"""`export FOLDER --model`, `fingerprint`, `verify-files`, as typed: what is written is what was there."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from commands import run
from sessions import checksums
from sessions.checksums import Sum
from sessions.edits import exporting
from sessions.errors import ArtifactError
from sessions.model.hooks import count_hooks
from sessions.model.opening import OpenModel, adopt
from sessions.session import Session
from tests.commands.driving import failure, failure_in, result, unharmed
from tests.edits import added, bits, cut, louder
from tests.families import DENSE, MOE, OLD, tiny, tiny_tokenizer
from tests.sessions.edits.test_edit import Linear4bit

IDS = torch.tensor([[1, 7, 20, 33, 12]])


def opened_as(family: str, dtype: torch.dtype = torch.float32) -> OpenModel:
    model = tiny(family, biases=True)
    for name, value in model.state_dict().items():  # and not the buffers that no checkpoint has, as a model is loaded
        parent, _, last = name.rpartition(".")
        module = model.get_submodule(parent)
        if last in module._buffers:
            module._buffers[last] = value.to(dtype)
        else:
            getattr(module, last).data = value.to(dtype)
    return adopt(model, tiny_tokenizer(), name=family)


@pytest.fixture
def session(empty: Session) -> Iterator[Session]:
    """A session with a model of its own, a prompt, and an edit."""
    empty.use_model(opened_as("llama"))
    result(empty, "prompt the cat")
    empty.take_edit(louder(empty.opened()), "meow", "by hand")
    yield empty
    empty.close()


def plain(folder: str) -> torch.nn.Module:
    """The model in a folder as any program opens it."""
    return AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype="auto").eval()  # type: ignore[no-any-return]


# ---- the model as a folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", [*DENSE, *MOE, *OLD])
def test_what_is_exported_computes_the_same_logits_to_the_bit(empty: Session, family: str, dtype: torch.dtype) -> None:
    opened = opened_as(family, dtype)
    empty.use_model(opened)
    for name, kind in {"meow": louder, "cut": cut, "low": added}.items():
        empty.take_edit(kind(opened), name, "by hand")
    hooks, before = count_hooks(opened.model), bits(opened)
    written = result(empty, "export out --model")
    assert (written.reopened, written.edits) == (True, ("meow", "cut", "low"))
    assert (count_hooks(opened.model), bits(opened)) == (hooks, before)
    again = plain(written.path)
    if family not in MOE:  # whose experts may be computed in another way there
        with torch.inference_mode():
            assert torch.equal(again(IDS).logits, opened.model(IDS).logits)
    assert result(Session(empty.home), f"model {written.path}").info.fingerprint == written.fingerprint
    state = again.state_dict()
    assert all(torch.equal(state[name], value) for name, value in opened.model.state_dict().items())
    assert AutoTokenizer.from_pretrained(written.path)("the cat").input_ids == opened.tokenizer("the cat").input_ids
    empty.close()


def test_the_edits_that_are_on_are_in_the_folder_and_what_is_not_a_weight_is_not(session: Session) -> None:
    with_edit = result(session, "export a --model").fingerprint
    result(session, "edits off 1")
    result(session, "suppress L0/N1")
    without = result(session, "export b --model")
    assert without.edits == () and without.fingerprint != with_edit
    said = " ".join(without.notes)
    assert (
        "suppression and live interventions change no weights" in said and "the edit that is off is not in it" in said
    )
    assert sorted(os.listdir("a")) == sorted(os.listdir("b"))
    assert not [name for name in os.listdir() if name.startswith(".")]


def test_tied_weights_are_written_once(empty: Session) -> None:
    empty.use_model(opened_as("gemma"))
    result(empty, "export out --model")
    assert os.path.getsize("out/model.safetensors") < sum(
        value.nbytes for value in empty.opened().model.state_dict().values()
    )
    again = plain("out")
    assert again.lm_head.weight is again.model.embed_tokens.weight


@pytest.mark.parametrize("tied", [True, False], ids=["tied by config", "untied by config"])
@pytest.mark.parametrize("family", ["llama", "gemma", "gpt2"])
def test_a_head_is_written_as_it_is_in_memory_whatever_the_configuration_ties(
    empty: Session, family: str, tied: bool
) -> None:
    """One that the configuration ties has weights of its own, or one that it does not shares the embedding's."""
    model = tiny(family)
    model.config.tie_word_embeddings = tied
    embedding: torch.nn.Parameter = model.get_input_embeddings().weight
    model.lm_head.weight = torch.nn.Parameter(embedding.flip(0).clone()) if tied else embedding
    opened = adopt(model.requires_grad_(False), tiny_tokenizer(), name=family)
    empty.use_model(opened)
    empty.take_edit(louder(opened), "meow", "by hand")
    written = result(empty, "export out --model")
    assert written.reopened
    with torch.inference_mode():
        logits = opened.model(IDS).logits
        assert torch.equal(plain("out")(IDS).logits, logits)
        back = Session(empty.home)
        assert result(back, "model out").info.fingerprint == written.fingerprint
        assert torch.equal(back.opened().model(IDS).logits, logits)
    empty.close()


def test_a_model_is_never_written_over_other_things(session: Session) -> None:
    result(session, "export out --model")
    with unharmed(session):
        failed = failure(session, "export out --model")
        assert "is not empty" in failed.message and "--force" in failed.hint
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    result(session, "edits off 1")
    assert result(session, "export out --model --force").edits == ()
    assert (Path("out") / "model.safetensors").read_bytes() != before["model.safetensors"]
    Path("out/mine").mkdir()
    Path("thesis").mkdir()
    Path("thesis/chapter.txt").write_text("…")
    Path("file").touch()
    Path("none").mkdir()
    for name, said in {"out": "more than a model: mine", "thesis": "holds no model", "file": "is a file"}.items():
        with unharmed(session):
            assert said in failure(session, f"export {name} --model --force").message
    result(session, "export none --model")
    assert Path("thesis/chapter.txt").read_text() == "…"


def test_the_model_that_is_open_is_not_written_over(empty: Session) -> None:
    tiny("llama").save_pretrained("own")
    tiny_tokenizer().save_pretrained("own")
    result(empty, "model own --device cpu")
    with unharmed(empty):
        assert "is the folder of a model that is opened here" in failure(empty, "export own --model --force").message
        inside = empty.store.models / "smollm2"
        assert "is the folder of a model" in failure(empty, f"export {inside} --model --force").message
    assert not inside.exists()


def test_a_folder_is_written_whole_or_not_at_all(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    result(session, "export out --model")
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    result(session, "edits off 1")
    for place in ("new", "out"):
        with monkeypatch.context() as patch, unharmed(session):
            patch.setattr(exporting.os, "fsync", full)
            failed = failure(session, f"export {place} --model --force")
        assert "No space left" in failed.message and "free some space" in failed.hint
    steps = run(session, "export out --model --force")
    next(steps), next(steps)
    session.cancel.request()
    assert failure_in(list(steps)).error == "cancelled"
    assert os.listdir() == ["out"]
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before


def test_what_was_written_wrongly_is_not_kept(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    write = exporting._write

    def wrongly(opened: OpenModel, state: dict[str, torch.Tensor], folder: Path, meter: object) -> None:
        name = next(name for name in state if "up_proj" in name)
        write(opened, {**state, name: state[name] * 1.0001}, folder, meter)  # type: ignore[arg-type]

    monkeypatch.setattr(exporting, "_write", wrongly)
    assert "is not the same: model.layers.0.mlp.up_proj.weight" in failure(session, "export out --model").message
    assert os.listdir() == []


class Wrapped(nn.Module):
    """As PEFT wraps a projection."""

    def __init__(self, inner: nn.Module, off: bool) -> None:
        super().__init__()
        self.base_layer, self.disable_adapters, self.active_adapters = inner, off, ["a"]
        self.lora_A = nn.ModuleDict({"a": nn.Linear(32, 2)})

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return self.base_layer(given)  # type: ignore[no-any-return]


def test_adapters_do_not_get_into_the_folder(session: Session) -> None:
    mlp = session.opened().anatomy.layers[0].block.mlp
    inner = mlp.up_proj
    mlp.up_proj = Wrapped(inner, off=False)
    with unharmed(session):
        failed = failure(session, "export out --model")
        assert "an adapter is on at model.layers.0.mlp.up_proj" in failed.message and "merge it" in failed.hint
    mlp.up_proj = Wrapped(inner, off=True)
    written = result(session, "export out --model")
    mlp.up_proj = inner
    assert written.fingerprint == result(session, "export out2 --model").fingerprint


def test_packed_weights_are_not_exported(session: Session) -> None:
    mlp = session.opened().anatomy.layers[0].block.mlp
    inner = mlp.up_proj
    mlp.up_proj = Linear4bit(32, 48)
    with unharmed(session):
        assert "up_proj.weight is packed (torch.uint8)" in failure(session, "export out --model").message
    mlp.up_proj = nn.Linear(32, 48, device="meta", bias=False)
    with unharmed(session):
        assert "up_proj.weight is not in memory" in failure(session, "export out --model").message
    mlp.up_proj = inner
    assert os.listdir() == []


def test_a_model_has_one_format(session: Session) -> None:
    with unharmed(session):
        assert "in one format" in failure(session, "export out --model --format json").message
        assert "in one format" in failure(session, "export out --model --name edit:meow").message


# ---- fingerprints


def test_the_weights_have_another_sum_with_an_edit_and_the_same_without(session: Session) -> None:
    edited = result(session, "fingerprint")
    assert edited.fingerprint == session.opened().info.fingerprint and edited.edits == ("meow",)
    assert edited.weights == bits(session.opened()) != edited.unedited
    result(session, "undo")
    plain_one = result(session, "fingerprint")
    assert (plain_one.weights, plain_one.unedited, plain_one.edits) == (edited.unedited, "", ())
    digest = hashlib.sha256(session.store.path("edit", "meow").read_bytes()).hexdigest()
    assert dict(plain_one.files) == {"edit:meow": digest}
    named = result(session, "fingerprint edit:meow")
    assert named.files == plain_one.files and named.weights == named.model == ""


def test_without_a_model_what_is_saved_has_fingerprints(session: Session) -> None:
    other = Session(session.home)
    assert [name for name, _ in result(other, "fingerprint").files] == ["edit:meow"]
    assert result(Session(session.home / "none"), "fingerprint").files == ()
    assert "nothing to list" in failure(Session(session.home / "none"), "fingerprint --write x").message
    assert "no edit is called" in failure(other, "fingerprint edit:nosuch").message


def test_what_is_listed_is_verified_until_a_file_changes(session: Session) -> None:
    assert result(session, "fingerprint --write sums.txt").path.endswith("sums.txt")
    assert len(result(session, "verify-files sums.txt").files) == 1
    assert "exists already" in failure(session, "fingerprint --write sums.txt").message
    path = session.store.path("edit", "meow")
    path.write_bytes(path.read_bytes() + b" ")
    failed = failure(session, "verify-files sums.txt")
    assert (
        failed.error == "expectation" and f"1 of 1 files is not what sums.txt says: changed: {path}" in failed.message
    )


# ---- lists


def write_list(text: str) -> None:
    Path("below").mkdir(exist_ok=True)
    for name in ("a", "b", "new\nline", "two  spaces"):
        (Path("below") / name).write_text(name)
    Path("below/sums").write_text(text)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_every_way_to_write_a_line_is_read(empty: Session) -> None:
    write_list(
        f"# a list\n{sha('a')}  a\n\n{sha('b').upper()} *b\n\\{sha(chr(10).join(['new', 'line']))}  new\\nline\n"
        f"SHA256 (two  spaces) = {sha('two  spaces')}\r\n"
    )
    assert result(empty, "verify-files below/sums").files == ("a", "b", "new\nline", "two  spaces")
    subprocess.run(["sha256sum", "--check", "--quiet", "sums"], cwd="below", check=False)


def test_all_that_is_wrong_is_named(empty: Session) -> None:
    (Path("below") / "folder").mkdir(parents=True)
    write_list("\n".join(f"{sha('a')}  {name}" for name in ("a", "b", "c", "folder", *(f"gone{n}" for n in range(9)))))
    failed = failure(empty, "verify-files below/sums")
    assert failed.message == (
        "12 of 13 files are not what below/sums says: changed: b; missing: c, gone0, gone1, gone2, gone3 and 5 more; "
        "not readable: folder"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "lists no file"), ("# x\n", "lists no file"), ("abc  a\n", "line 1"), (f"{'g' * 64}  a", "line 1")],
)
def test_what_is_no_list_is_refused(empty: Session, text: str, said: str) -> None:
    write_list(text)
    failed = failure(empty, "verify-files below/sums")
    assert said in failed.message and failed.hint
    assert "below/nosuch" in failure(empty, "verify-files below/nosuch").message


@given(
    st.lists(
        st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\x85\u2028\u2029\v\f\x1c\x1d\x1e"),
            min_size=1,
        ).filter(lambda name: name == name.strip()),
        min_size=1,
        max_size=4,
    )
)
def test_a_list_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    sums = tuple(Sum(name, sha(name)) for name in names)
    path = tmp_path_factory.mktemp("list") / "sums"
    path.write_bytes(checksums.written(sums))
    assert checksums.read_sums(path) == sums


def test_a_pipe_is_no_file(empty: Session) -> None:
    os.mkfifo("pipe")
    with pytest.raises(ArtifactError):
        list(checksums.sha256_of(Path("pipe")))
