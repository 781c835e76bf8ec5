"""The tuned lens: for each layer an affine map, trained so that its states predict what the model predicts.

Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens". The translator of a layer is
h + A h + b, and starts as the identity (A = 0, b = 0): before the first step the tuned lens is the logit lens. Each
is trained by itself to minimise the mean KL(model ‖ lens), read through the model's own norm and head, which do not
change.

The recipe is the paper's with fewer tokens: stochastic gradient descent with Nesterov momentum 0.9 and rate 1 (times
1 − 0.9), which falls linearly to 0; the gradient of a layer is clipped to norm 1. A step takes some positions of texts,
drawn by a seed. The first position of a text, an attention sink, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sessions.cancel import Cancel, look
from sessions.errors import NotFinite, UsageError
from sessions.events import Progress, Steps
from sessions.lenses.readout import divergence, logits_of, states_between, translated
from sessions.model.homes import home_of
from sessions.model.opening import OpenModel

MOMENTUM, LONGEST_GRADIENT = 0.9, 1.0


@dataclass(frozen=True)
class TuningRecipe:
    """How long a tuned lens is trained: steps, positions in each, the rate at the first step, and the seed."""

    steps: int = 50
    batch: int = 64
    rate: float = 1.0
    rng: int = 0

    def __str__(self) -> str:
        return (
            f"{self.steps} steps of {self.batch} positions, SGD with Nesterov momentum {MOMENTUM}, "
            f"rate {self.rate:g} falling to 0, gradients clipped to {LONGEST_GRADIENT:g}, seed {self.rng}"
        )


@dataclass(eq=False)
class _Translator:
    """The matrix A and the bias b of one layer, and their optimiser."""

    matrix: Tensor
    bias: Tensor
    optimiser: torch.optim.SGD


def tuned(
    opened: OpenModel,
    texts: Sequence[tuple[int, ...]],
    layers: Sequence[int],
    recipe: TuningRecipe,
    cancel: Cancel | None = None,
) -> Steps[dict[int, tuple[Tensor, Tensor]]]:
    """Train the translator of each layer; returns its map, identity included, and its bias, on the CPU.

    Raises:
        UsageError: no text has a second token.
        NotFinite: a loss is not finite.
    """
    texts = [text for text in texts if len(text) > 1]
    if not texts:
        raise UsageError("there is no text to fit a lens on", "every text needs at least two tokens")
    home, width = home_of(opened.anatomy.head), opened.anatomy.d_model
    translators = {layer: _translator(width, home, recipe.rate) for layer in layers}
    generator = torch.Generator().manual_seed(recipe.rng)
    order = _endless(len(texts), generator)
    loss = float("nan")
    for step in range(recipe.steps):
        said = "" if step == 0 else f", KL {loss:.3f}"
        yield Progress(f"tuning{said}", step, recipe.steps, "steps")
        states, own, tupled = _drawn(opened, texts, layers, order, generator, recipe.batch, cancel)
        losses = []
        for layer, translator in translators.items():
            look()
            translator.optimiser.param_groups[0]["lr"] = _rate(recipe.rate) * (1 - step / recipe.steps)
            losses.append(_stepped(opened, states[layer], own, translator, tupled))
        loss = sum(losses) / len(losses)
        if loss != loss or loss == float("inf"):
            raise NotFinite("the predictions between the layers are not finite", "open the model with --dtype float32")
    return {layer: _map(translator) for layer, translator in translators.items()}


def _rate(rate: float) -> float:
    return rate * (1 - MOMENTUM)


def _translator(width: int, home: torch.device, rate: float) -> _Translator:
    matrix = torch.zeros(width, width, dtype=torch.float32, device=home, requires_grad=True)
    bias = torch.zeros(width, dtype=torch.float32, device=home, requires_grad=True)
    return _Translator(matrix, bias, torch.optim.SGD([matrix, bias], lr=_rate(rate), momentum=MOMENTUM, nesterov=True))


def _map(translator: _Translator) -> tuple[Tensor, Tensor]:
    matrix = translator.matrix.detach().cpu()
    return matrix + torch.eye(len(matrix)), translator.bias.detach().cpu()


def _endless(count: int, generator: torch.Generator) -> Iterator[int]:
    """The numbers of texts in random order, again and again."""
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


@torch.no_grad()
def _drawn(
    opened: OpenModel,
    texts: Sequence[tuple[int, ...]],
    layers: Sequence[int],
    order: Iterator[int],
    generator: torch.Generator,
    batch: int,
    cancel: Cancel | None,
) -> tuple[dict[int, Tensor], Tensor, bool]:
    """States of each layer at some positions, and the model's own log-probabilities there, `[positions, vocab]`."""
    columns: dict[int, list[Tensor]] = {layer: [] for layer in (*layers, opened.anatomy.n_layers - 1)}
    count, tupled = 0, False
    while count < batch:
        ids = texts[next(order)]
        between = states_between(opened, ids, range(1, len(ids)), layers, cancel)
        for layer, state in zip(between.layers, between.states, strict=True):
            columns[layer].append(state)
        count, tupled = count + between.count, between.tupled
    chosen = torch.randperm(count, generator=generator)[:batch]
    states = {}
    for layer, parts in columns.items():
        joined = torch.cat(parts, dim=-2)
        states[layer] = joined.index_select(-2, chosen.to(joined.device))
    own = logits_of(opened, states[opened.anatomy.n_layers - 1], tupled).log_softmax(-1)
    return states, own, tupled


@torch.enable_grad()
def _stepped(opened: OpenModel, state: Tensor, own: Tensor, translator: _Translator, tupled: bool) -> float:
    """One step of a layer's translator; returns the loss before it."""
    matrix, bias = translator.matrix, translator.bias
    state = state.to(matrix.device)

    def translate(states: Tensor) -> Tensor:
        return states + torch.nn.functional.linear(states, matrix, bias)

    lens = logits_of(opened, translated(opened, state, translate), tupled).log_softmax(-1)
    loss = divergence(lens, own).mean()
    translator.optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([matrix, bias], LONGEST_GRADIENT)
    translator.optimiser.step()
    return float(loss.detach())
