"""Where a model stops computing numbers: the first layer, and the token there.

A weight that is damaged, a dtype that is too small or an intervention that is too strong shows far from where it began:
in the logits, in an attribution, in a mean. Looking at every layer of every pass would cost time in passes that are
sound, so the text is read once more where something has come out that is no finite number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    """The first place at which a pass computes a number that is not finite. `module` is what computes it there."""

    where: str
    module: nn.Module
    row: int
    position: int


@torch.inference_mode()
def first_lost(opened: OpenModel, texts: Sequence[Sequence[int]]) -> Lost | None:
    """Where a pass over these texts first computes what is not finite; None where all of it is.

    What is installed around the call (interventions, suppression) acts on it. Of the head only what it says of the last
    token is looked at.
    """
    anatomy = opened.anatomy
    found: list[Lost] = []
    lengths = torch.tensor([len(text) for text in texts])[:, None]

    def look(where: str, module: nn.Module, states: Tensor) -> None:
        apart = states.reshape(len(texts), -1, states.shape[-1]).isfinite().all(-1).cpu()
        inside = torch.arange(apart.shape[1]) < lengths  # what a row's padding holds is nobody's
        if not found and bool((~apart & inside).any()):
            row, position = (~apart & inside).nonzero()[0].tolist()
            found.append(Lost(where, module, row, position))

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
    if not found and not bool(logits.max(-1).values.isfinite().all()):
        row = int((~logits.max(-1).values.isfinite()).nonzero()[0, 0])
        return Lost("the head", anatomy.head, row, len(texts[row]) - 1)
    return found[0] if found else None


def not_finite(opened: OpenModel, texts: Sequence[Sequence[int]], what: str, names: Sequence[str] = ()) -> NotFinite:
    """The error where `what` was computed of these texts and is not finite: it says where that began.

    Call it where everything acts that acted on the pass which failed. `names` are what the texts are called, where they
    are several.
    """
    lost = first_lost(opened, texts)
    if lost is None:
        return NotFinite(f"{what} is not finite in {opened.info.dtype}", _hint(opened))
    token = token_text(opened.tokenizer, texts[lost.row][lost.position])
    of = f", of {names[lost.row]}" if names else ""
    began = f"{lost.where} is the first to compute no number, at token {lost.position}, {token!r}{of}"
    return NotFinite(f"{what} is not finite: {began}", _hint(opened, lost.module))


def _hint(opened: OpenModel, module: nn.Module | None = None) -> str:
    """What to do about it; `module` is what computed it."""
    damaged = "" if module is None else _damaged(module)
    if opened.model.dtype != torch.float32:
        return f"{damaged}open the model with --dtype float32"
    return f"{damaged}open a sound copy of the model" if damaged else "use a smaller multiplier or gain"


def _damaged(module: nn.Module) -> str:
    """Which of a module's weights holds a number that is not finite, in words; "" where none does."""
    for name, weight in module.named_parameters():
        if not weight.is_meta and weight.is_floating_point() and not bool(weight.isfinite().all()):
            return f"its {name} holds numbers that are not finite: "
    return ""


@contextmanager
def locating(opened: OpenModel, texts: Sequence[Sequence[int]], names: Sequence[str] = ()) -> Iterator[None]:
    """Where the block raises `NotFinite`, and a pass over these texts computes no number, say where that begins.

    Where it computes all of them, the error stands; it is of the backward pass, and of the row that it names.
    """
    try:
        yield
    except NotFinite as error:
        if first_lost(opened, texts) is not None:
            raise not_finite(opened, texts, "what the model computes", names) from error
        if names and error.row is not None:
            raise NotFinite(f"{error.message}, in {names[error.row]}", error.hint) from error
        raise
