"""One adapter out of several: `ensemble`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import structs

from commands.choices import OneOf
from commands.edits import FAMILY
from commands.names import AdapterName, Name
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import Real, Whole, Word, number_in, shortest
from sessions.adapters.combinations import COMBINATIONS, DENSITY, drops
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.loaded_adapters import LoadedAdapter, loaded_adapters, put_on, row, shelf_of, taken_in
from sessions.results import Ensembled
from sessions.session import Session


class WeightedAdapter(Word):
    """An adapter and its weight: `fr=0.4`."""

    name = "weighted adapter"
    shape = "NAME=WEIGHT"

    def read(self, text: str) -> tuple[str, float]:
        name, equals, weight = text.partition("=")
        if not equals:
            raise UsageError(f"adapter '{text}' has no weight", f"for example: {name or 'fr'}=0.4")
        value = number_in(weight)
        if not math.isfinite(value):
            raise UsageError(f"invalid weight '{weight}' for adapter '{name}'", f"a number: {name}=0.4", len(name) + 1)
        return Name().read(name), value

    def said(self, value: tuple[str, float]) -> str:
        return f"{value[0]}={shortest(value[1])}"

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [(f"{name}=1", about) for name, about in AdapterName().completions(session, incomplete)]


@verb(
    "ensemble",
    family=FAMILY,
    synonyms=("combine", "blend", "mix", "average adapters"),
    needs=("model",),
    example=("ensemble fr=0.6 es=0.4 --as both", "ensemble fr=1 es=1 --combination ties --density 0.3 --only"),
)
class CombineAdapters(Request, frozen=True):
    """Combine weighted adapters into one, and load that in their place.

    A weight of 1 means as trained, whatever weight the adapter is on at. cat is the exact weighted sum; its rank is
    the sum of the ranks. svd is the closest to that sum of a lower rank. linear adds up the factors, and needs
    equal ranks. The others are PEFT's methods against interference between adapters. The result reports how far it
    is from the weighted sum.

    Members that are on are turned off. Any other adapter stays on and adds to the result, unless --only is given.
    evaluate compares several ensembles: evaluate FILE --arms fr*0.2+es*0.8,fr+es.
    """

    members: Annotated[
        tuple[tuple[str, float], ...],
        Arg(WeightedAdapter(), "kept adapters, each with its weight", metavar="NAME=WEIGHT…", many=True),
    ] = ()
    combination: Annotated[
        str,
        Opt(
            OneOf("combination", COMBINATIONS),
            "cat, svd, linear, ties, dare_linear, dare_ties or magnitude_prune; the last four also with _svd",
            metavar="WAY",
        ),
    ] = "cat"
    rank: Annotated[int | None, Opt(Whole(), "rank of an svd result (default: the largest of the members)")] = None
    density: Annotated[
        float | None, Opt(Real(1), f"share of the numbers kept, where some are dropped (default {DENSITY:g})")
    ] = None
    only: Annotated[bool, Flag("turn off every other adapter too, not its members alone")] = False
    name: Annotated[
        str | None, Opt(Name(), "the name to keep it under (default: ensemble-1, ensemble-2, …)", flag="--as")
    ] = None
    force: Annotated[bool, Flag("replace an adapter of that name; combine adapters of another model")] = False

    def __post_init__(self) -> None:
        if not self.members:
            raise UsageError("an ensemble needs adapters with their weights", "for example: ensemble fr=0.6 es=0.4")
        names = [name for name, _ in self.members]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"adapter '{twice}' is named twice", "give it one weight")
        if self.rank is not None and not self.combination.endswith("svd"):
            raise UsageError(f"--rank does not apply to {self.combination}", "its rank follows from the members")
        if self.density is not None and not drops(self.combination):
            raise UsageError(f"--density does not apply to {self.combination}", "that combination keeps all numbers")

    def run(self, session: Session) -> Steps[Ensembled]:
        from sessions.adapters.adapter_store import AdapterAbout
        from sessions.adapters.ensembling import How, ensemble, read_members
        from sessions.edits.adapters import check_fit

        opened, shelf = session.opened(), shelf_of(session)
        info, there, leaving = opened.info, loaded_adapters(session), self._leaving(session)
        name, density = self.name or shelf.free("ensemble"), self.density or DENSITY
        line = structs.replace(self, name=name, density=density if drops(self.combination) else None).line()
        with taken_in(session, name, self.force):
            members, notes = yield from read_members(self.members, shelf, info, force=self.force)
            for member in members:
                check_fit(member.contents, opened.model, member.name)
            made = yield from ensemble(members, How(self.combination, self.rank, density, session.settings.rng))
            about = AdapterAbout(name=name, model=info.name, fingerprint=info.fingerprint, command=line)
            shelf.write(made.config, made.weights, about, force=self.force)
            with session.edits().without([loaded.number for loaded in leaving.values() if loaded.on]):
                shown = yield from put_on(session, name, 1.0, line, self.force, notes)
        staying = [name for name in there if name not in leaving and there[name].on]
        return Ensembled(
            row=row(session, name),
            members=self.members,
            combination=self.combination,
            off=made.off,
            taken_off=tuple(name for name, loaded in leaving.items() if loaded.on),
            notes=tuple(dict.fromkeys((*notes, *self._remarks(session, leaving, staying), *shown.notes))),
        )

    def _leaving(self, session: Session) -> dict[str, LoadedAdapter]:
        """The loaded adapters that the ensemble stands for."""
        there = loaded_adapters(session)
        members = [name for name, _ in self.members if name in there]
        leaving = {name: there[name] for name in (*members, *(there if self.only else ()))}
        merged = next((name for name, loaded in leaving.items() if loaded.merge_on), None)
        if merged is not None:
            raise UsageError(
                f"adapter '{merged}' is merged", f"take it out of the weights first: adapter unmerge {merged}"
            )
        return leaving

    def _remarks(self, session: Session, left: dict[str, LoadedAdapter], staying: Sequence[str]) -> Iterator[str]:
        """Remarks on what was taken off for it, and on what stays on beside it."""
        from sessions.edits.commuting import scaled_by

        scales = [scaled_by(session.edits(), loaded.adapter) for loaded in left.values() if loaded.on]
        for dora in dict.fromkeys(scale.name for scale in scales if scale is not None):
            yield f"'{dora}' is a DoRA on the same projections: it scaled adapters below it, and not the ensemble"
        if staying:
            yield f"still on and added to it: {', '.join(staying)}; --only turns them off"
        if drops(self.combination) and self.density is None:
            yield f"{DENSITY:g} of its numbers are kept; --density sets the share"
