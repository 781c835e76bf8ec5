"""Artifacts: a name stays in its folder, a file is whole or absent, and nothing is lost by accident."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Struct

import sessions
from sessions.artifacts import Key, check_model, checked_name
from sessions.circuits.circuit import Circuit
from sessions.directions.vector import Vector
from sessions.errors import ArtifactError, UsageError
from sessions.files import tensor_file
from sessions.files.disk import binned, read_file, write_file
from sessions.files.tensor_file import Tensors
from sessions.model.info import Prompt, Token
from sessions.model.target import Target
from sessions.model.units import Unit
from sessions.store import Store, default_home

ROOT = Path(sessions.__file__).parents[1]


def circuit(n: int = 3, text: str = "What is the capital of Texas?") -> Circuit:
    return Circuit(
        neurons=tuple(Unit(24, 1005 + i, 41, 1.5 / (i + 1), -37.66956) for i in range(n)),
        prompt=Prompt(text=text),
        ids=tuple(range(42)),
        tokens=tuple(f"<{i}>" for i in range(42)),
        target=Target(tokens=(Token(19292, " Austin"),), counterfactual=Token(17364, " Houston"), value=1.94),
        method="lrp",
        attention="frozen",
        chosen="top 3",
        conservation=1e-7,
        total=8.8,
        model="smollm2",
        fingerprint="f00d",
        name="texas",
    )


def save(store: Store, name: str = "texas", body: Struct | None = None, force: bool = False) -> Path:
    return store.save(
        "circuit",
        name,
        body or circuit(),
        model="smollm2",
        fingerprint="f00d",
        command=f"save {name}",
        force=force,
    )


def hidden(folder: Path) -> list[str]:
    return [name for _, _, names in os.walk(folder) for name in names if name.startswith(".")]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


# ---- names


@given(st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9._/~-]{0,70}", fullmatch=True))
@example("..")
@example("a\n")
@example("x" * 64)
@example("x" * 65)
@example("texas٣")
def test_any_text_is_refused_as_a_name_or_stays_in_its_folder(name: str) -> None:
    for kind, folder in (("circuit", "circuits"), ("vector", "vectors")):
        try:
            path = Store(Path("/home/user/wb")).path(kind, name)
        except ArtifactError as error:
            assert error.hint
            continue
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name)
        assert path.parent == Path("/home/user/wb") / folder
        assert Path(os.path.normpath(path)) == path
        with pytest.raises(UsageError):
            Unit.parse(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("~/x", "absolute"),
        ("C:\\x", "absolute"),
        ("../x", "is a path"),
        ("a/b", "is a path"),
        ("x" * 65, "65 characters"),
        (".hidden", "starts with '.'"),
        ("-x", "starts with '-'"),
        ("two words", "has ' ' in it"),
        ("naïve", "has 'ï' in it"),
        ("texas\n", "has '\\n' in it"),
        ("all", "selected"),
        ("ALL", "selected"),
        ("suppressed", "selected"),
        ("top10", "selected"),
        ("top10-texas", "selected"),
        ("recruits", "selected"),
        ("recruits2", "selected"),
        ("L24", "selected"),
        ("L9-26", "selected"),
        ("L24N1005", "selected"),
    ],
)
def test_a_refused_name_says_why(name: str, reason: str) -> None:
    with pytest.raises(ArtifactError, match=re.escape(reason)) as caught:
        checked_name(name)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["texas", "top", "topology", "Texas-2", "llama3", "L", "Lisbon", "0", "a.b", "allied"])
def test_ordinary_names_are_accepted(name: str) -> None:
    assert checked_name(name) == name


# ---- save and load


def test_a_saved_artifact_loads_as_it_was_saved(store: Store) -> None:
    path = save(store)
    header, body = store.load("circuit", "texas", Circuit)
    assert body == circuit()
    assert path == store.home / "circuits" / "texas.json"
    assert (header.kind, header.name, header.model, header.fingerprint) == ("circuit", "texas", "smollm2", "f00d")
    assert (header.command, header.size) == ("save texas", 3)
    assert header.target == 'logit " Austin" − logit " Houston"'
    assert not hidden(store.home)


def test_a_saved_file_can_be_read_by_people(store: Store) -> None:
    lines = save(store).read_text().splitlines()
    assert [line.count('"index"') for line in lines if "index" in line] == [1, 1, 1]
    assert max(map(len, lines)) <= 120
    assert len(lines) < 60


def test_laying_a_file_out_anew_does_not_spoil_it(store: Store) -> None:
    path = save(store)
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True, indent=7))
    assert store.load("circuit", "texas", Circuit)[1] == circuit()


def test_a_taken_name_is_refused_and_the_first_version_stays(store: Store) -> None:
    save(store)
    with pytest.raises(ArtifactError, match="'texas' exists already") as caught:
        save(store, body=circuit(9))
    assert "--force" in caught.value.hint
    assert len(store.load("circuit", "texas", Circuit)[1]) == 3
    assert not hidden(store.home)


def test_force_replaces_and_keeps_the_earlier_version(store: Store) -> None:
    save(store)
    save(store, body=circuit(9), force=True)
    assert len(store.load("circuit", "texas", Circuit)[1]) == 9
    store.delete("circuit", "texas")
    store.restore("circuit", "texas")
    assert len(store.load("circuit", "texas", Circuit)[1]) == 9
    kept = list((store.home / "trash").rglob("texas~*.json"))
    assert len(kept) == 1
    assert json.loads(kept[0].read_text())["size"] == 3


@pytest.mark.parametrize(
    ("attribution", "said"), [(float("nan"), "neurons[0].attribution is nan"), (float("inf"), "is inf")]
)
def test_a_number_that_json_cannot_say_is_refused_instead_of_lost(store: Store, attribution: float, said: str) -> None:
    body = circuit().with_neurons((Unit(1, 2, 3, attribution),), "top 1")
    with pytest.raises(ArtifactError, match=re.escape(said)):
        save(store, body=body)
    assert not store.home.exists()


def test_text_that_is_not_unicode_is_refused(store: Store) -> None:
    with pytest.raises(ArtifactError, match="not valid Unicode"):
        save(store, body=circuit(text="\udcff"))


def test_a_missing_name_is_answered_with_the_nearest(store: Store) -> None:
    with pytest.raises(ArtifactError, match="no circuit is called 'texsa'") as caught:
        store.load("circuit", "texsa", Circuit)
    assert "has been saved" in caught.value.hint
    save(store)
    with pytest.raises(ArtifactError) as caught:
        store.delete("circuit", "texsa")
    assert caught.value.hint == "did you mean texas?"


# ---- damaged files


def test_broken_json_is_reported_with_line_and_column(store: Store) -> None:
    path = save(store)
    path.write_bytes(b'{\n "kind": "circuit",\n "for mat" 1}')
    with pytest.raises(ArtifactError, match=r"texas\.json is malformed at line 3, column 12"):
        store.load("circuit", "texas", Circuit)


def test_a_file_cut_short_anywhere_is_an_error_and_never_a_circuit(store: Store) -> None:
    path = save(store)
    whole = path.read_bytes()
    # Cutting off the final newline alone leaves all of the JSON.
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=re.escape(str(path))):
            store.load("circuit", "texas", Circuit)


def test_a_changed_body_is_noticed(store: Store) -> None:
    path = save(store)
    path.write_text(path.read_text().replace('"index":1005', '"index":1006'))
    with pytest.raises(ArtifactError, match="changed or damaged"):
        store.load("circuit", "texas", Circuit)


def test_a_body_of_another_shape_is_reported_with_its_place(store: Store) -> None:
    class Other(Struct):
        neurons: list[dict[str, str]]

    save(store, body=Other([{"layer": "x"}]))
    with pytest.raises(ArtifactError, match=re.escape("`$.neurons[0].layer`")):
        store.load("circuit", "texas", Circuit)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("kind", "vector", "holds a vector, not a circuit"),
        ("format", 2, "has format 2"),
        ("name", "austin", "saved under the name 'austin'"),
        ("format", "one", "`$.format`"),
        ("model", None, "`$.model`"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(store: Store, field: str, value: object, said: str) -> None:
    path = save(store)
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ArtifactError, match=re.escape(said)):
        store.load("circuit", "texas", Circuit)
    assert said in store.rows()[0].error


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "ends too early"),
        (b'{"kind": "\xff"}', "not UTF-8 text: line 1, column 11"),
        (b'"kind"', "Expected `object`"),
        (b"[" * 100_000, "malformed"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_a_file_of_something_else_is_refused(store: Store, data: bytes, said: str) -> None:
    path = save(store)
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=said):
        store.load("circuit", "texas", Circuit)


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(513 * 2**20)
    with pytest.raises(ArtifactError, match="513 MiB; at most 512"):
        read_file(path)


def test_a_named_pipe_and_a_folder_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ArtifactError, match="not a regular file"):
            read_file(path)


# ---- vectors: the same promises in another layout


def save_vector(store: Store, name: str = "calm", scale: float = 1.0, force: bool = False) -> Path:
    body = Vector("mlp_out", {9: scale * torch.ones(3), 10: torch.tensor([0.5, -2.0, 3.0])}, 4, 2, "llama")
    return store.save(
        "vector", name, body, model="smollm2", fingerprint="f00d", command=f"vector {name} a b", force=force
    )


def test_a_vector_keeps_the_header_of_a_circuit(store: Store) -> None:
    path = save_vector(store)
    assert path == store.home / "vectors" / "calm.safetensors"
    header, body = store.load("vector", "calm", Vector)
    assert (header.kind, header.format, header.name, header.model) == ("vector", 1, "calm", "smollm2")
    assert (header.fingerprint, header.command, header.size) == ("f00d", "vector calm a b", 2)
    assert header.target == body.site == "mlp_out"
    assert header.created.endswith("Z")
    assert not hidden(store.home)


def test_a_circuit_and_a_vector_can_have_one_name(store: Store) -> None:
    save(store, "both")
    save_vector(store, "both")
    assert [(row.name, row.kind, row.error) for row in store.rows()] == [
        ("both", "circuit", ""),
        ("both", "vector", ""),
    ]
    store.delete("vector", "both")
    assert (store.names("circuit"), store.names("vector")) == (["both"], [])
    store.restore("vector", "both")
    assert [row.kind for row in store.rows("vector")] == ["vector"]
    with pytest.raises(ArtifactError) as caught:
        store.restore("vector", "neither")
    assert "no vector called 'neither' was deleted" in caught.value.message


def test_a_replaced_vector_is_kept_and_a_taken_name_refused(store: Store) -> None:
    save_vector(store)
    with pytest.raises(ArtifactError, match="vector 'calm' exists already"):
        save_vector(store, scale=2)
    save_vector(store, scale=2, force=True)
    assert store.load("vector", "calm", Vector)[1].directions[9].tolist() == [2, 2, 2]
    store.delete("vector", "calm")
    assert len(list((store.home / "trash" / "vectors").glob("calm~*.safetensors"))) == 2
    store.restore("vector", "calm")
    assert store.load("vector", "calm", Vector)[1].directions[9].tolist() == [2, 2, 2]


def test_every_changed_byte_of_a_vector_is_refused_or_changes_nothing(store: Store) -> None:
    path = save_vector(store)
    whole = path.read_bytes()
    refused = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x11]) + whole[at + 1 :])
        try:
            header, body = store.load("vector", "calm", Vector)
        except ArtifactError as error:
            refused += 1
            assert str(path) in error.message
            continue
        assert (header.fingerprint, header.model, body.site) == ("f00d", "smollm2", "mlp_out")
        assert body.directions[10].tolist() == [0.5, -2.0, 3.0]
    assert refused == len(whole)


def test_a_vector_cut_short_anywhere_is_an_error(store: Store) -> None:
    path = save_vector(store)
    whole = path.read_bytes()
    for data in (*(whole[:length] for length in range(len(whole))), whole + b"0"):
        path.write_bytes(data)
        with pytest.raises(ArtifactError, match=re.escape(str(path))):
            store.load("vector", "calm", Vector)
        (row,) = store.rows("vector")
        assert row.name == "calm" and str(path) in row.error


def altered(path: Path, **fields: str | None) -> None:
    """The file with other texts in its header, and a sha256 that fits them."""
    contents = tensor_file.read(path.read_bytes(), str(path))
    texts = {name: text for name, text in {**contents.fields, **fields}.items() if text is not None}
    texts.pop("sha256", None)
    texts["sha256"] = tensor_file.digest(texts, contents.tensors)
    path.write_bytes(tensor_file.written(Tensors(texts, contents.tensors)))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "circuit"}, "holds a circuit, not a vector"),
        ({"format": "2"}, "has format 2"),
        ({"format": "one"}, "`$.format`"),
        ({"kind": None}, "missing required field `kind`"),
        ({"model": None}, "missing required field `model`"),
        ({"name": "angry"}, "saved under the name 'angry'"),
        ({"site": "attention"}, "at the unknown site"),
    ],
)
def test_a_vector_whose_header_does_not_fit_is_refused(store: Store, fields: dict[str, str | None], said: str) -> None:
    path = save_vector(store)
    altered(path)
    store.load("vector", "calm", Vector)
    altered(path, **fields)
    with pytest.raises(ArtifactError, match=re.escape(said)):
        store.load("vector", "calm", Vector)


def test_a_file_of_the_other_kind_under_a_kinds_name_is_refused(store: Store) -> None:
    as_circuit, as_vector = save(store), save_vector(store)
    json_bytes, tensor_bytes = as_circuit.read_bytes(), as_vector.read_bytes()
    as_circuit.write_bytes(tensor_bytes)
    as_vector.write_bytes(json_bytes)
    with pytest.raises(ArtifactError, match=r"texas\.json is (malformed|not UTF-8)"):
        store.load("circuit", "texas", Circuit)
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        store.load("vector", "calm", Vector)
    assert len([row for row in store.rows() if row.error]) == 2


def test_a_pickle_is_never_loaded(store: Store) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return pytest.fail, ("a pickle was loaded",)

    path = save_vector(store)
    torch.save({"layer.9": Bomb()}, path)
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        store.load("vector", "calm", Vector)
    assert store.rows("vector")[0].error


def test_what_safetensors_of_others_hold_is_no_vector(store: Store) -> None:
    path = save_vector(store)
    path.write_bytes(safetensors.torch.save({"weight": torch.ones(2)}, {"format": "pt"}))
    with pytest.raises(ArtifactError, match="was not written by this workbench"):
        store.load("vector", "calm", Vector)


def test_a_vector_with_text_that_is_not_unicode_is_refused(store: Store) -> None:
    with pytest.raises(ArtifactError, match="not valid Unicode"):
        store.save(
            "vector",
            "calm",
            Vector("mlp_out", {0: torch.ones(2)}, 1, 1, "llama"),
            model="",
            fingerprint="",
            command="vector calm \udcff b",
        )
    assert not store.home.exists()


def test_a_key_says_which_kind_it_means() -> None:
    assert [str(Key("circuit", "texas")), str(Key("vector", "calm"))] == ["texas", "vector:calm"]


# ---- listing


def test_a_damaged_file_is_a_row_with_its_error(store: Store) -> None:
    save(store)
    path = save(store, "broken")
    path.write_bytes(path.read_bytes()[:200])
    (path.parent / "two words.json").write_text("{}")
    (path.parent / "notes.txt").write_text("mine")
    (path.parent / "folder.json").mkdir()
    broken, folder, texas, words = store.rows("circuit")
    assert "malformed at line" in broken.error
    assert "not a regular file" in folder.error
    assert words.name == "two words" and "malformed" in words.error
    assert (texas.error, texas.size, texas.model) == ("", 3, "smollm2")
    assert texas.modified.endswith("Z") and texas.bytes > 1000
    assert store.names("circuit") == ["broken", "folder", "texas"]


def test_a_listing_reads_no_numbers_and_loading_finds_that_they_were_changed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_vector(store)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArtifactError, match="changed or damaged"):
        store.load("vector", "calm", Vector)
    monkeypatch.setattr("sessions.store.read_file", lambda *_: pytest.fail("the whole file was read"))
    (row,) = store.rows("vector")
    assert (row.name, row.error, row.fingerprint, row.bytes) == ("calm", "", "f00d", len(whole))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "circuit"}, "holds a circuit, not a vector"),
        ({"format": "2"}, "has format 2"),
        ({"model": None}, "missing required field `model`"),
        ({"name": "angry"}, "saved under the name 'angry'"),
    ],
)
def test_a_header_that_does_not_fit_is_a_row_with_its_error(
    store: Store, fields: dict[str, str | None], said: str
) -> None:
    altered(save_vector(store), **fields)
    (row,) = store.rows("vector")
    assert row.name == "calm" and said in row.error


def test_listing_names_never_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Store(tmp_path / "file").names("circuit") == []
    assert Store(tmp_path / "nowhere").names("circuit") == []
    assert Store(tmp_path).names("no such kind") == []
    assert Store(tmp_path / "nowhere").rows() == []


# ---- delete and restore


def test_a_deleted_artifact_can_be_brought_back(store: Store) -> None:
    save(store)
    kept = store.delete("circuit", "texas")
    assert (store.home / kept).is_file()
    assert store.names("circuit") == []
    assert store.restore("circuit", "texas").is_file()
    assert store.load("circuit", "texas", Circuit)[1] == circuit()
    assert not list((store.home / "trash").rglob("*.json"))


def test_what_was_never_deleted_cannot_be_restored(store: Store) -> None:
    with pytest.raises(ArtifactError, match="no circuit called 'texas' was deleted"):
        store.restore("circuit", "texas")


def test_the_version_deleted_last_is_restored_and_a_taken_name_is_not_overwritten(store: Store) -> None:
    for size in (1, 2):
        save(store, body=circuit(size))
        store.delete("circuit", "texas")
    save(store, body=circuit(5))
    with pytest.raises(ArtifactError, match="exists already"):
        store.restore("circuit", "texas")
    assert len(store.load("circuit", "texas", Circuit)[1]) == 5
    store.path("circuit", "texas").unlink()
    store.restore("circuit", "texas")
    assert len(store.load("circuit", "texas", Circuit)[1]) == 2


def test_a_damaged_artifact_can_be_deleted(store: Store) -> None:
    save(store).write_bytes(b"{")
    store.delete("circuit", "texas")
    assert store.rows() == []


# ---- homes that do not work


def test_the_home_is_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "here"))
    assert default_home() == tmp_path / "here"
    assert Store().models == tmp_path / "here" / "models"
    monkeypatch.setenv("WORKBENCH_HOME", "")
    assert default_home().name == "workbench"
    monkeypatch.setenv("WORKBENCH_HOME", "~no-such-user-here/wb")
    with pytest.raises(ArtifactError, match="WORKBENCH_HOME"):
        default_home()


def test_a_home_that_cannot_be_written_names_the_path_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for home in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/workbench-home")):
        with pytest.raises(ArtifactError) as caught:
            save(Store(home))
        assert str(home) in caught.value.message
        assert "WORKBENCH_HOME" in caught.value.hint
    assert (tmp_path / "file").read_text() == "precious"


def test_a_home_that_is_a_file_fails_every_verb_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file")
    for act in (
        lambda: store.load("circuit", "texas", Circuit),
        lambda: store.delete("circuit", "texas"),
        store.rows,
    ):
        with pytest.raises(ArtifactError) as caught:
            act()
        assert "WORKBENCH_HOME" in caught.value.hint


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Without the rights of root, for whom every file is writable."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_home_can_be_read_and_an_unreadable_one_says_so() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        store = Store(Path(folder) / "home")
        save(store)
        circuits = store.home / "circuits"
        for each in (circuits, store.home):
            each.chmod(0o555)
        (circuits / "texas.json").chmod(0o444)
        with an_ordinary_user():
            assert store.load("circuit", "texas", Circuit)[1] == circuit()
            for act in (lambda: save(store, "austin"), lambda: store.delete("circuit", "texas")):
                with pytest.raises(ArtifactError, match="Permission denied") as caught:
                    act()
                assert "WORKBENCH_HOME" in caught.value.hint
        circuits.chmod(0o000)
        with an_ordinary_user():
            with pytest.raises(ArtifactError, match="Permission denied"):
                store.rows()
            with pytest.raises(ArtifactError, match="Permission denied"):
                store.load("circuit", "texas", Circuit)
            assert store.names("circuit") == []
        circuits.chmod(0o755)
        store.home.chmod(0o755)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The nearest thing to a full disk: a write beyond `size` bytes of a file fails, after a partial one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_leaves_no_trace(store: Store) -> None:
    save(store)
    before = store.path("circuit", "texas").read_bytes()
    with files_of_at_most(1000):
        for name, force in (("austin", False), ("texas", True)):
            with pytest.raises(ArtifactError, match="cannot write") as caught:
                save(store, name, force=force)
            assert "free some space" in caught.value.hint
    assert store.names("circuit") == ["texas"]
    assert store.path("circuit", "texas").read_bytes() == before
    assert not hidden(store.home)
    assert not (store.home / "trash").exists()


def test_an_export_is_whole_and_does_not_overwrite(tmp_path: Path) -> None:
    path = write_file(tmp_path / "new" / "out.csv", b"a")
    with pytest.raises(ArtifactError, match=re.escape(f"{path} exists already")):
        write_file(path, b"b")
    assert write_file(path, b"c", force=True).read_bytes() == b"c"
    assert [each.name for each in path.parent.iterdir()] == ["out.csv"]
    with pytest.raises(ArtifactError) as caught:
        write_file(path / "below", b"d")
    assert "WORKBENCH_HOME" not in caught.value.hint


# ---- several processes

SAVING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import msgspec
from msgspec import Struct
from sessions.errors import ArtifactError
from sessions.store import Store

class Body(Struct):
    who: str
    numbers: list[int]

def save(name, force):
    body = Body(sys.argv[3], list(range(100_000)))
    Store(Path(sys.argv[2])).save("circuit", name, body, model="", fingerprint="", command="", force=force)
"""

ONE_NAME_AT_ONCE = (
    SAVING
    + """
print("ready", flush=True)
sys.stdin.readline()
won = 0
for i in range(10):
    try:
        save(f"n{i}", False)
        won |= 1 << i
    except ArtifactError as error:
        assert "exists already" in error.message, error
for i in range(10):
    save("shared", True)
print(won)
"""
)

FOR_EVER = (
    SAVING
    + """
i = 0
while True:
    save(f"n{i % 3}", True)
    if i == 0:
        print("saving", flush=True)
    i += 1
"""
)


class Body(Struct):
    who: str
    numbers: list[int]


def start(script: str, home: Path, who: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(ROOT), str(home), who],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_when_two_processes_save_one_name_exactly_one_wins(store: Store) -> None:
    with start(ONE_NAME_AT_ONCE, store.home, "a") as first, start(ONE_NAME_AT_ONCE, store.home, "b") as second:
        for process in (first, second):
            assert process.stdout and process.stdout.readline() == "ready\n"
        for process in (first, second):
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        won = {who: int(process.communicate()[0]) for who, process in (("a", first), ("b", second))}
    assert (first.returncode, second.returncode) == (0, 0)
    assert won["a"] ^ won["b"] == won["a"] | won["b"] == 0b11_1111_1111
    for i in range(10):
        _, body = store.load("circuit", f"n{i}", Body)
        assert won[body.who] & 1 << i
    # Twenty forced saves of one name: one is current, each of the others is kept.
    assert store.load("circuit", "shared", Body)[1].numbers == list(range(100_000))
    assert len(list((store.home / "trash").rglob("shared~*.json"))) == 19
    assert not hidden(store.home)


def test_a_process_killed_while_saving_leaves_only_whole_artifacts(store: Store) -> None:
    cut_short = 0
    for attempt in range(6):
        with start(FOR_EVER, store.home, "a") as process:
            assert process.stdout and process.stdout.readline() == "saving\n"
            if attempt % 2:
                time.sleep(random.uniform(0, 0.05))
            else:
                end = time.monotonic() + 2
                while not hidden(store.home) and time.monotonic() < end:
                    pass
            process.send_signal(signal.SIGKILL)
        cut_short += bool(hidden(store.home))
        rows = store.rows()
        assert rows and not [row.error for row in rows if row.error]
        assert {row.name for row in rows} == set(store.names("circuit")) <= {"n0", "n1", "n2"}
        for row in rows:
            assert store.load("circuit", row.name, Body)[1].who == "a"
    assert cut_short, "no process died between the first byte and the link"
    save(store, "next")
    assert not hidden(store.home)


# ---- other models


def test_an_artifact_of_another_model_is_refused_naming_both() -> None:
    assert check_model("f00d", "smollm2", "f00d", "smollm2") == ""
    with pytest.raises(ArtifactError, match=r"made on gemma3-270m, and smollm2 is open") as caught:
        check_model("beef", "gemma3-270m", "f00d", "smollm2")
    assert "--force" in caught.value.hint
    assert "gemma3-270m" in check_model("beef", "gemma3-270m", "f00d", "smollm2", force=True)
    assert "does not say" in check_model("", "", "f00d", "smollm2")


def test_the_same_name_over_other_weights_is_told_apart_by_fingerprint() -> None:
    with pytest.raises(ArtifactError, match=r"smollm2 with other weights \(beef, not f00d\)"):
        check_model("beef", "smollm2", "f00d", "smollm2")


def test_what_was_deleted_last_comes_back_first_though_the_clock_went_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        back = timedelta(0)

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) - cls.back

    monkeypatch.setattr("sessions.files.disk.datetime", Clock)
    for size in (1, 2, 3):
        Clock.back = timedelta(days=400 * size)
        save(store, body=circuit(size))
        store.delete("circuit", "texas")
    for size in (3, 2, 1):
        store.restore("circuit", "texas")
        assert len(store.load("circuit", "texas", Circuit)[1]) == size
        store.path("circuit", "texas").unlink()


def test_what_is_deleted_goes_behind_all_that_is_in_the_trash(tmp_path: Path) -> None:
    (tmp_path / "x~99991231T235959.000000-00").touch()
    for odd in ("x~", "x~yesterday-1", "x~99991231T235959.999999-00", "xy~20200101T000000.000000-00"):
        (tmp_path / odd).touch()
    assert binned(tmp_path, "x", ".json").name.startswith("x~99991231T235959.000001-")
    assert binned(tmp_path, "xy").name > "xy~2020"
