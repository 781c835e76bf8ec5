"""Sparse autoencoders: they compute what their papers say, files come back as they were, and a trained one is real."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec import structs
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks import train_sae
from sessions.directions import sae_files
from sessions.directions.features import ARCHITECTURES, SITES, Which
from sessions.directions.sae import NORMALISATIONS, Autoencoder, encoding, fitted
from sessions.errors import ArtifactError
from sessions.events import finished
from sessions.interventions.arms import Condition
from sessions.model.hooks import StateSite
from sessions.model.info import Prompt
from sessions.model.opening import OpenModel, adopt
from sessions.model.tokens import encode
from sessions.patching.injecting import Injection, injected
from sessions.patching.transplanting import captured
from tests.autoencoders import random_autoencoder
from tests.families import tiny, tiny_tokenizer


@pytest.fixture(scope="module")
def opened() -> OpenModel:
    return adopt(tiny("llama"), tiny_tokenizer(), name="tiny")


def naive(made: Autoencoder, x: list[float], r: float = 0.0) -> tuple[list[float], list[float]]:
    """Activations and reconstruction, number by number, from the formulas of the papers."""
    about = made.about
    shift, scale, epsilon = 0.0, 1.0, 0.0
    if about.normalised == "layer_norm":
        shift, epsilon = sum(x) / len(x), 1e-5
        scale = math.sqrt(sum((each - shift) ** 2 for each in x) / (len(x) - 1))
    elif about.normalised == "constant_norm_rescale":
        scale = math.sqrt(sum(each**2 for each in x)) / math.sqrt(len(x))
    b_dec = made.decoder_bias.tolist()
    taken = b_dec if about.centred else [0.0] * len(x)
    inside = [(each - shift) / (scale + epsilon) - b for each, b in zip(x, taken, strict=True)]
    columns = made.encoder.T.tolist()
    drive = [sum(a * b for a, b in zip(inside, column, strict=True)) for column in columns]
    hidden = [each + bias for each, bias in zip(drive, made.encoder_bias.tolist(), strict=True)]
    if about.architecture == "topk":
        best = sorted(range(len(hidden)), key=lambda i: -hidden[i])[: about.k]
        active = [max(value, 0.0) if i in best else 0.0 for i, value in enumerate(hidden)]
    elif about.architecture == "jumprelu":
        assert made.threshold is not None
        active = [max(v, 0.0) if v > t else 0.0 for v, t in zip(hidden, made.threshold.tolist(), strict=True)]
    elif about.architecture == "gated":
        assert made.magnitude is not None
        stretch, bias = (each.tolist() for each in made.magnitude)
        sizes = [max(math.exp(s) * d + b, 0.0) for s, d, b in zip(stretch, drive, bias, strict=True)]
        active = [size if gate > 0 else 0.0 for size, gate in zip(sizes, hidden, strict=True)]
    else:
        active = [max(value, 0.0) for value in hidden]
    rows = made.decoder.tolist()
    written = [sum(f * row[i] for f, row in zip(active, rows, strict=True)) + b_dec[i] for i in range(len(x))]
    return active, [each * scale + shift for each in written]


# ---- what they compute


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("normalised", NORMALISATIONS)
@pytest.mark.parametrize("centred", [True, False])
def test_autoencoders_compute_what_the_papers_say(
    opened: OpenModel, architecture: str, normalised: str, centred: bool
) -> None:
    made = random_autoencoder(opened, architecture, normalised=normalised, centred=centred)
    x = 3 * torch.randn(32, generator=torch.Generator().manual_seed(1)) + 0.5
    active, written = naive(made, x.tolist())
    found = made.encode(x)
    assert 0 < int((found > 0).sum()) < 64
    torch.testing.assert_close(found, torch.tensor(active), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(made.decode(found, x), torch.tensor(written), atol=1e-4, rtol=1e-4)
    several = torch.stack([x, -x])[None]
    torch.testing.assert_close(made.encode(several)[0, 0], found, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("normalised", NORMALISATIONS)
def test_what_the_features_write_is_the_reconstruction(opened: OpenModel, normalised: str) -> None:
    made = random_autoencoder(opened, normalised=normalised)
    x = torch.randn(32, generator=torch.Generator().manual_seed(2))
    active = made.encode(x)
    parts = [made.written(i, float(active[i]), x) for i in active.nonzero()[:, 0].tolist()]
    nothing = made.decode(torch.zeros(64), x)
    torch.testing.assert_close(nothing + torch.stack(parts).sum(0), made.decode(active, x), atol=1e-5, rtol=1e-5)


def test_a_topk_by_norm_chooses_what_writes_most(opened: OpenModel) -> None:
    plain = random_autoencoder(opened)
    decoder = plain.decoder * torch.linspace(0.1, 10, 64)[:, None]
    by_norm = replace(plain, decoder=decoder, by_norm=True)
    folded = replace(
        plain,
        encoder=plain.encoder * decoder.norm(dim=-1),
        encoder_bias=plain.encoder_bias * decoder.norm(dim=-1),
        decoder=torch.nn.functional.normalize(decoder, dim=-1),
    )
    x = torch.randn(32, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(by_norm.encode(x), folded.encode(x))
    torch.testing.assert_close(by_norm.decode(by_norm.encode(x), x), folded.decode(folded.encode(x), x))


def test_sites_are_those_that_states_are_read_at() -> None:
    assert set(SITES) == set(StateSite.__args__)  # type: ignore[attr-defined]


def test_an_autoencoder_of_another_model_is_refused_or_said_to_be(opened: OpenModel) -> None:
    made = random_autoencoder(opened)
    assert fitted(made, opened).remarks == ()

    def of(**said: Any) -> Autoencoder:
        return replace(made, about=structs.replace(made.about, **said))

    for changed, said in (
        ({"width": 576}, "states of 576 numbers; those of tiny have 32"),
        ({"layer": 3}, "layers are 0 to 2"),
        ({"fingerprint": "0" * 64}, "other weights are open"),
    ):
        with pytest.raises(ArtifactError, match=said):
            fitted(of(**changed), opened)
    assert fitted(of(fingerprint="", model="org/Tiny"), opened).remarks == ()
    assert fitted(of(fingerprint="", model="gpt2-small"), opened).remarks == (
        "its files say that it was trained on gpt2-small; tiny is open",
    )


# ---- files


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_folder_that_was_written_comes_back(opened: OpenModel, architecture: str, tmp_path: Path) -> None:
    made = random_autoencoder(opened, architecture, normalised="layer_norm", centred=False, page=PAGE)
    sae_files.write(made, tmp_path / "one")
    again = read(tmp_path / "one")
    assert {**about(again), "source": ""} == about(made)
    x = torch.randn(5, 32)
    active = made.encode(x)
    assert again.encode(x).equal(active) and again.decode(active, x).equal(made.decode(active, x))
    assert read(tmp_path / "one" / sae_files.WEIGHTS).about.layer == 1  # the file in it means the folder


PAGE = "https://www.neuronpedia.org/gpt2-small/8-res-jb"


def about(made: Autoencoder) -> dict[str, Any]:
    return {name: getattr(made.about, name) for name in made.about.__struct_fields__}


def read(path: Path, **said: Any) -> Autoencoder:
    return finished(sae_files.read(Which(str(path), **said)))


def tensors(size: int = 20, width: int = 8) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "W_enc": torch.randn(width, size),
        "b_enc": torch.randn(size),
        "W_dec": torch.randn(size, width),
        "b_dec": torch.randn(width),
    }


def test_a_plain_file_says_in_its_metadata_what_it_is(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "a.safetensors", {"k": "3", "hook_name": "blocks.4.hook_mlp_out"})
    made = read(tmp_path / "a.safetensors")
    assert (made.about.architecture, made.about.k, made.about.layer, made.about.site) == ("topk", 3, 4, "mlp_out")
    assert (made.about.size, made.about.width, made.about.centred) == (20, 8, True)
    assert int((made.encode(torch.randn(8)) > 0).sum()) <= 3


@pytest.mark.parametrize("name", ["threshold", "log_threshold"])
def test_a_threshold_makes_a_jumprelu(tmp_path: Path, name: str) -> None:
    threshold = torch.rand(20) + 0.5
    file = tmp_path / "a.safetensors"
    save_file({**tensors(), name: threshold.log() if name == "log_threshold" else threshold}, file)
    made = read(file, layer=2, site="resid_pre")
    assert made.about.architecture == "jumprelu" and not made.about.centred
    assert made.threshold is not None
    torch.testing.assert_close(made.threshold, threshold)
    x = torch.randn(8)
    hidden = x @ made.encoder + made.encoder_bias
    torch.testing.assert_close(made.encode(x), hidden * (hidden > threshold))


def test_arrays_of_numpy_are_read_with_the_layer_and_the_site_of_their_folders(tmp_path: Path) -> None:
    path = tmp_path / "gemma-scope-2b-pt-mlp" / "layer_20" / "width_16k" / "average_l0_71" / "params.npz"
    path.parent.mkdir(parents=True)
    held = {**tensors(), "threshold": torch.rand(20) + 0.5}
    np.savez(path, **{name: each.numpy() for name, each in held.items()})
    made = read(path)
    assert (made.about.architecture, made.about.layer, made.about.site) == ("jumprelu", 20, "mlp_out")
    save_file(held, tmp_path / "a.safetensors")
    assert torch.equal(
        made.encode(torch.ones(8)), read(tmp_path / "a.safetensors", layer=0, site="mlp_out").encode(torch.ones(8))
    )
    assert read(path, layer=3, site="resid_post").about.layer == 3


def test_arrays_that_could_run_something_or_are_damaged_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.npz"
    np.savez(path, W_enc=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ArtifactError, match=r"not a \.npz file of plain arrays"):
        read(path, layer=0, site="mlp_out")
    np.savez(path, W_enc=np.array(["a"]))
    with pytest.raises(ArtifactError, match="not of numbers"):
        read(path, layer=0, site="mlp_out")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ArtifactError, match="is damaged"):
        read(path, layer=0, site="mlp_out")


def test_a_file_without_a_word_is_standard_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    save_file({name: each.to(torch.bfloat16) for name, each in tensors().items()}, file)
    made = read(file, layer=0, site="resid_post")
    assert made.about.architecture == "standard" and made.encoder.dtype == torch.float32
    assert "--architecture" in made.remarks[0]
    assert not read(file, layer=0, site="resid_post", architecture="standard").remarks
    assert read(file, layer=0, site="resid_post", k=2).about.k == 2


OLD = {
    "architecture": "standard", "hook_point": "blocks.7.hook_resid_pre", "hook_point_layer": 7, "d_in": 8, "d_sae": 20,
    "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}, "normalize_activations": "none",
    "apply_b_dec_to_input": False, "model_name": "gpt2-small", "neuronpedia_id": "gpt2-small/7-res",
    "model_from_pretrained_kwargs": {"center_writing_weights": True}, "hook_head_index": None,
}  # fmt: skip


def folder(path: Path, config: dict[str, Any], **others: Tensor) -> Path:
    path.mkdir(exist_ok=True)
    (path / sae_files.CONFIG).write_text(json.dumps(config))
    save_file({**tensors(), **others}, path / sae_files.WEIGHTS)
    return path


def test_a_config_from_before_version_six_is_read(tmp_path: Path) -> None:
    made = read(folder(tmp_path / "old", OLD, scaling_factor=torch.ones(20)))
    assert (made.about.architecture, made.about.k, made.about.layer, made.about.site) == ("topk", 5, 7, "resid_pre")
    assert not made.about.centred and made.about.page == "https://www.neuronpedia.org/gpt2-small/7-res"
    assert "center_writing_weights" in made.remarks[0]


REFUSED = [
    ({"architecture": "transcoder", "activation_fn_str": "relu"}, {}, "architecture 'transcoder'"),
    ({"normalize_activations": "expected_average_only_in"}, {}, "'expected_average_only_in'"),
    ({"normalize_activations": True}, {}, "'expected_average_only_in'"),
    ({"normalize_activations": "batch_norm"}, {}, "'batch_norm'"),
    ({"activation_fn_str": "tanh-relu"}, {}, "'tanh-relu'"),
    ({"activation_fn_kwargs": {}}, {}, "how many features"),
    ({"activation_fn_kwargs": {"k": 21}}, {}, "21 features active at once"),
    ({"activation_fn_kwargs": {"k": "many"}}, {}, "'many' features"),
    ({"hook_point": "blocks.7.attn.hook_z"}, {}, "blocks.7.attn.hook_z"),
    ({"hook_point": "blocks.7.hook_mlp_in"}, {}, "hook_mlp_in.* not supported"),
    ({"hook_head_index": 3}, {}, "attention heads"),
    ({"reshape_activations": "hook_z"}, {}, "attention heads"),
    ({}, {"finetuning_scaling_factor": torch.full((20,), 2.0)}, "finetuning_scaling_factor"),
    ({}, {"W_enc": torch.zeros(20, 8)}, "W_enc of .* shape .*transposed"),
    ({}, {"W_dec": torch.zeros(8, 20)}, "W_dec of .* shape .*transposed"),
    ({}, {"b_enc": torch.zeros(19)}, r"b_enc of .* \[19\], but \[20\] goes with W_dec"),
    ({}, {"b_dec": torch.zeros(9)}, r"b_dec of .* \[9\]"),
    ({}, {"b_dec": torch.full((8,), math.nan)}, "not finite"),
    ({"architecture": "jumprelu"}, {}, "no tensor threshold"),
    ({"architecture": "gated", "activation_fn_str": "relu"}, {}, "no tensor b_gate"),
]


@pytest.mark.parametrize(("config", "others", "said"), REFUSED)
def test_unsupported_autoencoders_are_refused_by_name(
    tmp_path: Path, config: dict[str, Any], others: dict[str, Tensor], said: str
) -> None:
    path = folder(tmp_path / "bad", {**OLD, **config}, **others)
    with pytest.raises(ArtifactError, match=said):
        read(path)


def test_a_path_without_an_autoencoder_is_refused(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path / "none", "there is no folder or file"),
        (tmp_path, "it has no cfg.json"),
    ):
        with pytest.raises(ArtifactError, match=said):
            read(path)
    (tmp_path / "a.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(ArtifactError, match="damaged"):
        read(tmp_path / "a.safetensors")
    save_file({"other": torch.zeros(3)}, tmp_path / "b.safetensors")
    with pytest.raises(ArtifactError, match="no tensor W_dec") as raised:
        read(tmp_path / "b.safetensors")
    assert "other" in raised.value.hint
    save_file(tensors(), tmp_path / "c.safetensors")
    with pytest.raises(ArtifactError, match="does not say its layer and site") as raised:
        read(tmp_path / "c.safetensors")
    assert "--layer" in raised.value.hint


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("sprung"),)


def test_a_pickle_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sae.pt").write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(ArtifactError, match="can run code"):
        read(tmp_path / "sae.pt")
    (tmp_path / "cfg.json").write_text(json.dumps(OLD))
    with pytest.raises(ArtifactError, match=r"sae\.pt is in a format that can run code"):
        read(tmp_path)
    assert not Path("sprung").exists()


# ---- one that was trained


@pytest.fixture(scope="module")
def trained(smollm2: OpenModel) -> tuple[Autoencoder, Tensor]:
    """A small one over the stream of smollm2, and states that it has not seen."""
    seen, unseen = train_sae.split(train_sae.windows(smollm2, 32, 1600))
    known, held_out = (train_sae.states(smollm2, texts, 12, "resid_post") for texts in (seen, unseen))
    return train_sae.trained(smollm2, known, 12, "topk", size=256, k=16, steps=80, batch=256), held_out


def test_a_trained_one_explains_states_it_has_not_seen(trained: tuple[Autoencoder, Tensor]) -> None:
    made, held_out = trained
    missed, active = train_sae.unexplained(made, held_out)
    assert missed < 0.75 and active <= 16
    shuffled = replace(made, decoder=made.decoder[torch.randperm(256)])
    assert train_sae.unexplained(shuffled, held_out)[0] > 1.2 * missed


def test_encoding_lists_features_with_l0_and_unexplained_share(
    smollm2: OpenModel, trained: tuple[Autoencoder, Tensor]
) -> None:
    made, held_out = trained
    found = encoding(smollm2, made, held_out[3], rows=5)
    assert found.active == int((made.encode(held_out[3]) > 0).sum()) and len(found.features) == 5
    shares = [feature.share for feature in found.features]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1
    y = made.decode(made.encode(held_out[3]), held_out[3])
    left = (held_out[3] - y).norm() ** 2 / (held_out[3] - made.decoder_bias).norm() ** 2
    assert found.unexplained == pytest.approx(float(left), rel=1e-3) and found.unexplained < 1
    assert all(len(feature.up) == len(feature.down) == 3 for feature in found.features)
    (one,) = encoding(smollm2, made, held_out[3], rows=5, feature=found.features[2].index).features
    assert one == found.features[2]


def test_the_reconstruction_keeps_more_than_a_random_error_as_large(
    smollm2: OpenModel, trained: tuple[Autoencoder, Tensor], tmp_path: Path
) -> None:
    """Put in the place of the state, and read from a file again."""
    sae_files.write(trained[0], tmp_path / "sae")
    made = read(tmp_path / "sae")
    assert load_file(tmp_path / "sae" / sae_files.WEIGHTS).keys() == {"W_enc", "b_enc", "W_dec", "b_dec"}
    text = encode(smollm2.tokenizer, Prompt(text=train_sae.topics["while"][:120], chat=False))
    last, given = len(text.ids) - 1, torch.tensor([text.ids] * 3)
    state = captured(smollm2, (text, Condition("")), last, 12, "resid_post").directions[12]
    there = [
        [],
        [Injection(12, "resid_post", last, made.decode(made.encode(state), state))],
        [Injection(12, "resid_post", last, made.decoder_bias)],
    ]
    with torch.inference_mode(), injected(smollm2.anatomy, there):
        logits = smollm2.model(input_ids=given).logits[:, -1].log_softmax(-1)
    whole, made_up, nothing = logits
    kl = [float((whole.exp() * (whole - other)).sum()) for other in (made_up, nothing)]
    assert 0 < kl[0] < kl[1]
