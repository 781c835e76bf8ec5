"""Injecting on smollm2: how much of a neuron's activation a captured state restores in another text.

The neurons are the 50 of a middle layer with the largest maxima in an atlas of the built-in paragraphs. For each, the
state at the input of its layer at its maximum is injected into one unrelated text; a random vector of the same norm is
the comparison. The missing part is the layer's own attention, which reads another text there: if its output in the
source is injected too, the whole activation is restored. Finally, states of a text are injected where they were
captured, at every layer and site, which must leave every bit of the logits unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from benchmarks.measuring import Figure, Table
from sessions.atlas.building import Building, plan
from sessions.directions.findings import Origin
from sessions.events import finished
from sessions.interventions.answering import ConditionedPrompt
from sessions.interventions.arms import Condition
from sessions.model.hooks import StateSite
from sessions.model.info import Prompt
from sessions.model.locate_word import marked
from sessions.model.opening import OpenModel
from sessions.model.tokens import encode
from sessions.model.units import Unit
from sessions.patching.injecting import Injection
from sessions.patching.transplanting import Transplant, captured, passed, source_of, transplanted
from sessions.patching.transplants import Observed
from sessions.texts.corpus import Corpus

#: The text into which all states are injected, and the word at which.
INTO, AT = "A detailed description of x is that", "x"
NEURONS, LENGTH = 50, 128
#: The part of its source activation that a neuron has to be given back, and that a random vector may give back, on
#: average.
BACK, CHANCE = 0.9, 0.3
SITES: tuple[StateSite, ...] = ("resid_pre", "resid_post", "mlp_out", "attn_out")


def figures(opened: OpenModel, found: Sequence[Observed]) -> list[Figure]:
    """The figures of restored activations (`found`, see `given_back`) and of states injected in their own places."""
    back = [each.given_back or 0.0 for each in found]
    chance = [abs(each.by_chance or 0.0) for each in found]
    return [
        Figure(f"mean share of {len(found)} activations given back by a state", fmean(back), BACK, {}, at_least=True),
        Figure("mean share that a random vector of the same norm gives back", fmean(chance), CHANCE, {}),
        Figure("logits that a state in its own place changes", changed_in_place(opened), 0, {}),
    ]


def table(found: Sequence[Observed]) -> Table:
    """The neurons, the least restored first."""
    rows = sorted(found, key=lambda each: each.given_back or 0.0)
    numbers = [
        (str(each.neuron), each.source or 0.0, each.without, each.injected, each.random, each.given_back or 0.0)
        for each in rows
    ]
    back = [each.given_back or 0.0 for each in found]
    most = sum(each >= BACK for each in back)
    return Table(
        f"{len(found)} neurons into {INTO!r}: median share given back {median(back):.2f}, {most} have {BACK} or more",
        ("neuron", "source", "without", "injected", "random", "given back"),
        tuple(numbers),
    )


def given_back(opened: OpenModel, layer: int | None = None, *, attention: bool = False) -> list[Observed]:
    """Inject the states of a layer's most strongly activated neurons into the same text; by default the middle layer.

    With `attention`, the output of the layer's attention in the source is injected too.
    """
    layer = opened.anatomy.n_layers // 2 if layer is None else layer
    encoded = encode(opened.tokenizer, Prompt(text=INTO, chat=False))
    position, into = marked(encoded, AT).position, (encoded, Condition("baseline"))
    found: list[Observed] = []
    for number, (neuron, origin) in enumerate(woken(opened, layer)):
        vector = captured(opened, source_of(opened.anatomy, origin), origin.position, layer, SITES[0])
        transplants = [Transplant(vector, vector.directions[layer], layer, SITES[0], position)]
        if attention:
            vector = captured(opened, source_of(opened.anatomy, origin), origin.position, layer, "attn_out")
            transplants.append(Transplant(vector, vector.directions[layer], layer, "attn_out", position))
        found.append(finished(transplanted(opened, into, transplants, observe=[neuron], rng=number)).observed[0])
    return found


def woken(opened: OpenModel, layer: int) -> list[tuple[Unit, Origin]]:
    """The neurons with the largest maxima in an atlas of the built-in paragraphs, and the places of the maxima."""
    corpus = Corpus("")
    building = Building(opened, plan(opened, corpus, finished(corpus.surveyed()), layers=[layer], length=LENGTH))
    for _ in building.fold(list(corpus.documents())):
        pass
    atlas = building.finished()
    best = atlas.layer(layer).high[0].argsort()[::-1][:NEURONS]
    found = []
    for index in best.tolist():
        maximum = atlas.maxima(Unit(layer, index))[0]
        text = str(opened.tokenizer.decode(list(maximum.ids)))
        origin = Origin(text=text, ids=maximum.ids, position=maximum.position, token=maximum.token)
        found.append((Unit(layer, index), origin))
    return found


def changed_in_place(opened: OpenModel) -> int:
    """How many logits of a text change when the state of a site is injected where it was captured."""
    encoded = encode(opened.tokenizer, Prompt(text=INTO, chat=False))
    asked: ConditionedPrompt = (encoded, Condition("baseline"))
    position = marked(encoded, AT).position
    places = [(layer, site) for layer in range(opened.anatomy.n_layers) for site in SITES]
    seen, plain = passed(opened, asked, [()], [position], states=places)
    changed = 0
    for layer, site in places:
        injection = Injection(layer, site, position, seen.states[layer, site][0, 0])
        changed += int((passed(opened, asked, [(injection,)], [])[1] != plain).sum())
    return changed
