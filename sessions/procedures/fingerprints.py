"""The sha256 of the open model's weights."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from sessions import checksums
from sessions.artifacts import Key
from sessions.checksums import Sum
from sessions.errors import ArtifactError, ExpectationFailed
from sessions.events import Steps
from sessions.files.disk import write_file
from sessions.results import FilesVerified, Fingerprints
from sessions.session import Session

#: Files that an error names of each sort; the others are counted.
_NAMED = 5


def sha256_of_weights(session: Session) -> Steps[tuple[str, str]]:
    """sha256 of the weights as they are, and, where edits are in them, without these."""
    from sessions.model.fingerprint import of_bits

    model, ledger = session.opened().model, session.edits()
    now = yield from of_bits(model, session.cancel)
    if not ledger.active:
        return now, ""
    with ledger.lifted():
        return now, (yield from of_bits(model, session.cancel))


def files_verified(session: Session, *, listed: Path) -> Steps[FilesVerified]:
    """Check files against a list of sha256."""
    sums = checksums.read_sums(listed.absolute())
    changed: list[str] = []
    missing: list[str] = []
    unread: list[str] = []
    for name, wanted in sums:
        file = listed.absolute().parent / name
        if not file.exists():
            missing.append(name)
            continue
        try:
            with closing(checksums.sha256_of(file, session.cancel)) as steps:
                fingerprint = yield from steps
        except ArtifactError:
            unread.append(name)
            continue
        if fingerprint != wanted:
            changed.append(name)
    wrong = {"changed": changed, "missing": missing, "not readable": unread}
    count = sum(map(len, wrong.values()))
    if count:
        problems = "; ".join(f"{what}: {first_names(which)}" for what, which in wrong.items() if which)
        are = "is" if count == 1 else "are"
        raise ExpectationFailed(f"{count:,} of {len(sums):,} files {are} not what {listed} says: {problems}")
    return FilesVerified(path=str(listed), files=tuple(name for name, _ in sums))


def fingerprints_of(
    session: Session, *, names: tuple[Key, ...], written_to: Path | None, force: bool
) -> Steps[Fingerprints]:
    """The fingerprint and sha256 of the model, and the sha256 of saved files."""
    keys = names or tuple(Key(kind=row.kind, name=row.name) for row in session.store.rows() if not row.error)
    files: list[Sum] = []
    for key in keys:
        digest = yield from checksums.sha256_of(session.store.present(key.kind, key.name), session.cancel)
        files.append(Sum(str(key), digest))
    paths = (str(session.store.path(key.kind, key.name)) for key in keys)
    listed = [Sum(path, file.sha256) for path, file in zip(paths, files, strict=True)]
    weights = ("", "") if names or session.model is None else (yield from sha256_of_weights(session))
    path = "" if written_to is None else written_list(written_to, listed, force)
    info = None if names or session.model is None else session.model.info
    return Fingerprints(
        model="" if info is None else info.name,
        fingerprint="" if info is None else info.fingerprint,
        weights=weights[0],
        unedited=weights[1],
        edits=() if info is None else tuple(edit.name for edit in session.edits().active),
        files=tuple((file.path, file.sha256) for file in files),
        path=path,
    )


def written_list(path: Path, files: Sequence[Sum], force: bool) -> str:
    if not files:
        raise ArtifactError("nothing has been saved, so there is nothing to list", "leave out --write")
    return str(write_file(path.absolute(), checksums.written(files), force=force, what=f"'{path}'"))


def first_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
