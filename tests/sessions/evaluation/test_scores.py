"""What replies come to together: by arm, and by language and arm."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from sessions.evaluation.scores import ByLanguage, TaskReply, by_language, score


def reply(task: int, asked: str, **changed: Any) -> TaskReply:
    usual: dict[str, Any] = {
        "name": "", "arm": "base", "prompt": "", "answer": "42", "right": True, "at": 9, "language": asked,
        "kept": True, "tokens": 12, "repetition": None, "stopped": "eos", "guarded": None, "text": "so 42",
        "first_answer_words": 3,
    }  # fmt: skip
    return TaskReply(task=task, asked=asked, **{**usual, **changed})


def test_where_the_answer_first_stands_is_a_median_of_right_replies_in_tokens_and_in_words() -> None:
    replies = [
        reply(1, "en", at=4, first_answer_words=1),
        reply(2, "en", at=10, first_answer_words=6),
        reply(3, "en", at=99, first_answer_words=77, right=False),
        reply(4, "en", at=None, first_answer_words=None),
    ]
    found = score("base", "", replies, None, 1.0, None, 0)
    assert (found.at, found.first_answer_words) == (7.0, 3.5)


def test_each_language_has_its_accuracy_its_first_answer_and_what_stays_in_it_by_arm() -> None:
    base = [
        reply(1, "en", at=4, first_answer_words=1),
        reply(2, "zh", at=8, first_answer_words=5, kept=False, language="en"),
        reply(3, "zh", right=False, at=20, first_answer_words=15, kept=None),
    ]
    edit = [
        reply(1, "en", right=False),
        reply(2, "zh", at=2, first_answer_words=0),
        reply(3, "zh", at=None, kept=False),
    ]
    zh, en = by_language([base, edit])
    assert (zh.language, zh.tasks, zh.right) == ("zh", 2, (1, 2))
    assert (zh.at, zh.first_answer_words) == ((8.0, 2.0), (5.0, 1.5))
    assert (zh.judged, zh.kept) == ((1, 2), (0, 1))
    assert (en.right, en.at, en.first_answer_words) == ((1, 0), (4.0, None), (1.0, None))
    assert by_language([base[1:], edit[1:]]) == ()  # they are all in one


def test_texts_and_results_of_an_earlier_workbench_are_read() -> None:
    line = json.loads(msgspec.json.encode(reply(1, "en")))
    del line["first_answer_words"]
    assert msgspec.convert(line, TaskReply).first_answer_words is None
    found = json.loads(msgspec.json.encode(score("base", "", [reply(1, "en")], None, 1.0, None, 0)))
    del found["first_answer_words"]
    assert msgspec.convert({"language": "en", "tasks": 1, "right": [1]}, ByLanguage).at == ()
