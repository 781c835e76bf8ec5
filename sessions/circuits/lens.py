"""The logit lens of a neuron: which tokens its output pushes up and down.

A neuron adds (activation × its down column) to the residual stream. Read through the final norm and
the unembedding (logit lens, nostalgebraist 2020; for MLP columns, Geva et al. 2022), that vector
ranks the vocabulary. The norm's scale depends on the rest of the stream, so the ranking is shown and
no number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sessions.circuits.circuit import Neuron
from sessions.model.anatomy import Anatomy
from sessions.model.tokens import token_text

#: Neurons whose rankings of the whole vocabulary are in memory at once.
AT_ONCE = 64


@torch.inference_mode()
def pushed(
    anatomy: Anatomy, tokenizer: PreTrainedTokenizerBase, neurons: Sequence[Neuron], k: int = 3
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """For each neuron, the k tokens its output pushes up most and the k it pushes down most.

    A neuron with a negative activation writes the negative of its column, and is read so; a neuron
    whose activation is not known is read as if it were positive.
    """
    found = []
    for start in range(0, len(neurons), AT_ONCE):
        logits = _read(anatomy, neurons[start : start + AT_ONCE])
        up = logits.topk(min(k, logits.shape[-1])).indices.tolist()
        down = logits.topk(min(k, logits.shape[-1]), largest=False).indices.tolist()
        found += [(_texts(tokenizer, high), _texts(tokenizer, low)) for high, low in zip(up, down, strict=True)]
    return found


def _read(anatomy: Anatomy, neurons: Sequence[Neuron]) -> Tensor:
    """The vocabulary as the neurons' outputs rank it, `[neurons, vocab]`."""
    device = next(anatomy.head.parameters()).device
    columns = torch.stack([anatomy.down_column(neuron.layer, neuron.index).to(device) for neuron in neurons])
    signs = torch.tensor([-1.0 if (neuron.activation or 0) < 0 else 1.0 for neuron in neurons])
    written = columns * signs[:, None].to(columns)
    return anatomy.head(anatomy.final_norm(written[:, None]))[:, 0]


def _texts(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> tuple[str, ...]:
    return tuple(token_text(tokenizer, i) for i in ids)
