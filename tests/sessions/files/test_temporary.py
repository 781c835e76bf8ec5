"""What is not whole is nobody's: of a writer that was killed nothing stays, of one that works nothing is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sessions.files import disk
from sessions.files.temporary import put_in_place, swept_home, temporary_folder

ROOT = Path(__file__).parents[3]


def hidden(folder: Path) -> list[str]:
    """The hidden files and folders below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of killing every writer at each of its touches of the disk."""
    command = [sys.executable, "-m", "tests.killing", str(tmp_path_factory.mktemp("kills") / "home")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("kind", ["file", "adapter", "shared adapter", "round", "atlas", "model", "replaced"])
def test_wherever_a_writer_is_killed_nothing_hidden_is_left_once_another_session_has_begun(
    kind: str, told: dict[str, Any]
) -> None:
    """And a folder that is to be replaced is there, or the new one is."""
    assert told[kind]["met"] and told[kind]["whole"]
    assert told[kind]["left"] == []


def test_a_writer_that_works_is_left_alone_and_so_is_what_it_holds(home: Path) -> None:
    home.mkdir()
    with temporary_folder(home / "adapters") as folder:
        (folder / "weights").write_bytes(b"1")
        swept_home(home)
        with temporary_folder(home / "adapters"):
            pass
        assert (folder / "weights").read_bytes() == b"1"
        folder.rename(home / "adapters" / "one")
    assert hidden(home) == []
    assert (home / "adapters" / "one" / "weights").exists()


def test_a_file_that_is_being_written_is_left_alone(home: Path) -> None:
    home.mkdir()
    with disk.turn(home):
        (home / f".1{disk.TEMPORARY}").write_bytes(b"half")
        swept_home(home)
        assert hidden(home) == [f".1{disk.TEMPORARY}"]
    swept_home(home)
    assert hidden(home) == []


def test_where_nobody_can_know_whether_a_writer_is_gone_its_work_stays(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk without locks."""
    home.mkdir()
    monkeypatch.setattr("fcntl.flock", _no_locks)
    with closing(_abandoned(home)) as folder:
        swept_home(home)
        assert next(folder).exists()


def _no_locks(*_: object) -> None:
    raise OSError(37, "no locks available")


def _abandoned(home: Path) -> Iterator[Path]:
    with temporary_folder(home) as folder:
        yield folder
        yield folder


def test_a_folder_that_cannot_be_put_in_its_place_leaves_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, rename = tmp_path / "place", Path.rename
    place.mkdir()
    (place / "weights").write_bytes(b"old")

    def refused(path: Path, target: Path) -> Path:
        if target == place and path.suffix == ".wb-work":
            raise OSError(28, "no space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OSError, match="no space left"), temporary_folder(tmp_path) as folder:
        put_in_place(folder, place)
    assert (place / "weights").read_bytes() == b"old"
    assert hidden(tmp_path) == []


def test_remains_of_earlier_versions_go_after_a_day_and_other_hidden_things_never(home: Path) -> None:
    name, long_ago = "0123456789abcdef", time.time() - 2 * 24 * 3600
    for folder in (f"rounds/.{name}", f"adapters/.{name}.wb-tmp", f"sweeps/.{name}", "rounds/.git"):
        (home / folder).mkdir(parents=True)
        os.utime(home / folder, (long_ago, long_ago))
    (home / f"rounds/.{name[::-1]}").mkdir()
    swept_home(home)
    assert hidden(home) == ["rounds/.fedcba9876543210", "rounds/.git", f"sweeps/.{name}"]
