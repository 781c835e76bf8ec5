"""How `discover` attributes: over which prompts, by which method, and what neurons are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import structs

from commands.choices import AGGREGATE, ALIGN, ATTENTION, METHOD, REFERENCE
from commands.names import FileName, means_named
from commands.reading import prompts_in
from commands.request import Flag, Opt, Options
from commands.words import Real, Text, Whole
from sessions.circuits.methods import DEFAULT, METHODS, check_options, listed
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.model.info import Encoded
from sessions.session import Session

if TYPE_CHECKING:
    from torch import Tensor

    from sessions.circuits.attribution import Reference
    from sessions.circuits.cases import Case
    from sessions.circuits.choosing import Choice
    from sessions.circuits.discovery import Way
    from sessions.circuits.many import Gathering

#: References that are no prompt.
PLAIN = tuple(REFERENCE.meanings)
#: Prompts from which on their mean is what they are compared with, unless the line says else.
ENOUGH = 10
#: A target that ranks behind this is worth a remark.
UNLIKELY = 10


#: The methods that --steps is for.
STEPPED = listed(each.name for each in METHODS.values() if each.takes_steps)


class Method(Options, frozen=True):
    """How neurons are attributed, and what they are compared with."""

    group = "How"

    method: Annotated[str, Opt(METHOD, "how attributions are made")] = DEFAULT
    attention: Annotated[
        str | None,
        Opt(ATTENTION, "how relevance passes attention (default: relp the setting, the others gradient)"),
    ] = None
    reference: Annotated[
        str | None,
        Opt(
            REFERENCE,
            "what neurons are compared with: zero, mean, means:NAME or a prompt (default: zero; of many their mean)",
        ),
    ] = None
    reference_seed: Annotated[str | None, Opt(Text(), "the seed of that prompt (default: this prompt's)")] = None
    steps: Annotated[int | None, Opt(Whole(2), f"passes of --method {STEPPED} (default: 16)")] = None

    def way(
        self, session: Session, over: Encoded | Sequence[Case], usual: str, *, force: bool
    ) -> Steps[tuple[Way, list[str]]]:
        """How to attribute, and remarks on it.

        Args:
            over: the prompt, or the many that are attributed.
            usual: what neurons are compared with where the line does not say.
            force: compare with means of another model.

        Raises:
            UsageError: two of the options do not go together.
            ModelError: this model's family is out of reach of the method.
        """
        from sessions.circuits.attribution import STEPS
        from sessions.circuits.discovery import Way

        attention, reference, chosen = self.attention, self.reference or usual, METHODS[self.method]
        check_options(chosen, attention=attention, steps=self.steps, reference=kind(reference))
        if self.reference_seed is not None and not is_prompt(reference):
            raise UsageError(
                "--reference-seed needs a prompt as --reference", 'for example: --reference "the other prompt"'
            )
        if attention is None:
            attention = chosen.attention_by_default(session.settings.attention)
        compared, notes = yield from compared_with(session, over, reference, self.reference_seed, force=force)
        chosen.check_model(session.opened().anatomy, compared)
        return Way(self.method, attention, compared, named(reference), self.steps or STEPS), notes


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
        found = yield from means(session.opened(), texts, session.home, session.cancel, under=session.under())
        return Reference(found), [f"compared with each neuron's mean over {which}"]
    texts = [case.ids for case in over]
    found = yield from means(session.opened(), texts, session.home, session.cancel, aligned=True, under=session.under())
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
    if found.about.sha256 and found.about.under != session.under():
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
    from sessions.circuits.cases import remarks, settled
    from sessions.model.rows import LARGEST_BATCH

    check_options(METHODS[method], many=True)
    if is_prompt(reference):
        raise many_against_one()
    opened, file = session.opened(), prompts_in(path, raw)
    cases = yield from settled(opened, file.prompts, batch=batch or LARGEST_BATCH, cancel=session.cancel)
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


class ManyPrompts(Options, frozen=True):
    """Many prompts instead of one, and how their attributions become one."""

    group = "Many prompts"

    prompts: Annotated[
        Path | None, Opt(FileName(), "a file of prompts: explain the targets of all of them together")
    ] = None
    raw: Annotated[bool, Flag("with --prompts: read them without the chat template")] = False

    aggregate: Annotated[
        str | None,
        Opt(AGGREGATE, "with --prompts: how attributions become one number (default: magnitude)"),
    ] = None
    align: Annotated[
        str | None,
        Opt(ALIGN, "with --prompts: none sums over positions (the default), end keeps them apart"),
    ] = None
    threshold: Annotated[
        float | None,
        Opt(Real(100.0), "with --prompts: percent of its target below which a neuron counts as 0 in a prompt"),
    ] = None

    def cases(
        self, session: Session, method: str, reference: str, batch: int | None
    ) -> Steps[tuple[tuple[Case, ...], list[str]]]:
        """The prompts with their targets, and remarks on these."""
        assert self.prompts is not None
        return (yield from prompts_with_targets(session, self.prompts, self.raw, method, reference, batch))

    def gathering(self, choice: Choice) -> Gathering:
        """How attributions become one.

        Raises:
            UsageError: the choice is by what is not aggregated.
        """
        from sessions.circuits.many import Gathering

        if self.aggregate == "share" and (choice.percentage is not None or choice.cumulative is not None):
            raise UsageError(
                "--aggregate share ranks by numbers of prompts, which --percentage and --cumulative say nothing of",
                "choose with --top, and what counts in a prompt with --threshold",
            )
        usual = "mean" if self.align == "end" else "magnitude"
        return Gathering(self.aggregate or usual, self.align == "end", self.threshold)  # type: ignore[arg-type]
