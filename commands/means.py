"""What neurons are on average: `means build`, `show`, `list`; kept by name, and a reference of other verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import structs

from commands.corpus import OfCorpus
from commands.fields import Batch, NeuronRows
from commands.names import FileName, SavedName
from commands.request import Arg, Excludes, Flag, Needs, Opt, Request
from commands.verb import verb
from commands.words import SelectionWord
from sessions.artifacts import Key
from sessions.events import Steps
from sessions.procedures.means import means_shown
from sessions.references import corpus as corpus_of
from sessions.results import Listed, MeansBuilt, MeansShown
from sessions.session import Session

FAMILY = "Hidden states"


@verb(
    "means build",
    family=FAMILY,
    synonyms=("average", "mean activations", "averages"),
    needs=("model",),
    example=("means build facts --docs 12", "means build mine --prompts keys.jsonl --by-position"),
)
class BuildMeans(Request, frozen=True):
    """Take the mean activation of every neuron over texts, and save it under a name.

    A mean is over all positions but the first of each text, the attention sink. --by-position also takes a mean for
    each position, counted from the end; positions that few texts have share one. Suppression and edits are in force
    meanwhile.

    Saved means serve as a reference: discover " Austin" --reference means:facts, verify --reference means:facts,
    faithfulness --means means:facts, ablate top10 --mean --over means:facts. For many prompts, the means by
    position are used where there are any.
    """

    name: Annotated[str, Arg(SavedName("means"), "the name to save them under")]
    prompts: Annotated[Path | None, Opt(FileName(), "take them over a file of prompts")] = None
    raw: Annotated[bool, Flag("with --prompts: read them without the chat template")] = False
    read: OfCorpus = OfCorpus()
    by_position: Annotated[bool, Flag("also a mean for each position, counted from the end")] = False
    batch: Batch = None
    force: Annotated[bool, Flag("replace means of that name")] = False

    rules = (
        Excludes(
            "prompts", ("corpus", "length", "docs"), "{other} is for a corpus, and --prompts names a file of prompts"
        ),
        Needs(("raw",), "prompts", "--raw is for --prompts: a corpus is read as it stands", "leave it out"),
    )

    def run(self, session: Session) -> Steps[MeansBuilt]:
        from sessions.circuits.means import taken

        opened = session.opened()
        session.store.check_new("means", self.name, self.force)
        if self.prompts is None:
            texts, over = yield from self.read.ids(session)
        else:
            texts, over = corpus_of(session, self.prompts, self.raw)
        means = yield from taken(
            opened,
            texts,
            over,
            session.home,
            by_position=self.by_position,
            under=session.state_key(),
            batch=self.batch,
            cancel=session.cancel,
        )
        path = session.keep(Key("means", self.name), means, structs.replace(self, force=False).line(), force=self.force)
        return MeansBuilt(
            name=self.name,
            over=over,
            texts=means.about.texts,
            tokens=means.about.tokens,
            neurons=len(means),
            places=len(means.places[0]) if means.places else 0,
            path=str(path),
        )


@verb(
    "means show",
    family=FAMILY,
    synonyms=("show means",),
    example=("means show facts", "means show facts L12/N34,L12/N35"),
)
class ShowMeans(Request, frozen=True):
    """Show saved means: of each layer, and of single neurons."""

    reads_only = True

    name: Annotated[str, Arg(SavedName("means"), "the name they were saved under")]
    selection: Annotated[str | None, Arg(SelectionWord(), "these neurons (default: the strongest)")] = None
    rows: NeuronRows = None
    force: Annotated[bool, Flag("show them even if they were taken on another model")] = False

    def run(self, session: Session) -> MeansShown:
        return means_shown(session, name=self.name, selection=self.selection, rows=self.rows, force=self.force)


@verb("means list", family=FAMILY, synonyms=("means",), example="means list", default=True)
class ListMeans(Request, frozen=True):
    """List the means that are saved."""

    reads_only = True

    def run(self, session: Session) -> Listed:
        return Listed(rows=tuple(session.store.rows("means")))
