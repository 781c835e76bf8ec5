"""A series of rounds, each trained without the recruits of those before it: the next round, and where to resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sessions.errors import ArtifactError
from sessions.model.units import Unit
from sessions.training.findings import Round, together
from sessions.training.round import Rounds
from sessions.training.training import RoundRequest, is_of


@dataclass(frozen=True)
class Series:
    """So many rounds called NAME-1, NAME-2, …; `first` is what the first of them is to be."""

    rounds: Rounds
    first: RoundRequest
    name: str
    count: int

    def following(self, finished: Sequence[Round]) -> RoundRequest:
        """The round that comes after those there are: without their recruits."""
        job = replace(self.first, name=f"{self.name}-{len(finished) + 1}")
        if not finished:
            return job
        suppressed = without_recruits(self.first.suppressed, self.rounds, finished[-1], self.first.top)
        return replace(job, suppressed=suppressed, after=finished[-1].name)

    def so_far(self) -> tuple[list[Round], bool]:
        """The rounds that have been trained already just so: one that was killed goes on behind them. With `force`
        these are only those before one that was begun; otherwise all are trained anew.

        The flag says that some later round was begun in another series, and is to be forgotten.

        Raises:
            ArtifactError: there are rounds of that name of another training, and they are not to be replaced.
        """
        first, name = self.first, self.name
        begun = max(
            (number for number in range(1, self.count + 1) if self.rounds.is_begun(f"{name}-{number}")), default=0
        )
        last = self.count if not first.force else 0 if first.anew else begun - 1
        finished: list[Round] = []
        while len(finished) < last:
            done = _done(self.rounds, self.following(finished))
            if done is None:
                break
            finished.append(done)
            if done.outcome.stopped:
                break
        stale = begun > len(finished) + 1
        if stale and not (first.force or first.anew):
            raise ArtifactError(
                f"round '{name}-{begun}' was begun in another series and not finished",
                "choose another name with --as, or begin again with --anew",
            )
        return finished, stale


def without_recruits(suppressed: tuple[Unit, ...], rounds: Rounds, earlier: Round, count: int) -> tuple[Unit, ...]:
    """What is suppressed, what the earlier round suppressed, and its strongest recruits."""
    return together(suppressed, earlier.suppressed, rounds.recruits(earlier.name).strongest(count))


def _done(rounds: Rounds, job: RoundRequest) -> Round | None:
    """The round, where it has been trained already just so; None where it is to be trained.

    Raises:
        ArtifactError: there is one of that name, of another training, and it is not to be replaced.
    """
    if job.name not in rounds.names():
        return None
    trained = rounds.load(job.name)
    if is_of(job, trained):
        return trained
    if job.force:
        return None
    raise ArtifactError(
        f"round '{job.name}' exists already, from another training",
        "choose another name with --as, or replace it with --force",
    )
