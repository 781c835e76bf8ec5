"""Descriptions of models, prompts and tokens that need no torch."""

from __future__ import annotations

from msgspec import Struct

#: The name, in refusals, of the ability to be linearised by the rules of relevance propagation.
RULES = "relp"
#: The name, in refusals, of the ability to tell the heads of an attention apart.
HEADS = "heads"


def same_model(one: str, other: str) -> bool:
    """Whether two fingerprints belong to one model: equal weights and, if both have one, equal configuration.

    Fingerprints of earlier versions cover the weights only.
    """
    (weights, _, config), (weights_too, _, config_too) = one.partition("+"), other.partition("+")
    return weights == weights_too and (config == config_too or not config or not config_too)


class ModelInfo(Struct, frozen=True, kw_only=True):
    """The description of an open model.

    `name` is what the user typed; `family` is the transformers `model_type`. `d_mlp` is the number of neurons of each
    layer, over all experts. `refusals` are pairs of (ability, reason) that the model lacks. `generation_rules` are the
    settings of its generation_config that the workbench does not apply. `decoding` is "" or, for a model that was
    opened with --compile, "compiled" or "not compiled: " and why.
    """

    name: str
    source: str
    family: str
    fingerprint: str
    dtype: str
    device: str
    quantisation: str = ""
    n_layers: int
    d_model: int
    d_mlp: tuple[int, ...]
    n_heads: int
    vocab_size: int
    n_parameters: int
    has_template: bool
    has_thinking: bool
    experts: bool = False
    refusals: tuple[tuple[str, str], ...] = ()
    generation_rules: tuple[str, ...] = ()
    decoding: str = ""


class Opening(Struct, frozen=True, kw_only=True):
    """The options that a model was opened with, enough to open it again.

    `name` is what the user typed, and `folder` the working folder at that time, since a name can be a
    relative path. `trust_remote_code` applies to this one model.
    """

    name: str
    dtype: str = "auto"
    device: str = "auto"
    device_map: str | None = None
    max_memory: str | None = None
    load_in: str | None = None
    trust_remote_code: bool = False
    compile: bool = False
    folder: str = ""


class Turn(Struct, frozen=True):
    """One turn of a conversation, by the "user" or the "assistant".

    `thought` is the assistant's thought before its text. `under` names what was suppressed and live at the time.
    """

    role: str
    text: str
    thought: str = ""
    under: str = ""


class Conversation(Struct, frozen=True, kw_only=True):
    """The turns so far, a user's and the reply alternating; `system` and `thinking` as in a `Prompt`."""

    turns: tuple[Turn, ...] = ()
    system: str | None = None
    thinking: bool | None = None

    def __len__(self) -> int:
        """The number of exchanges, each a question and its reply."""
        return len(self.turns) // 2


class Prompt(Struct, frozen=True, kw_only=True):
    """A prompt before any template.

    `chat` renders `text` as a user's turn through the model's chat template; otherwise `text` is
    raw. `seed` is the start of the reply. `thinking` None keeps the template's default, and `system` None its default
    system text. `history` are the turns before `text`. `exact`, if given, are the ids to read instead of encoding the
    rest: those that a circuit was found on, for example.
    """

    text: str
    seed: str = ""
    chat: bool = True
    system: str | None = None
    thinking: bool | None = None
    history: tuple[Turn, ...] = ()
    exact: tuple[int, ...] = ()


class Encoded(Struct, frozen=True, kw_only=True):
    """A prompt as the model reads it: the exact ids, and the text of each.

    `text` is the tokenised text, with template and seed. `bos` counts the beginning-of-sequence tokens at the start (1,
    or 0 in families that have none). `prefix` counts the tokens at the start that the tokenizer puts before plain text
    (a BOS, or others). `reply` counts the ids before the reply, which begins with the template's text for it and the
    seed.
    """

    prompt: Prompt
    text: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    bos: int
    templated: bool
    reply: int = 0
    prefix: int = 0


class Token(Struct, frozen=True):
    """A vocabulary entry: its id and its text, with a leading space if it has one."""

    id: int
    text: str


class TokenChance(Struct, frozen=True):
    """A token as a candidate for the next position: its probability and (raw) logit."""

    id: int
    text: str
    probability: float
    logit: float
    rank: int
