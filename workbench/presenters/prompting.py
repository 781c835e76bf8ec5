"""What the model reads and says next: the results of `model`, `prompt`, `tokens`, `generate`, `top`, `prob`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from sessions import results
from sessions.model.info import Encoded
from sessions.views.interventions import ending, held_back
from workbench.presenters import parts
from workbench.presenters.parts import shown
from workbench.writing import (
    bar,
    chance,
    duration,
    facts,
    fitted,
    inline,
    quoted,
    signed,
)


@shown.register
def _(value: results.ModelOpened, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield parts.model(value.info, sheet)


@shown.register
def _(value: results.PromptSet, sheet: parts.Sheet) -> Iterator[RenderableType]:
    yield _prompt(value.encoded, sheet)
    if value.generated is not None:
        yield from shown(value.generated, sheet)


@shown.register
def _(value: results.Tokens, sheet: parts.Sheet) -> Iterator[RenderableType]:
    encoded = value.encoded
    yield facts(_length(encoded), sheet.width)
    digits = (len(str(len(encoded.ids))), max((len(str(id)) for id in encoded.ids), default=1))
    cells = [
        f"{position:>{digits[0]}}  {id:>{digits[1]}}  {fitted(quoted(token), 24)}"
        for position, (id, token) in enumerate(zip(encoded.ids, encoded.tokens, strict=True))
    ]
    yield parts.columns(cells, sheet.width)


@shown.register
def _(value: results.Generated, sheet: parts.Sheet) -> Iterator[RenderableType]:
    if not value.arm.text or sheet.streamed != value.arm.text:
        yield parts.text(value.arm.text)
    tokens = f"{len(value.arm.ids)} tokens"
    said = [tokens, inline(ending(value.arm)), inline(held_back(value.arm)), duration(sheet.seconds)]
    yield parts.dim(facts(said, sheet.width))


@shown.register
def _(value: results.Distribution, sheet: parts.Sheet) -> Iterator[RenderableType]:
    table = parts.table(sheet, ">rank", "token", ">p", "", ">logit", ">id")
    cells = parts.bar_cells(sheet, beside=56)
    for candidate in value.chances:
        table.add_row(
            str(candidate.rank),
            parts.cell(quoted(candidate.text)),
            chance(candidate.probability),
            f"{bar(candidate.probability, cells):<{cells}}",
            signed(candidate.logit),
            str(candidate.id),
        )
    yield table


def _prompt(encoded: Encoded, sheet: parts.Sheet) -> RenderableType:
    prompt = encoded.prompt
    seed = f"seed {quoted(prompt.seed)}" if prompt.seed else ""
    system = f"system {quoted(prompt.system)}" if prompt.system is not None else ""
    return facts([f"prompt {quoted(prompt.text)}", system, seed, *_length(encoded)], sheet.width)


def _length(encoded: Encoded) -> tuple[str, str, str]:
    beginning = f"{encoded.bos} BOS" if encoded.bos else "".join(encoded.tokens[: encoded.prefix]) or "no BOS"
    return f"{len(encoded.ids):,} tokens", beginning, "chat" if encoded.templated else "raw"
