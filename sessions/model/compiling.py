"""Compiled decoding: the step that reads one token of every row as one graph, over a cache of fixed length.

The prompt is read as ever, with all hooks. Its keys and values then go to a static cache, whose length is a power of
two times `STEP` and doubles when a text outgrows it, so shapes seldom change. The step is compiled whole with
torch.compile: by inductor on a CPU, and with CUDA graphs on a GPU, where a token is then one launch.

No Python function runs inside the graph, so hooks cannot. What they do has to be numbers:

    changes h ← m · h + c          interventions and suppression: m and c are buffers in front of each site's module,
                                   written only when they change (`hooks.AffineChange`)
    functions that only look       are called beside the step with what the host knows of the pass (`hooks.Watching`)

The graph belongs to a twin of the model: other module objects over the same parameters, without hooks. If anything else
is hooked, or the step cannot be compiled, the text is generated without it, and `remark` says why, once.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache, PreTrainedModel, StaticCache
from transformers.cache_utils import DynamicLayer, StaticLayer

from sessions.errors import ModelError, WorkbenchError
from sessions.model import anatomy
from sessions.model.background import first_line
from sessions.model.homes import home_of
from sessions.model.hooks import AffineChange, NotCaptured, bare_dict, captured
from sessions.model.known_pass import KnownPass
from sessions.model.positions import encoding_of
from sessions.model.units import NEURONS, Kind

_HEADS: tuple[Kind, ...] = ("head",)
#: Tokens that the smallest static cache holds.
STEP = 256
#: What torch.compile may keep of one function; each size and each group of sites is one.
_VARIANTS = 64
_COMPILED: WeakKeyDictionary[nn.Module, CompiledDecoding] = WeakKeyDictionary()


def compile_decoding(model: PreTrainedModel, backend: str = "inductor") -> str:
    """From now on, decode with a compiled step, compiled when it is first needed.

    Returns:
        Why the model's family decodes without it all the same, or "".

    Raises:
        ModelError: this machine cannot compile for the model's device.
    """
    reason = _unfit(model)
    if reason:
        return reason
    if backend == "inductor":
        _check_compiler(home_of(model))
    import torch._dynamo

    torch._dynamo.reset()  # the graphs of the model before
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _VARIANTS)
    _COMPILED[model] = CompiledDecoding(model, backend)
    return ""


def compiled_decoding(model: nn.Module) -> CompiledDecoding | None:
    """The compiled decoding of a model, if it has one."""
    return _COMPILED.get(model)


def _unfit(model: PreTrainedModel) -> str:
    kind = model.config.model_type
    if len(set(getattr(model, "hf_device_map", {}).values())) > 1:
        return "it lies on several devices"
    if not getattr(model, "_can_compile_fullgraph", False):
        return f"the step of models of the kind {kind} is not one graph"
    if encoding_of(model) is not None:
        return f"this {kind} encodes positions by the length of the text"
    if any(type(layer) is not StaticLayer for layer in StaticCache(model.config, STEP).layers):
        return f"the cache of models of the kind {kind} has no fixed length"
    return ""


def _check_compiler(device: torch.device) -> None:
    if device.type == "cpu":
        from torch._inductor.cpp_builder import get_cpp_compiler

        try:
            get_cpp_compiler()
        except Exception as error:
            raise ModelError(
                "--compile on a CPU needs a C++ compiler, and this machine has none",
                "install g++ or clang++, or leave --compile out",
            ) from error
    elif device.type != "cuda":
        raise ModelError(f"--compile is for CPUs and CUDA devices, not for {device.type}", "leave --compile out")
    elif importlib.util.find_spec("triton") is None:
        raise ModelError("--compile on a GPU needs triton, which is not installed", "pip install triton")


class CompiledDecoding:
    """The compiled step of a model. `remark` says why a text was generated without it, "" if none was."""

    def __init__(self, model: PreTrainedModel, backend: str) -> None:
        self._model, self._backend = model, backend
        self._variants: dict[str, _Variant] = {}
        self._modules: list[nn.Module] = []
        self._told: set[str] = set()
        self._broken = False
        self.remark = ""
        self.steps = 0
        """Tokens that compiled steps have read."""

    def begin(self, cache: Cache, padding: Sequence[int]) -> CompiledText | None:
        """Go on from the cache of a prompt with compiled steps; None if that cannot be."""
        if self._broken:
            return None
        if type(cache) is not DynamicCache or any(type(layer) is not DynamicLayer for layer in cache.layers):
            self.refuse("its cache has no fixed length")
            return None
        try:
            affine, hears = captured(self._model)
            variant = self._variant(affine)
        except NotCaptured as reason:
            self.refuse(str(reason))
            return None
        return CompiledText(self, self._model, variant, affine, hears, cache, padding)

    def refuse(self, reason: str, *, ever: bool = False) -> None:
        """Generate without the compiled step; `ever` gives it up for good."""
        self._broken = self._broken or ever
        if reason not in self._told:
            self._told.add(reason)
            self.remark = f"decoded without the compiled step: {reason}"

    def _variant(self, affine: Sequence[tuple[nn.Module, AffineChange]]) -> _Variant:
        """The step with places for changes at the sites that are changed: none, neurons', or heads' too."""
        modules = list(self._model.modules())
        if len(modules) != len(self._modules) or any(a is not b for a, b in zip(modules, self._modules, strict=True)):
            self._variants, self._modules = {}, modules  # an adapter was put on or taken off
        changed = {id(module) for module, _ in affine}
        parts = anatomy.read(self._model)
        neurons = {id(site.module): site for _, site in parts.unit_sites(NEURONS)}
        heads = {id(site.module): site for _, site in parts.unit_sites(_HEADS)}
        for name, sites in (("plain", {}), ("neurons", neurons), ("units", neurons | heads)):
            if changed <= set(sites):
                if name not in self._variants:
                    widths = {key: site.width for key, site in sites.items()}
                    self._variants[name] = _variant(self._model, widths, self._backend)
                return self._variants[name]
        raise NotCaptured("an intervention changes what has no place in it")


@dataclass
class CompiledText:
    """Texts that are being continued by compiled steps."""

    owner: CompiledDecoding
    model: PreTrainedModel
    variant: _Variant
    affine: Sequence[tuple[nn.Module, AffineChange]]
    hears: Sequence[Callable[[KnownPass], None]]
    prompt: Cache
    padding: Sequence[int]
    _keys: dict[int, Hashable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        layers = self.prompt.layers
        self._length = int(layers[0].keys.shape[-2])
        self._cache = _static([(layer.keys, layer.values) for layer in layers], self._length + 1)
        self._mask = self._padding_mask()
        rows = len(self.padding)
        for slot in self.variant.slots.values():
            slot.reset(rows)

    @property
    def size(self) -> int:
        return int(self._cache.layers[0].max_cache_len)

    def step(self, ids: Tensor, positions: Tensor, known: KnownPass) -> Tensor | None:
        """Logits after one more token of each row, `[rows, vocab]`; None if the step cannot be compiled."""
        for hear in self.hears:
            hear(known)
        self._write()
        if self._length == self.size:
            self._cache = _static(self._kept(), self._length + 1)
            self._mask = self._padding_mask()
        if ids.is_cuda:
            torch.compiler.cudagraph_mark_step_begin()
        try:
            logits = self.variant.step(ids, positions, self._mask, self._cache)
        except (WorkbenchError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # dynamo, inductor, a C++ compiler and triton raise anything
            self.owner.refuse(first_line(error), ever=True)
            return None
        self._length += 1
        self.owner.steps += len(self.padding)
        return logits.clone() if ids.is_cuda else logits  # a CUDA graph writes the next ones to the same place

    def plain(self) -> Cache:
        """The cache as the model itself goes on with it."""
        cache = DynamicCache(config=self.model.config)
        for layer, (keys, values) in enumerate(self._kept()):
            cache.update(keys.clone(), values.clone(), layer)
        return cache

    def _kept(self) -> list[tuple[Tensor, Tensor]]:
        return [(layer.keys[:, :, : self._length], layer.values[:, :, : self._length]) for layer in self._cache.layers]

    def _padding_mask(self) -> Tensor | None:
        if not any(self.padding):
            return None
        mask = torch.ones(len(self.padding), self.size, dtype=torch.bool)
        for row, padding in enumerate(self.padding):
            mask[row, :padding] = False
        return mask.to(self._cache.layers[0].keys.device)

    def _write(self) -> None:
        """Write the changes of this step to their places, where they are others than those of the step before."""
        by_module: dict[int, list[AffineChange]] = {}
        for module, change in self.affine:
            by_module.setdefault(id(module), []).append(change)
        for module_id, changes in by_module.items():
            key = tuple(change.key() for change in changes)
            if self._keys.get(module_id) != key:
                self._keys[module_id] = key
                self.variant.slots[module_id].write([change.coefficients() for change in changes])


@dataclass
class _Variant:
    """A twin of the model, compiled. `slots` are by the id of the module that they stand before."""

    step: Callable[[Tensor, Tensor, Tensor | None, Cache], Tensor]
    slots: dict[int, _Slot]


class _Slot(nn.Module):
    """A module behind a place for a change of its input: m · h + c, `[rows, 1, width]` each."""

    multiplier: Tensor
    constant: Tensor

    def __init__(self, inner: nn.Module, width: int) -> None:
        super().__init__()
        like = next(inner.parameters())
        dtype = like.dtype if like.dtype.is_floating_point else torch.float32
        self.inner, self._width = inner, width
        self.register_buffer("multiplier", torch.ones(1, 1, width, dtype=dtype, device=home_of(inner)))
        self.register_buffer("constant", torch.zeros_like(self.multiplier))

    def forward(self, h: Tensor, *args: Any, **kwargs: Any) -> Any:
        rows = h.reshape(self.multiplier.shape[0], -1, h.shape[-1])
        changed = rows * self.multiplier.to(h.dtype) + self.constant.to(h.dtype)
        return self.inner(changed.reshape(h.shape), *args, **kwargs)

    def reset(self, rows: int) -> None:
        """Change nothing, in so many rows."""
        if self.multiplier.shape[0] != rows:
            self.multiplier = self.multiplier.new_empty(rows, 1, self._width)
            self.constant = self.constant.new_empty(rows, 1, self._width)
            if self.multiplier.is_cuda:
                _keep_address(self.multiplier, self.constant)
        self.multiplier.fill_(1)
        self.constant.zero_()

    def write(self, changes: Sequence[tuple[Tensor, Tensor | None]]) -> None:
        """Make several changes, one after the other, as one."""
        self.multiplier.fill_(1)
        self.constant.zero_()
        for multiplier, constant in changes:
            self.multiplier.mul_(multiplier.unsqueeze(-2))
            self.constant.mul_(multiplier.unsqueeze(-2))
            if constant is not None:
                self.constant.add_(constant.unsqueeze(-2))


def _variant(model: PreTrainedModel, widths: dict[int, int], backend: str) -> _Variant:
    slots: dict[int, _Slot] = {}
    twin = _twin(model, widths, slots, {})
    fast = backend == "inductor" and home_of(model).type == "cuda"

    def step(ids: Tensor, positions: Tensor, mask: Tensor | None, cache: Cache) -> Tensor:
        out = twin(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = out.logits[:, -1]
        return logits

    words: dict[str, Any] = {"mode": "reduce-overhead"} if fast else {}
    return _Variant(torch.compile(step, fullgraph=True, backend=backend, **words), slots)


def _twin(module: nn.Module, widths: dict[int, int], slots: dict[int, _Slot], made: dict[int, nn.Module]) -> nn.Module:
    """Another module over the same parameters and buffers, without hooks, and with slots before some modules."""
    if id(module) not in made:
        twin = module.__class__.__new__(module.__class__)
        twin.__dict__.update(bare_dict(module))
        twin.__dict__["_modules"] = {
            name: None if child is None else _twin(child, widths, slots, made)
            for name, child in module._modules.items()
        }
        made[id(module)] = twin
        if id(module) in widths:
            made[id(module)] = slots[id(module)] = _Slot(twin, widths[id(module)])
    return made[id(module)]


class _FixedLayer(StaticLayer):  # type: ignore[misc]
    """A layer of a static cache, made of the keys and values that are there already."""

    def __init__(self, keys: Tensor, values: Tensor, size: int) -> None:
        super().__init__(size)
        rows, heads, length, width = keys.shape
        self.dtype, self.device = keys.dtype, keys.device
        self.batch_size, self.num_heads, self.k_head_dim, self.v_head_dim = rows, heads, width, values.shape[-1]
        self.keys = keys.new_zeros(rows, heads, size, width)
        self.values = values.new_zeros(rows, heads, size, self.v_head_dim)
        self.keys[:, :, :length], self.values[:, :, :length] = keys, values
        self.cumulative_length = torch.full((), length, dtype=torch.long, device=keys.device)
        if keys.is_cuda:
            _keep_address(self.keys, self.values, self.cumulative_length)
        self.is_initialized = True


def _static(kept: Sequence[tuple[Tensor, Tensor]], needed: int) -> Cache:
    """A static cache of these keys and values by layer, with room for `needed` tokens."""
    size = STEP
    while size < needed:
        size *= 2
    return Cache(layers=[_FixedLayer(keys, values, size) for keys, values in kept])


def _keep_address(*tensors: Tensor) -> None:
    """Tell CUDA graphs that these stay where they are, so that they are not copied for each step."""
    import torch._dynamo

    for tensor in tensors:
        torch._dynamo.mark_static_address(tensor, guard=False)
