"""Direct logit attribution: a logit as the sum of what each component writes into the residual stream.

The last state is the sum of the embeddings and of what every attention and MLP has added to it. What the model does
with it behind the last layer becomes linear once the scale of the final norm is held at the value that it has there,
and a softcap or a scale of the logits takes the identity rule (`rules`). So the logit is a sum over components,
exactly, and a bias of norm and head (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; as in
TransformerLens, with the norm folded in as it is scaled at the position).

One pass gives all of it. Inside, what attention and MLP write are leaves of the graph, so that a gradient reaches them
through the residual stream alone: no layer above is in it. A component's part is what it writes times that gradient,
which takes what a family does on the way (a norm behind the attention, a multiplier) into account. A head's part is its
slice of the input of the output projection times the gradient there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.rules import behind_the_head, linear_norms
from sessions.errors import ModelError, NotFinite
from sessions.lenses.findings import HeadPart, LogitPart
from sessions.model.homes import home_of, widest
from sessions.model.hooks import after, before, together, watched
from sessions.model.info import Token
from sessions.model.logits import only_target, strongest_other
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.target import Target
from sessions.model.tokens import token_text

#: The largest gap, as a share of all parts, in float32 and in narrower numbers, which add up less exactly.
GAP, NARROW_GAP = 1e-3, 0.05


@dataclass(frozen=True, eq=False)
class LogitParts:
    """A target as a sum of parts, and the parts of heads within those of their layers. `value` is the target's own.

    `rest` is the part that no component has: what rounding leaves.
    """

    parts: tuple[LogitPart, ...]
    heads: tuple[HeadPart, ...]
    value: float

    @property
    def rest(self) -> float:
        return self.value - sum(part.value for part in self.parts)


def settled_target(
    opened: OpenModel, logits: Tensor, token: Token | None, other: Token | None, *, alone: bool = False
) -> Target:
    """The target that a token and its counterfactual make, as `discover` has it.

    Args:
        logits: of the position, `[vocab]`.
        token: by default the likeliest one.
        other: by default, unless `alone`, the strongest other token.
    """
    wanted = int(logits.argmax()) if token is None else token.id
    against = None if alone else strongest_other(logits, wanted) if other is None else other.id
    named = {i: Token(i, token_text(opened.tokenizer, i)) for i in (wanted, against) if i is not None}
    return Target(tokens=(named[wanted],), counterfactual=None if against is None else named[against])


def logit_parts(
    opened: OpenModel, ids: Sequence[int], position: int, target: Target, cancel: Cancel | None = None
) -> LogitParts:
    """What each component adds to a target, a logit or a difference of two, after the tokens up to a position.

    Raises:
        ModelError: a layer of this family writes in a way that no component covers.
        NotFinite: the target's value is not finite.
    """
    anatomy = opened.anatomy
    _check(opened)
    tape = _Tape()
    batch = torch.tensor([list(ids[: position + 1])], device=home_of(anatomy.embeddings[0]))
    with (
        torch.enable_grad(),
        watched(anatomy, cancel),
        only_target(anatomy, target) as value_in,
        tape.recording(opened),
    ):
        logits = opened.model(input_ids=batch, use_cache=False, logits_to_keep=slice(position, position + 1)).logits
        value = value_in(behind_the_head(tape.scores, logits))[0]
        if not bool(value.isfinite()):
            raise NotFinite("the target's value is not finite", "open the model with --dtype float32")
        inputs = [*tape.written.values(), *tape.mixed.values(), tape.last]
        gradients = torch.autograd.grad(value, inputs, allow_unused=True)
    with torch.no_grad():
        return _parts(opened, tape, gradients, float(value))


def _check(opened: OpenModel) -> None:
    """Raise `ModelError` unless each layer has one place where its attention writes, and one for its MLP."""
    anatomy, family = opened.anatomy, opened.info.family
    if anatomy.streams > 1:
        raise ModelError(
            f"'{family}' mixes several residual streams, so that its logits are no sum of what its components write",
            "discover attributes them to neurons on many other families",
        )
    for number, layer in enumerate(anatomy.layers):
        for what, module in (("attention", layer.attention_writer), ("MLP", layer.writer)):
            if module is None:
                raise ModelError(
                    f"layer {number} of '{family}' has no one place where its {what} writes",
                    "a logit is no sum of components there; lens reads the layers as a whole",
                )


@dataclass
class _Tape:
    """What a pass writes into the residual stream: tensors by kind and layer."""

    written: dict[tuple[str, int | None], Tensor] = field(default_factory=dict)
    mixed: dict[int, Tensor] = field(default_factory=dict)
    scores: Tensor = field(default_factory=lambda: torch.empty(0))
    last: Tensor = field(default_factory=lambda: torch.empty(0))

    @contextmanager
    def recording(self, opened: OpenModel) -> Iterator[None]:
        """Inside the block, attention and MLP write leaves, and norms are held at their scales."""
        anatomy = opened.anatomy
        hooks: list[Any] = [*linear_norms(anatomy)]
        hooks.append(before(anatomy.layers[0].block, lambda hidden: self._leaf(("embeddings", None), hidden)))
        for number, layer in enumerate(anatomy.layers):
            if layer.heads is not None:
                hooks.append(before(layer.heads.output, partial(self._mixture, number)))
            writers = {"attention": layer.attention_writer, "mlp": layer.writer}
            for kind, module in writers.items():
                assert module is not None
                hooks.append(after(module, partial(self._output, anatomy, (kind, number))))
        hooks += [after(product, partial(self._per_layer, place)) for place, product in enumerate(anatomy.products)]
        hooks.append(before(anatomy.final_norm, self._before_norm))
        hooks.append(after(anatomy.head, self._head))
        with together(hooks):
            yield

    def _leaf(self, key: tuple[str, int | None], hidden: Tensor) -> Tensor:
        self.written[key] = hidden.detach().clone().requires_grad_()
        return self.written[key].clone()  # some families add to it in place

    def _mixture(self, layer: int, mixture: Tensor) -> Tensor:
        """The outputs of all heads, before the output projection."""
        self.mixed[layer] = mixture.detach().clone().requires_grad_()
        return self.mixed[layer]

    def _output(self, anatomy: Anatomy, key: tuple[str, int], _: Tensor, output: Any) -> Any:
        """What an attention or an MLP writes. That of an attention stays joined to the outputs of its heads."""
        kind, layer = key
        hidden = anatomy.residual(output)
        if kind == "mlp" or layer not in self.mixed:
            return anatomy.with_residual(output, self._leaf(key, hidden))
        self.written[key] = hidden
        return anatomy.with_residual(output, hidden.clone())

    def _per_layer(self, place: int, _: Tensor, output: Tensor) -> Tensor:
        return self._leaf(("per-layer embeddings", place), output)

    def _before_norm(self, hidden: Tensor) -> Tensor:
        self.last = hidden
        return hidden

    def _head(self, _: Tensor, output: Tensor) -> Tensor:
        self.scores = output
        return output


def _parts(opened: OpenModel, tape: _Tape, gradients: Sequence[Tensor | None], value: float) -> LogitParts:
    *grads, of_last = gradients
    products = [
        _product(tensor, gradient)
        for tensor, gradient in zip([*tape.written.values(), *tape.mixed.values()], grads, strict=True)
    ]
    named = dict(zip(tape.written, products, strict=False))
    parts = [LogitPart(kind=kind, layer=layer, value=float(part.sum())) for (kind, layer), part in named.items()]
    parts.append(LogitPart(kind="biases", layer=None, value=value - float(_product(tape.last, of_last).sum())))
    order = ("embeddings", "attention", "mlp", "per-layer embeddings", "biases")
    parts.sort(
        key=lambda part: (part.kind == "biases", -1 if part.layer is None else part.layer, order.index(part.kind))
    )
    mixed = dict(zip(tape.mixed, products[len(tape.written) :], strict=True))
    attention = {part.layer: part.value for part in parts if part.kind == "attention"}
    heads = [head for layer, part in mixed.items() for head in _heads(opened.anatomy, layer, part, attention[layer])]
    found = LogitParts(tuple(parts), tuple(heads), value)
    size = sum(abs(part.value) for part in parts)
    if abs(found.rest) > size * (GAP if opened.model.dtype == torch.float32 else NARROW_GAP):
        raise ModelError(
            f"the components of '{opened.info.family}' do not sum to the target: its layers write in other ways too",
            "lens reads the layers as a whole",
        )
    return found


def _heads(anatomy: Anatomy, layer: int, part: Tensor, whole: float) -> Iterator[HeadPart]:
    """The parts of the heads of a layer and, where its output projection has a bias, what that adds.

    Args:
        part: what each input of the output projection adds, `[n_heads · d_head]`.
        whole: what the attention of the layer adds.
    """
    site = anatomy.heads_of(layer)
    values = part.reshape(site.n_heads, site.d_head).sum(-1).tolist()
    for head, value in enumerate(values):
        yield HeadPart(layer=layer, head=head, value=value)
    if getattr(site.output, "bias", None) is not None:
        yield HeadPart(layer=layer, head=None, value=whole - sum(values))


def _product(tensor: Tensor, gradient: Tensor | None) -> Tensor:
    """What a tensor adds, number by number, at its last position."""
    wide = widest(tensor.device)
    last = tensor.detach()[0, -1] if tensor.ndim == 3 else tensor.detach()[-1]  # some families flatten the batch
    if gradient is None:
        return torch.zeros_like(last, dtype=wide)
    arriving = gradient[0, -1] if gradient.ndim == 3 else gradient[-1]
    return last.to(wide) * arriving.to(wide)
