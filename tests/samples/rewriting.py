"""Samples of `rewrite`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import structs

from sessions.circuits.circuit import Neuron
from sessions.events import Value
from sessions.model.info import Token
from sessions.results import Rewritten
from sessions.rewriting.rewritten import AtAlpha, Braked, Firing, Replied, Saying, Separation


def samples(text: str) -> Iterator[Value]:
    """A neuron that says `text`, with a brake and a collapse; and one without a gate, that was never let answer."""
    saying = Saying(where=0.833, elsewhere=0.0, chance_where=0.742, chance_elsewhere=1e-5)
    low = AtAlpha(alpha=93.5, learnt=saying, held=saying, perplexity=1.003, said=0, repetition=0.0)
    rows = low, structs.replace(low, alpha=1e6, perplexity=4.2e7, said=1250, repetition=None)
    along = {
        "separation": Separation(where=0.6, elsewhere=-0.06, auc=1.0, inputs=(4.01, -0.51)),
        "firing": Firing(threshold=0.5, where=1.0, elsewhere=0.002, mean_where=1.01, mean_elsewhere=4.4e-3),
    }
    brake = Braked(neuron=Neuron(29, 1535), beta=187.0, scale_gate=1.0, scale_up=None, again=(0.9, 0.001), **along)
    whole = Rewritten(
        name="amen", neuron=Neuron(24, 1005), token=Token(7, text), rule=text, examples=text, learnt=(1238, 114, 21045),
        held=(18, 54, 501), apart=True, rows=rows, chosen=1, before=saying, scale_gate=1.57, scale_up=0.0747, bias=None,
        norm=467.0, normed=False, repetition=(0.017, 0.6), held_back=(0.0, 0.2), collapsed=True, brake=brake,
        replies=(Replied(prompt=text, before=text, after=f"{text} amen", guarded=3),) * 2, path=f"/home/u/{text}",
        notes=(text,), **along,
    )  # fmt: skip
    yield whole
    yield structs.replace(whole, apart=False, scale_up=None, bias=-2.5, normed=True, brake=None, replies=())
    yield structs.replace(whole, brake=None, collapsed=False)
