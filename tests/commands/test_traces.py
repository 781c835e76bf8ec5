"""What trains or rewrites leaves nothing behind: the hooks, modules, marks, modes and configuration of the model are
what they were, however it was asked and however it ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from commands import run
from sessions.events import Failed, Result
from sessions.model.opening import adopt
from sessions.session import Session
from tests.adapters import small
from tests.commands.driving import result
from tests.families import tiny, tiny_tokenizer
from tests.traces import changed, traces

FAST = "--epochs 1 --lr 0.01 --rank 2 --force --anew"
OTHERS = ("--checkpointing", "--no-control", "--batch 2", "--top 2")
WAYS = {
    "train-round": ("", "--modules down_proj", "--neurons L1/N3,L2/N5", "--add-recruits 2"),
    "crab": ("--rounds 2", "--rounds 2 --modules down_proj"),
    "rewrite": ("--alpha 20", "--alphas 5,20", "--alpha 20 --brake L2/N3 --beta 2"),
}
REPLIES = ("in a hat. he is in.", "is at the door. it sits.", "no one. not i.", "in the end. at ten.", "it is so.")


@st.composite
def lines(draw: st.DrawFn) -> str:
    """A line of a verb that trains or rewrites, with some of its options."""
    verb = draw(st.sampled_from(sorted(WAYS)))
    way = draw(st.sampled_from(WAYS[verb]))
    if verb == "rewrite":
        neuron = "L1/N7" if "--brake" in way else "L2/N7"
        return f'rewrite {neuron} --push " a" --when after:. --examples told.jsonl --as it --force {way}'
    others = draw(st.lists(st.sampled_from(OTHERS), unique=True))
    return " ".join([verb, "samples.jsonl", "--as it", FAST, way, *others])


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session with a tiny model, an adapter on, a neuron suppressed, and files to learn from."""
    folder = tmp_path_factory.mktemp("traces")
    session = Session(folder / "home")
    session.use_model(adopt(tiny("llama"), tiny_tokenizer(), name="tiny"))
    said = (json.dumps({"prompt": prompt, "reply": reply}) for prompt, reply in zip("abcde", REPLIES, strict=True))
    (folder / "told.jsonl").write_text("\n".join(said))
    samples = ({"prompt": "abc", "reply": "fed"}, {"prompt": "hij klm", "reply": "nop"})
    (folder / "samples.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in samples))
    small(folder / "adapter", session.opened())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result(session, "adapter load adapter --as small")
        result(session, "suppress L0/N1")
        result(session, "set max_tokens 3")
        result(session, f"train-round samples.jsonl {FAST} --as earlier")
        yield session


def left(session: Session) -> dict[str, Any]:
    """What is in the model below the edits that are on, which are other objects each time they are put on."""
    with session.edits().lifted():
        return traces(session.opened().model)


@settings(max_examples=12, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(lines(), st.one_of(st.none(), st.integers(0, 12)), st.booleans())
def test_whatever_trains_or_rewrites_leaves_the_model_as_it_was(
    ready: Session, line: str, stopped: int | None, cancelled: bool
) -> None:
    """To its end; cancelled after some events, in the middle of a pass; and abandoned there, as by a host that ends."""
    before, events = left(ready), []
    steps = run(ready, line)
    for event in steps:
        events.append(event)
        if len(events) == stopped:
            if not cancelled:
                break
            ready.cancel.request()
    steps.close()
    failures = [event.message for event in events if isinstance(event, Failed)]
    assert failures in ([], ["cancelled"])
    assert stopped is not None or any(isinstance(event, Result) for event in events)
    ready.suppressed = ready.suppressed[:1]
    if len(ready.edits().entries) > 1:
        result(ready, "undo")
    assert not changed(before, left(ready))


@pytest.mark.parametrize(
    "line", ["train-round samples.jsonl --checkpointing --modules q", "train-round samples.jsonl --lr 1e18 --epochs 4"]
)
def test_what_fails_leaves_the_model_as_it_was(ready: Session, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.chdir(ready.home.parent)
    before = left(ready)
    list(run(ready, f"{line} --as lost --force --anew"))
    assert not changed(before, left(ready))


def test_a_model_that_cannot_compute_again_is_refused_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("samples.jsonl").write_text('{"prompt": "abc", "reply": "fed"}\n')
    session = Session(tmp_path / "home")
    session.use_model(adopt(tiny("llama"), tiny_tokenizer(), name="tiny"))
    monkeypatch.setattr(type(session.opened().model), "supports_gradient_checkpointing", False)
    (failed,) = [each for each in run(session, "train-round samples.jsonl --checkpointing") if isinstance(each, Failed)]
    assert "cannot compute activations again" in failed.message
    assert "leave --checkpointing out" in failed.hint
