"""Samples of `surgery`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.events import Value
from sessions.results import ProblemsWritten, SubspaceCut
from sessions.surgery.cuts import LayerCut
from tests.samples.interventions import arms


def samples(text: str) -> Iterator[Value]:
    """Subspaces of versions, cut out of MLPs and attentions, and of tokens; and problems that were written."""
    cut = LayerCut(layer=9, dims=10, captured=0.9, differing=1200, down=0.137, attention=1e-7, apart=(2.08, 1234.5))
    of_versions = SubspaceCut(
        name="surgery-1", what=text, keeps=False, writers=("down", "attn_out"), at="mean", versions=("en", text) * 4,
        prompts=12, layers=(cut, structs.replace(cut, layer=10, captured=1e-9, apart=None)), arms=arms(text),
        path=f"/home/u/{text}", notes=(text,),
    )  # fmt: skip
    yield of_versions
    yield structs.replace(of_versions, keeps=True, writers=("down",), at="", versions=(), arms=())
    problems = ProblemsWritten(
        path=text, seed=7, languages=("zh", "en"), tasks=True, lines=200, kinds={"modular": 60, text: 40},
        first={"zh": text, "en": text, "es": text}, answer=text,
    )  # fmt: skip
    yield problems
    yield structs.replace(problems, tasks=False, lines=1)
