"""Cases: many prompts, each with its target, as rows of one batch (`model.rows`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.pairs import check_pair
from sessions.errors import UsageError
from sessions.events import Progress, Steps
from sessions.model import memory_needed
from sessions.model.hooks import watched
from sessions.model.info import Encoded, Token
from sessions.model.logits import only_at_ends, strongest_other
from sessions.model.opening import OpenModel
from sessions.model.rows import in_batches, padded_rows
from sessions.model.target import Target
from sessions.model.tokens import continuation, encode, last_positions, token_text
from sessions.texts.prompt_files import PromptRecord


@dataclass(frozen=True)
class Case:
    """A prompt as the model reads it, and its target: one token against another, with their logit difference.

    `rank` is the rank of the target token among all next tokens, from 1. `corrupt` is its corrupt prompt, of as many
    tokens, if it has one. `named` is what errors call the prompt: its file and line, or its text.
    """

    asked: PromptRecord
    encoded: Encoded
    target: Target
    rank: int
    corrupt: Encoded | None = None
    named: str = ""

    @property
    def ids(self) -> tuple[int, ...]:
        return self.encoded.ids

    @property
    def wanted(self) -> tuple[int, int]:
        """Ids of the target and of its counterfactual."""
        assert self.target.counterfactual is not None
        return self.target.tokens[0].id, self.target.counterfactual.id


@dataclass(frozen=True)
class CaseTexts:
    """A prompt and its corrupt prompt, if it has one, as the model reads them."""

    clean: Encoded
    corrupt: Encoded | None = None


def resolve_targets(
    opened: OpenModel,
    records: Sequence[PromptRecord],
    *,
    texts: Sequence[CaseTexts] | None = None,
    named: Sequence[str] = (),
    batch: int | None = None,
    cancel: Cancel | None = None,
) -> Steps[tuple[Case, ...]]:
    """The prompts with their targets, in order. A target that a prompt does not give is read off a forward pass.

    The counterfactual of a prompt with a corrupt one is then the likeliest token there, if that is another.

    Args:
        texts: the prompts as the model reads them, where they are encoded already.
        named: what errors call each prompt; its text by default.
        batch: tokens computed at once, padding included; by default as many as memory allows.

    Raises:
        UsageError: a prompt is too long, its target equals its counterfactual, or its corrupt prompt does not have its
            length; the message names it.
    """
    texts = texts or [_texts(opened, record) for record in records]
    names = named or [repr(record.prompt) for record in records]
    for name, read in zip(names, texts, strict=True):
        opened.anatomy.check_length(len(read.clean.ids))
        if read.corrupt is not None:
            check_pair(read.clean, read.corrupt, name)
    wanted = [
        (_first(opened, read.clean, record.target), _first(opened, read.clean, record.counterfactual))
        for record, read in zip(records, texts, strict=True)
    ]
    likeliest = yield from _likeliest(opened, texts, [other is None for _, other in wanted], batch, cancel)
    by_row: dict[int, Case] = {}
    yield Progress("reading the prompts", 0, len(records), "prompts")
    read_all = logits_of(opened, [read.clean.ids for read in texts], batch, cancel)
    for rows, logits in read_all:
        for row, last in zip(rows, logits, strict=True):
            case = _case(opened, records[row], texts[row], *wanted[row], likeliest.get(row), last)
            by_row[row] = replace(case, named=names[row])
        yield Progress("reading the prompts", len(by_row), len(records), "prompts")
    return tuple(by_row[row] for row in range(len(records)))


def _texts(opened: OpenModel, record: PromptRecord) -> CaseTexts:
    corrupt = record.corrupt_to_read()
    clean = encode(opened.tokenizer, record.to_read())
    return CaseTexts(clean, None if corrupt is None else encode(opened.tokenizer, corrupt))


def _likeliest(
    opened: OpenModel, texts: Sequence[CaseTexts], needed: Sequence[bool], batch: int | None, cancel: Cancel | None
) -> Steps[dict[int, int]]:
    """The likeliest token after each corrupt prompt, where it is needed."""
    chosen = [(row, read.corrupt.ids) for row, read in enumerate(texts) if needed[row] and read.corrupt is not None]
    best: dict[int, int] = {}
    for rows, logits in logits_of(opened, [ids for _, ids in chosen], batch, cancel):
        best |= {chosen[row][0]: token for row, token in zip(rows, logits.argmax(-1).tolist(), strict=True)}
        yield Progress("reading the corrupt prompts", len(best), len(chosen), "prompts")
    return best


def _first(opened: OpenModel, encoded: Encoded, text: str) -> int | None:
    return continuation(opened.tokenizer, encoded, text).tokens[0].id if text else None


def remarks(opened: OpenModel, cases: Sequence[Case]) -> Iterator[str]:
    """Remarks on targets that are several tokens, and on targets that would merge with their prompt."""
    for what in ("target", "counterfactual"):
        given = [(text, case.encoded) for case in cases if (text := getattr(case.asked, what))]
        read = [(text, continuation(opened.tokenizer, encoded, text)) for text, encoded in given]
        several = [(text, candidate.tokens[0].text) for text, candidate in read if len(candidate.tokens) > 1]
        merged = [text for text, candidate in read if candidate.notes]
        if several:
            text, first = several[0]
            are = f"{len(several)} of {len(cases)} {what}s {'are' if len(several) > 1 else 'is'}"
            yield f"{are} several tokens; the first stands for the whole: {first!r} for {text!r}"
        if merged:
            yield (
                f"{len(merged)} of {len(cases)} {what}s would merge with the end of their prompt and are tokenised on "
                f"their own: the first is {merged[0]!r}"
            )


def _case(
    opened: OpenModel,
    record: PromptRecord,
    read: CaseTexts,
    target: int | None,
    other: int | None,
    corrupted: int | None,
    last: Tensor,
) -> Case:
    if target is None:
        target = int(last.argmax())
    if other is None and corrupted != target:
        other = corrupted
    if other is None:
        other = strongest_other(last, target)
    if other == target:
        raise UsageError(
            f"the target and the counterfactual of {record.prompt!r} begin with the same token",
            "give it another counterfactual, or none",
        )
    tokens = [Token(token, token_text(opened.tokenizer, token)) for token in (target, other)]
    value = float(last[target] - last[other])
    rank = 1 + int((last > last[target]).sum())
    target_read = Target(tokens=(tokens[0],), counterfactual=tokens[1], value=value)
    return Case(record, read.clean, target_read, rank, read.corrupt)


def logits_of(
    opened: OpenModel, texts: Sequence[Sequence[int]], batch: int | None = None, cancel: Cancel | None = None
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """The rows of each batch of texts, and their logits as `last_logits` gives them; `batch` as in `in_batches`."""

    def last(rows: Sequence[int]) -> Tensor:
        return last_logits(opened, [texts[row] for row in rows], cancel)

    return in_batches(opened, [len(ids) for ids in texts], batch, memory_needed.forward, last)


@torch.inference_mode()
def last_logits(opened: OpenModel, rows: Sequence[Sequence[int]], cancel: Cancel | None = None) -> Tensor:
    """Logits after the last token of each row, `[rows, vocab]` in float32, in one pass.

    Interventions installed around the call act on it.
    """
    ends = only_at_ends(opened.anatomy, [len(row) for row in rows])
    with watched(opened.anatomy, cancel), padded_rows(opened, rows) as ids, ends:
        out = opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(ids.shape[1], ids))
    return out.logits[:, 0].float()
