"""`expect` speaks of every number and text of every result, by names that stay."""

from __future__ import annotations

from typing import get_type_hints

import pytest
from msgspec import Struct

import sessions.results as results
from commands.completing import complete
from commands.grammar import VERBS
from sessions.events import Value
from sessions.results.path import names_of
from sessions.session import Session
from tests.commands.driving import failure, result


def test_every_result_has_the_main_table_that_it_names() -> None:
    for name in results.__all__:
        kind = getattr(results, name)
        if not issubclass(kind, Value) or kind.table == "rows":
            continue
        at: type[Struct] = kind
        for field in kind.table.split("."):
            assert field in names_of(at), f"{name} names its table {kind.table}"
            at = get_type_hints(at)[field]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_results_it_has(verb: str) -> None:
    kinds = VERBS[verb].results()
    assert kinds and all(issubclass(kind, Value) for kind in kinds)


def test_a_statement_reaches_every_part_of_a_result(little: Session) -> None:
    strongest = result(little, "verify all").neurons[0]
    result(little, f"expect result.rows[0].effect == {strongest.effect!r}")
    result(little, f"expect verify.effect@{strongest} == {strongest.effect!r}")
    result(little, f"expect verify.effect@L{strongest.layer}/N{strongest.index} < 100")
    result(little, "expect verify.rows.count == 20")
    result(little, "expect verify.held contains zero")
    result(little, f"expect circuit.neurons[0].layer == {strongest.layer}")
    compared = result(little, "ablate all")
    result(little, f'expect ablate.arms[-1].text == "{compared.arms[1].text}"')
    result(little, f'expect ablate.text@ablated == "{compared.arms[1].text}"')
    result(little, "expect ablate.target_probability@ablated differs-from ablate.target_probability@baseline")
    result(little, "expect result.arms.count == 2")


def test_a_row_about_a_neuron_answers_for_the_neuron(little: Session) -> None:
    row = result(little, "neurons top1").rows[0]
    result(little, f"expect neurons.rows[0].attribution == {row.neuron.attribution!r}")
    result(little, f"expect neurons.attribution@{row.neuron} == {row.neuron.attribution!r}")


def test_a_column_is_read_at_the_row_that_is_called_so(little: Session) -> None:
    rows = result(little, "faithfulness --sizes 5,20 --controls 0 --reference zero").rows
    result(little, f"expect faithfulness.kept@5 == {rows[0].kept!r}")
    result(little, "expect faithfulness.kept@20 >= faithfulness.kept@20")
    assert failure(little, "expect faithfulness.kept@7 > 0").hint == "its parts: 5, 20"


def test_a_result_is_compared_with_the_one_before_it(little: Session) -> None:
    for _ in range(2):
        result(little, "generate")
    result(little, "expect generate[-1].text same-as generate[-2].text")
    result(little, "amplify all -9")
    failed = failure(little, "expect generate[-1].text differs-from generate[-2].text")
    assert failed.error == "expectation"
    assert "generate has made 2" in failure(little, "expect generate[-3].text contains a").message


def test_what_is_not_known_is_no_number(little: Session) -> None:
    little.circuit = None
    result(little, "ablate L0/N1")
    failed = failure(little, "expect ablate.arms[0].target > 0")
    assert (failed.error, failed.message) == (
        "expectation",
        "expected ablate.arms[0].target > 0, but it is not known",
    )


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("expect faithfulness.kpet > 1", "faithfulness has no 'kpet'", "it has: "),
        ("expect faithfulness.row > 1", "faithfulness has no 'row'", "did you mean faithfulness.rows?"),
        ("expect faithfulnes.rows > 1", "unknown subject 'faithfulnes.rows'", "did you mean faithfulness?"),
        ("expect faithfulness > 1", "names no part of the result", "for example: faithfulness."),
        ("expect faithfulness.kept@50 > 1", "there is no result of faithfulness yet", "type it first"),
        ("expect generate[0].text contains a", "results count from the last", "generate[-2]"),
        ("expect verify.rows[ > 1", "does not name a part", "rows[0]"),
        ("expect top.chances > 1", "neither a number nor a text", "top.chances.count"),
        ("expect top.chances[90].text contains a", "has no item 90", "counted from 0"),
        ("expect top.chances[0].prob > 0", "top.chances[0] has no 'prob'", "did you mean probability?"),
        ("expect top.chances[0].probability > none.such", "unknown subject 'none.such'", ""),
        ("expect top.chances[0].__class__ > 0", "has no '__class__'", ""),
    ],
)
def test_a_wrong_name_is_told_the_right_ones(little: Session, line: str, message: str, hint: str) -> None:
    result(little, "top 5")
    failed = failure(little, line)
    assert failed.error == "usage" and message in failed.message and hint in failed.hint


def test_names_that_are_there_are_offered(little: Session) -> None:
    result(little, "top 5")
    assert "top.chances" in [each.text for each in complete("expect top.", session=little)]
    assert "top.chances[0].probability" in [each.text for each in complete("expect top.chances[0].p", session=little)]
