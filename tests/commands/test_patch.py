"""`patch`, as typed, on a tiny model: what it measures, over one pair and over files of pairs, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from commands import run
from sessions.events import Partial
from sessions.model.info import Prompt
from sessions.results import Patched
from sessions.session import Session
from sessions.views import view
from sessions.views.blocks import Heat, Row, Table
from tests.commands.driving import events_of, failure, result, unharmed

PAIRS: list[dict[str, object]] = [
    {"prompt": "the cat", "corrupt": "the fat", "target": " a", "counterfactual": " b"},
    {"prompt": "the hat", "corrupt": "the tat", "target": " a", "counterfactual": " c"},
    {"prompt": "the bat", "corrupt": "the rat", "target": " d", "counterfactual": " a"},
]


def pairs(*records: dict[str, object], name: str = "pairs.jsonl") -> Path:
    Path(name).write_text("".join(json.dumps(record) + "\n" for record in records))
    return Path(name)


def difference(session: Session, ids: tuple[int, ...], shown: Patched) -> float:
    """The target of a text, in a plain pass."""
    with torch.inference_mode():
        logits = session.opened().model(torch.tensor([ids])).logits[0, -1].float()
    assert shown.target.counterfactual is not None
    return float(logits[shown.target.tokens[0].id] - logits[shown.target.counterfactual.id])


def test_the_sessions_prompt_is_patched_against_a_corrupt_one(little: Session) -> None:
    shown = result(little, 'patch a --vs b --corrupt "the fat"')
    corrupt = little.read(Prompt(text="the fat"))
    assert shown.clean == pytest.approx(difference(little, little.encoded().ids, shown), abs=1e-5)
    assert shown.corrupt == pytest.approx(difference(little, corrupt.ids, shown), abs=1e-5)
    assert shown.map.layers == (0, 1, 2) and shown.so_far is None
    first = next(
        at for at, pair in enumerate(zip(little.encoded().ids, corrupt.ids, strict=True)) if pair[0] != pair[1]
    )
    assert shown.map.columns == tuple(range(first, len(corrupt.ids)))
    assert shown.map.tokens[0] == little.encoded().tokens[first]
    assert any("1 token differs: " in note and f"at position {first}" in note for note in shown.notes)
    # The embedding of the only token that differs is all that differs; the last layers' last position decides.
    assert shown.map.cells[0][0] == pytest.approx(1, abs=1e-4)
    assert all(cell == 0 for cell in shown.map.cells[0][1:])


@pytest.mark.parametrize("site", ["resid_pre", "mlp_out", "attn_out"])
def test_both_directions_are_the_two_prompts_exchanged(little: Session, site: str) -> None:
    noise = result(little, f'patch a --vs b --corrupt "the fat" --direction noise --site {site}')
    result(little, "prompt the fat")
    swapped = result(little, f'patch a --vs b --corrupt "the cat" --site {site}')
    for row, other in zip(noise.map.cells, swapped.map.cells, strict=True):
        assert row == pytest.approx(other, abs=1e-5)
    assert (noise.clean, noise.corrupt) == pytest.approx((swapped.corrupt, swapped.clean), abs=1e-5)


def test_layers_and_positions_limit_the_map(little: Session) -> None:
    whole = result(little, 'patch a --vs b --corrupt "the fat"')
    part = result(little, 'patch a --vs b --corrupt "the fat" --layers 1-2 --at -2--1 --batch 4')
    assert (part.map.layers, part.map.columns) == ((1, 2), whole.map.columns[-2:])
    for row, other in zip(part.map.cells, whole.map.cells[1:], strict=True):
        assert row == pytest.approx(other[-2:], abs=1e-5)
    assert [cell.unit for cell in part.strongest] == [
        cell.unit for cell in whole.strongest if cell.layer and cell.position in part.map.columns
    ]


def test_all_neurons_together_restore_what_the_mlps_do(little: Session) -> None:
    shown = result(little, 'patch a --vs b --corrupt "the fat" --site neurons --units L0/*,L1/*,L2/N5')
    assert shown.map is None and shown.cells == 48 * 2 + 2
    alone = result(little, 'patch a --vs b --corrupt "the fat" --site neurons --units L2/N5')
    (cell,) = [cell for cell in shown.strongest if cell.unit == "L2/N5"]
    assert cell.value == pytest.approx(alone.strongest[0].value, abs=1e-5) and alone.together is None
    assert shown.together is not None and shown.together != pytest.approx(0, abs=1e-3)
    here = result(little, 'patch a --vs b --corrupt "the fat" --site neurons --units L2/N5@-1')
    assert here.strongest[0].unit == f"L2/N5@{len(little.encoded().ids) - 1}" or here.strongest[0].unit == "L2/N5@-1"
    # In the last layer a neuron reaches the logits at the last position alone.
    assert here.strongest[0].value == pytest.approx(cell.value, abs=1e-5)


def test_many_pairs_are_one_map_with_intervals(little: Session) -> None:
    shown = result(little, f"patch --prompts {pairs(*PAIRS)}")
    assert shown.pairs == 3 and shown.target.prompts == 3
    alone = []
    for record in PAIRS:
        result(little, f"prompt {record['prompt']}")
        line = f'patch "{record["target"]}" --vs "{record["counterfactual"]}" --corrupt "{record["corrupt"]}"'
        alone.append(result(little, line))
    assert shown.clean == pytest.approx(sum(one.clean for one in alone) / 3, abs=1e-5)
    whole = sum(one.clean - one.corrupt for one in alone)
    for layer in range(3):
        for column in range(len(shown.map.columns)):
            moved = sum(one.map.cells[layer][column] * (one.clean - one.corrupt) for one in alone)
            assert shown.map.cells[layer][column] == pytest.approx(moved / whole, abs=1e-4)
    assert all(cell.low <= cell.high for cell in shown.strongest)
    again = result(little, "patch --prompts pairs.jsonl")
    assert again.strongest == shown.strongest  # drawn from a seed
    assert result(little, f"patch --prompts {pairs(PAIRS[0], name='one.jsonl')}").strongest[0].low is None


def test_pairs_of_several_lengths_are_aligned_at_their_ends(little: Session) -> None:
    file = pairs(PAIRS[0], {**PAIRS[1], "prompt": "in the hat", "corrupt": "in the tat"})
    shown = result(little, f"patch --prompts {file}")
    assert shown.map.columns == tuple(range(-len(shown.map.columns), 0))
    assert shown.map.tokens[-1] == "t"
    failed = failure(little, f"patch --prompts {file} --at 3-4")
    assert "count from their end" in failed.message
    assert result(little, f"patch --prompts {file} --at -1").map.columns == (-1,)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({**PAIRS[0], "corrupt": "the cattt"}, "line 2: the prompt has 6 tokens and its corrupt prompt 8"),
        ({**PAIRS[0], "corrupt": "the cat"}, "line 2: the corrupt prompt is the prompt itself"),
        ({"prompt": "the cat"}, "line 2: the prompt has no corrupt prompt"),
        ({**PAIRS[0], "corupt": "the fat"}, "line 2 has an unknown field 'corupt'"),
    ],
)
def test_a_pair_that_does_not_fit_is_refused_by_its_line(
    little: Session, record: dict[str, object], message: str
) -> None:
    with unharmed(little):
        failed = failure(little, f"patch --prompts {pairs(PAIRS[0], record)}")
        assert message in failed.message and failed.hint


def test_where_pairs_part_is_said(little: Session) -> None:
    failed = failure(little, f"patch --prompts {pairs({**PAIRS[0], 'corrupt': 'the fatt'})}")
    assert "they part at position 3, ' c' against ' f'" in failed.message
    failed = failure(little, 'patch --corrupt "the catt"')
    assert "the shorter one ends at position 6" in failed.message


def test_a_corrupt_prompt_that_does_not_change_the_target_is_refused(
    little: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.procedures.patching.LEAST", 100.0)
    with unharmed(little):
        failed = failure(little, 'patch --corrupt "the fat"')
    assert "the corrupt prompt does not change the target" in failed.message
    assert "line 1" in failure(little, f"patch --prompts {pairs(*PAIRS)}").message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("patch", "patch needs a corrupt prompt, or a file of pairs"),
        ('patch --corrupt "the fat" --prompts pairs.jsonl', "exclude each other"),
        ("patch a --prompts pairs.jsonl", "each pair has its own"),
        ('patch --corrupt "the fat" --layers 2-7', "there is no layer 7"),
        ('patch --corrupt "the fat" --at 9', "the prompt has no position 9"),
        ('patch --corrupt "the fat" --site mlp_out --units L0/N1', "--units does not go with --site mlp_out"),
        ('patch --corrupt "the fat" --site heads --units L0/N1', "L0/N1 is a neuron, and --site is heads"),
        ('patch --corrupt "the fat" --units L0/H9', "layer 0 has no head 9"),
        ('patch --corrupt "the fat" --site neurons --units L0/N99', "has no neuron 99"),
        ('patch a --vs a --corrupt "the fat"', "begin with the same token"),
        ("patch --prompts none.jsonl", "none.jsonl"),
        ('patch --corrupt "the fat" --from L1/H0', "--from needs --to"),
        ('patch --corrupt "the fat" --to L1/H0', "--to needs --from"),
        ('patch --corrupt "the fat" --from L1/H0 --to L1/H2', "so no path leads there"),
        ('patch --corrupt "the fat" --from L1/H0 --to there', "'there' is not a unit"),
        ('patch --corrupt "the fat" --from L1/H0 --to L2/H1 --units L1/H1', "does not go with --units"),
    ],
)
def test_what_cannot_be_patched_is_refused(little: Session, line: str, message: str) -> None:
    with unharmed(little):
        assert message in failure(little, line).message


def test_heads_are_a_map_of_layers_and_heads(little: Session) -> None:
    shown = result(little, 'patch a --vs b --corrupt "the fat" --site heads')
    assert shown.map.columns == (0, 1, 2, 3) and not shown.map.tokens
    alone = result(little, 'patch a --vs b --corrupt "the fat" --units L1/H2,L2/N5,L2/H0')
    by_name = {cell.unit: cell.value for cell in alone.strongest}
    assert by_name["L1/H2"] == pytest.approx(shown.map.cells[1][2], abs=1e-5)
    assert by_name["L2/H0"] == pytest.approx(shown.map.cells[2][0], abs=1e-5)
    assert (alone.site, len(by_name)) == ("units", 3) and alone.together is not None
    attention = result(little, 'patch a --vs b --corrupt "the fat" --site attn_out --layers 2 --at -1')
    last = result(little, 'patch a --vs b --corrupt "the fat" --units L2/H0,L2/H1,L2/H2,L2/H3 --at -1')
    assert last.together == pytest.approx(attention.map.cells[0][0], abs=1e-4)


def test_a_path_does_a_part_of_what_its_sender_does(little: Session) -> None:
    line = 'patch a --vs b --corrupt "the fat"'
    whole = {cell.unit: cell.value for cell in result(little, f"{line} --units L0/H2,L2/H1").strongest}
    paths = result(little, f"{line} --from L0/H2,L2/H1 --to logits")
    direct = {cell.unit: cell.value for cell in paths.strongest}
    assert direct["L0/H2"] != pytest.approx(whole["L0/H2"], abs=1e-4) and paths.receiver == "logits"
    assert paths.together is not None and paths.cells == 3
    through = result(little, f"{line} --from L0/H2 --to L2/H1.q --direction noise")
    assert through.strongest[0].unit == "L0/H2" and through.receiver == "L2/H1.q"
    assert result(little, f"patch --prompts {pairs(*PAIRS)} --from L0/H2 --to L2/N5").strongest[0].low is not None


def rows_of(shown: Patched) -> list[Row]:
    """The rows of its table."""
    (table,) = (block for block in view(shown) if isinstance(block, Table))
    return [row for row in table.rows if isinstance(row, Row)]


def things(shown: Patched) -> list[tuple[str, str]]:
    """What its rows stand for."""
    return [(row.stands_for.kind, row.stands_for.name) for row in rows_of(shown) if row.stands_for is not None]


def test_a_map_and_a_table_show_it_and_rows_can_be_acted_on(little: Session) -> None:
    shown = result(little, 'patch a --vs b --corrupt "the fat" --rows 3')
    (heat,) = (block for block in view(shown) if isinstance(block, Heat))
    assert heat.rows == ("L2", "L1", "L0") and len(rows_of(shown)) == 3
    assert [kind for kind, _ in things(shown)] == ["line"] * 3
    assert result(little, things(shown)[0][1]).name == "state"  # the line that captures the state
    shown = result(little, 'patch --corrupt "the fat" --units L1/N3,L1/H2')
    assert set(things(shown)) == {("neuron", "L1/N3"), ("head", "L1/H2")}
    shown = result(little, f"patch --prompts {pairs(*PAIRS)} --site attn_out --rows 1")
    kind, line = things(shown)[0]
    assert kind == "line" and result(little, line).site == "heads"
    assert things(result(little, 'patch --corrupt "the fat" --site mlp_out'))[0][1].endswith("/*")


def test_the_map_so_far_is_shown_while_it_grows(little: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions.events._BETWEEN", 0.0)
    events = list(run(little, f"patch --prompts {pairs(*PAIRS)} --batch 4"))
    partial = [event.value for event in events if isinstance(event, Partial)]
    assert partial[0].so_far.done < partial[0].so_far.of == 3 * partial[0].cells
    assert any(cell is None for row in partial[0].map.cells for cell in row)
    for value in partial:
        assert view(value)
    assert not [event for event in events_of(little, "info") if isinstance(event, Partial)]


def test_a_cancelled_patch_changes_nothing(little: Session) -> None:
    with unharmed(little):
        steps = run(little, 'patch --corrupt "the fat" --batch 2')
        for _ in range(4):
            next(steps)
        little.cancel.request()
        assert [event for event in steps if getattr(event, "error", "") == "cancelled"]
        little.cancel.clear()
