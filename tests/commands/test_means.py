"""`means`, and means as the reference of other verbs: as typed, on a tiny model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from commands.completing import complete
from sessions.circuits.means import Means
from sessions.model.hooks import on_neurons
from sessions.model.opening import adopt
from sessions.model.tokens import plain_ids
from sessions.session import Session
from tests.commands.driving import failure, result, unharmed
from tests.families import tiny, tiny_tokenizer

TEXTS = ("the cat sat on the mat", "a dog", "in the end there was a hen", "the thin man ate it")
CASES = '{"prompt": "the cat", "target": " a"}\n{"prompt": "a dog", "target": " in"}\n'


@pytest.fixture
def taken(little: Session) -> Session:
    """A session with `facts`, means over four texts, by position too."""
    Path("texts.txt").write_text("\n".join(TEXTS))
    result(little, "means build facts --prompts texts.txt --raw --by-position")
    return little


def activations(session: Session, layer: int) -> list[torch.Tensor]:
    """What the neurons of a layer are in each text, `[seq, width]`."""
    seen: list[torch.Tensor] = []
    site = session.opened().anatomy.layers[layer].sites[0]
    for text in TEXTS:
        ids = plain_ids(session.opened().tokenizer, text)
        with torch.inference_mode(), on_neurons(site, lambda values, _: seen.append(values[0]) or values):  # type: ignore[func-returns-value]
            session.opened().model(input_ids=torch.tensor([ids]))
    return seen


def test_a_mean_is_over_all_positions_but_the_first(taken: Session) -> None:
    read = activations(taken, 1)
    shown = result(taken, "means show facts L1/N5")
    (neuron,) = shown.neurons
    assert str(neuron.neuron) == "L1/N5"
    assert neuron.mean == pytest.approx(float(torch.cat([each[1:, 5] for each in read]).mean()), abs=1e-5)
    assert (shown.texts, shown.tokens) == (4, sum(len(each) - 1 for each in read))
    found, _ = taken.saved.read_means("facts")
    last = torch.stack([each[-1] for each in read]).mean(0)
    assert torch.allclose(found.places[1][-1], last, atol=1e-5) and shown.places == len(found.places[0])
    layer = shown.layers[1]
    assert layer.size == pytest.approx(float(found.layers[1].abs().mean())) and layer.neurons == 48
    strongest = result(taken, "means show facts --rows 3").neurons
    sizes = [abs(each.mean) for each in strongest]
    assert len(sizes) == 3 and sizes == sorted(sizes, reverse=True) and sizes[0] == abs(max(
        (each.mean for each in shown.layers), key=abs))  # fmt: skip


def test_means_are_kept_listed_deleted_and_brought_back(taken: Session) -> None:
    (row,) = result(taken, "list").rows
    assert (row.name, row.kind, row.size, row.target) == ("facts", "means", 144, "the prompts in texts.txt")
    assert row.command == "means build facts --prompts texts.txt --raw --by-position"
    assert result(taken, "means").rows == (row,)  # and what was kept by its texts is none of them
    with unharmed(taken):
        assert "exists already" in failure(taken, "means build facts").message
    result(taken, "delete means:facts")
    assert "no means is called 'facts'" in failure(taken, "means show facts").message
    result(taken, "delete means:facts --restore")
    assert result(taken, "means show facts").size == 144


def test_means_are_taken_over_a_corpus(little: Session) -> None:
    built = result(little, "means build some --docs 3 --length 9")
    assert (built.texts, built.tokens, built.places) == (3, 24, 0) and "paragraphs" in built.over
    Path("mine.txt").write_text("\n\n".join(TEXTS))
    assert result(little, "means build mine --corpus mine.txt").texts == 4


def test_a_circuit_is_found_against_means_that_are_kept(taken: Session) -> None:
    found = result(taken, "discover a --top 5 --keep-universal --method atp --reference means:facts")
    assert found.circuit.compared == "means:facts" and any("means:facts" in note for note in found.notes)
    verified = result(taken, "verify --reference means:facts")
    assert verified.held == "means:facts" and verified.agreement is not None
    effects = {neuron.place: neuron.effect for neuron in found.circuit.neurons}
    assert effects == {neuron.place: pytest.approx(neuron.effect, abs=1e-4) for neuron in verified.neurons}
    other = result(taken, "discover a --top 5 --keep-universal --method atp --reference zero")
    assert {n.place: n.attribution for n in other.circuit.neurons} != {
        n.place: n.attribution for n in found.circuit.neurons
    }


def test_what_a_neuron_loses_at_its_kept_mean_is_what_holding_it_there_does(taken: Session) -> None:
    """The same number by another way: the neuron set to its mean."""
    neuron = taken.found().neurons[0]
    mean = result(taken, f"means show facts L{neuron.layer}/N{neuron.index}").neurons[0].mean
    (held,) = result(taken, f"arms 'set-to {neuron} {mean!r}'").arms[1:]
    (ablated,) = result(taken, f"ablate {neuron} --mean --over means:facts").arms[1:]
    assert [each.logit for each in held.next_tokens] == [
        pytest.approx(each.logit, abs=1e-4) for each in ablated.next_tokens
    ]


def test_many_prompts_are_held_at_the_means_of_their_positions(taken: Session) -> None:
    Path("cases.jsonl").write_text(CASES)
    found = result(taken, "discover --prompts cases.jsonl --raw --top 6 --keep-universal --reference means:facts")
    assert found.circuit.compared == "means:facts"
    kept = result(taken, "faithfulness cases.jsonl --raw --sizes 3 --controls 0 --means means:facts")
    assert kept == result(taken, "faithfulness cases.jsonl --raw --sizes 3 --controls 0 --reference means:facts")
    assert kept.held == "means:facts"
    same = result(taken, "faithfulness cases.jsonl --raw --sizes 3 --controls 0 --means texts.txt")
    assert [row.kept for row in kept.rows] == [pytest.approx(row.kept, abs=1e-4) for row in same.rows]
    result(taken, "means build flat --prompts texts.txt --raw")
    flat = result(taken, "faithfulness cases.jsonl --raw --sizes 3 --controls 0 --means means:flat")
    assert all(math.isfinite(row.kept) for row in flat.rows)


def test_means_of_another_model_are_refused_unless_it_is_wanted(taken: Session) -> None:
    taken.use_model(adopt(tiny("llama", seed=9), tiny_tokenizer(), name="other"))
    result(taken, "prompt the cat")
    Path("cases.jsonl").write_text(CASES)
    result(taken, "discover a --top 5 --keep-universal")
    for line in (
        "means show facts",
        "discover a --top 5 --keep-universal --reference means:facts",
        "verify --reference means:facts",
        "faithfulness cases.jsonl --raw --sizes 3 --controls 0 --means means:facts",
        "ablate L1/N5 --mean --over means:facts",
    ):
        with unharmed(taken):
            assert "was made on tiny" in failure(taken, line).message
        assert any("made on tiny" in note for note in result(taken, f"{line} --force").notes)
    taken.use_model(adopt(tiny("llama", intermediate_size=40), tiny_tokenizer(), name="small"))
    result(taken, "prompt the cat")
    assert "48 neurons in layer 0" in failure(taken, "ablate L1/N5 --mean --over means:facts --force").message


def test_what_was_suppressed_when_they_were_taken_is_said(taken: Session) -> None:
    result(taken, "suppress L1/N5")
    assert any("was another" in note for note in result(taken, "verify --reference means:facts").notes)


def test_means_are_exported_and_imported(taken: Session) -> None:
    result(taken, "export facts.safetensors --name means:facts")
    assert Path("facts.safetensors").read_bytes() == taken.store.path("means", "facts").read_bytes()
    assert result(taken, "import facts.safetensors --as means:again").name == "means:again"
    one, other = taken.saved.read_means("facts")[0], taken.saved.read_means("again")[0]
    assert one.packed() == other.packed()
    with unharmed(taken):
        assert "holds means" in failure(taken, "import facts.safetensors --as vector:x").message
    data = bytearray(taken.store.path("means", "facts").read_bytes())
    data[-3] ^= 1
    taken.store.path("means", "facts").write_bytes(data)
    assert "changed or damaged" in failure(taken, "means show facts").message


def test_means_in_a_file_of_an_earlier_project_are_kept(little: Session) -> None:
    one, other = ([torch.full((48,), float(layer) + shift) for layer in range(3)] for shift in (0.0, 0.5))
    torch.save({"base_means": one, "opus_means": other, "n_layers": 3}, "diff.pt")
    failed = failure(little, "import diff.pt --as means:base")
    assert "several means" in failed.message and "base_means, opus_means" in failed.hint
    result(little, "import diff.pt --as means:opus --key opus_means")
    shown = result(little, "means show opus L2/N4")
    assert shown.neurons[0].mean == 2.5 and shown.over == "opus_means of diff.pt"
    assert result(little, "verify --reference means:opus").held == "means:opus"
    torch.save({"means": one[:2]}, "short.pt")
    assert "of 2 layers" in failure(little, "import short.pt --as means:x").message
    torch.save({"means": [*one[:2], torch.full((48,), torch.nan)]}, "nan.pt")
    assert "not finite" in failure(little, "import nan.pt --as means:x").message
    torch.save({"mean_activations": torch.stack(one), "L0_down": torch.ones(4, 48)}, "matrix.pt")
    result(little, "import matrix.pt --as means:rows")
    assert result(little, "means show rows L2/N4").over == "mean_activations of matrix.pt"
    torch.save({"words": ["a"]}, "words.pt")
    assert "no means in it" in failure(little, "import words.pt --as means:x").message


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("means build", "needs a name"),
        ("means show", "needs a name"),
        ("means list facts", "unexpected extra argument (facts)"),
        ("means build x --rows 3", "means build has no option --rows"),
        ("means show facts --docs 3", "means show has no option --docs"),
        ("means build x --raw", "--raw is for --prompts"),
        ("means build x --prompts texts.txt --docs 3", "--docs is for a corpus"),
        ("means build x --prompts none.txt", "none.txt"),
        ("means build ../x", "is a path"),
        ("means build 0123456789abcdef-0123456789abcdef", "uses such names itself"),
        ("means show facts L1/N99", "no neuron 99"),
        ("discover a --reference means:none", "no means is called"),
        ("discover a --reference means:facts --reference-seed x", "needs a prompt"),
        ("ablate L1/N5 --resample --over means:facts", "takes a position of a text"),
        ("ablate L1/N5 --over means:facts", "--over is for"),
        ("faithfulness --reference zero --means means:facts", "does not go with"),
        ("import x.json --key a", "--key is for"),
    ],
)
def test_bad_input_is_one_error_and_changes_nothing(taken: Session, line: str, said: str) -> None:
    with unharmed(taken):
        failed = failure(taken, line)
    assert said in failed.message and failed.hint


def test_a_mixture_of_experts_has_no_means(empty: Session) -> None:
    empty.use_model(adopt(tiny("mixtral"), tiny_tokenizer(), name="experts"))
    assert "mixture of experts" in failure(empty, "means build x --docs 2").message


def test_kept_means_are_offered_where_they_may_stand(taken: Session) -> None:
    def offered(line: str) -> list[str]:
        return [each.text for each in complete(line, session=taken)]

    assert "means:facts" in offered("discover a --reference ")
    assert "means:facts" in offered("ablate top5 --mean --over means:")
    assert "means:facts" in offered("faithfulness --means me")
    assert "means:facts" in offered("faithfulness --reference ")
    assert offered("means show ") == ["facts"] and "means:facts" in offered("delete means:")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("layer.1.mean"), "not the means of layers"),
        (lambda tensors: tensors.pop("layer.1.places"), "not the means of layers"),
        (lambda tensors: tensors.pop("layer.2.places"), "by position"),
        (lambda tensors: tensors.clear(), "not the means of layers"),
    ],
)
def test_an_incomplete_means_file_is_refused(taken: Session, change: Any, said: str) -> None:
    found, _ = taken.saved.read_means("facts")
    packed = found.packed()
    change(packed.tensors)

    class Wrong:
        target = ""

        def packed(self) -> Any:
            return packed

    info = taken.opened().info
    taken.store.save("means", "wrong", Wrong(), model=info.name, fingerprint=info.fingerprint, command="x")
    assert said in failure(taken, "means show wrong").message
    assert isinstance(found, Means)
