"""Reads files of earlier projects (signatures, deltas, differences, recruits) without running any code in them.

The files are pickles written by `torch.save`, and a pickle is a program. `torch.load(weights_only=True)` builds plain
data only (numbers, texts, lists, dictionaries, tensors) and stops at the first name of anything else. The reader
refuses such a file, and names what it wanted to run. The keys of a file say what it holds:

    a signature    target_layer, target_index, v_disc_n, v_pos_n, v_meow_n, scale_g, scale_u, default_alpha and, for a
                   second neuron that cuts the loop, b_layer, b_index, v_just_meowed_n, scale_g_b, scale_u_b,
                   default_beta: a neuron's gate row, up row and column, as unit directions and their lengths
    deltas         _pool [{"layer", "index"}, …], L9_gate and L9_up [n, d_model], L9_down [d_model, n]: what is added
                   to the rows and columns of the neurons of the pool, in its order
    differences    top_diff [(layer, index, difference), …]: how much more active neurons are in one text than in
                   another; or A_means and B_means, [d_mlp] for every layer, whose difference is B − A
    a LoRA         …q_proj.lora_A… [r, in] and …lora_B… [out, r] (see `published_lora`)
    recruits       suppress_dict {layer: [index, …]}, cum_neuron_down {layer: [d_mlp]}: the neurons held at zero in a
                   round of training, and the gradient that each other neuron absorbed
"""

from __future__ import annotations

import errno
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sessions.earlier.file_contents import outline
from sessions.earlier.published_fields import Fields, names_one
from sessions.earlier.published_lora import Lora, lora_in
from sessions.earlier.published_round import PublishedRound, trained_in
from sessions.edits.edit import Edit, Neurons
from sessions.errors import ArtifactError
from sessions.files.disk import LARGEST, check_regular
from sessions.interventions.presets import Known, Preset
from sessions.model.units import Unit
from sessions.results import FileEntry

#: The name that a pickle wanted to call, in the message of torch's refusal.
_WANTED = re.compile(r"(?:unsupported )?GLOBAL:?\s+(?:GLOBAL\s+)?([\w.]+)", re.IGNORECASE)
#: The default strength of a signature's second neuron: off.
_NO_BETA = 0.0
#: Defaults of a signature that lacks its scales or its alpha.
_SCALE, _ALPHA = 0.2, 3.0
#: The number of neurons taken from two files of means, unless the user gives another.
_TOP = 300


@dataclass(frozen=True, eq=False)
class SignatureNeuron:
    """One neuron of a signature: unit directions `[d_model]` of its gate and up rows, and the lengths of the rows."""

    neuron: Unit
    gate: Tensor
    up: Tensor
    scale_gate: float
    scale_up: float

    def changes(self, down: Tensor) -> tuple[Neurons, ...]:
        """The changes that rewrite the neuron; `down` `[d_model]` becomes its column."""
        layer, index = self.neuron.site
        rows = {"gate": self.scale_gate * self.gate, "up": self.scale_up * self.up, "down": down}
        return tuple(Neurons(layer, part, (index,), row[None]) for part, row in rows.items())  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Signature:
    """A neuron that pushes a token and, if there is a `brake`, a second neuron that stops the repetition."""

    speaker: SignatureNeuron
    push: Tensor
    alpha: float
    brake: SignatureNeuron | None = None
    beta: float = _NO_BETA

    def edit(self, source: str, alpha: float | None = None, beta: float | None = None) -> Edit:
        """The edit that rewrites both neurons; α and β default to the file's.

        Raises:
            ArtifactError: a β is given, and the file has no second neuron.
        """
        alpha, beta = self.alpha if alpha is None else alpha, self.beta if beta is None else beta
        if beta and self.brake is None:
            raise ArtifactError(f"{source} has no second neuron that a beta could be for", "leave out --beta")
        changes = self.speaker.changes(alpha * self.push)
        brakes = self.brake is not None and beta > 0
        if self.brake is not None and brakes:
            changes += self.brake.changes(-beta * self.push)
        about = f"{self.speaker.neuron} rewritten, α {alpha:g}"
        if self.brake is not None and brakes:
            about += f", braked by {self.brake.neuron}, β {beta:g}"
        facts = {"source": source, "alpha": f"{alpha:g}", "beta": f"{beta if brakes else 0:g}"}
        return Edit("import", about, changes, pushes=True, facts=facts)


@dataclass(frozen=True, eq=False)
class Data:
    """Any other file: its outline, and the number of rows left out."""

    entries: tuple[FileEntry, ...]
    left: int


Published = Signature | Edit | Preset | PublishedRound | Lora | Data


def read(path: Path, top: int | None = None) -> Published:
    """The contents of a file, as the kind that its keys name.

    Args:
        top: the number of strongest neurons to take from differences; None takes those that the file lists.

    Raises:
        ArtifactError: the file was not written by torch.save, would run code, or its contents contradict each other.
    """
    contents = plain(path)
    source = str(path)
    if not isinstance(contents, dict):
        return Data(*outline(contents))
    if {"target_layer", "v_disc_n"} <= contents.keys():
        return _signature(contents, source)
    if "_pool" in contents:
        return _deltas(contents, source)
    means = [key for key in contents if isinstance(key, str) and key.endswith("_means")]
    if "top_diff" in contents and (top is None or len(means) != 2):
        return _differences(contents["top_diff"], source, top)
    if len(means) == 2:
        return _of_means(contents[means[0]], contents[means[1]], source, top or _TOP)
    if "cum_neuron_down" in contents:
        return trained_in(contents, source)
    return lora_in(contents, source) or _silent(contents) or Data(*outline(contents))


def plain(path: Path) -> Any:
    """The plain data and tensors in a pickle; no code in it runs.

    Raises:
        ArtifactError: the file cannot be read, was not written by torch.save, or names code to run.
    """
    if not path.exists():
        raise ArtifactError(f"there is no file {path}")
    check_regular(path, largest=LARGEST)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickles that torch did not write; refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        if error.errno == errno.EINVAL:  # a truncated file makes torch seek before its start
            raise ArtifactError(f"{path} was not written by torch.save, or is damaged") from error
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        wanted = _WANTED.search(str(error))
        if wanted is None:
            raise ArtifactError(f"{path} was not written by torch.save, or is damaged") from error
        raise ArtifactError(
            f"{path} is not only data: reading it would run {wanted[1]}, and nothing of it was run",
            "have it saved again as plain tensors, numbers and texts, or as safetensors",
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle can raise any exception
        raise ArtifactError(f"{path} was not written by torch.save, or is damaged") from error


def _signature(contents: Mapping[Any, Any], source: str) -> Signature:
    field = Fields(contents, source)
    speaker = SignatureNeuron(
        Unit(field.whole("target_layer"), field.whole("target_index")),
        field.direction("v_disc_n"),
        field.direction("v_pos_n"),
        field.number("scale_g", _SCALE),
        field.number("scale_u", _SCALE),
    )
    brake = None
    if all(contents.get(key) is not None for key in ("b_layer", "b_index", "v_just_meowed_n")):
        just = field.direction("v_just_meowed_n")
        brake = SignatureNeuron(
            Unit(field.whole("b_layer"), field.whole("b_index")),
            just,
            just,
            field.number("scale_g_b", _SCALE),
            field.number("scale_u_b", _SCALE),
        )
    alpha = field.number("default_alpha", _ALPHA)
    beta = field.number("default_beta", _NO_BETA) if brake is not None else _NO_BETA
    signature = Signature(speaker, field.direction("v_meow_n"), alpha, brake, beta)
    widths = {len(row) for neuron in (speaker, brake) if neuron is not None for row in (neuron.gate, neuron.up)}
    if widths != {len(signature.push)}:
        raise ArtifactError(f"{source} has directions of different widths: {sorted(widths | {len(signature.push)})}")
    return signature


def _deltas(contents: Mapping[Any, Any], source: str) -> Edit:
    pool = contents["_pool"]
    if not isinstance(pool, list) or not pool or not all(isinstance(entry, dict) for entry in pool):
        raise ArtifactError(f"{source} has a _pool that is not a list of layers and indices")
    chosen: dict[int, list[int]] = {}
    for number, entry in enumerate(pool, 1):
        field = Fields(entry, f"{source}: entry {number} of _pool")
        chosen.setdefault(field.whole("layer"), []).append(field.whole("index"))
    changes = []
    for layer, indices in chosen.items():
        for part in ("gate", "up", "down"):
            lines = Fields(contents, source).matrix(f"L{layer}_{part}")
            lines = lines.T.contiguous() if part == "down" else lines  # stored as columns, [d_model, n]
            if len(lines) != len(indices):
                raise ArtifactError(
                    f"{source} has {len(lines)} lines in L{layer}_{part}, and its _pool {len(indices)} neurons there"
                )
            changes.append(Neurons(layer, part, tuple(indices), lines, adds=True))
    about = f"deltas of {len(pool):,} neurons in {len(chosen)} layers"
    return Edit("import", about, tuple(changes), facts={"source": source})


def _of_means(before: Any, after: Any, source: str, top: int) -> Preset:
    """A preset of the neurons whose means differ most; it shifts each by its difference."""
    if not isinstance(before, list | tuple) or not isinstance(after, list | tuple) or len(before) != len(after):
        raise ArtifactError(f"{source} has means that are not a list of as many layers each")
    rows = []
    fields = [Fields(dict(enumerate(means)), f"{source}: means") for means in (before, after)]
    for layer in range(len(before)):
        one, other = (means.direction(layer, unit=False) for means in fields)
        if one.shape != other.shape:
            raise ArtifactError(f"{source} has {len(one):,} means and {len(other):,} in layer {layer}")
        differences = other - one
        strongest = differences.abs().topk(min(top, len(differences))).indices.tolist()
        rows += [(layer, index, float(differences[index])) for index in strongest]
    return _differences(sorted(rows, key=lambda row: -abs(row[2]))[:top], source)


def _silent(contents: Mapping[Any, Any]) -> Preset | None:
    """A preset that holds at zero the neurons a scan found dead; None if the file has none.

    The value of a key that contains "dead" or "silent" is a mask, or a list of indices, for every layer.
    """
    values = [
        value
        for key, value in contents.items()
        if isinstance(key, str) and re.search("dead|silent", key, re.IGNORECASE)
    ]
    layers = next((dict(enumerate(value)) if isinstance(value, list | tuple) else value for value in values), None)
    if not isinstance(layers, Mapping) or not layers:
        return None
    pairs = [(key, index) for key, value in layers.items() for index in _indices(value)]
    if not pairs or not all(names_one(number) for pair in pairs for number in pair):
        return None
    dead = (Unit(int(layer), int(index)) for layer, index in dict.fromkeys(pairs))
    return Preset(
        neurons=tuple(
            Known(id=str(neuron), layer=neuron.layer, index=neuron.index, gain=0.0, mode="hold") for neuron in dead
        )
    )


def _indices(value: Any) -> list[Any]:
    if isinstance(value, Tensor) and value.ndim == 1:
        return (value.nonzero()[:, 0] if value.dtype == torch.bool else value).tolist()
    return list(value) if isinstance(value, list | tuple | set) else [None]


def _differences(rows: Any, source: str, top: int | None = None) -> Preset:
    """A preset that shifts each neuron by its difference, which turns the activations of one text into the other's."""
    known = []
    for number, row in enumerate(rows[:top] if isinstance(rows, list) else (), 1):
        if not isinstance(row, list | tuple) or len(row) < 3:
            raise ArtifactError(f"{source}: row {number} of top_diff is not (layer, index, difference)")
        field = Fields(dict(zip(("layer", "index", "difference"), row, strict=False)), f"{source}: row {number}")
        neuron = Unit(field.whole("layer"), field.whole("index"))
        known.append(Known(id=str(neuron), layer=neuron.layer, index=neuron.index, gain=field.number("difference")))
    if not known:
        raise ArtifactError(f"{source} has no rows in top_diff")
    if len({(neuron.layer, neuron.index) for neuron in known}) < len(known):
        raise ArtifactError(f"{source} has a neuron twice in top_diff")
    return Preset(neurons=tuple(known))
