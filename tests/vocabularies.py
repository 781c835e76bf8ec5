"""Tokenizers in the manner of those that models come with, and chat templates in the manner of theirs.

All are made here, of a few dozen tokens; what differs between them is what differs between the real ones: where blanks
go, what stands before a text and behind it, how a character that no token has is spelt.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from sessions.model.hooks import after
from sessions.model.opening import OpenModel, adopt
from tests.families import tiny, tiny_tokenizer

_SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
#: Marks of the templates below, as vocabularies have them: tokens of their own.
MARKS = ["<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>", "[gMASK]", "<sop>", "[INST]", "[/INST]"]


def sentencepiece(scheme: str = "normalizer", *, marks: bool = False) -> PreTrainedTokenizerFast:
    """Blanks as `▁`, one put before every text, bytes for what has no token: Llama 2, Mistral, Phi 3.

    `scheme` says who puts it there: the "normalizer", also behind every special token, or the pre-tokenizer, "first"
    at the beginning of a text alone or "always".
    """
    letters = [*string.ascii_lowercase, *"A</>"]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    pairs = [("▁", "▁"), *(("▁", letter) for letter in letters), ("a", "t"), ("▁t", "h"), ("t", "h")]
    words = [*_SPECIAL, *bytes_, "▁", *letters, ".", ",", "?", ":", *dict.fromkeys("".join(pair) for pair in pairs)]
    numbers = {word: number for number, word in enumerate(words)}
    backend = Tokenizer(models.BPE(numbers, pairs, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if scheme == "normalizer":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", scheme, split=False)
    strip = decoders.Strip(" ", 1, 0)
    replace = decoders.Replace("▁", " ")
    backend.decoder = decoders.Sequence([replace, decoders.ByteFallback(), decoders.Fuse(), strip])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _fast(backend, marks)


def byte_level(*, marks: bool = False, ends: bool = False) -> PreTrainedTokenizerFast:
    """GPT-2's manner, with every byte: blanks belong to the word behind them. `ends` puts `</s>` behind every text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [("Ġ", letter) for letter in [*string.ascii_lowercase, "A"]] + [("a", "t"), ("t", "h"), ("Ċ", "Ċ")]
    words = [*_SPECIAL, *alphabet, *("".join(pair) for pair in pairs)]
    backend = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, pairs))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    around = "<s> $A </s>" if ends else "<s> $A"
    backend.post_processor = processors.TemplateProcessing(single=around, special_tokens=[("<s>", 1), ("</s>", 2)])
    return _fast(backend, marks)


def glm() -> PreTrainedTokenizerFast:
    """Two tokens before every text, neither of which is called BOS."""
    tokenizer = byte_level(marks=True)
    before = [(mark, tokenizer.convert_tokens_to_ids(mark)) for mark in ("[gMASK]", "<sop>")]
    single = processors.TemplateProcessing(single="[gMASK] <sop> $A", special_tokens=before)
    tokenizer.backend_tokenizer.post_processor = single
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="</s>", pad_token="<pad>")
    assert made.bos_token_id is None
    return made


def _fast(backend: Tokenizer, marks: bool) -> PreTrainedTokenizerFast:
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    if marks:
        made.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    return made


#: Name → a tokenizer of that manner.
VOCABULARIES: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "tiny": tiny_tokenizer,
    "byte level": byte_level,
    "byte level, marks": lambda: byte_level(marks=True),
    "byte level, ends": lambda: byte_level(ends=True),
    "normalizer": sentencepiece,
    "normalizer, marks": lambda: sentencepiece(marks=True),
    "metaspace": lambda: sentencepiece("first", marks=True),
    "metaspace, always": lambda: sentencepiece("always", marks=True),
    "glm": glm,
}

_LOOP = "{% for m in messages %}"
_END = "{% endfor %}"
_CHATML = _LOOP + "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n" + _END
_OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

#: Name → a chat template of that manner.
CHATS: dict[str, str] = {
    "chatml": _CHATML + _OPEN,
    # A blank before a reply, and none after it: Mistral 7B v0.1.
    "mistral": "<s>" + _LOOP + "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %}"
    "{{ ' ' + m.content|trim + '</s>' }}{% endif %}" + _END,
    # A blank on both sides, one before what ends the turn: Llama 2.
    "llama2": _LOOP + "{% if m.role == 'user' %}<s>[INST] {{ m.content|trim }} [/INST]{% else %}"
    "{{ ' ' + m.content + ' </s>' }}{% endif %}" + _END,
    # None: Mistral Nemo.
    "nemo": "<s>" + _LOOP + "{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]{% else %}"
    "{{ m.content + '</s>' }}{% endif %}" + _END,
    # Everything trimmed: Llama 3, Gemma.
    "trimming": "<s>" + _LOOP + "<|im_start|>{{ m.role }}\n\n{{ m.content | trim }}<|im_end|>" + _END
    + "{% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}",
    # An empty thought before the last answer: Qwen3.
    "empty thought": _LOOP + "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}<think>\n"
    "{{ m.reasoning_content or '' }}\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n" + _END
    + "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is defined and not enable_thinking %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}",
    # A thought that is opened for the model, and left out of finished turns: DeepSeek-R1, QwQ.
    "opened thought": _LOOP + "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{{ m.content.split('</think>')[-1].lstrip('\n') }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n" + _END
    + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}",
    # Nothing behind a turn but the next one: GLM-4.
    "glm": "[gMASK]<sop>" + _LOOP + "<|{{ m.role }}|>\n{{ m.content }}" + _END
    + "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
    # Words for roles, and no special token at all but the end: Vicuna.
    "vicuna": "<s>" + _LOOP + "{% if m.role == 'user' %}USER: {{ m.content }} {% else %}"
    "ASSISTANT: {{ m.content }}</s>{% endif %}" + _END + "{% if add_generation_prompt %}ASSISTANT:{% endif %}",
    # The same with a blank at the end of the prompt.
    "blank": "<s>" + _LOOP + "{% if m.role == 'user' %}USER: {{ m.content }} {% else %}"
    "ASSISTANT: {{ m.content }}</s>{% endif %}" + _END + "{% if add_generation_prompt %}ASSISTANT: {% endif %}",
    # Nothing that ends a turn.
    "plain": _LOOP + "{{ m.role }}: {{ m.content }}\n" + _END + "{% if add_generation_prompt %}assistant:{% endif %}",
}  # fmt: skip


@cache
def spoken(vocabulary: str, chat: str | None = None) -> Any:
    """A tokenizer of one manner with a template of another; the same one each time."""
    tokenizer = VOCABULARIES[vocabulary]()
    tokenizer.chat_template = None if chat is None else CHATS[chat]
    return tokenizer


@cache
def opened(vocabulary: str, chat: str | None = None) -> OpenModel:
    """A model for such a tokenizer; the same one each time."""
    tokenizer = spoken(vocabulary, chat)
    return adopt(tiny("llama", vocab_size=len(tokenizer)), tokenizer, name=vocabulary)


@contextmanager
def saying(model: OpenModel, ids: Sequence[int]) -> Iterator[None]:
    """Inside the block the model writes these ids, one a pass, and then what ends a text."""
    left = [*ids, int(model.tokenizer.eos_token_id)]

    def said(_: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        chosen = torch.zeros_like(logits)
        chosen[..., left.pop(0)] = 1e4
        return chosen

    with after(model.anatomy.head, said):
        yield
