"""One adapter out of several: `ensemble`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from commands.choices import OneOf
from commands.edits import FAMILY
from commands.loading import AdapterName, loaded_adapters, put_on, row, shelf_of, taken_in
from commands.names import Name
from commands.verb import argument, option, verb
from commands.words import Real, Whole, Word, number_in
from sessions.adapters.combinations import COMBINATIONS, DENSITY
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.lines import line_of
from sessions.results import Ensembled
from sessions.session import Session
from sessions.store import check_model

if TYPE_CHECKING:
    from sessions.adapters.ensembling import How, Member


class Share(Word):
    """An adapter and its weight: `fr=0.4`."""

    name = "weighted adapter"
    shape = "NAME=WEIGHT"

    def read(self, text: str) -> tuple[str, float]:
        name, equals, weight = text.partition("=")
        if not equals:
            raise UsageError(f"'{text}' gives no weight", f"for example: {name or 'fr'}=0.4")
        value = number_in(weight)
        if not math.isfinite(value):
            raise UsageError(f"'{weight}' is no weight of adapter '{name}'", f"a number: {name}=0.4", len(name) + 1)
        return Name().read(name), value

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [(f"{name}=1", about) for name, about in AdapterName().completions(session, incomplete)]


@verb("ensemble", family=FAMILY, example="ensemble fr=0.6 es=0.4 --as both")
@argument(
    "members", metavar="NAME=WEIGHT…", help="adapters that are kept, each with its weight", type=Share(), nargs=-1
)
@option(
    "--combination",
    metavar="WAY",
    type=OneOf("combination", COMBINATIONS),
    default="cat",
    help="cat, svd, linear, ties, dare_linear, dare_ties or magnitude_prune, the last four also with _svd",
)
@option("--rank", type=Whole(), help="of an svd: the rank of what comes out (default: their largest)")
@option("--density", type=Real(1), help=f"of those that drop numbers: the share that stays (default {DENSITY:g})")
@option("--only", is_flag=True, help="take off every other adapter too, not its members alone")
@option("--as", "name", type=Name(), help="the name to keep it under (default: ensemble-1, ensemble-2, …)")
@option("--force", is_flag=True, help="replace what has that name; even if they were made on another model")
def ensemble(
    session: Session,
    members: tuple[tuple[str, float], ...],
    combination: str,
    rank: int | None,
    density: float | None,
    only: bool,
    name: str | None,
    force: bool,
) -> Steps[Ensembled]:
    """Combine adapters, each with its weight, into one, and put that on in their place.

    The weights are how many times as strong as it was trained each comes in, whatever it is on at. cat is the exact
    weighted sum, of the sum of their ranks; svd comes closest to it with less rank; linear adds up the factors, and
    needs equal ranks. The others are PEFT's ways of keeping adapters from disturbing each other. How far the result
    is from the weighted sum is shown. Members that are on are turned off; any other adapter stays on, and adds to it,
    unless --only is given. To hold several ensembles against each other, see evaluate: --arms fr*0.2+es*0.8,fr+es.
    """
    from sessions.edits.commuting import scaled_by

    if not members:
        raise UsageError("an ensemble needs adapters with their weights", "for example: ensemble fr=0.6 es=0.4")
    session.opened()
    names = [each for each, _ in members]
    twice = next((each for each in names if names.count(each) > 1), None)
    if twice is not None:
        raise UsageError(f"adapter '{twice}' is named twice", "give it one weight")
    there = loaded_adapters(session)
    leaving = [*names, *(each for each in there if each not in names)] if only else names
    merged = next((each for each in leaving if each in there and there[each].merge_on), None)
    if merged is not None:
        raise UsageError(f"adapter '{merged}' is merged", f"take it out of the weights first: adapter unmerge {merged}")
    how, as_name = _how(session, combination, rank, density), name or shelf_of(session).free("ensemble")
    said = (f"{each}={weight:g}" for each, weight in members)
    options = {"--combination": combination, **_options(how), "--only": only, "--as": as_name}
    command = line_of(["ensemble", *said], options)
    with taken_in(session, as_name, force):
        read, notes = yield from _read(session, members, force)
        off = yield from _combined(session, read, how, as_name, command, force)
        on = [there[each].number for each in leaving if each in there and there[each].on]
        with _off(session, on):
            shown = yield from put_on(session, as_name, 1.0, command, force, notes)
    scales = (scaled_by(session.edits(), there[each].adapter) for each in leaving if each in there and there[each].on)
    for dora in dict.fromkeys(each.name for each in scales if each is not None):
        notes.append(f"'{dora}' is a DoRA on the same projections: it scaled what lay below it, and the sum lies above")
    adding = [each for each in there if each not in leaving and there[each].on]
    if adding:
        notes.append(f"still on, and added to it: {', '.join(adding)}; --only takes them off")
    if how.drops and density is None:
        notes.append(f"of its numbers {DENSITY:g} stay: --density says how many")
    return Ensembled(
        row=row(session, as_name),
        members=members,
        combination=combination,
        off=off,
        taken_off=tuple(each for each in leaving if each in there and there[each].on),
        notes=tuple(dict.fromkeys((*notes, *shown.notes))),
    )


def _how(session: Session, combination: str, rank: int | None, density: float | None) -> How:
    from sessions.adapters.ensembling import How

    how = How(combination, rank, DENSITY if density is None else density, session.settings.rng)
    if rank is not None and not combination.endswith("svd"):
        raise UsageError(f"--rank says nothing to {combination}", "its rank follows from those of the members")
    if density is not None and not how.drops:
        raise UsageError(f"--density says nothing to {combination}", "it keeps all numbers")
    return how


def _options(how: How) -> dict[str, object]:
    return {"--rank": how.rank, "--density": f"{how.density:g}" if how.drops else None}


def _read(session: Session, members: Sequence[tuple[str, float]], force: bool) -> Steps[tuple[list[Member], list[str]]]:
    """The members with their numbers, and remarks on those that were made on another model."""
    from sessions.adapters.ensembling import Member
    from sessions.model.background import Meter, in_background

    info, shelf = session.opened().info, shelf_of(session)

    def read(meter: Meter) -> tuple[list[Member], list[str]]:
        found, notes = [], []
        for name, weight in members:
            kept = shelf.read(name, meter)
            if kept.about.fingerprint:
                notes.append(check_model(kept.about.fingerprint, kept.about.model, info.fingerprint, info.name, force))
            found.append(Member(name, weight, kept.contents))
        return found, [note for note in notes if note]

    return (yield from in_background(read, "reading the adapters"))


def _combined(
    session: Session, members: Sequence[Member], how: How, name: str, command: str, force: bool
) -> Steps[float]:
    """Combine and keep them. Returns how far the result is from the weighted sum."""
    from sessions.adapters.ensembling import ensemble as combined
    from sessions.adapters.shelf import About
    from sessions.edits.adapters import check_fit

    for member in members:
        check_fit(member.contents, session.opened().model, member.name)
    made = yield from combined(members, how)
    info = session.opened().info
    about = About(name=name, model=info.name, fingerprint=info.fingerprint, command=command)
    shelf_of(session).write(made.config, made.weights, about, force=force)
    return made.off


@contextmanager
def _off(session: Session, numbers: Sequence[int]) -> Iterator[None]:
    """Take these edits off; they are put back where the block fails."""
    ledger = session.edits()
    turned: list[int] = []
    try:
        for number in numbers:
            ledger.turn(number, False)
            turned.append(number)
        yield
    except BaseException:
        for number in turned:
            ledger.turn(number, True)
        raise
