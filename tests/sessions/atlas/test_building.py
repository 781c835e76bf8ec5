"""An atlas says what a model's neurons were, and says the same after it was interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec import structs

from sessions.atlas import building as making
from sessions.atlas import unfinished
from sessions.atlas.atlas import Atlas
from sessions.atlas.building import AtlasPlan, Building, build, plan
from sessions.cancel import Cancel
from sessions.errors import ArtifactError, Cancelled, ModelError, UsageError
from sessions.events import Progress, collected, finished
from sessions.model.hooks import Routing, count_hooks, on_neurons, together
from sessions.model.opening import OpenModel, adopt
from sessions.model.sites import ExpertSite, Site
from sessions.model.tokens import plain_ids
from sessions.model.units import Unit
from sessions.store import Store
from sessions.texts.corpus import Corpus
from tests.families import DENSE, MOE, OLD, tiny, tiny_tokenizer

TEXTS = ["the cat sat on the mat", "a dog", "", "in the end there was a hen, and then", "?", "the </s> thin man"] * 3


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Eighteen documents, three of them empty, three with a special token inside."""
    import json

    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text, "id": n}) + "\n" for n, text in enumerate(TEXTS)), "utf-8")
    return Corpus(str(path))


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "CHUNK", 4)


def opened(family: str) -> OpenModel:
    return adopt(tiny(family, biases=True), tiny_tokenizer(), name=family)


def planned(model: OpenModel, corpus: Corpus, **options: object) -> AtlasPlan:
    return plan(model, corpus, finished(corpus.surveyed()), **{"length": 12, "k": 3, "batch": 40, **options})  # type: ignore[arg-type]


def built(model: OpenModel, corpus: Corpus, **options: object) -> Atlas:
    return finished(build(Building(model, planned(model, corpus, **options)), corpus))


def naive(model: OpenModel, texts: Sequence[str], length: int) -> dict[tuple[int, int], list[tuple[float, int, int]]]:
    """Each neuron's activation at each position that counts, one document at a time through the whole model."""
    found: dict[tuple[int, int], list[tuple[float, int, int]]] = {}
    for number, text in enumerate(texts):
        ids = plain_ids(model.tokenizer, text)[:length]
        for layer, parts in enumerate(model.anatomy.layers):
            for site in parts.sites if ids else ():
                for at, index, value in alone(model, site, ids):
                    found.setdefault((layer, index), []).append((value, number, at))
    return found


def alone(model: OpenModel, site: Site, ids: list[int]) -> list[tuple[int, int, float]]:
    """Position, neuron and activation of everything a site computes in a text, special tokens left out."""
    seen: list[tuple[int, int, float]] = []

    def record(values: torch.Tensor, routing: Routing | None) -> torch.Tensor:
        for row, each in enumerate(values.reshape(-1, values.shape[-1]).tolist()):
            at, first = row, site.offset
            if routing is not None and isinstance(site, ExpertSite):
                at, first = row // routing.per_token, first + int(routing.experts[row]) * site.d_expert
            if ids[at] not in model.tokenizer.all_special_ids:
                seen.extend((at, first + index, value) for index, value in enumerate(each))
        return values

    with torch.inference_mode(), on_neurons(site, record):
        model.model(input_ids=torch.tensor([ids]), use_cache=False)
    return seen


@pytest.mark.parametrize("family", [*DENSE, *MOE, *OLD])
def test_statistics_are_those_of_each_document_alone(family: str, corpus: Corpus) -> None:
    model = opened(family)
    atlas = built(model, corpus)
    expected = naive(model, TEXTS, 12)
    assert len(atlas) == sum(model.anatomy.widths)
    assert atlas.about.documents == 18 and atlas.about.empty == 3
    for (layer, index), seen in list(expected.items())[::7]:
        values = np.array([value for value, _, _ in seen])
        statistics = atlas.layer(layer)
        assert statistics.count[index] == len(seen)
        assert np.isclose(statistics.mean[index], values.mean(), atol=1e-4)
        assert np.isclose(statistics.std[index], values.std(), atol=2e-3)
        assert np.isclose(statistics.size[index], np.abs(values).mean(), atol=1e-4)
        neuron = Unit(layer, index)
        for maxima, order in ((atlas.maxima(neuron), -1), (atlas.minima(neuron), 1)):
            wanted = np.sort(values * order)[: len(maxima)] * order
            assert np.allclose([each.value for each in maxima], wanted, atol=1e-4)
            places = {(number, at): value for value, number, at in seen}
            assert all(abs(places[each.document, each.position] - each.value) < 1e-4 for each in maxima)
    computed = {(number, index) for number, each in atlas.layers.items() for index in np.flatnonzero(each.count)}
    assert computed == set(expected)


@pytest.mark.parametrize("family", [*DENSE, *MOE, *OLD])
def test_an_atlas_of_one_layer_equals_that_layer_of_a_full_atlas(family: str, corpus: Corpus) -> None:
    """The layers above compute nothing, and nothing of it stays."""
    model = opened(family)
    hooks, calls = count_hooks(model.model), []
    handles = [
        module.register_forward_hook(lambda *_: calls.append(1)) for module in model.anatomy.layers[2].block.children()
    ]
    one = built(model, corpus, layers=[1])
    for handle in handles:
        handle.remove()
    assert not calls and count_hooks(model.model) == hooks
    both = built(model, corpus)
    assert list(one.layers) == [1]
    assert np.array_equal(one.layer(1).high, both.layer(1).high)
    assert np.array_equal(one.layer(1).mean, both.layer(1).mean)


def test_the_ids_of_a_maximum_compute_it_again_and_its_context_is_around_it(smollm2: OpenModel) -> None:
    corpus = Corpus("", 4)
    atlas = built(smollm2, corpus, length=32, k=2, layers=[3], batch=256)
    texts = list(corpus.documents())
    for index in (0, 1535):
        neuron = Unit(3, index)
        for maximum in (*atlas.maxima(neuron), *atlas.minima(neuron)[:1]):
            seen: list[torch.Tensor] = []

            def record(values: torch.Tensor, _: object, seen: list[torch.Tensor] = seen) -> torch.Tensor:
                seen.append(values)
                return values

            with torch.inference_mode(), together([on_neurons(smollm2.anatomy.layers[3].sites[0], record)]):
                smollm2.model(input_ids=torch.tensor([maximum.ids]), use_cache=False)
            assert float(seen[0][0, -1, index]) == pytest.approx(maximum.value, abs=1e-4)
            assert maximum.token == smollm2.tokenizer.decode([maximum.ids[-1]])
            around = "".join((*maximum.before, maximum.token, *maximum.after))
            assert "\\x" in around or around in texts[maximum.document]
            assert len(maximum.before) == min(5, maximum.position)
    assert atlas.strongest(Unit(3, 0)) is not None


def test_special_tokens_are_read_and_not_counted(corpus: Corpus) -> None:
    model = opened("llama")
    atlas = built(model, corpus)
    special = set(model.tokenizer.all_special_ids)
    ids = [plain_ids(model.tokenizer, text)[:12] for text in TEXTS]
    assert any(set(each[1:]) & special for each in ids), "the test is about something"
    assert atlas.about.tokens == sum(token not in special for each in ids for token in each)
    maxima = [each for index in range(48) for each in atlas.maxima(Unit(0, index))]
    assert all(each.position > 0 and each.ids[0] == 1 and each.ids[-1] not in special for each in maxima)


@pytest.mark.parametrize("family", ["llama", "qwen2_moe"])
def test_a_build_that_was_killed_goes_on_to_the_same_atlas(family: str, corpus: Corpus, tmp_path: Path) -> None:
    model, store = opened(family), Store(tmp_path / "home")
    path = unfinished.path_of(store, "one")
    wanted = built(model, corpus)
    for kept in (4, 8, 16):
        dying = Building(model, planned(model, corpus))
        steps = build(dying, corpus, lambda dying=dying: unfinished.keep(dying, path, "one"), seconds=0)  # type: ignore[misc]
        for event in steps:
            if isinstance(event, Progress) and event.done > kept:
                steps.close()
                break
        again = Building(model, planned(model, corpus))
        assert unfinished.gone_on(again, path)
        assert again.progress.documents == kept
        assert same(finished(build(again, corpus)), wanted)


def same(ours: Atlas, theirs: Atlas) -> bool:
    return ours.packed() == theirs.packed()


def test_an_unfinished_atlas_is_gone_on_with_only_under_the_same_plan(corpus: Corpus, tmp_path: Path) -> None:
    model, path = opened("llama"), tmp_path / "one.safetensors"
    first = Building(model, planned(model, corpus))
    assert not unfinished.gone_on(first, path)
    list(first.fold(TEXTS[:4]))
    unfinished.keep(first, path, "one")
    for options, said in (({"k": 2}, "--top"), ({"layers": [1]}, "layers"), ({"under": "x"}, "suppressed")):
        with pytest.raises(ArtifactError, match=said) as raised:
            unfinished.gone_on(Building(model, planned(model, corpus, **options)), path)
        assert "--force" in raised.value.hint
    other = Building(model, structs.replace(planned(model, corpus), model="other"))
    with pytest.raises(ArtifactError, match="another model"):
        unfinished.gone_on(other, path)
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(ArtifactError, match="damaged"):
        unfinished.gone_on(Building(model, planned(model, corpus)), path)


def test_documents_without_a_maximum_are_dropped(corpus: Corpus) -> None:
    model = opened("llama")
    atlas = built(model, corpus, k=1, layers=[0])
    places = np.concatenate([atlas.layer(0).high_at.ravel(), atlas.layer(0).low_at.ravel()])
    assert set(atlas.documents.numbers.tolist()) == set((places // 12).tolist()) < set(range(18))


def test_memory_is_bounded_by_what_is_asked_or_refused(corpus: Corpus) -> None:
    model = opened("llama")
    roomy, tight = planned(model, corpus, batch=4096, memory=1024), planned(model, corpus, batch=4096, memory=2)
    assert roomy.batch == 4096 and tight.batch < 4096
    assert tight.bytes <= 2 * 2**20 < roomy.bytes
    with pytest.raises(UsageError, match="may be taken") as raised:
        planned(model, corpus, memory=1, k=1000)
    assert "--memory" in raised.value.hint


def test_statistics_are_written_down_without_a_copy_of_them(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy is as large as they are, which is most of what an atlas may take."""
    model, pieces = opened("llama"), []
    begun = Building(model, planned(model, corpus))
    monkeypatch.setattr(unfinished, "write_file", lambda _, data, **__: pieces.extend(data))
    unfinished.keep(begun, tmp_path / "one", "one")
    views = [np.frombuffer(piece, "u1") for piece in pieces if isinstance(piece, memoryview)]
    for running in begun.running:
        assert any(np.shares_memory(running.histogram.numpy(), view) for view in views)


def test_a_finished_atlas_keeps_nothing_of_what_it_was_made_of(corpus: Corpus) -> None:
    model = opened("llama")
    begun = Building(model, planned(model, corpus))
    finished(build(begun, corpus))
    assert not begun.running


def test_an_impossible_atlas_plan_is_refused_before_anything_runs(corpus: Corpus) -> None:
    with pytest.raises(UsageError, match="no layer 7"):
        planned(opened("llama"), corpus, layers=[7])
    with pytest.raises(UsageError, match="128 positions"):
        planned(opened("gpt2"), corpus, length=500)


def test_a_corpus_of_empty_documents_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text('{"text": ""}\n{"text": "  "}\n')
    with pytest.raises(UsageError, match="all 2 documents"):
        built(opened("llama"), Corpus(str(path)))


def test_numbers_that_are_not_finite_name_their_layer(corpus: Corpus) -> None:
    model = opened("llama")
    down = model.anatomy.layers[1].sites[0].down  # type: ignore[union-attr]
    with torch.no_grad():
        down.weight.fill_(torch.nan)  # type: ignore[union-attr,operator]
    with pytest.raises(ModelError, match="layer 2"):
        built(model, corpus)


def test_a_cancelled_build_leaves_no_hook(corpus: Corpus) -> None:
    model, cancel = opened("llama"), Cancel()
    before = count_hooks(model.model)
    steps = build(Building(model, planned(model, corpus)), corpus, cancel=cancel)
    next(steps)
    cancel.request()
    with pytest.raises(Cancelled):
        collected(steps)
    assert count_hooks(model.model) == before


def test_a_corpus_that_changes_while_it_is_read_is_noticed(corpus: Corpus) -> None:
    model = opened("llama")
    work = Building(model, planned(model, corpus))
    path = Path(corpus.word)
    path.write_text(path.read_text().replace("cat", "rat"))
    with pytest.raises(ArtifactError, match="changed while it was read"):
        finished(build(work, corpus))


def test_progress_counts_the_documents(corpus: Corpus) -> None:
    model = opened("llama")
    events, _ = collected(build(Building(model, planned(model, corpus)), corpus))
    seen: Iterator[Progress] = (event for event in events if isinstance(event, Progress))
    done = [event.done for event in seen]
    assert all(first <= second for first, second in pairwise(done)) and done[-1] == 18
