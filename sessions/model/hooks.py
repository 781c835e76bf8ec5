"""Hooks, as context managers: what is installed at the top of a block is gone at its end.

Every intervention, record and rule of the workbench goes through this file. Three ways in:
`before` and `after` wrap a module's call, and `on_neurons` hands over the activations of a layer's
neurons, whether they are the input of a dense down projection or the product inside experts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sessions.model.cancel import Cancel
from sessions.model.parts import Anatomy, DenseSite, ExpertSite, Site


@contextmanager
def before(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace the first argument of every call of `module` inside the block."""

    def hook(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (change(args[0]), *args[1:])

    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def after(module: nn.Module, change: Callable[[Tensor, Any], Any]) -> Iterator[None]:
    """Replace the output of every call of `module` inside the block, given its first argument and output."""
    handle = module.register_forward_hook(lambda _, args, output: change(args[0], output))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def skipped(module: nn.Module, output: Any) -> Iterator[None]:
    """Inside the block `module` computes nothing: every call of it returns `output`."""
    # Assigned on the instance, as below.
    outer = module.__dict__.get("forward")
    module.forward = lambda *_, **__: output
    try:
        yield
    finally:
        del module.forward
        if outer is not None:
            module.forward = outer


@dataclass
class Routing:
    """Which expert each row of an expert block's activations belongs to, `[tokens · k]`."""

    experts: Tensor
    per_token: int


Change = Callable[[Tensor, Routing | None], Tensor]


@contextmanager
def on_neurons(site: Site, change: Change) -> Iterator[None]:
    """Replace the activations of a site's neurons inside the block.

    From a dense MLP `change` receives `[batch, seq, width]` and None; some families flatten the first
    two. From a mixture of experts it receives `[batch · seq · k, d_expert]`, rows running over tokens
    and then over the k experts each token was sent to, and the `Routing` that says which. It returns
    a tensor of the same shape.
    """
    if isinstance(site, DenseSite):
        with before(site.down, lambda activations: change(activations, None)):
            yield
    else:
        with _on_experts(site, change):
            yield


@contextmanager
def _on_experts(site: ExpertSite, change: Change) -> Iterator[None]:
    routing: list[Routing] = []

    def remember(_: nn.Module, args: tuple[Any, ...]) -> None:
        chosen: Tensor = args[1]
        routing[:] = [Routing(chosen.reshape(-1), chosen.shape[-1])]

    # Assigned on the instance, a function shadows the class's method; blocks within blocks shadow each other.
    outer, gate = site.experts.__dict__.get("_apply_gate"), site.experts._apply_gate
    site.experts._apply_gate = lambda gate_up: change(gate(gate_up), routing[0])  # type: ignore[operator,assignment]
    handle = site.experts.register_forward_pre_hook(remember)
    try:
        yield
    finally:
        handle.remove()
        del site.experts._apply_gate
        if outer is not None:
            site.experts._apply_gate = outer


@contextmanager
def raw_logits(anatomy: Anatomy) -> Iterator[list[Tensor]]:
    """Logits of each pass in the block before any final softcap, `[rows, kept, vocab]`."""
    seen: list[Tensor] = []

    def keep(_: Tensor, output: Tensor) -> Tensor:
        seen.append(output)
        return output

    with after(anatomy.head, keep):
        yield seen


@contextmanager
def watched(anatomy: Anatomy, cancel: Cancel | None) -> Iterator[None]:
    """Look at the cancel flag before every decoder layer of every forward pass in the block."""
    if cancel is None:
        yield
        return

    def look(_: nn.Module, __: Any) -> None:
        cancel.look()

    with ExitStack() as stack:
        for layer in anatomy.layers:
            stack.callback(layer.block.register_forward_pre_hook(look).remove)
        yield


def together(contexts: Iterable[Any]) -> Any:
    """One context manager out of many; if one of them fails to open, those before it are closed."""

    @contextmanager
    def opened() -> Generator[None, None, None]:
        with ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context)
            yield

    return opened()


def count_hooks(model: nn.Module) -> int:
    """How many hooks and overridden functions `model` carries: what a finished command leaves unchanged."""
    return sum(
        len(m._forward_hooks)
        + len(m._forward_pre_hooks)
        + len(m._backward_hooks)
        + ("_apply_gate" in m.__dict__)
        + ("forward" in m.__dict__)
        for m in model.modules()
    )
