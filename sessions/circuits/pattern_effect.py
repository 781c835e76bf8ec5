"""What a frozen attention pattern hides: the effect that a circuit has through where others look.

Relevance with frozen attention flows through the values alone, so what units do to the patterns of heads above is not
attributed. It is measured here on the circuit as a whole. All its units are ablated together, once as ablation always
is, and once while every head looks where it looked without the ablation. The two effects differ by what passes through
patterns.

The second pass has two rows, the unchanged text and the ablated one, and an attention function in which all rows attend
with the queries and keys of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sessions.cancel import Cancel
from sessions.circuits.findings import PatternEffect
from sessions.circuits.verification import kept_of
from sessions.interventions.hooking import intervening
from sessions.interventions.intervention import Intervention, UnitConstant
from sessions.model.attending import eager_of, exchanged, fused_attention, registered
from sessions.model.hooks import after, together, watched
from sessions.model.info import RULES
from sessions.model.logits import only_target
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.target import Target
from sessions.model.tokens import last_positions
from sessions.model.units import Unit

#: Names of the attention functions in which all rows look where the first one does.
FIRST_ROW, FIRST_ROW_FUSED = "workbench_first_row", "workbench_first_row_fused"


@torch.inference_mode()
def pattern_effect(
    opened: OpenModel,
    ids: Sequence[int],
    units: Sequence[Unit],
    target: Target,
    *,
    values: Sequence[UnitConstant] | None = None,
    cancel: Cancel | None = None,
) -> PatternEffect:
    """The effects of ablating all of `units` together on the target; positive where they help.

    Args:
        ids: the prompt; where the target is a sequence, followed by all its tokens but the last.
        values: the value that each unit is held at; zero by default.

    Raises:
        ModelError: the patterns of this family cannot be held.
    """
    opened.anatomy.require(RULES)
    neurons = tuple(unit.counted(len(ids)) for unit in units)
    rows = [Intervention(()), Intervention(neurons, 0.0, tuple(values or ()))]
    two = torch.tensor([list(ids)] * 2, device=opened.device)
    kept = last_positions(kept_of(target), two)

    def effect() -> float:
        held = intervening(opened.anatomy, rows)
        with watched(opened.anatomy, cancel), held, only_target(opened.anatomy, target) as read:
            whole, ablated = read(opened.model(input_ids=two, use_cache=False, logits_to_keep=kept).logits).tolist()
        return float(whole - ablated)

    free = effect()
    with looking_alike(opened.model, opened.anatomy):
        return PatternEffect(free=free, frozen=effect())


@contextmanager
def looking_alike(model: PreTrainedModel, anatomy: Anatomy) -> Iterator[None]:
    """Inside the block all rows of a batch attend with the pattern of the first."""
    held = (after(projection, lambda _, output: _first(output)) for projection in anatomy.qk_projections)
    with together(held), exchanged(model, FIRST_ROW, FIRST_ROW_FUSED):
        yield


def _first(tensor: Tensor) -> Tensor:
    """The first row in place of all."""
    return tensor[:1].expand_as(tensor)


def _eager(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any) -> Any:
    return eager_of(module)(module, _first(query), _first(key), value, mask, **kwargs)


def _fused(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any) -> Any:
    return fused_attention(module, _first(query), _first(key), value, mask, **kwargs)


registered(FIRST_ROW, _eager)
registered(FIRST_ROW_FUSED, _fused, fused=True)
