"""The logit lens of a neuron: which tokens its output pushes up and down.

A neuron adds (activation × its down column) to the residual stream. Read through the final norm and
the unembedding (logit lens, nostalgebraist 2020; for MLP columns, Geva et al. 2022), that vector
ranks the vocabulary. The norm's scale depends on the rest of the stream, so the ranking is shown and
no number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from sessions.circuits.circuit import Neuron
from sessions.model.anatomy import Anatomy
from sessions.model.tokens import token_text


@torch.inference_mode()
def pushed(
    anatomy: Anatomy, tokenizer: PreTrainedTokenizerBase, neurons: Sequence[Neuron], k: int = 3
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """For each neuron, the k tokens its output pushes up most and the k it pushes down most.

    A neuron with a negative activation writes the negative of its column, and is read so; a neuron
    whose activation is not known is read as if it were positive.
    """
    if not neurons:
        return []
    signs = [-1.0 if (neuron.activation or 0) < 0 else 1.0 for neuron in neurons]
    rows = [sign * anatomy.down_column(neuron.layer, neuron.index) for sign, neuron in zip(signs, neurons, strict=True)]
    device = next(anatomy.head.parameters()).device
    logits = anatomy.head(anatomy.final_norm(torch.stack([row.to(device) for row in rows])[:, None]))[:, 0]
    k = min(k, logits.shape[-1])
    up, down = logits.topk(k).indices.tolist(), logits.topk(k, largest=False).indices.tolist()

    def text(ids: list[int]) -> tuple[str, ...]:
        return tuple(token_text(tokenizer, i) for i in ids)

    return [(text(high), text(low)) for high, low in zip(up, down, strict=True)]
