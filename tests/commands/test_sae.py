"""`sae`: as typed, on a tiny model with autoencoders of random weights."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from msgspec import structs
from safetensors.torch import save_file

from commands.completing import complete
from sessions import saved_state
from sessions.directions import sae_files
from sessions.directions.features import Which
from sessions.directions.sae import Autoencoder
from sessions.directions.vector import Vector
from sessions.events import finished
from sessions.interventions.arms import Condition
from sessions.patching.transplanting import captured
from sessions.session import Session
from tests.autoencoders import random_autoencoder
from tests.commands.driving import failure, held, result, unharmed

PAGE = "https://www.neuronpedia.org/tiny/1-res"


@pytest.fixture
def made(little: Session) -> Autoencoder:
    """A topk of 64 features behind layer 1, in the folder `sae`."""
    found = random_autoencoder(little.opened(), page=PAGE)
    sae_files.write(found, Path("sae"))
    return found


def state(session: Session, position: int, layer: int = 1, site: str = "resid_post") -> torch.Tensor:
    asked = (session.encoded(), Condition("", session.in_force))
    return captured(session.opened(), asked, position, layer, site).directions[layer]  # type: ignore[arg-type]


# ---- opening


def test_an_autoencoder_is_opened_once_and_remembered(little: Session, made: Autoencoder) -> None:
    opened = result(little, "sae load sae")
    assert (opened.about.architecture, opened.about.size, opened.about.k) == ("topk", 64, 4)
    assert opened.about.source == str(Path("sae").absolute())
    assert little.sae == Which(opened.about.source)
    for line in ("sae load", "sae", "sae encode --at cat", "sae encode sae"):
        assert result(little, line).about == opened.about, line
    os.chdir("/")  # its path is a whole one
    assert result(little, "sae").about == opened.about


def test_no_step_is_needed_to_open_one(little: Session, made: Autoencoder) -> None:
    assert result(little, "sae encode sae --at cat").about.layer == 1
    assert result(little, "sae").position == len(little.encoded().ids) - 1


def test_files_that_changed_are_read_again(little: Session, made: Autoencoder) -> None:
    first = result(little, "sae encode sae")
    sae_files.write(random_autoencoder(little.opened(), k=2), Path("sae"), force=True)
    again = result(little, "sae")
    assert (first.about.k, again.about.k) == (4, 2) and again.encoding.active <= 2


def test_the_autoencoder_is_restored_with_the_session(little: Session, made: Autoencoder) -> None:
    result(little, "sae load sae")
    other = Session(little.home)
    finished(saved_state.restore(other, structs.replace(saved_state.kept(little), circuit=None)))
    assert other.sae == little.sae
    other.model = little.model
    result(other, "prompt the cat")
    assert result(other, "sae").encoding == result(little, "sae").encoding


def test_what_a_file_does_not_say_is_said_once(little: Session, made: Autoencoder) -> None:
    plain = {"W_enc": made.encoder, "b_enc": made.encoder_bias, "W_dec": made.decoder, "b_dec": made.decoder_bias}
    save_file(plain, "plain.safetensors")
    with unharmed(little):
        assert "--layer 12" in failure(little, "sae load plain.safetensors").hint
    opened = result(little, "sae load plain.safetensors --layer 1 --site resid_post --architecture topk --k 4")
    assert opened.about.k == 4 and not opened.notes
    said = result(little, "sae encode plain.safetensors").encoding
    assert said.active == result(little, "sae encode sae").encoding.active
    result(little, "sae load plain.safetensors --layer 1 --site resid_post")
    assert result(little, "sae encode --k 2").about.k == 2 and result(little, "sae").about.k == 2


# ---- encoding


def test_a_position_is_encoded(little: Session, made: Autoencoder) -> None:
    found = result(little, "sae encode sae --at 3 --rows 2")
    x = state(little, 3)
    activations = made.encode(x)
    assert (found.position, found.token) == (3, little.encoded().tokens[3])
    assert found.encoding.active == int((activations > 0).sum()) == 4
    strength = activations * made.decoder.norm(dim=-1)
    assert [each.index for each in found.encoding.features] == strength.topk(2).indices.tolist()
    assert [each.activation for each in found.encoding.features] == activations[strength.topk(2).indices].tolist()
    assert all(each.page == f"{PAGE}/{each.index}" for each in found.encoding.features)
    (one,) = result(little, f"sae encode --at 3 --feature {found.encoding.features[1].index}").encoding.features
    assert one == found.encoding.features[1]


def test_what_is_suppressed_is_so_while_a_state_is_read(little: Session, made: Autoencoder) -> None:
    before = result(little, "sae encode sae")
    result(little, "suppress L0/*")
    after = result(little, "sae")
    assert after.encoding != before.encoding
    result(little, "release all")
    assert result(little, "sae").encoding == before.encoding


def test_the_first_token_is_warned_of(little: Session, made: Autoencoder) -> None:
    assert any("begins the text" in note for note in result(little, "sae encode sae --at 0").notes)
    assert result(little, "sae encode --at 1").notes == ()


def test_a_captured_state_is_encoded(little: Session, made: Autoencoder) -> None:
    here = result(little, "sae encode sae --at 3")
    result(little, "capture one --at 3 --layer 1 --site resid_post")
    result(little, "capture next --at 3 --layer 2 --site resid_pre")  # the same place by its other name
    little.prompt = None
    for name in ("one", "next"):
        found = result(little, f"sae encode --vector {name}")
        assert found.encoding == here.encoding and (found.vector, found.position) == (name, None)


def test_a_reconstruction_is_saved_and_goes_where_a_captured_state_goes(little: Session, made: Autoencoder) -> None:
    saved = result(little, "sae encode sae --at 3 --save again")
    vector = little.store.load("vector", "again", Vector)[1]
    x = state(little, 3)
    assert vector.directions[1].equal(made.decode(made.encode(x), x)) and vector.site == "resid_post"
    assert vector.origin is not None and vector.origin.position == 3
    assert Path(saved.path).is_file()
    assert result(little, "inject again --at 3").arms[1].text is not None
    with unharmed(little):
        assert "exists already" in failure(little, "sae encode --at 3 --save again").message
    feature = saved.encoding.features[0]
    result(little, f"sae encode --at 3 --feature {feature.index} --save again --force")
    part = little.store.load("vector", "again", Vector)[1]
    torch.testing.assert_close(part.directions[1], feature.activation * made.decoder[feature.index])
    assert part.origin is None


# ---- injecting


def test_a_reconstruction_stands_beside_the_baseline_and_what_is_as_far_off(little: Session, made: Autoencoder) -> None:
    found = result(little, "sae inject sae --at 3")
    assert [arm.name for arm in found.arms] == ["baseline", "reconstruction", "as far off"]
    assert all(kl == 0 for kl in found.arms[0].kl) and all(max(arm.kl) > 0 for arm in found.arms[1:])
    assert found.arms[0].text == result(little, "generate").text
    again = result(little, "sae inject --at 3")
    assert (little.last_output.text, little.last_output.baseline) == (again.arms[1].text, again.arms[0].text)


def test_a_whole_reconstruction_changes_nothing(little: Session) -> None:
    """Every coordinate a feature of its own, of both signs: what is put back is what was there."""
    width = 32
    eye = torch.eye(width)
    save_file(
        {
            "W_enc": torch.cat([eye, -eye], 1),
            "b_enc": torch.zeros(2 * width),
            "W_dec": torch.cat([eye, -eye]),
            "b_dec": torch.zeros(width),
        },
        "whole.safetensors",
    )
    opened = "whole.safetensors --layer 1 --site resid_pre --architecture standard"
    found = result(little, f"sae encode {opened} --at 2")
    assert found.encoding.unexplained < 1e-12 and found.encoding.active == width
    arms = result(little, "sae inject --at 2").arms
    assert max(arms[1].kl) == 0 and arms[1].text == arms[0].text
    feature = found.encoding.features[0]
    x = state(little, 2, 1, "resid_pre")
    assert abs(feature.activation - float(x.abs().max())) < 1e-6
    silent = int((torch.cat([x, -x]) < 0).nonzero()[0])
    with unharmed(little):
        assert "not active" in failure(little, f"sae inject --feature {silent} --at 2").message
    assert max(result(little, f"sae inject --feature {silent} --value 0 --add --at 2").arms[1].kl) == 0
    assert max(result(little, f"sae inject --feature {silent} --value 9 --add --at 2").arms[1].kl) > 0


def test_a_feature_is_put_there_at_its_activation_or_another(little: Session, made: Autoencoder) -> None:
    feature = result(little, "sae encode sae --at 3").encoding.features[0]
    for options, activation in (
        ("", feature.activation),
        (" --scale 2", 2 * feature.activation),
        (" --value 7.5", 7.5),
    ):
        found = result(little, f"sae inject --at 3 --feature {feature.index}{options}")
        assert found.arms[1].name == f"feature {feature.index} at {activation:.4g}"
        assert found.arms[2].name == "random direction"
    assert result(little, f"sae inject --at 3 --feature {feature.index} --add").arms[1].name.startswith("plus feature")


def test_a_captured_state_is_reconstructed_elsewhere(little: Session, made: Autoencoder) -> None:
    result(little, "capture one --at 3 --layer 1 --site resid_post")
    here = result(little, "sae inject sae --at 3")
    assert result(little, "sae inject --vector one --at 3").arms[1].kl == here.arms[1].kl
    assert result(little, "sae inject --vector one --at 2").arms[1].kl != here.arms[1].kl


def test_a_place_that_nothing_reads_is_said_to_be_one(little: Session) -> None:
    sae_files.write(random_autoencoder(little.opened(), layer=2), Path("last"))
    found = result(little, "sae inject last --at 2")
    assert max(found.arms[1].kl) == 0 and any("has no effect" in note for note in found.notes)
    found = result(little, "sae inject last --at -1")
    assert max(found.arms[1].kl) > 0 and not found.notes


# ---- releases


def test_a_release_needs_the_package(little: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sae_lens", None)
    with unharmed(little):
        failed = failure(little, "sae load tiny-release:blocks.1.hook_resid_post")
        assert "sae-lens, which is not installed" in failed.message and "[sae]" in failed.hint


def test_a_release_is_read_through_the_package(
    little: Session, made: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package gives a config and a state dict, in the shapes of its version 6; what it does else is its own."""
    config = {
        "architecture": "topk", "k": 4, "d_in": 32, "d_sae": 64, "normalize_activations": "none",
        "metadata": {"hook_name": "blocks.1.hook_resid_post", "neuronpedia_id": "tiny/1-res", "model_name": "tiny"},
    }  # fmt: skip
    tensors = {"W_enc": made.encoder, "b_enc": made.encoder_bias, "W_dec": made.decoder, "b_dec": made.decoder_bias}
    asked: list[tuple[str, str]] = []

    def from_pretrained(release: str, identity: str, device: str) -> Any:
        asked.append((release, identity))
        if identity == "none":
            raise ValueError("ID none not found in release")
        return SimpleNamespace(cfg=SimpleNamespace(to_dict=lambda: config), state_dict=lambda: tensors)

    package = ModuleType("sae_lens")
    package.SAE = SimpleNamespace(from_pretrained=from_pretrained)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sae_lens", package)
    found = result(little, "sae encode tiny-release:layer_1/width_64 --at 3")
    assert asked == [("tiny-release", "layer_1/width_64")] and found.about.page == PAGE
    assert found.encoding == result(little, "sae encode sae --at 3").encoding
    with unharmed(little):
        assert "ID none not found" in failure(little, "sae load org/name:none").message


# ---- bad input


WRONG = [
    ("sae", "no autoencoder is open"),
    ("sae load nothing", "there is no folder or file"),
    ("sae lode sae", "sae has no 'lode'"),
    ("sae load sae --at 3", "sae load has no option --at"),
    ("sae encode sae --scale 2", "sae encode has no option --scale"),
    ("sae inject sae --rows 3", "sae inject has no option --rows"),
    ("sae inject sae --save one", "sae inject has no option --save"),
    ("sae inject sae --scale 2", "for a single feature"),
    ("sae inject sae --feature 1 --scale 2 --value 3", "both set the strength"),
    ("sae encode sae --feature 64", "no feature 64"),
    ("sae inject sae --feature 64 --value 1", "no feature 64"),
    ("sae encode sae --at dog", "does not stand in the text"),
    ("sae encode sae --at 6000", "no position 6000"),
    ("sae encode sae --nth 2", "no word is named"),
    ("sae encode sae --vector calm", "no vector is called"),
    ("sae encode sae --vector calm --at 3", "another state"),
    ("sae load sae --site head", "unknown site 'head'"),
    ("sae load sae --architecture relu", "unknown architecture 'relu'"),
    ("sae load sae --layer 9", "layers are 0 to 2"),
    ("sae load sae --k 65", "65 features active at once"),
    ("sae load sae.pt", "can run code"),
]


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line for line, _ in WRONG])
def test_bad_input_is_one_clear_error(little: Session, made: Autoencoder, line: str, said: str) -> None:
    Path("sae.pt").write_bytes(b"\x80\x04.")
    with unharmed(little):
        failed = failure(little, line)
        assert said in failed.message and failed.hint


def test_a_vector_of_another_place_is_refused(little: Session, made: Autoencoder) -> None:
    result(little, "capture low --at 3 --layer 0 --site resid_pre")
    with unharmed(little):
        failed = failure(little, "sae encode sae --vector low")
        assert "resid_pre of layer 0" in failed.message and "--layer 1 --site resid_post" in failed.hint
    result(little, 'vector joy "the sun" "a fly"')
    assert any("not a captured state" in note for note in result(little, "sae encode sae --vector joy").notes)


def test_another_model_has_no_use_for_it(little: Session, made: Autoencoder, tiny_chat: Any) -> None:
    result(little, "sae load sae")
    little.use_model(tiny_chat)
    result(little, "prompt the cat")
    with unharmed(little):
        assert "other weights are open" in failure(little, "sae").message


def test_words_of_sae_are_completed(little: Session, made: Autoencoder) -> None:
    assert {"load", "encode", "inject"} <= {each.text for each in complete("sae ", session=little)}
    assert "jumprelu" in {each.text for each in complete("sae load sae --architecture j", session=little)}


def test_an_autoencoder_that_failed_to_open_is_not_remembered(little: Session, made: Autoencoder) -> None:
    failure(little, "sae encode sae --at dog")
    assert held(little)["sae"] is None
