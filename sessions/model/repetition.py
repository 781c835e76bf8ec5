"""Applies rules against repetition to the logits of the next token.

Three rules apply to the ids of each row, without its padding, in this order:

- *repetition penalty*: the logit of every token in the prompt or the text is divided by the penalty if it is positive,
  and multiplied by it if it is negative (Keskar et al. 2019, arXiv:1909.05858, section 4.1);
- *no repeated n-gram*: a token that would complete an n-gram for the second time is forbidden (Paulus et al. 2017,
  arXiv:1705.04304, section 2.5);
- *stutter guard*: after the same generated token twice in a row, that token is forbidden. A neuron that pushes a token
  hard tends to make the model say nothing else; the guard bounds this and leaves all other texts alone.

The first two are transformers' own processors. The guard needs no exception for the tokens that end a text, because a
row that has chosen one is over.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessorList, NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor


class Rules:
    """The rules of a batch, and the ids that its rows have read so far.

    Args:
        ids: the prompts, `[rows, longest]`, padded on the left.
        padding: how many ids of each row are padding.
        penalty: 1 changes nothing, 0 < penalty < 1 rewards repetition.
        ngram: n, 0 for no such rule.
        guard: whether a third identical token in a row is forbidden.
    """

    def __init__(self, ids: Tensor, padding: Sequence[int], *, penalty: float, ngram: int, guard: bool) -> None:
        self.guard = guard
        self.processors = LogitsProcessorList()
        if penalty != 1:
            self.processors.append(RepetitionPenaltyLogitsProcessor(float(penalty)))
        if ngram:
            self.processors.append(NoRepeatNGramLogitsProcessor(ngram))
        self.any = guard or bool(self.processors)
        self._ids, self._padding, self._prompt = ids, padding, ids.shape[1]

    def read(self, chosen: Tensor) -> None:
        """Append the token chosen for each row, `[rows]`."""
        if self.any:
            self._ids = torch.cat([self._ids, chosen[:, None]], dim=1)

    def __call__(self, logits: Tensor) -> Tensor:
        """The logits `[rows, vocab]` after the rules, in float32; a forbidden token has -inf.

        A row keeps its logits if the rules would forbid every token.
        """
        scores = logits.float()
        if self.processors:
            own = [ids[None, start:] for ids, start in zip(self._ids, self._padding, strict=True)]
            scores = torch.cat([self.processors(ids, row[None]) for ids, row in zip(own, scores, strict=True)])
        if self.guard and self._ids.shape[1] >= self._prompt + 2:
            last, before = self._ids[:, -1:], self._ids[:, -2:-1]
            allowed = scores.gather(1, last).masked_fill(last == before, -torch.inf)
            scores = scores.scatter(1, last, allowed)
        return torch.where(scores.amax(-1, keepdim=True).isneginf(), logits.float(), scores)
