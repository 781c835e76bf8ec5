"""Edits for tests: of every kind, on any model, drawn from a seed."""

from __future__ import annotations

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from sessions.edits.edit import Edit, LowRank, Neurons, Projection, WeightChange
from sessions.events import finished
from sessions.model.fingerprint import of_bits
from sessions.model.opening import OpenModel
from sessions.model.places import module_place, parts_of


def louder(opened: OpenModel, layer: int = 1, indices: tuple[int, ...] = (3, 5), seed: int = 0, name: str = "") -> Edit:
    """All parts of some neurons replaced by other numbers."""
    rng = torch.Generator().manual_seed(seed)
    changes = []
    for part in parts_of(opened.anatomy, layer, indices[0]):
        width = 1 if part == "bias" else opened.anatomy.d_model
        changes.append(Neurons(layer, part, indices, torch.randn(len(indices), width, generator=rng)))
    about = f"L{layer}/N{indices[0]} is another neuron"
    return Edit("rewrite", about, tuple(changes), pushes=True, facts={"token": " a"}, name=name)


def cut(opened: OpenModel, layer: int = 1, dims: int = 2, seed: int = 0, keeps: bool = False, name: str = "") -> Edit:
    """A random subspace out of what a layer's MLP and, where it has one projection for that, its attention write."""
    change = Projection(layer, "down", basis(opened, dims, seed), keeps)
    changes: tuple[WeightChange, ...] = (change,)
    if opened.anatomy.layers[layer].attention_output is not None:
        changes += (Projection(layer, "attn_out", change.basis, keeps),)
    return Edit("surgery", f"{dims} dims", changes, name=name)


def added(opened: OpenModel, rank: int = 2, seed: int = 0, name: str = "") -> Edit:
    """Random factors on top of some projection of the last layer."""
    rng = torch.Generator().manual_seed(seed)
    place = module_place(opened.model, projection(opened))
    out, into = place.matrix.shape
    change = LowRank(
        projection(opened), torch.randn(out, rank, generator=rng), torch.randn(rank, into, generator=rng) * 0.1
    )
    return Edit("adapter", f"rank {rank}", (change,), name=name)


def basis(opened: OpenModel, dims: int, seed: int = 0) -> torch.Tensor:
    """`dims` orthonormal rows."""
    noise = torch.randn(opened.anatomy.d_model, dims, generator=torch.Generator().manual_seed(seed))
    return torch.linalg.qr(noise)[0].T.contiguous()


def projection(opened: OpenModel) -> str:
    """The name of some projection inside the last layer."""
    block = opened.anatomy.layers[-1].block
    names = {id(module): name for name, module in opened.model.named_modules()}
    return next(names[id(module)] for module in block.modules() if isinstance(module, nn.Linear | Conv1D))


def bits(opened: OpenModel) -> str:
    """sha256 over every bit of the weights."""
    return finished(of_bits(opened.model))
