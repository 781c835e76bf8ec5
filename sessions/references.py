"""References that neurons are compared with, or held at: zero, means, or another prompt; and files of prompts with
their targets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from sessions.artifacts import checked_name
from sessions.circuits.methods import DEFAULT, METHODS, check_options
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.model.info import Encoded
from sessions.session import Session
from sessions.texts.prompt_sources import prompts_in

if TYPE_CHECKING:
    from sessions.circuits.attribution import Reference
    from sessions.circuits.cases import Case

#: References that are neither a prompt nor saved means.
PLAIN = ("zero", "mean", "corrupt")
#: With this many prompts or more, their mean is the default reference.
ENOUGH = 10
#: A target of a larger rank gets a remark.
UNLIKELY = 10


def means_named(text: str) -> str | None:
    """The name in `means:NAME`; None of any other text.

    Raises:
        UsageError: NAME cannot be the name of an artifact.
    """
    match = re.fullmatch(r"means:([A-Za-z0-9][A-Za-z0-9._-]*)", text)
    try:
        return None if match is None else checked_name(match[1])
    except ArtifactError as error:
        raise UsageError(error.message, error.hint) from error


def usual_reference(session: Session, prompts: int) -> str:
    """The default reference of so many prompts: their mean, if they are enough and the model supports means.

    A mean over two or three prompts is little different from these prompts.
    """
    return "mean" if prompts >= ENOUGH and not session.opened().anatomy.has_experts else "zero"


def named(reference: str) -> str:
    """A reference in a word or two."""
    return "another prompt" if is_prompt(reference) else reference


def kind(reference: str) -> str:
    """The kind of a reference, as methods list them (`methods.REFERENCES`)."""
    if is_prompt(reference) or reference == "corrupt":
        return "prompt"
    return "mean" if means_named(reference) is not None else reference


def is_prompt(reference: str) -> bool:
    """Whether a reference is a prompt: neither one of `PLAIN` nor saved means."""
    return reference not in PLAIN and means_named(reference) is None


def compared_with(
    session: Session, over: Encoded | Sequence[Case], word: str, seed: str | None = None, *, force: bool = False
) -> Steps[tuple[Reference | None, list[str]]]:
    """The reference that a word means for one prompt or many, None for zero; and remarks on it.

    For one prompt, means are over built-in texts. For many prompts they are over the prompts themselves, for each
    position counted from the end. Saved means are taken by position for many prompts only.
    """
    from sessions.circuits.recording import means

    if word == "zero":
        return None, []
    if word == "corrupt":
        return _corrupt(session, over)
    name = means_named(word)
    if name is not None:
        several = not isinstance(over, Encoded)
        return kept_means(session, name, places=several, force=force)
    if word != "mean":
        if not isinstance(over, Encoded):
            raise many_against_one()
        return _another_prompt(session, over, word, seed)
    if isinstance(over, Encoded):
        texts, which = corpus(session)
        averages = yield from means(session.opened(), texts, session.home, session.cancel, under=session.state_key())
        return averages, [f"compared with each unit's mean over {which}"]
    texts = [case.ids for case in over]
    averages = yield from means(
        session.opened(), texts, session.home, session.cancel, aligned=True, under=session.state_key()
    )
    return averages, ["compared with each unit's mean over these prompts, by position"]


def _corrupt(session: Session, over: Encoded | Sequence[Case]) -> tuple[Reference, list[str]]:
    """Each prompt's own corrupt prompt.

    Raises:
        UsageError: there is one prompt only, or one has no corrupt prompt.
    """
    from sessions.circuits.attribution import CORRUPT, OTHER_REFERENCE, refuse_experts

    refuse_experts(session.opened().anatomy, OTHER_REFERENCE)
    if isinstance(over, Encoded):
        raise UsageError(
            "--reference corrupt is for the prompts of a file, each with its own corrupt prompt",
            'write the other prompt itself: --reference "The capital of Italy is"',
        )
    check_paired(over)
    return CORRUPT, ["compared with each unit's activation in the prompt's own corrupt prompt, position by position"]


def check_paired(cases: Sequence[Case]) -> None:
    """Raise `UsageError`, which names the prompt, unless all have a corrupt prompt."""
    alone = next((case for case in cases if case.corrupt is None), None)
    if alone is not None:
        raise UsageError(
            f"{alone.named}: the prompt has no corrupt prompt",
            'give each one: {"prompt": "The keys", "corrupt": "The key", "target": " are", "counterfactual": " is"}',
        )


def kept_means(
    session: Session, name: str, *, places: bool = False, force: bool = False
) -> tuple[Reference, list[str]]:
    """Saved means, `[width]` for each site, or `[places, width]` with `places` where they have them; and remarks.

    Raises:
        ArtifactError: they are missing, damaged, or of another model.
    """
    from sessions.circuits.attribution import OTHER_REFERENCE, refuse_experts

    anatomy = session.opened().anatomy
    refuse_experts(anatomy, OTHER_REFERENCE)
    saved, notes = session.saved.read_means(name, force=force)
    remarks = [*notes, f"means:{name} are over {saved.about.over}"]
    if saved.about.sha256 and saved.about.under != session.state_key():
        remarks.append(f"other neurons were suppressed, or other edits on, when means:{name} were taken")
    return saved.as_reference(anatomy, places=places), remarks


def corpus(session: Session, over: Path | None = None, raw: bool = False) -> tuple[list[tuple[int, ...]], str]:
    """Token ids of the texts to take means over, from a file of prompts or built in; and which texts these are.

    Raises:
        ArtifactError: the file, or a line of it, cannot be read.
    """
    from sessions.circuits.universal import PROMPTS
    from sessions.model.info import Prompt

    if over is not None:
        return [
            session.read(prompt.to_read()).ids for prompt in prompts_in(over, raw).prompts
        ], f"the prompts in {over}"
    texts = [session.read(Prompt(text=text, chat=False)).ids for text in PROMPTS]
    return texts, f"{len(texts)} built-in texts"


def _another_prompt(session: Session, over: Encoded, text: str, seed: str | None) -> tuple[Reference, list[str]]:
    from sessions.circuits.recording import recorded

    other = structs.replace(over.prompt, exact=(), text=text, seed=over.prompt.seed if seed is None else seed)
    ids, notes = session.read(other).ids, []
    if len(ids) != len(over.ids):
        notes.append(
            f"the prompt has {len(over.ids)} tokens and its reference {len(ids)}: they are aligned at their ends"
        )
    return recorded(session.opened(), ids, len(over.ids), session.cancel), notes


def many_against_one() -> UsageError:
    """The error where many prompts would be compared with one."""
    return UsageError("a prompt as --reference works for one prompt only, not for many", f"one of: {', '.join(PLAIN)}")


def prompts_with_targets(
    session: Session,
    path: Path,
    raw: bool,
    method: str = DEFAULT,
    reference: str = "zero",
    batch: int | None = None,
) -> Steps[tuple[tuple[Case, ...], list[str]]]:
    """The prompts of a file with their targets, and remarks on these.

    Raises:
        UsageError: the method or the reference works for one prompt only; a prompt is too long; or a target is its own
            counterfactual.
        ArtifactError: the file, or a line of it, cannot be read.
    """
    from sessions.circuits.cases import remarks, resolve_targets
    from sessions.circuits.pairs import remarks as pair_remarks

    check_options(METHODS[method], many=True)
    if is_prompt(reference):
        raise many_against_one()
    opened, file = session.opened(), prompts_in(path, raw)
    cases = yield from resolve_targets(
        opened,
        file.prompts,
        named=[f"{path}, line {line}" for line in file.lines],
        batch=batch,
        cancel=session.cancel,
    )
    far = [(line, case) for line, case in zip(file.lines, cases, strict=True) if case.rank > UNLIKELY]
    pairs = [(case.encoded, case.corrupt) for case in cases if case.corrupt is not None]
    notes = [*remarks(opened, cases), *pair_remarks(pairs)]
    if not far:
        return cases, notes
    line, case = far[0]
    how_many = f"{len(far)} of {len(cases)} targets are" if len(far) > 1 else f"1 of {len(cases)} targets is"
    return cases, [
        *notes,
        f"{how_many} not among the {UNLIKELY} likeliest tokens of their prompt: the first is "
        f"{case.target.tokens[0].text!r} in line {line}, which ranks {case.rank:,}",
    ]
