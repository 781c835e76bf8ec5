"""Whether things are what they were: `fingerprint`, `verify-files`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

from commands.names import ArtifactName, FileName
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from sessions import checksums
from sessions.checksums import Sum
from sessions.errors import ArtifactError, ExpectationFailed
from sessions.events import Steps
from sessions.files.disk import write_file
from sessions.procedures.fingerprints import sha256_of_weights
from sessions.results import FilesVerified, Fingerprints
from sessions.session import Session
from sessions.store import Key

FAMILY = "Saved by name"

#: Files that an error names of each sort; the others are counted.
_NAMED = 5


@verb("fingerprint", family=FAMILY, example=("fingerprint", "fingerprint --write all.txt"))
class Fingerprint(Request, frozen=True):
    """Show the model's fingerprint, the sha256 of its current weights, and that of every saved file.

    The fingerprint is sampled from the checkpoint; circuits and edits are tied to it. The sha256 of the weights
    covers every bit in memory: with all edits off or undone it is again what it was when the model was opened.
    """

    names: Annotated[
        tuple[Key, ...], Arg(ArtifactName(), "artifacts (default: the model and all of them)", many=True)
    ] = ()
    write: Annotated[Path | None, Opt(FileName(), "write the sha256 sums to this file, for verify-files")] = None
    force: Annotated[bool, Flag("replace the list if it exists")] = False

    def run(self, session: Session) -> Steps[Fingerprints]:
        keys = self.names or tuple(Key(kind=row.kind, name=row.name) for row in session.store.rows() if not row.error)
        files: list[Sum] = []
        for key in keys:
            digest = yield from checksums.sha256_of(session.store.present(key.kind, key.name), session.cancel)
            files.append(Sum(str(key), digest))
        paths = (str(session.store.path(key.kind, key.name)) for key in keys)
        listed = [Sum(path, file.sha256) for path, file in zip(paths, files, strict=True)]
        weights = ("", "") if self.names or session.model is None else (yield from sha256_of_weights(session))
        path = "" if self.write is None else _written(self.write, listed, self.force)
        info = None if self.names or session.model is None else session.model.info
        return Fingerprints(
            model="" if info is None else info.name,
            fingerprint="" if info is None else info.fingerprint,
            weights=weights[0],
            unedited=weights[1],
            edits=() if info is None else tuple(edit.name for edit in session.edits().active),
            files=tuple((file.path, file.sha256) for file in files),
            path=path,
        )


def _written(path: Path, files: Sequence[Sum], force: bool) -> str:
    if not files:
        raise ArtifactError("nothing has been saved, so there is nothing to list", "leave out --write")
    return str(write_file(path.absolute(), checksums.written(files), force=force, what=f"'{path}'"))


@verb("verify-files", family=FAMILY, example="verify-files sums.txt")
class VerifyFiles(Request, frozen=True):
    """Check files against a list of sha256; it fails where one is changed or missing.

    The list is one that sha256sum writes, and --check reads. Paths in it are relative to its folder.
    fingerprint --write LIST makes one of everything that is saved.
    """

    path: Annotated[Path, Arg(FileName(), "a list of sha256, a line each: digest, two spaces, path")]

    def run(self, session: Session) -> Steps[FilesVerified]:
        sums = checksums.read_sums(self.path.absolute())
        changed: list[str] = []
        missing: list[str] = []
        unread: list[str] = []
        for name, wanted in sums:
            file = self.path.absolute().parent / name
            if not file.exists():
                missing.append(name)
                continue
            try:
                with closing(checksums.sha256_of(file, session.cancel)) as steps:
                    found = yield from steps
            except ArtifactError:
                unread.append(name)
                continue
            if found != wanted:
                changed.append(name)
        wrong = {"changed": changed, "missing": missing, "not readable": unread}
        count = sum(map(len, wrong.values()))
        if count:
            said = "; ".join(f"{what}: {_named(which)}" for what, which in wrong.items() if which)
            are = "is" if count == 1 else "are"
            raise ExpectationFailed(f"{count:,} of {len(sums):,} files {are} not what {self.path} says: {said}")
        return FilesVerified(path=str(self.path), files=tuple(name for name, _ in sums))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
