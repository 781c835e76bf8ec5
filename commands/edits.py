"""Changes of weights, one on the other: `edits`, `inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated

from commands.fields import MaxTokens, NeuronRows
from commands.names import SavedName
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import Whole, Word
from sessions.errors import UsageError
from sessions.events import Progress, Steps
from sessions.procedures.edits import ALL, edit_inspected, edits_shown, in_states, turned
from sessions.results import Compared, EditInspected, EditsShown
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.comparisons.weight_states import State

FAMILY = "Edits"


class EditWord(Word):
    """An edit: its number among those that are applied, or its name. With `all_`, the word all is offered; with
    `saved`, saved edits are."""

    name = "edit"
    shape = "N|NAME"

    def __init__(self, saved: bool = False, all_: bool = False) -> None:
        self.saved, self.all_ = saved, all_

    def read(self, text: str) -> str:
        if not text.isdecimal() and text != ALL:
            SavedName("edit").read(text)
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        if session is None:
            return []
        entries = () if session.ledger is None else session.ledger.entries
        applied = {entry.edit.name: entry.edit.about for entry in entries}
        numbers = [(str(number), entry.edit.about) for number, entry in enumerate(entries, 1)]
        saved = session.store.names("edit") if self.saved else []
        every = [(ALL, "every edit")] if self.all_ else []
        return [*applied.items(), *((name, "saved edit") for name in saved if name not in applied), *numbers, *every]


WhichEdit = Annotated[str, Arg(EditWord(all_=True), "an edit's number or name, or all", metavar="EDIT")]


@verb(
    "edits list",
    family=FAMILY,
    synonyms=("changes", "ledger", "weight edits"),
    needs=("model",),
    example="edits list",
    default=True,
)
class ListEdits(Request, frozen=True):
    """List the edits of the weights, in order.

    Each edit builds on those before it. An edit that is off keeps its place: edits off 2 takes the second out of
    the weights and leaves all others as they are, and edits on 2 puts it back.
    """

    reads_only = True

    def run(self, session: Session) -> EditsShown:
        return edits_shown(session.edits())


@verb(
    "edits on",
    family=FAMILY,
    synonyms=("turn on edit", "enable edit"),
    needs=("model", "edit"),
    example=("edits on 1", "edits on all"),
)
class TurnOn(Request, frozen=True):
    """Turn an edit back on, at its place in the order."""

    which: WhichEdit

    def run(self, session: Session) -> Steps[EditsShown]:
        yield Progress("editing")
        return turned(session.edits(), self.which, True)


@verb(
    "edits off",
    family=FAMILY,
    synonyms=("turn off edit", "disable edit"),
    needs=("model", "edit"),
    example=("edits off 1", "edits off all"),
)
class TurnOff(Request, frozen=True):
    """Turn an edit off, and keep its place in the order."""

    which: WhichEdit

    def run(self, session: Session) -> Steps[EditsShown]:
        yield Progress("editing")
        return turned(session.edits(), self.which, False)


@verb("edits load", family=FAMILY, synonyms=("load edit", "apply edit"), example="edits load meow")
class LoadEdit(Request, frozen=True):
    """Apply a saved edit."""

    which: Annotated[str, Arg(SavedName("edit"), "the name it was saved under", metavar="EDIT")]
    force: Annotated[bool, Flag("use it even if it was made on another model")] = False

    def run(self, session: Session) -> Steps[EditsShown]:
        from sessions.edits.commuting import beside
        from sessions.edits.inspecting import remarks

        yield Progress("editing")
        edit, notes = session.saved.read_edit(self.which, force=self.force)
        session.edits().apply(edit)
        notes = (*notes, *remarks(session.opened(), edit), *beside(session.opened(), session.edits(), edit))
        return edits_shown(session.edits(), "loaded", [edit], notes)


@verb(
    "edits compare",
    family=FAMILY,
    synonyms=("before and after", "with and without"),
    needs=("model", "edit"),
    example=("edits compare", "edits compare 2 --max-tokens 40"),
)
class CompareEdits(Request, frozen=True):
    """Answer the prompt without and with the edits, side by side.

    Where an edit is named, only that edit differs.
    """

    which: Annotated[str, Arg(EditWord(all_=True), "an edit's number or name, or all", metavar="[EDIT]")] = ALL
    max_tokens: MaxTokens = None

    def run(self, session: Session) -> Steps[Compared]:
        ledger = session.edits()
        if self.which == ALL:
            if not ledger.active:
                raise UsageError("no edit is on", "list them: edits")
            meant, names = ledger.active, ("unedited", "edited")
            states: Sequence[State] = (ledger.lifted, nullcontext)
        else:
            number = ledger.meant(self.which)
            edit = ledger.entry(number).edit
            meant, names = (edit,), (f"without {edit.name}", f"with {edit.name}")
            states = partial(ledger.held, number, False), partial(ledger.held, number, True)
        return (
            yield from in_states(
                session,
                self.verb_name,
                ", ".join(edit.name for edit in meant),
                list(zip(names, states, strict=True)),
                self.max_tokens,
                pushes=any(edit.pushes for edit in meant),
            )
        )


@verb(
    "inspect",
    family=FAMILY,
    synonyms=("show edit", "norms", "svd"),
    needs=("model", "edit"),
    example=("inspect 1", "inspect meow --rows 5"),
)
class Inspect(Request, frozen=True):
    """Show what an edit changes: norms, what its neurons read and push, the share of a matrix that is cut.

    Before is the model with the edits below this one; after is the same with this edit on top. Of each neuron the
    result shows the tokens that its rows read, those that its column pushes, and how far the column is about one
    token: the first token's share of a softmax over what the column alone would predict, and the cosines with the
    unembedding rows of the first and the second.

    Then the change alone, weights after minus weights before: its norm, the tokens that it reads and pushes, and
    how far its push is about one token, as the share of all squared logits and as a z-score. For a matrix that is
    cut or has something added, such as an adapter's, these are the strongest singular directions of the change,
    each with its share of the squared norm.

    Where there is a prompt, the logits after it are computed twice, with the edit in the weights and as hooks on
    the unchanged ones; the two must agree.
    """

    which: Annotated[
        str, Arg(EditWord(saved=True), "the number of an applied edit, or the name of any edit", metavar="EDIT")
    ]
    rows: NeuronRows = None
    tokens: Annotated[int, Opt(Whole(1, 100), "tokens to show that each neuron reads and pushes")] = 3
    force: Annotated[bool, Flag("use it even if it was made on another model")] = False

    def run(self, session: Session) -> Steps[EditInspected]:
        return (
            yield from edit_inspected(session, which=self.which, rows=self.rows, tokens=self.tokens, force=self.force)
        )
