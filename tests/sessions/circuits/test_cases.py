"""Many prompts in one batch are what each is alone, and files of prompts say where they are wrong."""

from __future__ import annotations

import pytest
import torch

from sessions.circuits.cases import last_logits, resolve_targets
from sessions.errors import ArtifactError, UsageError
from sessions.events import finished
from sessions.model.hooks import count_hooks
from sessions.model.opening import OpenModel, adopt
from sessions.model.rows import batches
from sessions.texts.prompt_files import PromptRecord, read_prompts
from tests.families import DENSE, MOE, tiny, tiny_tokenizer

ROWS = ([1, 9, 30, 12], [1, 14], [1, 20, 21, 22, 23, 40, 41])


@pytest.mark.parametrize("family", DENSE + MOE)
def test_each_row_of_a_batch_computes_what_it_would_alone(family: str) -> None:
    opened = adopt(tiny(family), tiny_tokenizer(), name=family)
    hooks = count_hooks(opened.model)
    together = last_logits(opened, ROWS)
    for row, ids in zip(together, ROWS, strict=True):
        with torch.inference_mode():
            alone = opened.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        torch.testing.assert_close(row, alone, rtol=1e-4, atol=1e-4)
    assert count_hooks(opened.model) == hooks


def test_batches_hold_every_row_once_and_stay_within_their_tokens() -> None:
    lengths = [5, 50, 7, 7, 3, 30]
    parts = list(batches(lengths, 32))
    assert sorted(row for part in parts for row in part) == list(range(6))
    assert all(len(part) == 1 or max(lengths[row] for row in part) * len(part) <= 32 for part in parts)


def test_a_target_that_a_prompt_lacks_is_the_models_own(smollm2: OpenModel) -> None:
    asked = (
        PromptRecord(prompt="The keys near the cabinet", target=" are", counterfactual=" is", raw=True),
        PromptRecord(prompt="What is the capital of Texas?", seed="The capital of Texas is"),
    )
    keys, texas = finished(resolve_targets(smollm2, asked))
    assert [token.text for token in (keys.target.tokens[0], keys.target.counterfactual)] == [" are", " is"]
    assert texas.target.tokens[0].text == " Austin" and texas.rank == 1 and texas.target.value > 0
    logits = last_logits(smollm2, [keys.ids])[0]
    assert keys.target.value == pytest.approx(float(logits[keys.wanted[0]] - logits[keys.wanted[1]]), abs=1e-3)


def test_a_target_that_is_its_own_counterfactual_is_refused(smollm2: OpenModel) -> None:
    with pytest.raises(UsageError, match="'The keys' begin with the same token"):
        finished(
            resolve_targets(smollm2, [PromptRecord(prompt="The keys", target=" are", counterfactual=" are", raw=True)])
        )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "has no prompt"),
        (b"\n  \n", "has no prompt"),
        (b'{"prompt": "a"}\n\n{"prompt": ', "x.jsonl, line 3 is malformed"),
        (b'{"prompt": "a"}\n["b"]', "x.jsonl, line 2 is malformed"),
        (b'{"target": " a"}', "missing required field `prompt`"),
        (b'{"prompt": "a", "taget": "b"}', "line 1 has an unknown field 'taget'"),
        (b'{"prompt": 3}', r"line 1 is malformed: Expected `str`, got `int` - at `\$.prompt`"),
        (b'{"prompt": ""}', "line 1 has an empty prompt"),
        (b'{"prompt": "a"}\n\xff', "not UTF-8 text: line 2"),
    ],
)
def test_a_bad_file_of_prompts_says_which_line(data: bytes, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        read_prompts(data, "x.jsonl")


def test_a_file_of_text_is_a_prompt_a_line() -> None:
    assert [each.prompt for each in read_prompts(b"one two\r\n\nthree\n", "x.txt")] == ["one two", "three"]
    assert all(each.raw for each in read_prompts(b"one\ntwo", "x.txt", raw=True))
