"""Applies rules against repetition to the logits of the next token.

Three rules apply to the ids of each row, without its padding, in this order:

- *repetition penalty*: the logit of every token in the prompt or the text is divided by the penalty if it is positive,
  and multiplied by it if it is negative (Keskar et al. 2019, arXiv:1909.05858, section 4.1);
- *no repeated n-gram*: a token that would complete an n-gram for the second time is forbidden (Paulus et al. 2017,
  arXiv:1705.04304, section 2.5);
- *stutter guard*: after the same generated token twice in a row, that token is forbidden. A neuron that pushes a token
  hard tends to make the model say nothing else; the guard bounds this and leaves all other texts alone.

The first two give what transformers' own processors give. The host finds the forbidden tokens in the ids that it has
anyway, so nothing waits for the device. The guard needs no exception for the tokens that end a text, because a row that
has chosen one is over.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Rules:
    """The rules of a batch, and the ids that its rows have read so far.

    Args:
        prompts: the ids of each row, without padding.
        penalty: 1 changes nothing, 0 < penalty < 1 rewards repetition.
        ngram: n, 0 for no such rule.
        guard: whether a third identical token in a row is forbidden.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], *, penalty: float, ngram: int, guard: bool) -> None:
        self.penalty, self.ngram, self.guard = penalty, ngram, guard
        self.any = guard or bool(ngram) or penalty != 1
        self._texts = [list(prompt) for prompt in prompts] if self.any else []
        self._prompts = [len(prompt) for prompt in prompts]
        #: For each row, the tokens that have followed each n-1 tokens.
        self._followers: list[dict[tuple[int, ...], set[int]]] = [{} for _ in self._texts]
        if ngram:
            for row, text in enumerate(self._texts):
                for end in range(ngram, len(text) + 1):
                    self._count(row, text[end - ngram : end])
        self._seen: Tensor | None = None

    def read(self, tokens: Sequence[int], chosen: Tensor) -> None:
        """Append the token of each row, given on the host and, `[rows]`, on the device."""
        if not self.any:
            return
        for row, (text, token) in enumerate(zip(self._texts, tokens, strict=True)):
            text.append(token)
            if self.ngram and len(text) >= self.ngram:
                self._count(row, text[-self.ngram :])
        if self._seen is not None:
            self._seen.scatter_(1, chosen[:, None], True)

    def __call__(self, logits: Tensor) -> Tensor:
        """The logits `[rows, vocab]` after the rules, in float32; a forbidden token has -inf.

        A row keeps its logits if the rules would forbid every token.
        """
        scores = logits.float()
        if self.penalty != 1:
            penalised = torch.where(scores < 0, scores * self.penalty, scores / self.penalty)
            scores = torch.where(self._seen_in(scores), penalised, scores)
        forbidden = [(row, token) for row in range(len(self._texts)) for token in self._forbidden(row)]
        if not forbidden:
            return scores
        rows, tokens = torch.tensor(forbidden, device=scores.device).T
        ruled = scores.index_put((rows, tokens), torch.full((), -torch.inf, device=scores.device))
        return torch.where(ruled.amax(-1, keepdim=True).isneginf(), logits.float(), ruled)

    def _count(self, row: int, gram: Sequence[int]) -> None:
        self._followers[row].setdefault(tuple(gram[:-1]), set()).add(gram[-1])

    def _forbidden(self, row: int) -> set[int]:
        text, forbidden = self._texts[row], set[int]()
        if self.ngram:
            last = text[len(text) + 1 - self.ngram :]
            forbidden |= self._followers[row].get(tuple(last), set())
        if self.guard and len(text) >= self._prompts[row] + 2 and text[-1] == text[-2]:
            forbidden.add(text[-1])
        return forbidden

    def _seen_in(self, scores: Tensor) -> Tensor:
        """Which tokens each row has read, `[rows, vocab]`."""
        if self._seen is None:
            read = [(row, token) for row, text in enumerate(self._texts) for token in set(text)]
            rows, tokens = torch.tensor(read, device=scores.device).T
            self._seen = torch.zeros_like(scores, dtype=torch.bool)
            self._seen[rows, tokens] = True
        return self._seen
