"""Control vectors are what the naive way gives, prompt by prompt, and mean what they say when they are added."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.directions.control import at_ends, difference_of_means
from sessions.directions.vector import Vector, Where, cosine
from sessions.errors import Cancelled, ModelError, UsageError
from sessions.events import finished
from sessions.model.anatomy import DOWN_NAMES
from sessions.model.hooks import after, count_hooks
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel, adopt
from sessions.model.tokens import encode
from tests.families import DENSE, LAYERS, MOE, OLD, tiny, tiny_tokenizer

POSITIVE = ([1, 9, 30, 12], [1, 14, 22], [1, 20, 21, 22, 23, 40, 41])
NEGATIVE = ([1, 33, 5, 8, 13], [1, 44])
#: Where what the MLP adds passes through something else before it leaves the layer.
LATER_CHANGED = ("gemma3n", "gemma4")


def opened_tiny(family: str) -> OpenModel:
    return adopt(tiny(family), tiny_tokenizer(), name=family)


def naive(opened: OpenModel, ids: list[int], site: Where, layer: int) -> Tensor:
    """What a site holds at a prompt's last token, the prompt alone, found by the names of modules."""
    block = opened.anatomy.layers[layer].block
    seen: list[Tensor] = []

    def hold(value: Any) -> None:
        value = value[0] if isinstance(value, tuple) else value
        seen.append((value[0] if value.ndim == 4 else value).reshape(-1, value.shape[-1])[-1])

    modules = dict(block.named_modules())
    down = [m for name, m in modules.items() if name.split(".")[-1] in DOWN_NAMES and "att" not in name]
    if site == "neurons":
        handle = down[0].register_forward_pre_hook(lambda _, args: hold(args[0]))
    else:
        read = block if site == "resid_post" else modules.get("post_feedforward_layernorm", down[0] if down else None)
        handle = (read or modules["mlp"]).register_forward_hook(lambda _, __, output: hold(output))
    with torch.inference_mode():
        opened.model(input_ids=torch.tensor([ids]), use_cache=False)
    handle.remove()
    return seen[-1]


@pytest.mark.parametrize("site", ["resid_post", "mlp_out", "neurons"])
@pytest.mark.parametrize("family", DENSE + OLD)
def test_a_vector_is_the_difference_of_the_means_prompt_by_prompt(family: str, site: Where) -> None:
    opened = opened_tiny(family)
    hooks = count_hooks(opened.model)
    vector = finished(difference_of_means(opened, POSITIVE, NEGATIVE, site=site, batch=16))
    assert vector.layers == tuple(range(LAYERS))
    for layer in range(LAYERS):
        high, low = (
            torch.stack([naive(opened, ids, site, layer) for ids in side]).mean(0) for side in (POSITIVE, NEGATIVE)
        )
        torch.testing.assert_close(vector.directions[layer], high - low, rtol=1e-4, atol=1e-4)
    assert (vector.positives, vector.negatives, vector.site) == (3, 2, site)
    assert count_hooks(opened.model) == hooks


@pytest.mark.parametrize("family", MOE)
def test_experts_have_vectors_in_the_residual_stream_and_of_what_they_say_together(family: str) -> None:
    opened = opened_tiny(family)
    for site in ("resid_post", "mlp_out"):
        vector = finished(difference_of_means(opened, POSITIVE, NEGATIVE, site=site, batch=16))  # type: ignore[arg-type]
        layer = 1
        read = opened.anatomy.layers[layer].block if site == "resid_post" else opened.anatomy.layers[layer].block.mlp
        means = []
        for side in (POSITIVE, NEGATIVE):
            seen: list[Tensor] = []
            with after(
                read, lambda _, output, seen=seen: seen.append(opened.anatomy.residual(output)[0, -1]) or output
            ):
                for ids in side:
                    opened.model(input_ids=torch.tensor([ids]), use_cache=False)
            means.append(torch.stack(seen).mean(0))
        torch.testing.assert_close(vector.directions[layer], means[0] - means[1], rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match=r"neurons of layer [01] are those of a mixture of experts"):
        finished(difference_of_means(opened, POSITIVE, NEGATIVE, site="neurons"))


@pytest.mark.parametrize("family", [each for each in DENSE + MOE + OLD if each not in LATER_CHANGED])
def test_what_the_mlp_writes_is_what_leaves_the_layer_more_than_without_it(family: str) -> None:
    opened = opened_tiny(family)
    last = opened.anatomy.layers[LAYERS - 1]
    assert last.writer is not None
    (wrote,) = at_ends(opened, POSITIVE[:1], "mlp_out", [LAYERS - 1])[LAYERS - 1]
    (whole,) = at_ends(opened, POSITIVE[:1], "resid_post", [LAYERS - 1])[LAYERS - 1]

    def silent(_: Tensor, output: Any) -> Any:
        return (output[0] * 0, *output[1:]) if isinstance(output, tuple) else output * 0

    with after(last.writer, silent):
        (without,) = at_ends(opened, POSITIVE[:1], "resid_post", [LAYERS - 1])[LAYERS - 1]
    torch.testing.assert_close(whole - without, wrote, rtol=1e-4, atol=1e-4)
    assert wrote.norm() > 0.01


def test_chosen_layers_alone_are_read(smollm2: OpenModel) -> None:
    vector = finished(difference_of_means(smollm2, [[1, 2]], [[3, 4]], layers=range(9, 12)))
    assert vector.layers == (9, 10, 11) and len(vector) == 3


@pytest.mark.parametrize("negative", [[[1, 5], [1, 6, 7]], [[1, 6, 7], [1, 5]]])
def test_the_same_prompts_on_both_sides_are_refused(negative: list[list[int]]) -> None:
    with pytest.raises(UsageError, match="are the same"):
        finished(difference_of_means(opened_tiny("llama"), [[1, 5], [1, 6, 7]], negative))


def test_a_layer_that_is_not_finite_is_named_and_nothing_comes_of_it() -> None:
    opened = opened_tiny("llama")
    hooks = count_hooks(opened.model)
    spoilt = opened.anatomy.layers[1].block
    with after(spoilt, lambda _, output: output * torch.inf), pytest.raises(ModelError, match=r"layer 1 .*not finite"):
        finished(difference_of_means(opened, POSITIVE, NEGATIVE))
    assert count_hooks(opened.model) == hooks


def test_float16_that_overflows_is_named_by_its_layer() -> None:
    model = tiny("llama")
    with torch.no_grad():
        model.model.layers[2].mlp.down_proj.weight.mul_(1e6)
    opened = adopt(model.half(), tiny_tokenizer(), name="tiny")
    with pytest.raises(ModelError, match="layer 2 computes at resid_post is not finite: layer 2 is") as caught:
        finished(difference_of_means(opened, POSITIVE, NEGATIVE))
    assert "float32" in caught.value.hint


def test_a_cancelled_vector_leaves_no_hook() -> None:
    opened, cancel = opened_tiny("llama"), Cancel()
    hooks = count_hooks(opened.model)
    steps = difference_of_means(opened, POSITIVE, NEGATIVE, batch=4, cancel=cancel)
    next(steps)
    cancel.request()
    with pytest.raises(Cancelled):
        next(steps)
    assert count_hooks(opened.model) == hooks


@pytest.fixture(scope="module")
def mood(smollm2: OpenModel) -> tuple[Vector, list[tuple[int, ...]], list[tuple[int, ...]]]:
    """A vector of good mood, and the prompts it is made of."""
    sides = []
    for words in (("wonderful", "happy", "delighted", "great"), ("terrible", "sad", "miserable", "awful")):
        texts = [f"Today I feel {word}" for word in words]
        sides.append([encode(smollm2.tokenizer, Prompt(text=text, chat=False)).ids for text in texts])
    return finished(difference_of_means(smollm2, *sides)), *sides  # type: ignore[return-value]


def test_adding_a_vector_moves_the_negative_prompts_towards_the_positive(smollm2: OpenModel, mood: Any) -> None:
    """Added behind layer 10, where it moves the one mean into the other, it is still there ten layers above."""
    vector, positive, negative = mood
    above = vector.directions[20] / vector.directions[20].norm()

    def projected(prompts: list[list[int]]) -> float:
        return float((at_ends(smollm2, prompts, "resid_post", [20])[20] @ above).mean())

    high, low = projected(positive), projected(negative)
    assert high - low == pytest.approx(float(vector.directions[20].norm()), rel=1e-3)
    with after(smollm2.anatomy.layers[10].block, lambda _, output: output + vector.directions[10]):
        steered = projected(negative)
    assert steered - low > 0.3 * (high - low)


def test_a_vector_has_the_same_sign_when_the_prompts_change_places(smollm2: OpenModel, mood: Any) -> None:
    vector, positive, negative = mood
    turned = finished(difference_of_means(smollm2, negative, positive, layers=[15]))
    assert cosine(turned.directions[15], vector.directions[15]) == pytest.approx(-1, abs=1e-5)
    assert cosine(torch.zeros(3), torch.ones(3)) is None
