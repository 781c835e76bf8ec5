"""`lens`: predictions between the layers, a logit by component, and fitted lenses, as typed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sessions import results
from sessions.lenses.findings import EMBEDDINGS
from sessions.model.opening import OpenModel, adopt
from sessions.procedures import lens as procedure
from sessions.session import Session
from sessions.views import view
from sessions.views.blocks import Curve, Heat, Table
from tests.commands.driving import failure, result, unharmed
from tests.families import tiny, tiny_tokenizer

TEXTS = ("the cat sat on the mat", "a dog", "in the end there was a hen", "the thin man ate it", "she had it then")
FIT = "lens fit mine --prompts texts.txt --raw"


@pytest.fixture
def fitted(little: Session) -> Session:
    """A session with texts in a file, and a tuned lens for two layers, fitted on them."""
    Path("texts.txt").write_text("\n".join(TEXTS))
    result(little, f"{FIT} --layers 0-1 --steps 3 --batch 8")
    return little


# ---- reading


def test_the_table_is_one_position_of_the_map(little: Session) -> None:
    read = result(little, "lens")
    assert isinstance(read, results.LensRead)
    length = len(little.encoded().ids)
    assert (read.first, read.length, read.position, read.generated) == (0, length, length - 1, 0)
    assert read.tokens == little.encoded().tokens
    assert [layer.layer for layer in read.layers] == [EMBEDDINGS, 0, 1, 2] == [row.layer for row in read.rows]
    for layer, row in zip(read.layers, read.rows, strict=True):
        assert len(layer.kl) == length
        assert (layer.kl[-1], layer.rank[-1], layer.top[-1]) == (row.kl, row.rank, row.tokens[0])
    assert read.rows[-1].kl == pytest.approx(0, abs=1e-6)
    table, curve, heat = view(read)[2:5]
    assert isinstance(table, Table) and isinstance(curve, Curve) and isinstance(heat, Heat)
    assert heat.rows == ("L2", "L1", "L0", "embed") and len(heat.columns) == length == len(set(heat.columns))
    assert heat.cells[0] == read.layers[-1].probability


def test_the_last_layer_says_what_prob_and_top_say(little: Session) -> None:
    read = result(little, 'lens --target " c"')
    (token,) = result(little, 'prob " c"').chances
    last = read.rows[-1]
    assert read.target is not None and read.target.text == " c" and last.rank == token.rank
    assert last.probability == pytest.approx(token.probability, rel=1e-4)
    likeliest = [each.text for each in result(little, "top 5").chances]
    assert list(last.tokens) == likeliest


def test_without_a_token_each_position_is_measured_against_its_own_prediction(little: Session) -> None:
    assert result(little, "lens").target == little.found().target.tokens[0]  # the circuit's
    result(little, "prompt a dog")  # which the circuit is not about
    read = result(little, "lens")
    assert read.target is None
    assert read.targets == read.layers[-1].top and set(read.layers[-1].rank) == {1}


def test_positions_and_layers_are_chosen(little: Session) -> None:
    whole = result(little, "lens --of kl")
    some = result(little, "lens --positions 1-3 --layers 1 --of kl")
    assert [layer.layer for layer in some.layers] == [1, 2] and (some.first, some.position) == (1, 3)
    assert some.layers[0].kl == pytest.approx(whole.layers[2].kl[1:4], abs=1e-5)
    assert result(little, "lens --at 2").position == 2
    assert result(little, "lens --at cat").position == len(whole.tokens) - 1
    assert result(little, "lens --positions -2--1").first == len(whole.tokens) - 2


@pytest.mark.parametrize("measure", ["prob", "rank", "entropy", "kl", "top"])
def test_each_measure_has_its_map(little: Session, measure: str) -> None:
    read = result(little, f"lens --of {measure}")
    (heat,) = [block for block in view(read) if isinstance(block, Heat)]
    assert heat.title and all(cell is not None for row in heat.cells for cell in row)
    tokens = [block for block in view(read) if isinstance(block, Table)][1:]
    assert bool(tokens) == (measure == "top")
    if tokens:
        assert tokens[0].rows[0].cells[1:] == read.layers[-1].top


def test_generated_tokens_are_read_too(little: Session) -> None:
    prompt = little.encoded()
    written = result(little, "generate --max-tokens 3")
    read = result(little, "lens --generate 3")
    ids = (*prompt.ids, *written.arm.ids)
    assert (read.generated, read.length, read.position) == (len(ids) - len(prompt.ids), len(ids), len(prompt.ids) - 1)
    assert "".join(read.tokens[len(prompt.ids) :]) == written.arm.text
    # Greedy: the last layer predicts each token that was written, at the position before it.
    assert read.targets[len(prompt.ids) - 1 : -1] == read.tokens[len(prompt.ids) :]
    assert result(little, "lens --generate 3 --at -1").position == len(ids) - 1
    assert little.encoded().ids == prompt.ids  # the prompt stays


def test_what_is_in_force_is_in_what_is_read(little: Session) -> None:
    before = result(little, "lens")
    result(little, "suppress L1/*")
    suppressed = result(little, "lens")
    result(little, "release all")
    result(little, "ablate L1/* --live")
    live = result(little, "lens")
    assert [row.kl for row in suppressed.rows] == pytest.approx([row.kl for row in live.rows], abs=1e-5)
    assert before.rows[-1].entropy != pytest.approx(suppressed.rows[-1].entropy, abs=1e-4)


def test_of_a_long_text_the_end_is_read(little: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procedure, "MOST_POSITIONS", 3)
    length = len(little.encoded().ids)
    read = result(little, "lens")
    assert (read.first, len(read.tokens), read.position) == (length - 3, 3, length - 1)
    assert any(f"{length - 3} to {length - 1} of {length}" in note for note in read.notes)
    assert result(little, "lens --at 1").first == 1
    assert "at most 3" in failure(little, "lens --positions 0-4").hint


# ---- components


def test_components_sum_to_the_target_of_the_circuit(little: Session) -> None:
    parts = result(little, "lens components")
    circuit = little.found().target
    assert (parts.target.tokens, parts.target.counterfactual) == (circuit.tokens, circuit.counterfactual)
    assert parts.target.value == pytest.approx(circuit.value, abs=1e-4)
    assert sum(part.value for part in parts.parts) == pytest.approx(circuit.value, abs=1e-4)
    alone = result(little, 'lens components --target " c" --target-only')
    (token,) = result(little, 'prob " c"').chances
    assert alone.target.counterfactual is None and alone.target.value == pytest.approx(token.logit, abs=1e-4)
    against = result(little, 'lens components --target " c" --vs " d"')
    assert against.target.counterfactual is not None and against.target.counterfactual.text == " d"
    earlier = result(little, "lens components --at 2")
    assert (
        earlier.position == 2
        and earlier.target.tokens[0].text == result(little, "lens --at 2 --of top").layers[-1].top[2]
    )
    assert len(view(result(little, "lens components --rows 2"))[2].rows) == 2
    heads = [head for head in parts.heads if head.head is not None]
    assert len(heads) == 3 * little.opened().anatomy.n_heads


# ---- fitted lenses


def test_a_lens_is_fitted_kept_listed_deleted_and_brought_back(fitted: Session) -> None:
    shown = result(fitted, "lens show mine")
    assert (shown.layers, shown.about.kind, shown.about.texts) == ((0, 1), "tuned", 4)
    assert [row.layer for row in shown.about.quality] == [0, 1] and shown.about.held_out > 0
    (row,) = result(fitted, "lens list").rows
    assert (row.name, row.kind, row.size) == ("mine", "lens", 2)
    assert row.command == f"{FIT} --layers 0-1 --steps 3 --batch 8"
    with unharmed(fitted):
        assert "exists already" in failure(fitted, f"{FIT}").message
    result(fitted, "delete lens:mine")
    assert "no lens is called 'mine'" in failure(fitted, "lens mine").message
    result(fitted, "delete lens:mine --restore")
    assert result(fitted, "lens show mine") == shown


def test_a_fitted_lens_is_read_through_where_it_has_maps(fitted: Session) -> None:
    plain, read = result(fitted, "lens"), result(fitted, "lens mine")
    assert (read.lens, read.lens_kind) == ("mine", "tuned")
    assert [layer.layer for layer in read.layers] == [0, 1, 2]
    assert read.layers[-1] == plain.layers[-1] and read.layers[0] != plain.layers[1]
    assert "has no map for these layers" in failure(fitted, "lens mine --layers 2").message


@pytest.mark.parametrize("kind", ["jacobian", "relevance"])
def test_derivatives_are_fitted_on_prompts_and_on_a_corpus(fitted: Session, kind: str) -> None:
    shown = result(fitted, f"lens fit j --kind {kind} --prompts texts.txt --raw --skip 1")
    assert shown.layers == (EMBEDDINGS, 0, 1) and shown.about.kind == kind
    assert len(shown.about.quality) == 3
    assert result(fitted, "lens j").lens_kind == kind
    corpus = result(fitted, f"lens fit c --kind {kind} --docs 2 --length 20 --layers 1")
    assert (corpus.about.texts, corpus.about.tokens) == (1, 3) and "paragraphs" in corpus.about.over


def test_the_attention_rule_of_a_relevance_lens_is_chosen(fitted: Session) -> None:
    line = "lens fit {} --kind relevance --prompts texts.txt --raw --skip 1 --layers 0 --attention {}"
    frozen, gradient = (result(fitted, line.format(rule, rule)) for rule in ("frozen", "gradient"))
    assert frozen.about.quality != gradient.about.quality and "attention gradient" in gradient.about.recipe


def test_a_lens_of_another_model_is_refused_unless_it_is_wanted(fitted: Session) -> None:
    fitted.use_model(adopt(tiny("llama", seed=3), tiny_tokenizer(), name="other"))
    result(fitted, "prompt the cat")
    with unharmed(fitted):
        refused = failure(fitted, "lens mine")
    assert "it was made on tiny" in refused.message and "--force" in refused.hint
    assert any("made on tiny" in note for note in result(fitted, "lens mine --force").notes)
    fitted.use_model(adopt(tiny("llama", seed=3, hidden_size=16, head_dim=4), tiny_tokenizer(), name="narrow"))
    assert "states of 32 numbers" in failure(fitted, "lens mine --force").message


def test_what_was_in_force_when_a_lens_was_fitted_is_said(fitted: Session) -> None:
    result(fitted, "suppress L1/N3")
    assert any("other neurons were suppressed" in note for note in result(fitted, "lens mine").notes)


def test_a_lens_goes_to_a_file_and_comes_back(fitted: Session) -> None:
    result(fitted, "export mine.safetensors --name lens:mine")
    assert result(fitted, "import mine.safetensors --as lens:copy").name == "lens:copy"
    assert result(fitted, "lens show copy").about == result(fitted, "lens show mine").about


BAD = {
    "lens nope": "no lens is called 'nope'",
    "lens --layers 3": "there is no layer 3",
    "lens --at 99": "the text has no position 99",
    "lens --positions 4-99": "the text has no positions 4 to 99",
    "lens --positions 0-2 --at 4": "not among the positions 0 to 2",
    'lens --target ""': "the token is empty",
    "lens --of nothing": "unknown measure 'nothing'",
    "lens --nth 2": "--nth says which of several",
    "lens --force": "--force is for a fitted lens",
    "lens fitt": "lens has no 'fitt'",
    'lens components --vs " c" --target-only': "--vs does not go with --target-only",
    'lens components --target " c" --vs " c"': "the same token",
    "lens fit x --kind tuned --skip 2": "--skip does not go with --kind tuned",
    "lens fit x --kind jacobian --steps 2": "--steps does not go with --kind jacobian",
    "lens fit x --kind jacobian --attention frozen": "--attention does not go with --kind jacobian",
    "lens fit x --layers 2": "the last layer, 2, is read as it is",
    "lens fit x --layers 7": "there is no layer 7",
    "lens fit x --raw": "--raw is for --prompts",
    "lens fit x --prompts nowhere.txt": "nowhere.txt",
    "lens fit x --kind jacobian --docs 2 --length 9": "no text has more than 17 tokens",
    "lens show nope": "no lens is called 'nope'",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_has_one_clear_error(little: Session, line: str) -> None:
    with unharmed(little):
        failed = failure(little, line)
    assert BAD[line] in failed.message and failed.hint


def test_without_a_prompt_or_a_model_it_says_so(empty: Session, tiny_llama: OpenModel) -> None:
    assert "no model is open" in failure(empty, "lens").message
    empty.model = tiny_llama
    assert "no prompt is set" in failure(empty, "lens").message


def test_a_fit_that_is_cancelled_leaves_nothing(fitted: Session) -> None:
    from commands import run
    from sessions.events import Failed, Progress

    with unharmed(fitted):
        events = []
        for event in run(fitted, "lens fit x --prompts texts.txt --raw --steps 50"):
            events.append(event)
            if isinstance(event, Progress) and event.done == 2:
                fitted.cancel.request()
        (failed,) = [event for event in events if isinstance(event, Failed)]
        assert failed.error == "cancelled"
    assert fitted.store.names("lens") == ["mine"]


def test_results_travel_as_json(fitted: Session) -> None:
    for line in ("lens mine --of top", "lens components", "lens show mine"):
        value = result(fitted, line)
        assert msgspec.json.decode(msgspec.json.encode(value), type=type(value)) == value


# ---- a real model


def test_smollm2_decides_for_austin_in_its_last_layers(session: Session) -> None:
    result(session, "prompt What is the capital of Texas?")
    result(session, "seed The capital of Texas is")
    read = result(session, 'lens --target " Austin" --positions -1 --of rank')
    ranks = [row.rank for row in read.rows]
    assert ranks[-1] == 1 and min(ranks[:20]) > 1000 and read.rows[-1].tokens[0] == " Austin"
    assert read.rows[-1].probability > 0.5 and read.rows[-1].kl == pytest.approx(0, abs=1e-5)
    parts = result(session, 'lens components --target " Austin" --vs " Houston"')
    assert abs(parts.rest) < 1e-5 * parts.target.value
    fit = result(session, "lens fit j --kind jacobian --layers 28 --docs 3 --length 24")
    (row,) = fit.about.quality
    assert row.fitted < row.plain / 2  # it knows what the last layer does on average
