"""`Target`: the quantity of the output that a circuit explains. Data only; `logits` computes it from a pass."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from sessions.model.info import Token


class UnquotedToken(str):
    """A token as it was typed without quotes and without a space before it: ` Austin` may be meant by `Austin`."""


class Target(Struct, frozen=True, kw_only=True):
    """What a circuit explains, and its value on the prompt.

    One of: the logit of `tokens[0]`; that logit minus the logit of `counterfactual` (the logit
    difference); or, with `sequence`, the log-probability of all of `tokens` in a row. `value` is in
    logits, those that the model returns, for the first two and in nats for the third.

    Over several `prompts`, it is the mean of their targets. `tokens` is then empty unless all prompts share
    their tokens. A target without tokens and prompts is no target.
    """

    tokens: tuple[Token, ...]
    counterfactual: Token | None = None
    sequence: bool = False
    value: float = 0.0
    prompts: int = 0

    @property
    def stated(self) -> bool:
        """Whether a target is given at all."""
        return bool(self.tokens or self.prompts)

    def described(self, quote: Callable[[str], str]) -> str:
        """The target in words, such as `logit " Austin" − logit " Dallas"`; `quote` writes its tokens."""
        if not self.tokens:
            return f"mean target of {self.prompts} prompts" if self.stated else "no target"
        return f"mean of {self._of_one(quote)} over {self.prompts} prompts" if self.prompts else self._of_one(quote)

    def _of_one(self, quote: Callable[[str], str]) -> str:
        wanted = quote("".join(token.text for token in self.tokens))
        if self.sequence:
            return f"log p({wanted})"
        if self.counterfactual is None:
            return f"logit {wanted}"
        return f"logit {wanted} − logit {quote(self.counterfactual.text)}"

    def __str__(self) -> str:
        return self.described(lambda text: f'"{text}"')
