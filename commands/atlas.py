"""What neurons do over a corpus: `atlas`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from commands.choices import BY, OneOf
from commands.circuits import range_of
from commands.names import FileName, Name, SavedName
from commands.neuron import one_of
from commands.ranges import ALL_LAYERS, Layers, LayersOrAll
from commands.verb import argument, option, verb
from commands.words import SEEDS, Rows, SelectionWord, Whole, Word
from sessions.atlas.findings import TopRow
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.lines import line_of
from sessions.model.units import Neuron
from sessions.results import AtlasBuilt, AtlasShown, AtlasTop, Listed
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.atlas.atlas import By

FAMILY = "Hidden states"

ACTIONS = OneOf(
    "action",
    {
        "build": "make one, under a name",
        "show": "what a neuron did: its maxima in their contexts",
        "top": "the neurons of a layer with the largest activations",
        "list": "the atlases there are",
    },
)


class CorpusWord(FileName):
    """A corpus: a file, a folder, or `hf:NAME`."""

    name = "corpus"
    shape = "FILE|FOLDER|hf:NAME"

    def read(self, text: str) -> str:  # type: ignore[override]
        if not text.startswith("hf:"):
            super().read(text)
        elif text == "hf:":
            raise UsageError("the data set has no name", "for example: hf:roneneldan/TinyStories")
        return text


class Subject(Word):
    """What an action of `atlas` is about: a name, a neuron, or a layer."""

    name = "subject"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        action = ctx.args[0] if ctx.args else ""
        kinds: dict[str, Word] = {"build": SavedName("atlas"), "show": SelectionWord(), "top": Layers()}
        return kinds[action].shell_complete(ctx, param, incomplete) if action in kinds else []


@verb("atlas", family=FAMILY, example="atlas build small --docs 12 --layers 12")
@argument("action", help="build, show, top or list", type=ACTIONS, default="list")
@argument("subject", help="a name to build, a neuron to show, a layer", type=Subject(), required=False)
@option("--name", type=SavedName("atlas"), help="the atlas to show (default: the model's latest)")
@option("--corpus", type=CorpusWord(), help="what to read (default: some hundred short paragraphs that are built in)")
@option("--layers", type=LayersOrAll(), help="only these layers: 12, 9-14 or all (the default)")
@option("--length", type=Whole(2, 65536), help="tokens that documents are cut to, BOS included (default: 128)")
@option("--docs", type=Whole(most=SEEDS), help="documents to read at most, from the first")
@option("--top", type=Whole(1, 1000), help="highest and lowest activations to keep of each neuron (default: 10)")
@option("--batch", type=Whole(), help="tokens computed at once at most, padding included (default: 1024)")
@option("--memory", type=Whole(), help="MiB that it may take beside the model (default: 1024)")
@option(
    "--rows",
    type=Rows(),
    help="neurons of a layer, or maxima of each sign, to show (default: the setting rows)",
)
@option("--by", type=BY, help="of top: rank by magnitude (the default), or by the highest positive activation")
@option("--force", is_flag=True, help="replace what has that name, begin anew; show it even if of another model")
def atlas(
    session: Session,
    action: str,
    subject: str | None,
    name: str | None,
    corpus: str | None,
    layers: tuple[int, int] | str | None,
    length: int | None,
    docs: int | None,
    top: int | None,
    batch: int | None,
    memory: int | None,
    rows: int | None,
    by: By | None,
    force: bool,
) -> Steps[AtlasBuilt | AtlasShown | AtlasTop | Listed]:
    """Read a corpus and keep what every neuron did: extremes in their contexts, mean, spread, firing rate.

    atlas build NAME reads it, once; atlas show L12/N34 tells of a neuron, atlas top 12 of the strongest of a layer,
    both from the model's latest atlas unless --name names another; --by positive ranks by the highest activation above
    0 alone, and atlas:NAME:positive300 selects so. Files of text have a blank line between documents,
    JSONL a document a line, {"text": "…"}; of a folder all such files are read, of hf:NAME[:SPLIT] the column text.
    Special tokens are read and not counted. What was built when it was killed is not lost: the same line goes on.

    A neuron behind a plain nonlinearity fires above 0; one that is gated, above a tenth of its largest |activation|.
    Quantiles are read off a histogram and off by less than a quarter of their value. export FILE.json --name atlas:NAME
    writes the highest activation of each neuron for other programs.
    """
    making = {"corpus": corpus, "layers": layers, "length": length, "docs": docs, "top": top, "batch": batch}
    if action == "build":
        _refuse(action, name=name, rows=rows, by=by)
        if subject is None:
            raise UsageError("atlas build needs a name", "for example: atlas build small")
        made = Name().read(subject)
        session.opened()
        from sessions.atlas.unfinished import claimed

        with claimed(session.store, made) as path:
            return (yield from _built(session, made, path, corpus, layers, length, docs, top, batch, memory, force))
    _refuse(action, **making, memory=memory)
    if action == "list":
        _refuse(action, by=by)
        return Listed(rows=tuple(session.store.rows("atlas")))
    if subject is None:
        raise UsageError(
            f"atlas {action} needs a {'neuron' if action == 'show' else 'layer'}",
            f"for example: atlas {action} {'L12/N34' if action == 'show' else '12'}",
        )
    if action == "show":
        _refuse(action, by=by)
        return _shown(session, subject, name or "", rows, force)
    return _topped(session, subject, name or "", rows, by or "magnitude", force)


def _refuse(action: str, **given: object) -> None:
    """Refuse options that an action has no use for."""
    for option_name, value in given.items():
        if value is not None:
            raise UsageError(f"--{option_name} says nothing to atlas {action}", "leave it out, or see help atlas")


def _built(
    session: Session,
    name: str,
    path: Path,
    corpus: str | None,
    layers: tuple[int, int] | str | None,
    length: int | None,
    docs: int | None,
    top: int | None,
    batch: int | None,
    memory: int | None,
    force: bool,
) -> Steps[AtlasBuilt]:
    """Build one; `path` is where it is kept while it is not finished."""
    from sessions.atlas import building as making
    from sessions.atlas import unfinished
    from sessions.model.rows import LARGEST_BATCH
    from sessions.texts.corpus import Corpus

    opened = session.opened()
    span = None if layers == ALL_LAYERS else layers
    chosen = range_of(session, span)  # type: ignore[arg-type]
    if not force and name in session.store.names("atlas"):
        raise ArtifactError(f"atlas '{name}' exists already", "replace it with --force, or choose another name")
    texts = Corpus(corpus or "", docs)
    survey = yield from texts.surveyed(session.cancel)
    plan = making.plan(
        opened,
        texts,
        survey,
        layers=chosen,
        length=length or making.LENGTH,
        k=top or making.K,
        batch=batch or LARGEST_BATCH,
        memory=memory or making.MEMORY,
        under=session.under(),
    )
    if force:
        unfinished.discard(path)
    begun = making.Building(opened, plan)
    resumed = unfinished.gone_on(begun, path)
    notes = [f"went on after {begun.progress.documents:,} documents"] if resumed else []
    made = yield from making.build(begun, texts, lambda: unfinished.keep(begun, path, name), cancel=session.cancel)
    if made.about.empty:
        notes.append(f"{made.about.empty:,} of the documents are empty, and were skipped")
    options = {"--corpus": corpus, "--layers": None if span is None else "-".join(map(str, span)),
               "--length": length, "--docs": docs, "--top": top}  # fmt: skip
    saved = session.store.save(
        "atlas",
        name,
        made,
        model=made.model,
        fingerprint=made.fingerprint,
        command=line_of(["atlas", "build", name], options),
        force=force,
    )
    unfinished.discard(path)
    return AtlasBuilt(
        name=name,
        corpus=made.about.corpus,
        documents=made.about.documents,
        empty=made.about.empty,
        tokens=made.about.tokens,
        layers=plan.layers,
        neurons=len(made),
        k=plan.k,
        length=plan.length,
        bytes=plan.bytes,
        path=str(saved),
        notes=tuple(notes),
    )


def _shown(session: Session, subject: str, name: str, rows: int | None, force: bool) -> AtlasShown:
    from sessions.atlas.telling import profile

    found, notes = session.saved.read_atlas(name, force=force)
    neuron = one_of(session, SelectionWord().read(subject)) if session.model is not None else Neuron.parse(subject)
    return AtlasShown(profile=profile(found, neuron), listed=rows or session.settings.rows, notes=notes)


def _topped(session: Session, subject: str, name: str, rows: int | None, by: By, force: bool) -> AtlasTop:
    from sessions.atlas.telling import peak, strongest
    from sessions.directions.lens import pushed

    first, last = Layers().read(subject)
    if first != last:
        raise UsageError(f"'{subject}' is several layers", f"one of them: atlas top {first}")
    opened = session.opened()
    found, notes = session.saved.read_atlas(name, force=force)
    range_of(session, (first, last))
    top = strongest(found, first, rows or session.settings.rows, by)
    pushes = pushed(opened.anatomy, opened.tokenizer, [neuron for neuron, _ in top])
    layer = found.layer(first)
    return AtlasTop(
        atlas=found.name,
        corpus=found.about.corpus,
        layer=first,
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
