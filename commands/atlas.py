"""What neurons do over a corpus: `atlas build`, `show`, `top`, `list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import structs

from commands.choices import BY
from commands.corpus import OfCorpus
from commands.fields import Batch
from commands.names import SavedName
from commands.ranges import Layers, LayersOrAll
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import RowsWord, SelectionWord, Whole
from sessions.atlas.findings import TopRow
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.model.units import Neuron
from sessions.procedures.circuits import range_of
from sessions.procedures.neuron_card import one_of
from sessions.results import AtlasBuilt, AtlasShown, AtlasTop, Listed
from sessions.session import Session
from sessions.store import Key

FAMILY = "Hidden states"

AtlasName = Annotated[str | None, Opt(SavedName("atlas"), "the atlas to read (default: the model's latest)")]
OfAnother = Annotated[bool, Flag("use the atlas even if it was made on another model")]


@verb(
    "atlas build",
    family=FAMILY,
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

    def run(self, session: Session) -> Steps[AtlasBuilt]:
        session.opened()
        from sessions.atlas.unfinished import claimed

        with claimed(session.store, self.name) as path:
            return (yield from self._built(session, path))

    def _built(self, session: Session, path: Path) -> Steps[AtlasBuilt]:
        """Build it; `path` is where it is kept while it is not finished."""
        from sessions.atlas import building, unfinished
        from sessions.model.rows import LARGEST_BATCH

        opened, name, chosen = session.opened(), self.name, range_of(session, self.layers)
        session.store.check_new("atlas", name, self.force)
        texts = self.read.documents()
        survey = yield from texts.surveyed(session.cancel)
        plan = building.plan(
            opened,
            texts,
            survey,
            layers=chosen,
            length=self.read.length or building.LENGTH,
            k=self.top or building.K,
            batch=self.batch or LARGEST_BATCH,
            memory=self.memory or building.MEMORY,
            under=session.state_key(),
        )
        if self.force:
            unfinished.discard(path)
        begun = building.Building(opened, plan)
        resumed = unfinished.gone_on(begun, path)
        notes = [f"resumed after {begun.progress.documents:,} documents"] if resumed else []
        atlas = yield from building.build(
            begun, texts, lambda: unfinished.keep(begun, path, name), cancel=session.cancel
        )
        about = atlas.about
        if about.empty:
            notes.append(f"{about.empty:,} documents are empty and were skipped")
        line = structs.replace(self, force=False).line()
        saved = session.keep(Key("atlas", name), atlas, line, force=self.force)
        unfinished.discard(path)
        return AtlasBuilt(
            name=name,
            corpus=about.corpus,
            documents=about.documents,
            empty=about.empty,
            tokens=about.tokens,
            layers=plan.layers,
            neurons=len(atlas),
            k=plan.k,
            length=plan.length,
            bytes=plan.bytes,
            path=str(saved),
            notes=tuple(notes),
        )


@verb("atlas show", family=FAMILY, example=("atlas show L12/N34", "atlas show L12/N34 --name small --rows 5"))
class ShowAtlas(Request, frozen=True):
    """Show a neuron's extremes over the corpus of an atlas, each in its context."""

    neuron: Annotated[str, Arg(SelectionWord(), "the neuron")]
    name: AtlasName = None
    rows: Annotated[int | None, Opt(RowsWord(), "maxima of each sign to show (default: the setting rows)")] = None
    force: OfAnother = False

    def run(self, session: Session) -> AtlasShown:
        from sessions.atlas.profiles import profile

        atlas, notes = session.saved.read_atlas(self.name or "", force=self.force)
        neuron = Neuron.parse(self.neuron) if session.model is None else one_of(session, self.neuron)
        return AtlasShown(profile=profile(atlas, neuron), listed=self.rows or session.settings.rows, notes=notes)


@verb("atlas top", family=FAMILY, example=("atlas top 12", "atlas top 12 --by positive --rows 30"))
class RankAtlas(Request, frozen=True):
    """List the neurons of a layer with the largest activations over the corpus of an atlas.

    --by positive ranks by the highest activation above 0; atlas:NAME:positive300 selects neurons by the same
    ranking.
    """

    layer: Annotated[tuple[int, int], Arg(Layers(), "the layer", metavar="LAYER")]
    name: AtlasName = None
    rows: Annotated[int | None, Opt(RowsWord(), "neurons to show (default: the setting rows)")] = None
    by: Annotated[
        Literal["magnitude", "positive"],
        Opt(BY, "rank by magnitude, or by the highest positive activation"),
    ] = "magnitude"
    force: OfAnother = False

    def run(self, session: Session) -> AtlasTop:
        from sessions.atlas.profiles import peak, strongest
        from sessions.directions.lens import pushed

        number, last = self.layer
        if number != last:
            raise UsageError(f"'{number}-{last}' is several layers", f"name one: atlas top {number}")
        opened = session.opened()
        atlas, notes = session.saved.read_atlas(self.name or "", force=self.force)
        range_of(session, self.layer)
        top = strongest(atlas, number, self.rows or session.settings.rows, self.by)
        pushes = pushed(opened.anatomy, opened.tokenizer, [neuron for neuron, _ in top])
        layer = atlas.layer(number)
        return AtlasTop(
            atlas=atlas.name,
            corpus=atlas.about.corpus,
            layer=number,
            rows=tuple(
                TopRow(
                    neuron=neuron,
                    peak=peak(maximum),
                    mean=float(layer.mean[neuron.index]),
                    std=float(layer.std[neuron.index]),
                    rate=float(layer.rate[neuron.index]),
                    up=up,
                )
                for (neuron, maximum), (up, _) in zip(top, pushes, strict=True)
            ),
            total=layer.width,
            by=self.by,
            notes=notes,
        )


@verb("atlas list", family=FAMILY, example="atlas list", default=True)
class ListAtlases(Request, frozen=True):
    """List the atlases that are saved."""

    def run(self, session: Session) -> Listed:
        return Listed(rows=tuple(session.store.rows("atlas")))
