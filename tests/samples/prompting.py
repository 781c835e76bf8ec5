"""Samples of the prompt, of the conversation, and of the session itself."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.events import State, Value
from sessions.interventions.arms import PartInForce
from sessions.model.info import Encoded, TokenChance, Turn
from sessions.results import (
    Distribution,
    Fingerprints,
    Forgotten,
    Help,
    HistoryShown,
    Info,
    Listed,
    PromptSet,
    Said,
    SettingsShown,
)
from tests.filling import filled
from tests.samples.interventions import bare_arm, before_and_after


def samples(text: str) -> Iterator[Value]:
    encoded = filled(Encoded, text)
    yield PromptSet(encoded=encoded)
    yield filled(PromptSet, text)
    chances = TokenChance(7, text, 0.6123, 18.21, 1), TokenChance(8, " Dallas", 2e-5, -3.5, 2)
    yield Distribution(encoded=encoded, chances=chances)
    arm, _ = before_and_after(text)
    said = filled(Said, text, arm=structs.replace(arm, fired=3, read=12), closing="</think>", exchanges=2)
    yield structs.replace(said, baseline="", notes=())
    yield structs.replace(said, arm=bare_arm(text), thought="", closing="", under="")
    parts = PartInForce("always", 33, 12), PartInForce("answer at positions 3-7", 12, 0, text, False)
    yield structs.replace(said, arm=structs.replace(arm, fired=9, read=12, parts=parts))
    turns = Turn("user", text), Turn("assistant", text, text, text), Turn(text, "")
    yield HistoryShown(turns=turns, exchanges=12, system=text, thinking=True)
    yield HistoryShown(turns=(), exchanges=0, system=None, thinking=None)
    yield Forgotten(exchanges=2, left=0)
    yield Forgotten(exchanges=0, left=0)
    yield filled(Info, text)
    yield Info(state=State(), model=None, settings={}, home="", versions={})
    yield filled(SettingsShown, text)
    yield filled(SettingsShown, text, changed="")
    yield filled(Help, text)
    yield Help(verb="ablate", text=text, example=text)  # of a journal from before help came in pieces
    yield Listed(rows=())
    yield filled(Listed, text)
    yield Fingerprints(model="", fingerprint="", weights="", unedited="", edits=(), files=())
    yield filled(Fingerprints, text)
