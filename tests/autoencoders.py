"""Small sparse autoencoders with random weights, of every architecture."""

from __future__ import annotations

import torch

from sessions.directions.features import AutoencoderAbout
from sessions.directions.sae import Autoencoder
from sessions.model.opening import OpenModel


def random_autoencoder(
    opened: OpenModel,
    architecture: str = "topk",
    *,
    size: int = 64,
    layer: int = 1,
    site: str = "resid_post",
    k: int = 4,
    normalised: str = "none",
    centred: bool = True,
    page: str = "",
) -> Autoencoder:
    """One whose numbers are of the size that a trained one has, for the model's own states."""
    width = opened.anatomy.d_model
    draw = torch.Generator().manual_seed(7)

    def numbers(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return scale * torch.randn(*shape, generator=draw)

    about = AutoencoderAbout(
        source="", architecture=architecture, layer=layer, site=site, size=size, width=width,
        k=k if architecture == "topk" else 0, normalised=normalised, centred=centred,
        model=opened.info.name, fingerprint=opened.info.fingerprint, page=page,
    )  # fmt: skip
    return Autoencoder(
        about=about,
        encoder=numbers(width, size, scale=width**-0.5),
        encoder_bias=numbers(size, scale=0.1),
        decoder=numbers(size, width, scale=width**-0.5),
        decoder_bias=numbers(width, scale=0.1),
        threshold=numbers(size, scale=0.3).abs() if architecture == "jumprelu" else None,
        magnitude=(numbers(size, scale=0.3), numbers(size, scale=0.1)) if architecture == "gated" else None,
    )
