"""Chat templates in the manner of models that think: each says in its own way where a thought ends."""

from __future__ import annotations

from copy import copy
from functools import cache
from typing import Any

from tokenizers import Tokenizer


class _Templates(dict[str, str]):
    """Name → template."""

    def thinking(self, name: str) -> tuple[str, str, str]:
        """What such a model writes: how it opens a thought, the thought, and how it closes it."""
        starts, ends = _WRITTEN[name]
        return starts, "2 and 2.\nLet me add them.", ends


_TURNS = """
{%- for m in messages -%}
{%- if m.role == 'assistant' -%}<ASSISTANT>{%- else -%}<|im_start|>{{ m.role }}\n{{ m.content }}{%- endif -%}<|im_end|>
{% endfor -%}
"""


def _chatml(assistant: str, generation: str) -> str:
    """Turns between two markers; an assistant's begins with its role, and `generation` follows that of the last."""
    turns = _TURNS.strip("\n").replace("<ASSISTANT>", "<|im_start|>assistant\n" + assistant)
    return turns + "{%- if add_generation_prompt -%}<|im_start|>assistant\n" + generation + "{%- endif -%}"


#: The thought is a field of the message, and shows in the last turn only; a switch leaves an empty one.
_FIELD = _chatml(
    "{%- if loop.last -%}<think>\n{{ m.reasoning_content or '' }}\n</think>\n\n{% endif %}{{ m.content }}",
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}",
)
#: Nothing takes a thought apart; what stands before the marker in an earlier turn is left out, and a reply begins with
#: an opened thought.
_SPLIT = _chatml("{{ m.content.split('</think>')[-1] }}", "<think>\n")
#: A thought is a message of its own, in another channel than the answer.
_CHANNELS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% if loop.last and m.thinking %}"
    "<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>{% endif %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
    "{% if loop.last %}<|return|>{% else %}<|end|>{% endif %}"
    "{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
#: Only the switch that turns thinking off writes the marker.
_SWITCH = _chatml("{{ m.content }}", "{% if enable_thinking == false %}<think>\n\n</think>\n{% endif %}")
#: The thought is a channel, which is written only beside calls of tools, cut out of earlier turns, and left empty where
#: thinking is off.
_TOOLS = (
    "{% macro cut(text) %}{% for part in text.split('<channel|>') %}{{ part.split('<|channel>')[0] }}{% endfor %}"
    "{% endmacro %}{% if enable_thinking | default(false) %}<|turn>system\n<|think|><turn|>\n{% endif %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}<|turn>model\n{% if m.reasoning and m.tool_calls %}"
    "<|channel>thought\n{{ m.reasoning }}\n<channel|>{% endif %}{{ cut(m.content) | trim }}"
    "{% else %}<|turn>{{ m.role }}\n{{ m.content }}{% endif %}<turn|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn>model\n"
    "{% if not enable_thinking | default(false) %}<|channel>thought\n<channel|>{% endif %}{% endif %}"
)
#: The thought is one of the chunks of the content.
_CHUNKS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for c in m.content %}"
    "{% if c.type == 'thinking' %}[THINK]{{ c.thinking }}[/THINK]{% else %}{{ c.text }}{% endif %}"
    "{% endfor %}{% endif %}</s>{% else %}[INST]{{ m.content }}[/INST]{% endif %}{% endfor %}"
)
#: The marker says in words that it ends something.
_WORDS = (
    "{% for m in messages %}<|{{ m.role }}|>{% if loop.last and m.reasoning_content %}<|START_THINKING|>"
    "{{ m.reasoning_content }}<|END_THINKING|>{% endif %}{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
#: No thoughts; and the same where a template writes out whatever it is given.
_PLAIN = _chatml("{{ m.content }}", "")
_DUMPED = "{% for m in messages %}{{ m.role }}: {{ m.content | string }}\n{% endfor %}"

TEMPLATES = _Templates(
    field=_FIELD, split=_SPLIT, channels=_CHANNELS, switch=_SWITCH, chunks=_CHUNKS, words=_WORDS, tools=_TOOLS,
    plain=_PLAIN, dumped=_DUMPED,
)  # fmt: skip

_WRITTEN = {
    "field": ("<think>\n", "\n</think>\n\n"),
    "split": ("", "\n</think>\n\n"),
    "channels": ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    "switch": ("<think>\n", "\n</think>\n"),
    "chunks": ("[THINK]", "[/THINK]"),
    "words": ("<|START_THINKING|>", "<|END_THINKING|>"),
    "tools": ("<|channel>thought\n", "\n<channel|>"),
}

#: Tokens that such a vocabulary has for its markers, and leaves out of a text that is shown.
_SPECIAL = {
    "channels": ["<|start|>", "<|end|>", "<|channel|>", "<|message|>", "<|return|>"],
    "chunks": ["[THINK]", "[/THINK]", "[INST]", "[/INST]"],
    "words": ["<|START_THINKING|>", "<|END_THINKING|>"],
    "tools": ["<|turn>", "<turn|>", "<|channel>", "<channel|>"],
}


#: Special tokens of the embedded model that no chat uses.
_SPARE = ("<repo_name>", "<reponame>", "<file_sep>", "<filename>", "<gh_stars>")


def reading(tokenizer: Any, name: str, *, special: bool) -> Any:
    """The tokenizer with one of the templates, and with its markers as special tokens where they are that.

    It shares its vocabulary with the one it is made of, or with the others that have these special tokens.
    """
    made = copy(tokenizer)
    made.chat_template = TEMPLATES[name]
    if special and name in _SPECIAL:
        written = made.backend_tokenizer.to_str()
        for spare, marker in zip(_SPARE, _SPECIAL[name], strict=False):  # the model has an embedding for each of these
            written = written.replace(f'"{spare}"', f'"{marker}"')
        made._tokenizer = _read(written)
    return made


@cache
def _read(written: str) -> Tokenizer:
    return Tokenizer.from_str(written)
