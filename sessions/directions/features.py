"""Sparse autoencoders and the features that they find in a state, as plain data that needs no torch."""

from __future__ import annotations

from msgspec import Struct

#: How features become active, by the name of the architecture.
ARCHITECTURES = {
    "standard": "ReLU (Bricken et al. 2023)",
    "jumprelu": "a threshold for each feature (Rajamanoharan et al. 2024)",
    "topk": "the k largest (Gao et al. 2024)",
    "gated": "a gate and a magnitude (Rajamanoharan et al. 2024)",
}
#: Sites that an autoencoder may have been trained at.
SITES = ("resid_pre", "resid_post", "mlp_out", "attn_out")


class Which(Struct, frozen=True):
    """Which autoencoder to read: a folder or file by its whole path, or RELEASE:ID; and what its files do not say.

    What is None or "" is taken from the files.
    """

    path: str
    layer: int | None = None
    site: str = ""
    architecture: str = ""
    k: int | None = None

    def __str__(self) -> str:
        """The path and the options, as on a line."""
        options = {"layer": self.layer, "site": self.site, "architecture": self.architecture, "k": self.k}
        given = {name: value for name, value in options.items() if value not in (None, "")}
        return " ".join([self.path, *(f"--{name} {value}" for name, value in given.items())])


class AutoencoderAbout(Struct, frozen=True, kw_only=True):
    """The description of an autoencoder: `size` features over states of `width` numbers at a site of a layer.

    `k` is that of "topk", 0 for the others. `normalised` says how a state is scaled before it is encoded, or "none".
    `centred` says that the decoder's bias is subtracted from it first. `model` is the one it was trained on, as its
    files say; `fingerprint` is that model's, if a workbench wrote the files. `page` is its page on Neuronpedia, or "".
    """

    source: str
    architecture: str
    layer: int
    site: str
    size: int
    width: int
    k: int = 0
    normalised: str = "none"
    centred: bool = True
    model: str = ""
    fingerprint: str = ""
    page: str = ""


class Feature(Struct, frozen=True, kw_only=True):
    """A feature that is active in a state.

    `share` is the norm of what it writes, divided by the sum of these norms over all active features. `norm` is that of
    its decoder row. `up` and `down` are the tokens that this row pushes (logit lens), `page` its page on Neuronpedia.
    """

    index: int
    activation: float
    share: float
    norm: float
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    page: str = ""


class Encoding(Struct, frozen=True, kw_only=True):
    """The features of an autoencoder in a state x, and how well they reconstruct it as y.

    `active` counts the active features (L0). `unexplained` is |x − y|² / |x − b|², b being the reconstruction without
    any feature: 1 if the features explain nothing. `cosine` is that of x and y, `norms` are |x| and |y|.
    """

    active: int
    unexplained: float
    cosine: float
    norms: tuple[float, float]
    features: tuple[Feature, ...]
