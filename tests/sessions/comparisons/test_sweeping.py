"""A sweep is a plan and nothing else: in a grid every cell says what it says alone, and however often the job dies, the
files it leaves are those of one that went through."""

from __future__ import annotations

import csv
import io
import random
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from statistics import median_low
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions.cancel import Cancel
from sessions.comparisons import sweep_chart, sweep_files, sweeping
from sessions.comparisons.sweep_plan import LARGEST_BATCH, Chosen, SweepPlan, SweepPrompt, question
from sessions.comparisons.sweep_points import SweepPoint, Top, curve_of, knee_of, lines_of
from sessions.errors import ArtifactError, Cancelled, UsageError
from sessions.events import finished
from sessions.interventions.answering import compare
from sessions.interventions.arms import Condition
from sessions.interventions.intervention import Intervention, TokenScope
from sessions.model.generation import Decoding
from sessions.model.hooks import count_hooks
from sessions.model.info import Prompt, Token
from sessions.model.opening import OpenModel, adopt
from sessions.model.target import Target
from sessions.model.tokens import encode
from sessions.model.units import Unit
from sessions.picture import ENDINGS
from tests.families import tiny, tiny_tokenizer
from tests.reference import AUSTIN

PROMPTS = ("the cat", "a dog is in the house", "the", "in a hat")
TARGET = Target(tokens=(Token(10, "e"),), counterfactual=Token(12, "g"))
SELECTIONS = (
    Chosen("few", ("L0/N1", "L1/N7", "L2/N40")),
    Chosen("last", ("L1/N3@-1", "L2/N9@-1")),
    Chosen("layer", tuple(f"L1/N{index}" for index in range(24))),
)
MULTIPLIERS = (0.0, 0.5, 1.0, 4.0, -2.0)


@pytest.fixture(scope="module")
def llama() -> OpenModel:
    return adopt(tiny("llama"), tiny_tokenizer(), name="tiny")


def planned(opened: OpenModel, prompts: tuple[str, ...] = PROMPTS, **how: Any) -> SweepPlan:
    encoded = [encode(opened.tokenizer, Prompt(text=text)) for text in prompts]
    how = {"selections": SELECTIONS, "multipliers": MULTIPLIERS, "decoding": Decoding(max_tokens=5), "batch": 7} | how
    return SweepPlan(dtype="float32", prompts=tuple(question(each, TARGET) for each in encoded), **how)


def begun(home: Path, opened: OpenModel, plan: SweepPlan, name: str = "job") -> Any:
    """A run of the plan in a folder of this home, begun or gone on with: a generator."""
    with sweep_files.taken(home, name, new=True) as folder:
        if folder.begun() is None:
            folder.begin(plan, model="tiny", fingerprint="f", command="sweep")
        kept = folder.kept(plan)
        return (yield from sweeping.run(opened, plan, kept.cells, folder.append))


def bytes_of(home: Path, name: str = "job") -> bytes:
    return (home / "sweeps" / name / "cells.jsonl").read_bytes()


# ---- the grid


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2", "mixtral"])
def test_every_cell_of_a_grid_equals_the_same_cell_alone(family: str) -> None:
    opened = adopt(tiny(family), tiny_tokenizer(), name="tiny")
    plan = planned(opened)
    cells = finished(sweeping.run(opened, plan)).cells
    assert len(cells) == len(PROMPTS) * (1 + len(SELECTIONS) * 4)
    for cell in cells:
        encoded = encode(opened.tokenizer, Prompt(text=PROMPTS[cell.prompt]))
        names = {chosen.text: chosen.neurons for chosen in SELECTIONS}
        neurons = tuple(Unit.parse(each).counted(len(encoded.ids)) for each in names.get(cell.selection, ()))
        condition = Condition("alone", (Intervention(neurons, cell.multiplier),), cell.multiplier)
        (alone,), _ = finished(compare(opened, encoded, [condition], plan.decoding, target=TARGET))
        assert (cell.ids, cell.text, cell.stopped, cell.fired) == (alone.ids, alone.text, alone.stopped, alone.fired)
        assert cell.target == pytest.approx(alone.target, abs=1e-3)
        assert cell.target_probability == pytest.approx(alone.target_probability, abs=1e-4)
        likeliest = min(alone.next_tokens, key=lambda token: token.rank)
        assert cell.top is not None and (cell.top.id, cell.top.text) == (likeliest.id, likeliest.text)


def test_on_smollm2_every_cell_of_a_grid_equals_the_same_cell_alone(smollm2: OpenModel) -> None:
    texts = tuple(str(Unit(row[0], row[2])) for row in AUSTIN.top[:40])
    encoded = encode(smollm2.tokenizer, Prompt(text=AUSTIN.prompt, seed=AUSTIN.seed))
    other = encode(smollm2.tokenizer, Prompt(text="Where do cats sleep?"))
    plan = SweepPlan(
        dtype="float32",
        selections=(Chosen("all", texts), Chosen("some", texts[:5])),
        multipliers=(2.0,),
        prompts=(question(encoded, None), question(other, None)),
        decoding=Decoding(max_tokens=4),
        batch=7,
    )
    for cell in finished(sweeping.run(smollm2, plan)).cells:
        chosen = {"all": texts, "some": texts[:5]}.get(cell.selection, ())
        condition = Condition("", (Intervention(tuple(map(Unit.parse, chosen)), cell.multiplier),), cell.multiplier)
        asked = (encoded, other)[cell.prompt]
        ((alone,), _) = finished(compare(smollm2, asked, [condition], plan.decoding))
        assert cell.ids == alone.ids


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=6), st.integers(1, 40), st.integers(1, 30))
def test_batches_are_all_rows_in_order_and_none_too_large(lengths: list[int], batch: int, multipliers: int) -> None:
    asked = tuple(SweepPrompt(Prompt(text="a"), (1,) * length, None) for length in lengths)
    plan = SweepPlan(
        dtype="", selections=(Chosen("a", ("L0/N0",)), Chosen("b", ("L0/N1",))), prompts=asked, batch=batch,
        multipliers=tuple(map(float, range(multipliers))), decoding=Decoding(max_tokens=64),
    )  # fmt: skip
    batches = list(plan.batches())
    assert [row for each in batches for row in each] == list(range(len(plan.places)))
    for rows in batches:
        longest = max(len(plan.prompts[plan.places[row].prompt].ids) for row in rows)
        assert len(rows) <= batch and (len(rows) == 1 or len(rows) * (longest + 64) <= LARGEST_BATCH)
    for done in (0, 1, len(plan.places) // 2, len(plan.places)):
        assert plan.whole(done) == max([rows.stop for rows in batches if rows.stop <= done], default=0)


def test_a_cell_whose_logits_are_no_numbers_is_told_and_the_others_go_on(llama: OpenModel) -> None:
    every = Chosen("every", tuple(f"L{layer}/N{index}" for layer in range(3) for index in range(48)))
    plan = planned(llama, ("the cat",), selections=(every,), multipliers=(0.0, 1e38, 3e38), batch=1)
    cells = finished(sweeping.run(llama, plan)).cells
    assert [cell.stopped == "nan" for cell in cells] == [False, False, True, True]
    assert all(cell.top is None and cell.target is None for cell in cells[2:])
    assert all(msgspec.json.decode(msgspec.json.encode(cell), type=SweepPoint) == cell for cell in cells)


def test_what_is_live_and_suppressed_is_in_force_in_every_row(llama: OpenModel) -> None:
    live = Intervention((Unit(2, 11),), 5.0, label="live")
    plan = planned(llama, live=(live,), suppressed=("L1/N7", "L0/N2"), selections=SELECTIONS[:1])
    under = finished(sweeping.run(llama, plan)).cells
    without = finished(sweeping.run(llama, planned(llama, selections=SELECTIONS[:1]))).cells
    assert all(one.target != other.target for one, other in zip(under, without, strict=True))
    sites = [neuron.site for treatment in plan.condition(plan.places[1]).treatments for neuron in treatment.neurons]
    assert sites == [(2, 11), (0, 1), (2, 40)]
    clash = planned(llama, live=(Intervention((Unit(1, 7),), 5.0, label="mine"),))
    with pytest.raises(UsageError, match="'mine' and 'few' both change L1/N7"):
        finished(sweeping.run(llama, clash))


def test_a_sweep_intervenes_only_within_its_scope(llama: OpenModel) -> None:
    encoded = encode(llama.tokenizer, Prompt(text="the cat"))
    asked = (question(encoded, TARGET, TokenScope("generated")),)
    plan = msgspec.structs.replace(planned(llama), prompts=asked, selections=SELECTIONS[2:])
    cells = finished(sweeping.run(llama, plan)).cells
    assert len({cell.target for cell in cells}) == 1, "what is generated has no part in the first token"
    assert all((cell.fired or 0) < len(encoded.ids) + cell.length for cell in cells[1:])


# ---- the knee


def cells_of(tops: list[list[tuple[float, int]]]) -> list[SweepPoint]:
    return [
        SweepPoint(
            prompt=prompt, selection="" if multiplier == 1 else "s", multiplier=multiplier, target=None,
            target_probability=None, top=None if top < 0 else Top(top, f"t{top}", 0.5, 1.0), text="", ids=(), length=0,
            stopped="eos", fired=None,
        )
        for prompt, row in enumerate(tops)
        for multiplier, top in row
    ]  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.lists(
                st.tuples(st.integers(-20, 20).filter(lambda m: m != 4).map(lambda m: m / 4), st.integers(-1, 2)),
                unique_by=lambda pair: pair[0],
                max_size=8,
            ),
            st.integers(-1, 2),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_the_knee_is_what_trying_every_multiplier_finds(rows: list[Any]) -> None:
    cells = cells_of([[(1.0, base), *others] for others, base in rows])
    nearest = []
    for line, (others, base) in zip(lines_of("s", cells), rows, strict=True):
        flips = [m for m, top in others if base >= 0 and top >= 0 and top != base]
        below, above = [m for m in flips if m < 1], [m for m in flips if m > 1]
        knee = knee_of(line)
        assert (knee.below.multiplier if knee.below else None) == max(below, default=None)
        assert (knee.above.multiplier if knee.above else None) == min(above, default=None)
        distance = min((abs(m - 1) for m in flips), default=None)
        assert (knee.nearest.change if knee.nearest else None) == distance
        if knee.nearest is not None:
            assert knee.nearest.token != knee.token
            nearest.append(knee.nearest.multiplier)
    curve = curve_of("s", 1, cells)
    assert curve.flips == len(nearest)
    assert (curve.knee is None) == (not nearest)
    if curve.knee is not None:
        assert curve.knee in nearest and abs(curve.knee - 1) == median_low(abs(m - 1) for m in nearest)
    for count, median in (curve.below, curve.above):
        assert (median is None) == (count == 0)


# ---- dying and going on


def test_a_job_closed_anywhere_and_gone_on_with_comes_to_the_same_bytes(llama: OpenModel, tmp_path: Path) -> None:
    plan = planned(llama, decoding=Decoding(max_tokens=3))
    whole = finished(begun(tmp_path / "whole", llama, plan)).cells
    count, rng = len(list(begun(tmp_path / "counted", llama, plan))), random.Random(0)
    for attempt in range(4):
        home = tmp_path / str(attempt)
        while True:
            steps, most = begun(home, llama, plan), rng.randrange(1, count)
            taken = sum(1 for _, _ in zip(range(most), steps, strict=False))
            steps.close()
            assert count_hooks(llama.model) == 0
            if taken < most:
                break
        assert finished(begun(home, llama, plan)).cells == whole
        assert bytes_of(home) == bytes_of(tmp_path / "whole")


def test_a_cancelled_job_keeps_its_finished_batches(llama: OpenModel, tmp_path: Path) -> None:
    plan, cancel = planned(llama), Cancel()
    with sweep_files.taken(tmp_path, "job", new=True) as folder:
        steps = sweeping.run(llama, plan, (), folder.append, cancel)
        for event in steps:
            if event.done > 16:
                cancel.request()
                break
        with pytest.raises(Cancelled):
            finished(steps)
    assert bytes_of(tmp_path).count(b"\n") == 14
    assert count_hooks(llama.model) == 0


CHILD = """
import sys
from pathlib import Path
from sessions.events import finished
from sessions.model.opening import adopt
from tests.families import tiny, tiny_tokenizer
from tests.sessions.comparisons.test_sweeping import begun, planned
from sessions.model.generation import Decoding
import torch
torch.set_num_threads(1)
opened = adopt(tiny("llama"), tiny_tokenizer(), name="tiny")
plan = planned(opened, decoding=Decoding(max_tokens=24), batch=4)
print("ready", flush=True)
finished(begun(Path(sys.argv[1]), opened, plan))
print("done", flush=True)
"""


def test_a_job_that_is_killed_and_gone_on_with_comes_to_the_same_bytes(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]

    def start(home: str) -> subprocess.Popen[str]:
        child = [sys.executable, "-c", CHILD, str(tmp_path / home)]
        return subprocess.Popen(child, cwd=root, stdout=subprocess.PIPE, text=True)

    whole = start("whole")
    assert whole.communicate(timeout=120)[0].endswith("done\n")
    expected, seen = bytes_of(tmp_path / "whole"), 0
    for wait in (0.02, 0.1):
        with start("killed") as child:
            assert child.stdout is not None and child.stdout.readline() == "ready\n"
            path = tmp_path / "killed" / "sweeps" / "job" / "cells.jsonl"
            while child.poll() is None and (not path.exists() or path.stat().st_size <= seen):
                time.sleep(0.001)
            time.sleep(wait)
            child.kill()
        seen = path.stat().st_size
        assert expected.startswith(path.read_bytes())
    with path.open("r+b") as file:  # as if it had died in the middle of a write
        file.truncate(seen - 30)
    assert start("killed").communicate(timeout=120)[0].endswith("done\n")
    assert bytes_of(tmp_path / "killed") == expected


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_file_cut_anywhere_loses_no_more_than_its_last_batch(
    llama: OpenModel, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    plan, home = planned(llama), tmp_path_factory.getbasetemp() / "cut"
    path = home / "sweeps" / "job" / "cells.jsonl"
    full = home / "full"
    if not full.exists():
        finished(begun(home, llama, plan))
        full.write_bytes(path.read_bytes())
    whole = full.read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:at])
    with sweep_files.taken(home, "job", new=False) as folder:
        kept = folder.kept(plan)
    assert kept.notes == () and whole.startswith(path.read_bytes())
    complete = whole[:at].count(b"\n")
    assert len(kept.cells) == plan.whole(complete) > complete - 7


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda line: line[:-5] + b"\0\0\0\0}", "line 31 of cells.jsonl is damaged"),
        (
            lambda line: line.replace(b'"selection":"', b'"selection":"x'),
            "line 31 of cells.jsonl belongs to another cell",
        ),
        (lambda line: line.replace(b'"length":', b'"length":"x'), "line 31 of cells.jsonl is damaged"),
        (lambda line: b"\xff" + line, "line 31 of cells.jsonl is damaged"),
        (lambda line: line + b"\n" + line, "line 32 of cells.jsonl belongs to another cell"),
    ],
)
def test_a_damaged_line_is_named_and_kept_aside_and_the_rest_is_computed_again(
    llama: OpenModel, tmp_path: Path, damage: Any, said: str
) -> None:
    plan = planned(llama, decoding=Decoding(max_tokens=2))
    finished(begun(tmp_path, llama, plan))
    whole, path = bytes_of(tmp_path), tmp_path / "sweeps" / "job" / "cells.jsonl"
    lines = whole.split(b"\n")
    lines[30] = damage(lines[30])
    path.write_bytes(b"\n".join(lines))
    with sweep_files.taken(tmp_path, "job", new=False) as folder:
        kept = folder.kept(plan)
        assert len(kept.cells) == 28 and len(kept.notes) == 1
        assert said in kept.notes[0] and "from line 29 on the file is kept as damaged-1.jsonl" in kept.notes[0]
        finished(sweeping.run(llama, plan, kept.cells, folder.append))
    assert path.read_bytes() == whole
    assert (path.parent / "damaged-1.jsonl").read_bytes() == b"\n".join(lines[28:])


# ---- the folder


def test_a_sweep_is_taken_by_one_alone(llama: OpenModel, tmp_path: Path) -> None:
    steps = begun(tmp_path, llama, planned(llama))
    next(steps)
    with pytest.raises(ArtifactError, match="another process is working on the sweep 'job'"):
        next(begun(tmp_path, llama, planned(llama)))
    steps.close()
    next(begun(tmp_path, llama, planned(llama)))


def test_a_plan_is_read_as_it_was_written_and_names_what_differs(llama: OpenModel, tmp_path: Path) -> None:
    plan = planned(llama, live=(Intervention((Unit(2, 11),), 5.0, label="live"),), suppressed=("L0/N3",))
    next(begun(tmp_path, llama, plan))
    with sweep_files.taken(tmp_path, "job", new=False) as folder:
        found = folder.begun()
    assert found is not None and found.plan == plan and plan.differs(found.plan) == ""
    assert (found.header.kind, found.header.size) == ("sweep", len(plan.places))
    other = {"batch": 8, "suppressed": (), "multipliers": (0.0, 2.0), "decoding": Decoding(max_tokens=6)}
    assert [plan.differs(msgspec.structs.replace(plan, **{key: each})) for key, each in other.items()] == [
        "the rows of a batch", "the suppressed neurons", "its multipliers", "how its texts are generated",
    ]  # fmt: skip
    assert plan.differs(msgspec.structs.replace(plan, device="cuda", versions={"torch": "9"})) == ""


@pytest.mark.parametrize("damage", [b"{", b'"dtype": "float32"', b"multipliers"])
def test_a_damaged_plan_is_refused_and_names_the_place(llama: OpenModel, tmp_path: Path, damage: bytes) -> None:
    next(begun(tmp_path, llama, planned(llama)))
    path = tmp_path / "sweeps" / "job" / "plan.json"
    path.write_bytes(path.read_bytes().replace(damage, b"x" * len(damage), 1))
    with (
        sweep_files.taken(tmp_path, "job", new=False) as folder,
        pytest.raises(ArtifactError, match=r"plan\.json") as raised,
    ):
        folder.begun()
    assert "--force" in raised.value.hint


def test_a_discarded_sweep_is_in_the_trash(llama: OpenModel, tmp_path: Path) -> None:
    finished(begun(tmp_path, llama, planned(llama)))
    before = bytes_of(tmp_path)
    with sweep_files.taken(tmp_path, "job", new=False) as folder:
        moved = folder.discard()
    assert (tmp_path / moved / "cells.jsonl").read_bytes() == before
    assert sweep_files.names(tmp_path) == []


def test_the_table_has_the_values_of_the_json_lines(llama: OpenModel, tmp_path: Path) -> None:
    plan = planned(llama)
    cells = finished(begun(tmp_path, llama, plan)).cells
    odd = msgspec.structs.replace(cells[1], text='a\r\n"b", c', top=None, target=None, fired=None)
    rows = list(csv.DictReader(io.StringIO(sweep_files.table([odd, *cells]).decode(), newline="")))
    assert len(rows) == len(cells) + 1 and rows[0]["text"] == odd.text and rows[0]["top"] == rows[0]["target"] == ""
    lines = [msgspec.json.decode(line) for line in bytes_of(tmp_path).splitlines()]
    for row, line in zip(rows[1:], lines, strict=True):
        assert (row["text"], row["selection"], row["stopped"]) == (line["text"], line["selection"], line["stopped"])
        for name in ("prompt", "multiplier", "target", "target_probability", "length", "fired"):
            assert (None if row[name] == "" else float(row[name])) == line[name]
        assert [int(each) for each in row["ids"].split()] == line["ids"]
        top = line["top"]
        assert (int(row["top_id"]), row["top"]) == (top["id"], top["text"])
        assert (float(row["top_probability"]), float(row["top_logit"])) == (top["probability"], top["logit"])


# ---- the chart


@pytest.mark.parametrize("prompts", [1, 4])
def test_a_chart_is_the_same_bytes_each_time_and_an_svg_is_xml(llama: OpenModel, prompts: int) -> None:
    chosen = (*SELECTIONS, Chosen('<&">\0\x1b' + "x" * 80, ("L0/N5",)))
    plan = planned(llama, PROMPTS[:prompts], selections=chosen)
    cells = finished(sweeping.run(llama, plan)).cells
    curves = plan.curves(cells)
    for ending in ENDINGS:
        first, again = (sweep_chart.drawn(curves, cells, 'p("$x^\n<日本")', ending) for _ in range(2))
        assert first == again
    picture = sweep_chart.drawn(curves, cells, "p", ".svg")
    assert ET.fromstring(picture).tag.endswith("svg") and b"<dc:date>" not in picture
    assert sweep_chart.drawn(curves, cells, "p", ".png").startswith(b"\x89PNG")


def test_drawing_leaves_matplotlib_as_it_was(llama: OpenModel) -> None:
    import matplotlib

    before, modules = dict(matplotlib.rcParams), set(sys.modules)
    plan = planned(llama, PROMPTS[:1])
    cells = finished(sweeping.run(llama, plan)).cells
    sweep_chart.drawn(plan.curves(cells), cells, "p", ".png")
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in set(sys.modules) - modules
