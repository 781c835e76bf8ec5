"""Quiet neurons in the model's own replies, and what they push."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sessions.atlas.findings import QuietRow
from sessions.events import Progress, Steps
from sessions.model.units import Unit
from sessions.procedures.generating import decoded
from sessions.procedures.thoughts import closing
from sessions.session import Session
from sessions.texts.prompt_sources import prompts_of

if TYPE_CHECKING:
    from sessions.atlas.quiet import Levels, QuietNeuron


def over_replies_to(
    session: Session, regions: tuple[str, str], prompts: Path | None, marker: str | None
) -> Steps[tuple[str, tuple[Levels, Levels]]]:
    """What the model writes after the prompts, or after the session's, and the levels in two regions of it."""
    from sessions.atlas.quiet import over_replies

    yield Progress("writing replies")
    opened = session.opened()
    if prompts is None:
        prompts_read, over = [session.encoded()], "the prompt's reply"
    else:
        prompts_read = [session.read(record.to_read()) for record in prompts_of(str(prompts))]
        over = f"the replies to {len(prompts_read):,} prompts"
    needed = "thought" in regions
    ends = marker or (closing(session) if needed else "")
    decoding = decoded(session, length=max(len(prompt.ids) for prompt in prompts_read))
    answers = yield from over_replies(opened, prompts_read, regions, decoding, ends, cancel=session.cancel)  # type: ignore[arg-type]
    return over, (answers[0], answers[1])


def quiet_rows(session: Session, quiet: list[QuietNeuron]) -> tuple[QuietRow, ...]:
    """Quiet neurons as rows, with the tokens that they push."""
    from sessions.directions.lens import pushed

    opened = session.opened()
    neurons = [Unit(row.layer, row.index) for row in quiet]
    pushes = pushed(opened.anatomy, opened.tokenizer, neurons)
    return tuple(
        QuietRow(
            neuron=neuron,
            largest=row.largest,
            mean=row.mean,
            silent=row.silent,
            silent_mean=row.silent_mean,
            ratio=row.ratio,
            up=up,
            down=down,
        )
        for neuron, row, (up, down) in zip(neurons, quiet, pushes, strict=True)
    )
