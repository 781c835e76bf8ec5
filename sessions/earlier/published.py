"""Files of earlier projects, read without running what is in them: signatures, deltas, differences, recruits.

They are pickles that `torch.save` wrote, and a pickle is a program. `torch.load(weights_only=True)` interprets only
what plain data needs (numbers, texts, lists, dictionaries, tensors) and stops at the first name of anything else; such
a file is refused by that name. What it holds is told by its keys:

    a signature    target_layer, target_index, v_disc_n, v_pos_n, v_meow_n, scale_g, scale_u, default_alpha and, for a
                   second neuron that cuts the loop, b_layer, b_index, v_just_meowed_n, scale_g_b, scale_u_b,
                   default_beta: a neuron's gate row, up row and column, as unit directions and their lengths
    deltas         _pool [{"layer", "index"}, …], L9_gate and L9_up [n, d_model], L9_down [d_model, n]: what is added
                   to the rows and columns of the neurons of the pool, in its order
    differences    top_diff [(layer, index, difference), …]: by how much neurons are more active in one text than in
                   another; or A_means and B_means, [d_mlp] for every layer, of which B − A is taken
    a LoRA         …q_proj.lora_A… [r, in] and …lora_B… [out, r] (see `published_lora`)
    recruits       suppress_dict {layer: [index, …]}, cum_neuron_down {layer: [d_mlp]}: which neurons were held at zero
                   in a round of training, and the gradient that each of the others absorbed
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
from sessions.model.units import Neuron
from sessions.results import FileEntry

#: A name that a pickle wanted to call, in the words of torch's refusal.
_WANTED = re.compile(r"(?:unsupported )?GLOBAL:?\s+(?:GLOBAL\s+)?([\w.]+)", re.IGNORECASE)
#: What a signature's second neuron is pushed with where the file does not say, which is not at all.
_NO_BETA = 0.0
_SCALE, _ALPHA = 0.2, 3.0
#: Neurons that are taken of the means of all, where nobody says how many.
_TOP = 300


@dataclass(frozen=True, eq=False)
class SignatureNeuron:
    """One neuron of a signature: unit directions `[d_model]` and how long its rows become."""

    neuron: Neuron
    gate: Tensor
    up: Tensor
    scale_gate: float
    scale_up: float

    def changes(self, down: Tensor) -> tuple[Neurons, ...]:
        """The changes that make it so; `down` `[d_model]` is the column that it writes with."""
        layer, index = self.neuron.site
        rows = {"gate": self.scale_gate * self.gate, "up": self.scale_up * self.up, "down": down}
        return tuple(Neurons(layer, part, (index,), row[None]) for part, row in rows.items())  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Signature:
    """A neuron that says a token and, where there is a `brake`, one that stops it from saying it again."""

    speaker: SignatureNeuron
    push: Tensor
    alpha: float
    brake: SignatureNeuron | None = None
    beta: float = _NO_BETA

    def edit(self, source: str, alpha: float | None = None, beta: float | None = None) -> Edit:
        """The edit that rewrites both neurons, with the file's own α and β where none are given.

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
    """A file that is none of these: its outline, and how many rows of it are left out."""

    entries: tuple[FileEntry, ...]
    left: int


Published = Signature | Edit | Preset | PublishedRound | Lora | Data


def read(path: Path, top: int | None = None) -> Published:
    """What a file holds.

    Args:
        top: of differences, so many of the strongest neurons; None takes those that the file names.

    Raises:
        ArtifactError: it is no such file, it wants to run something, or its contents do not fit each other.
    """
    held = plain(path)
    source = str(path)
    if not isinstance(held, dict):
        return Data(*outline(held))
    if {"target_layer", "v_disc_n"} <= held.keys():
        return _signature(held, source)
    if "_pool" in held:
        return _deltas(held, source)
    means = [key for key in held if isinstance(key, str) and key.endswith("_means")]
    if "top_diff" in held and (top is None or len(means) != 2):
        return _differences(held["top_diff"], source, top)
    if len(means) == 2:
        return _of_means(held[means[0]], held[means[1]], source, top or _TOP)
    if "cum_neuron_down" in held:
        return trained_in(held, source)
    return lora_in(held, source) or _silent(held) or Data(*outline(held))


def plain(path: Path) -> Any:
    """The plain data and tensors in a pickle; nothing of it is run.

    Raises:
        ArtifactError: it cannot be read, is no such file, or names something that would have to be run.
    """
    if not path.exists():
        raise ArtifactError(f"there is no file {path}")
    check_regular(path, largest=LARGEST)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickles that torch did not write, which are refused here
            held = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        if error.errno == errno.EINVAL:  # torch was sent before the start of a file that is cut off
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
    except Exception as error:  # a pickle that is damaged raises whatever its pieces come to
        raise ArtifactError(f"{path} was not written by torch.save, or is damaged") from error
    return held


def _signature(held: Mapping[Any, Any], source: str) -> Signature:
    field = Fields(held, source)
    speaker = SignatureNeuron(
        Neuron(field.whole("target_layer"), field.whole("target_index")),
        field.direction("v_disc_n"),
        field.direction("v_pos_n"),
        field.number("scale_g", _SCALE),
        field.number("scale_u", _SCALE),
    )
    brake = None
    if all(held.get(key) is not None for key in ("b_layer", "b_index", "v_just_meowed_n")):
        just = field.direction("v_just_meowed_n")
        brake = SignatureNeuron(
            Neuron(field.whole("b_layer"), field.whole("b_index")),
            just,
            just,
            field.number("scale_g_b", _SCALE),
            field.number("scale_u_b", _SCALE),
        )
    alpha = field.number("default_alpha", _ALPHA)
    beta = field.number("default_beta", _NO_BETA) if brake is not None else _NO_BETA
    found = Signature(speaker, field.direction("v_meow_n"), alpha, brake, beta)
    widths = {len(row) for each in (speaker, brake) if each is not None for row in (each.gate, each.up)}
    if widths != {len(found.push)}:
        raise ArtifactError(f"{source} has directions of different widths: {sorted(widths | {len(found.push)})}")
    return found


def _deltas(held: Mapping[Any, Any], source: str) -> Edit:
    pool = held["_pool"]
    if not isinstance(pool, list) or not pool or not all(isinstance(each, dict) for each in pool):
        raise ArtifactError(f"{source} has a _pool that is not a list of layers and indices")
    chosen: dict[int, list[int]] = {}
    for number, each in enumerate(pool, 1):
        field = Fields(each, f"{source}: entry {number} of _pool")
        chosen.setdefault(field.whole("layer"), []).append(field.whole("index"))
    changes = []
    for layer, indices in chosen.items():
        for part in ("gate", "up", "down"):
            lines = Fields(held, source).matrix(f"L{layer}_{part}")
            lines = lines.T.contiguous() if part == "down" else lines  # stored as columns, [d_model, n]
            if len(lines) != len(indices):
                raise ArtifactError(
                    f"{source} has {len(lines)} lines in L{layer}_{part}, and its _pool {len(indices)} neurons there"
                )
            changes.append(Neurons(layer, part, tuple(indices), lines, adds=True))
    about = f"deltas of {len(pool):,} neurons in {len(chosen)} layers"
    return Edit("import", about, tuple(changes), facts={"source": source})


def _of_means(before: Any, after: Any, source: str, top: int) -> Preset:
    """The neurons whose means differ most, each shifted by its difference."""
    if not isinstance(before, list | tuple) or not isinstance(after, list | tuple) or len(before) != len(after):
        raise ArtifactError(f"{source} has means that are not a list of as many layers each")
    found = []
    fields = [Fields(dict(enumerate(each)), f"{source}: means") for each in (before, after)]
    for layer in range(len(before)):
        one, other = (each.direction(layer, unit=False) for each in fields)
        if one.shape != other.shape:
            raise ArtifactError(f"{source} has {len(one):,} means and {len(other):,} in layer {layer}")
        differences = other - one
        strongest = differences.abs().topk(min(top, len(differences))).indices.tolist()
        found += [(layer, index, float(differences[index])) for index in strongest]
    return _differences(sorted(found, key=lambda each: -abs(each[2]))[:top], source)


def _silent(held: Mapping[Any, Any]) -> Preset | None:
    """The neurons that a scan found dead: under a key that says so, a mask of every layer, or indices by layer."""
    said = [
        value for key, value in held.items() if isinstance(key, str) and re.search("dead|silent", key, re.IGNORECASE)
    ]
    layers = next((dict(enumerate(each)) if isinstance(each, list | tuple) else each for each in said), None)
    if not isinstance(layers, Mapping) or not layers:
        return None
    found = [(key, index) for key, value in layers.items() for index in _indices(value)]
    if not found or not all(names_one(each) for pair in found for each in pair):
        return None
    known = (Neuron(int(layer), int(index)) for layer, index in dict.fromkeys(found))
    return Preset(
        neurons=tuple(Known(id=str(each), layer=each.layer, index=each.index, gain=0.0, mode="hold") for each in known)
    )


def _indices(value: Any) -> list[Any]:
    if isinstance(value, Tensor) and value.ndim == 1:
        return (value.nonzero()[:, 0] if value.dtype == torch.bool else value).tolist()
    return list(value) if isinstance(value, list | tuple | set) else [None]


def _differences(rows: Any, source: str, top: int | None = None) -> Preset:
    """Each neuron is shifted by its difference: what makes the one text's activations the other's."""
    known = []
    for number, row in enumerate(rows[:top] if isinstance(rows, list) else (), 1):
        if not isinstance(row, list | tuple) or len(row) < 3:
            raise ArtifactError(f"{source}: row {number} of top_diff is not (layer, index, difference)")
        field = Fields(dict(zip(("layer", "index", "difference"), row, strict=False)), f"{source}: row {number}")
        neuron = Neuron(field.whole("layer"), field.whole("index"))
        known.append(Known(id=str(neuron), layer=neuron.layer, index=neuron.index, gain=field.number("difference")))
    if not known:
        raise ArtifactError(f"{source} has no rows in top_diff")
    if len({(each.layer, each.index) for each in known}) < len(known):
        raise ArtifactError(f"{source} has a neuron twice in top_diff")
    return Preset(neurons=tuple(known))
