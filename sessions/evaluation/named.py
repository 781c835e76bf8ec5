"""Adapters as words name them, in the arms of an evaluation and in a sweep.

fr*0.4              a kept adapter, that many times as strong as it was trained
round:crab-1*0.5    the adapter of a round of training, half as strong
depths:crab         the rounds of a series, the first first
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sessions.adapters.adapter_store import AdapterStore
from sessions.adapters.folders import read_folder
from sessions.artifacts import check_model
from sessions.cancel import Cancel
from sessions.edits.adapters import Adapter
from sessions.edits.edit import Edit
from sessions.edits.ledger import Ledger
from sessions.errors import ArtifactError, UsageError
from sessions.model.opening import OpenModel
from sessions.model.pieces import WorkingModel
from sessions.store import Store
from sessions.training.findings import Round, series_of
from sessions.training.round import Rounds, called

ROUND, DEPTHS = "round:", "depths:"


@dataclass(frozen=True)
class ArmSources:
    """What arms are made of: the open model, the edits in its weights, and what is saved.

    `read_edit` reads a saved edit by its name; inside the block that `unsuppressed` makes no neuron is held at zero.
    """

    opened: OpenModel
    ledger: Ledger
    store: Store
    read_edit: Callable[[str], Edit]
    unsuppressed: Callable[[], AbstractContextManager[None]]

    @property
    def shelf(self) -> AdapterStore:
        """The adapters that are kept."""
        return AdapterStore(self.store.home)

    def working(self, cancel: Cancel | None = None) -> WorkingModel:
        """The model in which arms hold."""
        return WorkingModel(self.opened, cancel, self.unsuppressed, self.ledger.lifted)


def weighted(part: str, example: str) -> tuple[str, float]:
    """A part's name, and the weight behind its star; 1 where there is none.

    Raises:
        UsageError: the weight is no number.
    """
    name, star, number = part.partition("*")
    try:
        weight = float(number) if star else 1.0
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise UsageError(f"invalid weight '{number}' for {name}", f"for example: {example}")
    return name, weight


def kept_adapter(sources: ArmSources, name: str, weight: float) -> Adapter:
    """A kept adapter at a strength.

    Raises:
        ArtifactError: there is none of that name, it is damaged, or of another model.
    """
    kept, info = sources.shelf.read(name), sources.opened.info
    check_model(kept.about.fingerprint, kept.about.model, info.fingerprint, info.name)
    return Adapter(name, weight, kept.contents.sha256, kept.contents)


def round_adapter(sources: ArmSources, word: str, weight: float) -> tuple[Round, Adapter]:
    """A round, and its adapter at a strength.

    Raises:
        ArtifactError: there is no such round, it is damaged, of another model, or comes without an adapter.
    """
    rounds, info = Rounds(sources.store), sources.opened.info
    trained = rounds.load(called(word))
    check_model(trained.fingerprint, trained.model, info.fingerprint, info.name)
    if not rounds.adapter(trained.name).is_dir():
        raise ArtifactError(f"round '{trained.name}' comes without an adapter", "rounds shows those trained here")
    contents = read_folder(rounds.adapter(trained.name))
    return trained, Adapter(f"round-{trained.name}", weight, contents.sha256, contents)


def rounds_of_series(sources: ArmSources, series: str) -> list[str]:
    """The names of the rounds of a series, the first first.

    Raises:
        UsageError: there is none.
    """
    known = Rounds(sources.store).of_model(sources.opened.info.fingerprint)
    names = [one.name for one in known if one.name != series and series_of(one.name) == series]
    if not names:
        raise UsageError(f"there is no series of rounds '{series}'", "rounds shows what there is")
    return names
