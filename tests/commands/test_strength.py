"""`strength`: what is in force is turned up and down, and 1 is what was asked for, to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import torch

from commands.completing import complete
from sessions import saved_state
from sessions.interventions.intervention import Intervention
from sessions.model.opening import adopt
from sessions.results import StrengthShown
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed
from tests.families import tiny, tiny_tokenizer

REPLIES = ("in a hat. he is in.", "is at the door. it sits.", "no one. not i.", "in the end. at ten.", "it is so.")
REWRITE = (
    'rewrite L1/N7 --push " a" --when after:. --examples samples.jsonl --alpha 20 --brake L2/N3 --beta 10 --as meow'
)


@pytest.fixture
def ready(empty: Session) -> Session:
    """A session with a tiny model of its own, a prompt, and a file of examples."""
    empty.use_model(adopt(tiny("llama"), tiny_tokenizer(), name="tiny"))
    lines = (json.dumps({"prompt": prompt, "reply": reply}) for prompt, reply in zip("abcde", REPLIES, strict=True))
    Path("samples.jsonl").write_text("\n".join(lines))
    result(empty, "set max_tokens 4")
    result(empty, "prompt the cat")
    return empty


def weights(session: Session) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in session.opened().model.state_dict().items()}


def same(session: Session, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(weight, before[name]) for name, weight in session.opened().model.state_dict().items())


def logits(session: Session) -> torch.Tensor:
    result(session, "top 3")
    assert session.last_output.logits is not None
    return session.last_output.logits.clone()


@pytest.mark.parametrize(("begun", "wanted"), [
    ("amplify L1/N3,L2/N5 3 --live", "amplify L1/N3,L2/N5 2 --live"),
    ("ablate L1/N3 --live", "amplify L1/N3 0.5 --live"),
    ("shift L1/N3 4 --live", "shift L1/N3 2 --live"),
])  # fmt: skip
def test_half_a_strength_is_half_of_what_was_asked_for(ready: Session, begun: str, wanted: str) -> None:
    plain = logits(ready)
    result(ready, begun)
    asked = logits(ready)
    assert isinstance(result(ready, "strength 0.5"), StrengthShown)
    half = logits(ready)
    assert ready.state().live[0].endswith("strength 0.5")
    result(ready, "strength 0")
    assert torch.allclose(logits(ready), plain, atol=1e-5)
    result(ready, "strength 1")
    assert torch.equal(logits(ready), asked) and "strength" not in ready.state().live[0]
    result(ready, "release all")
    result(ready, wanted)
    assert torch.allclose(logits(ready), half, atol=1e-5)


def test_steps_add_up_and_end_at_zero(ready: Session) -> None:
    result(ready, "amplify L1/N3 3 --live")
    for _ in range(3):
        result(ready, "strength +0.1")
    (row,) = result(ready, "strength").rows
    assert (row.what, row.strength) == ("live", 1.3)
    for _ in range(3):
        result(ready, "strength -0.1")
    assert ready.live[0].strength == 1
    assert result(ready, "strength -5").rows[0].strength == 0


def test_the_alpha_and_the_brake_of_an_edit_are_turned_in_its_place(ready: Session) -> None:
    plain = weights(ready)
    result(ready, REWRITE)
    made = weights(ready)
    (row,) = result(ready, "strength +0.5").rows
    assert (row.what, row.name, row.before, row.strength, row.made) == ("alpha", "meow", 1.0, 1.5, 20.0)
    assert "meow α×1.5" in ready.state().edits[0]
    assert result(ready, "edits").rows[0].about.endswith("α×1.5")
    mlp = next(name for name in made if name.endswith("1.mlp.down_proj.weight"))
    now = ready.opened().model.state_dict()
    assert torch.allclose(now[mlp][:, 7], 1.5 * made[mlp][:, 7], atol=1e-5)
    assert all(torch.equal(now[name], made[name]) for name in made if name != mlp)
    result(ready, "strength 0 --of beta")
    brake = mlp.replace("1.mlp", "2.mlp")
    assert not ready.opened().model.state_dict()[brake][:, 3].any()
    result(ready, "strength 1 --of beta --edit meow")
    result(ready, "strength 1 --of alpha")
    assert same(ready, made)
    result(ready, "strength 2")
    result(ready, "undo")
    assert same(ready, plain)
    result(ready, "redo")
    assert ready.edits().entries[0].edit.strength == 2


def test_what_was_turned_is_so_again_when_a_session_comes_back(ready: Session) -> None:
    result(ready, REWRITE)
    result(ready, "amplify L0/N3 3 --live")
    result(ready, "strength 0.5")
    result(ready, "strength 1.5 --of alpha")
    before, state = weights(ready), saved_state.kept(ready)
    again = msgspec.json.decode(msgspec.json.encode(state), type=saved_state.SavedState)
    other = Session(ready.home)
    other.use_model(adopt(tiny("llama"), tiny_tokenizer(), name="tiny"))
    steps = saved_state.restore(other, msgspec.structs.replace(again, opening=None))
    assert list(steps) == [] and same(other, before) and other.live[0].strength == 0.5
    other.close()


def test_a_preset_that_is_saved_is_as_strong_as_it_was(ready: Session) -> None:
    result(ready, "shift L1/N3 4 --live")
    result(ready, "strength 0.5")
    turned = logits(ready)
    result(ready, "preset save half")
    result(ready, "release all")
    result(ready, "preset apply half")
    assert torch.allclose(logits(ready), turned, atol=1e-5)


def test_live_treatments_of_earlier_sessions_are_at_full_strength() -> None:
    assert msgspec.json.decode(b'{"neurons": [], "multiplier": 2.0}', type=Intervention).strength == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("strength 2", "nothing is live, and no edit has an α"),
        ("strength 2 --of live", "nothing is live"),
        ("strength 2 --of beta", "no edit has a brake"),
        ("strength 2 --of alpha --edit none", "none"),
        ("strength much", "'much' is not a strength"),
        ("strength nan", "'nan' is not a strength"),
        ("strength 2000", "'2000' is not a strength"),
        ("strength 2 --of gamma", "gamma"),
        ("strength 2 --of live --edit meow", "--edit is for"),
    ],
)
def test_a_strength_that_cannot_be_changed_is_refused(ready: Session, line: str, message: str) -> None:
    with unharmed(ready):
        assert message in failure(ready, line).message


def test_an_edit_without_an_alpha_is_refused_by_name(ready: Session) -> None:
    result(ready, REWRITE.partition(" --brake")[0] + " --as plain")
    with unharmed(ready):
        assert "'plain' has no brake" in failure(ready, "strength 2 --of beta --edit plain").message
    assert "+0.1" in [each.text for each in complete("strength ", session=ready)]
    assert {row.what for row in result(ready, "strength").rows} == {"alpha"}
