"""Adapters beside the weights, and in them: `adapter`."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from commands.choices import OneOf
from commands.edits import FAMILY
from commands.loading import (
    VERB,
    AdapterName,
    Loaded,
    loaded_adapters,
    loaded_of,
    put_on,
    row,
    shelf_of,
    shown,
    take_edit,
    take_in,
    taken_in,
)
from commands.names import FileName, Name
from commands.verb import argument, option, verb
from commands.words import Gain, Word
from sessions.errors import ArtifactError, UsageError
from sessions.events import Progress, Steps
from sessions.lines import line_of
from sessions.results import AdapterRow, AdapterShown, AdaptersListed, Deleted
from sessions.session import Session
from sessions.store import check_model

ACTIONS = OneOf(
    "action",
    {
        "list": "the adapters that are kept, and which are on",
        "load": "take a PEFT folder in, or one that is kept, and put it on",
        "on": "put one that is off back on, where it was in the order",
        "off": "take one off, and keep its place",
        "merge": "put its product into the weights",
        "unmerge": "take its product out again, and put it back beside them",
        "save": "write it as a PEFT folder for other programs",
        "delete": "move one that is kept to the trash",
    },
)
#: What the edit is called that merges one.
_MERGED = "-merged"


class _Which(Word):
    """The adapter an action is about: a name or, to load one, a folder too."""

    name = "adapter"
    shape = "NAME|FOLDER"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = AdapterName().shell_complete(ctx, param, incomplete)
        return [*found, *FileName("/").shell_complete(ctx, param, incomplete)] if ctx.args[:1] == ["load"] else found


@verb("adapter", family=FAMILY, example="adapter load fr")
@argument("action", help="list, load, on, off, merge, unmerge, save or delete", type=ACTIONS, default="list")
@argument("which", metavar="NAME", help="its name; of load: or a PEFT folder", type=_Which(), required=False)
@option("--as", "name", type=Name(), help="of load: the name to keep a folder's adapter under (default: the folder's)")
@option("--weight", type=Gain(), help="of load: how many times as strong as it was trained (default 1)")
@option("--to", type=FileName(), help="of save: the folder to write")
@option("--restore", is_flag=True, help="of delete: bring back what was deleted last under that name")
@option("--force", is_flag=True, help="even if it was made on another model; replace what has the name, or the folder")
def adapter(
    session: Session,
    action: str,
    which: str | None,
    name: str | None,
    weight: float | None,
    to: Path | None,
    restore: bool,
    force: bool,
) -> Steps[AdapterShown | AdaptersListed | Deleted]:
    """Put LoRA adapters beside the weights of the model, several at once, and merge them.

    adapter load FOLDER takes in an adapter that PEFT wrote (adapter_config.json and adapter_model.safetensors: LoRA,
    rsLoRA or DoRA) and puts it on, adapter load round:NAME one that a round trained; adapter load NAME puts on one that
    is kept. It is an edit like others: edits shows
    it, undo takes it off, and off and on keep its place. While it is on, everything is that of the model with it:
    neurons, attributions, texts; suppressed neurons stay at zero in the adapter as well.

    adapter merge adds its product to the weights, each rounded once, and counts how many first choices of a next
    token come out otherwise; where that is more than rounding, as beside a DoRA on the same projections, it is refused.
    unmerge takes it out to the bit. adapter save NAME --to FOLDER writes it for other
    programs, with the weight it is on at.
    """
    _only(action, which, name=name, weight=weight, to=to, restore=restore or None, force=force or None)
    if action == "list":
        return AdaptersListed(rows=_rows(session))
    assert which is not None
    if action == "load":
        return (yield from _load(session, which, name, 1.0 if weight is None else weight, force))
    of = AdapterName().read(which)
    if action == "delete":
        return _delete(session, of, restore)
    if action == "save":
        if to is None:
            raise UsageError("adapter save needs a folder to write", f"adapter save {of} --to {of}-peft")
        return (yield from _save(session, of, to, force))
    yield Progress("editing")
    if action == "merge":
        return (yield from _merge(session, of))
    if action == "unmerge":
        return _unmerge(session, of)
    return _turn(session, of, action == "on")


#: Before the name of a round, whose adapter is meant.
_ROUND = "round:"
#: Which options each action has a use for.
_OPTIONS = {
    "load": ("name", "weight", "force"),
    "save": ("to", "force"),
    "delete": ("restore",),
}


def _only(action: str, which: str | None, **given: object) -> None:
    """Refuse options that an action has no use for, and a name that is missing or says nothing."""
    for option_name, value in given.items():
        if value is not None and option_name not in _OPTIONS.get(action, ()):
            spelt = "as" if option_name == "name" else option_name
            raise UsageError(f"--{spelt} says nothing to adapter {action}", "leave it out, or see help adapter")
    if action == "list" and which is not None:
        raise UsageError("adapter list shows them all", f"adapter load {which} puts one on")
    if action != "list" and which is None:
        raise UsageError(f"adapter {action} needs an adapter", f"for example: adapter {action} fr")


# Actions


def _load(session: Session, which: str, name: str | None, weight: float, force: bool) -> Steps[AdapterShown]:
    session.opened()
    weighted = {"--weight": None if weight == 1 else f"{weight:g}"}
    if which in shelf_of(session).names():
        if name not in (None, which):
            raise UsageError(f"'{which}' is kept under that name", "--as names what comes from a folder")
        return (yield from put_on(session, which, weight, line_of(["adapter", "load", which], weighted), force))
    path = _of_round(session, which) if which.startswith(_ROUND) else FileName().read(which)
    if not path.exists() and "/" not in which:
        shelf_of(session).read(AdapterName().read(which))  # there is none: its error names the nearest
    kept_as = name or (which.removeprefix(_ROUND) if which.startswith(_ROUND) else _name_of(path.absolute()))
    command = line_of(["adapter", "load", which], {"--as": kept_as, **weighted})
    with taken_in(session, kept_as, force):
        notes = yield from take_in(session, path.absolute(), kept_as, command, force)
        return (yield from put_on(session, kept_as, weight, command, force, notes))


def _of_round(session: Session, which: str) -> Path:
    """The folder of the adapter that a round has trained."""
    from sessions.training.round import Rounds

    rounds, name = Rounds(session.store), Name().read(which.removeprefix(_ROUND))
    found, info = rounds.load(name), session.opened().info
    check_model(found.fingerprint, found.model, info.fingerprint, info.name)
    if not rounds.adapter(name).is_dir():
        raise ArtifactError(f"round '{name}' comes without an adapter", "rounds shows those that were trained here")
    return rounds.adapter(name)


def _name_of(path: Path) -> str:
    try:
        return Name().read(path.name)
    except UsageError as error:
        raise UsageError(error.message, "give it a name: --as NAME") from error


def _turn(session: Session, name: str, on: bool) -> AdapterShown:
    found, word = loaded_of(session, name), "on" if on else "off"
    if found.on == on:
        raise UsageError(f"adapter '{name}' is {word} already", "adapter list shows them")
    if found.merge_on:
        raise UsageError(f"adapter '{name}' is merged", f"take it out of the weights first: adapter unmerge {name}")
    session.edits().turn(found.number, on)
    return shown(session, word, name)


def _merge(session: Session, name: str) -> Steps[AdapterShown]:
    from sessions.edits.commuting import scaled_by
    from sessions.edits.edit import Edit
    from sessions.edits.merging import differing, merged, said, texts

    found, opened, ledger = loaded_of(session, name), session.opened(), session.edits()
    if found.state != "on":
        hint = f"adapter {'unmerge' if found.state == 'merged' else 'on'} {name}"
        raise UsageError(f"adapter '{name}' is {found.state}", f"first: {hint}")
    edit = Edit(VERB, f"adapter {name} in the weights", merged(found.adapter))
    scales = scaled_by(ledger, found.adapter)
    if scales is not None:
        raise UsageError(
            f"adapter '{name}' cannot be merged beside '{scales.name}', a DoRA on {scales.module} too: that divides by "
            "the size of the weights it finds",
            f"take that off first: adapter off {scales.name}",
        )
    as_name = f"{name[: 64 - len(_MERGED)]}{_MERGED}"
    if not found.merge:
        ledger.check_new(as_name)
    read = texts(opened, () if session.prompt is None else session.encoded().ids)
    before = yield from said(opened, read, session.cancel)
    with ledger.held(found.merge, True) if found.merge else edit.applied(opened):
        difference = differing(before, (yield from said(opened, read, session.cancel, before)))
    if not difference.is_rounding(opened):
        raise _no_rounding(session, found, difference.apart)
    if found.merge:
        ledger.turn(found.merge, True)
    else:
        take_edit(session, edit, as_name, line_of(["adapter", "merge", name]), force=False)
    changed, positions, apart = difference
    return shown(session, "merged", name, changed=changed, positions=positions, apart=apart)


def _no_rounding(session: Session, found: Loaded, apart: float) -> UsageError:
    """What to say where a model with an adapter merged is another one than with it beside the weights."""
    from sessions.edits.commuting import replaced_by

    ledger, name = session.edits(), found.adapter.name
    above = [entry.edit for entry in ledger.entries[found.merge :] if entry.on] if found.merge else []
    lies = replaced_by(session.opened(), above, found.adapter)
    what = f"merging adapter '{name}' moves the logits by {apart:.1%} of their spread, which is more than rounding"
    if lies is None:
        return UsageError(what, "leave it beside the weights")
    number = ledger.number_of(lies.name)
    return UsageError(
        f"{what}: edit {number}, '{lies.name}', lies above it and replaces weights of {lies.module}",
        f"take that off first: edits off {number}",
    )


def _unmerge(session: Session, name: str) -> AdapterShown:
    from sessions.edits.commuting import replaced_by, scaled_by

    found, ledger = loaded_of(session, name), session.edits()
    if not found.merge_on:
        raise UsageError(f"adapter '{name}' is not merged", f"adapter merge {name} puts it into the weights")
    above = [entry.edit for entry in ledger.entries[found.merge :] if entry.on]
    lies, scales = replaced_by(session.opened(), above, found.adapter), scaled_by(ledger, found.adapter)
    notes = []
    if lies is not None:
        notes.append(
            f"edit '{lies.name}' replaces weights of {lies.module} that it was merged into, and it now adds to those"
        )
    if scales is not None:
        notes.append(f"'{scales.name}', a DoRA on {scales.module} too, finds other weights than before")
    if found.merge == len(ledger.entries):
        ledger.undo()
    else:
        ledger.turn(found.merge, False)
    return shown(session, "unmerged", name, notes=notes)


def _save(session: Session, name: str, to: Path, force: bool) -> Steps[AdapterShown]:
    from sessions.adapters.shelf import put_out
    from sessions.model.background import in_background

    shelf, loaded = shelf_of(session), loaded_adapters(session).get(name)
    weight = 1.0 if loaded is None else loaded.adapter.weight

    def write() -> Path:
        kept = shelf.read(name)
        return put_out(kept, shelf.path(name), to.absolute(), weight, force=force)

    written = yield from in_background(lambda _: write(), "writing the adapter")
    notes = [] if weight == 1 else [f"its weight of {weight:g} is in the alphas that were written"]
    return shown(session, "saved", name, notes=notes, path=str(written))


def _delete(session: Session, name: str, restore: bool) -> AdapterShown | Deleted:
    if restore:
        shelf_of(session).restore(name)
        return shown(session, "restored", name)
    if name in loaded_adapters(session):
        raise UsageError(f"adapter '{name}' is loaded", "take it off first: undo, or edits shows where it is")
    shelf_of(session).delete(name)
    return Deleted(name=f"adapter {name}", restore=f"adapter delete {name} --restore")


# What is shown


def _rows(session: Session) -> tuple[AdapterRow, ...]:
    return tuple(row(session, name) for name in shelf_of(session).names())
