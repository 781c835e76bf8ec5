"""A neuron that was rewritten to say a token: `rewrite`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.rewriting.rewritten import Firing, Replied, Saying, Separation
from sessions.views.blocks import AnyBlock, ArmText, Cell, Column, Fact, Facts, Note, Row, Table, Texts
from sessions.views.interventions import parting
from sessions.views.registry import facts, viewed
from sessions.views.writing import counted, percent, quoted, signed

#: The mark before the chosen α.
_TAKEN = "▸"


@viewed.register
def _(value: results.Rewritten) -> Iterator[AnyBlock]:
    yield facts(value.name, *_about(value))
    yield facts(*_examples(value))
    yield facts(*_separates(value.separation), *_fires(value.firing))
    yield _alphas(value)
    if value.brake is not None:
        loose, held = value.brake.again
        again = f"says it twice in a row: {percent(held)}, without the brake {percent(loose)}"
        yield facts(f"brake {value.brake.neuron}", f"β {value.brake.beta:g}", again)
        yield facts(*_separates(value.brake.separation), *_fires(value.brake.firing))
    if value.replies:
        yield from _replies(value)
    yield facts(value.path)


def _about(value: results.Rewritten) -> Iterator[str]:
    """What the neuron says, where, and its scales."""
    yield f"{value.neuron} says {quoted(value.token.text)}, {value.rule}"
    yield f"α {value.alpha:g}"
    yield f"scale_g {value.scale_gate:.3g}"
    yield "" if value.scale_up is None else f"scale_u {value.scale_up:.3g}"
    yield "" if value.bias is None else f"bias {signed(value.bias, 2)}"
    yield f"norm of {'the MLP before its norm' if value.normed else 'the stream'} {value.norm:.3g}"


def _examples(value: results.Rewritten) -> Iterator[str]:
    texts, where, elsewhere = value.learnt
    yield f"learnt from {counted(texts, 'text')} of {value.examples}: {where:,} places, {elsewhere:,} others"
    texts, where, elsewhere = value.held
    yield (
        f"measured on {texts:,} held out: {where:,} places, {elsewhere:,} others"
        if value.apart
        else "measured on the same texts"
    )


def _separates(found: Separation) -> Iterator[str]:
    yield f"cosine with its row {signed(found.where, 2)}, elsewhere {signed(found.elsewhere, 2)}, gap {found.gap:.2f}"
    yield f"AUC {found.auc:.3f}"
    yield f"reads {signed(found.inputs[0], 2)}, elsewhere {signed(found.inputs[1], 2)}"


def _fires(found: Firing) -> Iterator[str]:
    yield f"fires (above {found.threshold:.2g}) at {percent(found.where)}, elsewhere {percent(found.elsewhere)}"
    yield f"mean {signed(found.mean_where, 2)}, elsewhere {signed(found.mean_elsewhere, 2)}"


def _alphas(value: results.Rewritten) -> Table:
    """A row without the edit, then one for each α."""
    replies = "1 reply" if len(value.replies) == 1 else f"{len(value.replies):,} replies"
    columns = (
        Column(key="alpha", title="α", kind="index"),
        Column(key="says", title="says it", kind="share", drop=7, about="as the likeliest next token, at its places"),
        Column(key="says_elsewhere", title="elsewhere", kind="share", drop=6),
        Column(key="chance", title="chance", kind="number", digits=3, drop=4),
        Column(key="chance_elsewhere", title="elsewhere", kind="number", digits=3, drop=3),
        Column(key="perplexity", title="perplexity", kind="multiple", digits=3, drop=5, about="of unrelated text"),
        Column(key="said", title="said", kind="number", drop=2, about=f"in {replies}"),
        Column(key="repetition", title="repeats", kind="share", drop=1),
    )
    rows: list[tuple[Cell, ...]] = [("without", *_saying(value.before), 1.0, None, value.repetition[0])]
    rows += [(row.alpha, *_saying(row.held), row.perplexity, row.said, row.repetition) for row in value.rows]
    chosen = value.chosen + 1
    marked = (Row(cells=cells, mark=_TAKEN if at == chosen else "") for at, cells in enumerate(rows))
    return Table(columns=columns, rows=tuple(marked))


def _saying(said: Saying) -> tuple[float, ...]:
    return said.where, said.elsewhere, said.chance_where, said.chance_elsewhere


def _replies(value: results.Rewritten) -> Iterator[AnyBlock]:
    """The first reply that says it, beside the reply without the edit, and how much all replies repeat."""
    shown = next((each for each in value.replies if value.token.text in each.after), value.replies[0])
    yield Facts(items=(Fact(shown.prompt, "asked"),))
    yield _sides(shown)
    before, after = value.repetition
    repeated = f"repeated three-token sequences in the replies {percent(after)}, without the edit {percent(before)}"
    held = f"stutter guard at {percent(value.held_back[1])} of their tokens" if value.held_back[1] else ""
    if value.collapsed:
        yield Note(verdict="the replies collapse", text=" · ".join(filter(None, [repeated, held])))
    else:
        yield facts(repeated, held)


def _sides(shown: Replied) -> Texts:
    held = f"{shown.guarded:,} held back by the stutter guard" if shown.guarded else ""
    marks = parting((shown.before, shown.after))
    sides = (("without the edit", shown.before), ("with it", shown.after))
    return Texts(
        arms=tuple(
            ArmText(facts=(name, *([held] if number and held else [])), text=text, parts_at=marks[number])
            for number, (name, text) in enumerate(sides)
        )
    )
