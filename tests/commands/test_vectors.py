"""`vector` and `compare`, and vectors among the things saved by name: as typed, on a tiny model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader

from commands.completing import complete
from commands.grammar import parse
from sessions.artifacts import Key
from sessions.directions.vector import Vector
from sessions.model.hooks import after
from sessions.model.opening import OpenModel
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed

JOY = 'vector joy "the sun" "a fly"'


def loaded(session: Session, name: str) -> Vector:
    return session.store.load("vector", name, Vector)[1]


@pytest.fixture
def other(little: Session, tiny_chat: OpenModel) -> Session:
    """The session with another model, and a vector and a circuit of the one before."""
    result(little, JOY)
    result(little, "save texas")
    little.use_model(tiny_chat)
    result(little, "prompt the cat")
    return little


# ---- making and showing


def test_a_vector_is_made_saved_and_shown_again(little: Session) -> None:
    made = result(little, JOY)
    assert made.path == str(little.home / "vectors" / "joy.safetensors") and Path(made.path).is_file()
    assert (made.name, made.site, made.model, made.prompts) == ("joy", "resid_post", "tiny", (1, 1))
    assert [each.layer for each in made.directions] == [0, 1, 2]
    assert made.directions[0].turned is None and made.directions[1].turned is not None
    assert all(len(each.up) == len(each.down) == 3 and len(each.neurons) == 8 for each in made.directions)
    shown = result(little, "vector joy")
    assert shown.directions == made.directions and shown.path == ""
    assert result(little, "vector vector:joy --layers 1-7").directions == made.directions[1:]
    header, _ = little.store.load("vector", "joy", Vector)
    assert header.command == 'vector joy "the sun" "a fly" --site resid_post'
    assert header.fingerprint == little.opened().info.fingerprint


def test_files_of_prompts_make_the_mean_of_their_prompts(little: Session) -> None:
    Path("up.txt").write_text("the sun\nthe sea\n\na hill\n")
    Path("down.jsonl").write_text('{"prompt": "a fly"}\n{"prompt": "the mud", "seed": " is"}\n')
    made = result(little, "vector joy up.txt down.jsonl --site mlp_out --layers 1-2")
    assert (made.prompts, made.site) == ((3, 2), "mlp_out")
    singles = []
    for number, prompt in enumerate(("the sun", "the sea", "a hill")):
        result(little, f'vector one{number} "{prompt}" "a fly" --site mlp_out')
        singles.append(loaded(little, f"one{number}").directions[2])
    result(little, 'vector mud "the mud is" "a fly" --site mlp_out')
    expected = torch.stack(singles).mean(0) - loaded(little, "mud").directions[2] / 2
    torch.testing.assert_close(loaded(little, "joy").directions[2], expected, rtol=1e-4, atol=1e-4)
    assert loaded(little, "joy").layers == (1, 2)


def test_raw_prompts_pass_the_template_by(other: Session) -> None:
    result(other, 'vector raw "the sun" "a fly" --raw')
    result(other, 'vector chat "the sun" "a fly"')
    result(other, 'vector dotted "the sun. " "a fly. " --raw')  # which is what the template makes of them
    raw, chat, dotted = (loaded(other, name).directions[1] for name in ("raw", "chat", "dotted"))
    assert not torch.allclose(raw, chat)
    torch.testing.assert_close(chat, dotted)


def test_neurons_are_a_site(little: Session) -> None:
    made = result(little, f"{JOY} --site neurons")
    assert all(each.turned is None for each in made.directions)
    assert len(loaded(little, "joy").directions[0]) == 48


def test_force_replaces_a_vector_and_a_taken_name_costs_nothing(little: Session) -> None:
    result(little, JOY)
    with unharmed(little), after(little.opened().anatomy.head, lambda *_: pytest.fail("something was computed")):
        failed = failure(little, JOY)
    assert failed.error == "artifact" and "--force" in failed.hint
    result(little, 'vector joy "a hill" "a fly" --force')
    assert len(list((little.home / "trash" / "vectors").iterdir())) == 1


@pytest.mark.parametrize(
    ("line", "error", "said", "hint"),
    [
        ('vector joy "the sun"', "usage", "the negative prompts are missing", "vector joy POSITIVE NEGATIVE"),
        ("vector joy --site mlp_out", "usage", "--site is for making", "vector joy"),
        ("vector joy --raw", "usage", "--raw is for making", "vector joy"),
        ("vector joy", "artifact", "no vector is called 'joy'", "no vector has been saved"),
        ('vector joy "a fly" "a fly"', "usage", "are the same", "differ"),
        ("vector joy same.txt same.txt", "usage", "are the same", "differ"),
        ("vector joy same.txt turned.txt", "usage", "are the same", "differ"),
        ("vector joy empty.txt same.txt", "artifact", "empty.txt has no prompt", "a prompt a line"),
        ("vector joy same.txt broken.jsonl", "artifact", "broken.jsonl, line 2 is malformed", ""),
        ("vector joy same.txt none.txt", "artifact", "there is no file none.txt", "space at its end"),
        ("vector joy folder same.txt", "artifact", "not a regular file", ""),
        ("vector joy '' b", "usage", "the prompt is empty", "in quotes"),
        ('vector joy "a" "b" --site attention', "usage", "unknown site 'attention'", "one of: resid_post"),
        ('vector joy "a" "b" --layers 1-3', "usage", "there is no layer 3", "0 to 2"),
        ('vector top10 "a" "b"', "usage", "cannot be a name", "my-top10"),
        ('vector a/b "a" "b"', "usage", "is a path", ""),
    ],
)  # fmt: skip
def test_an_impossible_vector_is_refused_with_the_reason(
    little: Session, line: str, error: str, said: str, hint: str
) -> None:
    Path("same.txt").write_text("a b\nc d\n")
    Path("turned.txt").write_text("c d\na b\n")
    Path("empty.txt").write_text("\n\n")
    Path("broken.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n')
    Path("folder").mkdir()
    with unharmed(little):
        failed = failure(little, line)
    assert (failed.error, said in failed.message, hint in failed.hint) == (error, True, True), failed
    assert not (little.home / "vectors").exists()


def test_a_forward_that_is_not_finite_is_never_saved(little: Session) -> None:
    with after(little.opened().anatomy.layers[1].block, lambda _, output: output * float("nan")):
        failed = failure(little, JOY)
    assert failed.error == "model" and "layer 1 is the first" in failed.message
    assert not (little.home / "vectors").exists()


def test_layers_that_a_vector_lacks_are_named(little: Session) -> None:
    result(little, f"{JOY} --layers 1-2")
    failed = failure(little, "vector joy --layers 0")
    assert "no direction in the layers 0-0" in failed.message and "1 to 2" in failed.hint


def test_a_vector_of_another_model_is_refused_unless_forced(other: Session) -> None:
    for line in ("vector joy", "compare vector:joy texas"):
        with unharmed(other):
            failed = failure(other, line)
        assert failed.error == "artifact" and "made on tiny, and tiny-chat is open" in failed.message
        assert "--force" in failed.hint
    assert any("made on tiny" in note for note in result(other, "vector joy --force").notes)


def test_the_prompt_circuit_and_settings_of_the_session_stay(little: Session) -> None:
    prompt, circuit = little.prompt, little.circuit
    result(little, JOY)
    assert (little.prompt, little.circuit) == (prompt, circuit)


# ---- among the things that are kept


def test_vectors_are_listed_deleted_and_restored_under_their_own_word(little: Session) -> None:
    result(little, JOY)
    result(little, "save joy")
    rows = result(little, "list").rows
    assert [(row.name, row.kind, row.size, row.target) for row in rows] == [
        ("joy", "circuit", 20, rows[0].target),
        ("joy", "vector", 3, "resid_post"),
    ]
    deleted = result(little, "delete vector:joy")
    assert (deleted.name, deleted.restore) == ("vector:joy", "delete vector:joy --restore")
    assert little.store.names("circuit") == ["joy"] and little.store.names("vector") == []
    assert result(little, deleted.restore).name == "vector:joy"
    result(little, "delete circuit:joy")
    assert little.store.names("vector") == ["joy"] and little.store.names("circuit") == []


def test_a_damaged_vector_is_a_row_with_its_error(little: Session) -> None:
    path = Path(result(little, JOY).path)
    path.write_bytes(path.read_bytes()[:-1])
    (row,) = result(little, "list").rows
    assert "bytes of numbers" in row.error or "ends too early" in row.error or "damaged" in row.error
    assert failure(little, "vector joy").error == "artifact"
    assert result(little, "delete vector:joy").name == "vector:joy"


def test_a_vector_goes_out_and_comes_back(little: Session) -> None:
    result(little, JOY)
    assert result(little, "export joy.gguf --name vector:joy").format == "gguf"
    directions = {tensor.name: tensor.data for tensor in GGUFReader("joy.gguf").tensors}
    assert directions.keys() == {"direction.1", "direction.2"}
    assert directions["direction.2"].tolist() == loaded(little, "joy").directions[2].tolist()
    assert "layer 0: it is left out" in result(little, "export again.gguf --name vector:joy").notes[0]
    assert result(little, "export joy.safetensors --name vector:joy").format == "safetensors"
    assert result(little, "import joy.safetensors --as joy2").name == "vector:joy2"
    ours, theirs = loaded(little, "joy"), loaded(little, "joy2")
    assert all(torch.equal(ours.directions[layer], theirs.directions[layer]) for layer in ours.layers)
    assert theirs.site == ours.site
    result(little, "delete vector:joy")
    assert result(little, "import joy.safetensors").name == "vector:joy"


@pytest.mark.parametrize(
    ("line", "error", "said", "hint"),
    [
        ("export a.csv --name vector:joy", "usage", "a vector cannot be written as csv", ".safetensors, .gguf"),
        ("export a.gguf", "usage", "a circuit cannot be written as gguf", "--name vector:NAME"),
        ("export a.json --name vector:joy --format json", "usage", "a vector cannot be written as json", "gguf"),
        ("export a.gguf --name vector:mlp", "artifact", "this one is at mlp_out", "--site resid_post"),
        ("export a.gguf --name vector:none", "artifact", "no vector is called 'none'", ""),
        ("export a.gguf --name vectr:joy", "usage", "'vectr' is not a kind of artifact", "did you mean vector:joy?"),
        ("delete adapter:joy", "usage", "'adapter' is not a kind of artifact", "one of: circuit, vector"),
        ("delete vector:", "usage", "the name is empty", ""),
        ("delete vector:jo", "artifact", "no vector is called 'jo'", "did you mean joy?"),
        ("import joy.safetensors", "artifact", "'joy' exists already", "--force"),
        ("import cut.safetensors --as cut", "artifact", "cut.safetensors", ""),
        ("import none.safetensors --as cut", "artifact", "none.safetensors", ""),
        ("load vector:joy", "usage", "':'", ""),
    ],
)
def test_a_wrong_word_for_a_vector_is_answered(little: Session, line: str, error: str, said: str, hint: str) -> None:
    result(little, JOY)
    result(little, f"{JOY} --site mlp_out".replace("joy", "mlp"))
    shutil.copy(little.home / "vectors" / "joy.safetensors", "joy.safetensors")
    Path("cut.safetensors").write_bytes(Path("joy.safetensors").read_bytes()[:300])
    with unharmed(little):
        failed = failure(little, line)
    assert (failed.error, said in failed.message, hint in failed.hint) == (error, True, True), failed
    assert not Path("a.gguf").exists() and not Path("a.csv").exists()


def test_a_vector_of_another_model_comes_in_only_by_force(other: Session) -> None:
    shutil.copy(other.home / "vectors" / "joy.safetensors", "joy.safetensors")
    failed = failure(other, "import joy.safetensors --as mine")
    assert failed.error == "artifact" and "made on tiny" in failed.message
    assert "made on tiny" in result(other, "import joy.safetensors --as mine --force").notes[0]
    header, _ = other.store.load("vector", "mine", Vector)
    assert header.model == "tiny"  # it stays what it is


def test_kinds_and_names_are_completed(little: Session) -> None:
    result(little, JOY)
    result(little, "save texas")

    def offered(line: str) -> list[str]:
        return [found.text for found in complete(line, session=little)]

    assert offered("delete ") == ["texas", "vector:joy"]
    assert offered("delete vec") == offered("export a --name vec") == ["vector:joy"]
    assert offered("delete circuit:") == ["circuit:texas"]
    assert offered("compare ") == ["current", "texas", "vector:joy"]
    assert offered("vector ") == ["joy"]
    assert offered("load ") == ["texas"]
    assert offered('vector a "b" c --site ml') == ["mlp_out"]
    assert parse("delete vector:joy").params["name"] == Key("vector", "joy")
    assert (
        parse("delete circuit:texas").params["name"] == parse("delete texas").params["name"] == Key("circuit", "texas")
    )


# ---- comparing


def test_a_circuit_is_like_itself_and_less_like_a_part_of_it(little: Session) -> None:
    result(little, "save whole")
    same = result(little, "compare whole")
    assert same.names == ("whole", "current")
    assert [each.placed.jaccard for each in same.comparison.overlaps] == [1] * len(same.comparison.overlaps)
    result(little, "keep top5")
    part = result(little, "compare whole current").comparison
    assert part.sizes == (20, 5)
    assert part.overlaps[0].placed.jaccard == pytest.approx(5 / 20)
    assert part.only[1] == () and part.held[1] == pytest.approx(1)
    assert result(little, "compare circuit:whole whole").comparison.sizes == (20, 20)


def test_a_circuit_is_held_against_a_vector_in_either_order(little: Session) -> None:
    result(little, JOY)
    one, other = result(little, "compare vector:joy"), result(little, "compare current vector:joy")
    assert one == other
    assert (one.circuit, one.vector, one.site) == ("current", "joy", "resid_post")
    assert one.size == len({neuron.site for neuron in little.found().neurons})
    assert [each.layer for each in one.spans] == [0, 1, 2]
    assert [each.neurons for each in one.spans] == sorted(each.neurons for each in one.spans)
    assert all(0 <= each.explained <= 1 and 0 <= each.chance <= 1 for each in one.spans)
    assert sum(each.here for each in one.spans) == one.size == one.ranks.count
    assert (one.overlap.top, one.overlap.along, one.overlap.strongest) == (50, 50, one.size)
    assert one.overlap.both == len(one.overlap.neurons)
    few = result(little, "compare current vector:joy --top 7").overlap
    assert (few.along, few.strongest) == (7, 7) and few.expected == pytest.approx(7 * 7 / (3 * 48))


def test_two_circuits_are_compared_at_the_size_that_is_asked_for(little: Session) -> None:
    result(little, "save whole")
    assert [each.strongest for each in result(little, "compare whole --top 4").comparison.overlaps] == [None, 4]


def test_two_vectors_are_compared_layer_by_layer(little: Session) -> None:
    result(little, JOY)
    result(little, 'vector turned "a fly" "the sun"')
    found = result(little, "compare vector:joy vector:turned")
    assert [each.cosine for each in found.layers] == [pytest.approx(-1, abs=1e-4)] * 3
    assert (found.names, found.sites) == (("joy", "turned"), ("resid_post", "resid_post"))


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("compare none", "artifact", "no circuit is called 'none'"),
        ("compare vector:none", "artifact", "no vector is called 'none'"),
        ("compare vecor:joy", "usage", "'vecor' is not a kind of artifact"),
        ("compare", "usage", "compare needs a name"),
        ("compare vector:joy vector:joy --top 4", "usage", "both are vectors"),
        ("compare vector:joy vector:neurons", "usage", "no common space"),
        ("compare vector:low vector:high", "usage", "no layer in common"),
    ],
)
def test_artifacts_that_cannot_be_compared_are_refused_with_the_reason(
    little: Session, line: str, error: str, said: str
) -> None:
    result(little, JOY)
    for name, options in (("neurons", "--site neurons"), ("low", "--layers 0"), ("high", "--layers 2")):
        result(little, f"{JOY} {options}".replace("joy", name))
    with unharmed(little):
        failed = failure(little, line)
    assert (failed.error, said in failed.message) == (error, True), failed


def test_without_a_circuit_there_is_nothing_current(empty: Session) -> None:
    assert "there is no circuit yet" in failure(empty, "compare current").message


def test_things_of_different_models_are_compared_only_by_force(other: Session) -> None:
    result(other, 'vector mine "the sun" "a fly"')
    result(other, "discover a --top 20 --keep-universal")
    for line in ("compare texas current", "compare vector:joy vector:mine"):
        with unharmed(other):
            failed = failure(other, line)
        assert failed.error == "artifact" and "--force" in failed.hint
        assert "tiny" in failed.message and "tiny-chat" in failed.message
        assert "made on tiny" in result(other, f"{line} --force").notes[0]


def test_comparing_circuits_needs_no_model(little: Session, tmp_path: Any) -> None:
    result(little, "save one")
    result(little, "keep top5")
    result(little, "save two")
    bare = Session(little.home)
    assert result(bare, "compare one two").comparison.sizes == (20, 5)
    assert failure(bare, "compare one vector:none").error == "model"
