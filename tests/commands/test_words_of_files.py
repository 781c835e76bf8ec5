"""What a file or a model says stays what it is: a word of a line, never a line, an option or a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import script
from commands.grammar import parse, words_of
from sessions.circuits.files import write_json
from sessions.earlier import pipeline
from sessions.errors import ArtifactError, UsageError
from sessions.lines import comment_of, line_of, with_options
from sessions.model.locating import located
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed

CODE = "model ./x --trust-remote-code"


@given(st.lists(st.text(), min_size=1, max_size=4), st.text())
def test_whatever_is_in_a_word_it_is_one_word_of_one_line(words: list[str], value: str) -> None:
    line = line_of(["load", *words], {"--as": value, "--force": True, "--from": None})
    assert "\n" not in line and "\r" not in line
    assert [word.text for word in words_of(line)] == ["load", *words, "--as", value, "--force"]
    assert with_options(line, {"--nth": 3}) == f"{line} --nth 3"


@given(st.text())
def test_a_comment_ends_where_its_line_does(text: str) -> None:
    assert not words_of(comment_of(text)) and len(comment_of(text).splitlines()) == 1


def read(data: bytes) -> pipeline.Config:
    return pipeline.configuration(pipeline.contents_of(data, "x.yaml"), "x.yaml")


def configuration(**changed: object) -> bytes:
    """The configuration of a pipeline's rounds; JSON is YAML too."""
    fields = {
        "mode_name": "D",
        "description": "rounds",
        "training": {"target_modules": ["q_proj"], "weights": {"concl": 2.0}},
        "suppression": {
            "inventory_tiers": ["A"],
            "inventory_regions": ["answer"],
            "add_recruits": [{"source": "out/raw.pt", "top_n": 3, "label": "C"}],
        },
        "inference": {"modes": [{"label": "on", "hooks_active": True, "note": "held"}]},
    }
    return json.dumps({**fields, **changed}).encode()


EVIL = f"x\n{CODE}\n"


@pytest.mark.parametrize(
    "changed",
    [
        {"mode_name": EVIL},
        {"description": EVIL},
        {"suppression": {"add_recruits": [{"source": EVIL, "top_n": 3}]}},
        {"suppression": {"add_recruits": [{"source": f"{EVIL}/raw.pt", "top_n": 3, "label": EVIL}]}},
        {"inference": {"modes": [{"label": EVIL, "hooks_active": False, "note": EVIL}]}},
    ],
)
def test_a_configuration_becomes_a_command_file_without_a_line_of_its_own(changed: dict[str, object]) -> None:
    text = pipeline.command_file(read(configuration(**changed)), f"{EVIL}.yaml")
    lines = [line for line in text.replace("\r", "\n").split("\n") if line and not line.startswith("#")]
    verbs = {words_of(line)[0].text for line in lines}
    assert verbs <= {"model", "import", "suppress", "train-round", "recruits", "rounds", "adapter", "prompt",
                     "generate", "release"}  # fmt: skip
    assert not any(word.text.startswith("--trust") for line in lines for word in words_of(line))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"suppression": {"inventory_tiers": ["A,L0/*"]}}, "inventory_tiers"),
        ({"suppression": {"inventory_regions": [f"answer{EVIL}"]}}, "inventory_regions"),
        ({"training": {"target_modules": ["q_proj --force"]}}, "target_modules"),
        ({"training": {"target_modules": ["${model}"]}}, "target_modules"),
        ({"training": {"target_modules": ["q_proj"], "weights": {"x=1,glue": 2}}}, "weights"),
    ],
)
def test_a_name_that_would_mean_more_than_itself_is_refused(changed: dict[str, object], field: str) -> None:
    with pytest.raises(ArtifactError, match=f"in {field}, which is not a name"):
        pipeline.command_file(read(configuration(**changed)), "x.yaml")


def test_a_configuration_that_no_command_takes_is_refused_when_it_is_imported(empty: Session) -> None:
    Path("x.yaml").write_bytes(configuration(training={"target_modules": ["q_proj"], "lr": float("inf")}))
    assert "x.yaml is not a configuration of rounds" in failure(empty, "import x.yaml").message
    Path("y.yaml").write_bytes(configuration())
    assert Path(result(empty, "import y.yaml").path).is_file()


# ---- the code of models


def test_a_command_file_trusts_the_code_of_a_model_only_under_trust(empty: Session) -> None:
    Path("inner.wb").write_text(f"{CODE}\n")
    Path("outer.wb").write_text("run inner.wb\n")
    Path("trusting.wb").write_text("run inner.wb --trust\n")
    for name in ("inner.wb", "trusting.wb"):
        with unharmed(empty):
            failed = failure(empty, f"run {name}")
        assert "cannot itself trust the code of a model" in failed.message
        assert "--trust" in failed.hint
    with unharmed(empty):
        events = failure_of_all(empty, "run outer.wb")
    assert any("cannot itself trust" in message for message in events)
    for name in ("inner.wb", "outer.wb", "trusting.wb"):  # the model is not there, which is what is said then
        assert any("./x" in message for message in failure_of_all(empty, f"run {name} --trust"))
        assert not empty.trusting


def failure_of_all(session: Session, line: str) -> list[str]:
    from commands import run
    from sessions.events import Failed

    return [event.message for event in run(session, line) if isinstance(event, Failed)]


def test_a_file_is_checked_for_what_it_trusts_before_its_first_line(empty: Session) -> None:
    Path("late.wb").write_text(f"set top 9\n{CODE}\n")
    with unharmed(empty):
        failure(empty, "run late.wb")
    with pytest.raises(UsageError, match=r"late\.wb:2"):
        script.read(Path("late.wb"))
    assert len(script.read(Path("late.wb"), trust=True)) == 2
    assert parse(CODE).params["trust_remote_code"]  # who types it means it


def test_the_kernel_that_a_configuration_asks_for_is_not_fetched(tmp_path: Path) -> None:
    from sessions.events import finished
    from sessions.model.opening import open_model
    from tests.families import tiny, tiny_tokenizer

    folder = tmp_path / "model"
    tiny("llama").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    for asked, used in (("someone/kernel", "sdpa"), ("someone/kernel@main:run", "sdpa"), ("eager", "eager")):
        for key in ("_attn_implementation", "attn_implementation"):
            (folder / "config.json").write_text(json.dumps({**config, key: asked}))
            opened = finished(open_model(str(folder), models=tmp_path, device="cpu"))
            assert opened.model.config._attn_implementation == used


def test_a_pipe_among_the_files_of_a_model_is_refused(tmp_path: Path) -> None:
    import os

    from sessions.events import finished
    from tests.families import tiny

    folder = tmp_path / "model"
    tiny("llama").save_pretrained(folder)
    os.mkfifo(folder / "tokenizer.json")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json is not a regular file"):
        finished(located(str(folder), tmp_path, False))


def test_what_a_circuit_is_called_inside_stays_inside(little: Session) -> None:
    """The line that an imported file is kept with names the file, whatever that is called."""
    name = 'c --force "x.json'
    Path(name).write_bytes(write_json(little.found()))
    result(little, line_of(["import", name], {"--as": "kept"}))
    header, _ = little.store.load("circuit", "kept", type(little.found()))
    assert [word.text for word in words_of(header.command)] == ["import", name, "--as", "kept"]
