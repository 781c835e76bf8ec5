"""The residual stream before a layer as a sum of parts: embeddings, and what each head and each MLP below has written.

The parts are what the model itself adds, at some positions of one text. A family whose stream is not that sum, because
it also scales the stream or adds other things, is refused by name. In formats of few bits the model rounds its sum
after every layer: what that loses is the part `rounding`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.errors import ModelError
from sessions.heads.maps import projected
from sessions.interventions.answering import ConditionedPrompt, running_rows
from sessions.model.hooks import after, before, on_states, only_to, watched, writer_of
from sessions.model.logits import no_logits
from sessions.model.opening import OpenModel
from sessions.model.sites import HeadSite
from sessions.model.tokens import last_positions
from sessions.model.units import Unit

EMBEDDING, BIAS, ROUNDING = "embedding", "biases", "rounding"


class StreamParts(NamedTuple):
    """`states[p]`, `[positions, d_model]`, is what the part `names[p]` has in the stream; float64, on the CPU."""

    names: tuple[str, ...]
    states: Tensor


def stream_parts(
    opened: OpenModel,
    row: ConditionedPrompt,
    ids: Sequence[int],
    layer: int,
    positions: Sequence[int],
    cancel: Cancel | None = None,
) -> StreamParts:
    """The parts of the stream before `layer` at some positions.

    Raises:
        ModelError: the stream of this family is not the sum of what its layers write.
    """
    anatomy = opened.anatomy
    at = list(positions)
    read: dict[tuple[int, str], Tensor] = {}

    def keeping(number: int, what: str) -> Callable[[Tensor], Tensor]:
        def keep(states: Tensor) -> Tensor:
            flat = states.reshape(-1, states.shape[-1])[-len(ids) :]
            read[number, what] = flat[torch.tensor(at, device=flat.device)].detach().cpu().double()
            return states

        return keep

    def returned(number: int, what: str) -> Callable[[Tensor, object], object]:
        keep = keeping(number, what)
        return lambda _, output: (keep(anatomy.residual(output)), output)[1]

    batch = torch.tensor([list(ids)], device=opened.device)
    with torch.inference_mode(), ExitStack() as stack:
        stack.enter_context(watched(anatomy, cancel))
        stack.enter_context(running_rows(opened, [row]))
        for number in range(layer + 1):
            stack.enter_context(on_states(anatomy, number, "resid_pre", keeping(number, "before")))
        for number in range(layer):
            parts = anatomy.layers[number]
            stack.enter_context(after(writer_of(parts, number, "mlp_out"), returned(number, "mlp")))
            if parts.heads is not None:
                stack.enter_context(after(writer_of(parts, number, "attn_out"), returned(number, "attention")))
                stack.enter_context(before(parts.heads.output, keeping(number, "values")))
                stack.enter_context(after(parts.heads.output, returned(number, "projected")))
        stack.enter_context(only_to(anatomy, layer))
        stack.enter_context(no_logits(anatomy))
        opened.model(input_ids=batch, use_cache=False, logits_to_keep=last_positions(1, batch))
    names, states = [EMBEDDING], [read[0, "before"]]
    biases = torch.zeros_like(states[0])
    for number in range(layer):
        added = read[number + 1, "before"] - read[number, "before"]
        mlp = read[number, "mlp"]
        attention = read.get((number, "attention"), torch.zeros_like(mlp))
        factor = _factor(opened, number, added, attention + mlp, read[number + 1, "before"])
        site = anatomy.layers[number].heads
        if site is not None:
            out = read[number, "projected"]
            scale = torch.where(out == 0, 0, attention / out) * factor
            heads, bias = _by_head(site, read[number, "values"])
            names += [str(Unit(number, head, kind="head")) for head in range(site.n_heads)]
            states += list(heads * scale)
            biases += bias * scale
        names.append(f"L{number}/*")
        states.append(mlp * factor)
    states.append(biases)
    lost = read[layer, "before"] - torch.stack(states).sum(0)
    return StreamParts((*names, BIAS, ROUNDING), torch.stack([*states, lost]))


def _factor(opened: OpenModel, layer: int, added: Tensor, written: Tensor, stream: Tensor) -> float:
    """What a family multiplies everything by that a layer writes, 1 mostly.

    Raises:
        ModelError: the layer adds something else to the stream.
    """
    tolerance = 8 * torch.finfo(opened.model.dtype).eps * max(1.0, float(stream.abs().max()))
    if float((added - written).abs().max()) <= tolerance:
        return 1.0
    factor = float((added * written).sum() / written.square().sum())
    if float((added - factor * written).abs().max()) > tolerance:
        raise ModelError(
            f"layer {layer} of '{opened.info.family}' adds more to the stream than its attention and its MLP write",
            "scores of heads cannot be split in this family",
        )
    return factor


def _by_head(site: HeadSite, values: Tensor) -> tuple[Tensor, Tensor]:
    """What each head's values make of the output of the projection, `[heads, positions, d_model]`, and its bias."""
    n, width = values.shape
    wide = torch.zeros(1 + site.n_heads * n, width, dtype=values.dtype)
    for head in range(site.n_heads):
        part = slice(head * site.d_head, (head + 1) * site.d_head)
        wide[1 + head * n : 1 + (head + 1) * n, part] = values[:, part]
    made = projected(site.output, wide)
    bias = getattr(getattr(site.output, "base_layer", site.output), "bias", None)
    constant = torch.zeros(made.shape[1]) if not isinstance(bias, Tensor) else bias.detach().cpu()
    return made.reshape(site.n_heads, n, -1), constant.double()
