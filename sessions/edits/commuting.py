"""Which edits commute: what prevents an adapter from being merged into the weights, or taken out of them.

A LoRA beside a projection computes W x + s B A x, which is the same sum as with s B A added to the weights. That holds
as long as nothing else depends on the weights themselves:

    a DoRA on the same projection    divides by the norm of the rows that it finds, ‖W + s B A‖ (Liu et al. 2024,
                                     arXiv:2402.09353, equation 5), and scales everything below it in the order
    a later edit that replaces       a rewritten neuron or a cut subspace removes what was there, in full or in part;
    lines, or projects               an adapter beside the weights still adds its product

Edits that add to the weights (to a neuron's lines, another merged adapter) commute, and so do two LoRAs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import nn

from sessions.adapters.wrapping import plain_modules
from sessions.edits.adapters import Adapter, Disabled
from sessions.edits.edit import Edit, LowRank, Neurons, Projection, WeightChange
from sessions.edits.ledger import Ledger
from sessions.errors import ModelError
from sessions.model.opening import OpenModel
from sessions.model.places import module_named, part_module, plain, writer_modules


class Obstacle(NamedTuple):
    """The edit or adapter that does not commute, and the projection that both change."""

    name: str
    module: str


def adapters_on(ledger: Ledger) -> dict[str, Adapter]:
    """The adapters that are beside the weights, in the order in which they add."""
    by_module: dict[str, Adapter] = {}
    for edit in ledger.active:
        for change in edit.changes:
            if isinstance(change, Adapter):
                by_module[change.name] = change
            elif isinstance(change, Disabled):
                by_module.pop(change.name, None)
    return by_module


def scaled_by(ledger: Ledger, adapter: Adapter) -> Obstacle | None:
    """A DoRA that is on one of the adapter's projections."""
    for name, other in adapters_on(ledger).items():
        shared = _modules(other) & _modules(adapter)
        if name != adapter.name and shared and other.contents is not None and other.contents.is_dora:
            return Obstacle(name, min(shared))
    return None


def scaling(ledger: Ledger, adapter: Adapter) -> Iterator[str]:
    """Remarks on the adapters that a new adapter scales with its projections, if it is a DoRA."""
    if adapter.contents is None or not adapter.contents.is_dora:
        return
    on = adapters_on(ledger)
    for edit in ledger.active:
        for other in edit.changes:
            shared = _modules(other) & _modules(adapter) if isinstance(other, Adapter) else frozenset()
            if shared and isinstance(other, Adapter) and other.name != adapter.name:
                how = "beside the weights of" if other.name in on else "merged into"
                yield f"'{adapter.name}' is a DoRA: it scales '{other.name}' as well, which is {how} {min(shared)}"


def scaled_under(opened: OpenModel, ledger: Ledger, edit: Edit) -> Obstacle | None:
    """A DoRA that is on a projection whose weights an edit changes in any way."""
    names = {id(module): name for name, module in plain_modules(opened.model)}
    changed = {names.get(id(module), "") for change in edit.changes for module in _changed(opened, change)}
    for name, adapter in adapters_on(ledger).items():
        shared = _modules(adapter) & changed
        if shared and adapter.contents is not None and adapter.contents.is_dora:
            return Obstacle(name, min(shared))
    return None


def replaced_by(opened: OpenModel, edits: Sequence[Edit], adapter: Adapter) -> Obstacle | None:
    """One of these edits that replaces or projects weights of one of the adapter's projections."""
    names = {id(module): name for name, module in plain_modules(opened.model)}
    for edit in edits:
        for change in edit.changes:
            for module in _replaced(opened, change):
                if names.get(id(module), "") in _modules(adapter):
                    return Obstacle(edit.name, names[id(module)])
    return None


def beside(opened: OpenModel, ledger: Ledger, edit: Edit) -> Iterator[str]:
    """Remarks on adapters that are beside weights which an edit replaces or projects."""
    for name, adapter in adapters_on(ledger).items():
        conflict = replaced_by(opened, [edit], adapter)
        if conflict is None or adapter.contents is None:
            continue
        does = "scales those weights again" if adapter.contents.is_dora else "adds to them as before"
        yield f"adapter '{name}' on {conflict.module} {does}: the edit is in the weights, and the adapter beside them"


def _modules(adapter: Adapter) -> frozenset[str]:
    return frozenset() if adapter.contents is None else frozenset(adapter.contents.factors)


def _replaced(opened: OpenModel, change: WeightChange) -> list[nn.Module]:
    """The projections whose weights, or some of their lines, a change replaces or projects."""
    adds = isinstance(change, LowRank) or (isinstance(change, Neurons) and change.adds)
    return [] if adds else _changed(opened, change)


def _changed(opened: OpenModel, change: WeightChange) -> list[nn.Module]:
    """The projections whose weights, or some of their lines, a change changes."""
    try:
        if isinstance(change, Projection):
            return writer_modules(opened.anatomy, change.layer, change.writer)
        if isinstance(change, LowRank):
            return [plain(module_named(opened.model, change.weight))]
        if isinstance(change, Neurons) and change.part != "bias":
            parts = (part_module(opened.anatomy, change.layer, change.part, index) for index in change.indices)
            return list({id(module): module for module, _ in parts}.values())
    except ModelError:  # of experts, which the adapters read here never adapt
        return []
    return []
