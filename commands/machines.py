"""Where the pieces of a verb are computed: the options of verbs whose work many machines can share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from commands.request import Needs, Opt, Options
from commands.words import Whole, Word
from sessions.errors import UsageError
from sessions.events import Steps

if TYPE_CHECKING:
    from sessions.model.pieces import Engine
    from sessions.session import Session

_EXAMPLE = "--on ray, or --on ray:10.0.0.1:6379"


class ClusterWord(Word):
    """A cluster: `ray` for one on this machine, `ray:ADDRESS` for one that is there."""

    name = "cluster"
    shape = "ray[:ADDRESS]"

    def read(self, text: str) -> str:
        engine, colon, address = text.partition(":")
        if engine != "ray" or (colon and not address.strip()):
            raise UsageError(f"'{text}' is not a cluster", _EXAMPLE)
        return text

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("ray", "workers on this machine"), ("ray:auto", "the cluster that this machine is part of")]


class Machines(Options, frozen=True):
    """Where the work is done."""

    group = "Many machines"

    on: Annotated[str | None, Opt(ClusterWord(), "compute on a Ray cluster (ray: on this machine)")] = None
    workers: Annotated[
        int | None, Opt(Whole(1, 100_000), "workers at most (default: one a GPU or, for a model on the CPU, a CPU)")
    ] = None

    def engine(self, session: Session) -> Steps[Engine]:
        """What computes the pieces of the verb."""
        from sessions.procedures.machines import engine_of

        return (yield from engine_of(session, self.on, self.workers))

    def cluster(self, session: Session) -> Steps[Engine | None]:
        """What computes the pieces of the verb on other machines; None for none."""
        from sessions.procedures.machines import cluster_of

        return (yield from cluster_of(session, self.on, self.workers))


#: The rule of verbs that have these options.
WORKERS_ON = Needs(("workers",), "on", "{some} is for a cluster", "for example: --on ray {some} 4")
