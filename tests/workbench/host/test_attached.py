"""`workbench.attach`: the verbs of a running host's session as methods, beside other clients."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest
import torch

import workbench
from sessions import results
from sessions.errors import Cancelled, UsageError, WorkbenchError
from sessions.events import Event, Progress, Result, Started
from tests.workbench.host.conftest import TEXT, done, idle, setting, until
from workbench.attached import AttachedWorkbench
from workbench.host.client import Client
from workbench.host.messages import Numbered
from workbench.host.places import HostError
from workbench.host.starting import find, kill


def attached(client: Client) -> AttachedWorkbench:
    return workbench.attach("one", home=client.home, progress=False)


def test_a_method_runs_in_the_host_and_returns_the_same_data(kept: Client) -> None:
    with attached(kept) as wb:
        shown = wb.set("rows", 7)
        assert isinstance(shown, results.SettingsShown) and shown.settings["rows"] == "7"
        assert setting(kept, "rows") == "7"
        assert len(wb.top(5).to_pandas()) == 5
        assert wb.exec("  # nothing") is None
        assert wb.home == kept.home and "host one" in repr(wb)
        wb.set("rows", 30)


def test_others_see_what_python_does_and_who_does_it(kept: Client) -> None:
    since = kept.welcome().next
    with attached(kept) as wb:
        wb.tokens()
    watcher = find("one", kept.home)
    assert watcher is not None
    with closing(watcher.attach(since)) as replies:
        started = next(each for each in replies if isinstance(each, Numbered))
    event = started.told()
    assert isinstance(event, Started) and event.line == "tokens"
    assert started.author == f"python {os.getpid()}"


def test_what_another_client_changes_is_there_for_python(kept: Client) -> None:
    with attached(kept) as wb:
        done(kept, "prompt --raw 'the cat'")
        assert wb.prompt().encoded.prompt.text == "the cat"
        done(kept, f"prompt --raw '{TEXT}'")


def test_a_command_that_fails_raises_as_it_does_at_home(kept: Client) -> None:
    with attached(kept) as wb:
        with pytest.raises(UsageError) as failed:
            wb.set("tpo", 5)
        assert failed.value.hint
        with pytest.raises(WorkbenchError, match="never-saved"):
            wb.load("never-saved")
        with pytest.raises(AttributeError, match="discover"):
            _ = wb.dicsover


def test_lists_and_relative_paths_are_files_that_the_host_can_read(
    kept: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("down.txt").write_text("a dog\n")
    with attached(kept) as wb:
        found = wb.contrast(["the cat", "the hen"], "down.txt", top=4)
        assert isinstance(found, results.Discovered) and len(found.circuit) == 4
        assert list((kept.home / "given").iterdir())


def test_tensors_come_from_the_files_of_the_host(kept: Client) -> None:
    with attached(kept) as wb:
        circuit = wb.discover("a", top=20, keep_universal=True).circuit
        current = wb.tensor()
        assert current.shape == (3, 48) and current.dtype == torch.float32
        assert torch.equal(current, circuit.tensor(3, 48))
        wb.save("little", force=True)
        wb.drop("top5")
        assert torch.equal(wb.tensor("little"), current) and not torch.equal(wb.tensor(), current)
        assert torch.equal(wb.tensor("little", 1), current[1])
        made = wb.vector("joy", "a cat", "the dog", layers="1-2")
        assert [each.layer for each in made.directions] == [1, 2]
        assert wb.tensor("vector:joy").shape[0] == 2
        for words, message in (
            (("vector:none",), "none"),
            (("current", 9), "no layer 9"),
            (("vector:joy", 0), "layer 0"),
        ):
            with pytest.raises(WorkbenchError, match=message):
                wb.tensor(*words)


def test_without_a_model_there_is_no_tensor(client: Client) -> None:
    with attached(client) as wb, pytest.raises(WorkbenchError, match="no model is open"):
        wb.tensor()


def test_an_interrupt_stops_the_line_in_the_host(kept: Client) -> None:
    interrupted = False

    def interrupt(event: Event) -> None:
        nonlocal interrupted
        if isinstance(event, Started) and not interrupted:
            interrupted = True
            os.kill(os.getpid(), signal.SIGINT)

    with workbench.attach("one", home=kept.home, on_event=interrupt) as wb:
        with pytest.raises(Cancelled):
            wb.generate(max_tokens=100_000)
        idle(kept, 5)
        assert wb.set("rows", 30).settings["rows"] == "30"


def test_closing_leaves_the_host_and_its_running_line_alone(kept: Client) -> None:
    with attached(kept) as wb:
        wb.set("rows", 31)
    pid = kept.welcome().pid
    assert setting(kept, "rows") == "31"
    wb.close()
    again = attached(kept)
    assert again.set("rows", 30).settings["rows"] == "30" and kept.welcome().pid == pid


def test_a_line_that_waits_says_so(kept: Client) -> None:
    heard: list[Event] = []
    long = threading.Thread(target=lambda: list(kept.run("generate --max-tokens 60")))
    long.start()
    until(lambda: kept.welcome().busy is not None)
    with workbench.attach("one", home=kept.home, on_event=heard.append) as wb:
        wb.tokens()
    long.join(60)
    assert Progress("waiting for a line before it") in heard and isinstance(heard[-1], Result)


def test_without_a_host_the_error_says_how_to_start_one(own_home: Path) -> None:
    with pytest.raises(HostError, match="there is no host 'nobody'") as missing:
        workbench.attach("nobody", home=own_home)
    assert "workbench attach nobody" in missing.value.hint
    with pytest.raises(WorkbenchError):
        workbench.attach("../no name", home=own_home)


def test_a_host_that_ended_is_an_error_and_no_hang(client: Client) -> None:
    wb = attached(client)
    kill("one", client.home)
    with pytest.raises(HostError):
        wb.set("rows", 5)
