"""`capture` and `inject`, as typed, on tiny models; and what a state does in another text, on a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from commands.completing import complete
from sessions.directions.vector import Vector
from sessions.model.opening import OpenModel, adopt
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed
from tests.families import tiny, tiny_tokenizer

FLY = 'capture fly --prompt "a fly on the hat" --at fly --layer 1'
INTO = '--into "the cat in a hat" --at cat'


def loaded(session: Session, name: str) -> Vector:
    return session.store.load("vector", name, Vector)[1]


@pytest.fixture
def fly(little: Session) -> Session:
    """The session with a state of another text."""
    result(little, FLY)
    return little


@pytest.fixture(scope="module")
def tiny_gemma() -> OpenModel:
    """A model whose last layer shares keys and values, and whose layers have embeddings of their own."""
    return adopt(tiny("gemma4"), tiny_tokenizer(), name="tiny-gemma")


# ---- capturing


def test_a_state_is_captured_with_where_it_came_from(little: Session) -> None:
    made = result(little, FLY)
    assert (made.name, made.site, [each.layer for each in made.directions]) == ("fly", "resid_pre", [1])
    assert made.notes == ("'fly' is 3 tokens there; the last is meant, 'y' at 4",)
    saved = loaded(little, "fly")
    assert saved.origin == made.origin and saved.origin is not None
    assert (saved.origin.text, saved.origin.position, saved.origin.token) == ("a fly on the hat", 4, "y")
    seen: list[torch.Tensor] = []
    block = little.opened().anatomy.layers[1].block
    handle = block.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    little.opened().model(torch.tensor([saved.origin.ids]), use_cache=False)
    handle.remove()
    assert torch.equal(saved.directions[1], seen[0][0, 4])
    shown = result(little, "vector fly")
    assert (shown.origin, shown.directions) == (made.origin, made.directions)
    assert "--at fly --layer 1" in little.store.load("vector", "fly", Vector)[0].command


def test_the_sessions_prompt_is_read_unless_another_is_given(little: Session) -> None:
    made = result(little, "capture cat --layer 2 --site mlp_out")
    assert made.origin.ids == little.encoded().ids and made.origin.position == len(made.origin.ids) - 1


def test_a_vector_made_of_prompts_has_no_origin_as_before(little: Session) -> None:
    assert result(little, 'vector joy "the sun" "a fly"').origin is None
    assert "origin" not in loaded(little, "joy").packed().fields


# ---- injecting


def test_a_state_in_its_own_place_changes_nothing_that_is_said(little: Session) -> None:
    result(little, "capture cat --at cat --layer 1")
    shown = result(little, "inject cat --at cat")
    assert shown.arms[0].text == shown.arms[1].text != shown.arms[2].text
    assert all(each.given_back == pytest.approx(1, abs=1e-4) for each in shown.observed)
    assert shown.placed[0].cosine == pytest.approx(1, abs=1e-5)
    assert little.last_output.text == shown.arms[1].text and little.last_output.baseline == shown.arms[0].text


def test_neurons_and_a_token_are_observed(fly: Session) -> None:
    shown = result(fly, f'inject fly {INTO} --observe L1/N3,L2/N5 --target " t" --max-tokens 3 --site resid_post')
    assert [str(each.neuron) for each in shown.observed] == ["L1/N3", "L2/N5"]
    assert all(arm.target_probability is not None and len(arm.ids) <= 3 for arm in shown.arms)
    below, above = shown.observed
    assert below.injected == pytest.approx(below.without, abs=1e-5) and above.injected != above.without
    assert "L1/N3 is below layer 2" in shown.notes[-1]
    assert [arm.name for arm in shown.arms] == ["baseline", "injected", "random"]


def test_several_states_go_to_several_places_in_one_run(fly: Session) -> None:
    result(fly, 'capture sun --prompt "the sun" --at sun --layer 2 --site mlp_out')
    shown = result(fly, 'inject fly,sun --into "the cat in a hat" --at cat,hat')
    assert [(each.name, each.layer, each.site) for each in shown.placed] == [
        ("fly", 1, "resid_pre"),
        ("sun", 2, "mlp_out"),
    ]
    assert shown.placed[0].position != shown.placed[1].position
    assert {each.place for each in shown.observed} == {0}  # nothing reads what the last layer's MLP adds
    twice = result(fly, 'inject fly --into "the cat in a hat" --at cat,-1 --layer 0')
    assert [each.layer for each in twice.placed] == [0, 0]


def test_scale_and_add_say_what_is_put_there(fly: Session) -> None:
    once, twice = (result(fly, f"inject fly {INTO} --add --scale {scale}") for scale in (1, 2))
    assert twice.placed[0].norm == pytest.approx(2 * once.placed[0].norm) and once.adds
    assert once.placed[0].replaced == twice.placed[0].replaced


def test_what_is_live_and_suppressed_stays_so(fly: Session) -> None:
    result(fly, "suppress L2/N5")
    result(fly, "amplify L1/N3 3 --live")
    shown = result(fly, f"inject fly {INTO} --observe L2/N5,L1/N3")
    held, tripled = shown.observed
    assert (held.source, held.without, held.injected, held.random) == (0, 0, 0, 0)
    assert any("suppressed" in note for note in shown.notes)
    assert any("captured while other neurons were suppressed" in note for note in shown.notes)
    result(fly, "release all")
    assert tripled.without == pytest.approx(3 * result(fly, f"inject fly {INTO} --observe L1/N3").observed[0].without)


def test_a_control_vector_can_be_added_where_it_has_a_layer(fly: Session) -> None:
    result(fly, 'vector joy "the sun" "a fly"')
    shown = result(fly, f"inject joy {INTO} --layer 1 --add --observe L2/N5")
    assert shown.observed[0].source is None and shown.observed[0].given_back is None
    assert any("not captured" in note for note in shown.notes)
    failed = failure(fly, f"inject joy {INTO} --add")
    assert "has 3 layers, 0 to 2" in failed.message and "--layer" in failed.hint


# ---- layer by layer


@pytest.mark.parametrize(
    ("more", "measure"), [("", "kl"), ("--observe L2/N5", "activation"), ('--target " t"', "probability")]
)
def test_layers_make_a_map(fly: Session, more: str, measure: str) -> None:
    shown = result(fly, f"inject fly {INTO} --layers all {more}")
    assert shown.measure == measure and shown.map.layers == (0, 1, 2)
    assert len(shown.map.cells) == 3 and all(len(row) == 3 for row in shown.map.cells)
    part = result(fly, f"inject fly {INTO} --layers 1-2 {more}")
    assert part.map.cells == tuple(pytest.approx(row[1:], abs=1e-5) for row in shown.map.cells[1:])
    assert (shown.map.source is None) == (measure == "kl")


# ---- shared keys and values, per-layer embeddings


def test_a_position_that_cannot_influence_the_output_is_reported(little: Session, tiny_gemma: OpenModel) -> None:
    little.use_model(tiny_gemma)
    result(little, FLY)
    shown = result(little, f"inject fly {INTO} --layer 2")
    (place,) = shown.placed
    assert not place.reaches and place.reaches_below == 2
    assert shown.arms[0].text == shown.arms[1].text == shown.arms[2].text
    assert result(little, f"inject fly {INTO}").placed[0].reaches
    assert result(little, f"inject fly {INTO} --layers all").map.reaches_below == 2


def test_per_layer_inputs_are_swapped_where_there_are_any(little: Session, tiny_gemma: OpenModel) -> None:
    with unharmed(little):
        result(little, FLY)
        failed = failure(little, f"inject fly {INTO} --per-layer-inputs")
    assert "no per-layer embeddings" in failed.message and "leave out" in failed.hint
    little.use_model(tiny_gemma)
    result(little, f"{FLY} --force")
    state, both = (result(little, f"inject fly {INTO} --observe L2/N5 {more}") for more in ("", "--per-layer-inputs"))
    assert both.inputs and state.observed[0].injected != both.observed[0].injected


def test_in_a_model_of_several_residual_streams_the_result_says_which_is_meant(little: Session) -> None:
    result(little, FLY)
    assert "residual streams" not in str(result(little, f"inject fly {INTO}").notes)
    little.use_model(adopt(tiny("gemma3n"), tiny_tokenizer(), name="tiny-3n"))
    result(little, f"{FLY} --force")
    for more in ("", "--layers all", "--site resid_post --layer 0"):
        assert "2 residual streams" in str(result(little, f"inject fly {INTO} {more}").notes)
    result(little, f"{FLY} --force --site mlp_out")
    assert "residual streams" not in str(result(little, f"inject fly {INTO}").notes)


def test_the_first_position_is_said_to_be_like_no_other(fly: Session) -> None:
    notes = [str(result(fly, f'inject fly --into "the cat in a hat" --at {at}').notes) for at in (0, 1)]
    assert "begins the text" in notes[0] and "begins the text" not in notes[1]


# ---- bad input


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        (f"inject flea {INTO}", "no vector is called 'flea'", "list shows"),
        ('inject fly --into "the cat" --at dog', "'dog' does not stand in the text", "the cat"),
        ('inject fly --into "a cat a hat" --at a', "2 times, at", "--nth 1"),
        ('inject fly --into "a cat a hat" --at a --nth 3', "2 times", "1 to 2"),
        ('inject fly --into "the cat" --at 99', "no position 99", "are 0 to"),
        (f"inject fly {INTO} --layer 3", "no layer 3", "0 to 2"),
        (f"inject fly {INTO} --layers 1-7", "no layer 3", "0 to 2"),
        (f"inject fly {INTO} --layers 1-2 --layer 1", "--layers and --layer exclude", "for example"),
        (f"inject fly {INTO} --layers all --max-tokens 4", "generates no text", "for example"),
        (f"inject fly {INTO} --layers all --observe L1/N1,L1/N2", "shows one thing", "one neuron"),
        (f"inject fly,fly {INTO}", "2 vectors and 1 places", "as many"),
        (f"inject fly {INTO} --observe L9/N1", "no layer 9", "0 to 2"),
        (f"inject fly {INTO} --observe all@all", "", ""),
        (f"inject fly {INTO} --site residual", "unknown site", "resid"),
        (f"inject fly, {INTO}", "empty word", "x,y"),
        ("inject fly --at cat --raw", "--raw needs a text in this line", "--into"),
        ("inject joyous --at cat", "no vector", ""),
        ("capture fly --layer 1", "exists already", "--force"),
        ("capture new --at cat", "--layer is missing", "0 to 2"),
        ("capture new --layer 3", "no layer 3", "0 to 2"),
        ("capture new --layer 1 --at 77", "no position 77", "0 to"),
        ("capture new L1/N2 --layer 1", "which needs an atlas", "--from"),
        ("capture new --from atlas:demo", "--from needs a neuron", "capture new L12/N34"),
        ("capture new L1/N2 --from atlas:demo", "no atlas is called 'demo'", ""),
        ("capture new L1/N2 --from atlas:demo --at cat", "--from takes text and position", "atlas:demo"),
        ("capture new --thinking on --layer 1", "--thinking needs a text", "--prompt"),
    ],
)
def test_bad_lines_fail_and_change_nothing(fly: Session, line: str, said: str, hint: str) -> None:
    with unharmed(fly):
        failed = failure(fly, line)
    assert said in failed.message and hint in failed.hint


def test_a_state_of_another_model_needs_force_and_the_same_width(fly: Session, tiny_chat: OpenModel) -> None:
    fly.use_model(tiny_chat)
    with unharmed(fly):
        assert "--force" in failure(fly, f"inject fly {INTO}").hint
    shown = result(fly, f"inject fly {INTO} --force")
    assert shown.observed == () and any("was made on tiny" in note for note in shown.notes)
    assert "has no text of this model" in failure(fly, f"inject fly {INTO} --force --layers all").message
    wide = tiny("llama", seed=5)
    saved = loaded(fly, "fly")
    saved.directions[1] = torch.ones(wide.config.hidden_size + 1)  # type: ignore[index]
    fly.store.save("vector", "wide", saved, model="x", fingerprint="f", command="x")
    with unharmed(fly):
        failed = failure(fly, f"inject wide {INTO} --force")
    assert "33 numbers" in failed.message and "open the model" in failed.hint


def test_vectors_are_completed_by_name(fly: Session) -> None:
    offered: list[Any] = [each.text for each in complete("inject fly --site ", session=fly)]
    assert offered == ["resid_pre", "resid_post", "mlp_out", "attn_out"]


# ---- a real model


def test_a_state_of_texas_makes_x_texas(session: Session) -> None:
    result(session, "set max_tokens 12")
    result(session, 'capture texas --prompt "The capital of Texas" --at Texas --layer 8 --raw')
    shown = result(session, 'inject texas --into "A detailed description of x is that" --at x --raw')
    assert "Texas" in shown.arms[1].text
    assert "Texas" not in shown.arms[0].text + shown.arms[2].text
    same = [each for each in shown.observed if each.neuron.layer == 8]
    assert all((each.given_back or 0) > 0.9 and abs(each.by_chance or 0) < 0.5 for each in same)


def test_an_atlas_names_the_place_that_woke_a_neuron_most(session: Session, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("The capital of Texas is Austin.\nShe wrote a long letter to her sister.\n")
    result(session, f"atlas build demo --corpus {corpus} --layers 8")
    made = result(session, "capture wild L8/N1075 --from atlas:demo")
    assert made.origin.neuron == "L8/N1075" and made.directions[0].layer == 8
    found = session.saved.read_atlas("demo")[0].strongest(loaded_neuron("L8/N1075"))
    assert found is not None and (found.token, found.position) == (made.origin.token, made.origin.position)
    shown = result(session, 'inject wild --into "A detailed description of x is that" --at x --raw --max-tokens 4')
    assert str(shown.observed[0].neuron) == "L8/N1075"
    assert shown.observed[0].source == pytest.approx(found.value, rel=1e-3)


def loaded_neuron(text: str) -> Any:
    from sessions.model.units import Unit

    return Unit.parse(text)
