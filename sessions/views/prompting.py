"""What the model reads and says next: `model`, `prompt`, `seed`, `tokens`, `generate`, `top`, `prob`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import results
from sessions.model.info import Encoded, ModelInfo
from sessions.views.blocks import AnyBlock, ArmText, Column, Note, Row, StandsFor, Table, Texts
from sessions.views.interventions import ending, held_back
from sessions.views.registry import facts, viewed
from sessions.views.writing import MISSING, counted, quoted


@viewed.register
def _(value: results.ModelOpened) -> Iterator[AnyBlock]:
    yield facts(*model_facts(value.info))


def model_facts(info: ModelInfo) -> Iterator[str]:
    """A model in short: size, dtype, dimensions, vocabulary."""
    widths = sorted(set(info.d_mlp))
    yield info.name
    yield info.family
    yield f"{info.n_parameters / 1e6:,.1f} M parameters"
    yield f"{f'{info.dtype} {info.quantisation}'.strip()} on {info.device}"
    if info.decoding:
        yield f"decoding {info.decoding}"
    yield counted(info.n_layers, "layer")
    yield f"d_model {info.d_model:,}"
    yield f"d_mlp {'–'.join(f'{width:,}' for width in dict.fromkeys((widths[0], widths[-1]))) if widths else MISSING}"
    yield counted(info.n_heads, "head")
    yield f"{info.vocab_size:,} tokens"
    yield "chat template" if info.has_template else "no chat template"


@viewed.register
def _(value: results.PromptSet) -> Iterator[AnyBlock]:
    prompt = value.encoded.prompt
    yield facts(
        f"prompt {quoted(prompt.text)}",
        "" if prompt.system is None else f"system {quoted(prompt.system)}",
        f"seed {quoted(prompt.seed)}" if prompt.seed else "",
        *_length(value.encoded),
    )
    if value.generated is not None:
        yield from viewed(value.generated)


def _length(encoded: Encoded) -> Iterator[str]:
    yield counted(len(encoded.ids), "token")
    yield f"{encoded.bos} BOS" if encoded.bos else "".join(encoded.tokens[: encoded.prefix]) or "no BOS"
    yield "chat" if encoded.templated else "raw"


@viewed.register
def _(value: results.Tokens) -> Iterator[AnyBlock]:
    encoded = value.encoded
    yield facts(*_length(encoded))
    if not encoded.ids:
        yield Note(text="no tokens")
        return
    columns = (
        Column(key="position", title="pos", kind="index"),
        Column(key="id", title="id", kind="index", drop=1),
        Column(key="token", title="token", kind="token", drop=2),
    )
    rows = tuple(
        Row(cells=(position, id, token), stands_for=StandsFor("position", str(position)))
        for position, (id, token) in enumerate(zip(encoded.ids, encoded.tokens, strict=True))
    )
    yield Table(columns=columns, rows=rows, abreast=True)


@viewed.register
def _(value: results.Generated) -> Iterator[AnyBlock]:
    arm = value.arm
    said = (counted(len(arm.ids), "token"), ending(arm), held_back(arm))
    yield Texts(arms=(ArmText(facts=tuple(filter(None, said)), text=arm.text),), timed=True)


@viewed.register
def _(value: results.Distribution) -> Iterator[AnyBlock]:
    columns = (
        Column(key="rank", title="rank", kind="number"),
        Column(key="token", title="token", kind="token", drop=4),
        Column(key="probability", title="p", kind="number", digits=3, bar=1.0, drop=3),
        Column(key="logit", title="logit", kind="signed", drop=2),
        Column(key="id", title="id", kind="index", drop=1),
    )
    rows = (Row(cells=(each.rank, each.text, each.probability, each.logit, each.id)) for each in value.chances)
    yield Table(columns=columns, rows=tuple(rows))
