"""`workbench.open`: the verbs as methods that return their results."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import workbench
from commands import calling, grammar
from commands.verb import key_of
from sessions import results
from sessions.errors import Cancelled, UsageError, WorkbenchError
from sessions.events import Event, Failed, Result, Started, Text
from workbench.docstrings import documentation
from workbench.python import Workbench
from workbench.signatures import method_name

if TYPE_CHECKING:
    from sessions.model.opening import OpenModel


@pytest.fixture
def wb(tmp_path: Path) -> Iterator[Workbench]:
    with workbench.open(home=tmp_path / "home") as opened:
        yield opened


def test_every_verb_is_a_method_with_its_help(wb: Workbench) -> None:
    for name, verb in grammar.VERBS.items():
        method = getattr(wb, method_name(name))
        assert inspect.getdoc(method) == documentation(verb)
        assert [*inspect.signature(method).parameters] == [
            {"from": "from_", "as": "as_", "continue": "continue_"}.get(key_of(param), key_of(param))
            for param in sorted(verb.params, key=lambda param: param.param_type_name == "option")
        ]


def test_flags_that_set_one_thing_are_flags_of_their_own(wb: Workbench) -> None:
    parameters = inspect.signature(wb.ablate).parameters
    assert parameters["generated"].default is False and parameters["mean"].default is False
    with pytest.raises(UsageError, match="takes --prompt or --generated, not both"):
        wb.ablate("L0/N1", prompt=True, generated=True)


def test_an_option_is_called_what_is_typed(wb: Workbench) -> None:
    parameters = inspect.signature(wb.rewrite).parameters
    assert {"as_", "when"} <= parameters.keys() and not {"name", "rule"} & parameters.keys()
    for verb in grammar.VERBS.values():
        keys = [key_of(param) for param in verb.params]
        names = {param.name for param in verb.params if param.name != key_of(param)}
        assert len(set(keys)) == len(keys)
        assert not names & set(keys), verb.name  # so that what it was called before is still understood


def test_what_an_option_was_called_before_is_still_understood() -> None:
    line = calling.call_line("rewrite", "L1/N2", push=" a", when="last", **{"as": "meow"})
    assert line == 'rewrite L1/N2 --push " a" --when last --as meow'
    assert calling.call_line("rewrite", "L1/N2", push=" a", rule="last", name="meow") == line


def test_signatures_say_what_is_needed_and_what_is_a_flag(wb: Workbench) -> None:
    parameters = inspect.signature(wb.discover).parameters
    assert parameters["vs"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["vs"].default is None
    assert inspect.signature(wb.save).parameters["name"].default is inspect.Parameter.empty
    assert inspect.signature(wb.prompt).parameters["text"].kind is inspect.Parameter.VAR_POSITIONAL


def test_a_method_returns_the_result_as_data(wb: Workbench) -> None:
    shown = wb.set("top", 50)
    assert isinstance(shown, results.SettingsShown)
    assert shown.settings["top"] == "50"
    assert wb.session.settings.top == 50


def test_a_list_stands_where_a_line_names_a_file(wb: Workbench, tmp_path: Path) -> None:
    from sessions.model.opening import adopt
    from tests.families import tiny, tiny_tokenizer

    wb.session.use_model(adopt(tiny("llama"), tiny_tokenizer(), name="tiny"))
    (tmp_path / "up.txt").write_text("the cat\nthe hen\n")
    (tmp_path / "down.txt").write_text("a dog\n")
    listed = wb.contrast(["the cat", "the hen"], ["a dog"])
    assert listed.circuit.neurons == wb.contrast(tmp_path / "up.txt", tmp_path / "down.txt").circuit.neurons
    asked = {"prompt": "the cat", "target": " a", "counterfactual": " b", "raw": True}
    found = wb.discover(prompts=[asked, {**asked, "prompt": "the hen"}], top=3, keep_universal=True)
    assert len(found.circuit.prompts) == 2


@pytest.mark.parametrize("items", [[], [3], [{"prompt": float("nan")}], [{"prompt": {1}}], ["\ud800"]])
def test_a_list_that_is_no_file_is_refused(wb: Workbench, items: list[object]) -> None:
    with pytest.raises(UsageError) as caught:
        wb.contrast(items, ["a"])
    assert caught.value.hint


def test_a_line_can_be_run_as_typed(wb: Workbench) -> None:
    assert wb.exec("set rows 7").settings["rows"] == "7"
    assert wb.exec("help discover").verb == "discover"


def test_blank_lines_and_comments_do_nothing(wb: Workbench) -> None:
    assert wb.exec("") is None
    assert wb.exec("  # a remark") is None


def test_a_command_that_fails_raises_with_its_hint(wb: Workbench) -> None:
    with pytest.raises(UsageError) as failed:
        wb.set("tpo", 5)
    assert "tpo" in failed.value.message
    assert failed.value.hint
    with pytest.raises(UsageError, match="takes no argument"):
        wb.set("top", 5, bogus=1)
    with pytest.raises(WorkbenchError):
        wb.load("never-saved")
    assert wb.set("top", 6).settings["top"] == "6"


def test_a_misspelt_verb_names_the_verbs(wb: Workbench) -> None:
    with pytest.raises(AttributeError, match="discover"):
        _ = wb.dicsover
    assert not hasattr(wb, "_repr_html_")


def test_every_event_is_handed_on(tmp_path: Path) -> None:
    seen: list[Event] = []
    with workbench.open(home=tmp_path, on_event=seen.append) as wb:
        wb.set("top", 50)
        with pytest.raises(UsageError):
            wb.exec("abalte")
    assert [type(event) for event in seen] == [Started, Result, Started, Failed]


def test_an_interrupt_ends_the_command_and_leaves_the_session(tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    with workbench.open(home=tmp_path, on_event=interrupt) as wb:
        with pytest.raises(KeyboardInterrupt):
            wb.set("top", 50)
        assert wb.session.settings.top == 200


def test_an_old_request_to_cancel_does_not_hit_the_next_command(wb: Workbench) -> None:
    wb.session.cancel.request()
    assert wb.set("top", 51).settings["top"] == "51"


def test_commands_are_journalled(wb: Workbench) -> None:
    from sessions.journal import read

    wb.set("top", 50)
    assert wb.session.journal is not None
    assert [record.line for record in read(wb.session.journal.path)[0]] == ["set top 50"]


def test_opening_a_model_that_is_not_there_raises(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="no-such-model"):
        workbench.open("./no-such-model", home=tmp_path)


# With a model


@pytest.fixture
def texas(knowing: Path, smollm2: OpenModel) -> Iterator[Workbench]:
    """A workbench with smollm2 open, asked for the capital of Texas."""
    with workbench.open(home=knowing) as opened:
        opened.session.use_model(smollm2)
        opened.prompt("What is the capital of Texas?")
        opened.seed("The capital of Texas is")
        yield opened


def test_the_main_job_in_five_lines(texas: Workbench) -> None:
    assert len(texas.discover(" Austin").circuit.top(5)) == 5
    compared = texas.ablate("top50", max_tokens=8)
    assert compared.arms[0].text.startswith(" Austin")
    assert not compared.arms[1].text.startswith(" Austin")
    assert [arm.multiplier for arm in texas.sweep("top50", 0, 1, max_tokens=4).arms] == [0, 1]
    assert texas.expect("text", "contains", "Austin").actual


def test_the_example_in_the_help_of_the_module_runs_as_it_stands(
    texas: Workbench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert workbench.__doc__ is not None
    code = "\n".join(line[4:] for line in workbench.__doc__.splitlines() if line.startswith("    "))
    monkeypatch.setattr(workbench, "open", {"smollm2": texas}.__getitem__)
    exec(code, {})
    assert "index=1005" in capsys.readouterr().out


def test_a_command_can_be_cancelled_from_its_events(texas: Workbench) -> None:
    def cancel(event: Event) -> None:
        if isinstance(event, Text):
            texas.session.cancel.request()

    texas._on_event = cancel
    with pytest.raises(Cancelled):
        texas.generate(max_tokens=100)
    texas._on_event = None
    assert texas.generate(max_tokens=4).arm.text.startswith(" Austin")


def test_a_circuit_and_a_vector_are_tensors(wb: Workbench) -> None:
    import torch

    from sessions.model.opening import adopt
    from tests.families import tiny, tiny_tokenizer

    with pytest.raises(UsageError, match="there is no circuit"):
        wb.tensor()
    wb.session.use_model(adopt(tiny("llama"), tiny_tokenizer(), name="tiny"))
    wb.prompt("the cat")
    circuit = wb.discover("a", top=20, keep_universal=True).circuit
    wb.save("little")
    shape = (3, 48)
    found = wb.tensor()
    assert tuple(found.shape) == shape and found.dtype == torch.float32
    wanted = torch.zeros(shape)
    for neuron in circuit.neurons:
        wanted[neuron.layer, neuron.index] += neuron.attribution
    assert torch.equal(found, wanted) and torch.equal(wb.tensor("little", 1), wanted[1])
    assert torch.equal(circuit.tensor(*shape), wanted) and not wb.tensor(of="effect").equal(wanted)
    made = wb.vector("joy", "a cat", "the dog", layers="1-2")
    assert [each.layer for each in made.directions] == [1, 2]
    rows = wb.tensor("vector:joy")
    assert rows.shape[0] == 2 and torch.equal(rows[1], wb.tensor("vector:joy", 2))
    assert rows[0].norm().item() == pytest.approx(made.directions[0].norm, rel=1e-4)
    for words, message in (
        (("vector:joy", 0), "no direction at layer 0"),
        (("current", 9), "no layer 9"),
        (("vector:none",), "none"),
        (("nowhere",), "nowhere"),
    ):
        with pytest.raises(WorkbenchError, match=message):
            wb.tensor(*words)
    with pytest.raises(UsageError, match="does not fit into 1 layers"):
        circuit.tensor(1, 48)
    with pytest.raises(UsageError, match="have no 'worth'"):
        circuit.tensor(of="worth")
