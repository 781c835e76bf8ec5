"""The parts of a score sum to it, and each is what its part of the stream makes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sessions.errors import ModelError
from sessions.heads.directions import singular
from sessions.heads.maps import HeadMaps, head_maps
from sessions.heads.splitting import CONSTANT, pairs_of, split_scores
from sessions.heads.stream_parts import BIAS, ROUNDING, StreamParts, stream_parts
from sessions.interventions.arms import Condition
from sessions.model.hooks import count_hooks
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel, adopt
from sessions.model.tokens import encode
from sessions.model.units import Unit
from tests.families import tiny, tiny_tokenizer

IDS = torch.randint(4, 64, (24,), generator=torch.Generator().manual_seed(1)).tolist()
QUERY = 20
#: Families whose scores are split, and those that are refused with the reason.
SPLIT = ("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "olmo2", "gpt2", "gpt_neox", "mixtral",
         "gpt_oss", "granite", "cohere", "stablelm", "opt", "deepseek_v3", "phi3-longrope")  # fmt: skip
REFUSED = {
    "bloom": "the attention of 'bloom' computes its scores inside",
    "falcon": "the attention of 'falcon' computes its scores inside",
    "gpt_neo": "the attention of 'gpt_neo' computes its scores inside",
    "gemma3n": "'gemma3n_text' has several residual streams",
    "gemma4": "layer 2 of 'gemma4_text' takes its keys and values from an earlier layer",
    "glm4": "layer 0 of 'glm4' adds more to the stream",
    "qwen3_next": "layer 0 of 'qwen3_next' adds more to the stream",
}


def split(family: str, *, biases: bool = False) -> tuple[OpenModel, HeadMaps, StreamParts]:
    """The maps of a head of the last layer that has some, and the parts of the stream there."""
    model = adopt(tiny(family, biases=biases), tiny_tokenizer(), name=family)
    row = encode(model.tokenizer, Prompt(text="", exact=tuple(IDS))), Condition("", ())
    layer = max(number for number, count in enumerate(model.anatomy.counts("head")) if count)
    maps = head_maps(model, row, IDS, Unit(layer, 2, kind="head"), QUERY, sources=4)
    return model, maps, stream_parts(model, row, IDS, layer, maps.positions)


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("family", SPLIT)
def test_the_pairs_of_parts_sum_to_the_score(family: str, biases: bool) -> None:
    _, maps, parts = split(family, biases=biases)
    names, pairs = pairs_of(maps, parts)
    scores = maps.scores[list(maps.positions)]
    assert float((pairs.sum((1, 2)) - scores).abs().max()) < 1e-4
    if not biases:  # then the parts of the streams alone make the score
        own = [at for at, name in enumerate(names) if name not in (CONSTANT, ROUNDING, BIAS)]
        assert float((pairs[:, own][:, :, own].sum((1, 2)) - scores).abs().max()) < 1e-4


@pytest.mark.parametrize("family", SPLIT)
def test_the_softmax_of_the_scores_is_the_pattern(family: str) -> None:
    """Softcapped or masked scores aside: those of the last layer's head, among the positions that it can see."""
    _, maps, _ = split(family)
    seen = maps.weights > 0
    scores = maps.scores[seen]
    if family == "gemma2":
        scores = 50 * (scores / 50).tanh()
    expected = maps.weights[seen] / maps.weights[seen].sum()
    torch.testing.assert_close(scores.softmax(0), expected, atol=1e-5, rtol=1e-4)


def test_constants_are_the_biases_of_queries_and_keys() -> None:
    model, maps, _ = split("gpt2", biases=True)
    block = model.model.transformer.h[2]
    constant = (block.ln_1.bias @ block.attn.c_attn.weight + block.attn.c_attn.bias).double()
    query, key, _ = (part[2 * 8 : 3 * 8] for part in constant.split(32))
    torch.testing.assert_close(maps.query.constant[0], query, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(maps.key.constant, key.expand(len(maps.positions), -1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_a_part_of_the_stream_is_what_its_head_writes(family: str) -> None:
    """Without a head that no layer above reacts to, the stream lacks its part."""
    model, maps, parts = split(family)
    assert {"embedding", "L0/H3", "L1/H0", "L0/*", "L1/*"} <= set(parts.names)
    last = parts.names.index("L1/*")
    states: list[Tensor] = []
    writer = model.anatomy.layers[1].writer
    assert writer is not None
    handle = writer.register_forward_hook(lambda _, __, output: states.append(output[0]))
    model.model(torch.tensor([IDS]))
    handle.remove()
    torch.testing.assert_close(parts.states[last].float(), states[0][list(maps.positions)], atol=1e-5, rtol=1e-4)


def test_what_a_head_writes_is_the_sum_over_its_values() -> None:
    model, maps, _ = split("gemma2")
    assert maps.output.shape == (32,) and maps.written.shape == (8, 32)
    values = maps.value.matrix[0] @ maps.value.stream[0]
    torch.testing.assert_close(values, maps.value.values[0], atol=1e-5, rtol=1e-4)
    assert count_hooks(model.model) == 0 and model.model.config._attn_implementation == "eager"


@pytest.mark.parametrize("family", REFUSED)
def test_a_family_that_cannot_be_split_is_refused_by_name(family: str) -> None:
    with pytest.raises(ModelError) as refusal:
        split(family)
    assert REFUSED[family] in refusal.value.message


def test_listed_parts_and_the_rest_make_the_score() -> None:
    _, maps, parts = split("llama")
    tokens = [str(position) for position in range(len(IDS))]
    for each in split_scores(maps, parts, tokens, 3, maps.positions[:2]):
        score = each.source_at.score
        assert score == pytest.approx(float(maps.scores[each.source_at.position]))
        assert sum(part.value for part in each.query) + each.query_rest == pytest.approx(score, abs=1e-5)
        assert sum(part.value for part in each.source) + each.source_rest == pytest.approx(score, abs=1e-5)
        sizes = [abs(part.value) for part in each.query]
        assert sizes == sorted(sizes, reverse=True) and len(sizes) == 3


def test_the_singular_directions_are_those_of_the_product() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(4, 12, generator=generator, dtype=torch.float64) for _ in range(2))
    out, values, into = singular(left, right)
    torch.testing.assert_close(out.T @ torch.diag(values) @ into, left.T @ right)
    torch.testing.assert_close(out @ out.T, torch.eye(4, dtype=torch.float64))
