"""Finds the subspace that a surgery cuts: from versions of prompts, from a vector, or from tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sessions.cancel import Cancel
from sessions.directions.vector import Vector
from sessions.edits.edit import Edit, Projection
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel
from sessions.model.tokens import encode, ids_behind, token_text
from sessions.surgery.subspaces import (
    Pooled,
    States,
    Subspace,
    Versions,
    apart,
    of_tokens,
    of_vector,
    of_versions,
    states_of,
)
from sessions.texts.parallel import Parallel


@dataclass(frozen=True, eq=False)
class SubspaceSource:
    """The subspace of each layer, and `what` it is in words.

    If it comes from versions of prompts: these `versions`, `at` which position their states are taken, and the states
    `before` the surgery.
    """

    what: str
    subspaces: Mapping[int, Subspace]
    parallel: Parallel | None = None
    versions: Versions = ()
    at: Pooled = "mean"
    before: Mapping[int, States] | None = None

    def edit(self, cuts: Sequence[Projection], *, keeps: bool) -> Edit:
        """The edit of these cuts, with its facts."""
        first, last = min(self.subspaces), max(self.subspaces)
        where = f"L{first}" if first == last else f"L{first}-{last}"
        most = max(len(subspace.basis) for subspace in self.subspaces.values())
        facts = {"layers": f"{first}-{last}", "subspace": self.what, "dims": str(most)}
        if self.parallel is not None:
            facts |= {"versions": " ".join(self.parallel.versions), "at": self.at}
        done = "nothing kept but" if keeps else "cut"
        about = f"{where}: {done} {most} {'dim' if most == 1 else 'dims'} of {self.what}"
        return Edit("surgery", about, tuple(cuts), facts=facts)

    def apart(self, opened: OpenModel, *, cancel: Cancel | None = None) -> Steps[dict[int, tuple[float, float]]]:
        """The distance between the versions before the surgery and with the model's current weights, by layer."""
        if self.before is None:
            return {}
        layers = list(self.subspaces)
        now = yield from states_of(opened, self.versions, layers, self.at, label="reading them again", cancel=cancel)
        pairs = {layer: (apart(self.before[layer].pooled), apart(now[layer].pooled)) for layer in layers}
        return {
            layer: (was, is_now) for layer, (was, is_now) in pairs.items() if was is not None and is_now is not None
        }


def by_vector(opened: OpenModel, vector: Vector, name: str, layers: Sequence[int]) -> SubspaceSource:
    """The subspace of a vector's direction at each layer.

    Raises:
        UsageError, ModelError: the vector has no direction at a layer, or its width differs from the model's.
    """
    vector.check(opened.anatomy)
    return SubspaceSource(f"vector {name}", of_vector(vector, layers))


def by_tokens(opened: OpenModel, texts: Sequence[str], layers: Sequence[int]) -> SubspaceSource:
    """The subspace that raises some tokens, the same at every layer.

    Raises:
        UsageError: a text is several tokens.
    """
    shared = of_tokens(opened, [_one_token(opened, text) for text in texts])
    return SubspaceSource(f"what raises {', '.join(map(repr, texts))}", dict.fromkeys(layers, shared))


def by_versions(
    opened: OpenModel,
    parallel: Parallel,
    layers: Sequence[int],
    *,
    dims: int | None = None,
    at: Pooled = "mean",
    chat: bool = True,
    cancel: Cancel | None = None,
) -> Steps[SubspaceSource]:
    """The subspace of each layer in which versions of the same prompts differ most.

    Raises:
        UsageError: a text is too long, or the versions differ in fewer than `dims` dimensions.
    """
    versions = _read(opened, parallel, chat)
    before = yield from states_of(opened, versions, layers, at, cancel=cancel)
    subspaces = {layer: of_versions(before[layer], dims, layer) for layer in layers}
    what = f"what differs between {len(parallel.versions)} versions of {len(versions)} prompts of {parallel.source}"
    return SubspaceSource(what, subspaces, parallel, versions, at, before)


def _read(opened: OpenModel, parallel: Parallel, chat: bool) -> list[list[tuple[int, ...]]]:
    """The ids of every version of every prompt; errors name the line and the version."""
    prompts = []
    for line in parallel.lines:
        rows = []
        for version, text in zip(parallel.versions, line.texts, strict=True):
            try:
                ids = encode(opened.tokenizer, Prompt(text=text, chat=chat)).ids
                opened.anatomy.check_length(len(ids))
            except UsageError as error:
                where = f"{parallel.source}, line {line.number}, '{version}'"
                raise UsageError(f"{where}: {error.message}", error.hint) from error
            rows.append(ids)
        prompts.append(rows)
    return prompts


def _one_token(opened: OpenModel, text: str) -> int:
    ids = ids_behind(opened.tokenizer, text)
    if len(ids) != 1:
        pieces = " ".join(repr(token_text(opened.tokenizer, token)) for token in ids)
        raise UsageError(
            f"{text!r} is {len(ids)} tokens: {pieces}",
            "name single tokens, with their leading space where they have one",
        )
    return int(ids[0])
