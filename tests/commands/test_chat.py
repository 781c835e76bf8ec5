"""Talking to a model: what was said is in mind, can be seen and forgotten, and survives its host."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from commands import run
from sessions import saved_state
from sessions.events import Failed, Result, Text, finished, from_json, to_json
from sessions.interventions.intervention import Intervention
from sessions.model.hooks import count_hooks
from sessions.model.info import Conversation, Turn
from sessions.model.opening import OpenModel, adopt
from sessions.model.units import Unit
from sessions.session import Session
from tests.commands.driving import events_of, failure, result, unharmed
from tests.families import tiny, tiny_tokenizer
from workbench.rendering.outcomes import present

#: Asks and replies end with a dot; a switch says whether there is a thought.
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' %}be {% endif %}{{ m.content }}. {% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}now{% endif %}"
)


@pytest.fixture
def talking(little: Session) -> Session:
    """A session whose model has a chat template; nothing it says makes sense."""
    little.use_model(adopt(tiny("qwen3"), tiny_tokenizer(template=TEMPLATE), name="talker"))
    return little


@pytest.fixture
def short(little: Session) -> Session:
    """The same, and it has 128 positions."""
    little.use_model(adopt(tiny("gpt2"), tiny_tokenizer(template=TEMPLATE), name="talker"))
    return little


def turns(session: Session) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in session.history.turns]


def cancelled_at(session: Session, line: str, pieces: int) -> list[Any]:
    """Events of a line that is cancelled when so many pieces of text have come."""
    seen, events = 0, []
    for event in run(session, line):
        events.append(event)
        seen += isinstance(event, Text)
        if seen == pieces:
            session.cancel.request()
    return events


# ---- saying


MIXED = (
    '[{"id": "L1/N3", "gain": 2, "region": "always"}, {"id": "L1/N4", "gain": 2, "region": "always"},'
    ' {"id": "L2/N5", "gain": 2, "region": "answer"}]'
)


def test_a_preset_of_mixed_regions_is_counted_by_part(talking: Session) -> None:
    """The answer never begins, and what is for it is not counted as if it had been in force."""
    Path("mixed.json").write_text(MIXED)
    result(talking, "import mixed.json --as preset:mixed")
    result(talking, 'preset apply mixed --marker "no such text"')
    said = result(talking, "say hello --max-tokens 4")
    arm = said.arm
    assert arm.fired == arm.read
    assert [(part.part, part.neurons, part.fired, part.opened) for part in arm.parts] == [
        ("always", 2, arm.read, True),
        ("answer", 1, 0, False),
    ]
    assert "1 neuron for answer was never in force: the marker 'no such text' did not come" in said.notes
    shown = "\n".join(str(each) for each in present(said, 200))
    assert f"always: 2 neurons at {arm.read} of {arm.read} tokens" in shown
    assert "answer: 1 neuron, never in force" in shown
    for line in ("generate --max-tokens 4", "ablate L0/N3 --max-tokens 4"):
        result(talking, "prompt hello")
        assert "1 neuron for answer was never in force" in " ".join(result(talking, line).notes), line


def test_an_answer_that_began_is_counted_from_there(talking: Session) -> None:
    Path("mixed.json").write_text(MIXED)
    result(talking, "import mixed.json --as preset:mixed")
    result(talking, "preset apply mixed")  # the model knows no thoughts: all it says is its answer
    said = result(talking, "say hello --max-tokens 4")
    always, answer = said.arm.parts
    assert (answer.part, answer.fired, always.fired) == ("generated", 3, said.arm.read)
    assert not any("never in force" in note for note in said.notes)


def test_what_is_in_force_in_one_part_alone_is_said_as_ever(talking: Session) -> None:
    result(talking, "shift L1/N3 2 --live")
    said = result(talking, "say hello --max-tokens 4")
    assert [part.part for part in said.arm.parts] == ["always"]
    assert f"in force at {said.arm.read} of {said.arm.read} tokens" in "\n".join(map(str, present(said, 200)))


def test_a_model_answers_with_what_was_said_before_in_mind(session: Session) -> None:
    first = result(session, "say What is the capital of Texas?")
    assert (first.text, first.answer, first.thought, first.exchanges) == (
        "The capital of Texas is Austin.",
        "The capital of Texas is Austin.",
        "",
        1,
    )
    result(session, "expect text contains Austin")
    result(session, "expect top == The")
    second = result(session, "say And of France? --max-tokens 7")
    assert "Paris" in second.text and second.exchanges == 2
    assert "Austin" in second.encoded.text
    assert session.prompt is None


def test_what_is_live_needs_no_prompt_and_is_held_against_a_reply_without_it(talking: Session) -> None:
    talking.prompt = None
    failed = failure(talking, "say hello --compare")
    assert "nothing is live" in failed.message
    plain = result(talking, "say hello --max-tokens 6 --guard")
    result(talking, "forget")
    working = result(talking, "shift L1/N3 9 --live")
    assert working.live == (("shifted +9 L1/N3", 1),) and "say something" in working.notes[-1]
    shown = result(talking, "say hello --max-tokens 6 --compare")
    assert shown.baseline == plain.answer and shown.answer != plain.answer
    assert turns(talking) == [("user", "hello"), ("assistant", shown.answer)]
    assert failure(talking, "shift L1/N5 1 --positions -1 --live").message.startswith("positions from the end")
    for line in ("shift L1/N5 1", "ablate L1/N5 --max-tokens 2"):
        assert failure(talking, line).message == "no prompt is set"
    result(talking, "release all")


def test_a_reply_streams_and_travels_as_it_is(talking: Session) -> None:
    events = events_of(talking, "say the cat")
    (done,) = [event for event in events if isinstance(event, Result)]
    assert "".join(event.text for event in events if isinstance(event, Text)) == done.value.arm.text
    assert turns(talking) == [("user", "the cat"), ("assistant", done.value.answer)]
    assert to_json(from_json(to_json(done))) == to_json(done)


def test_every_turn_is_read_and_the_prompt_has_no_part_in_it(talking: Session) -> None:
    prompt = talking.prompt
    first = result(talking, "say a").answer
    assert result(talking, "say b").encoded.text == f"a. {first}. b. "
    assert talking.prompt is prompt
    assert result(talking, "prompt a dog").encoded.text == "a dog. "
    assert result(talking, "say c").encoded.text.endswith(". c. ")


def test_a_system_text_and_a_switch_hold_until_others_are_given(talking: Session) -> None:
    assert result(talking, "say a --system calm --thinking off").encoded.text == "be calm. a. now"
    second = result(talking, "say b").encoded.text
    assert second.startswith("be calm. a. ") and second.endswith("b. now")
    third = result(talking, "say c --thinking on --system brief").encoded.text
    assert third.startswith("be brief. a. ") and third.endswith("c. ")


def test_a_switch_that_the_template_lacks_is_told_and_not_kept(session: Session) -> None:
    said = result(session, "say Hi --thinking on --max-tokens 1")
    assert said.notes[0] == "the template has no thinking switch; --thinking does nothing here"
    assert session.history.thinking is None


def test_a_reply_is_generated_like_any_text(talking: Session) -> None:
    said = result(talking, "say the cat --max-tokens 12")
    assert said.arm.stopped == "length" and said.arm.read == len(said.encoded.ids) + 11
    result(talking, "forget")
    assert result(talking, "say the cat --max-tokens 3").arm.ids == said.arm.ids[:3]
    result(talking, "forget")
    stop = said.answer[3:5]
    assert result(talking, f'say the cat --stop "{stop}"').answer == said.answer.partition(stop)[0]
    hot = set()
    for rng in range(4):
        result(talking, "forget")
        hot.add(result(talking, f"say the cat --sample --temperature 3 --rng {rng}").arm.ids)
    assert len(hot) > 1


def test_what_is_live_and_what_is_suppressed_is_so_in_every_reply(talking: Session) -> None:
    plain = result(talking, "say the cat").arm
    every = tuple(Unit(layer, index) for layer in range(3) for index in range(48))
    for change in ({"live": (Intervention(every, 30.0, label="all ×30"),)}, {"suppressed": every}):
        result(talking, "forget")
        for name, value in change.items():
            setattr(talking, name, value)
        said = result(talking, "say the cat")
        assert said.arm.ids != plain.ids
        assert said.under == talking.history.turns[-1].under == ("all ×30" if "live" in change else "144 suppressed")
        talking.live = talking.suppressed = ()
    result(talking, "forget")
    said = result(talking, "say the cat")
    assert (said.arm.ids, said.under) == (plain.ids, "")


# ---- what stops it


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_cancelled_reply_is_kept_as_far_as_it_went(talking: Session, pieces: int) -> None:
    events = cancelled_at(talking, "say the cat --max-tokens 50", pieces)
    (done,) = [event for event in events if isinstance(event, Result)]
    said = "".join(event.text for event in events if isinstance(event, Text))
    assert (done.value.arm.stopped, done.value.answer) == ("cancelled", said)
    assert turns(talking) == [("user", "the cat"), ("assistant", said)]
    assert "kept as far as it went" in done.value.notes[0]
    assert talking.model is not None and count_hooks(talking.model.model) == 0
    assert result(talking, "say again").encoded.text == f"the cat. {said}. again. "


def test_cancelled_before_its_first_word_a_line_fails_and_nothing_is_kept(talking: Session) -> None:
    with unharmed(talking):
        events = cancelled_at(talking, "say the cat", 0)
        (failed,) = [event for event in events if isinstance(event, Failed)]
        assert failed.error == "cancelled"
    assert turns(talking) == []


def test_a_cancelled_reply_ends_the_file_it_stands_in(talking: Session) -> None:
    Path("talk.wb").write_text("say the cat --max-tokens 50\nsay never\n", encoding="utf-8")
    events = cancelled_at(talking, "run talk.wb", 2)
    assert [event.error for event in events if isinstance(event, Failed)][-1] == "cancelled"
    assert [text for _, text in turns(talking)][:1] == ["the cat"] and len(turns(talking)) == 2


def test_a_conversation_too_long_for_the_model_says_what_makes_room(short: Session) -> None:
    for _ in range(2):
        result(short, f"say {'a b c d ' * 7} --max-tokens 2")
    with unharmed(short):
        failed = failure(short, f"say {'a b c d ' * 16}")
    assert "with what was said before, the text has" in failed.message and "128 positions" in failed.message
    assert failed.hint == "make room: forget 1 --oldest"
    result(short, failed.hint.removeprefix("make room: "))
    assert result(short, "say a").exchanges == 2


def test_a_question_too_long_by_itself_is_told_so(short: Session) -> None:
    with unharmed(short):
        assert failure(short, f"say {'a b c d ' * 40}").hint == "shorten the prompt"


def test_a_reply_that_fills_the_model_says_what_makes_room(short: Session) -> None:
    said = result(short, f"say {'a b c d ' * 14} --max-tokens 500")
    assert said.arm.stopped == "length" and "no more positions" in said.notes[0]
    assert len(said.arm.ids) == 128 - len(said.encoded.ids) + 1


def test_a_model_that_was_not_made_to_talk_says_so(little: Session) -> None:
    with unharmed(little):
        failed = failure(little, "say hello")
    assert failed.message == "tiny has no chat template, so it cannot chat"
    assert "generate" in failed.hint and "model smollm2" in failed.hint


def test_a_template_that_refuses_the_system_text_is_told(talking: Session) -> None:
    assert talking.model is not None
    tokenizer = tiny_tokenizer(
        template="{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}a"
    )
    talking.model = replace(talking.model, tokenizer=tokenizer)
    with unharmed(talking):
        failed = failure(talking, "say hello --system calm")
    assert "no system role" in failed.message and "without --system" in failed.hint


def test_an_empty_message_is_refused(talking: Session) -> None:
    with unharmed(talking):
        assert failure(talking, "say").hint.startswith("usage: say TEXT…")


# ---- what was said


def test_history_shows_what_was_said(talking: Session) -> None:
    assert result(talking, "history").turns == ()
    for text in ("a", "b", "c"):
        result(talking, f"say {text}")
    shown = result(talking, "history")
    assert (shown.turns, shown.exchanges, shown.system) == (talking.history.turns, 3, None)
    last = result(talking, "history --last 2")
    assert [turn.text for turn in last.turns if turn.role == "user"] == ["b", "c"] and last.exchanges == 3
    assert result(talking, "history --last 9").turns == shown.turns


def test_forgetting_is_of_the_last_the_oldest_or_all(talking: Session) -> None:
    for text in ("a", "b", "c", "d"):
        result(talking, f"say {text} --system calm")
    gone = result(talking, "forget 1")
    assert (gone.exchanges, gone.left) == (1, 3)
    result(talking, "forget 1 --oldest")
    assert [text for role, text in turns(talking) if role == "user"] == ["b", "c"]
    assert talking.history.system == "calm"
    assert result(talking, "forget").exchanges == 2
    assert talking.history == Conversation()
    assert result(talking, "forget").exchanges == 0


@pytest.mark.parametrize(("said", "message"), [(0, "nothing was said yet"), (1, "only one"), (2, "only 2")])
def test_more_than_was_said_cannot_be_forgotten(talking: Session, said: int, message: str) -> None:
    talking.history = Conversation(turns=(Turn("user", "a"), Turn("assistant", "b")) * said)
    with unharmed(talking):
        assert message in failure(talking, "forget 3").message


def test_a_conversation_goes_on_with_another_model(talking: Session, tiny_llama: OpenModel) -> None:
    result(talking, "say a")
    assert talking.model is not None
    other = replace(talking.model, info=structs.replace(talking.model.info, name="other", fingerprint="f" * 64))
    talking.use_model(other)
    assert result(talking, "say b").exchanges == 2
    talking.use_model(tiny_llama)
    assert failure(talking, "say c").error == "model"
    assert result(talking, "history").exchanges == 2


def test_what_was_said_comes_back_with_its_host(talking: Session, tmp_path: Path) -> None:
    result(talking, "say a --system calm --thinking off")
    talking.history = structs.replace(
        talking.history, turns=(*talking.history.turns, Turn("user", "b"), Turn("assistant", "c", "d"))
    )
    saved_state.write(tmp_path / "state.json", saved_state.kept(talking))
    fresh = Session(tmp_path / "home")
    assert finished(saved_state.restore(fresh, saved_state.read(tmp_path / "state.json"))) == ()
    assert fresh.history == talking.history


def test_a_thinking_models_thought_is_told_apart_from_its_answer(session: Session, smollm2: OpenModel) -> None:
    """Its template opens the thought; it never closes it here, so there is no answer yet."""
    tokenizer = deepcopy(smollm2.tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
    )
    session.model = replace(smollm2, tokenizer=tokenizer)
    said = result(session, "say What is the capital of Texas? --max-tokens 4")
    assert (said.thought, said.answer, said.closing) == (said.arm.text.strip(), "", "")
    assert "ended inside its thought" in said.notes[0]
    result(session, 'expect text == ""')
