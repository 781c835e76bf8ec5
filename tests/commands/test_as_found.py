"""A circuit's prompt is read as it was when the circuit was found, whatever a template would make of it now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sessions import saved_state
from sessions.events import finished
from sessions.model.opening import adopt
from sessions.session import Session
from tests.commands.driving import result
from tests.families import tiny, tiny_tokenizer

TEMPLATE = "{% for m in messages %}DAY{{ m.content }}. {% endfor %}"


def at(day: str) -> Session:
    """A session whose template writes the day."""
    session = Session(Path("home"))
    tokenizer = tiny_tokenizer(template=TEMPLATE.replace("DAY", day))
    session.use_model(adopt(tiny("llama"), tokenizer, name="tiny"))
    return session


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session that found and saved a circuit on a monday."""
    monkeypatch.chdir(tmp_path)
    session = at("on monday ")
    result(session, "prompt the cat")
    result(session, "discover a --top 20 --keep-universal")
    result(session, "save days")
    return session


def test_a_template_that_writes_another_day_moves_no_neuron(found: Session) -> None:
    before = found.encoded().ids
    effects = result(found, "verify top3").neurons
    ablated = result(found, "ablate top5 --at circuit --max-tokens 3")
    later = at("on a wednesday of next year ")
    result(later, "prompt the cat")
    assert later.encoded().ids != before
    loaded = result(later, "load days")
    assert f"read as the {len(before)} tokens it was found on" in loaded.notes[-1]
    assert later.encoded().ids == before
    assert result(later, "verify top3").neurons == effects
    assert result(later, "ablate top5 --at circuit --max-tokens 3").arms == ablated.arms
    result(later, "seed the")
    assert later.encoded().ids != before  # a new beginning of the reply is read by the template of today


def test_a_host_that_comes_back_another_day_reads_the_prompt_as_it_was(found: Session) -> None:
    state = saved_state.kept(found)
    later = at("on a wednesday of next year ")
    finished(saved_state.restore(later, state))
    assert later.encoded().ids == found.encoded().ids


def test_an_unchanged_template_is_no_remark(found: Session) -> None:
    assert result(at("on monday "), "load days").notes == ()


def test_a_foreign_prompt_that_went_through_the_template_does_not_go_through_it_again(session: Session) -> None:
    result(session, "prompt What is the capital of Texas?")
    result(session, "seed The capital of Texas is")
    ids, text = session.encoded().ids, session.encoded().text
    own = result(session, 'discover " Austin" --top 10').circuit
    neurons = {f"{each.layer},{each.position},{each.index}": each.attribution for each in own.neurons}
    foreign = {"neurons": neurons, "prompt": text, "target_token": " Austin", "total_logit_diff": own.target.value}
    Path("foreign.json").write_text(json.dumps(foreign))
    imported = result(session, "import foreign.json")
    assert any("through the chat template already" in note for note in imported.notes)
    assert session.encoded().ids == ids
    assert str(imported.circuit.target) == str(own.target)
    effects = [neuron.effect for neuron in result(session, "verify top3").circuit.neurons[:3]]
    assert effects == pytest.approx([neuron.effect for neuron in own.neurons[:3]], abs=1e-4)
    Path("foreign.json").write_text(json.dumps({**foreign, "total_logit_diff": 9.5}))
    alone = result(session, "import foreign.json")
    assert alone.circuit.target.counterfactual is None and "the logit of ' Austin' alone" in alone.notes[-1]


def test_without_a_name_load_lists_what_there_is(found: Session) -> None:
    assert [(row.kind, row.name) for row in result(found, "load").rows] == [("circuit", "days")]
