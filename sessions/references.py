"""What a session's neurons are compared with, or held at: means, those that are kept, or a prompt; and the prompts of a
file with their targets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from sessions.circuits.methods import DEFAULT, METHODS, check_options
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.model.info import Encoded
from sessions.session import Session
from sessions.store import checked_name
from sessions.texts.prompt_sources import prompts_in

if TYPE_CHECKING:
    from torch import Tensor

    from sessions.circuits.attribution import Reference
    from sessions.circuits.cases import Case

#: References that are no prompt.
PLAIN = ("zero", "mean")
#: Prompts from which on their mean is what they are compared with, unless the line says else.
ENOUGH = 10
#: A target that ranks behind this is worth a remark.
UNLIKELY = 10


def means_named(text: str) -> str | None:
    """The name in `means:NAME`; None of any other text.

    Raises:
        UsageError: it is that, and nothing can be called so.
    """
    found = re.fullmatch(r"means:([A-Za-z0-9][A-Za-z0-9._-]*)", text)
    try:
        return None if found is None else checked_name(found[1])
    except ArtifactError as error:
        raise UsageError(error.message, error.hint) from error


def usual_reference(session: Session, prompts: int) -> str:
    """What so many prompts are compared with where the line does not say: their mean, where the model has means and
    there are enough of them; a mean over two or three is little else than these."""
    return "mean" if prompts >= ENOUGH and not session.opened().anatomy.has_experts else "zero"


def named(reference: str) -> str:
    """What neurons are compared with, or held at, in a word or two."""
    return "another prompt" if is_prompt(reference) else reference


def kind(reference: str) -> str:
    """Which of the kinds a reference is that methods take (`methods.REFERENCES`)."""
    if is_prompt(reference):
        return "prompt"
    return "mean" if means_named(reference) is not None else reference


def is_prompt(reference: str) -> bool:
    """Whether a reference is a prompt: neither one of the plain ones, nor means that are kept."""
    return reference not in PLAIN and means_named(reference) is None


def compared_with(
    session: Session, over: Encoded | Sequence[Case], word: str, seed: str | None = None, *, force: bool = False
) -> Steps[tuple[Reference | None, list[str]]]:
    """The reference that a word means for a prompt, or for many, None for zero, and remarks on it.

    Means are over built-in texts; or over the many prompts themselves, for each position, counted from the end. Those
    that are kept are by position only for many prompts: there alone positions are counted from the end.
    """
    from sessions.circuits.attribution import Reference
    from sessions.circuits.recording import means

    if word == "zero":
        return None, []
    name = means_named(word)
    if name is not None:
        many = not isinstance(over, Encoded)
        kept, remarks = kept_means(session, name, places=many, force=force)
        return Reference(kept, from_end=many and kept[0].ndim == 2), remarks
    if word != "mean":
        if not isinstance(over, Encoded):
            raise many_against_one()
        return _another_prompt(session, over, word, seed)
    if isinstance(over, Encoded):
        texts, which = corpus(session)
        found = yield from means(session.opened(), texts, session.home, session.cancel, under=session.state_key())
        return Reference(found), [f"compared with each neuron's mean over {which}"]
    texts = [case.ids for case in over]
    found = yield from means(
        session.opened(), texts, session.home, session.cancel, aligned=True, under=session.state_key()
    )
    return Reference(found, from_end=True), ["compared with each neuron's mean over these prompts, by position"]


def kept_means(
    session: Session, name: str, *, places: bool = False, force: bool = False
) -> tuple[tuple[Tensor, ...], list[str]]:
    """Means that are kept, `[width]` a site or, with `places` where they have such, `[places, width]`; and remarks.

    Raises:
        ArtifactError: they are missing, damaged, or of another model.
    """
    from sessions.circuits.attribution import OTHER_REFERENCE, refuse_experts

    anatomy = session.opened().anatomy
    refuse_experts(anatomy, OTHER_REFERENCE)
    found, notes = session.saved.read_means(name, force=force)
    said = [*notes, f"means:{name} are over {found.about.over}"]
    if found.about.sha256 and found.about.under != session.state_key():
        said.append(f"what is suppressed or edited was another when means:{name} were taken")
    return found.by_site(anatomy, places=places), said


def corpus(session: Session, over: Path | None = None, raw: bool = False) -> tuple[list[tuple[int, ...]], str]:
    """The ids of texts to take means over, from a file of prompts or built in, and which these are.

    Raises:
        ArtifactError: the file, or a line of it, cannot be read.
    """
    from sessions.circuits.universal import PROMPTS
    from sessions.model.info import Prompt

    if over is not None:
        return [session.read(asked.to_read()).ids for asked in prompts_in(over, raw).prompts], f"the prompts in {over}"
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
    """What is wrong where many prompts are compared with one."""
    return UsageError("a prompt as --reference is for one prompt, and here are many", f"one of: {', '.join(PLAIN)}")


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
        UsageError: the method or the reference is for one prompt; or a prompt is too long, or its own counterfactual.
        ArtifactError: the file, or a line of it, cannot be read.
    """
    from sessions.circuits.cases import remarks, resolve_targets
    from sessions.model.rows import LARGEST_BATCH

    check_options(METHODS[method], many=True)
    if is_prompt(reference):
        raise many_against_one()
    opened, file = session.opened(), prompts_in(path, raw)
    cases = yield from resolve_targets(opened, file.prompts, batch=batch or LARGEST_BATCH, cancel=session.cancel)
    far = [(line, case) for line, case in zip(file.lines, cases, strict=True) if case.rank > UNLIKELY]
    notes = list(remarks(opened, cases))
    if not far:
        return cases, notes
    line, case = far[0]
    said = f"{len(far)} of {len(cases)} targets are" if len(far) > 1 else f"1 of {len(cases)} targets is"
    return cases, [
        *notes,
        f"{said} not among the {UNLIKELY} likeliest tokens of their prompt: the first is "
        f"{case.target.tokens[0].text!r} in line {line}, which ranks {case.rank:,}",
    ]
