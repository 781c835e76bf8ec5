"""On an accelerator an atlas is the CPU's, and the host waits once a batch."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec import structs

from sessions.atlas import building as making
from sessions.atlas.atlas import Atlas
from sessions.atlas.building import AtlasPlan, Building, build, plan
from sessions.errors import ModelError
from sessions.events import finished
from sessions.model.opening import OpenModel
from sessions.texts.corpus import Corpus
from tests.accelerator.placements import CPU, NARROW, ONE, TWO, Placement, machine, opened
from tests.families import tiny, tiny_tokenizer

WORDS = ["the", "cat", "sat", "on", "a", "mat", "in", "end", "there", "was", "hen", "and", "dog", "who", "ran", "thin"]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Forty documents of one to nineteen words, two of them with a special token inside."""
    drawn = np.random.default_rng(0)
    texts = [" ".join(drawn.choice(WORDS, 1 + 7 * n % 19)) for n in range(40)]
    texts[3], texts[30] = "the </s> thin man", "a </s> dog"
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    return Corpus(str(path))


def saved(family: str, folder: Path) -> Path:
    tiny(family, biases=True).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def planned(model: OpenModel, corpus: Corpus, memory: int | None = None) -> AtlasPlan:
    return plan(model, corpus, finished(corpus.surveyed()), length=16, k=3, batch=64, memory=memory)


def built(model: OpenModel, corpus: Corpus) -> Atlas:
    return finished(build(Building(model, planned(model, corpus)), corpus))


@pytest.mark.parametrize("placement", [ONE, TWO, NARROW], ids=lambda placement: placement.name)
@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_an_atlas_made_on_accelerators_is_that_of_the_cpu(
    family: str, placement: Placement, corpus: Corpus, tmp_path: Path
) -> None:
    folder = saved(family, tmp_path / family)
    expected = built(opened(folder, CPU), corpus)
    with machine(placement):
        atlas = built(opened(folder, placement), corpus)
    assert atlas.about == expected.about
    for number, layer in atlas.layers.items():
        there = expected.layers[number]
        for name in ("high", "low", "count", "quantiles", "rate"):
            assert np.allclose(getattr(layer, name), getattr(there, name), atol=1e-6), name
        for name in ("mean", "size", "std"):
            assert np.allclose(getattr(layer, name), getattr(there, name), atol=1e-5), name
        apart = np.abs(np.diff(there.high, axis=0, prepend=np.inf)) > 1e-6
        alone = apart[:-1] & apart[1:]  # a value that another place has too may be kept from either
        assert alone.any() and (layer.high_at == there.high_at)[:-1][alone].all()


def counted(model: OpenModel, corpus: Corpus, waits: Counter[tuple[str, str]], **options: int) -> tuple[int, int]:
    """The waits of a build's batches, and how many batches there are."""
    building, batches = Building(model, planned(model, corpus, **options)), 0
    waits.clear()
    for chunk in (list(corpus.documents())[:20], list(corpus.documents())[20:]):
        batches += sum(1 for _ in building.fold(chunk))
    return sum(waits.values()), batches


@pytest.mark.parametrize("placement", [ONE, TWO], ids=lambda placement: placement.name)
@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_the_host_waits_once_a_batch(family: str, placement: Placement, corpus: Corpus, tmp_path: Path) -> None:
    folder = saved(family, tmp_path / family)
    with machine(placement) as meter:
        assert meter is not None
        waits, batches = counted(opened(folder, placement), corpus, meter.waits)
        assert batches > 4 and waits == batches, dict(meter.waits)


def test_activations_that_may_not_wait_are_merged_site_by_site(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved("llama", tmp_path / "llama")
    expected = built(opened(folder, CPU), corpus)
    with machine(ONE) as meter:
        assert meter is not None
        model = opened(folder, ONE)
        monkeypatch.setattr(making, "free_memory", lambda _: 0)
        monkeypatch.setattr(making, "MEMORY", 1)
        work, roomy = planned(model, corpus), planned(model, corpus, 64)
        work = structs.replace(work, held=work.held // 8)
        assert work.bytes <= 2**20 and work.held < roomy.held
        atlas = finished(build(Building(model, work), corpus))
    assert all(np.array_equal(layer.high, expected.layers[n].high) for n, layer in atlas.layers.items())


def test_numbers_of_an_accelerator_that_are_not_finite_name_their_layer(corpus: Corpus, tmp_path: Path) -> None:
    folder = saved("llama", tmp_path / "llama")
    with machine(ONE):
        model = opened(folder, ONE)
        with torch.no_grad():
            model.anatomy.layers[1].sites[0].down.weight.fill_(torch.nan)  # type: ignore[union-attr,operator]
        with pytest.raises(ModelError, match="layer 2"):
            built(model, corpus)
