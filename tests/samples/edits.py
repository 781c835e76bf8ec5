"""Samples of changes of weights, and of what they are worth."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions import results
from sessions.edits.findings import EditedMatrix
from sessions.evaluation.scores import Score
from sessions.events import Value
from sessions.rewriting.rewritten import AtAlpha
from sessions.surgery.cuts import LayerCut
from tests.filling import filled
from tests.samples.interventions import before_and_after


def samples(text: str) -> Iterator[Value]:
    row = filled(results.EditRow, text, name=text or "a")
    yield filled(results.EditsShown, text, rows=(row, structs.replace(row, on=False, norm=None)))
    inspected = filled(results.EditInspected, text, total=40, apart=9.9e-7)
    yield inspected
    added = EditedMatrix(where=text, kind="added", dims=8, share=0.5, change=8.25)
    yield structs.replace(inspected, number=0, neurons=(), total=0, tokens=(), facts={}, matrices=(added,))
    alpha = filled(AtAlpha, text, alpha=93.5)
    alphas = alpha, structs.replace(alpha, alpha=1e6, perplexity=4.2e7, said=1250, repetition=None)
    rewritten = filled(results.Rewritten, text, rows=alphas, chosen=1)
    yield rewritten
    yield structs.replace(rewritten, apart=False, scale_up=None, bias=-2.5, brake=None, replies=(), collapsed=False)
    cut = filled(LayerCut, text)
    layers = cut, structs.replace(cut, captured=1e-9, apart=None)
    versions = filled(
        results.SubspaceCut, text, writers=("down", "attn_out"), layers=layers, arms=before_and_after(text)
    )
    yield versions
    yield structs.replace(versions, keeps=False, writers=("down",), at="", versions=(), arms=())
    adapter = filled(results.AdapterRow, text, parameters=41_943_040, error="")
    yield results.AdaptersListed(rows=(adapter, results.AdapterRow(name="broken", error=text)))
    base = filled(Score, text, name="base", tasks=1200, right=600, tokens=1e3, loss=40.0, perplexity=2.4e17, broken=())
    broken = structs.replace(base, name="broken", at=None, repetition=None, broken=(text, "nan"))
    yield filled(results.Evaluated, text, tasks=1200, scores=(base, broken))
    yield filled(results.Evaluated, text, scores=(broken,), languages=(), pairs=())
