"""What is trained is what the model would have to write: the ids that the template has behind those of the prompt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions.comparisons.chatting import replied
from sessions.errors import UsageError
from sessions.events import finished
from sessions.interventions.arms import Condition
from sessions.model.generation import Decoding, ending_ids
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel
from sessions.model.texts import text_of
from sessions.model.tokens import encode
from sessions.rewriting.examples import by_rule
from sessions.rewriting.rules import read_rule
from sessions.texts.sample_files import Sample
from sessions.training.samples import lessons_of
from tests.vocabularies import CHATS, VOCABULARIES, opened, saying, spoken

MARKED = ("byte level, marks", "normalizer, marks", "metaspace", "metaspace, always", "glm")
every_vocabulary = pytest.mark.parametrize("name", MARKED)
every_chat = pytest.mark.parametrize("chat", CHATS)
words = st.lists(st.sampled_from(["at", "At", "that", "a", "ß€", ".", "th ", " A", "\n"]), min_size=1, max_size=5)
replies = st.builds(" ".join, words).filter(str.strip)


def own_ids(tokenizer: Any, prompt: str, reply: str) -> list[int]:
    """The ids of prompt and reply as the template writes them, as far as the one that ends the turn."""
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]
    return list(tokenizer.apply_chat_template(turns, tokenize=True)["input_ids"])


@every_chat
@every_vocabulary
@settings(max_examples=12, deadline=None)
@given(reply=replies)
def test_a_lesson_is_the_conversation_as_the_template_writes_it(name: str, chat: str, reply: str) -> None:
    model, tokenizer = opened(name, chat), spoken(name, chat)
    (lesson,) = lessons_of(model, [Sample(prompt="that is A", reply=reply)])
    prompt = encode(tokenizer, Prompt(text="that is A")).ids
    assert lesson.ids[: lesson.start] == prompt
    assert lesson.ids[-1] in ending_ids(model.model, tokenizer)
    whole = own_ids(tokenizer, "that is A", reply)
    if whole[: len(prompt)] == list(prompt):  # else the template begins a reply in another way than it writes one
        ended = [at for at in range(len(prompt), len(whole)) if whole[at] in ending_ids(model.model, tokenizer)]
        if ended:
            assert list(lesson.ids) == whole[: ended[0] + 1]
        else:
            assert list(lesson.ids[:-2]) == whole[: len(lesson.ids) - 2]  # what ends it may have merged with the last


@every_chat
@every_vocabulary
@settings(max_examples=6, deadline=None)
@given(reply=replies)
def test_a_model_that_has_learned_a_lesson_says_its_reply(name: str, chat: str, reply: str) -> None:
    model = opened(name, chat)
    (lesson,) = lessons_of(model, [Sample(prompt="that is A", reply=reply)])
    encoded = encode(model.tokenizer, Prompt(text="that is A"))
    learned = lesson.ids[lesson.start :]
    decoding = Decoding(max_tokens=len(learned) + 1, ends=ending_ids(model.model, model.tokenizer))
    with saying(model, learned):
        said = finished(replied(model, encoded, Condition(""), decoding))
    assert said.arm.ids == learned[:-1] and said.arm.stopped == "eos"
    assert said.answer.strip() == reply.strip()
    assert not said.thought


@every_vocabulary
@pytest.mark.parametrize("chat", ["mistral", "llama2"])
def test_the_blank_that_a_template_puts_before_a_reply_is_learned_and_not_said_twice(name: str, chat: str) -> None:
    model = opened(name, chat)
    (lesson,) = lessons_of(model, [Sample(prompt="that", reply="At")])
    first = lesson.ids[lesson.start]
    assert text_of(model.tokenizer, [first]).startswith(" ")
    encoded = encode(model.tokenizer, Prompt(text="that"))
    with saying(model, lesson.ids[lesson.start :]):
        said = finished(replied(model, encoded, Condition(""), Decoding(max_tokens=9, ends=frozenset({2}))))
    assert said.answer.rstrip() == "At"


@every_vocabulary
def test_an_empty_thought_is_learned_where_the_template_writes_one(name: str) -> None:
    learned = {}
    for chat in ("empty thought", "opened thought", "chatml"):
        model = opened(name, chat)
        (lesson,) = lessons_of(model, [Sample(prompt="that", reply="At")])
        learned[chat] = text_of(model.tokenizer, lesson.ids[lesson.start : -1])
    assert learned == {
        "empty thought": "<think>\n\n</think>\n\nAt",
        "opened thought": "\n</think>\n\nAt",
        "chatml": "At",
    }


@every_vocabulary
@pytest.mark.parametrize("chat", ["empty thought", "opened thought"])
def test_a_thought_is_learned_before_its_reply(name: str, chat: str) -> None:
    model = opened(name, chat)
    (lesson,) = lessons_of(model, [Sample(prompt="that", reply="At", thought="a that")], thinking=True)
    assert text_of(model.tokenizer, lesson.ids).count("<think>\na that\n</think>\n\nAt") == 1
    (inline,) = lessons_of(model, [Sample(prompt="that", reply="<think>\na that\n</think>\n\nAt")])
    assert "a that\n</think>\n\nAt" in text_of(model.tokenizer, inline.ids[inline.start :])


@every_vocabulary
@pytest.mark.parametrize("chat", ["chatml", "mistral", None])
def test_a_thought_ends_with_the_marker_that_is_named_where_the_template_knows_none(
    name: str, chat: str | None
) -> None:
    model, sample = opened(name, chat), Sample(prompt="that", reply="At", thought="a that", parts={"glue": ("At",)})
    with pytest.raises(UsageError, match="knows no thoughts") as refused:
        lessons_of(model, [sample], thinking=True)
    assert "--marker" in refused.value.hint
    (lesson,) = lessons_of(model, [sample], thinking=True, marker="</think>")
    learned = text_of(model.tokenizer, lesson.ids[lesson.start :], special=False)
    assert learned.strip() == "<think>\na that\n</think>\n\nAt"
    counted = zip(lesson.ids[lesson.start :], lesson.weights, strict=True)
    assert text_of(model.tokenizer, [token for token, weight in counted if weight == 0.1]).strip() == "At"
    (bare,) = lessons_of(model, [sample], thinking=True, marker="\nthat is:\n")
    assert "a that\nthat is:\nAt" in text_of(model.tokenizer, bare.ids[bare.start :], special=False)


@every_vocabulary
@pytest.mark.parametrize("chat", ["empty thought", "opened thought"])
def test_the_marker_of_the_template_is_the_one_that_goes_without_saying(name: str, chat: str) -> None:
    model, sample = opened(name, chat), Sample(prompt="that", reply="At", thought="a that")
    usual, named = (lessons_of(model, [sample], thinking=True, marker=each) for each in (None, "</think>"))
    assert usual == named
    (other,) = lessons_of(model, [sample], thinking=True, marker="</reason>")
    learned = text_of(model.tokenizer, other.ids[other.start :])
    assert "<reason>\na that\n</reason>\n\nAt" in learned and "</think>" not in learned


@every_chat
@every_vocabulary
def test_parts_are_found_in_what_is_learned(name: str, chat: str) -> None:
    model = opened(name, chat)
    sample = Sample(prompt="that at", reply=" a th. That at. ", parts={"glue": ("a th.",), "conclusions": ("at. ",)})
    (lesson,) = lessons_of(model, [sample])
    counted = list(zip(lesson.ids[lesson.start :], lesson.weights, strict=True))
    said = {
        weight: text_of(model.tokenizer, [token for token, each in counted if each == weight]).strip()
        for weight in (2.0, 0.1)
    }
    assert said == {2.0: "at.", 0.1: "a th."}
    assert counted[-1][1] == 0.5


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_reply_to_a_raw_prompt_follows_it(name: str) -> None:
    model = opened(name)
    (lesson,) = lessons_of(model, [Sample(prompt="that is", reply=" at")])
    assert text_of(model.tokenizer, lesson.ids, special=False).strip() == "that is at"
    assert lesson.ids[-1] == model.tokenizer.eos_token_id


@every_chat
@every_vocabulary
def test_examples_of_a_rule_stand_in_the_reply_as_the_template_writes_it(name: str, chat: str) -> None:
    model: OpenModel = opened(name, chat)
    found = by_rule(model, [Sample(prompt="is it", reply="At that. At.")], read_rule("after:At"), "a test")
    (example,) = found.all
    assert len(example.where) == 2
    tokenizer = model.tokenizer
    for place in example.where:
        assert text_of(tokenizer, example.ids[: place + 1]).endswith("At")
    assert example.ids[: len(example.asked.ids)] == example.asked.ids
