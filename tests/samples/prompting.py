"""Samples of the conversation and of the session itself."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions import results
from sessions.events import Value
from sessions.interventions.arms import PartInForce
from sessions.model.info import Turn
from tests.filling import filled
from tests.samples.interventions import before_and_after


def samples(text: str) -> Iterator[Value]:
    arm = structs.replace(before_and_after(text)[0], fired=3, read=12)
    said = filled(results.Said, text, arm=arm, closing="</think>", exchanges=2, baseline="", notes=())
    yield said
    parts = PartInForce("always", 33, 12), PartInForce("answer at positions 3-7", 12, 0, text, False)
    yield structs.replace(said, arm=structs.replace(arm, fired=9, parts=parts), baseline=text)
    turns = Turn("user", text), Turn("assistant", text, text, text), Turn(text, "")
    yield results.HistoryShown(turns=turns, exchanges=12, system=text, thinking=True)
    yield filled(results.SettingsShown, text)
    yield filled(results.SettingsShown, text, changed="")
    yield filled(results.Help, text)
    yield results.Help(verb="ablate", text=text, example=text)  # of a journal from before help came in pieces
