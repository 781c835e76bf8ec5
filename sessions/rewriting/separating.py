"""Passes over example texts: the inputs of a layer's MLP, a neuron's activations, and the model's predictions.

A neuron of layer L changes nothing below L. So the output of layer L − 1 is kept from the first pass and reused in all
others, where the layers below do not run; where a family's upper layers read keys of lower ones, every layer runs. Only
the logits at the counted positions are computed. A neuron's output is linear in its down column, so a pass in which its
activation is multiplied by α equals the pass with α times the column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sessions.cancel import Cancel
from sessions.errors import ModelError
from sessions.events import Progress, Steps
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention
from sessions.model.finite import not_finite
from sessions.model.hooks import Routing, after, before, on_neurons, on_states, only_to, skipped, watched
from sessions.model.opening import OpenModel
from sessions.model.rows import batches, padded_rows
from sessions.model.sites import ExpertSite
from sessions.model.tokens import last_positions
from sessions.model.units import Unit
from sessions.rewriting.rewritten import Firing, Saying, Separation

#: Logits that are in memory at once, at most; and tokens of a batch, at least.
_LOGITS = 2**25
_TOKENS = 64


@dataclass(frozen=True)
class Counted:
    """A text, and the positions of it that are looked at."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]


@dataclass(frozen=True)
class SaidToken:
    """At each counted position of a text, `[n]`: whether the token is the likeliest next one, its chance, and what is
    missing to certainty of the token that follows in the text, in nats; NaN at the end."""

    says: Tensor
    chance: Tensor
    loss: Tensor


class Passes:
    """Passes over some texts with a neuron changed. `token` is the one whose chance is read."""

    def __init__(
        self, opened: OpenModel, neuron: Unit, texts: Sequence[Counted], token: int, cancel: Cancel | None = None
    ) -> None:
        self.opened, self.neuron, self.texts, self.token, self._cancel = opened, neuron, texts, token, cancel
        tokens = max(_TOKENS, _LOGITS // next(opened.anatomy.head.parameters()).shape[0])
        self._batches = list(batches([len(text.ids) for text in texts], tokens))
        self._below: list[Any] = [None] * len(self._batches)
        self.states: list[Tensor] = []
        """What the layer's MLP reads at the counted positions of each text, `[n, d_model]`, once `read` ran."""
        self.norm = 0.0
        """Mean norm of what the layer's MLP writes into, at all counted positions: the residual stream behind the
        layer or, where a norm stands between the two, what the MLP hands to that norm."""

    def read(self, label: str) -> Steps[list[SaidToken]]:
        """The first pass: the states, the norm, and what the model says, a text each."""
        states: dict[int, Tensor] = {}
        norms: list[Tensor] = []
        by_text: dict[int, SaidToken] = {}
        for number, rows in enumerate(self._batches):
            yield Progress(label, len(by_text), len(self.texts), "texts")
            with self._recorded(rows, states, norms), self._kept(number):
                by_text |= self._said(rows)
            if not bool(torch.cat(norms).isfinite().all()):
                raise not_finite(self.opened, [self.texts[row].ids for row in rows], "what the model computes")
        self.states = [states[row] for row in range(len(self.texts))]
        self.norm = float(torch.cat(norms).mean())
        return [by_text[row] for row in range(len(self.texts))]

    def said(self, factor: float, label: str) -> Steps[list[SaidToken]]:
        """What the model says with the neuron's activation times a factor, a text each."""
        by_text: dict[int, SaidToken] = {}
        for number, rows in enumerate(self._batches):
            yield Progress(label, len(by_text), len(self.texts), "texts")
            treatment = Intervention((self.neuron,), factor)
            with self._above(number), intervening(self.opened.anatomy, [treatment] * len(rows)):
                by_text |= self._said(rows)
        return [by_text[row] for row in range(len(self.texts))]

    @torch.inference_mode()
    def activations(self) -> list[Tensor]:
        """The neuron at the counted positions of each text, `[n]`, in float32. Layers above its own do not run."""
        anatomy = self.opened.anatomy
        by_text: dict[int, Tensor] = {}
        site, local = anatomy.site_of(self.neuron.layer, self.neuron.index)
        for number, rows in enumerate(self._batches):
            seen: list[Tensor] = []

            def record(values: Tensor, routing: Routing | None, seen: list[Tensor] = seen) -> Tensor:
                seen.append(values[..., local] if routing is None else _of_expert(site, local, values, routing))
                return values

            with ExitStack() as stack:
                ids = stack.enter_context(padded_rows(self.opened, [self.texts[row].ids for row in rows]))
                stack.enter_context(watched(anatomy, self._cancel))
                stack.enter_context(self._above(number))
                stack.enter_context(only_to(anatomy, self.neuron.layer))
                stack.enter_context(on_neurons(site, record))
                anatomy.decoder(input_ids=ids, use_cache=False)
            values = seen[0].reshape(len(rows), -1).float().cpu()
            by_text |= {row: values[at, list(self.texts[row].positions)] for at, row in enumerate(rows)}
        return [by_text[row] for row in range(len(self.texts))]

    @torch.inference_mode()
    def _said(self, rows: Sequence[int]) -> dict[int, SaidToken]:
        """One batch as it is."""
        texts = [self.texts[row] for row in rows]
        which = torch.tensor([at for at, text in enumerate(texts) for _ in text.positions])
        places = torch.tensor([position for text in texts for position in text.positions])

        def picked(hidden: Tensor) -> Tensor:
            return hidden[which.to(hidden.device), places.to(hidden.device)][None]

        rows_of = padded_rows(self.opened, [text.ids for text in texts])
        with watched(self.opened.anatomy, self._cancel), rows_of as ids, before(self.opened.anatomy.head, picked):
            out = self.opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(ids.shape[1], ids))
        logits = out.logits[0].float()
        follows = torch.tensor([(*text.ids, -1)[at + 1] for text in texts for at in text.positions]).to(logits.device)
        chances = logits.log_softmax(-1)
        loss = -chances.gather(1, follows.clamp(min=0)[:, None])[:, 0]
        parts = (
            (logits.argmax(-1) == self.token).cpu(),
            chances[:, self.token].exp().cpu(),
            loss.masked_fill(follows < 0, torch.nan).cpu(),
        )
        sizes = [len(text.positions) for text in texts]
        split = zip(*(part.split(sizes) for part in parts), strict=True)
        return {row: SaidToken(*values) for row, values in zip(rows, split, strict=True)}

    @contextmanager
    def _recorded(self, rows: Sequence[int], states: dict[int, Tensor], norms: list[Tensor]) -> Iterator[None]:
        """Inside the block a pass leaves the states of its rows, and the norms of what their MLP writes into."""
        anatomy, layer = self.opened.anatomy, self.neuron.layer

        def at_places(values: Tensor) -> list[Tensor]:
            # Some families flatten batch and sequence before an MLP; rows are told apart again here.
            apart = values.reshape(len(rows), -1, values.shape[-1])
            return [apart[at, list(self.texts[row].positions)].float().cpu() for at, row in enumerate(rows)]

        def keep(values: Tensor) -> Tensor:
            states.update(zip(rows, at_places(values), strict=True))
            return values

        def measure(values: Tensor) -> Tensor:
            norms.extend(states.norm(dim=-1) for states in at_places(values))
            return values

        with ExitStack() as stack:
            stack.enter_context(before(reader_of(self.opened, self.neuron), keep))
            norm = anatomy.layers[layer].write_norm
            stack.enter_context(
                on_states(anatomy, layer, "resid_post", measure) if norm is None else before(norm, measure)
            )
            yield

    @contextmanager
    def _kept(self, number: int) -> Iterator[None]:
        """Inside the block a pass leaves what came out of the layer below."""
        if not self.neuron.layer or self.opened.anatomy.shares_keys:
            yield
            return

        def keep(_: Tensor, output: Any) -> Any:
            self._below[number] = output
            return output

        with after(self.opened.anatomy.layers[self.neuron.layer - 1].block, keep):
            yield

    @contextmanager
    def _above(self, number: int) -> Iterator[None]:
        """Inside the block the layers below compute nothing in a pass over this batch."""
        output = self._below[number]
        with ExitStack() as stack:
            if output is not None:
                for layer in self.opened.anatomy.layers[: self.neuron.layer]:
                    stack.enter_context(skipped(layer.block, output))
            yield


def reader_of(opened: OpenModel, neuron: Unit) -> nn.Module:
    """The module whose first argument is what a neuron's rows read.

    Raises:
        ModelError: the MLP's projections go by names that the workbench does not know.
    """
    site, _ = opened.anatomy.site_of(neuron.layer, neuron.index)
    if isinstance(site, ExpertSite):
        return site.experts
    readers = dict(site.readers)
    for kind in ("gate", "gate and up", "in"):
        if kind in readers:
            return readers[kind]
    raise ModelError(f"the MLP inputs of layer {neuron.layer} are unknown in this family", "take another model")


def _of_expert(site: object, local: int, values: Tensor, routing: Routing) -> Tensor:
    """One expert's neuron at each token, 0 where the token was not sent to it, `[tokens]`."""
    assert isinstance(site, ExpertSite)
    expert, coordinate = divmod(local, site.d_expert)
    own = values[:, coordinate] * (routing.experts == expert)
    return own.reshape(-1, routing.per_token).sum(-1)


def separation(where: Tensor, elsewhere: Tensor, row: Tensor, bias: float = 0.0) -> Separation:
    """How states where a neuron should fire, `[n, d_model]`, and others, `[m, d_model]`, lie along its row."""
    high, low = (states @ row for states in (where, elsewhere))
    norm = row.norm()
    cosines = [
        float((along / (states.norm(dim=-1) * norm)).mean()) for along, states in ((high, where), (low, elsewhere))
    ]
    return Separation(
        where=cosines[0],
        elsewhere=cosines[1],
        auc=_auc(high, low),
        inputs=(float(high.mean()) + bias, float(low.mean()) + bias),
    )


def _auc(high: Tensor, low: Tensor) -> float:
    """The Mann-Whitney statistic over its largest: ties count half."""
    ordered = low.sort().values.contiguous()
    below = torch.searchsorted(ordered, high.contiguous()) + torch.searchsorted(ordered, high.contiguous(), right=True)
    return float(below.double().mean() / 2 / len(low))


def firing(where: Tensor, elsewhere: Tensor, threshold: float) -> Firing:
    """How often activations where a neuron should fire, `[n]`, and others, `[m]`, are above a threshold."""
    return Firing(
        threshold=threshold,
        where=float((where > threshold).float().mean()),
        elsewhere=float((elsewhere > threshold).float().mean()),
        mean_where=float(where.mean()),
        mean_elsewhere=float(elsewhere.mean()),
    )


def saying(predictions: Sequence[SaidToken], where: Sequence[Tensor]) -> Saying:
    """How often the token is said, over texts; `where` marks, a text each, the counted positions where it should be."""
    marks = torch.cat(list(where))
    says, chance = (
        torch.cat([getattr(prediction, name) for prediction in predictions]).float() for name in ("says", "chance")
    )
    return Saying(
        where=float(says[marks].mean()),
        elsewhere=float(says[~marks].mean()),
        chance_where=float(chance[marks].mean()),
        chance_elsewhere=float(chance[~marks].mean()),
    )
