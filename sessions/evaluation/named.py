"""Adapters as words name them, in the arms of an evaluation and in a sweep.

fr*0.4              a kept adapter, that many times as strong as it was trained
round:crab-1*0.5    the adapter of a round of training, half as strong
depths:crab         the rounds of a series, the first first
"""

from __future__ import annotations

import math

from sessions.adapters.folders import read_folder
from sessions.adapters.shelf import Shelf
from sessions.edits.adapters import Adapter
from sessions.errors import ArtifactError, UsageError
from sessions.session import Session
from sessions.store import check_model
from sessions.training.findings import Round, series_of
from sessions.training.round import Rounds, called

ROUND, DEPTHS = "round:", "depths:"


def weighted(part: str, example: str) -> tuple[str, float]:
    """A part's name, and the weight behind its star; 1 where there is none.

    Raises:
        UsageError: the weight is no number.
    """
    name, star, said = part.partition("*")
    try:
        weight = float(said) if star else 1.0
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise UsageError(f"'{said}' is no weight of {name}", f"for example: {example}")
    return name, weight


def kept_adapter(session: Session, name: str, weight: float) -> Adapter:
    """A kept adapter at a strength.

    Raises:
        ArtifactError: there is none of that name, it is damaged, or of another model.
    """
    kept, info = Shelf(session.home).read(name), session.opened().info
    check_model(kept.about.fingerprint, kept.about.model, info.fingerprint, info.name)
    return Adapter(name, weight, kept.contents.sha256, kept.contents)


def round_adapter(session: Session, word: str, weight: float) -> tuple[Round, Adapter]:
    """A round, and its adapter at a strength.

    Raises:
        ArtifactError: there is no such round, it is damaged, of another model, or comes without an adapter.
    """
    rounds, info = Rounds(session.store), session.opened().info
    found = rounds.load(called(word))
    check_model(found.fingerprint, found.model, info.fingerprint, info.name)
    if not rounds.adapter(found.name).is_dir():
        raise ArtifactError(f"round '{found.name}' comes without an adapter", "rounds shows those trained here")
    contents = read_folder(rounds.adapter(found.name))
    return found, Adapter(f"round-{found.name}", weight, contents.sha256, contents)


def rounds_of_series(session: Session, series: str) -> list[str]:
    """The names of the rounds of a series, the first first.

    Raises:
        UsageError: there is none.
    """
    known = Rounds(session.store).of_model(session.opened().info.fingerprint)
    names = [each.name for each in known if each.name != series and series_of(each.name) == series]
    if not names:
        raise UsageError(f"there is no series of rounds '{series}'", "rounds shows what there is")
    return names
