"""Examples of where a rewritten neuron should fire, and where it should not: texts with positions of both kinds.

By a rule: in the reply of each sample, the positions that the rule matches, and all others. The last position of the
prompt, which predicts the reply's first token, counts as one of the reply. By prompts: the last positions of the
prompts where it should fire, and of those where it should not. The first position of a text and special tokens never
count.

A third of the texts is held out: they are ordered by the sha256 of their tokens, and every third is taken, so that the
same texts are always split in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib import resources

from sessions.errors import UsageError
from sessions.model.info import Encoded, Prompt, Turn
from sessions.model.opening import OpenModel
from sessions.model.replies import written
from sessions.model.texts import special_ids
from sessions.model.thinking import in_common
from sessions.model.tokens import encode, joined, token_text
from sessions.rewriting.rules import Rule, nothing_found, places
from sessions.texts.prompt_files import PromptRecord
from sessions.texts.sample_files import Sample, read_samples

#: What the samples that come with the workbench are called.
BUILT_IN = "replies"
#: Every so many texts one is held out.
EVERY = 3


@dataclass(frozen=True)
class Example:
    """A text, and the positions of it where the neuron should fire and where it should not. `asked` is its prompt."""

    asked: Encoded
    ids: tuple[int, ...]
    where: tuple[int, ...]
    elsewhere: tuple[int, ...]


@dataclass(frozen=True)
class Examples:
    """Examples to learn from, and others to measure on. `rule` and `source` say how and where they were found.

    `apart` is False where there were too few to hold any out: they are then measured on themselves.
    """

    learnt: tuple[Example, ...]
    held: tuple[Example, ...]
    rule: str
    source: str
    apart: bool = True

    @property
    def all(self) -> tuple[Example, ...]:
        """Every text once, those to learn from first."""
        return self.learnt + (self.held if self.apart else ())


def built_in() -> tuple[Sample, ...]:
    """The samples that come with the workbench: short questions of everyday life, answered in three sentences."""
    return read_samples(resources.files("sessions.rewriting").joinpath("replies.jsonl").read_bytes(), BUILT_IN)


def by_rule(
    opened: OpenModel, samples: Sequence[Sample], rule: Rule, source: str, held_out: Sequence[Sample] = ()
) -> Examples:
    """Examples that a rule finds in the replies of samples.

    Args:
        held_out: samples to hold out, instead of a third of the others.

    Raises:
        UsageError: the rule means no position, or all of them, or a text is longer than the model has positions for.
    """
    sides = [[_read(opened, sample, rule) for sample in side] for side in (samples, held_out)]
    for texts in filter(None, sides):
        if not any(example.where for example, _ in texts):
            raise nothing_found(rule, [said for _, said in texts])
        if not any(example.elsewhere for example, _ in texts):
            raise UsageError(f"the rule {rule} matches every position of the {len(texts):,} texts", "ask for less")
    learnt, other = ([example for example, _ in texts] for texts in sides)
    if other:
        return Examples(tuple(learnt), tuple(other), str(rule), source)
    # Texts without a place are split by themselves, so that both parts have some of each kind.
    with_places = split([example for example in learnt if example.where])
    without = split([example for example in learnt if not example.where])
    return _joined(with_places, without, str(rule), source)


def by_prompts(
    opened: OpenModel, positive: Sequence[PromptRecord], negative: Sequence[PromptRecord], source: str
) -> Examples:
    """Examples that are the last positions of prompts.

    Raises:
        UsageError: a prompt is longer than the model has positions for.
    """
    sides = []
    for fires, prompts in ((True, positive), (False, negative)):
        hits = []
        for prompt in prompts:
            encoded = encode(opened.tokenizer, prompt.to_read())
            opened.anatomy.check_length(len(encoded.ids))
            last = (len(encoded.ids) - 1,)
            hits.append(Example(encoded, encoded.ids, last if fires else (), () if fires else last))
        sides.append(split(hits))
    return _joined(sides[0], sides[1], "at the end of the prompts", source)


def split(texts: Sequence[Example]) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Those to learn from, and every third, by the sha256 of its tokens, to measure on."""
    ordered = sorted(texts, key=lambda candidate: sha256(repr(candidate.ids).encode()).digest())
    held_out = {id(example) for example in ordered[EVERY - 1 :: EVERY]}
    return tuple(text for text in texts if id(text) not in held_out), tuple(
        text for text in texts if id(text) in held_out
    )


def counts(texts: Sequence[Example]) -> tuple[int, int, int]:
    """How many texts these are, and positions where the neuron should fire, and elsewhere."""
    return len(texts), sum(len(text.where) for text in texts), sum(len(text.elsewhere) for text in texts)


def _joined(
    first: tuple[tuple[Example, ...], tuple[Example, ...]],
    second: tuple[tuple[Example, ...], tuple[Example, ...]],
    rule: str,
    source: str,
) -> Examples:
    learnt, held_out = first[0] + second[0], first[1] + second[1]
    if any(example.where for example in held_out) and any(example.elsewhere for example in held_out):
        return Examples(learnt, held_out, rule, source)
    return Examples(learnt + held_out, learnt + held_out, rule, source, apart=False)


def _read(opened: OpenModel, sample: Sample, rule: Rule) -> tuple[Example, tuple[str, ...]]:
    """A sample as an example, and the tokens of its reply, which follows the prompt as the template writes it."""
    tokenizer, prompt = opened.tokenizer, Prompt(text=sample.prompt, system=sample.system)
    encoded = encode(tokenizer, prompt)
    if not encoded.templated:  # a raw prompt and its reply are two lines
        encoded = encode(tokenizer, replaced(prompt, "\n"))
    reply = written(tokenizer, encoded, Turn("assistant", sample.reply))
    reply_ids = joined(tokenizer, encoded, reply.text[: reply.end]).ids
    ids = (*encoded.ids, *reply_ids)
    opened.anatomy.check_length(len(ids))
    first = len(encoded.ids) + in_common(reply_ids, joined(tokenizer, encoded, reply.text[: reply.begin]).ids)
    tokens, special = [token_text(tokenizer, token) for token in ids], special_ids(tokenizer)
    where = tuple(at for at in places(rule, tokens, first) if at > 0)
    others = (at for at in range(max(first - 1, 1), len(ids)) if ids[at] not in special)
    elsewhere = tuple(at for at in others if at not in where)
    return Example(encoded, ids, where, elsewhere), tuple(tokens[first:])


def replaced(prompt: Prompt, seed: str) -> Prompt:
    """The prompt with another beginning of its reply."""
    return Prompt(text=prompt.text, seed=seed, system=prompt.system)


def just_said(example: Example, token: int) -> Example:
    """The same text with the token said at each place: it should fire where it has just been said.

    All other positions that were counted are where it should not.
    """
    ids: list[int] = []
    after: list[int] = []
    others: list[int] = []
    counted = {*example.where, *example.elsewhere}
    for at, own in enumerate(example.ids):
        ids.append(own)
        if at in counted:
            others.append(len(ids) - 1)
        if at in example.where:
            ids.append(token)
            after.append(len(ids) - 1)
    return replace(example, ids=tuple(ids), where=tuple(after), elsewhere=tuple(others))
