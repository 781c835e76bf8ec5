"""What `discover` would take, by the formulas of `sessions.model.memory_needed`: nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence

from sessions.circuits.methods.method import Method
from sessions.results import Estimated
from sessions.session import Session


def estimated(
    session: Session,
    lengths: Sequence[int],
    method: Method,
    *,
    steps: int,
    attention: str,
    effects: int,
    batch: int | None,
    many: bool,
) -> Estimated:
    """The memory and the passes of a discovery.

    Args:
        lengths: tokens of each prompt.
        steps: passes of the method over each batch.
        attention: the rule for attention; "" where the method has none.
        effects: units whose exact effect is measured for each prompt, at most.
    """
    from sessions.circuits.verification import CACHED, affordable
    from sessions.model import memory_needed
    from sessions.model.homes import free_memory
    from sessions.model.rows import at_once, batches
    from sessions.model.shapes import shape_of

    opened, longest = session.opened(), max(lengths)
    shape = shape_of(opened)
    whole = list(batches(lengths, at_once(opened, batch, memory_needed.attributing))) if many else [[0]]
    largest = max(len(rows) * max(lengths[row] for row in rows) for rows in whole)
    peak = memory_needed.attributing(shape, largest) if method.estimates else memory_needed.forward(shape, largest)
    if effects:
        tokens = batch or affordable(opened)
        rows = max(1, min(effects, tokens // longest if many else CACHED * tokens // longest))
        read = longest if many else max(1, min(longest, tokens // rows))
        peak = max(peak, memory_needed.verifying(shape, longest, rows=rows, read=read))
    notes = []
    if method.estimates and (attention != "frozen" or opened.model.config._attn_implementation != "sdpa"):
        notes.append(
            "the formula is for frozen attention in torch's fused kernel: this takes more, in long prompts much"
        )
    if opened.info.experts:
        notes.append("the formula is for dense models: a mixture of experts may take more or less")
    return Estimated(
        prompts=len(lengths),
        tokens=longest,
        forward=len(whole) * (steps if method.estimates else 1),
        backward=len(whole) * steps if method.estimates else 0,
        effects=effects * len(lengths),
        peak=peak,
        weights=shape.weights,
        device=opened.info.device,
        free=free_memory(opened.device),
        notes=tuple(notes),
    )
