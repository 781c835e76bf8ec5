"""What neurons do over a corpus: `atlas build`, `show`, `top`, `list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import structs

from commands.choices import BY
from commands.corpus import OfCorpus
from commands.fields import Batch
from commands.machines import WORKERS_ON, Machines
from commands.names import SavedName
from commands.ranges import Layers, LayersOrAll
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import RowsWord, SelectionWord, Whole
from sessions.events import Steps
from sessions.model.units import Unit, only_neurons
from sessions.procedures.atlas import atlas_built, atlas_top
from sessions.procedures.circuits import range_of
from sessions.procedures.neuron_card import one_of
from sessions.results import AtlasBuilt, AtlasShown, AtlasTop, Listed
from sessions.session import Session

FAMILY = "Hidden states"

AtlasName = Annotated[str | None, Opt(SavedName("atlas"), "the atlas to read (default: the model's latest)")]
OfAnother = Annotated[bool, Flag("use the atlas even if it was made on another model")]


@verb(
    "atlas build",
    family=FAMILY,
    synonyms=("build atlas", "corpus", "record activations", "max activating"),
    needs=("model",),
    example=("atlas build small --docs 12 --layers 12", "atlas build books --corpus books/ --length 256 --top 20"),
)
class BuildAtlas(Request, frozen=True):
    """Record what every neuron does over a corpus: extremes in context, mean, spread, firing rate.

    Text files have a blank line between documents; JSONL files have one document a line, {"text": "…"}. Of a folder
    all such files are read, of hf:NAME[:SPLIT] the column text. Special tokens are read but not counted. An
    interrupted build continues when the same line is run again.

    An ungated neuron fires above 0; a gated one fires above a tenth of its largest |activation|. Quantiles come
    from a histogram and are off by less than a quarter of their value. export FILE.json --name atlas:NAME writes
    the highest activation of each neuron for other programs.
    """

    name: Annotated[str, Arg(SavedName("atlas"), "the name to keep it under")]
    read: OfCorpus = OfCorpus()
    layers: Annotated[
        tuple[int, int] | str | None, Opt(LayersOrAll(), "only these layers: 12, 9-14 or all (the default)")
    ] = None
    top: Annotated[int | None, Opt(Whole(1, 1000), "extremes of each sign to keep for each neuron (default: 10)")] = (
        None
    )
    batch: Batch = None
    memory: Annotated[int | None, Opt(Whole(), "MiB of memory to use beside the model (default: 1024)")] = None
    force: Annotated[bool, Flag("replace an atlas of that name, and start over")] = False
    machines: Machines = Machines()

    rules = (WORKERS_ON,)

    def run(self, session: Session) -> Steps[AtlasBuilt]:
        session.opened()
        from sessions.atlas.unfinished import claimed

        with claimed(session.store, self.name) as path:
            return (yield from self._built(session, path))

    def _built(self, session: Session, path: Path) -> Steps[AtlasBuilt]:
        engine = yield from self.machines.cluster(session)
        return (
            yield from atlas_built(
                session,
                path,
                chosen=range_of(session, self.layers),
                texts=self.read.documents(),
                length=self.read.length,
                k=self.top,
                batch=self.batch,
                memory=self.memory,
                force=self.force,
                name=self.name,
                line=structs.replace(self, force=False, machines=Machines()).line(),
                engine=engine,
            )
        )


@verb(
    "atlas show",
    family=FAMILY,
    synonyms=("max activating examples", "dataset examples", "contexts"),
    needs=("atlas",),
    example=("atlas show L12/N34", "atlas show L12/N34 --name small --rows 5"),
)
class ShowAtlas(Request, frozen=True):
    """Show a neuron's extremes over the corpus of an atlas, each in its context."""

    reads_only = True

    neuron: Annotated[str, Arg(SelectionWord(), "the neuron")]
    name: AtlasName = None
    rows: Annotated[int | None, Opt(RowsWord(), "maxima of each sign to show (default: the setting rows)")] = None
    force: OfAnother = False

    def run(self, session: Session) -> AtlasShown:
        from sessions.atlas.profiles import profile

        atlas, notes = session.saved.read_atlas(self.name or "", force=self.force)
        neuron = Unit.parse(self.neuron) if session.model is None else one_of(session, self.neuron)
        only_neurons([neuron], "an atlas")
        return AtlasShown(profile=profile(atlas, neuron), listed=self.rows or session.settings.rows, notes=notes)


@verb(
    "atlas top",
    family=FAMILY,
    synonyms=("most active", "activations of a layer"),
    needs=("model", "atlas"),
    example=("atlas top 12", "atlas top 12 --by positive --rows 30"),
)
class RankAtlas(Request, frozen=True):
    """List the neurons of a layer with the largest activations over the corpus of an atlas.

    --by positive ranks by the highest activation above 0; atlas:NAME:positive300 selects neurons by the same
    ranking.
    """

    reads_only = True

    layer: Annotated[tuple[int, int], Arg(Layers(), "the layer", metavar="LAYER")]
    name: AtlasName = None
    rows: Annotated[int | None, Opt(RowsWord(), "neurons to show (default: the setting rows)")] = None
    by: Annotated[
        Literal["magnitude", "positive"],
        Opt(BY, "rank by magnitude, or by the highest positive activation"),
    ] = "magnitude"
    force: OfAnother = False

    def run(self, session: Session) -> AtlasTop:
        return atlas_top(session, layers=self.layer, name=self.name, rows=self.rows, by=self.by, force=self.force)


@verb("atlas list", family=FAMILY, synonyms=("atlases",), example="atlas list", default=True)
class ListAtlases(Request, frozen=True):
    """List the atlases that are saved."""

    reads_only = True

    def run(self, session: Session) -> Listed:
        return Listed(rows=tuple(session.store.rows("atlas")))
