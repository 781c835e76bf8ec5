"""A reply is one of a conversation, falls apart into thought and answer, and is kept as far as it went."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from sessions.cancel import Cancel
from sessions.comparisons.chatting import ChatReply, forgotten, gone_on, next_prompt, replied
from sessions.errors import Cancelled
from sessions.events import Text, collected, finished
from sessions.interventions.arms import Condition
from sessions.interventions.intervention import Intervention
from sessions.model.generation import Decoding, ending_ids
from sessions.model.hooks import count_hooks
from sessions.model.info import Conversation, Prompt, Turn
from sessions.model.opening import OpenModel, adopt
from sessions.model.tokens import encode
from sessions.model.units import Unit
from tests.thinking import TEMPLATES, reading

NOTHING = Conversation()


@pytest.fixture(scope="module")
def small(smollm2: Any) -> OpenModel:
    """A model that is quick and knows nothing, with the vocabulary of one that does."""
    config = AutoConfig.for_model(
        "llama", vocab_size=49152, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2,
    )  # fmt: skip
    return adopt(AutoModelForCausalLM.from_config(config).float(), deepcopy(smollm2.tokenizer), name="small")


@contextmanager
def writing(opened: OpenModel, text: str) -> Iterator[None]:
    """Inside the block the model writes this text, token by token, and ends it."""
    ids = [*opened.tokenizer.encode(text, add_special_tokens=False), opened.tokenizer.eos_token_id]
    waiting = iter(ids)

    def say(_module: Any, _args: Any, output: Any) -> Any:
        output.logits[..., next(waiting)] = 1e4
        return output

    handle = opened.model.register_forward_hook(say)
    try:
        yield
    finally:
        handle.remove()


def how(opened: OpenModel, **said: Any) -> Decoding:
    return Decoding(ends=ending_ids(opened.model, opened.tokenizer), **said)


def reply(
    opened: OpenModel, conversation: Conversation, text: str, *treatments: Intervention, **said: Any
) -> ChatReply:
    encoded = encode(opened.tokenizer, next_prompt(conversation, text))
    return finished(replied(opened, encoded, Condition("", treatments), how(opened, **said)))


def test_a_question_is_understood_by_what_was_said_before(smollm2: Any) -> None:
    first = reply(smollm2, NOTHING, "What is the capital of Texas?")
    assert (first.answer, first.thought, first.closing) == ("The capital of Texas is Austin.", "", "")
    conversation = gone_on(NOTHING, "What is the capital of Texas?", first)
    found = reply(smollm2, conversation, "And of France?", max_tokens=7).answer
    assert found == "The capital of France is Paris."


def test_a_first_question_is_answered_as_a_prompt_is(smollm2: Any) -> None:
    assert next_prompt(NOTHING, "Who?") == Prompt(text="Who?")


def test_what_is_live_is_live_in_every_reply(small: OpenModel) -> None:
    off = Intervention(tuple(Unit(layer, i) for layer in range(2) for i in range(16)), -40.0)
    untouched, treated = (reply(small, NOTHING, "Why?", *how, max_tokens=4) for how in ((), (off,)))
    assert treated.arm.ids != untouched.arm.ids
    assert (untouched.arm.fired, treated.arm.fired) == (None, treated.arm.read)


# ---- thoughts


@pytest.mark.parametrize("name", ["field", "split", "channels", "switch", "chunks", "words"])
def test_a_thought_is_kept_apart_and_left_out_of_what_is_read_next(small: OpenModel, name: str) -> None:
    opened = replace(small, tokenizer=reading(small.tokenizer, name, special=True))
    start, thought, end = TEMPLATES.thinking(name)
    with writing(opened, f"{start}{thought}{end}It is 4."):
        found = reply(opened, NOTHING, "2 + 2?")
    assert (found.thought, found.answer) == (thought, "It is 4.")
    assert found.closing and found.closing in end
    conversation = gone_on(NOTHING, "2 + 2?", found)
    assert conversation.turns == (Turn("user", "2 + 2?"), Turn("assistant", "It is 4.", thought))
    text = encode(opened.tokenizer, next_prompt(conversation, "3 + 3?")).text
    assert "It is 4." in text and "Let me add them." not in text


def test_a_stop_ends_a_thought_or_an_answer(small: OpenModel) -> None:
    opened = replace(small, tokenizer=reading(small.tokenizer, "field", special=False))
    for stop, thought, answer in (("4.", "So.", "It is "), ("So", "", ""), ("zzz", "So.", "It is 4.")):
        with writing(opened, "<think>\nSo.\n</think>\n\nIt is 4."):
            found = reply(opened, NOTHING, "2 + 2?", stops=(stop,))
        assert (found.thought, found.answer) == (thought, answer)
        assert stop not in found.arm.text


def test_a_stop_ends_a_plain_reply(small: OpenModel) -> None:
    with writing(small, "The capital of Texas is Austin."):
        found = reply(small, NOTHING, "What is the capital of Texas?", stops=(" is",))
    assert found.answer == found.arm.text == "The capital of Texas"


# ---- stopped in the middle


def test_a_cancelled_reply_is_kept_as_far_as_it_was_shown(small: OpenModel) -> None:
    cancel, said = Cancel(), ""
    encoded = encode(small.tokenizer, next_prompt(NOTHING, "What is the capital of Texas?"))
    with writing(small, "The capital of Texas is Austin."):
        steps = replied(small, encoded, Condition(""), how(small), cancel=cancel)
        while True:
            try:
                event = next(steps)
            except StopIteration as stop:
                found = stop.value
                break
            assert isinstance(event, Text)
            said += event.text
            if said.endswith("Texas"):
                cancel.request()
    assert (found.arm.stopped, found.arm.text, found.answer) == ("cancelled", said, said)
    assert said == "The capital of Texas"
    assert count_hooks(small.model) == 0 and not torch.is_inference_mode_enabled()


def test_a_reply_can_be_cancelled_by_throwing_into_its_steps(small: OpenModel) -> None:
    encoded = encode(small.tokenizer, next_prompt(NOTHING, "What is the capital of Texas?"))
    with writing(small, "The capital of Texas is Austin."):
        steps = replied(small, encoded, Condition(""), how(small))
        said = "".join(next(steps).text for _ in range(3))  # type: ignore[attr-defined]
        with pytest.raises(StopIteration) as stop:
            steps.throw(Cancelled())
    assert (stop.value.value.answer, stop.value.value.logits) == (said, None)
    assert count_hooks(small.model) == 0


@pytest.mark.parametrize("name", ["field", "channels"])
def test_a_thought_that_is_cancelled_is_no_answer(small: OpenModel, name: str) -> None:
    opened = replace(small, tokenizer=reading(small.tokenizer, name, special=True))
    start, thought, end = TEMPLATES.thinking(name)
    encoded = encode(opened.tokenizer, next_prompt(NOTHING, "2 + 2?"))
    with writing(opened, f"{start}{thought}{end}It is 4."):
        steps, said = replied(opened, encoded, Condition(""), how(opened)), ""
        while "Let me add" not in said:
            said += next(steps).text  # type: ignore[attr-defined]
        with pytest.raises(StopIteration) as stop:
            steps.throw(Cancelled())
    assert (stop.value.value.thought, stop.value.value.answer) == ("2 and 2.\nLet me add", "")


def test_a_reply_cancelled_before_its_first_word_is_not_kept(small: OpenModel) -> None:
    cancel = Cancel()
    cancel.request()
    encoded = encode(small.tokenizer, next_prompt(NOTHING, "Why?"))
    with pytest.raises(Cancelled):
        finished(replied(small, encoded, Condition(""), how(small), cancel=cancel))
    assert count_hooks(small.model) == 0


def test_the_text_streams_as_it_grows(small: OpenModel) -> None:
    encoded = encode(small.tokenizer, next_prompt(NOTHING, "What is the capital of Texas?"))
    with writing(small, "The capital of Texas is Austin."):
        events, found = collected(replied(small, encoded, Condition(""), how(small)))
    assert "".join(event.text for event in events if isinstance(event, Text)) == found.answer


# ---- forgetting

EXCHANGES = st.lists(st.tuples(st.text(), st.text()), max_size=5)


@given(EXCHANGES, st.integers(1, 5), st.booleans())
def test_forgetting_takes_whole_exchanges_from_one_end(said: list[tuple[str, str]], count: int, oldest: bool) -> None:
    turns = tuple(turn for user, model in said for turn in (Turn("user", user), Turn("assistant", model)))
    conversation = Conversation(turns=turns, system="Be brief.", thinking=False)
    left = forgotten(conversation, count, oldest=oldest)
    kept = said[count:] if oldest else said[: max(0, len(said) - count)]
    assert [turn.text for turn in left.turns] == [text for exchange in kept for text in exchange]
    assert (left.system, left.thinking, len(left)) == ("Be brief.", False, len(kept))
