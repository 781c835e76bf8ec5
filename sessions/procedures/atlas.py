"""An atlas built over a corpus, and its strongest neurons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sessions.artifacts import Key
from sessions.atlas.findings import TopRow
from sessions.errors import Cancelled, ModelError, UsageError
from sessions.events import Steps, with_partials
from sessions.model.units import Unit
from sessions.procedures.circuits import range_of
from sessions.results import AtlasBuilt, AtlasSoFar, AtlasTop, LayerSoFar
from sessions.session import Session
from sessions.texts.corpus import Corpus

if TYPE_CHECKING:
    from sessions.atlas.building import Building
    from sessions.model.pieces import Engine


def atlas_top(
    session: Session,
    *,
    layers: tuple[int, int],
    name: str | None,
    rows: int | None,
    by: Literal["magnitude", "positive"],
    force: bool,
) -> AtlasTop:
    """The neurons of a layer with the largest activations in an atlas."""
    from sessions.atlas.profiles import peak, strongest
    from sessions.directions.lens import pushed

    number, last = layers
    if number != last:
        raise UsageError(f"'{number}-{last}' is several layers", f"name one: atlas top {number}")
    opened = session.opened()
    atlas, notes = session.saved.read_atlas(name or "", force=force)
    range_of(session, layers)
    top = strongest(atlas, number, rows or session.settings.rows, by)
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
        by=by,
        notes=notes,
    )


def built_so_far(begun: Building, name: str) -> AtlasSoFar | None:
    """The largest activation of each layer so far; None before the first document."""
    import torch

    if not begun.progress.tokens:
        return None
    highest = [running.high[0].max(dim=0) for running in begun.running]
    home = highest[0].values.device  # one copy to the host, and not one a layer
    peaks = torch.stack([each.values.to(home, non_blocking=True) for each in highest]).tolist()
    places = torch.stack([each.indices.to(home, non_blocking=True) for each in highest]).tolist()
    layers = [
        LayerSoFar(Unit(layer, index), peak) for (layer, _), peak, index in zip(begun.sites, peaks, places, strict=True)
    ]
    progress = begun.progress
    of = begun.plan.survey.documents
    return AtlasSoFar(name=name, documents=progress.documents, of=of, tokens=progress.tokens, layers=tuple(layers))


def atlas_built(
    session: Session,
    path: Path,
    *,
    chosen: range | None,
    texts: Corpus,
    length: int | None,
    k: int | None,
    batch: int | None,
    memory: int | None,
    force: bool,
    name: str,
    line: str,
    engine: Engine | None,
) -> Steps[AtlasBuilt]:
    """Build it; `path` is where it is kept while it is not finished, and `engine` computes elsewhere."""
    from sessions.atlas import building, unfinished
    from sessions.model.rows import LARGEST_BATCH

    opened = session.opened()
    session.store.check_new("atlas", name, force)
    survey = yield from texts.surveyed(session.cancel)
    plan = building.plan(
        opened,
        texts,
        survey,
        layers=chosen,
        length=length or building.LENGTH,
        k=k or building.K,
        batch=batch or LARGEST_BATCH,
        memory=memory,
        under=session.state_key(),
    )
    if force:
        unfinished.discard(path)
    begun = building.Building(opened, plan)
    resumed = unfinished.gone_on(begun, path)
    notes = [f"resumed after {begun.progress.documents:,} documents"] if resumed else []
    steps = building.build(
        begun, texts, lambda: unfinished.keep(begun, path, name), cancel=session.cancel, engine=engine
    )
    try:
        atlas = yield from with_partials(steps, lambda: built_so_far(begun, name))
    except (Cancelled, ModelError) as stopped:
        if path.exists():
            stopped.hint = "; ".join(filter(None, (stopped.hint, "what has been read is kept: the same line goes on")))
        raise
    about = atlas.about
    if about.empty:
        notes.append(f"skipped {about.empty:,} empty {'document' if about.empty == 1 else 'documents'}")
    saved = session.keep(Key("atlas", name), atlas, line, force=force)
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
