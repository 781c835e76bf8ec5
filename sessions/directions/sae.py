"""Sparse autoencoders: a state as a sum of a few of many directions.

For a state x of width d, n features with encoder columns e, decoder rows w and biases b_e, b_d:

    f(x) = σ(e·(x − b_d) + b_e)        y = Σ f_i w_i + b_d

The architectures differ in σ:

- *standard* (Bricken et al. 2023, "Towards monosemanticity"): ReLU;
- *jumprelu* (Rajamanoharan et al. 2024, "Jumping ahead"): z where z > θ and z > 0, θ a number for each feature, else 0;
- *topk* (Gao et al. 2024, "Scaling and evaluating sparse autoencoders"): ReLU of the k largest, 0 for all others;
- *gated* (Rajamanoharan et al. 2024, "Improving dictionary learning"): with g = e·(x − b_d) + b_gate, ReLU of
  exp(r)·(g − b_gate) + b_mag where g > 0, else 0.

Some are trained without subtracting b_d from x (`centred`). Some scale x first and y back, as `normalised` says:

    constant_norm_rescale   x · √d / |x|
    layer_norm              (x − mean) / (standard deviation + 1e-5)

Everything is computed in float32, and agrees with SAELens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sessions.directions.features import AutoencoderAbout, Encoding, Feature
from sessions.directions.lens import through_head
from sessions.directions.vector import Vector, check_site, cosine, length
from sessions.errors import ArtifactError, UsageError
from sessions.model.info import same_model
from sessions.model.opening import OpenModel

NORMALISATIONS = ("none", "constant_norm_rescale", "layer_norm")
_EPSILON = 1e-5
#: Tokens that are listed for a feature, up and down.
TOKENS = 3


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """A sparse autoencoder of n features over states of width d, in float32.

    Args:
        encoder, encoder_bias: `[d, n]` and `[n]`; of a gated one, the gate's bias.
        decoder, decoder_bias: `[n, d]` and `[d]`.
        threshold: `[n]`, of a jumprelu.
        magnitude: r and b_mag, `[n]` each, of a gated one.
        by_norm: of a topk, whether features are compared and counted as if their decoder rows had length 1.
        remarks: what a user should know about how it was read.
    """

    about: AutoencoderAbout
    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor
    threshold: Tensor | None = None
    magnitude: tuple[Tensor, Tensor] | None = None
    by_norm: bool = False
    remarks: tuple[str, ...] = ()

    def encode(self, states: Tensor) -> Tensor:
        """Activations of all features, `[…, n]`, in states `[…, d]`."""
        scale, shift = self._scale(states)
        inside = (states.float() - shift) / (scale + (_EPSILON if self.about.normalised == "layer_norm" else 0.0))
        inside = inside - self.decoder_bias if self.about.centred else inside
        if self.magnitude is not None:
            return self._gated(inside)
        hidden = inside @ self.encoder + self.encoder_bias
        if self.threshold is not None:
            return torch.where(hidden > self.threshold, hidden, 0.0).relu()
        if self.about.k:
            hidden = hidden * self.decoder.norm(dim=-1) if self.by_norm else hidden
            best = hidden.topk(min(self.about.k, hidden.shape[-1]))
            return torch.zeros_like(hidden).scatter(-1, best.indices, best.values.relu())
        return hidden.relu()

    def _gated(self, inside: Tensor) -> Tensor:
        assert self.magnitude is not None
        stretch, bias = self.magnitude
        drive = inside @ self.encoder
        return torch.where(drive + self.encoder_bias > 0, (drive * stretch.exp() + bias).relu(), 0.0)

    def decode(self, activations: Tensor, states: Tensor) -> Tensor:
        """The reconstruction of states `[…, d]` from activations `[…, n]`, scaled back if states are scaled.

        Without activations it is the decoder's bias alone.
        """
        scale, shift = self._scale(states)
        weights = activations / self.decoder.norm(dim=-1).clamp(min=1e-8) if self.by_norm else activations
        return (weights @ self.decoder + self.decoder_bias) * scale + shift

    def written(self, feature: int, activation: float, state: Tensor) -> Tensor:
        """What one feature at an activation adds to the reconstruction of a state `[d]`, `[d]`.

        Raises:
            UsageError: there is no such feature.
        """
        self.check(feature)
        row = self.decoder[feature]
        length = float(row.norm().clamp(min=1e-8)) if self.by_norm else 1.0
        return row * (activation / length) * self._scale(state)[0]

    def reconstructed(self, state: Tensor) -> Tensor:
        """The reconstruction of a state."""
        return self.decode(self.encode(state), state)

    def part(
        self, state: Tensor, feature: int, *, scale: float | None = None, value: float | None = None
    ) -> tuple[Tensor, float]:
        """What one feature adds in a state `[d]`, and its activation: its own there times `scale`, or `value`.

        Raises:
            UsageError: there is no such feature, or it is not active in the state.
        """
        self.check(feature)
        activation = value
        if activation is None:
            activation = float(self.encode(state)[feature]) * (1.0 if scale is None else scale)
            if activation == 0 and scale != 0:
                raise UsageError(
                    f"feature {feature} is not active in this state",
                    "sae encode lists the active ones; sae inject --value 10 sets its activation to 10",
                )
        return self.written(feature, activation, state), activation

    def placed(self, vector: Vector) -> Vector:
        """A vector as a state at the autoencoder's layer and site; the output of a layer is the input of the next.

        Raises:
            ArtifactError: the vector is from another layer or site.
        """
        about = self.about
        same = {(about.site, about.layer)}
        same |= {("resid_post", about.layer - 1)} if about.site == "resid_pre" else set()
        same |= {("resid_pre", about.layer + 1)} if about.site == "resid_post" else set()
        layer = next((layer for layer in vector.layers if (vector.site, layer) in same), None)
        if layer is None:
            raise ArtifactError(
                f"vector '{vector.name}' is at {vector.site} of layer {', '.join(map(str, vector.layers))}, and the "
                f"autoencoder is for {about.site} of layer {about.layer}",
                f"capture one there: capture NAME --layer {about.layer} --site {about.site}",
            )
        return replace(vector, site=about.site, directions={about.layer: vector.directions[layer]})  # type: ignore[arg-type]

    def check(self, feature: int) -> None:
        """Raise `UsageError` unless it has such a feature."""
        if not 0 <= feature < self.about.size:
            raise UsageError(
                f"the autoencoder has no feature {feature}", f"its features are 0 to {self.about.size - 1}"
            )

    def _scale(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """The factor that scales a state back, and the shift that is added after it: `[…, 1]` each."""
        states = states.float()
        none = torch.zeros_like(states[..., :1])
        if self.about.normalised == "constant_norm_rescale":
            return (states.norm(dim=-1, keepdim=True) / self.about.width**0.5).clamp(min=1e-8), none
        if self.about.normalised == "layer_norm":
            return states.std(dim=-1, keepdim=True), states.mean(dim=-1, keepdim=True)
        return none + 1.0, none


def fitted(made: Autoencoder, opened: OpenModel) -> Autoencoder:
    """The autoencoder, if it fits the model: its layer, site and width.

    If it may have been trained on another model all the same, its remarks say so.

    Raises:
        ArtifactError: it does not fit, or a workbench trained it on other weights.
        ModelError: the model has no such site at that layer.
    """
    about, anatomy, info = made.about, opened.anatomy, opened.info
    if about.width != anatomy.d_model:
        whose = f", trained on {about.model}" if about.model else ""
        raise ArtifactError(
            f"the autoencoder{whose} is for states of {about.width:,} numbers; those of {info.name} have "
            f"{anatomy.d_model:,}",
            "open the model it was trained on",
        )
    if about.layer >= anatomy.n_layers:
        raise ArtifactError(
            f"the autoencoder is for layer {about.layer}, and this model's layers are 0 to {anatomy.n_layers - 1}",
            "open the model it was trained on",
        )
    if about.fingerprint and not same_model(about.fingerprint, info.fingerprint):
        raise ArtifactError(
            f"the autoencoder was trained on {about.model or 'another model'}, and other weights are open: {info.name}",
            "open the model it was trained on",
        )
    check_site(anatomy, about.site, about.layer)  # type: ignore[arg-type]
    if about.fingerprint or not about.model or _alike(about.model, info.name):
        return made
    remark = f"its files say that it was trained on {about.model}; {info.name} is open"
    return replace(made, remarks=(*made.remarks, remark))


def _alike(one: str, other: str) -> bool:
    """Whether two names may mean one model: the letters and digits of the last path part of one are in the other's."""
    ours, theirs = (re.sub("[^a-z0-9]", "", name.lower().rpartition("/")[2]) for name in (one, other))
    return ours in theirs or theirs in ours


@torch.inference_mode()
def encoding(opened: OpenModel, sae: Autoencoder, state: Tensor, rows: int, feature: int | None = None) -> Encoding:
    """The encoding of a state `[d]`, with its `rows` strongest features, or one chosen `feature`.

    The strength of a feature is the norm of what it adds to the reconstruction: activation times norm of decoder row.

    Raises:
        UsageError: there is no such feature.
    """
    state = state.float()
    activations = sae.encode(state)
    made = sae.decode(activations, state)
    nothing = sae.decode(torch.zeros_like(activations), state)
    strength = activations if sae.by_norm else activations * sae.decoder.norm(dim=-1)
    active = int((activations > 0).sum())
    if feature is not None:
        sae.check(feature)
    chosen = strength.topk(min(rows, active)).indices.tolist() if feature is None else [feature]
    missed = (state - nothing).square().sum()
    return Encoding(
        active=active,
        unexplained=float((state - made).square().sum() / missed) if missed else 0.0,
        cosine=cosine(state, made) or 0.0,
        norms=(length(state), length(made)),
        features=_features(opened, sae, chosen, activations, strength),
    )


def _features(
    opened: OpenModel, sae: Autoencoder, chosen: Sequence[int], activations: Tensor, strength: Tensor
) -> tuple[Feature, ...]:
    if not chosen:
        return ()
    rows = sae.decoder[list(chosen)]
    pushed = through_head(opened.anatomy, opened.tokenizer, rows.to(opened.model.dtype), TOKENS)
    whole = float(strength.sum()) or 1.0
    return tuple(
        Feature(
            index=index,
            activation=float(activations[index]),
            share=float(strength[index]) / whole,
            norm=length(row),
            up=up,
            down=down,
            page=f"{sae.about.page}/{index}" if sae.about.page else "",
        )
        for index, row, (up, down) in zip(chosen, rows, pushed, strict=True)
    )
