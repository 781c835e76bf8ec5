"""Results of the verbs that move activations between two runs: `patch` and `trace`."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from sessions.events import Value
from sessions.model.info import Token
from sessions.model.target import Target
from sessions.patching.patches import PatchedCell, PatchMap


class PatchProgress(Struct, frozen=True):
    """How many values of a grid are known, of how many."""

    done: int
    of: int


class Patched(Value, frozen=True, kw_only=True):
    """`patch`: the effect of moving activations of a site between the two prompts of a pair, over `pairs` pairs.

    `direction` is "denoise" (clean activations in the corrupt prompt) or "noise" (corrupt ones in the clean prompt).
    `clean` and `corrupt` are the mean target in the two prompts. Values are fractions of the way from the prompt that
    runs to the other one. `map` is None for single units, `together` the value with all of them patched at once.
    `strongest` are the cells by |value|, of which `listed` are to be shown. `given` are the options that named the
    pairs, `receiver` is the end of the paths where only these were patched, and `so_far` is None once all cells are
    known.
    """

    table: ClassVar[str] = "strongest"

    site: str
    direction: str
    pairs: int
    target: Target
    clean: float
    corrupt: float
    map: PatchMap | None
    strongest: tuple[PatchedCell, ...]
    listed: int
    cells: int
    together: float | None = None
    receiver: str = ""
    given: tuple[tuple[str, str | bool], ...] = ()
    so_far: PatchProgress | None = None


class CausalTrace(Value, frozen=True, kw_only=True):
    """`trace`: the probability of `token` with noise on the embeddings of `subject` and clean states restored.

    `clean` is its probability without noise, `corrupt` with noise alone, both as means over `seeds` draws of the noise,
    whose standard deviation is `noise` times that of the token embeddings. A cell restores `window` layers.
    """

    table: ClassVar[str] = "strongest"

    site: str
    subject: str
    span: tuple[int, int]
    noise: float
    seeds: int
    window: int
    token: Token
    clean: float
    corrupt: float
    map: PatchMap
    strongest: tuple[PatchedCell, ...]
    listed: int
    so_far: PatchProgress | None = None
