"""Samples of `adapter` and `ensemble`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.events import Value
from sessions.results import AdapterRow, AdapterShown, AdaptersListed, Ensembled


def samples(text: str) -> Iterator[Value]:
    kept = AdapterRow(
        name="fr", rank=16, projections=224, targets=("down_proj", text), parameters=41_943_040, base=text, number=2,
        state="merged", weight=0.4, created="2026-11-21T10:00:00Z",
    )  # fmt: skip
    yield AdaptersListed(rows=(kept, AdapterRow(name="broken", error=f"{text} has no adapter_model.safetensors")))
    yield AdaptersListed(rows=())
    yield AdapterShown(done="merged", row=kept, changed=3, positions=388, path=text, apart=0.05)
    yield Ensembled(
        row=structs.replace(kept, name="both", weight=1.0), members=(("fr", 0.6), (text, -0.4)), combination="linear",
        off=0.571, taken_off=("fr", text),
    )  # fmt: skip
