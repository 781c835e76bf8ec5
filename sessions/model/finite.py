"""Where a model first computes NaN or infinity: the layer and the token.

A damaged weight, a dtype with too small a range or an intervention that is too strong shows far from its cause: in the
logits, in an attribution, in a mean. Checking every layer of every pass would slow down sound passes. So the text is
read once more when a result is not finite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sessions.errors import NotFinite
from sessions.model.hooks import after, together
from sessions.model.opening import OpenModel
from sessions.model.rows import padded_rows
from sessions.model.tokens import last_positions, token_text


@dataclass(frozen=True)
class Lost:
    """The first place at which a pass computes a number that is not finite. `module` is the one that computes it."""

    where: str
    module: nn.Module
    row: int
    position: int


@torch.inference_mode()
def first_lost(opened: OpenModel, texts: Sequence[Sequence[int]]) -> Lost | None:
    """Where a pass over these texts first computes a number that is not finite; None if all numbers are finite.

    Interventions and suppression around the call are in force. Only the last token's logits are checked.
    """
    anatomy = opened.anatomy
    lost: list[Lost] = []
    lengths = torch.tensor([len(text) for text in texts])[:, None]

    def look(where: str, module: nn.Module, states: Tensor) -> None:
        apart = states.reshape(len(texts), -1, states.shape[-1]).isfinite().all(-1).cpu()
        inside = torch.arange(apart.shape[1]) < lengths  # what a row's padding holds is nobody's
        if not lost and bool((~apart & inside).any()):
            row, position = (~apart & inside).nonzero()[0].tolist()
            lost.append(Lost(where, module, row, position))

    def looking(where: str, module: nn.Module) -> object:
        def keep(_: Tensor, output: object) -> object:
            look(where, module, anatomy.residual(output))
            return output

        return after(module, keep)

    hooks = [looking("the embedding", anatomy.embeddings[0])]
    hooks += [looking(f"layer {number}", layer.block) for number, layer in enumerate(anatomy.layers)]
    hooks.append(looking("the final norm", anatomy.final_norm))
    with together(hooks), padded_rows(opened, texts) as ids:
        logits = opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(1, ids)).logits
    if not lost and not bool(logits.max(-1).values.isfinite().all()):
        row = int((~logits.max(-1).values.isfinite()).nonzero()[0, 0])
        return Lost("the head", anatomy.head, row, len(texts[row]) - 1)
    return lost[0] if lost else None


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all numbers of some tensors are finite; the host waits once for each device."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        by_device.setdefault(tensor.device, []).append(tensor.isfinite().all())
    return all(bool(torch.stack(checks).all()) for checks in by_device.values())


def not_finite(opened: OpenModel, texts: Sequence[Sequence[int]], what: str, names: Sequence[str] = ()) -> NotFinite:
    """The error for a result `what` of these texts that is not finite; its message says where that began.

    Call it inside the same interventions as the pass that failed. `names` are the names of several texts.
    """
    lost = first_lost(opened, texts)
    if lost is None:
        return NotFinite(f"{what} is not finite in {opened.info.dtype}", _hint(opened))
    token = token_text(opened.tokenizer, texts[lost.row][lost.position])
    of = f", of {names[lost.row]}" if names else ""
    began = f"{lost.where} is the first to compute no number, at token {lost.position}, {token!r}{of}"
    return NotFinite(f"{what} is not finite: {began}", _hint(opened, lost.module))


def _hint(opened: OpenModel, module: nn.Module | None = None) -> str:
    """What to do about it; `module` is the one that computed it."""
    damaged = "" if module is None else _damaged(module)
    if opened.model.dtype != torch.float32:
        return f"{damaged}open the model with --dtype float32"
    return f"{damaged}open a sound copy of the model" if damaged else "use a smaller multiplier or gain"


def _damaged(module: nn.Module) -> str:
    """The weight of a module that is not finite, in words; "" if all are finite."""
    for name, weight in module.named_parameters():
        if not weight.is_meta and weight.is_floating_point() and not bool(weight.isfinite().all()):
            return f"its {name} holds numbers that are not finite: "
    return ""


@contextmanager
def locating(opened: OpenModel, texts: Sequence[Sequence[int]], names: Sequence[str] = ()) -> Iterator[None]:
    """If the block raises `NotFinite`, raise it again with the place where the forward pass stops being finite.

    If the forward pass is finite, the error is of the backward pass, and gets the name of its row.
    """
    try:
        yield
    except NotFinite as error:
        if first_lost(opened, texts) is not None:
            raise not_finite(opened, texts, "what the model computes", names) from error
        if names and error.row is not None:
            raise NotFinite(f"{error.message}, in {names[error.row]}", error.hint) from error
        raise
