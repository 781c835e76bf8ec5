"""Samples of `adapter` and `ensemble`."""

from __future__ import annotations

from collections.abc import Iterator

from sessions.events import Value
from sessions.results import AdapterRow, AdapterShown, AdaptersListed


def samples(text: str) -> Iterator[Value]:
    kept = AdapterRow(
        name="fr", rank=16, projections=224, targets=("down_proj", text), parameters=41_943_040, base=text, number=2,
        state="merged", weight=0.4,
    )  # fmt: skip
    yield AdaptersListed(rows=(kept, AdapterRow(name="broken", error=f"{text} has no adapter_model.safetensors")))
    yield AdaptersListed(rows=())
    yield AdapterShown(done="merged", row=kept, changed=3, positions=388, path=text, apart=0.05)
