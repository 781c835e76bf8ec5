"""Generation says what `transformers.generate` says, alone or in a batch, and can be stopped anywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from sessions.events import finished
from sessions.model.generation import Decoding, Row, ending_ids, generate
from sessions.model.hooks import count_hooks
from sessions.model.info import Prompt
from sessions.model.tokens import encode
from tests.families import DENSE, MOE, tiny, tiny_tokenizer


def texts(opened: Any, prompts: list[str], decoding: Decoding) -> list[Row]:
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
    decoding = Decoding(max_tokens=20, sample=True, temperature=1.0, rng=3)
    questions = ["Tell me a story.", "What is a neuron, in a few words?"]
    together = texts(smollm2, questions, decoding)
    assert [row.ids for row in together] == [texts(smollm2, [question], decoding)[0].ids for question in questions]


def test_the_seed_decides_the_sample(smollm2: Any) -> None:
    decoding = Decoding(max_tokens=20, sample=True, temperature=1.5, rng=1)
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


def test_closing_the_generator_half_way_leaves_nothing_behind(smollm2: Any) -> None:
    ids = encode(smollm2.tokenizer, Prompt(text="Tell me a story.")).ids
    steps = generate(smollm2.model, smollm2.tokenizer, [ids], Decoding())
    next(steps)
    steps.close()
    assert count_hooks(smollm2.model) == 0
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
