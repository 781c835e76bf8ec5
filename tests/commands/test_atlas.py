"""`atlas` and `quiet`, typed."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest
import torch

from commands import run
from commands.grammar import parse
from sessions.errors import UsageError
from sessions.events import Progress, Result
from sessions.files import disk
from sessions.lines import quoted
from sessions.model.hooks import on_neurons
from sessions.model.opening import OpenModel, adopt
from sessions.model.tokens import plain_ids
from sessions.model.units import Unit
from sessions.session import Session
from tests.commands.driving import events_of, failure, failure_in, held, result, unharmed
from tests.families import tiny, tiny_tokenizer

ROOT = str(Path(__file__).parents[2])
TEXTS = ("the cat sat on the mat", "a dog", "in the end there was a hen", "the thin man ate it")


@pytest.fixture
def texts(little: Session) -> Path:
    path = Path("texts.txt").absolute()
    path.write_text("\n\n".join(TEXTS))
    return path


@pytest.fixture
def mapped(little: Session, texts: Path) -> Session:
    """A session with an atlas `small` of all layers of the tiny model."""
    result(little, "atlas build small --corpus texts.txt --top 2")
    return little


def test_building_says_what_was_read_and_takes_nothing(little: Session, texts: Path) -> None:
    before = held(little)
    events = events_of(little, "atlas build small --corpus texts.txt --layers 1-2 --length 9 --docs 3 --top 2")
    (built,) = [event.value for event in events if isinstance(event, Result)]
    assert (built.documents, built.layers, built.neurons, built.k) == (3, (1, 2), 96, 2)
    assert [event.done for event in events if isinstance(event, Progress)][-1] == 3
    assert all(held(little)[name] is value for name, value in before.items())
    (row,) = result(little, "atlas").rows
    assert (row.name, row.kind, row.size, row.target) == ("small", "atlas", 96, "texts.txt")
    assert "--docs 3 --length 9 --layers 1-2 --top 2" in row.command
    assert not list((little.home / "atlases" / "unfinished").glob("*"))


def test_a_neuron_is_shown_where_it_was_strongest(mapped: Session) -> None:
    profile = result(mapped, "atlas show L1/N5").profile
    assert profile.neuron == Unit(1, 5) and profile.atlas == "small" and profile.documents == 4
    assert len(profile.high) == len(profile.low) == 2
    peak = profile.high[0]
    said = TEXTS[peak.document]
    assert "".join((*peak.before, peak.token, *peak.after)).removeprefix("<s>") in said
    assert profile.high[0].value >= profile.high[1].value > profile.mean > profile.low[0].value


def test_the_strongest_of_a_layer_lead_and_the_card_tells_of_the_corpus(mapped: Session) -> None:
    top = result(mapped, "atlas top 2 --rows 5")
    sizes = [abs(row.peak.value) for row in top.rows]
    assert len(sizes) == 5 and sizes == sorted(sizes, reverse=True) and top.total == 48
    first = top.rows[0].neuron
    card = result(mapped, f"neuron L2/N{first.index} --no-verify")
    assert card.atlas == result(mapped, f"atlas show L2/N{first.index}").profile
    assert sizes[0] == max(abs(peak.value) for peak in (*card.atlas.high, *card.atlas.low))


def test_a_card_without_an_atlas_has_none(little: Session) -> None:
    assert result(little, "neuron L2/N3 --no-verify").atlas is None


def test_the_latest_atlas_of_the_open_model_is_meant(mapped: Session) -> None:
    result(mapped, "atlas build other --corpus texts.txt --docs 2 --layers 0")
    assert result(mapped, "atlas show L0/N1").profile.atlas == "other"
    assert result(mapped, "atlas show L0/N1 --name small").profile.atlas == "small"
    with unharmed(mapped):
        assert "says nothing of layer 2" in failure(mapped, "atlas show L2/N1").message
    assert result(mapped, "neuron L2/N1 --no-verify").atlas is None


def test_an_atlas_is_kept_listed_deleted_and_brought_back(mapped: Session) -> None:
    assert [row.kind for row in result(mapped, "list").rows] == ["atlas"]
    with unharmed(mapped):
        failed = failure(mapped, "atlas build small --corpus texts.txt")
        assert "exists already" in failed.message and "--force" in failed.hint
    result(mapped, "delete atlas:small")
    assert "no atlas of this model" in failure(mapped, "atlas show L0/N1").message
    result(mapped, "delete atlas:small --restore")
    assert result(mapped, "atlas show L0/N1").profile.atlas == "small"


def test_an_atlas_is_exported_in_the_reference_format(mapped: Session) -> None:
    result(mapped, "export maxima.json --name atlas:small")
    found = json.loads(Path("maxima.json").read_text())
    assert len(found) == 3 * 48 and set(found["L1/N5"]) == {
        "text_index", "token_position", "trigger_token", "activation_score",
    }  # fmt: skip
    peak = result(mapped, "atlas show L1/N5").profile.high[0]
    assert found["L1/N5"] == {
        "text_index": peak.document, "token_position": peak.position, "trigger_token": peak.token,
        "activation_score": pytest.approx(peak.value),
    }  # fmt: skip
    result(mapped, "export same.safetensors --name atlas:small")
    assert Path("same.safetensors").read_bytes() == (mapped.home / "atlases/small.safetensors").read_bytes()


def test_the_neurons_of_one_layer_are_exported_by_their_numbers_alone(mapped: Session) -> None:
    result(mapped, "atlas build one --corpus texts.txt --layers 1")
    result(mapped, "export one.json --name atlas:one")
    found = json.loads(Path("one.json").read_text())
    assert list(found) == [str(number) for number in range(48)]
    peak = result(mapped, "atlas show L1/N5 --name one").profile.high[0]
    assert found["5"]["activation_score"] == pytest.approx(peak.value)


def test_maxima_of_neurons_are_looked_at_and_become_a_selection(mapped: Session) -> None:
    result(mapped, "export maxima.json --name atlas:small")
    seen = result(mapped, "import maxima.json --top 3")
    scores = {row.key: float(row.kind) for row in seen.entries}
    assert len(scores) == 3 and seen.left == 3 * 48 - 3 and "preset:NAME" in seen.notes[0]
    result(mapped, "import maxima.json --as preset:wild")
    assert {str(each) for each in mapped.select("preset:wild:top3").neurons} == set(scores)
    result(mapped, "atlas build one --corpus texts.txt --layers 1")
    result(mapped, "export one.json --name atlas:one")
    assert result(mapped, "import one.json").entries[0].key.isdecimal()
    failed = failure(mapped, "import one.json --as preset:few")
    assert "does not name the layer" in failed.message and "--layer" in failed.hint
    result(mapped, "import one.json --as preset:few --layer 1 --top 4")
    assert [each.layer for each in mapped.select("preset:few").neurons] == [1] * 4
    assert "the file names its layers" in failure(mapped, "import maxima.json --as preset:x --layer 1").hint


def maximum(key: str, score: str = "1.5") -> str:
    """What the JSON of an atlas says of a neuron."""
    said = f'"text_index": 0, "token_position": 1, "trigger_token": "a", "activation_score": {score}'
    return f'"{key}": {{{said}}}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"5": {"activation_score": 1.0}}', "is malformed"),
        (f"{{{maximum('5', chr(34) + 'x' + chr(34))}}}", "is malformed"),
        (f"{{{maximum('5', 'NaN')}}}", "is malformed"),
        (f"{{{maximum(chr(77))}}}", "which is not a neuron"),
        (f"{{{maximum('L1/N5')}, {maximum('5')}}}", "of some neurons only"),
        (f"{{{maximum('L1/N5')}"[:-9], "is malformed at"),
        (f"{{{maximum('99')}}}", "no neuron 99"),
    ],
)
def test_maxima_that_are_none_are_refused(mapped: Session, text: str, said: str) -> None:
    Path("wrong.json").write_text(text)
    with unharmed(mapped):
        layer = "" if "L1" in text else " --layer 1"
        assert said in failure(mapped, f"import wrong.json --as preset:x{layer}").message


def test_neurons_are_ranked_by_their_highest_activation_where_that_is_asked(mapped: Session) -> None:
    rows = result(mapped, "atlas top 2 --rows 48 --by positive").rows
    values = [row.peak.value for row in rows]
    assert values == sorted(values, reverse=True) and values[-1] > 0
    for row in rows[:5]:
        assert row.peak == result(mapped, f"atlas show L2/N{row.neuron.index}").profile.high[0]
    magnitudes = result(mapped, "atlas top 2 --rows 48 --by magnitude")
    assert magnitudes == result(mapped, "atlas top 2 --rows 48")
    assert any(row.peak.value < 0 for row in magnitudes.rows) and magnitudes.by == "magnitude"
    chosen = {each.site for each in mapped.select("atlas:small:positive144").neurons if each.layer == 2}
    assert chosen == {row.neuron.site for row in rows}
    lowest = next(row.neuron for row in magnitudes.rows if row.peak.value < 0)
    highest = result(mapped, f"atlas show L2/N{lowest.index}").profile.high[0]
    made = result(mapped, f"capture wild L2/N{lowest.index} --from atlas:small --by positive")
    assert f"{highest.value:+.3f}" in made.notes[0]
    assert "--by positive" in next(row.command for row in result(mapped, "list").rows if row.name == "wild")


def test_an_atlas_of_another_model_is_refused_unless_it_is_wanted(mapped: Session) -> None:
    mapped.use_model(adopt(tiny("llama", seed=9), tiny_tokenizer(), name="other"))
    for line in ("atlas show L0/N1 --name small", "atlas top 0 --name small", "quiet --name small"):
        with unharmed(mapped):
            assert "was made on tiny" in failure(mapped, line).message
    assert "no atlas of this model" in failure(mapped, "quiet").message
    assert "made on tiny" in result(mapped, "quiet --name small --force").notes[0]


def test_quiet_neurons_have_the_smallest_maxima(mapped: Session) -> None:
    shown = result(mapped, "quiet --rows 200")
    assert (shown.total, shown.neurons, shown.regions) == (144, 144, ())
    largest = [row.largest for row in shown.rows]
    assert largest == sorted(largest) and all(row.mean <= row.largest for row in shown.rows)
    assert all(row.up and row.down for row in shown.rows)
    within = result(mapped, f"quiet --range {largest[10]}-{largest[20]} --layers 0-2")
    assert within.total == 11
    assert {row.neuron.layer for row in result(mapped, "quiet --layers 1 --rows 99").rows} == {1}


@pytest.mark.parametrize("family", ["llama", "qwen3_moe"])
def test_a_contrast_is_of_two_parts_of_what_the_model_writes(little: Session, family: str) -> None:
    little.use_model(adopt(tiny(family, seed=3), tiny_tokenizer(), name="tiny-3"))
    result(little, "set max_tokens 12")
    marker = quoted(result(little, "generate").text[1:3])  # whatever it says, a thought is what stands before that
    line = f"quiet --rows 500 --ratio 2 --marker {marker} --regions"
    both = result(little, f"{line} thought,answer")
    assert both.regions == ("thought", "answer") and all(both.positions)
    assert all(row.ratio is None or row.ratio >= 2 for row in both.rows)
    known = [row.ratio for row in both.rows if row.ratio is not None]
    assert known == sorted(known, reverse=True)
    other = result(little, f"{line} answer,thought")
    assert other.positions == both.positions[::-1]
    assert not {row.neuron.site for row in both.rows} & {row.neuron.site for row in other.rows}


def test_quiet_and_strong_neurons_are_selections_that_combine(mapped: Session) -> None:
    assert "there are no quiet neurons yet" in failure(mapped, "suppress quiet:LAST").message
    ranked = [row.neuron for row in result(mapped, "quiet --rows 200").rows]
    assert mapped.select("quiet:LAST").neurons == tuple(ranked)
    assert mapped.select("quiet:last:5").neurons == tuple(ranked[:5]) == mapped.select("atlas:small:quiet5").neurons
    strongest = mapped.select("atlas:small:top3").neurons
    assert {neuron.site for neuron in strongest} == {neuron.site for neuron in ranked[-3:]}
    known = [{"id": "a", "layer": ranked[0].layer, "index": ranked[0].index, "gain": 1.0}]
    known += [{"id": "b", "layer": ranked[3].layer, "index": ranked[3].index, "gain": -9.0}]
    Path("known.json").write_text(json.dumps(known))
    result(mapped, "import known.json --as preset:known")
    result(mapped, "suppress (atlas:small:quiet5 & preset:known:top1), atlas:small:top1 - preset:known")
    assert {each.site for each in mapped.suppressed} == {ranked[-1].site}
    assert mapped.select("preset:known:top1").neurons[0].site == ranked[3].site
    refused = failure(mapped, "suppress atlas:none:top5")
    assert "none" in refused.message


def test_a_contrast_is_over_all_prompts_and_says_what_the_neurons_were(little: Session) -> None:
    Path("asked.txt").write_text("the cat sat\na dog in the rain\n")
    shown = result(little, "quiet --regions prompt,answer --prompts asked.txt --rows 3")
    ids = [plain_ids(little.opened().tokenizer, text) for text in ("the cat sat", "a dog in the rain")]
    assert shown.positions[0] == sum(map(len, ids)) - 2 and 0 < shown.positions[1] <= 8
    row, seen = shown.rows[0], []
    site = little.opened().anatomy.layers[row.neuron.layer].sites[0]
    for each in ids:
        with on_neurons(site, lambda values, _: seen.append(values[0, 1:, row.neuron.index]) or values):  # type: ignore[func-returns-value]
            little.opened().model(input_ids=torch.tensor([each]))
    activity = torch.cat(seen).abs()
    assert row.largest == pytest.approx(float(activity.max()), rel=1e-4)
    assert row.mean == pytest.approx(float(activity.mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("atlas build", "needs a name"),
        ("atlas show", "needs a neuron"),
        ("atlas top", "needs a layer"),
        ("atlas show L0/N1 --corpus texts.txt", "atlas show has no option --corpus"),
        ("atlas build x --rows 3", "atlas build has no option --rows"),
        ("atlas show L0/N1 --by positive", "atlas show has no option --by"),
        ("atlas list --by positive", "atlas list has no option --by"),
        ("capture x --prompt a --layer 1 --by positive", "--by needs an atlas"),
        ("atlas build x --corpus nothing.txt", "no corpus"),
        ("atlas build x --layers 9", "no layer 9"),
        ("atlas build x --length 4000 --memory 1", "may be taken"),
        ("atlas show L0/N99", "no neuron 99"),
        ("atlas show L0/*", "a card shows one"),
        ("atlas top 0-2", "several layers"),
        ("atlas top 9", "no layer 9"),
        ("quiet --name none", "no atlas is called"),
        ("quiet --ratio 2", "--ratio needs --regions"),
        ("quiet --regions thought,answer", "does not say how a thought ends"),
        ("quiet --regions answer,thought --marker zz", "there is no answer"),
        ("quiet --regions prompt,answer --name small", "--name does not apply"),
    ],
)
def test_bad_input_is_one_error_and_changes_nothing(mapped: Session, line: str, said: str) -> None:
    with unharmed(mapped):
        failed = failure(mapped, line)
    assert said in failed.message and failed.hint


@pytest.mark.parametrize("line", ["quiet --range 3", "quiet --range 4-2", "quiet --regions thought", "atlas x"])
def test_a_bad_word_is_found_before_anything_runs(line: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(line)
    assert raised.value.hint


def test_a_full_disk_leaves_no_atlas_and_what_was_done_before(
    little: Session, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sessions.atlas import building as making

    monkeypatch.setattr(making, "CHUNK", 1)
    monkeypatch.setattr(making.build, "__kwdefaults__", {**making.build.__kwdefaults__, "seconds": 0})
    written: list[Path] = []
    write = disk._write

    def full(path: Path, data: bytes | list[bytes], private: bool) -> None:
        if len(written) == 2:
            path.write_bytes((data if isinstance(data, bytes) else b"".join(data))[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        write(path, data, private)

    line = "atlas build small --corpus texts.txt"
    monkeypatch.setattr(disk, "_write", full)
    with unharmed(little):
        failed = failure(little, line)
        assert "No space left" in failed.message and "free some space" in failed.hint
    monkeypatch.setattr(disk, "_write", write)
    assert little.store.names("atlas") == []
    assert "resumed after 2 documents" in str(result(little, line).notes)
    packed = little.saved.read_atlas("small")[0].packed()
    result(little, "atlas build whole --corpus texts.txt")
    assert little.saved.read_atlas("whole")[0].packed() == packed


#: Another session that builds `small`: it says when it has written down how far it is, and then waits.
OTHER = """
import sys
from pathlib import Path
from commands import run
from sessions.atlas import building
from sessions.events import Failed, Progress
from sessions.model.opening import adopt
from sessions.session import Session
from tests.families import tiny, tiny_tokenizer

building.CHUNK = 1
building.build.__kwdefaults__["seconds"] = 0
session = Session(Path(sys.argv[1]))
session.use_model(adopt(tiny("llama"), tiny_tokenizer(), name="tiny"))
for event in run(session, "atlas build small --corpus texts.txt"):
    if isinstance(event, Failed):
        sys.exit(event.message)
    if isinstance(event, Progress) and event.label == "atlas" and event.done == 3:
        print("waiting", flush=True)
        sys.stdin.readline()
"""


def test_the_second_of_two_processes_that_build_one_atlas_is_refused(little: Session, texts: Path) -> None:
    """And harms nothing: the first goes on, or, once it is dead, the second does from where it was."""
    kept = little.home / "atlases" / "unfinished" / "small.safetensors"
    line = "atlas build small --corpus texts.txt"
    command = [sys.executable, "-c", OTHER, str(little.home)]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True, env={**os.environ, "PYTHONPATH": ROOT}) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == "waiting\n"
            before = kept.read_bytes()
            for asked in (line, f"{line} --force"):
                with unharmed(little):
                    failed = failure(little, asked)
                assert "is being built by another session" in failed.message and "another name" in failed.hint
            assert kept.read_bytes() == before
            result(little, "atlas build else --corpus texts.txt")
        finally:
            other.kill()
    assert "resumed after 2 documents" in str(result(little, line).notes)
    assert not list(kept.parent.iterdir())


def test_a_corpus_that_vanishes_half_way_is_gone_on_with_when_it_is_back(
    little: Session, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sessions.atlas import building as making

    monkeypatch.setattr(making, "CHUNK", 1)
    monkeypatch.setattr(making.build, "__kwdefaults__", {**making.build.__kwdefaults__, "seconds": 0})
    folder = Path("many")
    folder.mkdir()
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.txt").write_text(text)
    events: list[Any] = []
    with unharmed(little):
        for event in run(little, "atlas build small --corpus many"):
            events.append(event)
            if isinstance(event, Progress) and event.label == "atlas" and event.done == 2:
                (folder / "3.txt").unlink(missing_ok=True)
        assert "3.txt" in failure_in(events).message
    (folder / "3.txt").write_text(TEXTS[3])
    assert "resumed after" in str(result(little, "atlas build small --corpus many").notes)


def test_empty_documents_are_counted(little: Session, tiny_llama: OpenModel) -> None:
    Path("some.jsonl").write_text('{"text": "a cat"}\n{"text": ""}\n')
    built = result(little, "atlas build small --corpus some.jsonl")
    assert (built.documents, built.empty) == (2, 1) and "skipped 1 empty document" in built.notes[0]


def test_what_is_suppressed_is_recorded(little: Session, texts: Path) -> None:
    result(little, "suppress L1/N5")
    result(little, "atlas build small --corpus texts.txt")
    found, _ = little.saved.read_atlas("small")
    assert found.about.under == little.state_key() != ""
    assert found.layer(1).largest[5] == 0 and found.layer(1).largest[4] > 0
