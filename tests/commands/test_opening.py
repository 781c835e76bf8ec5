"""`model`: opening reads the model's own weights; an adapter beside them goes on as an edit, and is said to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sessions import saved_state
from sessions.events import finished
from sessions.session import Session
from tests.adapters import made, read_by_peft
from tests.commands.driving import failure, result
from tests.families import tiny, tiny_tokenizer

IDS = torch.tensor([[1, 9, 27, 17, 51, 5]])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder, plain; one with an adapter in it, both; and one with only that adapter, alone."""
    parent = tmp_path_factory.mktemp("models")
    tiny("llama").save_pretrained(parent / "plain")
    tiny_tokenizer().save_pretrained(parent / "plain")
    made(parent / "alone")
    shutil.copytree(parent / "plain", parent / "both")
    for path in (parent / "alone").iterdir():
        shutil.copy(path, parent / "both")
    return parent


@pytest.fixture
def session(empty: Session, folders: Path) -> Session:
    shutil.copytree(folders, Path(), dirs_exist_ok=True)
    return empty


def logits(session: Session) -> Tensor:
    with torch.inference_mode():
        return session.opened().model(IDS).logits


def test_an_adapter_in_the_folder_of_a_model_goes_on_as_an_edit(session: Session, folders: Path) -> None:
    result(session, "model plain")
    plain, fingerprint = logits(session), session.opened().info.fingerprint
    opened = result(session, "model both")
    assert opened.notes[-1] == "the adapter in its folder is on, as edit 'both-adapter': undo removes it"
    assert opened.info.fingerprint == fingerprint
    assert [each.name for each in result(session, "edits").rows] == ["both-adapter"]
    torch.testing.assert_close(logits(session), read_by_peft(folders / "alone")(IDS).logits, rtol=1e-4, atol=1e-4)
    result(session, "undo")
    assert torch.equal(logits(session), plain)


def test_the_model_s_own_adapter_is_applied_and_saved_once_however_often_the_model_is_opened(session: Session) -> None:
    result(session, "model both")
    again = result(session, "model both --again")
    assert not any("adapter" in note for note in again.notes)
    assert [each.name for each in result(session, "edits").rows] == ["both-adapter"]
    result(session, "model plain --again")
    result(session, "undo")
    result(session, "model both")
    assert [row.name for row in result(session, "adapter").rows] == ["both-adapter"]


def test_a_session_comes_back_with_it_or_without_it_as_it_was(session: Session) -> None:
    for line in ("edits", "undo"):
        result(session, "model both --again")
        result(session, line)
        back = Session(session.home)
        assert finished(saved_state.restore(back, saved_state.kept(session))) == ()
        assert torch.equal(logits(back), logits(session))
        back.close()


def test_an_adapter_that_cannot_go_on_is_said_to_be_off(session: Session) -> None:
    result(session, "model plain")
    plain = logits(session)
    config = json.loads(Path("both/adapter_config.json").read_text())
    Path("both/adapter_config.json").write_text(json.dumps({**config, "peft_type": "IA3"}))
    opened = result(session, "model both")
    assert opened.notes[-1].startswith("the adapter in its folder is not on: ")
    assert torch.equal(logits(session), plain)
    assert not result(session, "edits").rows
    assert not result(session, "adapter").rows


def test_an_adapter_alone_is_refused_with_its_base_and_the_line_to_type(session: Session) -> None:
    config = json.loads(Path("alone/adapter_config.json").read_text())
    Path("alone/adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "plain"}))
    refused = failure(session, "model alone")
    assert refused.message == "alone holds an adapter without its model, which is plain"
    assert refused.hint == "model plain, then adapter load alone"
    for line in refused.hint.split(", then "):
        result(session, line)
    assert [each.name for each in result(session, "edits").rows] == ["alone"]


def test_a_config_beside_an_adapter_makes_no_model_of_it(session: Session) -> None:
    shutil.copy("plain/config.json", "alone/config.json")
    assert "an adapter without its model" in failure(session, "model alone").message
    shutil.rmtree("alone/")
    assert "there is no folder" in failure(session, "model ./alone").message


def test_weights_of_any_name_are_told_from_an_adapter_s(session: Session) -> None:
    """Such a folder has no index and no model.safetensors: all its safetensors were taken for the model's."""
    from sessions.model.fingerprint import of_folder, weight_files

    for name in ("plain", "both"):
        weights = load_file(f"{name}/model.safetensors")
        Path(name, "model.safetensors").unlink()
        save_file(weights, Path(name, "weights.safetensors"), {"format": "pt"})
    assert [path.name for path in weight_files(Path("both"))] == ["weights.safetensors"]
    assert of_folder(Path("both")) == of_folder(Path("plain"))


# ---- tokens that the model has no embedding for


@pytest.mark.parametrize(
    "line",
    [
        "prompt the <image>",
        "seed <image>",
        'prob "<image>"',
        'discover "<image>"',
        'discover " a" --vs "<image>"',
        'generate --stop "<image>"',
        'rewrite L1/N3 --push "<image>" --when last',
    ],
)
def test_a_token_past_the_last_row_is_refused_where_it_is_used(empty: Session, line: str) -> None:
    """The model opens all the same, and pads with a token that it knows."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<image>", "<padding>"])
    tokenizer.pad_token = "<padding>"
    tiny("llama").save_pretrained("tiny")
    tokenizer.save_pretrained("tiny")
    result(empty, "model tiny")
    assert empty.opened().tokenizer.pad_token_id < 64
    result(empty, "prompt the cat")
    refused = failure(empty, line)
    assert (refused.error, refused.message) == (
        "usage", "'<image>' is token 64, and the model has embeddings for 64 tokens only"
    )  # fmt: skip
    assert "leave it out" in refused.hint
