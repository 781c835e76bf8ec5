"""Hooks as context managers: what is installed at the top of a block is removed at its end.

Every intervention, record and rule of the workbench goes through this file. Three ways in:
`before` and `after` wrap a module's call, and `on_neurons` hands over the activations of a layer's
neurons, whether they are the input of a dense down projection or the product inside experts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sessions.cancel import Cancel
from sessions.errors import ModelError
from sessions.model.known_pass import KnownPass
from sessions.model.parts import Anatomy, Layer
from sessions.model.sites import ExpertSite, Site


@dataclass(frozen=True, eq=False)
class Watching:
    """A function of a hook that only looks at a pass. `hear` is called instead beside a pass that runs no Python."""

    look: Callable[..., Any]
    hear: Callable[[KnownPass], None]

    def __call__(self, *args: Any) -> Any:
        return self.look(*args)


@runtime_checkable
class AffineChange(Protocol):
    """A change of activations by m · h + c, which a pass that runs no Python can make too.

    Both are for the running pass, which reads one token a row. `key` is equal where the coefficients are.
    """

    def key(self) -> Hashable: ...

    def coefficients(self) -> tuple[Tensor, Tensor | None]:
        """m and c, `[rows, width]` or `[width]`; None adds nothing."""
        ...


class NotCaptured(Exception):
    """A hook is there that only Python can run; the message names where."""


@dataclass(frozen=True, eq=False)
class _Before:
    change: Callable[[Tensor], Tensor]
    place: int

    def __call__(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*args[: self.place], self.change(args[self.place]), *args[self.place + 1 :])


@dataclass(frozen=True, eq=False)
class _After:
    change: Callable[[Tensor, Any], Any]

    def __call__(self, _: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return self.change(_beside(args[0], output), output)


@dataclass(frozen=True, eq=False)
class _Called:
    change: Callable[[tuple[Any, ...], dict[str, Any]], None]

    def __call__(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.change(args, kwargs)


@dataclass(frozen=True, eq=False)
class _Dense:
    """A change of a dense site's activations, `[batch, seq, width]`."""

    change: Change

    def __call__(self, activations: Tensor) -> Tensor:
        return self.change(activations, None)


def captured(
    model: nn.Module,
) -> tuple[list[tuple[nn.Module, AffineChange]], list[Callable[[KnownPass], None]]]:
    """What the hooks of a model do, as numbers: changes of the first argument of modules, and functions that look.

    Raises:
        NotCaptured: a hook does something else.
    """
    affine: list[tuple[nn.Module, AffineChange]] = []
    hears: list[Callable[[KnownPass], None]] = []
    for name, module in model.named_modules():
        if {"forward", "_apply_gate"} & module.__dict__.keys():
            raise NotCaptured(f"{name} computes something else")
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()):
            change = getattr(hook, "change", hook)
            if isinstance(change, Watching):
                hears.append(change.hear)
            elif isinstance(change, _Dense) and isinstance(change.change, AffineChange):
                affine.append((module, change.change))
            else:
                raise NotCaptured(f"a hook on {name} is not a change by numbers")
    return affine, hears


def bare_dict(module: nn.Module) -> dict[str, Any]:
    """The attributes of a module, without its hooks."""
    return {
        name: type(value)() if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")) else value
        for name, value in vars(module).items()
    }


@contextmanager
def before(module: nn.Module, change: Callable[[Tensor], Tensor], place: int = 0) -> Iterator[None]:
    """Replace an argument, the first unless another `place` is given, of every call of `module` inside the block."""

    handle = module.register_forward_pre_hook(_Before(change, place))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def after(module: nn.Module, change: Callable[[Tensor, Any], Any]) -> Iterator[None]:
    """Replace the output of every call of `module` inside the block, given its first argument and output.

    Both are where the module computes: one on another device than what comes before it takes its arguments there.
    """
    handle = module.register_forward_hook(_After(change))
    try:
        yield
    finally:
        handle.remove()


def _beside(given: Any, output: Any) -> Any:
    apart = isinstance(given, Tensor) and isinstance(output, Tensor) and given.device != output.device
    return given.to(output.device) if apart else given


@contextmanager
def called(module: nn.Module, hear: Callable[[tuple[Any, ...], dict[str, Any]], None]) -> Iterator[None]:
    """Inside the block `hear` gets the arguments of every call of `module`, positional and named, before it runs."""
    handle = module.register_forward_pre_hook(_Called(hear), with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def computing(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Inside the block every call of `module` computes `forward` instead; its hooks still run."""
    # Assigned on the instance, as below.
    outer = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if outer is not None:
            module.forward = outer


def skipped(module: nn.Module, output: Any) -> AbstractContextManager[None]:
    """Inside the block `module` computes nothing: every call of it returns `output`."""
    return computing(module, lambda *_, **__: output)


def passing(module: nn.Module) -> AbstractContextManager[None]:
    """Inside the block `module` computes nothing: every call of it returns its first argument."""
    return computing(module, lambda hidden, *_, **__: hidden)


#: Sites of a state of d_model numbers for each token: the input and the output of a decoder layer, and what its MLP and
#: its attention add to the residual stream.
StateSite = Literal["resid_pre", "resid_post", "mlp_out", "attn_out"]


@contextmanager
def on_states(anatomy: Anatomy, layer: int, site: StateSite, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace the states at a site of a layer in every pass inside the block.

    `change` receives `[batch, seq, d_model]`, from some families `[batch · seq, d_model]`, and returns the same shape.

    Raises:
        ModelError: the layer has no such site.
    """
    parts = anatomy.layers[layer]
    if site == "resid_pre":
        with before(parts.block, lambda given: anatomy.with_residual(given, change(anatomy.residual(given)))):
            yield
        return
    module = writer_of(parts, layer, site)
    with after(module, lambda _, output: anatomy.with_residual(output, change(anatomy.residual(output)))):
        yield


def writer_of(parts: Layer, layer: int, site: StateSite) -> nn.Module:
    """The module whose output is the site; the block itself for the residual stream.

    Raises:
        ModelError: there is no such single module.
    """
    writers = {"mlp_out": parts.writer, "attn_out": parts.attention_writer}
    module = writers.get(site, parts.block)
    if module is None:
        where = "MLP" if site == "mlp_out" else "attention"
        raise ModelError(f"layer {layer} has no one place where its {where} writes", "use --site resid_post")
    return module


@dataclass
class Routing:
    """Which expert each row of an expert block's activations belongs to, `[tokens · k]`.

    The block itself has the rows sorted by expert: its row r is row `order[r]` here, and row r here is its `back[r]`.
    """

    experts: Tensor
    per_token: int
    order: Tensor
    back: Tensor

    @classmethod
    def of(cls, chosen: Tensor) -> Routing:
        """The routing of tokens to these experts, `[tokens, k]`."""
        experts = chosen.reshape(-1)
        # The very call of transformers' grouped_mm, which comes to the same order where an expert has several rows.
        _, order = torch.sort(experts)
        return cls(experts, chosen.shape[-1], order, order.argsort())


Change = Callable[[Tensor, Routing | None], Tensor]


@contextmanager
def on_neurons(site: Site, change: Change) -> Iterator[None]:
    """Replace the activations of a site's neurons, or of its heads, inside the block.

    From a dense MLP or an attention `change` receives `[batch, seq, width]` and None; some families flatten the first
    two. From a mixture of experts it receives `[batch · seq · k, d_expert]`, rows running over tokens
    and then over the k experts each token was sent to, and the `Routing` that says which. It returns
    a tensor of the same shape.
    """
    if isinstance(site, ExpertSite):
        with _on_experts(site, change):
            yield
    else:
        with before(site.module, _Dense(change)):
            yield


@contextmanager
def _on_experts(site: ExpertSite, change: Change) -> Iterator[None]:
    routing: list[Routing] = []

    def remember(_: nn.Module, args: tuple[Any, ...]) -> None:
        routing[:] = [Routing.of(args[1])]

    # Assigned on the instance, a function shadows the class's method; blocks within blocks shadow each other.
    outer, gate = site.experts.__dict__.get("_apply_gate"), site.experts._apply_gate

    def gated(gate_up: Tensor) -> Tensor:
        (here,) = routing
        rows: Tensor = gate(gate_up)  # type: ignore[operator]
        return change(rows.index_select(0, here.back), here).index_select(0, here.order)

    site.experts._apply_gate = gated  # type: ignore[assignment]
    handle = site.experts.register_forward_pre_hook(remember)
    try:
        yield
    finally:
        handle.remove()
        del site.experts._apply_gate
        if outer is not None:
            site.experts._apply_gate = outer


@contextmanager
def watched(anatomy: Anatomy, cancel: Cancel | None) -> Iterator[None]:
    """Check the cancel flag before every decoder layer of every forward pass in the block."""
    if cancel is None:
        yield
        return

    watching = Watching(lambda *_: cancel.look(), lambda _: cancel.look())
    with ExitStack() as stack:
        for layer in anatomy.layers:
            stack.callback(layer.block.register_forward_pre_hook(watching).remove)
        yield


def on_gradient(tensor: Tensor, hear: Callable[[Tensor], None]) -> None:
    """Call `hear` with the gradient of `tensor` in a backward pass; the tensor keeps the hook as long as it lives."""
    tensor.register_hook(hear)


def watched_back(tensor: Tensor, cancel: Cancel | None) -> None:
    """Check the cancel flag when a backward pass reaches `tensor`, which keeps the hook as long as it lives."""
    if cancel is not None:
        # The hook references the flag only. If it referenced an owner of the tensor, both would leak: the cycle goes
        # through the autograd graph, which Python's garbage collector does not see.
        on_gradient(tensor, partial(_look, cancel))


def _look(cancel: Cancel, _: Tensor) -> None:
    cancel.look()


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
    """How many hooks and overridden functions `model` has; a finished command leaves the number unchanged."""
    return sum(
        len(m._forward_hooks)
        + len(m._forward_pre_hooks)
        + len(m._backward_hooks)
        + ("_apply_gate" in m.__dict__)
        + ("forward" in m.__dict__)
        for m in model.modules()
    )


@contextmanager
def only_to(anatomy: Anatomy, layer: int) -> Iterator[None]:
    """Inside the block the layers above `layer` compute nothing."""
    with ExitStack() as stack:
        for above in anatomy.layers[layer + 1 :]:
            stack.enter_context(passing(above.block))
        yield
