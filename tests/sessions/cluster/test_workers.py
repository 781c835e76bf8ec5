"""Verbs on a real Ray cluster of several nodes: what one process finds, to the bit, whatever happens to the nodes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from commands import run
from sessions.cluster import carried, connecting, workers
from sessions.edits.edit import Edit, Neurons
from sessions.errors import ModelError
from sessions.events import Event, Failed, Progress, Result
from sessions.files.disk import read_file
from sessions.model.opening import adopt
from sessions.session import Session
from tests.commands.driving import failure, failure_in, result, unharmed
from tests.families import tiny, tiny_tokenizer

pytest.importorskip("ray")
from ray.cluster_utils import Cluster

ROOT = Path(__file__).parents[3]
PROMPTS = ("the cat", "a hen sat on", "in the end", "he is", "on and on", "then he", "a cat in a hat")
EVALUATE = "evaluate tasks.jsonl --batch 2 --unrelated docs.txt --arms base,edit --force --keep texts.jsonl"
SWEEP = "sweep all 0 0.5 1 2 --prompts keys.jsonl --raw --batch 4"
FAITHFULNESS = "faithfulness keys.jsonl --raw --sizes 5,10 --batch 32"
DISCOVER = "discover --prompts keys.jsonl --raw --top 20 --keep-universal --batch 24"
ATLAS = "atlas build {name} --corpus docs.txt --length 64 --batch 128"


class Nodes:
    """A cluster of this machine: a head that computes nothing, and nodes of one processor."""

    def __init__(self) -> None:
        self._cluster = Cluster(initialize_head=True, head_node_args={**self._small, "num_cpus": 0})
        self.nodes = [self.add(), self.add()]
        self.on = f"--on ray:{self._cluster.address}"

    @property
    def _small(self) -> dict[str, Any]:
        return {"object_store_memory": 80_000_000, "include_dashboard": False}

    def add(self) -> Any:
        return self._cluster.add_node(num_cpus=1, **self._small)

    def kill(self, node: Any) -> None:
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        nodes = Nodes()
        yield nodes
        nodes.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a tiny model, tasks, prompts and documents."""
    folder = tmp_path_factory.mktemp("cluster")
    tiny("llama").save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    tasks = [{"prompt": prompt, "answer": "[aeiou]", "check": "regex"} for prompt in PROMPTS]
    keys = [{"prompt": prompt, "target": " a", "counterfactual": " q", "raw": True} for prompt in PROMPTS]
    for name, rows in (("tasks", tasks), ("keys", keys)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    documents = ("the cat sat on the hen " * count + chr(97 + count) for count in range(1, 24))
    (folder / "docs.txt").write_text("\n\n".join(documents))
    return folder


@pytest.fixture(scope="module")
def opened(folder: Path, cluster: Nodes) -> Iterator[Session]:
    """A session with an edit, a suppressed neuron, a live intervention and a circuit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        session = Session(folder / "home")
        for line in ("model model", "set max_tokens 6", "prompt the cat", "suppress L1/N3", "amplify L2/N5 2 --live"):
            result(session, line)
        values = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
        session.take_edit(Edit("test", "noise", (Neurons(1, "down", (0, 3, 5, 7), values),)), "noise", "test")
        result(session, DISCOVER)
        yield session
        session.close()
    torch.set_num_threads(threads)


@pytest.fixture
def session(opened: Session, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sessions.atlas.building.CHUNK", 3)
    return opened


def data(value: Any) -> Any:
    """A result without what differs from run to run: seconds, names of files, and the order of nothing else."""
    plain = msgspec.to_builtins(value)
    for score in plain.get("scores", ()):
        score["seconds"] = 0
    return {key: plain[key] for key in plain if key not in ("kept", "name", "path")}


def atlas(session: Session, name: str) -> bytes:
    """The tensors in the file of an atlas."""
    file = read_file(session.home / "atlases" / f"{name}.safetensors")
    return file[8 + int.from_bytes(file[:8], "little") :]


def interrupted(session: Session, line: str, act: Callable[[], None], label: str, done: float = 0) -> list[Event]:
    """The events of a line; once its progress is past `done`, something happens."""
    events: list[Event] = []
    acted = False
    for event in run(session, line):
        events.append(event)
        if isinstance(event, Progress) and label in event.label and event.done > done and not acted:
            act()
            acted = True
    assert acted
    return events


def value_in(events: list[Event]) -> Any:
    assert not [event for event in events if isinstance(event, Failed)], events[-2:]
    return next(event.value for event in events if isinstance(event, Result))


# ---- what is refused


def test_a_worker_of_another_version_is_refused(
    session: Session, cluster: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = {**carried.code(), "sources": "others"}
    monkeypatch.setattr(carried, "code", lambda: code)
    refused = failure(session, f"{SWEEP} {cluster.on} --workers 1")
    assert refused.error == "model" and "runs other sources of the workbench" in refused.message
    assert "pip install" in refused.hint
    with pytest.raises(ModelError, match=r"runs torch .*, and this session torch 0.0.1"):
        carried.check_code({"torch": "0.0.1"}, "here")


def test_a_node_with_another_model_or_none_is_refused(session: Session, cluster: Nodes, folder: Path) -> None:
    shutil.move(folder / "model", folder / "away")
    try:
        missing = failure(session, f"{SWEEP} {cluster.on} --workers 1")
        assert "cannot open the model" in missing.message
        tiny("llama", seed=1).save_pretrained(folder / "model")
        tiny_tokenizer().save_pretrained(folder / "model")
        other = failure(session, f"{SWEEP} {cluster.on} --workers 1")
        assert "has other weights or another configuration under the name" in other.message
    finally:
        shutil.rmtree(folder / "model", ignore_errors=True)
        shutil.move(folder / "away", folder / "model")


def test_a_model_that_cannot_be_opened_by_name_is_refused(tmp_path: Path, folder: Path) -> None:
    made = Session(tmp_path)
    made.use_model(adopt(tiny("llama"), tiny_tokenizer(), name="tiny"))
    refused = failure(made, f"evaluate {folder / 'tasks.jsonl'} --on ray:127.0.0.1:6379")
    assert "tiny was given from memory" in refused.message and "model FOLDER" in refused.hint


def test_an_address_where_nobody_answers_is_refused(session: Session) -> None:
    for address, said in (("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"), ("here", "is not an address")):
        assert said in failure(session, f"{SWEEP} --on ray:{address}").message
    assert "'spark' is not a cluster" in failure(session, f"{SWEEP} --on spark").message
    assert "--workers is for a cluster" in failure(session, f"{SWEEP} --workers 2").message
    assert "is for many prompts" in failure(session, "discover a --on ray").message


def test_without_ray_one_error_says_how_to_install_it(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting.importlib.util, "find_spec", lambda name: None)
    refused = failure(session, f"{SWEEP} --on ray")
    assert "which is not installed" in refused.message and refused.hint == "pip install 'neuron-workbench[ray]'"
    result(session, SWEEP)


# ---- what is found


@pytest.mark.parametrize(
    "line", [EVALUATE, SWEEP, FAITHFULNESS, DISCOVER, FAITHFULNESS.replace(" --sizes 5,10", " --curve")]
)
def test_workers_find_what_one_process_finds(session: Session, cluster: Nodes, line: str) -> None:
    alone = result(session, line)
    texts = Path("texts.jsonl").read_bytes() if line == EVALUATE else b""
    shared = result(session, f"{line} {cluster.on}")
    assert data(shared) == data(alone)
    assert any("L1/N3" in note for note in shared.notes)
    if line == EVALUATE:
        assert Path("texts.jsonl").read_bytes() == texts


def test_an_atlas_of_workers_has_the_same_bits(session: Session, cluster: Nodes) -> None:
    alone = result(session, ATLAS.format(name="alone"))
    shared = result(session, f"{ATLAS.format(name='shared')} {cluster.on}")
    assert data(shared) == data(alone) and atlas(session, "shared") == atlas(session, "alone")
    line = session.store.rows("atlas")
    assert all("--on" not in row.command for row in line)


def test_more_workers_than_there_is_room_for_are_refused(session: Session, cluster: Nodes) -> None:
    refused = failure(session, f"{SWEEP} {cluster.on} --workers 9")
    assert "room for 2 workers, a CPU each, not 9" in refused.message and refused.hint == "--workers 2"
    assert result(session, f"{SWEEP} {cluster.on}")


def test_what_is_on_now_is_what_workers_compute_with(session: Session, cluster: Nodes) -> None:
    result(session, f"{SWEEP} {cluster.on}")
    result(session, "edits off 1")
    result(session, "release L1/N3")
    try:
        alone = result(session, SWEEP)
        assert data(result(session, f"{SWEEP} {cluster.on}")) == data(alone)
    finally:
        result(session, "edits on 1")
        result(session, "suppress L1/N3")


def test_a_node_that_is_killed_in_the_middle_changes_nothing(session: Session, cluster: Nodes) -> None:
    alone = result(session, f"{SWEEP} --max-tokens 40")
    node = cluster.nodes.pop()
    events = interrupted(session, f"{SWEEP} --max-tokens 40 {cluster.on}", lambda: cluster.kill(node), "sweeping", 4)
    assert data(value_in(events)) == data(alone)
    cluster.nodes.append(cluster.add())


def test_a_cancelled_line_stops_its_workers_and_the_next_one_works(session: Session, cluster: Nodes) -> None:
    line = f"evaluate tasks.jsonl --batch 1 --max-tokens 100 --unrelated none {cluster.on}"
    with unharmed(session):
        failed = failure_in(interrupted(session, line, session.cancel.request, "answering"))
        assert failed.error == "cancelled"
    assert data(result(session, f"{SWEEP} {cluster.on}")) == data(result(session, SWEEP))


def test_an_error_of_a_worker_is_the_error_of_the_line(session: Session, cluster: Nodes) -> None:
    huge = Neurons(1, "up", (0,), torch.full((1, 32), 3e18))
    session.take_edit(Edit("test", "huge", (huge,)), "huge", "test")
    try:
        alone = failure(session, ATLAS.format(name="none"))
        shared = failure(session, f"{ATLAS.format(name='none')} {cluster.on}")
        assert alone.message == shared.message and "not finite" in alone.message
    finally:
        result(session, "undo")


def test_a_cluster_without_nodes_keeps_what_was_done(
    session: Session, cluster: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 1.0)
    monkeypatch.setattr("sessions.atlas.building.CHUNK", 1)

    def kill() -> None:
        while cluster.nodes:
            cluster.kill(cluster.nodes.pop())

    failed = failure_in(interrupted(session, f"{ATLAS.format(name='half')} {cluster.on}", kill, "atlas", 8))
    assert failed.error == "model" and "no node is left" in failed.message and "the same line goes on" in failed.hint
    whole = result(session, ATLAS.format(name="half"))
    assert whole.notes[0].startswith("resumed after ")
    result(session, ATLAS.format(name="one-by-one"))
    assert atlas(session, "half") == atlas(session, "one-by-one")
