"""Saved artifacts, and whether they fit the open model."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from sessions.artifacts import check_model
from sessions.circuits.circuit import Circuit
from sessions.circuits.sound import sound
from sessions.errors import ArtifactError, UsageError
from sessions.files.layouts import Header
from sessions.files.tensor_file import texts_of
from sessions.interventions.presets import Preset
from sessions.interventions.presets import sound as sound_preset
from sessions.model.info import same_model
from sessions.model.units import Unit
from sessions.store import Store

if TYPE_CHECKING:  # these rooms import torch or numpy: they are imported when they are needed
    from sessions.atlas.atlas import Atlas
    from sessions.circuits.means import Means
    from sessions.directions.vector import Vector
    from sessions.edits.edit import Edit
    from sessions.lenses.fitted import FittedLens
    from sessions.model.opening import OpenModel


class SavedArtifacts:
    """The artifacts of a store: each is read with remarks on how it fits the model that is open.

    Args:
        store: reads and writes the files.
        model: returns the open model, if there is one.
    """

    def __init__(self, store: Store, model: Callable[[], OpenModel | None]) -> None:
        self.store = store
        self._model = model
        self._atlas: tuple[tuple[Path, int], Header, Atlas] | None = None  # the one that was read last
        self._made_on: dict[tuple[Path, int], str] = {}  # fingerprints of atlases, by path and modification time

    def read_circuit(self, name: str, *, force: bool = False) -> tuple[Circuit, tuple[str, ...]]:
        """A saved circuit, and remarks on how it fits the open model.

        Raises:
            ArtifactError: it is missing, damaged, or made on another model than the open one.
        """
        header, circuit = self.store.load("circuit", name, Circuit)
        sound(circuit, str(self.store.path("circuit", name)))
        return structs.replace(circuit, name=name), self._fit(header, force)

    def read_vector(self, name: str, *, force: bool = False) -> tuple[Vector, tuple[str, ...]]:
        """A saved vector, and remarks on how it fits the open model.

        Raises:
            ArtifactError: it is missing, damaged, or made on another model than the open one.
        """
        from sessions.directions.vector import Vector, check_origin

        header, vector = self.store.load("vector", name, Vector)
        remarks = self._fit(header, force)
        opened = self._model()
        if opened is not None and vector.origin is not None and _is_of(opened, header):
            check_origin(vector.origin, opened.anatomy)
        return vector.named(name, header.model, header.fingerprint), remarks

    def read_edit(self, name: str, *, force: bool = False) -> tuple[Edit, tuple[str, ...]]:
        """A saved edit, and remarks on how it fits the open model; it is not applied.

        Raises:
            ArtifactError: it is missing, damaged, or made on another model than the open one.
        """
        from sessions.edits.files import EditFile

        header, file = self.store.load("edit", name, EditFile)
        return file.named(header, self.store.home), self._fit(header, force)

    def read_preset(self, name: str, *, force: bool = False) -> tuple[Preset, tuple[str, ...]]:
        """A saved preset, and remarks on how it fits the open model.

        Raises:
            ArtifactError: it is missing, damaged, or made on another model than the open one.
        """
        header, preset = self.store.load("preset", name, Preset)
        return sound_preset(preset, str(self.store.path("preset", name))), self._fit(header, force)

    def read_atlas(self, name: str = "", *, force: bool = False) -> tuple[Atlas, tuple[str, ...]]:
        """A saved atlas, and remarks on how it fits the open model; without a name, the latest of the open model.

        Raises:
            ArtifactError: it is missing, damaged, or made on another model than the open one.
        """
        name = name or self.latest_atlas()
        if not name:
            raise ArtifactError("there is no atlas of this model", "make one: atlas build NAME")
        path = self.store.path("atlas", name)
        stamp = path, path.stat().st_mtime_ns if path.is_file() else 0
        if self._atlas is None or self._atlas[0] != stamp:
            from sessions.atlas.atlas import Atlas

            header, atlas = self.store.load("atlas", name, Atlas)
            self._atlas = stamp, header, atlas.named(name, header.model, header.fingerprint)
        _, header, loaded = self._atlas
        remarks = self._fit(header, force)
        opened = self._model()
        if opened is not None and _is_of(opened, header):
            loaded.check(opened.anatomy)
        return loaded, remarks

    def read_means(self, name: str, *, force: bool = False) -> tuple[Means, tuple[str, ...]]:
        """Saved means, and remarks on how they fit the open model.

        Raises:
            ArtifactError: they are missing, damaged, or made on another model than the open one.
        """
        from sessions.circuits.means import Means

        header, means = self.store.load("means", name, Means)
        remarks = self._fit(header, force)
        return means.named(name, header.model, header.fingerprint), remarks

    def read_lens(self, name: str, *, force: bool = False) -> tuple[FittedLens, tuple[str, ...]]:
        """A saved lens, and remarks on how it fits the open model.

        Raises:
            ArtifactError: it is missing, damaged, or made on another model than the open one.
        """
        from sessions.lenses.fitted import FittedLens

        header, lens = self.store.load("lens", name, FittedLens)
        remarks = self._fit(header, force)
        return lens.named(name, header.model, header.fingerprint), remarks

    def latest_atlas(self) -> str:
        """The name of the open model's atlas that was written last; empty where there is none."""
        model = self._model()
        if model is None:
            return ""
        dated = []
        for name in self.store.names("atlas"):
            path = self.store.path("atlas", name)
            with suppress(OSError):  # it may just have been deleted
                stamp = path, path.stat().st_mtime_ns
                if stamp not in self._made_on:  # cached: the state is needed after every key press
                    self._made_on[stamp] = texts_of(path).get("fingerprint", "")
                if same_model(self._made_on[stamp], model.info.fingerprint):
                    dated.append((stamp[1], name))
        return max(dated, default=(0, ""))[1]

    def _fit(self, header: Header, force: bool) -> tuple[str, ...]:
        """Remarks on how an artifact fits the open model, if there is one."""
        opened = self._model()
        if opened is None:
            return ()
        info = opened.info
        remark = check_model(header.fingerprint, header.model, info.fingerprint, info.name, force)
        return (remark,) if remark else ()

    def neurons_of_atlas(self, name: str, end: str, count: int) -> tuple[Unit, ...]:
        """The first `count` neurons of an atlas: by largest |activation| ("top"), by smallest ("quiet"), or by highest
        activation above 0 ("positive").

        Raises:
            ArtifactError: there is no such atlas, or it is of another model.
        """
        from sessions.atlas.profiles import ranked

        atlas, _ = self.read_atlas(name)
        return ranked(atlas, count, quietest=end == "quiet", by="positive" if end == "positive" else "magnitude")

    def neurons_of_preset(self, name: str, part: str | None) -> tuple[Unit, ...]:
        """The neurons of a preset, of one of its tiers or regions, or the `topN` with the largest |gain|.

        Raises:
            ArtifactError: there is no such preset.
            UsageError: it has no such part.
        """
        preset, _ = self.read_preset(name)
        chosen = [neuron for neuron in preset.neurons if part is None or part in (str(neuron.tier), neuron.region)]
        if not chosen and part is not None and re.fullmatch("top[1-9][0-9]{0,8}", part):
            chosen = sorted(preset.neurons, key=lambda known_neuron: -abs(known_neuron.gain))[: int(part[3:])]
        if not chosen:
            known = dict.fromkeys(
                str(word) for neuron in preset.neurons for word in (neuron.tier, neuron.region) if word
            )
            raise UsageError(f"preset '{name}' has no tier or region '{part}'", f"its parts: {', '.join(known)}")
        return tuple(known.neuron for known in chosen)

    def neurons_of_round(self, name: str, count: int | None) -> tuple[Unit, ...]:
        """The strongest recruits of a training round, given by its number or name; by default as many as it recorded.

        Raises:
            ArtifactError: there is no such round, or it is of another model.
        """
        from sessions.training.round import Rounds, called

        rounds = Rounds(self.store)
        trained = rounds.load(called(name))
        opened = self._model()
        if opened is not None and not same_model(trained.fingerprint, opened.info.fingerprint):
            raise ArtifactError(f"round '{trained.name}' was trained on {trained.model}", "open that model first")
        if count is None or count <= len(trained.recruited):
            return trained.recruited[:count]
        return rounds.recruits(trained.name).strongest(count)


def _is_of(opened: OpenModel, header: Header) -> bool:
    """Whether a saved artifact says that it was made on this model."""
    return same_model(header.fingerprint, opened.info.fingerprint)
