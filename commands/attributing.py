"""How `discover` attributes: its method, what neurons are compared with, and the exact way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from sessions.errors import UsageError
from sessions.events import Steps
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.circuits.attribution import Reference
    from sessions.circuits.discovery import Way
    from sessions.model.info import Encoded


def way(
    session: Session,
    method: str,
    attention: str | None,
    reference: str,
    reference_seed: str | None,
    steps: int | None,
) -> Steps[tuple[Way, list[str]]]:
    """How to attribute, from the words of a line, and remarks on it.

    Raises:
        UsageError: two of them do not go together.
        ModelError: this model's family is out of reach of the method.
    """
    from sessions.circuits.attribution import STEPS, check
    from sessions.circuits.discovery import Way

    if steps is not None and method != "ig":
        raise UsageError(f"--steps is for --method ig, not for {method}", "leave one of them out")
    if reference_seed is not None and reference in ("zero", "mean"):
        raise UsageError(
            "--reference-seed needs a prompt as --reference", 'for example: --reference "the other prompt"'
        )
    if attention is None:
        attention = session.settings.attention if method == "relp" else "gradient"
    compared, notes = yield from compared_with(session, session.encoded(), reference, reference_seed)
    check(session.opened().anatomy, method, compared)  # type: ignore[arg-type]
    return Way(method, attention, compared, named(reference), steps or STEPS), notes  # type: ignore[arg-type]


def named(reference: str) -> str:
    """What neurons are compared with, or held at, in a word or two."""
    return reference if reference in ("zero", "mean") else "another prompt"


def compared_with(
    session: Session, encoded: Encoded, word: str, seed: str | None = None
) -> Steps[tuple[Reference | None, list[str]]]:
    """The reference that a word means for a prompt, None for zero, and remarks on it."""
    from sessions.circuits.attribution import Reference
    from sessions.circuits.recording import means, recorded
    from sessions.circuits.universal import PROMPTS
    from sessions.model.info import Prompt

    opened = session.opened()
    if word == "zero":
        return None, []
    if word == "mean":
        texts = [session.read(Prompt(text=text, chat=False)).ids for text in PROMPTS]
        return Reference((yield from means(opened, texts, session.home, session.cancel))), [
            f"compared with each neuron's mean over {len(texts)} built-in texts"
        ]
    other = structs.replace(encoded.prompt, text=word, seed=encoded.prompt.seed if seed is None else seed)
    ids = session.read(other).ids
    notes = []
    if len(ids) != len(encoded.ids):
        notes.append(
            f"the prompt has {len(encoded.ids)} tokens and its reference {len(ids)}: they are aligned at their ends"
        )
    return recorded(opened, ids, len(encoded.ids), session.cancel), notes
