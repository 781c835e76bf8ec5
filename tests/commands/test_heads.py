"""`attention`: heads at one query, the card of one of them, and lines that are refused."""

from __future__ import annotations

import pytest
import torch

from sessions.model.opening import adopt
from sessions.model.units import Unit
from sessions.results import HeadCard, HeadTable
from sessions.session import Session
from sessions.views import view
from sessions.views.blocks import Heat, Table
from sessions.views.registry import whole
from tests.commands.driving import failure, result, unharmed
from tests.families import tiny, tiny_tokenizer


def test_the_table_has_every_head_at_the_last_token(little: Session) -> None:
    table = result(little, "attention")
    assert isinstance(table, HeadTable) and len(table.rows) == 12 and table.length == 6 and table.at == 5
    own = tiny("llama")  # the same weights; transformers leaves hooks on a model that it reads attentions from
    own.set_attn_implementation("eager")
    weights = own(torch.tensor([little.encoded().ids]), output_attentions=True).attentions
    for row in table.rows:
        expected = weights[row.neuron.layer][0, row.neuron.index, -1]
        assert row.weight == pytest.approx(float(expected.max()), abs=1e-6)
        assert (row.position, row.first) == (int(expected.argmax()), pytest.approx(float(expected[0]), abs=1e-6))
        assert row.entropy == pytest.approx(float(-(expected * expected.log()).sum()), abs=1e-5)


def test_the_table_is_sorted_and_every_row_can_be_acted_on(little: Session) -> None:
    for by in ("induction", "previous", "entropy"):
        values = [getattr(row, by) for row in result(little, f"attention --by {by}").rows]
        assert values == sorted(values, reverse=by != "entropy")
    table = result(little, "attention --layer 1 --by layer")
    assert [str(row.neuron) for row in table.rows] == ["L1/H0", "L1/H1", "L1/H2", "L1/H3"]
    (shown,) = (block for block in view(table) if isinstance(block, Table))
    assert [row.stands_for.kind for row in shown.rows if row.stands_for] == ["head"] * 4
    for row in shown.rows:
        assert row.stands_for is not None and result(little, f"attention {row.stands_for.name}")
        assert result(little, f"ablate {row.stands_for.name}")


def test_the_table_lists_as_many_as_asked_and_has_all_of_them(little: Session) -> None:
    table = result(little, "attention --rows 5")
    (shown,) = (block for block in view(table) if isinstance(block, Table))
    assert len(shown.rows) == 5 and "5 of 12 heads" in shown.note
    assert len(whole(table)[0].rows) == 12


def test_a_card_shows_the_pattern_of_its_head(little: Session) -> None:
    card = result(little, "attention L1/H2")
    assert isinstance(card, HeadCard) and card.queries == card.columns == tuple(range(6))
    for query, row in zip(card.queries, card.pattern, strict=True):
        assert all(weight is None for weight in row[query + 1 :])
        assert sum(weight or 0.0 for weight in row) == pytest.approx(1.0, abs=1e-3)
    assert card.shared == (3,) and card.at == 5 and not card.split
    assert len(card.ov) == len(card.qk) == 3 and len(card.up) == 6
    assert any(isinstance(block, Heat) for block in view(card))


def test_one_query_has_its_sources_and_what_makes_their_scores(little: Session) -> None:
    card = result(little, "attention L2/H1 --at 4")
    assert card.at == 4 and card.pattern == () and len(card.split) == 3
    assert [source.weight for source in card.sources] == sorted((s.weight for s in card.sources), reverse=True)
    assert sum(source.weight for source in card.sources) == pytest.approx(card.total) == pytest.approx(1.0)
    assert [each.source_at for each in card.split] == list(card.sources[:3])
    names = {part.name for each in card.split for part in (*each.query, *each.source)}
    assert names <= {"embedding", *(f"L{n}/*" for n in (0, 1)), *(f"L{n}/H{h}" for n in (0, 1) for h in range(4))}
    assert result(little, "attention L2/H1@4").sources == card.sources
    assert result(little, "attention L2/H1@-2").sources == card.sources


def test_a_long_text_shows_its_end_and_says_so(little: Session) -> None:
    card = result(little, "attention L0/H0 --last 3")
    assert card.queries == (3, 4, 5) and card.columns == (0, 3, 4, 5)
    assert "the pattern of the last 3 of 6 tokens" in card.notes[0]


def test_generated_tokens_are_read_too(little: Session) -> None:
    written = result(little, "generate --max-tokens 3").arm.ids
    card = result(little, "attention L1/H0 --generate 3")
    assert card.generated == len(written) > 0
    assert len(card.tokens) == len(little.encoded().ids) + len(written) and card.at == len(card.tokens) - 1
    table = result(little, "attention --generate 3 --at 5")
    assert table.generated == len(written)
    before = {str(row.neuron): row.weight for row in result(little, "attention").rows}
    assert {str(row.neuron): row.weight for row in table.rows} == pytest.approx(before, abs=1e-5)


def test_the_card_has_what_the_circuit_knows_of_the_head(little: Session) -> None:
    assert result(little, "attention L1/H0").rank == 0
    first, second = (Unit(1, 0, at, attribution=value, effect=0.25, kind="head") for at, value in ((5, 0.5), (4, -0.2)))
    little.circuit = little.found().with_neurons((Unit(1, 2), first, second), "by hand")
    card = result(little, "attention L1/H0")
    assert (card.rank, card.circuit_size) == (2, 3)
    assert card.neuron.attribution == pytest.approx(0.3) and card.neuron.effect is None
    assert result(little, "attention L1/H2").rank == 0, "a neuron of the same number is another unit"


def test_what_is_suppressed_is_in_force(little: Session) -> None:
    plain = result(little, "attention L1/H0")
    result(little, "suppress L0/H1")
    suppressed = result(little, "attention L1/H0")
    assert suppressed.pattern != plain.pattern and suppressed.repeated.repeat_loss != plain.repeated.repeat_loss
    result(little, "release all")
    assert result(little, "attention L1/H0").pattern == plain.pattern


@pytest.mark.parametrize("family", ["bloom", "gpt_neo", "falcon"])
def test_a_family_that_hides_its_scores_shows_its_pattern_and_says_what_is_missing(family: str, empty: Session) -> None:
    empty.model = adopt(tiny(family), tiny_tokenizer(), name=family)
    result(empty, "prompt the cat --raw")
    card = result(empty, "attention L1/H2 --at -1")
    assert card.sources and not card.split and not card.ov and card.sources[0].score is None
    assert f"the attention of '{family}' computes its scores inside" in card.notes[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("attention L9/H0", "there is no layer 9"),
        ("attention L1/H9", "layer 1 has no head 9"),
        ("attention L1/N3", "is the neuron L1/N3"),
        ("attention L1/H0,L1/H1", "is 2 units"),
        ("attention L1/H0@9", "no position 9"),
        ("attention L1/H0 --at 9", "no position 9"),
        ("attention L1/H0@2 --at 3", "both name a query"),
        ("attention L1/H0 --at nowhere", "does not stand in the text"),
        ("attention --layer 9", "there is no layer 9"),
        ("attention L1/H0 --layer 1", "--layer is for the table of heads"),
        ("attention L1/H0 --by entropy", "--by is for the table of heads"),
        ("attention --tokens 3", "--tokens is for the card of a head"),
        ("attention L1/H0 --last 600", "not a whole number"),
        ("attention --by size", "size"),
    ],
)
def test_what_is_no_head_is_refused(little: Session, line: str, said: str) -> None:
    with unharmed(little):
        assert said in failure(little, line).message


def test_without_a_prompt_there_is_no_pattern(little: Session) -> None:
    little.prompt = None
    assert "no prompt is set" in failure(little, "attention").message
