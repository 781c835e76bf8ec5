"""What cannot be waited for is refused, and what takes long is cancelled, the session going on afterwards."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from commands import script
from commands.grammar import parse
from commands.running import run
from sessions.errors import UsageError
from sessions.events import Failed, finished
from sessions.interventions.intervention import TokenScope
from sessions.interventions.presets import Known, clash
from sessions.model.opening import OpenModel, adopt
from sessions.session import Session
from tests.adapters import made
from tests.commands.driving import failure, result, unharmed
from tests.families import tiny, tiny_tokenizer
from tests.sessions.test_sandbox import ENDLESS

BACKTRACKING = "(a|a|aa|[a-z ])*Z"


@pytest.mark.parametrize(
    "line",
    [
        "import pipe.json", "import pipe.json --as preset:p", "import pipe.pt", "import pipe.yaml",
        "import pipe.safetensors", "run pipe.wb", "evaluate pipe.jsonl", "atlas build a --corpus pipe.txt",
        "train-round pipe.jsonl", "contrast pipe.txt pipe.txt", "vector v pipe.txt pipe.txt",
        "discover --prompts pipe.txt",
        "surgery --layers 0-1 --parallel pipe.jsonl", "sae load pipe.safetensors", "adapter load pipes",
        "model pipe.gguf",
        'rewrite L1/N2 --push " a" --when last --examples pipe.jsonl',
    ],
)  # fmt: skip
def test_a_named_pipe_in_the_place_of_a_file_is_refused(little: Session, line: str) -> None:
    for ending in ("json", "pt", "yaml", "safetensors", "wb", "jsonl", "txt"):
        os.mkfifo(f"pipe.{ending}")
    Path("pipes").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        os.mkfifo(Path("pipes") / name)
    with unharmed(little):
        failed = failure(little, line)
    assert failed.error in ("artifact", "usage", "model")
    assert "not a regular file" in failed.message or "no folder or file" in failed.message


def test_a_device_in_the_place_of_a_file_is_refused(little: Session) -> None:
    Path("zero.txt").symlink_to("/dev/zero")
    for line in ("import zero.txt", "run zero.txt", "atlas build a --corpus zero.txt", "contrast zero.txt zero.txt"):
        assert "not a regular file" in failure(little, line).message


# ---- command files


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('prompt "a\\\n' + "b \\\n" * 100_000 + 'c"\n', id="continued lines"),
        pytest.param("# a\\\n" * 100_000 + "\n", id="comments"),
        pytest.param("prompt " + "${" * 400_000 + "\n", id="places"),
        pytest.param("ablate " + "L0/N1," * 150_000 + "L0/N1\n", id="a selection"),
        pytest.param("ablate " + "L0/N1, " * 40_000 + "L0/N1\n", id="a selection of words"),
        pytest.param("ablate " + "a-" * 400_000 + "a\n", id="a name with dashes"),
        pytest.param('prompt "' + "x " * 500_000 + '"\n', id="a text"),
        pytest.param("prompt " + "x " * 40_000 + "\n", id="words"),
    ],
)
@pytest.mark.timeout(60)
def test_a_file_of_a_megabyte_is_read_at_once(empty: Session, text: str) -> None:
    Path("file.wb").write_text(text)
    assert len(script.read(Path("file.wb"))) <= 1


def test_a_line_of_very_many_words_is_refused_with_the_limit(empty: Session) -> None:
    with pytest.raises(UsageError, match="more than 50,000 words"):
        parse("prompt " + "x " * 60_000)


def test_a_message_repeats_no_megabyte(empty: Session) -> None:
    for line in ("x" * 10**6, f"set {'x' * 10**6}", f"discover --{'x' * 10**6}", f"ablate ?{'x' * 10**6}"):
        failed = failure(empty, line)
        assert len(failed.message) < 3000 and len(failed.hint) < 3000


def test_continued_lines_and_comments_are_what_they_were(empty: Session) -> None:
    Path("file.wb").write_text(
        "set \\\n  top \\\n5\n"
        "# none \\\nset rows 7\n"
        "prompt a # said \\\nset top 6\n"
        "prompt Who is #\\\n1 today\n"
        "prompt b #\\\n c\\\ninfo\n"
    )
    found = [(line.number, line.text) for line in script.read(Path("file.wb"))]
    assert found == [
        (1, "set   top 5"), (5, "set rows 7"), (6, "prompt a # said \\"), (7, "set top 6"),
        (8, "prompt Who is #1 today"), (10, "prompt b # c\\"), (12, "info"),
    ]  # fmt: skip


def test_places_are_filled_as_they_were(empty: Session) -> None:
    Path("file.wb").write_text("prompt $$${a} $${a} ${a}${b}$ ${\n")
    (line,) = script.read(Path("file.wb"), {"a": "1", "b": "${a}"})
    assert line.text == "prompt $${a} ${a} 1${a}$ ${"


# ---- programs of others


def cancelled(session: Session, line: str, after: float = 0.3) -> Failed:
    """How the line ends when the session is cancelled while it runs."""
    events = []
    for event in run(session, line):
        if not events:
            threading.Timer(after, session.cancel.request).start()
        events.append(event)
    (failed,) = [event for event in events if isinstance(event, Failed)]
    return failed


def chat(template: str) -> OpenModel:
    return adopt(tiny("llama"), tiny_tokenizer(template=template), name="chat")


@pytest.mark.timeout(60)
def test_a_template_that_never_ends_is_ended_and_raw_prompts_go_on(empty: Session, hasty: None) -> None:
    empty.model = chat(ENDLESS.replace("99999", "99997"))
    failed = failure(empty, "prompt hello")
    assert failed.error == "model" and "computes for more than" in failed.message and "--raw" in failed.hint
    result(empty, "prompt the cat --raw")
    assert result(empty, "generate --max-tokens 2").text is not None


@pytest.mark.timeout(60)
def test_an_expression_that_backtracks_ends_and_the_session_goes_on(little: Session, hasty: None) -> None:
    little.last_output = type(little.last_output)(text="a" * 80)
    with unharmed(little):
        failed = failure(little, f'expect text matches "{BACKTRACKING}"')
    assert failed.error == "usage" and "computes for more than" in failed.message


@pytest.mark.timeout(60)
def test_who_waits_for_a_template_or_an_expression_can_cancel(little: Session) -> None:
    little.last_output = type(little.last_output)(text="a" * 80)
    with unharmed(little):
        assert cancelled(little, f'expect text matches "{BACKTRACKING}"').error == "cancelled"
    little.model = chat(ENDLESS.replace("99999", "99996"))
    assert cancelled(little, "prompt hello").error == "cancelled"
    result(little, "prompt the cat --raw")


@pytest.mark.timeout(60)
def test_a_rule_that_backtracks_ends(little: Session, hasty: None) -> None:
    sample = {"prompt": "a", "reply": "a" * 60}
    Path("samples.jsonl").write_text("\n".join(json.dumps(sample) for _ in range(6)))
    with unharmed(little):
        failed = failure(little, f'rewrite L2/N7 --push " a" --when "/{BACKTRACKING}/" --examples samples.jsonl')
    assert "computes for more than" in failed.message


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("pattern", "said"), [("(.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*)*Z", "computes for more than"), ("(", "invalid pattern")]
)
def test_a_pattern_of_an_adapter_that_backtracks_or_is_none_is_refused(
    little: Session, hasty: None, pattern: str, said: str
) -> None:
    made(Path("lora"))
    config = json.loads(Path("lora/adapter_config.json").read_text())
    Path("lora/adapter_config.json").write_text(json.dumps({**config, "rank_pattern": {pattern: 4}}))
    with unharmed(little):
        failed = failure(little, "adapter load lora")
    assert failed.error == "artifact" and said in failed.message


def test_patterns_of_an_adapter_fit_as_they_do_in_peft(little: Session) -> None:
    from peft.utils.other import get_pattern_key

    from sessions.adapters.folders import scaling_of

    modules = [f"model.layers.{layer}.self_attn.{name}_proj" for layer in range(3) for name in "qv"]
    patterns = {"layers.1.self_attn.q_proj": 2, r"^model[.]layers[.]2.*": 3, r"v_pro.|x": 5, "odel.layers.0": 7}
    for module in modules:
        key = get_pattern_key(patterns, module)
        assert scaling_of({"rank_pattern": patterns}, module, "x")[0] == patterns.get(key, 8)


# ---- large things


def test_a_preset_of_very_many_places_of_one_neuron_is_checked_at_once(empty: Session) -> None:
    known = [Known(id="a", layer=0, index=1, gain=1.0, position=position) for position in range(10_000)]
    assert clash(known) is None
    assert clash([*known, Known(id="b", layer=0, index=1, gain=2.0, position=7)]) == (7, 10_000)
    assert clash([*known, Known(id="b", layer=0, index=1, gain=2.0)]) == (0, 10_000)
    many = [Known(id="a", layer=0, index=1, gain=1.0, positions=((at, at),)) for at in range(2000)]
    with pytest.raises(UsageError, match="in more than 1,000 parts of the text"):
        clash(many)


def test_spans_meet_where_a_position_is_in_both() -> None:
    def naive(a: TokenScope, b: TokenScope) -> bool:
        return any(x[0] <= y[1] and y[0] <= x[1] for x in a.spans for y in b.spans)

    spans = [((0, 3), (9, 9)), ((4, 8),), ((3, 3),), ((10, 20), (1, 1)), ((0, 30),), ((5, 5), (7, 7)), ((6, 6),)]
    wheres = [TokenScope(spans=each) for each in spans]
    assert [[a.meets(b) for b in wheres] for a in wheres] == [[naive(a, b) for b in wheres] for a in wheres]
    evens, odds = (TokenScope(spans=tuple((at, at) for at in range(odd, 100_000, 2))) for odd in (0, 1))
    assert not evens.meets(odds)


def test_reading_an_inventory_and_a_circuit_ends_where_the_command_is_cancelled(little: Session) -> None:
    entries = [{"layer": 0, "index": at % 40, "position": at, "gain": 1} for at in range(30_000)]
    Path("known.json").write_text(json.dumps(entries))
    with unharmed(little):
        assert cancelled(little, "import known.json --as preset:p", after=0.02).error == "cancelled"
    assert "p" not in little.store.names("preset")


def test_a_configuration_can_be_cancelled_while_it_is_read(empty: Session) -> None:
    Path("large.yaml").write_text("mode_name: [" + "a, " * 60_000 + "a]\n")
    with unharmed(empty):
        assert cancelled(empty, "import large.yaml", after=0.05).error == "cancelled"
    Path("larger.yaml").write_text("#" * (2**20 + 1))
    assert "at most 1 MiB are read" in failure(empty, "import larger.yaml").message


def test_a_corpus_that_never_ends_a_line_is_refused_with_the_limit(
    little: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sessions.texts import corpus

    monkeypatch.setattr(corpus, "LONGEST", 1000)
    Path("long.txt").write_text("x" * 2000)
    Path("lines.txt").write_text("x\n" * 2000)
    Path("good.jsonl").write_text('{"text": "the cat"}\n' * 2000)
    for name in ("long.txt", "lines.txt"):
        assert "a text of more than 1,000 characters" in failure(little, f"atlas build a --corpus {name}").message
    assert finished(corpus.Corpus("good.jsonl").surveyed()).documents == 2000
