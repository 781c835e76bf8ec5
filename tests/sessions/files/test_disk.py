"""Files are read as regular files, of a size that is said, and reading can be cancelled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sessions.cancel import Cancel, looking_at
from sessions.errors import ArtifactError, Cancelled
from sessions.files import disk
from sessions.files.disk import check_regular, read_file, reading


@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "/dev/tty", "."])
def test_what_is_no_regular_file_is_refused_before_anything_waits_for_it(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / name
    with pytest.raises(ArtifactError):
        read_file(path)
    with pytest.raises(ArtifactError), reading(path):
        pass
    with pytest.raises(ArtifactError):
        check_regular(path)


def test_a_file_beyond_the_limit_is_refused_with_its_size_and_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * (3 * 2**20))
    with pytest.raises(ArtifactError, match="has 3 MiB; at most 1 MiB are read"):
        read_file(path, largest=2**20)
    assert len(read_file(path, largest=3 * 2**20)) == 3 * 2**20


def test_reading_a_large_file_ends_where_the_command_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "CHUNK", 10)
    path, cancel = tmp_path / "file", Cancel()
    path.write_bytes(b"x" * 100)
    cancel.request()
    with looking_at(cancel), pytest.raises(Cancelled):
        read_file(path)
    assert len(read_file(path)) == 100
