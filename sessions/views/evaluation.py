"""Tasks answered under several arms: `evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sessions import results
from sessions.evaluation.pairing import Pairs
from sessions.views.blocks import AnyBlock, Cell, Column, Note, Row, StandsFor, Table
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted

#: How many tasks are named, of those that only one of two arms got right.
_NAMED = 8

_ARM = Column(key="arm", title="arm", kind="name")
_RIGHT = (
    Column(key="right", title="right", kind="number", drop=12),
    Column(key="tasks", title="of", kind="number", drop=11),
    Column(key="accuracy", title="share", kind="share", digits=0, drop=13),
)
_INTERVAL = (
    Column(key="low", title="low", kind="share", digits=0, drop=7, about="95 % confidence interval"),
    Column(key="high", title="high", kind="share", digits=0, drop=7),
)
_PLACE = (
    Column(key="word", title="word", kind="number", drop=4, about="word of the reply at which the answer begins"),
    Column(key="token", title="token", kind="number", drop=3),
)
_LANGUAGE = Column(key="in_language", title="lang", kind="share", digits=0, drop=6, about="in the task's language")
_READ = (
    Column(key="perplexity", title="ppl", kind="number", digits=1, drop=10, about="perplexity of unrelated text"),
    Column(key="ratio", title="ratio", kind="multiple", digits=3, drop=9),
)


@viewed.register
def _(value: results.Evaluated) -> Iterator[AnyBlock]:
    yield facts(
        f"{counted(value.tasks, 'task')} of {value.path}",
        f"at most {counted(value.max_tokens, 'token')} a reply",
        f"perplexity over {value.unrelated:,} tokens of unrelated text" if value.unrelated else "",
    )
    yield _arms(value)
    if value.languages:
        yield _languages(value)
    if value.pairs:
        yield _pairs(value.pairs)
        for pairs in value.pairs:
            yield from _changed(pairs)
    yield facts(f"texts in {value.kept}")


def _arms(value: results.Evaluated) -> Table:
    """A row for each arm: how much was right, and measures of its replies. A broken arm is marked."""
    read = (_READ if len(value.scores) > 1 else _READ[:1]) if value.unrelated else ()
    columns = (
        _ARM, *_RIGHT, *_INTERVAL, *_PLACE, _LANGUAGE,
        Column(key="tokens", title="tokens", kind="number", digits=1, drop=5),
        Column(key="repetition", title="rep", kind="share", digits=0, drop=8, about="repeated trigrams"),
        *read,
        Column(key="cut", title="cut", kind="share", digits=0, drop=2),
        Column(key="pace", title="tasks/s", kind="number", digits=1, drop=1),
    )  # fmt: skip
    rows = []
    for score in value.scores:
        cells: tuple[Cell, ...] = (score.name, score.right, score.tasks, score.accuracy, *score.interval)
        cells += (score.first_answer_words, score.at, _stayed(score.kept, score.judged), score.tokens, score.repetition)
        cells += (score.perplexity, score.ratio)[: len(read)]
        cells += (score.cut / score.tasks, score.pace)
        rows.append(Row(cells=cells, stands_for=StandsFor("arm", score.name), mark="✗" if score.broken else ""))
    return Table(columns=columns, rows=tuple(rows))


def _languages(value: results.Evaluated) -> Table:
    """A row for each language and arm: how much is right, where the answer begins, how much stays in the language."""
    columns = (Column(key="language", title="language", kind="name"), _ARM, *_RIGHT, *_PLACE, _LANGUAGE)
    rows = []
    for row in value.languages:
        for at, score in enumerate(value.scores):
            where = (row.first_answer_words[at], row.at[at]) if row.at and row.first_answer_words else (None, None)
            stayed = _stayed(row.kept[at], row.judged[at]) if row.judged else None
            right = row.right[at], row.tasks, row.right[at] / row.tasks
            rows.append(Row(cells=(row.language or "none", score.name, *right, *where, stayed)))
    return Table(title="by language", columns=columns, rows=tuple(rows))


def _stayed(kept: int, judged: int) -> float | None:
    """The share of replies that stay in the language, of those whose language was recognised."""
    return kept / judged if judged else None


def _pairs(pairs: Sequence[Pairs]) -> Table:
    """A row for each pair of arms compared on the same tasks."""
    columns = (
        Column(key="against", title="against", kind="name", drop=8),
        _ARM,
        Column(key="both", title="both right", kind="number", drop=2),
        Column(key="lost", title="lost", kind="number", drop=5),
        Column(key="gained", title="gained", kind="number", drop=5),
        Column(key="neither", title="both wrong", kind="number", drop=1),
        Column(key="difference", title="change", kind="signed share", drop=7),
        Column(key="low", title="low", kind="signed share", digits=0, drop=4, about="95 % confidence interval"),
        Column(key="high", title="high", kind="signed share", digits=0, drop=4),
        Column(key="p", title="p", kind="number", digits=3, drop=6, about="McNemar's exact test"),
    )
    rows = []
    for each in pairs:
        counts = each.both, each.only_first, each.only_second, each.neither
        cells = (each.names[0], each.names[1], *counts, each.difference, *each.interval, each.p)
        rows.append(Row(cells=cells, stands_for=StandsFor("arm", each.names[1])))
    return Table(title="on the same tasks", columns=columns, rows=tuple(rows))


def _changed(pairs: Pairs) -> Iterator[AnyBlock]:
    """The tasks that only one of two arms got right, by name."""
    for word, names in (("lost", pairs.lost), ("gained", pairs.gained)):
        if names:
            more = f", and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
            yield Note(text=f"{pairs.names[1]} {word} {', '.join(map(_short, names[:_NAMED]))}{more}")


def _short(name: str) -> str:
    """The name of a task, shortened: it can be as long as its prompt."""
    return name if len(name) <= 24 else f"{name[:23]}…"
