"""Kills writers at each of their touches of the disk, and tells what a session finds that begins afterwards.

    python -m tests.killing FOLDER    →  JSON: by kind of writer, after how many kills something hidden had been left,
                                         what was still left once a session had begun, and whether it ended whole

A process of its own, which has no thread but one: it forks for every kill.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from sessions.adapters.adapter_store import AdapterAbout, AdapterStore, put_out
from sessions.atlas.unfinished import claimed
from sessions.edits.exporting import exported
from sessions.events import finished
from sessions.files.disk import write_file
from sessions.files.temporary import put_in_place, temporary_folder
from sessions.model.opening import OpenModel, adopt
from sessions.session import Session
from sessions.store import Store
from sessions.training.round import Rounds
from tests.adapters import small
from tests.families import tiny, tiny_tokenizer
from tests.rounds import kept

#: What a process does to a disk, as Python tells those who listen.
TOUCHES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}
#: Writing a model touches it more often than there is time for.
EVERY = {"model": 3}

Work = Callable[[], object]


def hidden(folder: Path) -> list[str]:
    """The hidden files and folders below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))


def killed_at(work: Work, touch: int) -> bool:
    """Do some work in a process that is killed before its n-th touch of the disk; False where it had ended before."""
    child = os.fork()
    if not child:
        seen = 0

        def listen(event: str, args: tuple[object, ...]) -> None:
            nonlocal seen
            writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
            seen += event in TOUCHES or bool(writes)
            if seen == touch:
                seen += 1  # for killing is told as well
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(listen)
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def kills(work: Work, every: int = 1) -> Iterator[int]:
    """Kill some work at each of its touches of the disk."""
    touch = 1
    while killed_at(work, touch):
        yield touch
        touch += every


def writers(home: Path, opened: OpenModel, folder: Path) -> dict[str, tuple[Work, Path]]:
    """What writes into a home, by its kind, and what is there when it is done."""
    store, elsewhere = Store(home), home.with_name("elsewhere")

    def atlas() -> None:
        with claimed(store, "one") as path:
            write_file(path, b"state", force=True)

    def round_() -> None:
        rounds = Rounds(store)
        with rounds.claimed("one"):
            write_file(rounds.unfinished("one"), b"state", force=True)
            kept(store, opened, "one")

    def shared() -> None:
        put_out(AdapterStore(home).read("one"), AdapterStore(home).path("one"), home / "shared", 1.0, force=False)

    def replaced() -> None:
        with temporary_folder(home) as work:
            (work / "weights").write_bytes(b"new")
            put_in_place(work, home / "place")

    return {
        "file": (lambda: write_file(home / "circuits" / "one.json", b"{}"), home / "circuits" / "one.json"),
        "adapter": (lambda: AdapterStore(home).take(folder, AdapterAbout(name="one")), home / "adapters" / "one"),
        "shared adapter": (shared, home / "shared" / "adapter_config.json"),
        "round": (round_, home / "rounds" / "one" / "round.json"),
        "atlas": (atlas, home / "atlases" / "unfinished" / "one.safetensors"),
        "model": (lambda: finished(exported(opened, elsewhere / "one", home=home)), elsewhere / "one" / "config.json"),
        "replaced": (replaced, home / "place" / "weights"),
    }


def main(home: Path) -> None:
    """Print what came of it."""
    torch.set_num_threads(1)
    opened, told = adopt(tiny("llama"), tiny_tokenizer(), name="tiny"), {}
    (home / "place").mkdir(parents=True)
    (home / "place" / "weights").write_bytes(b"old")
    for kind, (work, done) in writers(home, opened, small(home.with_name("made"), opened)).items():
        met, left = 0, []
        for _ in kills(work, EVERY.get(kind, 1)):
            met += bool(hidden(home.parent))
            Session(home)
            left += hidden(home.parent)
            if kind == "replaced":  # one of the two is there, always
                assert (home / "place" / "weights").read_bytes() in (b"old", b"new")
                (home / "place" / "weights").write_bytes(b"old")
        left += [note.name for note in (home / "elsewhere").glob("*")]
        told[kind] = {"met": met, "left": left, "whole": done.exists()}
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
