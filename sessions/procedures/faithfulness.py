"""What faithfulness is measured on, what the other neurons are held at, and what there is to say of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from sessions.artifacts import Key
from sessions.circuits.circuit import Circuit
from sessions.circuits.methods import METHODS
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.model.units import Unit
from sessions.procedures.circuits import explained
from sessions.references import ENOUGH, check_paired, compared_with, corpus, is_prompt, kept_means, means_named
from sessions.results import Faithfulness, FaithfulnessRow
from sessions.session import Session
from sessions.texts.prompt_files import PromptRecord
from sessions.texts.prompt_sources import prompts_in

if TYPE_CHECKING:
    from sessions.circuits.attribution import Reference
    from sessions.circuits.cases import Case
    from sessions.circuits.faithfulness import Measured
    from sessions.model.pieces import Engine

_ESTIMATES = "find it again against zero or mean, for example: discover --reference mean"
#: Random circuits that are drawn as a control.
CONTROLS = 3
#: Where all neurons together do less than this share of the target, fractions of what they do say little.
LITTLE = 0.1


def helping_first(ranking: tuple[Unit, ...]) -> tuple[Unit, ...]:
    """Those first that are most for the target."""
    if any(neuron.attribution is None for neuron in ranking):
        raise UsageError("--order helping needs attributions, and the circuit's neurons have none", "leave it out")
    return tuple(sorted(ranking, key=lambda neuron: -(neuron.attribution or 0.0)))


def cases_for(
    session: Session, circuit: Circuit, file: Path | None, raw: bool, batch: int | None
) -> Steps[tuple[tuple[Case, ...], list[str]]]:
    """What is measured on, and remarks on it."""
    from sessions.circuits.cases import remarks, resolve_targets

    if file is None and not circuit.prompts:
        return (yield from own_prompt(session, circuit, batch)), []
    records, named = circuit.prompts, list[str]()
    if file is not None:
        prompts = prompts_in(file, raw)
        records, named = prompts.prompts, [f"{file}, line {line}" for line in prompts.lines]
    cases = yield from resolve_targets(session.opened(), records, named=named, batch=batch, cancel=session.cancel)
    behind = [case for case in cases if case.target.value <= 0]
    notes = list(remarks(session.opened(), cases))
    if file is None:
        notes.append("measured on the prompts the circuit was found on; other prompts say more")
    if behind:
        first = behind[0]
        notes.append(
            f"{len(behind)} of {len(cases)} targets are no likelier than their counterfactuals: the first is "
            f"{first.target.tokens[0].text!r} after {first.asked.prompt!r}"
        )
    return cases, notes


def own_prompt(session: Session, circuit: Circuit, batch: int | None) -> Steps[tuple[Case, ...]]:
    """The one prompt that the circuit was found on."""
    from sessions.circuits.cases import resolve_targets

    target, hint = circuit.target, "name a file of prompts: faithfulness keys.jsonl"
    if target.sequence:
        raise UsageError("the circuit explains a whole text; faithfulness measures the next token", hint)
    if not target.tokens or any(token.id < 0 for token in target.tokens):
        raise UsageError("the circuit does not say which tokens it explains", hint)
    read = explained(session)
    other = "" if target.counterfactual is None else target.counterfactual.text
    record = PromptRecord(
        prompt=read.prompt.text,
        target=target.tokens[0].text,
        counterfactual=other,
        seed=read.prompt.seed,
        raw=not read.prompt.chat,
        system=read.prompt.system,
        thinking=read.prompt.thinking,
    )
    (case,) = yield from resolve_targets(session.opened(), [record], batch=batch, cancel=session.cancel)
    return (replace(case, encoded=read, target=case.target if target.counterfactual is None else target),)


def held_values(
    session: Session,
    cases: tuple[Case, ...],
    reference: str,
    over: Path | Key | None,
    raw: bool,
    batch: int | None,
    force: bool,
) -> Steps[tuple[Reference | None, str, list[str]]]:
    """What units are held at (None for zero), and in words; and remarks on it."""
    from sessions.circuits.attribution import CORRUPT
    from sessions.circuits.recording import means

    notes: list[str] = []
    if reference in ("zero", "corrupt") and over is not None:
        raise UsageError(f"--means does not go with --reference {reference}", "leave one of them out")
    if reference == "corrupt":
        check_paired(cases)
        return CORRUPT, "its value in the prompt's corrupt prompt, by position", notes
    if reference == "zero":
        return None, "zero", notes
    kept = over if isinstance(over, Key) else None
    if (name := means_named(reference)) is not None:
        if over is not None:
            raise UsageError(f"--means does not go with --reference {reference}", "leave one of them out")
        kept = Key("means", name)
    if kept is not None:
        mean_values, notes = kept_means(session, kept.name, places=True, force=force)
        return mean_values, str(kept), notes
    if isinstance(over, Path):
        texts, which = corpus(session, over, raw)
    elif len(cases) > 1:
        texts, which = [case.ids for case in cases], "these prompts"
        if len(cases) < ENOUGH:
            notes.append(f"a mean over {len(cases)} prompts says little beyond these: --means FILE takes others")
    else:
        texts, which = corpus(session)
        notes.append("the built-in texts are unlike this prompt: --means FILE, of prompts like it, says more")
    opened, home, under = session.opened(), session.home, session.state_key()
    averages = yield from means(opened, texts, home, session.cancel, aligned=True, under=under, batch=batch)
    return averages, f"its mean over {which}", notes


def rows_of(sizes: tuple[int, ...], measured: Measured) -> tuple[FaithfulnessRow, ...]:
    """What the circuit, and random neurons, keep and leave at each size."""
    rows = [
        FaithfulnessRow(size=size, kept=kept, left=left)
        for size, kept, left in zip(sizes, measured.circuit.kept, measured.circuit.left, strict=True)
    ]
    if measured.control is not None:
        pairs = zip(rows, measured.control.kept, measured.control.left, strict=True)
        rows = [structs.replace(row, random_kept=kept, random_left=left) for row, kept, left in pairs]
    return tuple(rows)


def doubts_about(measured: Measured) -> list[str]:
    """A remark where there is little to keep."""
    if abs(measured.whole - measured.none) < LITTLE * abs(measured.whole):
        return ["holding all neurons hardly changes the target: fractions of that change say little"]
    if measured.whole <= 0:
        return ["on average the targets are no likelier than their counterfactuals: there is little to keep"]
    return []


def every_unit(session: Session, circuit: Circuit, batch: int | None, engine: Engine) -> Steps[tuple[Unit, ...]]:
    """All units of the circuit's kinds, ranked on the circuit's own prompts by its method.

    Raises:
        UsageError: its method measures units one by one, or compares them with another prompt.
    """
    from sessions.circuits.attribution import STEPS
    from sessions.circuits.discovery import AttributionOptions
    from sessions.circuits.multi_prompt import attribute_prompts

    name = circuit.method.partition(" ")[0]
    if name not in METHODS or not METHODS[name].estimates:
        raise UsageError(
            "--curve ranks all units anew, by the method of the circuit, which has to estimate", _ESTIMATES
        )
    if is_prompt(circuit.compared):
        raise UsageError(
            f"--curve ranks all units anew, and the circuit is compared with {circuit.compared}", _ESTIMATES
        )
    cases, _ = yield from cases_for(session, circuit, None, False, batch)
    over = cases if circuit.prompts else cases[0].encoded
    reference, _ = yield from compared_with(session, over, circuit.compared)
    kinds = tuple(dict.fromkeys(unit.kind for unit in circuit.neurons))
    how = AttributionOptions(name, circuit.attention, reference, circuit.compared, STEPS, kinds)
    gathered = yield from attribute_prompts(session.opened(), cases, how, batch=batch, engine=engine)
    return gathered.ranking()


def units_in_all(session: Session, ranking: tuple[Unit, ...]) -> int:
    """How many units of the ranking's kinds the model has."""
    anatomy = session.opened().anatomy
    return sum(sum(anatomy.counts(kind)) for kind in {unit.kind for unit in ranking})


def faithfulness_of(
    session: Session,
    *,
    file: Path | None,
    raw: bool,
    sizes: tuple[int, ...],
    curve: bool,
    order: str,
    reference: str,
    means: Path | Key | None,
    controls: int | None,
    seed: int | None,
    batch: int | None,
    force: bool,
    engine: Engine,
) -> Steps[Faithfulness]:
    """Faithfulness and completeness of the session's circuit, at each size."""
    from sessions.circuits.attribution import refuse_experts
    from sessions.circuits.faithfulness import areas, ranked, sizes_of
    from sessions.circuits.faithfulness import faithfulness as measure

    circuit = session.found()
    refuse_experts(session.opened().anatomy, "faithfulness")
    if raw and file is None and means is None:
        raise UsageError("--raw is for a file of prompts", "for example: faithfulness keys.jsonl --raw")
    cases, notes = yield from cases_for(session, circuit, file, raw, batch)
    own = file is None and not circuit.prompts
    ranking = ranked(circuit.neurons, len(cases[0].ids) if own else None)
    if curve:
        ranking = yield from every_unit(session, circuit, batch, engine)
    if not curve and ranking[0].position is None and any(neuron.position is not None for neuron in circuit.neurons):
        notes.append(f"at all positions, the circuit's {len(circuit)} neurons are {len(ranking)}")
    if order == "helping":
        ranking = helping_first(ranking)
    averages, how, more = yield from held_values(session, cases, reference, means, raw, batch, force)
    whole = units_in_all(session, ranking) if curve else len(ranking)
    if curve:
        sizes, controls = sizes_of(whole), controls or 0
    else:
        sizes = (*(size for size in sizes if size < whole), whole)
    measured = yield from measure(
        session.opened(),
        cases,
        ranking,
        sizes,
        averages,
        controls=CONTROLS if controls is None else controls,
        seed=session.settings.rng if seed is None else seed,
        batch=batch,
        engine=engine,
    )
    return Faithfulness(
        prompts=len(cases),
        size=whole,
        areas=areas([size / whole for size in sizes], measured.circuit.kept, whole) if curve else None,
        order=order,
        held=how,
        whole=measured.whole,
        none=measured.none,
        rows=rows_of(sizes, measured),
        controls=CONTROLS if controls is None else controls,
        units=" and ".join(sorted({f"{unit.kind}s" for unit in ranking}, reverse=True)),
        notes=(*notes, *more, *doubts_about(measured)),
    )
