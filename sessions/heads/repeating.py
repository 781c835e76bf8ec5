"""Random tokens that are repeated once, and what heads do there (Olsson et al. 2022, arXiv:2209.11895).

In such a text nothing but its own first half predicts the second. A head that attends from a token to the one after its
earlier occurrence can copy what comes next: an induction head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sessions.cancel import Cancel
from sessions.errors import ModelError
from sessions.heads.findings import RepeatedText, RepeatScores
from sessions.heads.patterns import read_patterns
from sessions.interventions.answering import ConditionedPrompt
from sessions.interventions.arms import Condition
from sessions.interventions.intervention import Intervention
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.tokens import encode, framing

#: Tokens of a half, and the least number that scores are computed for.
HALF, LEAST = 50, 4


def repeated_ids(anatomy: Anatomy, tokenizer: PreTrainedTokenizerBase, rng: int) -> tuple[list[int], int]:
    """The ids of the text, with the tokens that the tokenizer puts before any; and how many tokens a half has.

    No token comes twice within a half, so that each has one earlier occurrence.

    Raises:
        ModelError: the model has too few tokens or positions.
    """
    before = list(framing(tokenizer).before)
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values(), *before}
    plain = torch.tensor([token for token in range(min(anatomy.n_tokens, len(tokenizer))) if token not in special])
    room = HALF if anatomy.context is None else (anatomy.context - len(before)) // 2
    length = min(HALF, room, len(plain))
    if length < LEAST:
        raise ModelError(f"a text of repeated tokens has {LEAST} of them at least, and here {length} fit", "")
    order = torch.randperm(len(plain), generator=torch.Generator().manual_seed(rng))
    half = plain[order[:length]].tolist()
    return [*before, *half, *half], length


def scores_of(pattern: Tensor, length: int) -> list[RepeatScores]:
    """The scores of each head by its pattern, `[heads, seq, seq]`, on a text that ends with twice `length` tokens.

    >>> pattern = torch.zeros(1, 6, 6)
    >>> pattern[0, [3, 4, 5], [1, 2, 3]] = 1.0
    >>> scores_of(pattern, 3)[0].induction
    1.0
    """
    query = torch.arange(pattern.shape[-1] - length, pattern.shape[-1], device=pattern.device)
    means = [pattern[:, query, query - back].float().mean(-1).tolist() for back in (1, length, length - 1)]
    return [RepeatScores(*values) for values in zip(*means, strict=True)]


def repeat_scores(
    opened: OpenModel, layers: Sequence[int], live: tuple[Intervention, ...], rng: int, cancel: Cancel | None = None
) -> tuple[dict[int, list[RepeatScores]], RepeatedText]:
    """The scores of all heads of some layers, by layer, and the text that they are from.

    Raises:
        ModelError: the model has too few tokens or positions for a text, or shows no patterns.
    """
    ids, length = repeated_ids(opened.anatomy, opened.tokenizer, rng)
    row: ConditionedPrompt = (encode(opened.tokenizer, Prompt(text="", exact=tuple(ids))), Condition("", live))
    blocks: dict[int, list[Tensor]] = {layer: [] for layer in layers}

    def hear(layer: int, _: int, weights: Tensor) -> None:
        blocks[layer].append(weights)

    logits = read_patterns(opened, row, ids, layers, hear, logits=True, cancel=cancel)
    losses = _losses(logits, ids)
    text = RepeatedText(
        length=length,
        rng=rng,
        first_loss=float(losses[:-length][-(length - 1) :].mean()),
        repeat_loss=float(losses[-length:].mean()),
    )
    return {layer: scores_of(torch.cat(parts, 1), length) for layer, parts in blocks.items()}, text


def _losses(logits: Tensor, ids: Sequence[int]) -> Tensor:
    """The loss of each token but the first, `[seq - 1]`, in nats."""
    wanted = torch.tensor(list(ids[1:]), device=logits.device)
    return torch.nn.functional.cross_entropy(logits[:-1].float(), wanted, reduction="none")
