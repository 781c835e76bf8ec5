"""What can be said about an open model and about tokens, without importing torch."""

from __future__ import annotations

from msgspec import Struct

#: The ability to be made linear by the rules of relevance propagation, by the name that refusals have it under.
RULES = "relp"


def same_model(one: str, other: str) -> bool:
    """Whether two fingerprints are those of one model: the weights', and the configuration's where both have it.

    Those of earlier versions are of weights alone.
    """
    (weights, _, config), (weights_too, _, config_too) = one.partition("+"), other.partition("+")
    return weights == weights_too and (config == config_too or not config or not config_too)


class ModelInfo(Struct, frozen=True, kw_only=True):
    """An open model, described.

    `name` is what the user typed; `family` the transformers `model_type`; `d_mlp` has one width a
    layer (neurons of that layer, over all experts). `refusals` names what this model cannot do,
    as pairs of (ability, reason); `generation_rules` what its generation_config asks of other programs.
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


class Opening(Struct, frozen=True, kw_only=True):
    """What a model was asked for with: enough to open it again.

    `name` is what the user typed, `folder` the working folder it was typed in, since a name can be a
    relative path. `trust_remote_code` is what the user gave for this one model.
    """

    name: str
    dtype: str = "auto"
    device: str = "auto"
    device_map: str | None = None
    load_in: str | None = None
    trust_remote_code: bool = False
    folder: str = ""


class Turn(Struct, frozen=True):
    """What was said by the "user" or the "assistant".

    `thought` is what the assistant thought before it said that, `under` names what was suppressed and live then.
    """

    role: str
    text: str
    thought: str = ""
    under: str = ""


class Conversation(Struct, frozen=True, kw_only=True):
    """What was said so far, a user's turn and its reply by turns; `system` and `thinking` as in a `Prompt`."""

    turns: tuple[Turn, ...] = ()
    system: str | None = None
    thinking: bool | None = None

    def __len__(self) -> int:
        """How many exchanges there were, each a question and its reply."""
        return len(self.turns) // 2


class Prompt(Struct, frozen=True, kw_only=True):
    """What the user asks the model to read, before any template.

    `chat` renders `text` as a user's turn through the model's chat template; otherwise `text` is
    read as it stands. `seed` is the start of the reply. `thinking` is None where it is left to the
    template's own default. `system` None leaves the template's default system text in place.
    `history` are the turns before `text`. `exact` are the ids that are read whatever all of this comes to now: those
    that something was found on.
    """

    text: str
    seed: str = ""
    chat: bool = True
    system: str | None = None
    thinking: bool | None = None
    history: tuple[Turn, ...] = ()
    exact: tuple[int, ...] = ()


class Encoded(Struct, frozen=True, kw_only=True):
    """A prompt as the model reads it: the exact ids, in order, with one string for each.

    `text` is what was tokenised (template and seed included); `bos` says how many beginning-of-
    sequence tokens stand at the start (1, or 0 in families that have none), `prefix` how many of the tokens
    that the tokenizer puts before plain text (a BOS, or others). `reply` says how many ids
    stand before the reply: what the template writes at its beginning, and the seed, belong to it.
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
    """A vocabulary entry: its id and the text it stands for (a leading space included)."""

    id: int
    text: str


class TokenChance(Struct, frozen=True):
    """A token as a candidate for the next position: its probability and (raw) logit."""

    id: int
    text: str
    probability: float
    logit: float
    rank: int
