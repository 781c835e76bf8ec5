"""Saved and loaded adapters: what `adapter`, `ensemble` and training rounds do with them.

An adapter is loaded by an edit of its name, whose one change is the `Adapter`. A merged adapter has a second edit: it
disables the adapter's path and adds its product to the weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from sessions.artifacts import check_model
from sessions.errors import ArtifactError, Cancelled, UsageError, WorkbenchError
from sessions.events import Steps
from sessions.lines import line_of
from sessions.results import AdapterRow, AdapterShown
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.adapters.adapter_store import AdapterStore
    from sessions.edits.adapters import Adapter
    from sessions.edits.edit import Edit

#: The verb of edits that load or merge adapters.
VERB = "adapter"
#: Ends the name of the edit that merges an adapter.
_MERGED = "-merged"


@dataclass(frozen=True)
class LoadedAdapter:
    """An adapter on the ledger: its number there, whether it is on, and the number of the edit that merges it, or 0."""

    number: int
    adapter: Adapter
    on: bool
    merge: int = 0
    merge_on: bool = False

    @property
    def state(self) -> str:
        return "off" if not self.on else "merged" if self.merge_on else "on"


def loaded_adapters(session: Session) -> dict[str, LoadedAdapter]:
    """The adapters on the ledger, by name."""
    from sessions.edits.adapters import Adapter, Disabled

    entries = () if session.ledger is None else session.ledger.entries
    adapters: dict[str, LoadedAdapter] = {}
    for number, entry in enumerate(entries, 1):
        for change in entry.edit.changes:
            if isinstance(change, Adapter):
                adapters[change.name] = LoadedAdapter(number, change, entry.on)
            elif isinstance(change, Disabled) and change.name in adapters:
                below = adapters[change.name]
                adapters[change.name] = LoadedAdapter(below.number, below.adapter, below.on, number, entry.on)
    return adapters


def loaded_of(session: Session, name: str) -> LoadedAdapter:
    """The loaded adapter of that name.

    Raises:
        UsageError: no adapter of that name is loaded.
    """
    session.opened()
    loaded = loaded_adapters(session).get(name)
    if loaded is None:
        raise UsageError(f"adapter '{name}' is not loaded", f"load it: adapter load {name}")
    return loaded


def shelf_of(session: Session) -> AdapterStore:
    """The adapters that are saved in the session's home."""
    from sessions.adapters.adapter_store import AdapterStore

    return AdapterStore(session.home)


@contextmanager
def taken_in(session: Session, name: str, force: bool) -> Iterator[None]:
    """If the block fails or is cancelled, an adapter that was saved in it is removed again."""
    shelf = shelf_of(session)
    check_new(session, name, force)
    before = shelf.stamp(name)
    try:
        yield
    except BaseException:
        if shelf.stamp(name) not in (None, before):
            shelf.withdraw(name, replaced=before is not None)
        raise


def check_new(session: Session, name: str, force: bool) -> None:
    """Refuse a name that an adapter or another edit already has.

    Raises:
        UsageError: an edit of that name is applied.
        ArtifactError: the name is taken, and `force` was not given.
    """
    session.edits().check_new(name)
    shelf_of(session).check_new(name, force)
    if name in session.store.names("edit") and not force and of_edit(session, name) is None:
        raise ArtifactError(
            f"edit '{name}' exists already",
            "an adapter is loaded as an edit of its name: choose another one, --as NAME",
        )


def take_in(session: Session, path: Path, name: str, command: str, force: bool) -> Steps[list[str]]:
    """Save the adapter of a folder if it fits the model. Returns remarks."""
    from sessions.adapters.adapter_store import AdapterAbout, about_of
    from sessions.adapters.folders import read_folder
    from sessions.edits.adapters import Adapter
    from sessions.model.background import in_background

    info = session.opened().info
    contents = yield from in_background(lambda meter: read_folder(path, meter), "reading the adapter")
    own, notes = about_of(path) or AdapterAbout(), []
    if own.fingerprint:
        notes.append(check_model(own.fingerprint, own.model, info.fingerprint, info.name, force))
    elif contents.base and _last(contents.base) not in (_last(info.name), _last(info.source)):
        notes.append(f"its config says it was made on {_last(contents.base)}; it is used on {info.name}")
    with Adapter(name, 1.0, contents.sha256, contents).applied(session.opened()):
        pass  # raises if it does not fit
    about = structs.replace(
        own,
        name=name,
        model=own.model or contents.base,
        command=command,
        created="",
        origin=str(path),
        sha256=contents.sha256,
    )
    yield from in_background(
        lambda meter: shelf_of(session).take(path, about, meter, force=force), "keeping the adapter"
    )
    return [note for note in (*notes, *contents.notes) if note]


def put_on_from(session: Session, folder: Path) -> Steps[list[str]]:
    """Load the adapter in the open model's own folder, as an edit like any other. Returns remarks.

    An adapter that is saved already is not saved again. If it cannot be loaded, the model stays as it is, and the
    remark says why.
    """
    from sessions.adapters.folders import read_folder
    from sessions.model.background import in_background

    try:
        contents = yield from in_background(lambda meter: read_folder(folder, meter), "reading the adapter")
        sha256 = contents.sha256
        if any(other.adapter.sha256 == sha256 for other in loaded_adapters(session).values()):
            return []
        shelf = shelf_of(session)
        name = next((name for name in shelf.names() if _sha256(shelf, name) == sha256), "")
        if name:
            yield from put_on(session, name, 1.0, line_of(["adapter", "load", name]), False)
        else:
            name = _free(session, session.opened().info.name)
            command = line_of(["adapter", "load", folder], {"--as": name})
            with taken_in(session, name, False):
                yield from take_in(session, folder, name, command, False)
                yield from put_on(session, name, 1.0, command, False)
    except WorkbenchError as error:
        if isinstance(error, Cancelled):
            raise
        return [f"the adapter in its folder is not on: {error.message}"]
    return [f"the adapter in its folder is on, as edit '{name}': undo removes it"]


def _sha256(shelf: AdapterStore, name: str) -> str:
    from sessions.adapters.adapter_store import outlined

    try:
        return outlined(shelf.path(name))[0].sha256
    except WorkbenchError:
        return ""


def _free(session: Session, model: str) -> str:
    """A name for the adapter in a model's folder that no other adapter or edit has."""
    stem = re.sub("[^A-Za-z0-9._-]+", "-", model.rstrip("/").rpartition("/")[2]).strip("-._") or "model"
    taken = {*shelf_of(session).names(), *session.store.names("edit")}
    taken |= {entry.edit.name for entry in session.edits().entries}
    first = f"{stem[:48]}-adapter"
    return next(name for name in chain([first], (f"{first}-{number}" for number in count(2))) if name not in taken)


def _last(name: str) -> str:
    """The last part of a model's name, or of the path to it."""
    return name.rstrip("/").rpartition("/")[2].lower()


def put_on(
    session: Session, name: str, weight: float, command: str, force: bool, notes: Sequence[str] = ()
) -> Steps[AdapterShown]:
    """Apply a saved adapter, as an edit of its name."""
    from sessions.edits.adapters import Adapter
    from sessions.edits.commuting import scaling
    from sessions.edits.edit import Edit
    from sessions.model.background import in_background

    session.edits().check_new(name)
    kept = yield from in_background(lambda meter: shelf_of(session).read(name, meter), "reading the adapter")
    info, about, remarks = session.opened().info, kept.about, list(notes)
    if about.fingerprint:
        remarks.append(check_model(about.fingerprint, about.model, info.fingerprint, info.name, force))
    change = Adapter(name, weight, about.sha256, kept.contents)
    remarks += scaling(session.edits(), change)
    strength = "" if weight == 1 else f", at {weight:g} of its strength"
    edit = Edit(VERB, f"adapter {name}, {kept.contents.kind} of rank {kept.contents.rank}{strength}", (change,))
    take_edit(session, edit, name, command, force)
    return shown(session, "loaded", name, notes=remarks)


def turn(session: Session, name: str, on: bool) -> AdapterShown:
    """Turn an adapter off, or on again at its place in the order.

    Raises:
        UsageError: it is not loaded, is already off or on, or is merged.
    """
    loaded, word = loaded_of(session, name), "on" if on else "off"
    if loaded.on == on:
        raise UsageError(f"adapter '{name}' is {word} already", "adapter list shows them")
    if loaded.merge_on:
        raise UsageError(f"adapter '{name}' is merged", f"take it out of the weights first: adapter unmerge {name}")
    session.edits().turn(loaded.number, on)
    return shown(session, word, name)


def merge(session: Session, name: str, command: str) -> Steps[AdapterShown]:
    """Merge an adapter that is on into the weights.

    Raises:
        UsageError: it is not loaded, not on, or merging would change what the model computes by more than rounding.
    """
    from sessions.edits.commuting import scaled_by
    from sessions.edits.edit import Edit
    from sessions.edits.merging import differing, merged, said, texts

    loaded, opened, ledger = loaded_of(session, name), session.opened(), session.edits()
    if loaded.state != "on":
        hint = f"adapter {'unmerge' if loaded.state == 'merged' else 'on'} {name}"
        raise UsageError(f"adapter '{name}' is {loaded.state}", f"first: {hint}")
    edit = Edit(VERB, f"adapter {name} in the weights", merged(loaded.adapter))
    scales = scaled_by(ledger, loaded.adapter)
    if scales is not None:
        raise UsageError(
            f"adapter '{name}' cannot be merged beside '{scales.name}', a DoRA on {scales.module} too: that divides by "
            "the size of the weights it finds",
            f"take that off first: adapter off {scales.name}",
        )
    as_name = f"{name[: 64 - len(_MERGED)]}{_MERGED}"
    if not loaded.merge:
        ledger.check_new(as_name)
    read = texts(opened, () if session.prompt is None else session.encoded().ids)
    before = yield from said(opened, read, session.cancel)
    with ledger.held(loaded.merge, True) if loaded.merge else edit.applied(opened):
        difference = differing(before, (yield from said(opened, read, session.cancel, before)))
    if not difference.is_rounding(opened):
        raise _no_rounding(session, loaded, difference.apart)
    if loaded.merge:
        ledger.turn(loaded.merge, True)
    else:
        take_edit(session, edit, as_name, command, force=False)
    changed, positions, apart = difference
    return shown(session, "merged", name, changed=changed, positions=positions, apart=apart)


def _no_rounding(session: Session, loaded: LoadedAdapter, apart: float) -> UsageError:
    """The error where merging an adapter would change the logits by more than rounding."""
    from sessions.edits.commuting import replaced_by

    ledger, name = session.edits(), loaded.adapter.name
    above = [entry.edit for entry in ledger.entries[loaded.merge :] if entry.on] if loaded.merge else []
    lies = replaced_by(session.opened(), above, loaded.adapter)
    what = f"merging adapter '{name}' moves the logits by {apart:.1%} of their spread, which is more than rounding"
    if lies is None:
        return UsageError(what, "leave it beside the weights")
    number = ledger.number_of(lies.name)
    return UsageError(
        f"{what}: edit {number}, '{lies.name}', lies above it and replaces weights of {lies.module}",
        f"take that off first: edits off {number}",
    )


def unmerge(session: Session, name: str) -> AdapterShown:
    """Take a merged adapter out of the weights and run it beside them again.

    Raises:
        UsageError: it is not loaded, or not merged.
    """
    from sessions.edits.commuting import replaced_by, scaled_by

    loaded, ledger = loaded_of(session, name), session.edits()
    if not loaded.merge_on:
        raise UsageError(f"adapter '{name}' is not merged", f"adapter merge {name} puts it into the weights")
    above = [entry.edit for entry in ledger.entries[loaded.merge :] if entry.on]
    lies, scales = replaced_by(session.opened(), above, loaded.adapter), scaled_by(ledger, loaded.adapter)
    notes = []
    if lies is not None:
        notes.append(
            f"edit '{lies.name}' replaces weights of {lies.module} that it was merged into, and it now adds to those"
        )
    if scales is not None:
        notes.append(f"'{scales.name}', a DoRA on {scales.module} too, finds other weights than before")
    if loaded.merge == len(ledger.entries):
        ledger.undo()
    else:
        ledger.turn(loaded.merge, False)
    return shown(session, "unmerged", name, notes=notes)


def take_edit(session: Session, edit: Edit, name: str, command: str, force: bool) -> None:
    """Apply an edit of an adapter and save it under a name, which an earlier edit of an adapter may have.

    If the earlier edit does the same, it is applied from its file.
    """
    earlier = of_edit(session, name)
    if earlier is not None and earlier == [_key(change) for change in edit.changes]:
        try:
            same, _ = session.saved.read_edit(name)
            session.edits().apply(same)
            return
        except ArtifactError:  # it is of another model: save it anew
            pass
    session.take_edit(edit, name, command, force=force or earlier is not None)


def of_edit(session: Session, name: str) -> list[object] | None:
    """The keys of the changes of a saved edit of an adapter; None if there is none, or if it is of another verb."""
    from sessions.edits.files import EditFile

    if name not in session.store.names("edit"):
        return None
    try:
        edit = session.store.load("edit", name, EditFile)[1].edit
    except ArtifactError:
        return None
    return [_key(change) for change in edit.changes] if edit.verb == VERB else None


def _key(change: object) -> object:
    """What identifies a change, without its numbers."""
    from sessions.edits.adapters import Adapter

    return (change.name, change.weight, change.sha256) if isinstance(change, Adapter) else change


def shown(session: Session, done: str, name: str, *, notes: Sequence[str] = (), **more: Any) -> AdapterShown:
    """The result of a verb: what was done to an adapter, and its state now."""
    remarks = tuple(note for note in notes if note)
    return AdapterShown(done=done, row=row(session, name), notes=remarks, **more)


def row(session: Session, name: str) -> AdapterRow:
    """The row of a saved adapter in a listing; its tensors are not read."""
    from sessions.adapters.adapter_store import outlined

    shelf, loaded = shelf_of(session), loaded_adapters(session).get(name)
    row_shown = AdapterRow(name=name)
    if loaded is not None:
        row_shown = structs.replace(row_shown, number=loaded.number, state=loaded.state, weight=loaded.adapter.weight)
    try:
        about, outline = outlined(shelf.path(name))
    except WorkbenchError as error:
        return structs.replace(row_shown, error=error.message)
    return structs.replace(
        row_shown,
        kind=outline.kind,
        rank=outline.rank,
        projections=outline.projections,
        targets=outline.targets,
        parameters=outline.parameters,
        base=about.model,
        created=about.created,
    )
