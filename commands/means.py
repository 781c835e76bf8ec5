"""What neurons are on average: `means`, kept by name, and as a reference of other verbs."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from commands.atlas import CorpusWord
from commands.attributing import corpus as corpus_of
from commands.choices import OneOf
from commands.names import FileName, Name, SavedName
from commands.verb import argument, option, verb
from commands.words import SEEDS, Rows, SelectionWord, Whole
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.lines import line_of
from sessions.model.units import Neuron
from sessions.results import LayerMeans, Listed, MeansBuilt, MeansShown, NeuronMean
from sessions.session import Session

if TYPE_CHECKING:
    from torch import Tensor

    from sessions.circuits.means import Means

FAMILY = "Hidden states"

ACTIONS = OneOf(
    "action",
    {
        "build": "take them, and keep them under a name",
        "show": "what they are: by layer, and of single neurons",
        "list": "the means there are",
    },
)
#: Tokens that documents of a corpus are cut to, unless asked otherwise.
LENGTH = 128


@verb("means", family=FAMILY, example="means build facts --docs 12")
@argument("action", help="build, show or list", type=ACTIONS, default="list")
@argument("name", help="the name to keep them under, or of those to show", type=SavedName("means"), required=False)
@argument("selection", help="of show: these neurons (default: the strongest)", type=SelectionWord(), required=False)
@option("--prompts", type=FileName(), help="take them over a file of prompts")
@option("--raw", is_flag=True, help="with --prompts: read them without the chat template")
@option("--corpus", type=CorpusWord(), help="take them over a corpus (default: the built-in paragraphs)")
@option("--length", type=Whole(2, 65536), help=f"tokens that documents are cut to, BOS included (default: {LENGTH})")
@option("--docs", type=Whole(most=SEEDS), help="documents to read at most, from the first")
@option("--by-position", is_flag=True, help="also a mean for each position, counted from the end")
@option("--batch", type=Whole(), help="tokens computed at once at most, padding included (default: 1024)")
@option("--rows", type=Rows(), help="of show: neurons to show (default: the setting rows)")
@option("--force", is_flag=True, help="replace what has that name; show those of another model")
def means(
    session: Session,
    action: str,
    name: str | None,
    selection: str | None,
    prompts: Path | None,
    raw: bool,
    corpus: str | None,
    length: int | None,
    docs: int | None,
    by_position: bool,
    batch: int | None,
    rows: int | None,
    force: bool,
) -> Steps[MeansBuilt | MeansShown | Listed]:
    """Take the mean activation of every neuron over texts, and keep it under a name.

    A mean is over all positions but the first of each text, where attention sinks. --by-position also takes it for
    each position, counted from the end; positions that few texts have share one. What is suppressed or edited now is
    so in the means.

    They are a reference wherever one is given: discover " Austin" --reference means:facts, verify --reference
    means:facts, faithfulness --means means:facts, ablate top10 --mean --over means:facts. Of many prompts, those by
    position are used where they were taken.
    """
    building = {"--prompts": prompts, "--raw": raw, "--corpus": corpus, "--length": length, "--docs": docs,
                "--by-position": by_position, "--batch": batch}  # fmt: skip
    if action != "build":
        _refuse(action, building)
    if action != "show":
        _refuse(action, {"--rows": rows, "a selection": selection})
    if action == "list":
        _refuse(action, {"a name": name})
        return Listed(rows=tuple(session.store.rows("means")))
    if name is None:
        raise UsageError(f"means {action} needs a name", f"for example: means {action} facts")
    if action == "show":
        return _shown(session, name, selection, rows, force)
    return (yield from _built(session, name, prompts, raw, corpus, length, docs, by_position, batch, force))


def _refuse(action: str, given: Mapping[str, object]) -> None:
    """Refuse words that an action has no use for."""
    for word, value in given.items():
        if value is not None and value is not False:
            raise UsageError(f"{word} says nothing to means {action}", "leave it out, or see help means")


def _built(
    session: Session,
    name: str,
    prompts: Path | None,
    raw: bool,
    corpus: str | None,
    length: int | None,
    docs: int | None,
    by_position: bool,
    batch: int | None,
    force: bool,
) -> Steps[MeansBuilt]:
    from sessions.circuits.means import About, Means, by_layer
    from sessions.circuits.recording import means as taken
    from sessions.model.rows import LARGEST_BATCH

    opened, made = session.opened(), Name().read(name)
    if not force and made in session.store.names("means"):
        raise ArtifactError(f"means '{made}' exist already", "replace them with --force, or choose another name")
    if prompts is not None:
        about_corpus = {"--corpus": corpus, "--length": length, "--docs": docs}
        wrong = next((option for option, value in about_corpus.items() if value is not None), None)
        if wrong is not None:
            raise UsageError(f"{wrong} is for a corpus, and --prompts names a file", "leave one of them out")
        texts, over = corpus_of(session, prompts, raw)
    elif raw:
        raise UsageError("--raw is for --prompts: a corpus is read as it stands", "leave it out")
    else:
        texts, over = yield from _documents(session, corpus, length or LENGTH, docs)
    under, tokens = session.under(), batch or LARGEST_BATCH
    whole = yield from taken(opened, texts, session.home, session.cancel, under=under, batch=tokens)
    places: tuple[Tensor, ...] = ()
    if by_position:
        places = yield from taken(opened, texts, session.home, session.cancel, aligned=True, under=under, batch=tokens)
    counted = [len(ids) - 1 for ids in texts if len(ids) > 1]
    about = About(
        over=over,
        texts=len(counted),
        tokens=sum(counted),
        sha256=sha256(repr([list(ids) for ids in texts]).encode()).hexdigest(),
        under=under,
    )
    anatomy = opened.anatomy
    found = Means(about, by_layer(anatomy, whole), by_layer(anatomy, places) if by_position else ())
    options = {"--prompts": prompts, "--raw": raw, "--corpus": corpus, "--length": length, "--docs": docs,
               "--by-position": by_position}  # fmt: skip
    path = session.store.save(
        "means",
        made,
        found,
        model=opened.info.name,
        fingerprint=opened.info.fingerprint,
        command=line_of(["means", "build", made], options),
        force=force,
    )
    return MeansBuilt(
        name=made,
        over=over,
        texts=about.texts,
        tokens=about.tokens,
        neurons=len(found),
        places=len(found.places[0]) if found.places else 0,
        path=str(path),
    )


def _documents(
    session: Session, word: str | None, length: int, docs: int | None
) -> Steps[tuple[list[tuple[int, ...]], str]]:
    """The ids of the documents of a corpus, each cut, and what the corpus is called."""
    from sessions.atlas.building import document_ids
    from sessions.texts.corpus import Corpus

    texts, opened = Corpus(word or "", docs), session.opened()
    survey = yield from texts.surveyed(session.cancel)
    found = [tuple(document_ids(opened, text, length)) for text in texts.documents()]
    texts.check(survey)
    return found, f"{survey.documents:,} documents of {texts.name}"


def _shown(session: Session, name: str, selection: str | None, rows: int | None, force: bool) -> MeansShown:
    found, notes = session.saved.read_means(name, force=force)
    neurons = _strongest(found, rows or session.settings.rows)
    if selection is not None:
        chosen = dict.fromkeys(neuron.site for neuron in session.select(selection).neurons)
        for layer, index in chosen:
            if layer >= len(found.layers) or index >= len(found.layers[layer]):
                raise UsageError(f"means '{name}' say nothing of L{layer}/N{index}", "they are of another model")
        neurons = [Neuron(*site) for site in list(chosen)[: rows or session.settings.rows]]
    about = found.about
    return MeansShown(
        name=name,
        model=found.model,
        over=about.over,
        texts=about.texts,
        tokens=about.tokens,
        size=len(found),
        places=len(found.places[0]) if found.places else 0,
        layers=tuple(_of_layer(found, layer) for layer in range(len(found.layers))),
        neurons=tuple(NeuronMean(neuron=neuron, mean=found.of(neuron)) for neuron in neurons),
        notes=notes,
    )


def _of_layer(found: Means, layer: int) -> LayerMeans:
    values = found.layers[layer]
    strongest = Neuron(layer, int(values.abs().argmax()))
    return LayerMeans(
        layer=layer,
        neurons=len(values),
        size=float(values.double().abs().mean()),
        strongest=strongest,
        mean=found.of(strongest),
    )


def _strongest(found: Means, count: int) -> list[Neuron]:
    """Those with the largest |mean| of all layers."""
    pairs = [
        (-abs(float(values[index])), layer, index)
        for layer, values in enumerate(found.layers)
        for index in values.abs().topk(min(count, len(values))).indices.tolist()
    ]
    return [Neuron(layer, index) for _, layer, index in sorted(pairs)[:count]]
