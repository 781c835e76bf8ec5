"""Sorting, filtering, and lines about chosen neurons: what is shown is what was asked for, what is meant is marked."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from commands.grammar import VERBS, parse
from sessions.atlas.findings import Peak
from sessions.circuits.circuit import Circuit
from sessions.circuits.selection import Surroundings, resolve
from sessions.model.info import Token
from sessions.model.target import Target
from sessions.model.units import Unit
from sessions.results import NeuronRow
from tests.circuits import circuit_of
from workbench.app.columns import RANK, CircuitColumns, Sort
from workbench.app.composing import LETTERS, letters, line
from workbench.app.neuron_columns import COLUMNS
from workbench.app.session_view import SessionView
from workbench.app.unit_filter import NUMBERS as COMPARED
from workbench.app.unit_filter import Filter

WIDTH, LAYERS = 40, 6
TOKENS = (" the", "Austin", " the", "\n", "\udc80", "日本")
KEYS = (
    RANK, "layer", "index", "position", "token", "attribution", "share", "activation", "up", "down", "peak", "trigger",
    "rate",
)  # fmt: skip


def circuit(neurons: tuple[Unit, ...]) -> Circuit:
    return circuit_of(neurons, TOKENS, target=Target(tokens=(Token(3, " c"),), value=-2.0))


VALUES = st.none() | st.integers(-3, 3).map(float)
NEURONS = st.builds(
    Unit,
    st.integers(0, LAYERS - 1),
    st.integers(0, WIDTH - 1),
    st.none() | st.integers(0, len(TOKENS) - 1),
    VALUES,
    VALUES,
)
CIRCUITS = st.lists(NEURONS, min_size=1, max_size=60, unique_by=lambda neuron: neuron.place).map(
    lambda neurons: circuit(tuple(neurons))
)
#: Many neurons in two layers, so that some places are full, and some neurons stand for all positions.
CROWDED = st.lists(
    st.builds(Unit, st.integers(0, 1), st.integers(0, 5), st.none() | st.integers(0, 2), st.just(1.0)),
    min_size=12,
    max_size=40,
    unique_by=lambda neuron: neuron.place,
).map(lambda neurons: circuit(tuple(neurons)))

Rows = dict[tuple[int, int, int | None], NeuronRow]
#: Words of a filter: of what kind they are, and what they mean.
NUMBERS: dict[str, tuple[str, Callable[[Unit], bool]]] = {
    "L2": ("layer", lambda neuron: neuron.layer == 2),
    "L1-4": ("layer", lambda neuron: 1 <= neuron.layer <= 4),
    "n7": ("index", lambda neuron: neuron.index == 7),
    "N3-20": ("index", lambda neuron: 3 <= neuron.index <= 20),
    "@1": ("position", lambda neuron: neuron.position == 1),
    "@-1": ("position", lambda neuron: neuron.position == len(TOKENS) - 1),
    "@0-3": ("position", lambda neuron: neuron.position is not None and neuron.position <= 3),
    "L2/*": ("neuron", lambda neuron: neuron.layer == 2),
    "L1/N3": ("neuron", lambda neuron: neuron.site == (1, 3)),
    "2/7": ("neuron", lambda neuron: neuron.site == (2, 7)),
    "3 5": ("neuron", lambda neuron: neuron.site == (3, 5)),
    "L1/N3@-1": ("neuron", lambda neuron: neuron.place == (1, 3, len(TOKENS) - 1)),
    "attr>1": ("attr>1", lambda neuron: neuron.attribution is not None and neuron.attribution > 1),
    "|attr|>1": ("|attr|>1", lambda neuron: abs(neuron.attribution or 0) > 1),
    "attribution <= -2": ("attribution<=-2", lambda neuron: (neuron.attribution or 0) <= -2),
    "effect<-0.1": ("effect<-0.1", lambda neuron: neuron.effect is not None and neuron.effect < -0.1),
    "act>2": ("act>2", lambda neuron: neuron.activation is not None and neuron.activation > 2),
    "share>5%": ("share>5%", lambda neuron: (neuron.attribution or 0) / -2.0 > 0.05),
    "layer=3": ("layer=3", lambda neuron: neuron.layer == 3),
    "+": ("sign", lambda neuron: (neuron.attribution or 0) > 0),
    "-": ("sign", lambda neuron: (neuron.attribution or 0) < 0),
}
TEXTS = {
    "the": "the",
    "AUS": "aus",
    '" the"': " the",
    "\\n": "\n",
    "日": "日",
    "nowhere": "nowhere",
    "up1": "up1",
    "WOKE1": "woke1",
}


def known(found: Circuit, every: int) -> Rows:
    """Rows of some of a circuit's neurons, and of one that is not in it."""
    rows = [
        NeuronRow(neuron=neuron, token="", share=None, up=(f" up{number % 4}", "the"), down=(), **over_corpus(number))
        for number, neuron in enumerate((*found.neurons[::every], Unit(99, 99, 0)))
    ]
    return {row.neuron.place: row for row in rows}


def over_corpus(number: int) -> dict[str, Any]:
    """What an atlas says of every other neuron."""
    if number % 2:
        return {}
    peak = Peak(value=float(number % 5 - 2), document=0, position=number, token=f" woke{number % 3}")
    return {"peak": peak, "rate": number % 3 / 10}


def value(found: Circuit, row: int, key: str, rows: Rows) -> object:
    """What a column is sorted by, read from the neuron itself; None where that is missing."""
    neuron = found.neurons[row]
    told = rows.get(neuron.place)
    peak = told.peak if told else None
    texts = {
        "token": found.token(neuron.position),
        "up": "".join(told.up[:1]) if told else "",
        "down": "".join(told.down[:1]) if told else "",
        "trigger": peak.token if peak else "",
    }
    if key in texts:
        return (texts[key].strip().casefold(), texts[key]) if texts[key] else None
    if key in ("peak", "rate"):
        return None if told is None or peak is None else peak.value if key == "peak" else told.rate
    return found.share(neuron) if key == "share" else getattr(neuron, key)


@settings(deadline=None)
@given(CIRCUITS, st.sampled_from(KEYS), st.booleans(), st.integers(1, 4))
def test_sorting_loses_nothing_keeps_the_order_of_equals_and_puts_what_is_missing_last(
    found: Circuit, key: str, down: bool, every: int
) -> None:
    rows = known(found, every)
    order = CircuitColumns(found).arranged(Sort(key, down), Filter(), rows)
    got = list(range(len(found))) if order is None else order.tolist()
    if key == RANK:
        assert got == sorted(range(len(found)), reverse=down)
        return
    there = [row for row in range(len(found)) if value(found, row, key, rows) is not None]
    missing = [row for row in range(len(found)) if row not in there]
    assert got == sorted(there, key=lambda row: value(found, row, key, rows), reverse=down) + missing


def passes(found: Circuit, row: int, words: Collection[str], rows: Rows, marks: Collection[int]) -> bool:
    """Whether a neuron passes a filter, said once more in plain Python."""
    neuron = found.neurons[row]
    told = rows.get(neuron.place)
    texts = [found.token(neuron.position), *(told.up if told else ())]
    texts += [told.peak.token] if told and told.peak else []
    kinds: dict[str, bool] = {"marked": row in marks} if "*" in words else {}
    for word in words:
        if word in TEXTS:
            kinds[word] = any(TEXTS[word] in text.casefold() for text in texts)
        elif word in NUMBERS:
            kind, means = NUMBERS[word]
            kinds[kind] = kinds.get(kind, False) or means(neuron)
    return all(kinds.values())


@settings(deadline=None)
@given(
    CIRCUITS, st.lists(st.sampled_from([*NUMBERS, *TEXTS, "*"]), max_size=4, unique=True), st.integers(1, 4), st.data()
)
def test_a_filter_shows_exactly_the_neurons_that_pass_it(
    found: Circuit, words: list[str], every: int, data: st.DataObject
) -> None:
    rows = known(found, every)
    marks = data.draw(st.sets(st.integers(0, len(found) - 1)))
    order = CircuitColumns(found).arranged(Sort(), Filter.read(" ".join(words)), rows, marks)
    got = list(range(len(found))) if order is None else order.tolist()
    assert got == [row for row in range(len(found)) if passes(found, row, words, rows, marks)]


@settings(deadline=None)
@given(CIRCUITS, st.sampled_from(KEYS), st.booleans(), st.sampled_from([*NUMBERS, *TEXTS]))
def test_what_passes_a_filter_keeps_the_order(found: Circuit, key: str, down: bool, word: str) -> None:
    columns, rows = CircuitColumns(found), known(found, 2)
    every = columns.arranged(Sort(key, down), Filter(), rows)
    passing = columns.arranged(Sort(), Filter.read(word), rows)
    assert passing is not None
    order = columns.arranged(Sort(key, down), Filter.read(word), rows)
    assert order is not None
    whole = range(len(found)) if every is None else every.tolist()
    assert order.tolist() == [row for row in whole if row in set(passing.tolist())]


@pytest.mark.parametrize(
    "half", ["L", "L2-", "N", "n N7-", "@", "@-", "@3-", "attr>", "|", "|attr", "|attr|", "|attr|>", "act<-", "share>."]
)
def test_half_a_word_hides_nothing_that_it_may_still_mean(half: str) -> None:
    assert Filter.read(half)._replace(texts=()) == Filter()
    assert Filter.read(half).texts in ((), ("n",))


@pytest.mark.parametrize("text", ["24", "24/", "24/1005", "L24/N1005", "24 1005", "l24/n1005@41"])
def test_a_neuron_is_found_by_its_plain_numbers_from_the_first_digit_on(text: str) -> None:
    found = circuit((Unit(24, 1005, 41, 1.0), Unit(3, 7, 1, 1.0), Unit(5, 7, 0, 1.0)))
    order = CircuitColumns(found).arranged(Sort(), Filter.read(text), {})
    assert order is not None and order.tolist() == [0]


def test_several_neurons_widen_a_filter_as_words_of_one_kind_do() -> None:
    found = circuit((Unit(2, 4), Unit(2, 5), Unit(3, 5), Unit(1, 1)))
    order = CircuitColumns(found).arranged(Sort(), Filter.read("2 4 3 5"), {})
    assert order is not None and order.tolist() == [0, 2]


def test_the_titles_that_filters_take_are_those_of_the_table() -> None:
    titles = {column.key: column.title for column in COLUMNS}
    assert {column.key: column.title for column in COMPARED}.items() <= titles.items()


@settings(deadline=None)
@given(CIRCUITS, st.text(max_size=12), st.text(max_size=6))
def test_any_text_is_a_filter_and_a_further_word_of_text_only_narrows_it(found: Circuit, text: str, more: str) -> None:
    columns = CircuitColumns(found)
    before = columns.mask(Filter.read(text), {})
    quoted = '"' + more.replace('"', "") + '"'
    closed = text + '"' if text.count('"') % 2 else text
    after = columns.mask(Filter.read(f"{closed} {quoted}"), {})
    if before is not None and after is not None:
        assert not (after & ~before).any()


@settings(deadline=None)
@given(CIRCUITS | CROWDED, st.data(), st.sampled_from(sorted({*letters().values()} - {"inject", "rewrite"})))
def test_a_line_about_marked_neurons_is_a_command_that_changes_exactly_these_where_they_are(
    found: Circuit, data: st.DataObject, verb: str
) -> None:
    how = data.draw(st.sampled_from(["any", "beginning", "layers", "nearly a beginning"]))
    rows = set(range(data.draw(st.integers(1, len(found)))))
    if how == "any":
        rows = data.draw(st.sets(st.integers(0, len(found) - 1), min_size=1))
    elif how == "layers":
        first = data.draw(st.sampled_from(found.neurons))
        rows = {row for row, neuron in enumerate(found.neurons) if neuron.layer >= first.layer}
        if data.draw(st.booleans()):
            rows = {row for row in rows if found.neurons[row].position == first.position}
    elif how == "nearly a beginning":
        rows = rows - data.draw(st.sets(st.integers(0, len(found) - 1), max_size=3)) or rows
    composed = line(verb, found, rows)
    assert composed is not None and composed.endswith(" ")
    params = parse(composed).params
    text = params["selection"] if "selection" in params else " ".join(params["words"])
    around = Surroundings(found, (WIDTH,) * LAYERS, len(TOKENS), (), lambda name: found)
    selection = resolve(text, around)
    if verb == "suppress":  # which knows no positions
        assert not selection.pinned
        assert {neuron.site for neuron in selection.neurons} == {found.neurons[row].site for row in rows}
        return
    meant = selection.spread(params.get("at", "circuit"))
    assert {neuron.place for neuron in meant} == {found.neurons[row].place for row in rows}


def test_inject_observes_marked_neurons(view: SessionView) -> None:
    assert view.circuit is not None
    first, second = (Unit(*neuron.site) for neuron in view.circuit.neurons[:2])
    composed = line("inject", view.circuit, {0, 1})
    assert composed == f"inject --observe {first},{second} "
    watched = parse(f'{composed} texas --into "a b" --at b').params["observe"]
    assert watched == f"{first},{second}"


def test_many_neurons_are_named_in_a_few_words(view: SessionView) -> None:
    found = view.circuit
    assert found is not None
    of_layer = {row for row, neuron in enumerate(found.neurons) if neuron.layer == 29}
    assert line("ablate", found, range(50)) == "ablate top50 --at circuit "
    assert line("ablate", found, range(len(found))) == "ablate all --at circuit "
    assert line("ablate", found, of_layer) == "ablate all & L29/* --at circuit "
    assert line("ablate", found, of_layer - {1}) is not None
    assert line("drop", found, set(range(60)) - {1}) == f"drop top60 - {found.neurons[1]} "
    assert line("amplify", found, [0, 7]) == f"amplify {found.neurons[0]},{found.neurons[7]} "


def test_too_many_neurons_that_nothing_short_describes_are_not_written_out(view: SessionView) -> None:
    neurons = tuple(Unit(row % 7, row, row % 5) for row in range(9000))
    assert view.circuit is not None
    found = structs.replace(view.circuit, neurons=neurons)
    assert line("ablate", found, range(0, 9000, 2)) is None


@pytest.mark.parametrize("verb", letters().values())
def test_letters_are_those_of_verbs_that_exist(verb: str) -> None:
    assert verb in VERBS


def test_the_verbs_of_the_issue_have_their_letters() -> None:
    wanted = {"a": "ablate", "m": "amplify", "s": "suppress", "r": "rewrite", "i": "inject"}
    assert wanted.items() <= LETTERS.items()


def test_sums_leave_out_what_is_not_known() -> None:
    columns = CircuitColumns(circuit((Unit(0, 1, 0, 1.5), Unit(0, 2, 0), Unit(1, 2, 0, -0.5))))
    assert columns.total(columns.layers == 0) == (2, 1.5)
    assert math.isnan(columns.attributions[1])
