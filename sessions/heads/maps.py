"""The linear maps of one head at some positions, read off the model's own pass.

With the scales of all norms held as they are, a head's query, key and value are linear in the residual stream before
its layer, up to constants: q = Q · x + q₀. The rows of Q are gradients of the query that the attention function
receives, positions encoded, where norms have their constant gradient (the identity rule of `circuits.rules`). So fused
projections, norms of queries and keys, low-rank keys and rotary embeddings need no code of their own. The output
projection, and the norm behind it in some families, give the map from the head's values to the stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sessions.cancel import Cancel, look
from sessions.circuits.rules import linearised
from sessions.errors import ModelError
from sessions.heads.patterns import shows_scores
from sessions.interventions.answering import ConditionedPrompt, running_rows
from sessions.model.attention_calls import AttentionCall, tapped
from sessions.model.homes import home_of
from sessions.model.hooks import after, before, on_states, only_to, watched
from sessions.model.logits import no_logits
from sessions.model.opening import OpenModel
from sessions.model.places import norm_behind
from sessions.model.sites import HeadSite
from sessions.model.tokens import last_positions
from sessions.model.units import Unit

#: How far the softmax of a head's scores may be from its pattern.
_TOLERANCE = 0.02


@dataclass(frozen=True)
class LinearMap:
    """`matrix @ x + constant` at each of some positions: `[positions, d, d_model]` and `[positions, d]`.

    `values` is what the model computes there, `[positions, d]`. All on the CPU, in float64.
    """

    matrix: Tensor
    values: Tensor
    stream: Tensor

    @property
    def constant(self) -> Tensor:
        """What is not linear in the stream: biases, `[positions, d]`."""
        return self.values - (self.matrix @ self.stream[:, :, None])[:, :, 0]


@dataclass(frozen=True)
class HeadMaps:
    """The maps of one head: those that make its query, key and value, and how its values are written.

    `positions` are those of the maps, the query's last. `scores` are the products of the query with the key of each
    position of the text, scaled, `[seq]`. `written` is what a unit of each value coordinate adds to the stream at the
    query's position, `[d, d_model]`, and `output` what the head adds there, `[d_model]`.
    """

    positions: tuple[int, ...]
    query: LinearMap
    key: LinearMap
    value: LinearMap
    scaling: float
    scores: Tensor
    weights: Tensor
    written: Tensor
    output: Tensor


def head_maps(
    opened: OpenModel,
    row: ConditionedPrompt,
    ids: Sequence[int],
    head: Unit,
    query: int,
    *,
    sources: int = 0,
    cancel: Cancel | None = None,
) -> HeadMaps:
    """The maps of a head at a query's position, and at the `sources` positions that it attends to most.

    Raises:
        ModelError: the family hides its queries and keys, its scores are more than their products, or it has several
            residual streams.
    """
    anatomy = opened.anatomy
    site, layer = anatomy.heads_of(head.layer), head.layer
    refuse_hidden(opened, layer)
    anatomy.check_gradients("the maps of a head")
    calls: list[AttentionCall] = []
    streams: list[Tensor] = []
    slices: list[Tensor] = []
    outputs: list[Tensor] = []

    def leaf(states: Tensor) -> Tensor:
        streams[:] = [states.detach().requires_grad_()]
        return streams[0]

    def keep_input(given: Tensor) -> Tensor:
        slices[:] = [given.detach()]
        return given

    def keep_output(_: Tensor, output: object) -> object:
        outputs.append(anatomy.residual(output).detach())
        return output

    norm = norm_behind(anatomy, layer, "attn_out")
    batch = torch.tensor([list(ids)], device=opened.device)
    with torch.inference_mode(False), torch.enable_grad(), ExitStack() as stack:
        stack.enter_context(watched(anatomy, cancel))
        stack.enter_context(running_rows(opened, [row]))
        stack.enter_context(linearised(opened.model, anatomy, "gradient"))
        stack.enter_context(on_states(anatomy, layer, "resid_pre", leaf))
        stack.enter_context(tapped(opened.model, {site.attention: calls.append}))
        stack.enter_context(before(site.output, keep_input))
        stack.enter_context(after(site.output, keep_output))
        if norm is not None:
            stack.enter_context(after(norm, keep_output))
        stack.enter_context(only_to(anatomy, layer))
        stack.enter_context(no_logits(anatomy))
        opened.model(input_ids=batch, use_cache=False, logits_to_keep=last_positions(1, batch))
        call = next(call for call in calls if call.first <= query < call.first + call.query.shape[2])
        number, shared = head.index, call.query.shape[1] // call.key.shape[1]
        asked = call.query[0, number, query - call.first]
        keys, values = call.key[0, number // shared], call.value[0, number // shared]
        scores = (_exact(keys) @ _exact(asked)) * call.scaling
        weights = _exact(call.weights[0, number, query - call.first])
        _check_scores(opened, call, scores, weights, number, query)
        if not keys.requires_grad or not values.requires_grad:
            raise ModelError(
                f"layer {layer} of '{opened.info.family}' takes its keys and values from an earlier layer",
                "they are no maps of its own stream",
            )
        strongest = weights.topk(min(sources, query + 1)).indices.tolist()
        positions = (*(source for source in strongest if source != query), query)
        at_query = torch.tensor([query], device=asked.device)
        at_sources = torch.tensor(positions, device=asked.device)
        maps = [
            _linear(streams[0], asked[None], at_query),
            _linear(streams[0], keys[at_sources], at_sources),
            _linear(streams[0], values[at_query], at_query),
        ]
    out, scale = outputs[0][0, query], None
    if norm is not None:
        written = outputs[1][0, query]
        scale = torch.where(out == 0, 0, written / out)
    width = slice(number * site.d_head, (number + 1) * site.d_head)
    columns = written_by(site, torch.eye(site.d_head), head.index)
    columns = columns if scale is None else columns * _exact(scale)
    own = _exact(slices[0].reshape(len(ids), -1)[query, width])
    return HeadMaps(positions, maps[0], maps[1], maps[2], call.scaling, scores, weights, columns, own @ columns)


def refuse_hidden(opened: OpenModel, layer: int) -> None:
    """Raise `ModelError` if the queries and keys of a layer cannot be read as linear maps of one stream."""
    family = opened.info.family
    if not shows_scores(opened, layer):
        raise ModelError(
            f"the attention of '{family}' computes its scores inside, where queries and keys are not to be read",
            "its pattern, scores and what it writes are shown by attention L5/H3",
        )
    if opened.anatomy.streams > 1:
        raise ModelError(f"'{family}' has several residual streams, and a head reads a mixture of them", "")


def written_by(site: HeadSite, values: Tensor, head: int) -> Tensor:
    """What values of a head, `[n, d_head]`, add to the output of its output projection, `[n, d_model]` in float64."""
    wide = torch.zeros(len(values) + 1, site.width)
    wide[1:, head * site.d_head : (head + 1) * site.d_head] = values
    return projected(site.output, wide)


@torch.no_grad()
def projected(output: nn.Module, rows: Tensor) -> Tensor:
    """The output of a projection for each row but the first, minus that of the first; `[n, d_model]` in float64."""
    dtype = next((p.dtype for p in output.parameters() if p.dtype.is_floating_point), torch.float32)
    made = _exact(output(rows.to(home_of(output), dtype)[None])[0])
    return made[1:] - made[:1]


def _linear(stream: Tensor, values: Tensor, positions: Tensor) -> LinearMap:
    """The map from the stream, `[1, seq, d_model]`, to some positions' values, `[positions, d]`."""
    rows = []
    for coordinate in range(values.shape[1]):
        look()
        (gradient,) = torch.autograd.grad(values[:, coordinate].sum(), stream, retain_graph=True)
        rows.append(_exact(gradient[0, positions.to(gradient.device)]))
    at = _exact(stream[0, positions.to(stream.device)])
    return LinearMap(torch.stack(rows, 1), _exact(values), at)


def _exact(values: Tensor) -> Tensor:
    """The numbers on the CPU, in float64, which not every device has."""
    return values.detach().cpu().double()


def _check_scores(
    opened: OpenModel, call: AttentionCall, scores: Tensor, weights: Tensor, head: int, query: int
) -> None:
    """Raise `ModelError` unless the softmax of the scores is the pattern."""
    cap = call.arguments.get("softcap")
    logits = scores if not cap else cap * (scores / cap).tanh()
    if call.mask is not None:
        mask = _exact(call.mask[0, min(head, call.mask.shape[1] - 1), query - call.first])
        logits = logits + mask.masked_fill(mask < -1e4, -torch.inf)
    else:
        logits = logits.masked_fill(torch.arange(len(logits)) > query, -torch.inf)
    whole = weights.sum()
    if float((logits.softmax(-1) - weights / whole).abs().max()) > _TOLERANCE:
        raise ModelError(
            f"the scores of '{opened.info.family}' are more than products of queries and keys", "see its pattern"
        )
