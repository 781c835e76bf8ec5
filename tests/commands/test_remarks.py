"""Remarks of the verbs of the prompt: on words that could be comments, on rules that other programs apply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from sessions.model.opening import adopt
from sessions.session import Session
from tests.commands.driving import failure, result
from tests.families import tiny, tiny_tokenizer


def test_a_word_that_could_be_a_comment_is_said_to_be_text(little: Session) -> None:
    shown = result(little, "prompt the cat #a at #1")
    assert shown.encoded.prompt.text == "the cat #a at #1"
    assert shown.notes[0] == "'#a' is part of the text: a comment has a space after its #"
    assert result(little, "prompt the cat  # a comment").encoded.prompt.text == "the cat"
    assert result(little, "seed #1").encoded.prompt.seed == "#1"
    assert result(little, 'prompt "the # cat"').encoded.prompt.text == "the # cat"


def test_no_other_format_is_written_than_was_asked_for(little: Session) -> None:
    refused = failure(little, "export circuit.txt")
    assert "--format json" in refused.hint and not Path("circuit.txt").exists()
    assert result(little, "export circuit.txt --format json").format == "json"
    assert result(little, "export circuit").format == "json"


# ---- what a generation_config asks of other programs


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"repetition_penalty": 1.1}, "a repetition penalty of 1.1 (set repetition_penalty 1.1)"),
        ({"no_repeat_ngram_size": 3}, "no 3 tokens in a row twice (set no_repeat_ngram 3)"),
        ({"suppress_tokens": [5, 6], "min_new_tokens": 8}, "2 tokens never said; 8 tokens at least"),
        ({"begin_suppress_tokens": [5]}, "1 token never said first"),
        ({"bad_words_ids": [[5], [6, 7]]}, "2 texts never said"),
        ({"forced_eos_token_id": 2}, "token 2 said last"),
        ({"stop_strings": ["\nQ:"]}, r"an end before '\nQ:' (--stop)"),
        (
            {"repetition_penalty": 1.0, "num_beams": 1, "do_sample": True, "temperature": 0.6, "eos_token_id": [2, 3]},
            "",
        ),
    ],
)
def test_rules_that_other_programs_apply_are_said_when_the_model_is_opened(
    empty: Session, asked: dict[str, Any], said: str
) -> None:
    model = tiny("llama")
    model.generation_config = GenerationConfig(**asked)
    model.save_pretrained("tiny")
    tiny_tokenizer().save_pretrained("tiny")
    opened, described = result(empty, "model tiny"), result(empty, "model")
    for notes in (opened.notes, described.notes):
        found = [note.partition(": ")[2] for note in notes if "generation_config" in note]
        assert found == ([said] if said else [])
    result(empty, "prompt the cat")
    assert len(result(empty, "generate --max-tokens 4").arm.ids) == 4  # and none of them is applied


def test_a_line_that_does_the_same_is_one(empty: Session) -> None:
    for line in ("set repetition_penalty 1.1", "set no_repeat_ngram 3"):
        result(empty, line)


# ---- numbers that are none


def test_top_and_prob_name_the_layer_that_first_gives_what_is_no_number(empty: Session) -> None:
    empty.use_model(adopt(tiny("llama"), tiny_tokenizer(), name="tiny"))
    result(empty, "prompt the cat")
    result(empty, "top 3")
    weight = empty.opened().model.get_submodule("model.layers.1.mlp.down_proj").weight
    weight[0, 0] = torch.nan
    for line in ("top", 'prob " a"'):
        refused = failure(empty, line)
        assert "layer 1 is the first to compute no number, at token 0" in refused.message
        assert "mlp.down_proj.weight" in refused.hint


# ---- targets of several tokens


def test_a_target_of_several_tokens_among_many_prompts_is_said_to_stand_by_its_first(little: Session) -> None:
    lines = [{"prompt": "the cat", "target": " a dog", "counterfactual": " b", "raw": True},
             {"prompt": "the hen", "target": " c", "counterfactual": " d dog", "raw": True}]  # fmt: skip
    Path("keys.jsonl").write_text("\n".join(map(json.dumps, lines)))
    several = (
        "1 of 2 targets is several tokens; the first stands for the whole: ' a' for ' a dog'",
        "1 of 2 counterfactuals is several tokens; the first stands for the whole: ' d' for ' d dog'",
    )
    assert result(little, "discover --prompts keys.jsonl --top 5 --keep-universal").notes[:2] == several
    assert set(several) <= set(result(little, "faithfulness keys.jsonl").notes)
    assert set(several) <= set(result(little, "sweep L1/N3 0 1 --prompts keys.jsonl").notes)
