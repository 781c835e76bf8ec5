"""The sparse autoencoder that was read last stays in memory until its files change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions.directions.features import Which
from sessions.events import Progress, Steps

if TYPE_CHECKING:
    from sessions.directions.sae import Autoencoder
    from sessions.model.opening import OpenModel


class AutoencoderCache:
    """Keeps one autoencoder: two may not fit into memory."""

    def __init__(self) -> None:
        self._autoencoder: Autoencoder | None = None
        self._version: object = None  # which it is, and the stamp of its files when they were read

    def read(self, which: Which, opened: OpenModel) -> Steps[Autoencoder]:
        """An autoencoder that fits the model, read from disk unless it is already here.

        Raises:
            ArtifactError: there is none, it is damaged, or it is for states of another width, layer or model.
            ModelError: the model has no such site.
        """
        from sessions.directions.sae import fitted
        from sessions.directions.sae_files import read, stamp

        version = (which, stamp(which))
        if self._autoencoder is None or self._version != version:
            self.clear()
            yield Progress("reading the autoencoder")
            self._autoencoder, self._version = (yield from read(which)), version
        return fitted(self._autoencoder, opened)

    def clear(self) -> None:
        """Free its memory."""
        self._autoencoder = self._version = None
