"""Checkpointing: activations are computed again on the way back instead of kept (Chen et al. 2016, arXiv:1604.06174).

transformers turns it on by marks on its modules and a hook on the embedding, and leaves some of them behind when it
turns it off. Here all of it is gone at the end of the block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from transformers import PreTrainedModel

from sessions.errors import ModelError

_MARKS = ("gradient_checkpointing", "_gradient_checkpointing_func", "_require_grads_hook", "_require_grads_hooks")


def check_checkpoints(model: PreTrainedModel) -> None:
    """Raise `ModelError` for a model that cannot compute activations again."""
    if not model.supports_gradient_checkpointing:
        raise ModelError(
            f"models of the kind {model.config.model_type} cannot compute activations again on the way back",
            "leave --checkpointing out",
        )


@contextmanager
def checkpointed(model: PreTrainedModel, blocks: Sequence[nn.Module]) -> Iterator[None]:
    """Inside the block the decoder's layers keep their inputs alone and compute the rest again on the way back.

    Raises:
        ModelError: the model cannot.
    """
    check_checkpoints(model)
    before = [
        (module, {mark: vars(module)[mark] for mark in _MARKS if mark in vars(module)}, module.training)
        for module in model.modules()
    ]
    try:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        # That is for checkpoints which need an input that gradients flow to. These do not, and no state should have
        # a gradient below the first layer that learns.
        model.disable_input_require_grads()
        for block in blocks:
            block.training = True  # the block alone, which asks for it; the dropout in it stays off
        yield
    finally:
        model.disable_input_require_grads()
        for module, marks, training in before:
            for mark in _MARKS:
                vars(module).pop(mark, None)
            vars(module).update(marks)
            module.training = training
