"""`prompt TEXT --generate`: the model answers at once."""

from __future__ import annotations

import io

import msgspec
from rich.console import Console

from commands import run
from commands.completing import complete
from sessions.events import Result, Text
from sessions.results import PromptSet
from sessions.session import Session
from tests.commands.driving import events_of, failure, result, unharmed
from workbench.rendering.outcomes import present


def test_a_prompt_that_generates_says_what_generate_says(little: Session) -> None:
    found = result(little, "prompt a dog in the --generate --max-tokens 3")
    assert isinstance(found, PromptSet) and found.generated is not None
    assert little.prompt is not None and little.prompt.text == "a dog in the"
    assert found.generated.arm.ids == result(little, "generate --max-tokens 3").arm.ids
    assert little.last_output.text == found.generated.text and len(found.generated.arm.ids) <= 3


def test_the_text_of_a_prompt_is_prose_up_to_the_option(little: Session) -> None:
    assert result(little, "prompt generate a dog").generated is None
    assert little.prompt is not None and little.prompt.text == "generate a dog"
    result(little, 'prompt "a dog --generate"')
    assert little.prompt.text == "a dog --generate"


def test_without_a_text_the_prompt_that_stands_is_answered(little: Session) -> None:
    found = result(little, "prompt --generate")
    assert found.encoded.prompt.text == "the cat" and found.generated is not None


def test_an_answer_that_is_broken_off_leaves_the_prompt_set(little: Session) -> None:
    steps = run(little, "prompt a dog in the --generate")
    for event in steps:
        if isinstance(event, Text):
            break
    steps.close()
    assert little.prompt is not None and little.prompt.text == "a dog in the"


def test_a_length_without_an_answer_is_refused(little: Session) -> None:
    with unharmed(little):
        assert "--max-tokens is for an answer" in failure(little, "prompt a dog --max-tokens 3").message


def test_the_answer_is_shown_once_and_is_completed(little: Session) -> None:
    found = result(little, "prompt a dog in the --generate")
    console = Console(width=80, record=True, file=io.StringIO())
    for block in present(found, width=80):
        console.print(block)
    said = console.export_text()
    assert 'prompt "a dog in the"' in said and f"{len(found.generated.arm.ids)} tokens" in said
    streamed = Console(width=80, record=True, file=io.StringIO())
    for block in present(found, width=80, streamed=found.generated.text):
        streamed.print(block)
    assert len(streamed.export_text().splitlines()) < len(said.splitlines())
    assert "--generate" in [each.text for each in complete("prompt a dog --", session=little)]


def test_a_prompt_of_an_earlier_journal_has_no_answer(little: Session) -> None:
    event = events_of(little, "prompt a dog")[-1]
    events = [each for each in events_of(little, "prompt a dog") if isinstance(each, Result)]
    assert event is not None and events
    fields = msgspec.json.decode(msgspec.json.encode(events[0].value))
    fields.pop("generated")
    assert msgspec.json.decode(msgspec.json.encode(fields), type=PromptSet).generated is None


def test_lines_list_the_ten_strongest_neurons_of_a_discovery(little: Session) -> None:
    found = result(little, "discover a --top 20 --keep-universal")
    console = Console(width=100, record=True, file=io.StringIO())
    for block in present(found, width=100):
        console.print(block)
    lines = console.export_text().splitlines()
    assert "the 10 strongest" in lines[-1 - len(found.notes)]
    head = next(number for number, line in enumerate(lines) if line.split()[:2] == ["L", "N"])
    rows = [tuple(map(int, line.split()[:2])) for line in lines[head + 1 : head + 11]]
    assert rows == [neuron.site for neuron in found.circuit.top(10)]
