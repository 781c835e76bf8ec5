"""What a sparse autoencoder is and what it says of a state, as plain data that needs no torch."""

from __future__ import annotations

from msgspec import Struct

#: How features come to be active, with what stands for each.
ARCHITECTURES = {
    "standard": "ReLU (Bricken et al. 2023)",
    "jumprelu": "a threshold for each feature (Rajamanoharan et al. 2024)",
    "topk": "the k largest (Gao et al. 2024)",
    "gated": "a gate and a magnitude (Rajamanoharan et al. 2024)",
}
#: Where an autoencoder may have been trained, of those places that can be read here.
SITES = ("resid_pre", "resid_post", "mlp_out", "attn_out")


class Which(Struct, frozen=True):
    """Which autoencoder is meant: a folder or file by its whole path, or RELEASE:ID; and what its files do not say.

    `layer` None, "" and `k` None leave that to the files.
    """

    path: str
    layer: int | None = None
    site: str = ""
    architecture: str = ""
    k: int | None = None

    def __str__(self) -> str:
        """The path, and what was said beside it, as in a line."""
        said = {"layer": self.layer, "site": self.site, "architecture": self.architecture, "k": self.k}
        return " ".join([self.path, *(f"--{name} {each}" for name, each in said.items() if each not in (None, ""))])


class AutoencoderAbout(Struct, frozen=True, kw_only=True):
    """What an autoencoder is: `size` features of `width` numbers at a site of a layer.

    `k` is that of "topk", 0 of the others. `normalised` says how a state is scaled before it is encoded, "none" for
    not at all; `centred` that the decoder's bias is taken off it. `model` is what it was trained on as its files say
    it, `fingerprint` that model's where a workbench wrote them. `page` is Neuronpedia's for it, "" where none is known.
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

    `share` is how much of what all active ones write (each one's norm, over their sum) is its own; `norm` that of its
    decoder row. `up` and `down` are the tokens this row pushes (logit lens), `page` is Neuronpedia's.
    """

    index: int
    activation: float
    share: float
    norm: float
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    page: str = ""


class Encoding(Struct, frozen=True, kw_only=True):
    """What an autoencoder makes of one state x, its reconstruction being y.

    `active` counts the features that are (L0). `unexplained` is |x − y|² / |x − b|², b being what it reconstructs from
    no feature at all: 1 where the features say nothing. `cosine` is that of x and y, `norms` are |x| and |y|.
    """

    active: int
    unexplained: float
    cosine: float
    norms: tuple[float, float]
    features: tuple[Feature, ...]
