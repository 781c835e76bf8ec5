"""Whatever is typed, and whenever it is stopped: one failure that says what to type, and a session as before."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from commands import run
from sessions.circuits.selection import Surroundings, resolve
from sessions.errors import UsageError
from sessions.events import Event, Failed, Progress, Result, Text
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from sessions.session import Session
from tests.circuits import circuit_of
from tests.commands.driving import events_of, failure, failure_in, result, unharmed
from tests.families import tiny_tokenizer


def refused(session: Session, line: str, error: str, message: str, hint: str) -> Failed:
    """The line fails, says why and what to type, and changes nothing."""
    with unharmed(session):
        failed = failure(session, line)
    assert failed.error == error, failed
    assert message in failed.message, failed
    assert hint in failed.hint and failed.hint, failed
    return failed


# ---- what is typed


@pytest.mark.parametrize(
    ("line", "error", "message", "hint"),
    [
        # verbs, quotes, words
        ("abalte top5", "usage", "there is no verb 'abalte'", "did you mean ablate?"),
        ('discover " Austin', "usage", "the quote at column 10 is not closed", 'end it with "'),
        ("prompt 'Tis the season", "usage", "the quote at column 8 is not closed", "end it with '"),
        ("help abalte", "usage", "there is no verb 'abalte'", "did you mean ablate?"),
        ("prompt \udce9", "usage", "not valid UTF-8", "UTF-8"),
        ("set top none", "usage", "invalid value 'none' for top", "set top 200"),
        ("set temperature 0", "usage", "invalid value '0' for temperature", "set temperature 0.7"),
        ("set temperature nan", "usage", "invalid value 'nan' for temperature", "set temperature 0.7"),
        ("set rng 18446744073709551616", "usage", "for rng", "set rng 0"),
        ("set attention both", "usage", "invalid value 'both' for attention", "set attention frozen"),
        ("set top", "usage", "set top needs a value", "it is 200 now"),
        ("generate --rng 9999999999999999999999", "usage", "is not a whole number", "10"),
        ("top 1000001", "usage", "at least 1 and at most 10,000", "10"),
        ("generate --max-tokens 4294967296", "usage", "at least 1 and at most 131,072", "10"),
        ("set max_tokens 4294967296", "usage", "is too large for max_tokens", "131,072 at most"),
        ("set rows 1000000", "usage", "is too large for rows", "10,000 at most"),
        ("faithfulness --sizes 1,99999999999", "usage", "at least 1 and at most 1,000,000", "10,50,200"),
        ("discover a --top 99999999", "usage", "at least 1 and at most 1,000,000", "10"),
        ("generate --sample --temperature 1e-9", "usage", "invalid value '1e-09' for temperature", "0.7"),
        # models
        ("model smolm2", "model", "no model is called 'smolm2'", "did you mean smollm2?"),
        ("model ./nowhere", "model", "there is no folder or file './nowhere'", "smollm2"),
        ("model .", "model", "it lacks config.json", "smollm2"),
        ("model smollm2 --device cuda:99", "model", "this machine has no device 'cuda:99'", "--device auto"),
        ("model smollm2 --device tpu", "model", "'tpu' is not a device", "cpu"),
        ("model smollm2 --device cpu --device-map auto", "model", "exclude each other", "--device"),
        ("model smollm2 --device-map fastest", "model", "'fastest' is not a device map", "balanced"),
        ("model smollm2 --device-map cuda:99", "model", "no device 'cuda:99'", "--device-map auto"),
        # targets
        ('discover " a" --vs " a"', "usage", "the target and its counterfactual are the same token, ' a'", "--vs"),
        ('discover " a b" --vs " a c"', "usage", "are the same token, ' a'", "--vs"),
        ("discover a --vs b --target-only", "usage", "--vs does not go with --target-only", "leave one of them out"),
        ("discover a --vs b --sequence", "usage", "--vs does not go with --sequence", "leave one of them out"),
        ("discover --sequence", "usage", "--sequence needs a text", 'discover " Austin, Texas" --sequence'),
        ("discover a --layers 1-3", "usage", "there is no layer 3", "layers are 0 to 2"),
        ("discover a --keep-universal --percentage 1e9", "usage", "no unit is left", "--top 200"),
        # selections
        ("ablate L3/N1", "usage", "there is no layer 3", "layers are 0 to 2"),
        ("ablate L1/N48", "usage", "layer 1 has no neuron 48", "its neurons are 0 to 47"),
        ("ablate L1/N1@6", "usage", "the prompt has no position 6", "positions are 0 to 5, or -1 for the last"),
        ("ablate L1/N1@-7", "usage", "the prompt has no position -7", "positions are 0 to 5"),
        ("ablate L1-3/*", "usage", "'L1-3/*' names no layers", "layers are 0 to 2"),
        ("ablate L2-1/*", "usage", "'L2-1/*' names no layers", "layers are 0 to 2"),
        (f"ablate L1/N{'9' * 5000}", "usage", "is not a selection", "L24/N1005@41"),
        ("ablate top0", "usage", "'top0' selects no unit", "top10"),
        ("ablate all - all", "usage", "'all - all' selects no unit", "top10"),
        ("amplify all & L0/N0@1 - L0/N0", "usage", "selects no unit", "top10"),
        ("neurons texas", "usage", "no saved circuit is called 'texas'", "top10"),
        ("ablate top1O", "usage", "no saved circuit is called 'top1O'", "did you mean top10?"),
        ("amplify 3", "usage", "no saved circuit is called '3'", "all 3"),
        ('ablate ""', "usage", "the selection is empty", "top10"),
        ("sweep all 0 1 0.0", "usage", "a multiplier is given twice", "sweep all 0 0.5 1 2"),
        ("sweep all 1e9", "usage", "too large for a multiplier", "below a million"),
        ("sweep top5,, 1", "usage", "'top5,,' is not a selection", "top10"),
        ("keep L0/N0@1", "usage", "nothing would be left of the circuit's 20 neurons", "has none of them"),
        ("drop all", "usage", "nothing would be left of the circuit's 20 neurons", "has all of them"),
        # expectations
        ("expect text contains x", "usage", "there is no text yet", "generate"),
        ("expect baseline contains x", "usage", "there is no baseline yet", "ablate"),
        ("expect top == x", "usage", "there is no next-token distribution yet", "top"),
        ("expect circuit.size", "usage", "expect needs words", "usage: expect"),
        ("expect circuit.size >=", "usage", "needs a comparison and a value", "expect circuit.size >= 50"),
        ("expect circuit.size >= many", "usage", "'many' is not a number", "expect circuit.size >= 50"),
        ("expect circuit.size contains 2", "usage", "'contains' does not compare circuit.size", "<="),
        ("expect model < 5", "usage", "'<' does not compare model", "contains"),
        ("expect model matches (", "usage", "'(' is not a regular expression", "re"),
        ("expect model matches a{99999999999999999999}", "usage", "is not a regular expression", "re"),
        ("expect circuit.sise > 5", "usage", "unknown subject 'circuit.sise'", "did you mean circuit.size?"),
        # what is kept by name
        ("load texas", "artifact", "no circuit is called 'texas'", "no circuit has been saved in"),
        ("delete texas", "artifact", "no circuit is called 'texas'", "no circuit has been saved in"),
        ("delete texas --restore", "artifact", "no circuit called 'texas' was deleted", "trash"),
        ("export .", "usage", "'.' is a folder", "circuit.json"),
        ("export /", "usage", "'/' is a folder", "circuit.json"),
        ("export x.json --format jsn", "usage", "unknown format 'jsn'", "did you mean json?"),
        ("export out.html", "usage", "export writes no page", "written as .json, "),
        ("export out.html", "usage", "'out.html' ends in .html", "a page of the session: report out.html"),
        ("export out.HTM --format json", "usage", "export writes no page", "report out.HTM"),
        ("export out.xlsx", "usage", "the ending .xlsx names no format that a circuit can be written in", ".csv"),
        ("export out.csv --format json", "usage", "a file that ends in .csv is not json", "for example: out.json"),
        ("export out.gguf --format csv", "usage", "a file that ends in .gguf is not csv", "for example: out.csv"),
        ("export x.json --name texas", "artifact", "no circuit is called 'texas'", "no circuit has been saved in"),
        ("import nowhere.json", "artifact", "cannot read", "check the path"),
        ("run nowhere.wb", "usage", "there is no command file 'nowhere.wb'", "those of the workbench"),
        ("run there/nowhere.wb", "usage", "cannot read there/nowhere.wb", ".wb"),
        ("run x.wb --set model", "usage", "'model' is not name=value", "--set model=smollm2"),
    ],
)
def test_a_line_that_cannot_be_done(little: Session, line: str, error: str, message: str, hint: str) -> None:
    refused(little, line, error, message, hint)


def test_a_statement_that_is_false_says_what_is_true(little: Session) -> None:
    with unharmed(little):
        failed = failure(little, "expect circuit.size > 20")
    assert (failed.error, failed.message) == ("expectation", "expected circuit.size > 20, but it is 20")


@pytest.mark.parametrize("line", ["generate", "tokens", "top", "prob a", "discover a", "prompt a", "seed a", "sweep"])
def test_without_a_model_the_way_to_open_one_is_named(empty: Session, line: str) -> None:
    refused(empty, line, "model", "no model is open", "open one: model smollm2")


@pytest.mark.parametrize(
    "line", ["generate", "tokens", "top", "prob a", "discover a", "prompt", "seed a", "expect prompt.tokens > 1"]
)
def test_without_a_prompt_the_way_to_set_one_is_named(empty: Session, tiny_llama: OpenModel, line: str) -> None:
    empty.model = tiny_llama
    refused(empty, line, "usage", "no prompt is set", "set one: prompt")


@pytest.mark.parametrize("line", ["ablate", "amplify", "sweep", "neurons", "keep top5", "save x", "export x.json"])
def test_without_a_circuit_the_way_to_find_one_is_named(empty: Session, tiny_llama: OpenModel, line: str) -> None:
    empty.model = tiny_llama
    result(empty, "prompt the cat")
    refused(empty, line, "usage", "there is no circuit yet", 'find one: discover " Austin", or load NAME')


def test_an_empty_prompt_is_the_bos_token_alone(empty: Session, tiny_llama: OpenModel) -> None:
    empty.model = tiny_llama
    assert result(empty, 'prompt ""').encoded.tokens == ("<s>",)
    assert result(empty, "top 3").chances


def test_a_prompt_of_no_tokens_is_refused(empty: Session, tiny_llama: OpenModel) -> None:
    without_bos = adopt(tiny_llama.model, tiny_tokenizer(bos=False), name="tiny")
    empty.model = without_bos
    refused(empty, 'prompt ""', "usage", "the prompt is empty", "prompt")


CIRCUIT = circuit_of(
    (Unit(layer, index, 5, 0.5) for layer in range(3) for index in range(4)),
    ("<s>", "th", "e", " c", "a", "t"),
    prompt=Prompt(text="the cat"),
    ids=(1, 61, 10, 37, 6, 25),
    fingerprint="",
)
_TERMS = [
    "all",
    "top5",
    "top0",
    "L1/N2",
    "L1#2@-1",
    "L0-2/*",
    "L9/*@3",
    "a",
    "a-top",
    "texas.2",
    "nosuch",
    "L",
    "@",
    "²",
]
_SELECTIONS = st.lists(st.sampled_from([*_TERMS, " ", ",", "+", "-", "&", "9" * 50, "x/y", "é"]), max_size=8).map(
    "".join
)


@given(st.one_of(_SELECTIONS, st.text()))
def test_a_selection_means_neurons_or_says_why_not(text: str) -> None:
    around = Surroundings(CIRCUIT, (48, 48, 48), 6, ("a", "a-top", "texas.2"), lambda name: CIRCUIT)
    try:
        selection = resolve(text, around)
    except UsageError as error:
        assert error.message and error.hint
    else:
        assert selection.neurons
        places = [neuron.place for neuron in selection.neurons]
        assert len(set(places)) == len(places)
        assert all(neuron.layer < 3 and neuron.index < 48 for neuron in selection.neurons)


# ---- targets of several tokens


def test_the_first_token_of_a_longer_target_is_used_and_named(little: Session) -> None:
    found = result(little, 'discover " a b" --keep-universal')
    assert found.circuit.target.tokens[0].text == " a"
    assert "' a b' is 2 tokens, ' a' ' b': the first is explained (--sequence explains them all)" in found.notes
    against = result(little, 'discover " c" --vs " a b" --keep-universal')
    assert against.circuit.target.counterfactual.text == " a"
    assert any("' a b' is 2 tokens" in note and "the first" in note for note in against.notes)
    looked_up = result(little, 'prob " a b"')
    assert looked_up.chances[0].text == " a"
    assert any("shown is the first, ' a'" in note for note in looked_up.notes)
    checked = result(little, 'expect prob " a b" <= 1')
    assert any("this is the first, ' a'" in note for note in checked.notes)


def test_all_tokens_of_a_target_are_explained_on_request(little: Session) -> None:
    found = result(little, 'discover " a b" --sequence --keep-universal')
    assert [token.text for token in found.circuit.target.tokens] == [" a", " b"]
    assert found.circuit.target.sequence
    assert found.notes == ()


# ---- files of circuits

CIRCUITS: dict[str, tuple[Any, str]] = {
    "empty file": (b"", "line 1, column 1"),
    "no json": (b"{'neurons': 1}", "line 1, column 2"),
    "torn": (b'{"neurons": {"1,2,3": 0.5', "malformed"),
    "not utf-8": (b'{"prompt": "caf\xe9"}', "not UTF-8"),
    "a list": ([1, 2], "holds a list where a circuit is an object"),
    "no neurons": ({"prompt": "x"}, "holds no neurons"),
    "empty circuit": ({"neurons": {}}, "neurons"),
    "odd key": ({"neurons": {"1,2": 0.5}}, "the key '1,2', which is not a neuron"),
    "odd value": ({"neurons": {"1,2,3": "high"}}, "is a text, not a number"),
    "infinite": (b'{"neurons": {"1,2,3": 1e999}}', "not a finite number"),
    "key twice": (b'{"neurons": {"1,2,3": 1, "1,2,3": 2}}', "twice"),
    "nested deeply": (b"[" * 100_000, "nested too deeply"),
    "neuron out of reach": ({"neurons": {"1,2,48": 0.5}}, "L1/N48@2"),
    "layer out of reach": ({"neurons": {"3,2,1": 0.5}}, "L3/N1@2"),
}


@pytest.mark.parametrize("name", CIRCUITS)
def test_a_malformed_circuit_file_is_refused_with_the_place(little: Session, name: str) -> None:
    content, message = CIRCUITS[name]
    Path("bad.json").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with unharmed(little):
        failed = failure(little, "import bad.json --as texas")
    assert failed.error == "artifact"
    assert message in failed.message
    assert result(little, "list").rows == ()


def test_a_saved_circuit_that_was_tampered_with_is_refused(little: Session) -> None:
    path = Path(result(little, "save texas").path)
    path.write_bytes(path.read_bytes().replace(b'"index"', b'"index "'))
    result(little, "drop top5")
    for line in ("load texas", "ablate texas", "export x.json --name texas"):
        with unharmed(little):
            assert str(path) in failure(little, line).message
    (row,) = result(little, "list").rows
    assert row.error


def test_a_circuit_of_another_model_is_refused(little: Session, tiny_chat: OpenModel) -> None:
    result(little, "save texas")
    result(little, "export texas.json")
    little.use_model(tiny_chat)
    for line in ("load texas", "import texas.json", "ablate texas"):
        refused(little, line, "artifact", "it was made on tiny, and tiny-chat is open", "--force")
    assert result(little, "load texas --force").notes == ("it was made on tiny and is used on tiny-chat",)


def test_an_import_that_cannot_be_saved_changes_nothing(little: Session) -> None:
    result(little, "export c.json")
    result(little, "save texas")
    result(little, "keep top5")
    refused(little, "import c.json --as texas", "artifact", "circuit 'texas' exists already", "--force")


def test_an_import_whose_prompt_the_model_cannot_read_is_not_saved(empty: Session, tiny_chat: OpenModel) -> None:
    broken = tiny_chat.tokenizer.__class__(tokenizer_object=tiny_chat.tokenizer.backend_tokenizer)
    broken.chat_template = "{{ raise_exception('not that') }}"
    empty.model = OpenModel(tiny_chat.model, broken, tiny_chat.anatomy, tiny_chat.info)
    Path("c.json").write_text(json.dumps({"neurons": {"1,2,3": 0.5}, "prompt": "the cat"}))
    refused(empty, "import c.json --as texas", "model", "the chat template refused the prompt", "--raw")
    assert result(empty, "list").rows == ()


# ---- names

NAMES = [
    "../x",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "",
    ".",
    "..",
    "~root",
    "all",
    "TOP5",
    "l24",
    "x" * 65,
    "a b",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_artifact_can_have(little: Session, tmp_path: Path, name: str) -> None:
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.name != "journal.jsonl")
    result(little, "export c.json")
    for line in (f'save "{name}"', f'load "{name}"', f'delete "{name}"', f'import c.json --as "{name}"'):
        with unharmed(little):
            failed = failure(little, line)
        assert failed.error == "usage" and failed.message and failed.hint
    Path("c.json").unlink()
    assert before == sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.name != "journal.jsonl")


# ---- homes


def test_a_home_that_cannot_be_is_told_and_costs_only_what_needs_it(tmp_path: Path, little: Session) -> None:
    blocked = tmp_path / "a file"
    blocked.touch()
    session = Session(blocked / "home")
    session.model, session.prompt = little.model, little.prompt
    result(session, "discover a --top 5")  # the universal neurons are found, and not kept
    for line in ("save texas", "load texas", "list", "delete texas"):
        refused(session, line, "artifact", str(blocked), "WORKBENCH_HOME")
    for line in ("ablate", "neurons", "export c.json", "import c.json", "set top 7", "info"):
        result(session, line)


def test_a_folder_of_circuits_that_cannot_be_read(little: Session) -> None:
    (little.home / "circuits").touch()
    for line in ("save texas", "load texas", "list"):
        refused(little, line, "artifact", str(little.home / "circuits"), "WORKBENCH_HOME")
    refused(little, "ablate texas", "usage", "no saved circuit is called 'texas'", "top10")


def test_files_that_cannot_be_written(little: Session) -> None:
    Path("file").touch()
    refused(little, "export file", "artifact", "'file' exists already", "--force")
    refused(little, "export file/c.json", "artifact", "cannot write", "where you may write")
    refused(little, "export /proc/c.json", "artifact", "cannot write /proc/c.json", "where you may write")
    assert Path("file").read_bytes() == b""


# ---- command files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"list\nprompt caf\xe9\n", "bad.wb:2 is not UTF-8"),
        (b'list\ndiscover " Austin\n', "bad.wb:2: the quote at column 10 is not closed"),
        (b"list\nabalte\n", "bad.wb:2: there is no verb 'abalte'"),
        (b"list\ntop ${n}\n", "bad.wb:2: no value for ${n}"),
        (b"list\ntop \\", "bad.wb:2 ends in a backslash"),
        (b"list\0", "bad.wb:1: there is no verb 'list\0'"),
        (b"PK\x03\x04" + bytes(range(256)), "bad.wb:"),
    ],
)
def test_a_bad_command_file_runs_nothing(little: Session, content: bytes, message: str) -> None:
    Path("bad.wb").write_bytes(content)
    refused(little, "run bad.wb", "usage", message, "")


# ---- stopped in the middle

RUNNING = {
    "generate": "generate --max-tokens 3",
    "top": "top 5",
    "prob": "prob a b",
    "discover": "discover a --top 20 --keep-universal",
    "ablate": "ablate top5 --max-tokens 3",
    "amplify": "amplify L1/N1@2 3 --max-tokens 3",
    "sweep": "sweep all 0 1 2 --at circuit --max-tokens 3",
    "vector": 'vector joy "the sun" "a fly" --force',
}


@pytest.fixture(params=["llama", "qwen3_moe"])
def running(request: pytest.FixtureRequest, little: Session, tiny_chat: OpenModel) -> Session:
    """A dense and a mixture-of-experts model, each with a prompt and a circuit."""
    if request.param == "qwen3_moe":
        little.use_model(tiny_chat)
        result(little, "prompt the cat sat")
        result(little, "discover a --top 20 --keep-universal")
    return little


@contextmanager
def at_layer_call(session: Session, number: int, happens: Callable[[], Any]) -> Iterator[list[int]]:
    """Call `happens` before the `number`th time (from 0) that any decoder layer runs in the block."""
    assert session.model is not None
    calls: list[int] = []

    def look(*_: Any) -> None:
        calls.append(len(calls))
        if calls[-1] == number:
            happens()

    handles = [layer.block.register_forward_pre_hook(look) for layer in session.model.anatomy.layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("verb", RUNNING)
@pytest.mark.parametrize("happens", ["request", "interrupt"])
def test_a_verb_is_stopped_before_any_layer(running: Session, verb: str, happens: str) -> None:
    """Wherever in the model the ctrl-c arrives: no hook, no layer after it, and the same session."""
    stop = running.cancel.request if happens == "request" else interrupt
    with at_layer_call(running, -1, interrupt) as all_calls:
        result(running, RUNNING[verb])
    for number in range(len(all_calls)):
        with unharmed(running), at_layer_call(running, number, stop) as calls:
            assert failure(running, RUNNING[verb]).error == "cancelled"
        assert len(calls) == number + 1
    assert len(all_calls) >= 3
    result(running, RUNNING[verb])


@pytest.mark.parametrize("verb", ["generate", "ablate", "amplify", "sweep"])
@pytest.mark.parametrize("how", ["request", "throw", "close"])
def test_a_verb_is_stopped_after_any_event(little: Session, verb: str, how: str) -> None:
    count = len([event for event in events_of(little, RUNNING[verb]) if not isinstance(event, Result)])
    assert count >= 3
    for last in range(count):
        with unharmed(little):
            events = run(little, RUNNING[verb])
            seen: list[Event] = [next(events) for _ in range(last + 1)]
            assert last == 0 or isinstance(seen[-1], Text | Progress)
            stopped(little, events, seen, how)
    result(little, RUNNING[verb])


def stopped(session: Session, events: Generator[Event, None, None], seen: list[Event], how: str) -> None:
    """Stop a command that has said `seen`; it fails as cancelled, unless it was closed."""
    if how == "close":
        events.close()
        return
    if how == "throw":
        seen.append(events.throw(KeyboardInterrupt))
    else:
        session.cancel.request()
    assert failure_in([*seen, *events]).error == "cancelled"


@pytest.mark.parametrize("how", ["request", "throw", "close"])
def test_the_search_for_universal_neurons_is_stopped_and_begins_again(little: Session, how: str) -> None:
    with unharmed(little):
        events = run(little, "discover a")
        seen = [next(events) for _ in range(4)]
        assert isinstance(seen[-1], Progress)
        stopped(little, events, seen, how)
    assert not (little.home / "universal").exists()
    assert any(isinstance(event, Progress) for event in events_of(little, "discover a"))
    assert (little.home / "universal").exists()


@pytest.mark.parametrize("options", ["", "--attention gradient", "--sequence"])
def test_the_backward_pass_is_stopped(running: Session, options: str) -> None:
    """Half of the time of an attribution is its way back: a request made there is met there."""
    assert running.model is not None
    last = running.model.anatomy.layers[-1].block

    def ask_later(_: Any, __: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        hidden.register_hook(lambda _: running.cancel.request())

    handle = last.register_forward_hook(ask_later)
    try:
        with unharmed(running):
            assert failure(running, f'discover " a b" --keep-universal {options}').error == "cancelled"
    finally:
        handle.remove()


# ---- what grows too large


def test_numbers_that_are_no_numbers_are_told_as_such(little: Session) -> None:
    """An intervention can drive a model out of its number format; that is said, not shown as text."""
    assert little.model is not None
    weight = little.model.model.lm_head.weight
    kept = weight.data.clone()
    try:
        weight.data[5] = torch.nan
        refused(little, "generate", "model", "the head is the first to compute no number", "a sound copy")
    finally:
        weight.data.copy_(kept)


def test_imported_files_may_lack_everything_but_neurons(little: Session) -> None:
    Path("c.json").write_text(json.dumps({"neurons": {"1,2,3": 0.5, "0,-1,4": -0.25}}))
    circuit = result(little, "import c.json").circuit
    assert circuit.prompt.text == "" and circuit.target.tokens == ()
    assert little.prompt is not None and little.prompt.text == "the cat"
    assert [str(neuron) for neuron in circuit.neurons] == ["L1/N3@2", "L0/N4"]
    compared = result(little, "ablate")
    assert compared.target is None
    assert compared.notes == ("the circuit does not say which prompt it was found on",)
