"""Activations moved between a prompt and the same prompt with noise on a subject: `trace`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sessions.events import Steps, with_partials
from sessions.model.info import Token
from sessions.procedures.circuits import range_of, tokens_after
from sessions.procedures.patching import NamedCells, PatchScope, limits_of, positions_in, tokens_at
from sessions.results import CausalTrace, PatchProgress
from sessions.session import Session


@dataclass(frozen=True)
class Noise:
    """Noise on a subject, in standard deviations of the token embeddings; how often it is drawn, from which seed."""

    subject: str
    nth: int | None = None
    deviations: float = 3.0
    draws: int = 10
    seed: int | None = None


def traced(
    session: Session, noise: Noise, scope: PatchScope, target: str | None, window: int | None
) -> Steps[CausalTrace]:
    """Trace a token through the session's prompt; the result so far is shown while it grows."""
    from sessions.model.locate_word import span
    from sessions.patching.grids import Grid, plan
    from sessions.patching.tracing import WINDOW, trace

    opened, encoded = session.opened(), session.encoded()
    first, last = span(encoded, noise.subject, noise.nth)
    token, notes = _traced_token(session, target)
    layers = range_of(session, scope.layers) or range(opened.anatomy.n_layers)
    at = scope.at or (first, len(encoded.ids) - 1)
    positions = positions_in([encoded], len(encoded.ids), at)
    wide = window or (1 if scope.site.startswith("resid") else WINDOW)
    assert scope.site != "units", "states are traced"
    chosen = plan(opened, scope.site, layers, positions, window=wide)
    grid = Grid(noise.draws, len(chosen.cells))
    named = NamedCells(chosen, tokens_at([encoded], positions))

    def result(values: Sequence[float], final: bool) -> CausalTrace:
        intervals = grid.mean_intervals(named.order(values), session.settings.rng) if final else ()
        shown = named.map(values)
        assert shown is not None
        return CausalTrace(
            site=scope.site,
            subject="".join(encoded.tokens[first : last + 1]),
            span=(first, last),
            noise=noise.deviations,
            seeds=noise.draws,
            window=wide,
            token=token,
            clean=float(grid.other[0]),
            corrupt=float(grid.base.nanmean()),
            map=shown,
            strongest=named.strongest(values, intervals),
            listed=scope.listed,
            so_far=None if final else PatchProgress(grid.done, grid.values.numel()),
            notes=(*notes, *limits_of(session, chosen)),
        )

    def so_far() -> CausalTrace | None:
        return result(grid.means().tolist(), final=False) if grid.done else None

    steps = trace(
        opened,
        encoded.ids,
        token,
        range(first, last + 1),
        chosen,
        grid,
        noise=noise.deviations,
        seed=session.settings.rng if noise.seed is None else noise.seed,
        batch=scope.batch,
        cancel=session.cancel,
    )
    yield from with_partials(steps, so_far)
    return result(grid.means().tolist(), final=True)


def _traced_token(session: Session, target: str | None) -> tuple[Token, list[str]]:
    """The token whose probability is traced, the likeliest one by default, and remarks on it."""
    from sessions.model.distribution import next_logits
    from sessions.model.tokens import token_text

    if target is not None:
        tokens, notes = tokens_after(session, target, whole=False)
        return tokens[0], notes
    opened = session.opened()
    best = int(next_logits(opened, session.encoded().ids, session.cancel).argmax())
    return Token(best, token_text(opened.tokenizer, best)), []
