"""A neuron that was taught to say something: the result of `rewrite`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text as Line

from sessions import results
from sessions.rewriting.rewritten import Braked, Firing, Separation
from sessions.views.writing import counted
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import chance, facts, inline, percent, plain, quoted, signed


@shown.register
def _(value: results.Rewritten, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield facts([inline(value.name), *_about(value)], sheet.width)
    yield facts(_examples(value), sheet.width)
    yield facts([*_separates(value.separation), *_fires(value.firing)], sheet.width)
    yield _table(value, sheet)
    yield parts.dim(facts(_legend(value), sheet.width))
    if value.brake is not None:
        yield facts(_brake(value.brake), sheet.width)
        yield facts([*_separates(value.brake.separation), *_fires(value.brake.firing)], sheet.width)
    if value.replies:
        yield _replies(value)
    before, after = value.repetition
    if value.replies:
        repeated = f"repeated three-token sequences in the replies {percent(after)}, without the edit {percent(before)}"
        held = f"stutter guard at {percent(value.held_back[1])} of their tokens" if value.held_back[1] else ""
        mark = "! the replies collapse" if value.collapsed else ""
        line = facts([mark, repeated, held], sheet.width)
        yield line if value.collapsed else parts.dim(line)
    yield parts.dim(Line(inline(value.path), overflow="fold"))


def _about(value: results.Rewritten) -> list[str]:
    return [
        f"{value.neuron} says {quoted(value.token.text)}, {inline(value.rule)}",
        f"α {value.alpha:g}",
        f"scale_g {value.scale_gate:.3g}",
        "" if value.scale_up is None else f"scale_u {value.scale_up:.3g}",
        "" if value.bias is None else f"bias {signed(value.bias, 2)}",
        f"{'MLP before its norm' if value.normed else 'stream'} has norm {value.norm:.3g}",
    ]


def _examples(value: results.Rewritten) -> list[str]:
    texts, where, elsewhere = value.learnt
    made = f"made of {counted(texts, 'text')} of {inline(value.examples)}: {where:,} places, {elsewhere:,} others"
    texts, where, elsewhere = value.held
    held = f"measured on {texts:,} held out: {where:,} places, {elsewhere:,} others"
    return [made, held if value.apart else "measured on the same"]


def _separates(found: Separation) -> list[str]:
    return [
        f"cosine with its row {signed(found.where, 2)}, elsewhere {signed(found.elsewhere, 2)}, gap {found.gap:.2f}",
        f"AUC {found.auc:.3f}",
        f"reads {signed(found.inputs[0], 2)}, elsewhere {signed(found.inputs[1], 2)}",
    ]


def _fires(found: Firing) -> list[str]:
    return [
        f"fires (above {found.threshold:.2g}) at {percent(found.where)}, elsewhere {percent(found.elsewhere)}",
        f"mean {signed(found.mean_where, 2)}, elsewhere {signed(found.mean_elsewhere, 2)}",
    ]


def _table(value: results.Rewritten, sheet: parts.Sheet) -> Table:
    headings = (">says it", ">elsewhere", ">chance", ">elsewhere", ">perplexity", ">said", ">repeats")
    table = parts.table(sheet, ">α", *headings)
    was = value.before
    chances = chance(was.chance_where), chance(was.chance_elsewhere)
    table.add_row(
        "without", percent(was.where), percent(was.elsewhere), *chances, "×1", "", percent(value.repetition[0])
    )
    for at, row in enumerate(value.rows):
        says = row.held
        table.add_row(
            f"{'▸' if at == value.chosen else ''}{row.alpha:g}",
            percent(says.where),
            percent(says.elsewhere),
            chance(says.chance_where),
            chance(says.chance_elsewhere),
            f"×{row.perplexity:.3f}" if row.perplexity < 1000 else f"×{row.perplexity:.0e}",
            f"{row.said:,}",
            percent(row.repetition),
        )
    return table


def _legend(value: results.Rewritten) -> list[str]:
    return [
        "says it: the likeliest next token, at its places",
        "perplexity: of unrelated text",
        f"said: in {counted(len(value.replies), 'reply').replace('replys', 'replies')}",
    ]


def _brake(found: Braked) -> list[str]:
    loose, held = found.again
    return [
        f"brake {found.neuron}",
        f"β {found.beta:g}",
        f"says it again right after: {percent(held)}, without the brake {percent(loose)}",
    ]


def _replies(value: results.Rewritten) -> RenderableType:
    said = (each for each in value.replies if value.token.text in each.after)
    first = next(said, value.replies[0])
    held = f" ({first.guarded:,} held back by the stutter guard)" if first.guarded else ""
    rows = {
        "asked": Line(plain(first.prompt), overflow="fold"),
        "without": parts.text(first.before),
        "with": parts.text(first.after + held),
    }
    return parts.pairs(rows)
