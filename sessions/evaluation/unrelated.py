"""Perplexity on unrelated text: did the edit harm anything else?

The documents of a corpus, each cut to `LENGTH` tokens, until there are `ENOUGH`, are read as they stand. The loss is
the mean over all tokens but the first of each document of −log p(token | those before it), in nats, and the perplexity
its exponential. Windows do not overlap, so it is higher than one of long contexts; all arms read the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

import torch
from msgspec import structs
from torch import Tensor, nn

from sessions.cancel import Cancel
from sessions.errors import UsageError
from sessions.interventions.answering import running_rows
from sessions.interventions.arms import Condition
from sessions.interventions.intervention import Intervention
from sessions.memory import in_parts
from sessions.model.generation import left_padded
from sessions.model.hooks import watched
from sessions.model.info import Encoded, Prompt
from sessions.model.opening import OpenModel
from sessions.model.rows import LARGEST_BATCH, batches
from sessions.model.tokens import encode, last_positions
from sessions.texts.corpus import Corpus

LENGTH, ENOUGH = 128, 2048
#: Logits in memory at once: positions times vocabulary.
_LOGITS = 2**26


def unrelated(opened: OpenModel, corpus: Corpus) -> tuple[Encoded, ...]:
    """The documents to read, as the model reads them.

    Raises:
        UsageError: there is no such corpus, or nothing to predict in it.
        ArtifactError: it cannot be read.
    """
    longest = min(LENGTH, opened.anatomy.context or LENGTH)
    documents: list[Encoded] = []
    for text in corpus.documents():
        if not text.strip():
            continue
        encoded = encode(opened.tokenizer, Prompt(text=text, chat=False))
        if len(encoded.ids) > 1:
            ids, tokens = encoded.ids[:longest], encoded.tokens[:longest]
            documents.append(structs.replace(encoded, ids=ids, tokens=tokens, reply=len(ids)))
        if sum(len(document.ids) for document in documents) >= ENOUGH:
            break
    if not documents:
        raise UsageError(f"the corpus '{corpus.name}' has no text to predict", "give a file with sentences in it")
    return tuple(documents)


def predicted(documents: Sequence[Encoded]) -> int:
    """Tokens of the documents that are predicted from others."""
    return sum(len(document.ids) - 1 for document in documents)


def loss_batches(opened: OpenModel, documents: Sequence[Encoded]) -> Iterator[list[int]]:
    """The documents that are read at once, by number."""
    at_once = max(LENGTH, min(LARGEST_BATCH, _LOGITS // opened.info.vocab_size))
    return batches([len(document.ids) for document in documents], at_once)


@torch.inference_mode()
def summed_loss(
    opened: OpenModel,
    documents: Sequence[Encoded],
    treatments: tuple[Intervention, ...] = (),
    cancel: Cancel | None = None,
) -> float:
    """The losses of all tokens of a batch in the current state of the model, added up, in nats."""

    def summed(some: Sequence[Encoded]) -> float:
        prompts = [(document, Condition("", treatments)) for document in some]
        with watched(opened.anatomy, cancel), running_rows(opened, prompts):
            return _summed(opened, [document.ids for document in some])

    return sum(total for _, total in in_parts([documents], summed))


def mean_loss(sums: Sequence[float], documents: Sequence[Encoded]) -> float | None:
    """The mean loss in nats per token, of the sums of all batches; None where it is not finite."""
    mean = sum(sums) / predicted(documents)
    return mean if isfinite(mean) else None


def _summed(opened: OpenModel, rows: Sequence[Sequence[int]]) -> float:
    """The losses of all tokens of a batch, added up."""
    ids, mask = left_padded(rows, opened.tokenizer.pad_token_id or 0, opened.device)
    logits: Tensor = opened.model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=last_positions(ids.shape[1], ids),
    ).logits
    total = 0.0
    for row, own in enumerate(rows):
        wanted = torch.tensor(list(own[1:]), device=logits.device)
        given = logits[row, -len(own) : -1].float()
        total += float(nn.functional.cross_entropy(given, wanted, reduction="sum"))
    return total
