"""What lenses find, as plain data: predictions between layers, parts of a logit, and how well a lens was fitted."""

from __future__ import annotations

from msgspec import Struct

#: The number of the layer below all others: the output of the embeddings.
EMBEDDINGS = -1


class LensLayer(Struct, frozen=True, kw_only=True):
    """The predictions after one layer, a value for each position that was read.

    `top` are the likeliest tokens, `top_probability` their probabilities. `probability` and `rank` (1 is the likeliest)
    are those of the tokens that are asked for. `entropy` is that of the prediction and `kl` its divergence from the
    model's own, KL(model ‖ lens), both in nats. Layer −1 is the output of the embeddings.
    """

    layer: int
    top: tuple[str, ...]
    top_probability: tuple[float, ...]
    probability: tuple[float, ...]
    rank: tuple[int, ...]
    entropy: tuple[float, ...]
    kl: tuple[float, ...]


class LensRow(Struct, frozen=True, kw_only=True):
    """The prediction after one layer at one position. `tokens` are the likeliest, the first with `top_probability`.

    Other fields are as in `LensLayer`.
    """

    layer: int
    tokens: tuple[str, ...]
    top_probability: float
    probability: float
    rank: int
    entropy: float
    kl: float


class LogitPart(Struct, frozen=True, kw_only=True):
    """What one component adds to a logit or to a difference of two.

    `kind` is "embeddings", "attention", "mlp", "per-layer embeddings" or "biases" (of the final norm and the head). All
    of these sum to the target. `layer` is None where the component belongs to none.
    """

    kind: str
    layer: int | None
    value: float


class HeadPart(Struct, frozen=True, kw_only=True):
    """What one attention head adds to a logit: a part of its layer's attention.

    `head` is None for what the attention of a layer adds whatever its heads compute: the bias of its output projection.
    """

    layer: int
    head: int | None
    value: float


class LensQuality(Struct, frozen=True, kw_only=True):
    """How far the predictions after a layer are from the model's own on texts that were held out, in nats.

    `plain` is the mean KL(model ‖ logit lens), `fitted` the mean KL(model ‖ this lens).
    """

    layer: int
    plain: float
    fitted: float


class LensAbout(Struct, frozen=True, kw_only=True):
    """The manifest of a fitted lens: its kind, what it was fitted on, and how.

    `kind` is "tuned", "jacobian" or "relevance". `over` names the texts, `sha256` is the hash of their ids, `texts`
    and `tokens` count what was fitted on, `held_out` the tokens that `quality` is measured on. `recipe` is how it was
    fitted, in words. `under` is a key of what was suppressed and which edits were on (`Session.state_key`).
    """

    kind: str
    over: str
    texts: int
    tokens: int
    held_out: int
    recipe: str
    quality: tuple[LensQuality, ...] = ()
    sha256: str = ""
    under: str = ""
