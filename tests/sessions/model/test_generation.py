"""Generation says what `transformers.generate` says, alone or in a batch, and can be stopped anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions.events import finished
from sessions.model.generation import Decoding, GeneratedRow, ending_ids, generate
from sessions.model.hooks import count_hooks
from sessions.model.info import Prompt
from sessions.model.tokens import encode
from tests.families import DENSE, MOE, tiny, tiny_tokenizer


def texts(opened: Any, prompts: list[str], decoding: Decoding) -> list[GeneratedRow]:
    ids = [encode(opened.tokenizer, Prompt(text=prompt)).ids for prompt in prompts]
    return finished(generate(opened.model, opened.tokenizer, ids, decoding))


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_greedy_is_token_for_token_what_transformers_generates(family: str) -> None:
    model, tokenizer = tiny(family), tiny_tokenizer()
    ids = torch.tensor([[1, 9, 27, 17, 51, 5, 33]])
    theirs = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12, eos_token_id=None, pad_token_id=0
    )
    (row,) = finished(generate(model, tokenizer, ids.tolist(), Decoding(max_tokens=12)))
    assert row.ids == theirs[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("family", [*DENSE, *MOE])
def test_rows_of_different_lengths_generate_what_they_generate_alone(family: str) -> None:
    model, tokenizer = tiny(family), tiny_tokenizer()
    prompts = [[1, 9, 27, 17, 51, 5, 33], [1, 12, 8]]
    together = finished(generate(model, tokenizer, prompts, Decoding(max_tokens=10)))
    alone = [finished(generate(model, tokenizer, [prompt], Decoding(max_tokens=10)))[0] for prompt in prompts]
    assert [row.ids for row in together] == [row.ids for row in alone]


def test_smollm2_knows_the_capital_of_texas(smollm2: Any) -> None:
    ends = ending_ids(smollm2.model, smollm2.tokenizer)
    (row,) = texts(smollm2, ["What is the capital of Texas?"], Decoding(ends=ends))
    assert row.text == "The capital of Texas is Austin." and row.stopped == "eos"


def test_a_row_samples_the_same_text_alone_and_in_company(smollm2: Any) -> None:
    decoding = Decoding(max_tokens=8, sample=True, temperature=1.0, rng=3)
    questions = ["Tell me a story.", "What is a neuron, in a few words?"]
    together = texts(smollm2, questions, decoding)
    assert [row.ids for row in together] == [texts(smollm2, [question], decoding)[0].ids for question in questions]


def test_the_seed_decides_the_sample(smollm2: Any) -> None:
    decoding = Decoding(max_tokens=8, sample=True, temperature=1.5, rng=1)
    first, again = (texts(smollm2, ["Tell me a story."], decoding)[0].ids for _ in range(2))
    (other,) = texts(smollm2, ["Tell me a story."], replace(decoding, rng=2))
    assert first == again != other.ids


def test_streamed_pieces_make_up_the_text_even_where_characters_span_tokens(smollm2: Any) -> None:
    prompt = 'Repeat exactly: "日本語 🐱 café naïve"'
    ids = encode(smollm2.tokenizer, Prompt(text=prompt, seed="日本語 🐱 café naïve 日本")).ids
    steps = generate(smollm2.model, smollm2.tokenizer, [ids], Decoding(max_tokens=30))
    pieces = []
    while True:
        try:
            pieces += next(steps).pieces
        except StopIteration as stop:
            (row,) = stop.value
            break
    assert "".join(pieces) == row.text == smollm2.tokenizer.decode(row.ids, skip_special_tokens=True)
    assert "�" not in "".join(pieces[:-1])


def test_a_stop_text_ends_the_row_and_is_not_part_of_it(smollm2: Any) -> None:
    (row,) = texts(smollm2, ["What is the capital of Texas?"], Decoding(stops=(" of Texas",)))
    assert row.text == "The capital" and row.stopped == "stop"


#: Options of transformers' own `generate`, and what they are called here.
RULES = [
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2},
    {"repetition_penalty": 1.1, "no_repeat_ngram_size": 3},
]


def ruled(options: dict[str, Any], **how: Any) -> Decoding:
    return Decoding(
        repetition_penalty=options.get("repetition_penalty", 1.0),
        no_repeat_ngram=options.get("no_repeat_ngram_size", 0),
        **how,
    )


def generated_by_transformers(opened: Any, prompts: list[tuple[int, ...]], tokens: int, **options: Any) -> list[Any]:
    pad = opened.tokenizer.pad_token_id
    longest = max(map(len, prompts))
    ids = torch.tensor([[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    out = opened.model.generate(
        ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        eos_token_id=None,
        pad_token_id=pad,
        **options,
    )
    return out[:, longest:].tolist()


@pytest.mark.parametrize(
    ("family", "options"),
    [*(("llama", options) for options in RULES), *((family, RULES[-1]) for family in ("gemma3", "gpt2", "qwen3_moe"))],
)
def test_rules_against_repetition_are_those_of_transformers(family: str, options: dict[str, Any]) -> None:
    opened = SimpleNamespace(model=tiny(family), tokenizer=tiny_tokenizer())
    prompts = [(1, 9, 27, 17, 9, 27, 5, 33), (1, 12, 8)]
    rows = finished(generate(opened.model, opened.tokenizer, prompts, ruled(options, max_tokens=16)))
    assert [row.ids for row in rows] == generated_by_transformers(opened, prompts, 16, **options)
    for prompt, row in zip(prompts, rows, strict=True):
        assert [row.ids] == generated_by_transformers(opened, [prompt], 16, **options)


def test_rules_against_repetition_say_what_transformers_says_of_real_prompts(smollm2: Any) -> None:
    questions = ["Say the word cat ten times.", "Repeat: la la la la"]
    prompts = [encode(smollm2.tokenizer, Prompt(text=question)).ids for question in questions]
    options = {"repetition_penalty": 1.2, "no_repeat_ngram_size": 2}
    rows = finished(generate(smollm2.model, smollm2.tokenizer, prompts, ruled(options, max_tokens=10)))
    assert [row.ids for row in rows] == generated_by_transformers(smollm2, prompts, 10, **options)
    assert all(row.guarded for row in rows)


def longest_run(ids: list[int]) -> int:
    return max(len(list(run)) for _, run in groupby(ids))


@contextmanager
def pushing(model: Any, token: int, gain: float = 1e4) -> Iterator[None]:
    """A model that says one token whatever it reads."""
    head = model.get_output_embeddings()

    def push(module: Any, given: Any, logits: torch.Tensor) -> torch.Tensor:
        return logits + gain * torch.nn.functional.one_hot(torch.tensor(token), logits.shape[-1])

    handle = head.register_forward_hook(push)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("sample", [False, True])
def test_the_guard_forbids_a_third_identical_token_and_counts_how_often(sample: bool) -> None:
    model, tokenizer = tiny("llama"), tiny_tokenizer()
    prompts = [[1, 9, 27, 40, 40], [1, 40]]
    decoding = Decoding(max_tokens=20, sample=sample, temperature=1.0)
    with pushing(model, 40):
        stuttering = finished(generate(model, tokenizer, prompts, decoding))
        rows = finished(generate(model, tokenizer, prompts, replace(decoding, guard=True)))
    for plain, row in zip(stuttering, rows, strict=True):
        assert plain.ids == [40] * 20 and plain.guarded is None
        # What the prompt ends with does not count: two of the token, then another, and so on.
        assert [token == 40 for token in row.ids] == [True, True, False] * 6 + [True, True]
        assert longest_run(row.ids) == 2 and row.guarded == 6


@pytest.mark.parametrize("options", [{"repetition_penalty": 1e6}, {"no_repeat_ngram_size": 1}])
def test_padding_does_not_count_as_repetition(options: dict[str, Any]) -> None:
    model, tokenizer = tiny("llama"), tiny_tokenizer()
    prompts = [[1, 9, 27, 17, 9, 27], [1, 12]]
    with pushing(model, tokenizer.pad_token_id):
        rows = finished(generate(model, tokenizer, prompts, ruled(options, max_tokens=4)))
    assert [row.ids[0] for row in rows] == [tokenizer.pad_token_id] * 2
    assert all(tokenizer.pad_token_id not in row.ids[1:] for row in rows)


@given(
    seed=st.integers(0, 30),
    sample=st.booleans(),
    penalty=st.sampled_from([0.5, 1.0]),
    prompts=st.lists(st.lists(st.integers(4, 63), min_size=1, max_size=6), min_size=1, max_size=3),
)
@settings(max_examples=20, deadline=None)
def test_no_token_ever_stands_three_times_in_a_row_under_the_guard(
    seed: int, sample: bool, penalty: float, prompts: list[list[int]]
) -> None:
    model, tokenizer = tiny("qwen2", seed), tiny_tokenizer()
    decoding = Decoding(max_tokens=24, sample=sample, temperature=0.3, rng=seed, repetition_penalty=penalty)
    free = finished(generate(model, tokenizer, prompts, decoding))
    rows = finished(generate(model, tokenizer, prompts, replace(decoding, guard=True)))
    assert all(longest_run(row.ids) <= 2 for row in rows)
    for one, other in zip(free, rows, strict=True):
        if longest_run(one.ids) <= 2:
            assert one.ids == other.ids
        elif not sample:
            assert other.guarded


def test_a_text_that_repeats_nothing_is_the_same_under_the_guard(smollm2: Any) -> None:
    ends = ending_ids(smollm2.model, smollm2.tokenizer)
    (row,) = texts(smollm2, ["What is the capital of Texas?"], Decoding(ends=ends, guard=True))
    assert (row.text, row.stopped, row.guarded) == ("The capital of Texas is Austin.", "eos", 0)


def test_rules_that_leave_no_token_are_not_followed() -> None:
    model, tokenizer = tiny("llama"), tiny_tokenizer()
    decoding = Decoding(max_tokens=70, no_repeat_ngram=1, sample=True)
    (row,) = finished(generate(model, tokenizer, [[1, 9, 27]], decoding))
    assert len(row.ids) == 70 and len(set(row.ids[:61])) == 61


def test_read_counts_what_the_model_was_given_of_each_row(smollm2: Any) -> None:
    ends = ending_ids(smollm2.model, smollm2.tokenizer)
    questions = ["What is the capital of Texas?", "Tell me a story."]
    prompts = [encode(smollm2.tokenizer, Prompt(text=question)).ids for question in questions]
    ended, cut = finished(generate(smollm2.model, smollm2.tokenizer, prompts, Decoding(max_tokens=12, ends=ends)))
    assert ended.stopped == "eos" and ended.read == len(prompts[0]) + len(ended.ids)
    assert cut.stopped == "length" and cut.read == len(prompts[1]) + 11
    (stopped,) = finished(generate(smollm2.model, smollm2.tokenizer, prompts[:1], Decoding(stops=(" of Texas",))))
    assert stopped.read == len(prompts[0]) + len(stopped.ids) - 1


@contextmanager
def spoilt(model: Any, row: int, step: int, value: float) -> Iterator[None]:
    """A model whose logits of one row hold, at one step of generation, something that is no number."""
    passes = 0

    def spoil(module: Any, given: Any, logits: torch.Tensor) -> torch.Tensor:
        nonlocal passes
        passes += 1
        if passes - 1 == step:
            logits = logits.clone()
            logits[row, -1, 7 if value == value else slice(5, 9)] = value
        return logits

    handle = model.get_output_embeddings().register_forward_hook(spoil)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("how", [{}, {"sample": True}, {"guard": True, "no_repeat_ngram": 2}])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("step", [0, 4])
def test_a_row_whose_logits_are_no_numbers_stops_and_the_rest_go_on(
    step: int, value: float, how: dict[str, Any]
) -> None:
    model, tokenizer = tiny("llama"), tiny_tokenizer()
    prompts, decoding = [[1, 9, 27, 17], [1, 12], [1, 30, 31]], Decoding(max_tokens=10, **how)
    whole = finished(generate(model, tokenizer, prompts, decoding))
    with spoilt(model, 1, step, value):
        rows = finished(generate(model, tokenizer, prompts, decoding))
    assert rows[0] == whole[0] and rows[2] == whole[2]
    assert (rows[1].stopped, rows[1].failed_at, rows[1].read) == ("nan", step, 2 + step)
    assert rows[1].ids == whole[1].ids[:step]


def test_a_text_that_fails_at_once_is_empty_and_ends_the_generation() -> None:
    model, tokenizer = tiny("llama"), tiny_tokenizer()
    with spoilt(model, 0, 0, float("nan")):
        steps = list(generate(model, tokenizer, [[1, 9]], Decoding(max_tokens=10)))
    assert [step.pieces for step in steps] == [("",)]


def test_closing_the_generator_half_way_leaves_nothing_behind(smollm2: Any) -> None:
    ids = encode(smollm2.tokenizer, Prompt(text="Tell me a story.")).ids
    steps = generate(smollm2.model, smollm2.tokenizer, [ids], Decoding())
    next(steps)
    steps.close()
    assert count_hooks(smollm2.model) == 0
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()


@pytest.mark.parametrize("how", [{}, {"top_k": 7}, {"top_p": 0.8}])
def test_a_sampled_text_is_that_of_multinomial_with_a_generator_of_each_row(how: dict[str, Any]) -> None:
    model, tokenizer = tiny("llama"), tiny_tokenizer()
    prompts = [[1, 9, 27, 17], [1, 12]]
    decoding = Decoding(max_tokens=6, sample=True, temperature=1.3, rng=5, **how)
    rows = finished(generate(model, tokenizer, prompts, decoding))
    generators = [torch.Generator().manual_seed(5) for _ in prompts]
    for step in range(6):
        for prompt, row, rng in zip(prompts, rows, generators, strict=True):
            scores = model(input_ids=torch.tensor([prompt + row.ids[:step]])).logits[0, -1].float() / 1.3
            if "top_k" in how:
                scores[scores < scores.topk(7).values[-1]] = -torch.inf
            if "top_p" in how:
                ordered = scores.sort()
                cut = ordered.values.softmax(-1).cumsum(-1) <= 1 - 0.8
                scores[ordered.indices[cut]] = -torch.inf
            assert row.ids[step] == int(torch.multinomial(scores.softmax(-1), 1, generator=rng))
