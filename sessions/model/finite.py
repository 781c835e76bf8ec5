"""Where numbers stop being numbers: the first part of a model that gives one that is none, and the weights behind it.

A NaN spreads from where it arises to everything behind it, so that of a table of dashes nobody can tell its cause. The
pass is run again with every decoder layer watched, in its order: what enters the first, what leaves each, the final
norm and the head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sessions.errors import ModelError
from sessions.model.hooks import after, before
from sessions.model.parts import Anatomy


def check_finite(model: PreTrainedModel, anatomy: Anatomy, ids: Sequence[int], logits: Tensor) -> None:
    """Refuse logits after `ids`, `[vocab]`, that are no numbers: one is NaN or infinite, or all are -inf.

    Interventions that are installed around the call act on the pass that looks for the place.

    Raises:
        ModelError: they are none; the message names the part that was the first, and its weights if they are the cause.
    """
    if not bool(logits.isnan().any()) and bool(logits.max().isfinite()):
        return
    raise _named(model, anatomy, ids)


def _named(model: PreTrainedModel, anatomy: Anatomy, ids: Sequence[int]) -> ModelError:
    where = _first(model, anatomy, ids)
    if where is None:  # in another pass they are
        return ModelError("the logits are not numbers", _SMALLER)
    part, module, position = where
    broken = _broken(module)
    at = "" if position is None else f", at position {position}"
    if broken:
        return ModelError(
            f"{part} is the first to give what is no number{at}: its weights hold some, in {broken}",
            "the checkpoint is damaged, or an edit is: edits shows them",
        )
    return ModelError(f"{part} is the first to give what is no number{at}", _SMALLER)


_SMALLER = "use a smaller multiplier or gain, or open the model with --dtype float32"


@torch.inference_mode()
def _first(model: PreTrainedModel, anatomy: Anatomy, ids: Sequence[int]) -> tuple[str, nn.Module, int | None] | None:
    """The first part whose output is no number somewhere, and the first position where it is not."""
    found: list[tuple[str, nn.Module, int | None]] = []

    def watch(part: str, module: nn.Module) -> Callable[[Tensor], None]:
        def look(values: Tensor) -> None:
            bad = ~values.isfinite()
            if not found and bool(bad.any()):
                rows = bad.reshape(-1, bad.shape[-1]).any(-1).nonzero()[:, 0]
                whole = values.ndim == 3 and values.shape[1] == len(ids)
                found.append((part, module, int(rows[0]) if whole else None))

        return look

    def entering(look: Callable[[Tensor], None]) -> Callable[[Tensor], Tensor]:
        def change(given: Tensor) -> Tensor:
            look(anatomy.residual(given))
            return given

        return change

    def leaving(look: Callable[[Tensor], None]) -> Callable[[Tensor, Any], Any]:
        def change(_: Tensor, output: Any) -> Any:
            look(anatomy.residual(output))
            return output

        return change

    parts = [(f"layer {number}", layer.block) for number, layer in enumerate(anatomy.layers)]
    parts += [("the final norm", anatomy.final_norm), ("the head", anatomy.head)]
    embedding = anatomy.embeddings[0]
    with ExitStack() as stack:
        stack.enter_context(before(anatomy.layers[0].block, entering(watch("the embedding", embedding))))
        for part, module in parts:
            stack.enter_context(after(module, leaving(watch(part, module))))
        batch = torch.tensor([list(ids)], device=model.device)
        model(input_ids=batch, use_cache=False)
    return found[0] if found else None


def _broken(module: nn.Module) -> str:
    """The first of a module's weights that holds what is no number; "" where all are."""
    for name, weight in module.named_parameters():
        if not weight.is_meta and weight.is_floating_point() and not bool(weight.isfinite().all()):
            return name
    return ""
