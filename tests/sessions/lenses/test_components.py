"""A logit is the sum of what its components write, in every family whose layers write at known places."""

from __future__ import annotations

import pytest
import torch

from sessions.errors import ModelError
from sessions.lenses.components import logit_parts, settled_target
from sessions.model.hooks import after, before
from sessions.model.info import Token
from sessions.model.opening import OpenModel, adopt
from sessions.model.target import Target
from tests.families import ALL, LAYERS, tiny, tiny_tokenizer

IDS = (1, 10, 11, 12, 13, 30, 9, 7, 22, 18, 19, 5)
AT = 8
ALONE = Target(tokens=(Token(20, "o"),))
DIFFERENCE = Target(tokens=(Token(20, "o"),), counterfactual=Token(30, "y"))
#: Families whose logits are no such sum, with a part of what is said.
REFUSED = {
    "gemma3n": "several residual streams",
    "qwen3_next": "no one place where its attention writes",
    "jamba": "no one place where its attention writes",
    "falcon_h1": "do not sum to the target",
}


def opened(family: str) -> OpenModel:
    return adopt(tiny(family, biases=True), tiny_tokenizer(), name=family)


@pytest.mark.parametrize("target", [ALONE, DIFFERENCE], ids=["logit", "difference"])
@pytest.mark.parametrize("family", [family for family in ALL if family not in REFUSED])
def test_the_parts_sum_to_the_target(family: str, target: Target) -> None:
    model = opened(family)
    with torch.inference_mode():
        logits = model.model(input_ids=torch.tensor([IDS[: AT + 1]]), use_cache=False).logits[0, -1].float()
    own = float(logits[20] - (logits[30] if target.counterfactual is not None else 0.0))
    found = logit_parts(model, IDS, AT, target)
    assert found.value == pytest.approx(own, abs=1e-5)
    size = max(abs(part.value) for part in found.parts)
    assert abs(found.rest) <= 1e-5 * max(abs(found.value), size)
    kinds = [part.kind for part in found.parts]
    assert kinds.count("attention") == kinds.count("mlp") == LAYERS and kinds.count("embeddings") == 1
    assert all(part.value for part in found.parts if part.kind != "biases")


@pytest.mark.parametrize("family", [family for family in ALL if family not in REFUSED])
def test_heads_sum_to_their_attention(family: str) -> None:
    model = opened(family)
    found = logit_parts(model, IDS, AT, DIFFERENCE)
    attention = {part.layer: part.value for part in found.parts if part.kind == "attention"}
    for number, layer in enumerate(model.anatomy.layers):
        heads = [head for head in found.heads if head.layer == number]
        assert layer.heads is None or {head.head for head in heads} >= set(range(layer.heads.n_heads))
        if heads:
            assert sum(head.value for head in heads) == pytest.approx(attention[number], abs=1e-5)
    if all(getattr(layer.heads.output, "bias", None) is None for layer in model.anatomy.layers if layer.heads):
        assert all(head.head is not None for head in found.heads)  # then nothing but the heads is in it


def test_a_head_is_its_slice_of_the_output_projection() -> None:
    """The same by hand for a head of a llama."""
    model = opened("llama")
    site = model.anatomy.heads_of(1)
    mixed: list[torch.Tensor] = []
    last: list[torch.Tensor] = []
    with (
        torch.inference_mode(),
        before(site.output, lambda states: mixed.append(states[0, AT]) or states),  # type: ignore[func-returns-value]
        before(model.anatomy.final_norm, lambda states: last.append(states[0, AT]) or states),  # type: ignore[func-returns-value]
    ):
        model.model(input_ids=torch.tensor([IDS]), use_cache=False)
    norm, head, slice_ = model.model.model.norm, model.model.lm_head.weight, slice(2 * site.d_head, 3 * site.d_head)
    written = mixed[0][slice_] @ site.output.weight[:, slice_].T
    scale = (last[0].square().mean() + norm.variance_epsilon).rsqrt()
    expected = float((written * scale * norm.weight) @ (head[20] - head[30]))
    (part,) = [head for head in logit_parts(model, IDS, AT, DIFFERENCE).heads if (head.layer, head.head) == (1, 2)]
    assert part.value == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("family", REFUSED)
def test_other_families_are_refused_by_name(family: str) -> None:
    model = opened(family)
    with pytest.raises(ModelError, match=REFUSED[family]) as refused:
        logit_parts(model, IDS, AT, DIFFERENCE)
    assert model.info.family in refused.value.message


def test_a_part_is_what_is_written_through_the_norm_as_it_scales() -> None:
    """The same by hand for an MLP of a llama: its output, the norm's weights and its scale, the unembedding."""
    model = opened("llama")
    written: list[torch.Tensor] = []
    last: list[torch.Tensor] = []
    parts = model.anatomy.layers[1], model.anatomy.final_norm
    assert parts[0].writer is not None
    with (
        torch.inference_mode(),
        after(parts[0].writer, lambda _, output: written.append(output[0, AT]) or output),  # type: ignore[func-returns-value]
        before(parts[1], lambda states: last.append(states[0, AT]) or states),  # type: ignore[func-returns-value]
    ):
        model.model(input_ids=torch.tensor([IDS]), use_cache=False)
    norm, head = model.model.model.norm, model.model.lm_head.weight
    scale = (last[0].square().mean() + norm.variance_epsilon).rsqrt()
    expected = float((written[0] * scale * norm.weight) @ (head[20] - head[30]))
    (part,) = [part for part in logit_parts(model, IDS, AT, DIFFERENCE).parts if (part.kind, part.layer) == ("mlp", 1)]
    assert part.value == pytest.approx(expected, rel=1e-4)


def test_what_norm_and_head_add_by_themselves_is_a_part_of_its_own() -> None:
    parts = {family: logit_parts(opened(family), IDS, AT, ALONE).parts[-1] for family in ("gpt2", "llama")}
    assert {part.kind for part in parts.values()} == {"biases"}
    assert abs(parts["gpt2"].value) > 0.01 and abs(parts["llama"].value) < 1e-5


def test_the_target_is_settled_as_discover_does() -> None:
    model = opened("llama")
    logits = torch.zeros(64)
    logits[[20, 30, 40]] = torch.tensor([3.0, 2.0, 1.0])

    def ids(target: Target) -> tuple[int, int | None]:
        return target.tokens[0].id, None if target.counterfactual is None else target.counterfactual.id

    assert ids(settled_target(model, logits, None, None)) == (20, 30)
    assert ids(settled_target(model, logits, Token(30, ""), None)) == (30, 20)
    assert ids(settled_target(model, logits, Token(30, ""), Token(40, ""))) == (30, 40)
    assert ids(settled_target(model, logits, None, None, alone=True)) == (20, None)
