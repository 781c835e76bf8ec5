"""`Adapter`: a LoRA beside the weights, as a change of the ledger.

Applying one lets PEFT wrap the projections that it adapts, in the model in memory: W x becomes
W x + w · s · B A x, several adapters side by side, `w` being the weight that each was given. The model's own numbers
are not touched, and factors are float32 whatever the model is in, as PEFT has it. Taking it off unwraps what no other
adapter is on: the modules are the same objects as before, and the bits with them.

The wrapper takes the place of the projection. Hooks that hold or read the neurons of a down projection have to be on
the wrapper, or the adapter would read neurons that should be zero. So the anatomy is read again at each change, and
hooks move when a projection is wrapped or unwrapped.

`Disabled` switches off a path that is on. A merged adapter is one that is disabled and whose product is in the weights
(see `merging`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from sessions.adapters.folders import Contents, LoraFactors
from sessions.adapters.wrapping import activate, active, configs_of, plain_modules, unwrap, wrap
from sessions.edits.edit import Undo
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.model.background import first_line
from sessions.model.homes import home_of
from sessions.model.opening import OpenModel

#: Names of modules that an error lists.
_LISTED = 8


@dataclass(frozen=True, eq=False)
class Adapter:
    """A saved LoRA, by name, `weight` times as strong as it was trained.

    `contents` is None until it is read; `sha256` is their hash.
    """

    name: str
    weight: float
    sha256: str
    contents: Contents | None = field(default=None, repr=False)

    def read(self, home: Path) -> Adapter:
        """The same with its contents, from the adapters of a home folder.

        Raises:
            ArtifactError: it no longer exists, or another adapter now has its name.
        """
        from sessions.adapters.adapter_store import AdapterStore

        kept = AdapterStore(home).read(self.name)
        if kept.contents.sha256 != self.sha256:
            raise ArtifactError(f"adapter '{self.name}' was replaced", f"load it again: adapter load {self.name}")
        return replace(self, contents=kept.contents)

    def applied(self, opened: OpenModel) -> Undo:
        """Put it on. Closing what is returned takes it off.

        Raises:
            UsageError: an adapter of that name is on.
            ArtifactError: it does not fit this model; nothing has changed then.
        """
        assert self.contents is not None, "an adapter is read before it is applied"
        inside = _inside(self.name)
        if inside in configs_of(opened.model):
            raise UsageError(f"adapter '{self.name}' is on already", "adapter list shows them")
        check_fit(self.contents, opened.model, self.name)
        with Undo() as sheet:
            sheet.callback(_take_off, opened, inside)
            _put_on(opened, inside, self.contents, self.weight)
            sheet.squares = self.weight**2 * sum(map(squares_of, self.contents.factors.values()))
            return sheet.pop_all()


@dataclass(frozen=True, eq=False)
class Disabled:
    """Switches off the path of an adapter that is on, as if its weight were 0; the wrappers stay."""

    name: str

    def applied(self, opened: OpenModel) -> Undo:
        """Switch it off; closing what is returned switches it on again.

        Raises:
            UsageError: no such adapter is on.
        """
        inside, before = _inside(self.name), active(opened.model)
        if inside not in before:
            raise UsageError(f"adapter '{self.name}' is merged, and not on", f"unmerge it: adapter unmerge {self.name}")
        with Undo() as sheet:
            sheet.callback(activate, opened.model, before)
            activate(opened.model, [name for name in before if name != inside])
            return sheet.pop_all()


def squares_of(factors: LoraFactors) -> float:
    """‖s · B A‖², the squared norm of what a path adds to its projection, computed from r × r matrices."""
    left, right = factors.b.T @ factors.b, factors.a @ factors.a.T
    return factors.scaling**2 * float((left * right.T).sum())


def check_fit(contents: Contents, model: nn.Module, name: str) -> None:
    """Refuse an adapter whose projections this model does not have, or has in other shapes.

    Raises:
        ArtifactError: it does not fit; the first projection that does not is named.
    """
    there = {key: module for key, module in plain_modules(model) if _shape(module) is not None}
    missing = [module for module in contents.factors if module not in there]
    if missing:
        count = f"{len(missing):,} of its {len(contents.factors):,} projections are"
        raise ArtifactError(
            f"adapter '{name}' is for {missing[0]}, which this model does not have ({count} missing)",
            f"this model has: {_listed(there)}",
        )
    embedding = getattr(model, "get_input_embeddings", lambda: None)()
    head = getattr(model, "get_output_embeddings", lambda: None)()
    for module, factors in contents.factors.items():
        if there[module] in (embedding, head):
            raise ArtifactError(
                f"adapter '{name}' changes the embedding or the head: {module}",
                "train it on projections of the layers: q_proj, down_proj, …",
            )
        if _shape(there[module]) != factors.shape:
            raise ArtifactError(
                f"adapter '{name}' has {list(factors.shape)} for {module}, which is {list(_shape(there[module]) or ())}"
                " in this model",
                "open the model it was made on",
            )
        if any(weight.is_meta for weight in there[module].parameters()):
            raise ModelError(f"{module} is not in memory: it is offloaded", "open the model on a device that holds it")


def _put_on(opened: OpenModel, inside: str, contents: Contents, weight: float) -> None:
    model, before = opened.model, active(opened.model)
    try:
        wrappers = wrap(model, _config(contents), list(contents.factors), inside, empty=True)
    except Exception as error:  # whatever PEFT may raise
        raise ArtifactError(f"PEFT cannot put it on this model: {first_line(error)}") from error
    if wrappers.keys() != contents.factors.keys():
        odd = sorted(wrappers.keys() ^ contents.factors.keys())
        raise ArtifactError(f"PEFT adapts other projections of this model than the adapter has: {odd[0]}")
    for name, wrapper in wrappers.items():
        _fill(wrapper, inside, contents.factors[name], weight)
    activate(model, [*before, inside])
    opened.reread()


def _config(contents: Contents) -> Any:
    """PEFT's config for exactly these projections, without fields for training."""
    from peft import LoraConfig

    given = contents.config
    return LoraConfig(
        r=contents.rank,
        rank_pattern={
            f"^{name.replace('.', '[.]')}": factor.rank
            for name, factor in contents.factors.items()
            if factor.rank != contents.rank
        },
        use_rslora=bool(given.get("use_rslora")),
        use_dora=bool(given.get("use_dora")),
        lora_bias=bool(given.get("lora_bias")),
        fan_in_fan_out=bool(given.get("fan_in_fan_out")),
        init_lora_weights=False,
        inference_mode=True,
    )


def _fill(layer: Any, inside: str, factors: LoraFactors, weight: float) -> None:
    """Give a layer's path its numbers, in float32 beside the weights it adapts."""
    device = home_of(layer.base_layer)

    def own(tensor: Tensor) -> nn.Parameter:
        return nn.Parameter(tensor.to(device, torch.float32), requires_grad=False)

    layer.lora_A[inside].weight = own(factors.a)
    layer.lora_B[inside].weight = own(factors.b)
    if factors.bias is not None:
        layer.lora_B[inside].bias = own(factors.bias)
    if factors.magnitude is not None:
        layer.lora_magnitude_vector[inside].weight = own(factors.magnitude)
    layer.lora_alpha[inside] = factors.alpha
    layer.scaling[inside] = factors.scaling * weight


def _take_off(opened: OpenModel, inside: str) -> None:
    unwrap(opened.model, inside)
    opened.reread()


def _inside(name: str) -> str:
    """The adapter's name inside PEFT: without dots, which separate module names, and unlike any module's name."""
    return f"adapter {name.replace('.', '·')}"


def _shape(module: nn.Module) -> tuple[int, int] | None:
    """`[out, in]` of a projection, packed or not; None of any other module."""
    if isinstance(module, Conv1D):
        return module.weight.shape[1], module.weight.shape[0]
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    return None


def _listed(names: dict[str, nn.Module]) -> str:
    last = sorted({name.rpartition(".")[2] for name in names})
    return ", ".join(last[:_LISTED]) + (", …" if len(last) > _LISTED else "")
