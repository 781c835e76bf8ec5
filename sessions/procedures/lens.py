"""What the verb `lens` does with a session: which text, positions, layers and token are read, and through what."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from msgspec import structs

from sessions.artifacts import Key
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.interventions.arms import Condition
from sessions.lenses.findings import EMBEDDINGS, LensAbout
from sessions.model.info import Encoded, Token
from sessions.procedures.circuits import range_of, target_of, tokens_after
from sessions.procedures.generating import decoded, extended
from sessions.procedures.states import marked_in
from sessions.results import LensFitted, LensRead, LogitComponents
from sessions.session import Session

if TYPE_CHECKING:
    from torch import Tensor

    from sessions.lenses.fitted import FittedLens
    from sessions.lenses.jacobians import Derivative
    from sessions.lenses.tuning import TuningRecipe

#: Positions that are read at most.
MOST_POSITIONS = 256


def lens_read(
    session: Session,
    *,
    name: str | None,
    target: str | None,
    at: str | None,
    nth: int | None,
    positions: tuple[int, int] | None,
    layers: tuple[int, int] | None,
    of: str,
    generate: int | None,
    force: bool,
) -> Steps[LensRead]:
    """Read the session's prompt, and what the model writes behind it, layer by layer."""
    from sessions.interventions.answering import running_rows
    from sessions.lenses.readout import read, states_between
    from sessions.model.tokens import token_text

    opened = session.opened()
    notes: list[str] = []
    prompt = session.encoded()
    fitted, chosen = _layers(session, name, layers, force, notes)
    token = _token(session, target, generated=generate is not None, notes=notes)
    text, generated = prompt, 0
    if generate is not None:
        text = yield from _continued(session, prompt, generate)
        generated = len(text.ids) - len(prompt.ids)
    given = None if positions is None else _counted(positions, len(text.ids))
    position = _position(text, len(prompt.ids) - 1, at, nth, given, notes)
    window = _window(len(text.ids), position, given, notes)
    with running_rows(opened, [(prompt, Condition("", session.in_force))]):
        between = states_between(opened, text.ids, window, chosen, session.cancel)
    readings = yield from read(
        opened,
        between,
        position - window.start,
        target=None if token is None else token.id,
        translations=None if fitted is None else fitted.translations(),
    )
    return LensRead(
        tokens=text.tokens[window.start : window.stop],
        first=window.start,
        length=len(text.ids),
        generated=generated,
        position=position,
        target=token,
        targets=tuple(token_text(opened.tokenizer, token) for token in readings.targets),
        of=of,
        rows=readings.rows,
        layers=readings.layers,
        lens=name or "",
        lens_kind="" if fitted is None else fitted.about.kind,
        notes=tuple(notes),
    )


def _layers(
    session: Session, name: str | None, layers: tuple[int, int] | None, force: bool, notes: list[str]
) -> tuple[FittedLens | None, Sequence[int]]:
    """The fitted lens, if one is named, and the layers to read; the last one is read in any case."""
    anatomy = session.opened().anatomy
    chosen: Sequence[int] = range_of(session, layers) or range(EMBEDDINGS, anatomy.n_layers)
    if name is None:
        return None, chosen
    fitted, remarks = session.saved.read_lens(name, force=force)
    fitted.check(anatomy)
    notes += remarks
    if fitted.about.under != session.state_key():
        notes.append(f"other neurons were suppressed, or other edits on, when lens {name} was fitted")
    covered = [layer for layer in chosen if layer in fitted.maps or layer == anatomy.n_layers - 1]
    if not set(covered) & set(fitted.maps):
        raise UsageError(f"lens {name} has no map for these layers", f"it has: {spans(fitted.layers)}")
    return fitted, covered


def _token(session: Session, text: str | None, *, generated: bool, notes: list[str]) -> Token | None:
    """The token that is asked for, or the circuit's; None for each position's own."""
    if text is not None:
        tokens, remarks = tokens_after(session, text, whole=False, as_target=False)
        notes += remarks
        return tokens[0]
    target = None if generated else target_of(session)
    return None if target is None or not target.tokens else target.tokens[0]


def _continued(session: Session, prompt: Encoded, tokens: int) -> Steps[Encoded]:
    """The prompt with what the model writes behind it."""
    from sessions.interventions.answering import compare

    (arm,), _ = yield from compare(
        session.opened(),
        prompt,
        [Condition("", session.in_force)],
        decoded(session, max_tokens=tokens),
        streamed=False,
        cancel=session.cancel,
    )
    if not arm.ids:
        raise UsageError("the model writes nothing behind the prompt", "leave out --generate")
    return extended(session, prompt, arm)


def _counted(positions: tuple[int, int], length: int) -> range:
    """Positions of a text, counted from its start."""
    first, last = (end + length if end < 0 else end for end in positions)
    if not 0 <= first <= last < length:
        raise UsageError(
            f"the text has no positions {positions[0]} to {positions[1]}",
            f"its {length} positions are 0 to {length - 1}",
        )
    if last - first >= MOST_POSITIONS:
        raise UsageError(f"{last - first + 1:,} positions are too many", f"at most {MOST_POSITIONS} are read at once")
    return range(first, last + 1)


def _position(text: Encoded, usual: int, at: str | None, nth: int | None, given: range | None, notes: list[str]) -> int:
    """The position that is shown layer by layer: the one that is named or, of those given, the usual or the last."""
    if at is None:
        return usual if given is None or usual in given else given[-1]
    position = marked_in(text, at, nth, notes)
    if given is not None and position not in given:
        raise UsageError(
            f"position {position} is not among the positions {given[0]} to {given[-1]}",
            "leave out --positions, or --at",
        )
    return position


def _window(length: int, position: int, given: range | None, notes: list[str]) -> range:
    """The positions that are read, the chosen one among them; what is left out is put to the notes."""
    if given is not None:
        return given
    first = max(0, min(length - MOST_POSITIONS, position))
    window = range(first, min(length, first + MOST_POSITIONS))
    if len(window) < length:
        notes.append(
            f"positions {window.start} to {window.stop - 1} of {length:,} are read; --positions FIRST-LAST reads others"
        )
    return window


def spans(layers: Sequence[int]) -> str:
    """Layers in words: `the embeddings, 3-7, 9`."""
    words, numbers = [], sorted(layers)
    if numbers[:1] == [EMBEDDINGS]:
        words.append("the embeddings")
        numbers = numbers[1:]
    start = 0
    for place, layer in enumerate(numbers):
        if place + 1 == len(numbers) or numbers[place + 1] != layer + 1:
            words.append(f"{numbers[start]}-{layer}" if start < place else f"{layer}")
            start = place + 1
    return ", ".join(words)


def logit_components(
    session: Session,
    *,
    target: str | None,
    vs: str | None,
    alone: bool,
    at: str | None,
    nth: int | None,
    rows: int | None,
) -> LogitComponents:
    """The target as a sum over components, at a position of the session's prompt."""
    from sessions.interventions.answering import running_rows
    from sessions.lenses.components import logit_parts, settled_target
    from sessions.model.distribution import next_logits

    opened, encoded = session.opened(), session.encoded()
    notes: list[str] = []
    position = marked_in(encoded, at or "-1", nth, notes)
    token = _token(session, target, generated=at is not None, notes=notes)
    other = None if vs is None else _token(session, vs, generated=True, notes=notes)
    if token is not None and other is not None and token.id == other.id:
        raise UsageError(
            f"the target and its counterfactual are the same token, {token.text!r}",
            "choose another --vs, or leave it out for the strongest other token",
        )
    if other is None and not alone and target is None and at is None:
        known = target_of(session)
        other = None if known is None else known.counterfactual
    ids = encoded.ids[: position + 1]
    with running_rows(opened, [(encoded, Condition("", session.in_force))]):
        settled = settled_target(opened, next_logits(opened, ids, session.cancel), token, other, alone=alone)
    with running_rows(opened, [(encoded, Condition("", session.in_force))]):
        found = logit_parts(opened, ids, position, settled, session.cancel)
    return LogitComponents(
        target=structs.replace(settled, value=found.value),
        position=position,
        token=encoded.tokens[position],
        parts=found.parts,
        heads=found.heads,
        rest=found.rest,
        listed=rows or session.settings.rows,
        notes=tuple(notes),
    )


def lens_fitted(
    session: Session,
    *,
    name: str,
    kind: str,
    texts: Sequence[tuple[int, ...]],
    over: str,
    layers: tuple[int, int] | None,
    recipe: TuningRecipe | Derivative,
    command: str,
    force: bool,
) -> Steps[LensFitted]:
    """Fit a lens on texts, measure it on those that are held out, and save it."""
    from sessions.lenses.fitted import FittedLens, check_fittable
    from sessions.lenses.jacobians import jacobians
    from sessions.lenses.quality import measured_on, split
    from sessions.lenses.tuning import TuningRecipe, tuned

    opened, last = session.opened(), session.opened().anatomy.n_layers - 1
    chosen = [layer for layer in range_of(session, layers) or range(EMBEDDINGS, last) if layer != last]
    if not chosen:
        raise UsageError(f"the last layer, {last}, is read as it is", f"choose layers below it: --layers 0-{last - 1}")
    check_fittable(opened.anatomy, chosen)
    parts = split(texts)
    biases: dict[int, Tensor] = {}
    if isinstance(recipe, TuningRecipe):
        trained = yield from tuned(opened, parts.fitted, chosen, recipe, session.cancel)
        maps = {layer: matrix for layer, (matrix, _) in trained.items()}
        biases = {layer: bias for layer, (_, bias) in trained.items()}
        count = len([text for text in parts.fitted if len(text) > 1])
        tokens = recipe.steps * recipe.batch
    else:
        maps, count, tokens = yield from jacobians(opened, parts.fitted, chosen, recipe, session.cancel)
    about = LensAbout(
        kind=kind,
        over=over,
        texts=count,
        tokens=tokens,
        held_out=0,
        recipe=str(recipe),
        sha256=sha256(repr([list(ids) for ids in texts]).encode()).hexdigest(),
        under=session.state_key(),
    )
    translations = FittedLens(about, maps, biases).translations()
    held_out, quality = yield from measured_on(opened, parts.held_out, translations, session.cancel)
    lens = FittedLens(structs.replace(about, held_out=held_out, quality=quality), maps, biases)
    path = session.keep(Key("lens", name), lens, command, force=force)
    return LensFitted(name=name, model=opened.info.name, layers=lens.layers, about=lens.about, path=str(path))


def lens_shown(session: Session, *, name: str, force: bool) -> LensFitted:
    """A saved lens: how it was fitted, and how well."""
    lens, notes = session.saved.read_lens(name, force=force)
    path = str(session.store.path("lens", name))
    return LensFitted(name=name, model=lens.model, layers=lens.layers, about=lens.about, path=path, notes=notes)
