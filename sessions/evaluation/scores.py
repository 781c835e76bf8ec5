"""Scores of an arm of an evaluation: its replies, one by one and together. Data only.

An arm is *broken* where its numbers say that it no longer writes language, whatever its accuracy. The rules, with the
first arm for comparison: logits that are not finite; a perplexity on unrelated text of `WORSE` times the first arm's;
half or more of the n-grams of its replies repeated, and `MORE` more than in the first arm; half or more of its replies
empty, where the first arm's are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import exp
from statistics import fmean, median

from msgspec import Struct, structs

from sessions.evaluation.pairing import Pairs, paired, wilson

WORSE, REPEATED, MORE, EMPTY = 3.0, 0.5, 0.2, 0.5
#: Mean losses above which a perplexity is no number.
_BEYOND = 600.0


class TaskReply(Struct, frozen=True, kw_only=True):
    """One task answered under one arm: a line of the file that texts are kept in.

    `task` is the line of the task in its file. `at` is the token of the reply, from 0, in which the answer first
    begins, None where it is not there; `first_answer_words` is the word, from 0 as well. `language` and `asked` are
    those of the reply and of what it should be in, as `languages.language_of` gives them; `kept` whether they agree,
    None where that cannot be said. `repetition` is the share of repeated trigrams; `stopped` and `guarded` are as in an
    arm of a comparison. `slow` says that a regular expression did not decide in time.
    """

    task: int
    name: str
    arm: str
    prompt: str
    answer: str
    right: bool
    at: int | None
    asked: str
    language: str
    kept: bool | None
    tokens: int
    repetition: float | None
    stopped: str
    guarded: int | None
    text: str
    slow: bool = False
    first_answer_words: int | None = None


class Score(Struct, frozen=True, kw_only=True):
    """An arm: how many of `tasks` it got `right`, and what its replies are like.

    `interval` is that of the accuracy. `at` is the median over right replies of the token in which the answer begins,
    `first_answer_words` that of the word; both count from 0.
    Of `judged` replies whose language can be said, `kept` are in that of their task. `tokens` and `repetition` are
    means; `cut` counts replies that reached their length, `nan` those whose logits stopped being numbers, `guarded` the
    tokens that a rule against repetition held back. `perplexity` is that on the unrelated text, None where it is none
    or no number, `loss` its logarithm, in nats a token, and `ratio` its ratio to the first arm's. `broken` says why it
    no longer writes language. `seconds` is what the replies took.
    """

    name: str
    about: str
    tasks: int
    right: int
    interval: tuple[float, float]
    at: float | None
    judged: int
    kept: int
    tokens: float
    repetition: float | None
    cut: int
    nan: int
    empty: int
    guarded: int | None
    loss: float | None
    perplexity: float | None
    ratio: float | None
    seconds: float
    broken: tuple[str, ...] = ()
    first_answer_words: float | None = None

    @property
    def accuracy(self) -> float:
        return self.right / self.tasks

    @property
    def pace(self) -> float:
        """Tasks a second."""
        return self.tasks / self.seconds if self.seconds else 0.0


class ByLanguage(Struct, frozen=True):
    """Tasks in one language, "" for those of none, and how each arm did on them.

    `right` counts those that an arm got right. `at` and `first_answer_words` say at which token and word their answer
    begins, as of a `Score`; of `judged` replies whose language can be said, `kept` are in this one.
    """

    language: str
    tasks: int
    right: tuple[int, ...]
    at: tuple[float | None, ...] = ()
    first_answer_words: tuple[float | None, ...] = ()
    judged: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()


def score(
    name: str,
    about: str,
    replies: Sequence[TaskReply],
    loss: float | None,
    seconds: float,
    first: Score | None,
    read: int,
) -> Score:
    """An arm's score; `first` is that of the first arm, None of itself, `read` the tokens of unrelated text."""
    right = [reply for reply in replies if reply.right]
    judged = _judged(replies)
    repeated = [reply.repetition for reply in replies if reply.repetition is not None]
    guarded = [reply.guarded for reply in replies if reply.guarded is not None]
    ratio = None if first is None or first.loss is None or loss is None else exp(min(loss - first.loss, _BEYOND))
    scored = Score(
        name=name,
        about=about,
        tasks=len(replies),
        right=len(right),
        interval=wilson(len(right), len(replies)),
        at=_middle(reply.at for reply in right),
        first_answer_words=_middle(reply.first_answer_words for reply in right),
        judged=len(judged),
        kept=sum(judged),
        tokens=fmean(reply.tokens for reply in replies),
        repetition=fmean(repeated) if repeated else None,
        cut=sum(reply.stopped == "length" for reply in replies),
        nan=sum(reply.stopped == "nan" for reply in replies),
        empty=sum(not reply.text.strip() for reply in replies),
        guarded=sum(guarded) if guarded else None,
        loss=loss,
        perplexity=exp(loss) if loss is not None and loss < _BEYOND else None,
        ratio=ratio,
        seconds=seconds,
    )
    return structs.replace(scored, broken=tuple(_faults(scored, first, read)))


def _judged(replies: Iterable[TaskReply]) -> list[bool]:
    """Whether the replies are in the language of their task, of those where that can be said."""
    return [reply.kept for reply in replies if reply.kept is not None]


def _middle(places: Iterable[int | None]) -> float | None:
    """The median of the places there are."""
    known = [place for place in places if place is not None]
    return float(median(known)) if known else None


def _faults(scored: Score, first: Score | None, read: int) -> Iterator[str]:
    if scored.nan:
        yield f"the logits of {scored.nan:,} of {scored.tasks:,} replies are not finite"
    if read and scored.loss is None:
        yield "its losses on unrelated text are not finite"
    if scored.ratio is not None and scored.ratio >= WORSE:
        yield f"its perplexity on unrelated text is {scored.ratio:.3g} times as high"
    repeated, usual = scored.repetition or 0.0, 0.0 if first is None else first.repetition or 0.0
    if first is not None and repeated >= REPEATED and repeated >= usual + MORE:
        yield f"{repeated:.0%} of its trigrams are repeats, where {usual:.0%} were"
    if first is not None and scored.empty >= EMPTY * scored.tasks > first.empty:
        yield f"{scored.empty:,} of {scored.tasks:,} replies are empty"


def by_language(arms: Sequence[Sequence[TaskReply]]) -> tuple[ByLanguage, ...]:
    """The tasks by the language they are in, the most frequent first; none at all where they are all in one."""
    languages: dict[str, list[int]] = {}
    for row, reply in enumerate(arms[0]):
        languages.setdefault(reply.asked, []).append(row)
    if len(languages) < 2:
        return ()
    summaries = [
        _of_language(language, [[replies[row] for row in rows] for replies in arms])
        for language, rows in languages.items()
    ]
    return tuple(sorted(summaries, key=lambda each: (-each.tasks, each.language)))


def against_first(
    scores: Sequence[Score], replies: Sequence[Sequence[TaskReply]], labels: Sequence[str]
) -> tuple[Pairs, ...]:
    """Every other arm held against the first, task by task; `labels` name the tasks."""
    first = [reply.right for reply in replies[0]]
    return tuple(
        paired((scores[0].name, score.name), first, [reply.right for reply in answers], labels)
        for score, answers in zip(scores[1:], replies[1:], strict=True)
    )


def doubts(
    scores: Sequence[Score], replies: Sequence[Sequence[TaskReply]], *, edited: bool, suppressed: bool
) -> Iterator[str]:
    """What a user should know of the arms: those that are broken, that are the same, and checks that did not end.

    Args:
        edited: whether an edit is on.
        suppressed: whether a neuron is held at zero.
    """
    for one in scores:
        if one.broken:
            yield f"arm {one.name} is broken: {'; '.join(one.broken)}"
    names = {one.name for one in scores}
    if {"base", "edit"} <= names and not edited:
        yield "no edit is on: base and edit are the same model"
    if any("unsuppressed" in name.split("+") for name in names) and not suppressed:
        yield "nothing is suppressed"
    slow = sorted({reply.task for answers in replies for reply in answers if reply.slow})
    if slow:
        lines = ", ".join(f"{line}" for line in slow[:5]) + (", …" if len(slow) > 5 else "")
        yield f"a regular expression took over a second on a reply, which counts as wrong: line {lines}"


def _of_language(language: str, arms: Sequence[Sequence[TaskReply]]) -> ByLanguage:
    """The tasks in one language, by the replies of each arm to them."""
    right = [[reply for reply in replies if reply.right] for replies in arms]
    judged = [_judged(replies) for replies in arms]
    return ByLanguage(
        language=language,
        tasks=len(arms[0]),
        right=tuple(map(len, right)),
        at=tuple(_middle(reply.at for reply in replies) for replies in right),
        first_answer_words=tuple(_middle(reply.first_answer_words for reply in replies) for replies in right),
        judged=tuple(map(len, judged)),
        kept=tuple(map(sum, judged)),
    )
