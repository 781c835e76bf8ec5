"""The logit lens: the state between two layers read as if it were the last.

The residual stream after a layer goes through the model's own final norm and head, and becomes a distribution over the
next token (nostalgebraist 2020, "interpreting GPT: the logit lens"). A fitted lens (`sessions.lenses.fitted`) moves the
state into the basis of the last layer first.

Everything behind the last layer is the model's own code: a pass in which no layer computes anything, and the last one
returns the state that is read. So softcaps, scales and biases are those of the model, and the last layer's reading is
the model's own prediction, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sessions.cancel import Cancel, look
from sessions.errors import NotFinite
from sessions.events import Progress, Steps
from sessions.lenses.findings import EMBEDDINGS, LensLayer, LensRow
from sessions.model.hooks import after, before, passing, skipped, together, watched
from sessions.model.logits import no_logits
from sessions.model.opening import OpenModel
from sessions.model.tokens import token_text

#: Logits in memory at once: positions are read in parts, one layer at a time.
AT_ONCE = 2**24
#: Likeliest tokens that are kept of each layer at the position that is looked at.
KEPT = 5

#: Moves the state after a layer, `[…, d_model]`, into the basis of the last layer.
Translate = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class StatesBetween:
    """The residual stream of a text between its layers, at consecutive positions.

    `states` are those of the layers in `layers`, −1 for the output of the embeddings: `[1, n, d_model]` each, or
    `[streams, 1, n, d_model]`. The last layer is always among them. `tupled` says that the family's layers return
    tuples.
    """

    layers: tuple[int, ...]
    states: tuple[Tensor, ...]
    tupled: bool

    @property
    def count(self) -> int:
        """The number of positions."""
        return int(self.states[0].shape[-2])


def states_between(
    opened: OpenModel,
    ids: Sequence[int],
    positions: range,
    layers: Sequence[int] | None = None,
    cancel: Cancel | None = None,
) -> StatesBetween:
    """One pass over a text, which records the residual stream at some positions, under what is in force around it.

    Args:
        layers: those to record, −1 for the output of the embeddings; by default all. The last is recorded in any case.
    """
    anatomy = opened.anatomy
    last = anatomy.n_layers - 1
    wanted = tuple(sorted({*(range(EMBEDDINGS, last) if layers is None else layers), last}))
    seen: dict[int, Tensor] = {}
    tupled = False

    def keep(layer: int, output: Any) -> Any:
        nonlocal tupled
        tupled = isinstance(output, tuple) if layer != EMBEDDINGS else tupled
        hidden = output[0] if isinstance(output, tuple) else output
        seen[layer] = hidden[..., positions.start : positions.stop, :].clone()  # later layers may write into it
        return output

    def kept(layer: int, _: Tensor, output: Any) -> Any:
        return keep(layer, output)

    hooks: list[Any] = [
        after(anatomy.layers[layer].block, partial(kept, layer)) for layer in wanted if layer != EMBEDDINGS
    ]
    if EMBEDDINGS in wanted:
        hooks.append(before(anatomy.layers[0].block, lambda hidden: keep(EMBEDDINGS, hidden)))
    batch = torch.tensor([list(ids)], device=opened.device)
    with watched(anatomy, cancel), no_logits(anatomy), together(hooks):
        opened.model(input_ids=batch, use_cache=False)
    return StatesBetween(wanted, tuple(seen[layer] for layer in wanted), tupled)


def logits_of(opened: OpenModel, state: Tensor, tupled: bool, part: slice = slice(None)) -> Tensor:
    """The logits that the model computes from a state behind its last layer, `[n, vocab]`, in float32.

    Args:
        state: as in `StatesBetween`.
        part: the positions whose logits are wanted.
    """
    anatomy = opened.anatomy
    *below, last = (layer.block for layer in anatomy.layers)
    part = slice(*part.indices(state.shape[-2]))
    # Which tokens these are does not matter, since no layer reads them.
    ids = torch.ones((1, state.shape[-2]), dtype=torch.long, device=opened.device)
    with together([*map(passing, below), skipped(last, (state,) if tupled else state)]):
        logits: Tensor = opened.model(input_ids=ids, use_cache=False, logits_to_keep=part).logits
    return logits[0].float()


def translated(opened: OpenModel, state: Tensor, translate: Translate | None) -> Tensor:
    """A state moved into the basis of the last layer; as it is without a translation."""
    if translate is None:
        return state
    anatomy = opened.anatomy
    moved = translate(anatomy.residual(state).float()).to(state.dtype)
    return anatomy.with_residual(state, moved)


@dataclass(frozen=True, eq=False)
class Readings:
    """What a lens reads: a layer's predictions at all positions, and rows for one of them.

    `targets` are the tokens that probabilities and ranks are of, one for each position.
    """

    layers: tuple[LensLayer, ...]
    rows: tuple[LensRow, ...]
    targets: tuple[int, ...]


@torch.inference_mode()
def read(
    opened: OpenModel,
    between: StatesBetween,
    row: int,
    *,
    target: int | None = None,
    translations: Mapping[int, Translate] | None = None,
) -> Steps[Readings]:
    """Read the states of a text, layer by layer.

    No intervention on hidden states may be in force: it was while the states were recorded.

    Args:
        row: the position to make rows of, counted among those that were recorded.
        target: the token to measure; by default each position's likeliest one, by the model's own prediction.
        translations: of a fitted lens, by layer; a layer without one is read as it is.

    Raises:
        NotFinite: the model's own logits are not finite.
    """
    size = max(1, AT_ONCE // opened.anatomy.n_tokens)
    parts = [slice(start, min(start + size, between.count)) for start in range(0, between.count, size)]
    columns: list[list[Tensor]] = [[] for _ in between.layers]
    targets: list[Tensor] = []
    rows: dict[int, LensRow] = {}
    done, all_of_it = 0, len(parts) * len(between.layers)
    for part in parts:
        own = logits_of(opened, between.states[-1], between.tupled, part)
        if not bool(own.max(-1).values.isfinite().all()):
            raise NotFinite("the model's own prediction is not finite", "open the model with --dtype float32")
        own = own.log_softmax(-1)
        wanted = own.argmax(-1) if target is None else torch.full((len(own),), target, device=own.device)
        targets.append(wanted)
        for number, (layer, state) in enumerate(zip(between.layers, between.states, strict=True)):
            look()
            yield Progress("lens", done, all_of_it, "layers")
            moved = translated(opened, state, (translations or {}).get(layer))
            lens = logits_of(opened, moved, between.tupled, part).log_softmax(-1)
            columns[number].append(measured(lens, own, wanted))
            if part.start <= row < part.stop:
                here = row - part.start
                rows[layer] = _row(opened, layer, lens[here], columns[number][-1][here])
            done += 1
    return Readings(
        tuple(_layer(opened, layer, torch.cat(parts)) for layer, parts in zip(between.layers, columns, strict=True)),
        tuple(rows[layer] for layer in between.layers),
        tuple(torch.cat(targets).tolist()),
    )


def measured(lens: Tensor, own: Tensor, targets: Tensor) -> Tensor:
    """The numbers of `LensLayer` for each position, `[n, 6]` in float64: the likeliest token and its probability, the
    target's probability and rank, the entropy, and the divergence from the model's own prediction.

    Args:
        lens, own: log-probabilities, `[n, vocab]`.
        targets: a token for each position, `[n]`.
    """
    top = lens.max(-1)
    of_target = lens.gather(-1, targets[:, None])
    rank = 1 + (lens > of_target).sum(-1)
    return torch.stack(
        [
            top.indices.double(),
            top.values.double().exp(),
            of_target[:, 0].double().exp(),
            rank.double(),
            -_mean(lens, lens).double(),
            divergence(lens, own).double(),
        ],
        dim=-1,
    ).cpu()


def divergence(lens: Tensor, own: Tensor) -> Tensor:
    """KL(own ‖ lens) of log-probabilities, `[n, vocab]`, in nats: `[n]`."""
    return _mean(own, own - lens)


def _mean(logs: Tensor, values: Tensor) -> Tensor:
    """The mean of values under the distribution with these log-probabilities; impossible tokens count nothing."""
    chance = logs.exp()
    return torch.where(chance > 0, chance * values, 0).sum(-1)


def _layer(opened: OpenModel, layer: int, numbers: Tensor) -> LensLayer:
    top, top_probability, probability, rank, entropy, kl = numbers.T.tolist()
    texts = {token: token_text(opened.tokenizer, int(token)) for token in set(top)}
    return LensLayer(
        layer=layer,
        top=tuple(texts[token] for token in top),
        top_probability=tuple(top_probability),
        probability=tuple(probability),
        rank=tuple(map(int, rank)),
        entropy=tuple(entropy),
        kl=tuple(kl),
    )


def _row(opened: OpenModel, layer: int, lens: Tensor, numbers: Tensor) -> LensRow:
    likeliest = lens.topk(min(KEPT, len(lens))).indices.tolist()
    _, top_probability, probability, rank, entropy, kl = numbers.tolist()
    return LensRow(
        layer=layer,
        tokens=tuple(token_text(opened.tokenizer, token) for token in likeliest),
        top_probability=top_probability,
        probability=probability,
        rank=int(rank),
        entropy=entropy,
        kl=kl,
    )
