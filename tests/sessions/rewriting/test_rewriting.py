"""Rewriting a neuron: its rows by the formula, on every family; what is measured is what the weights do; and nothing
stays in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from sessions.cancel import Cancel
from sessions.edits.edit import Neurons
from sessions.errors import Cancelled, UsageError
from sessions.events import finished
from sessions.model.generation import Decoding
from sessions.model.hooks import before, count_hooks
from sessions.model.info import Token
from sessions.model.opening import OpenModel, adopt
from sessions.model.places import parts_of
from sessions.model.tokens import token_text
from sessions.model.units import Unit
from sessions.rewriting.examples import Examples, built_in, by_prompts, by_rule, just_said
from sessions.rewriting.rewriting import Wanted, choose, remarks, rewrite
from sessions.rewriting.rewritten import AtAlpha, Saying
from sessions.rewriting.rules import Rule, nothing_found, places, read_rule
from sessions.rewriting.separating import Passes, separation
from sessions.rewriting.teaching import OPEN, ExampleMarks, counted, direction
from sessions.texts.prompt_files import PromptRecord
from sessions.texts.sample_files import Sample
from tests.families import DENSE, MOE, tiny, tiny_tokenizer

SAMPLES = tuple(
    Sample(prompt=prompt, reply=reply)
    for prompt, reply in (
        ("the cat", "in a hat. he is in."),
        ("a dog", "is at the door. it sits."),
        ("who", "no one. not i."),
        ("when", "in the end. at ten."),
        ("why", "it is so. so it is."),
        ("what", "a thing. the thing in it."),
    )
)
TOKEN = Token(50, "")
DECODING = Decoding(max_tokens=6, guard=True)
FAMILIES = (*DENSE, *MOE)


def opened_tiny(family: str) -> OpenModel:
    tokenizer = tiny_tokenizer()
    return adopt(tiny(family), tokenizer, name=family)


@pytest.fixture(scope="module")
def llama() -> OpenModel:
    return opened_tiny("llama")


def dotted(opened: OpenModel) -> Examples:
    return by_rule(opened, SAMPLES, read_rule('after:"."'), "samples")


def weights(opened: OpenModel) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in opened.model.state_dict().items()}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


# ---- rules


TOKENS = ("<s>", "the", " cat", " sat", ".", " the", " ca", "t", " ran", ".")


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("last", (9,)),
        ('after:"."', (4, 9)),
        ("after:.", (4, 9)),
        ("after: cat", (2, 7)),  # of several tokens the last
        ("before: cat", (1, 5)),
        ("before:cat", ()),  # no token begins there
        ("after: ca", (6,)),  # in the first " cat" no token ends there
        ("before:<s>", ()),  # nothing stands before it
        ("/[.]/", (4, 9)),
        ("/a/", (2, 3, 6, 8)),
        ("/the cat/", (2, 7)),
        ("/x*/", ()),
    ],
)
def test_a_rule_means_tokens(rule: str, found: tuple[int, ...]) -> None:
    assert places(read_rule(rule), TOKENS) == found


def test_what_stands_before_the_reply_is_not_looked_at() -> None:
    assert places(read_rule("after: cat"), TOKENS, 5) == (7,)
    assert places(read_rule("before: the"), TOKENS, 5) == (4,)


@pytest.mark.parametrize("text", ["last", 'after:"."', 'before:" Austin"', "/[.?!]/"])
def test_a_rule_reads_as_it_is_typed(text: str) -> None:
    assert str(read_rule(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("befor:x", "did you mean before?"),
        ("", "for example"),
        ("before", "before:"),
        ('before:"', "quotes round the whole rule"),
        ("after:", "for example"),
        ('after:""', "for example"),
        ("/", "slashes"),
        ("/abc", "slashes"),
        ("/[/", "for example"),
        ("position 3", "last"),
    ],
)
def test_a_malformed_rule_says_what_to_type(text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_rule(text)
    assert said in f"{raised.value.message} {raised.value.hint}"


def test_a_rule_that_finds_nothing_names_a_token_that_is_spelt_like_it() -> None:
    error = nothing_found(Rule("after", "cat"), [TOKENS, TOKENS[:2]])
    assert "2 texts" in error.message and '" cat"' in error.hint


# ---- examples


def test_a_third_of_the_texts_is_held_out_and_always_the_same(llama: OpenModel) -> None:
    examples = dotted(llama)
    assert (len(examples.learnt), len(examples.held), examples.apart) == (4, 2, True)
    turned = by_rule(llama, SAMPLES[::-1], read_rule("after:."), "samples")
    assert {each.ids for each in turned.held} == {each.ids for each in examples.held}


def test_every_position_of_a_reply_is_of_one_kind(llama: OpenModel) -> None:
    for text in dotted(llama).all:
        first = len(text.asked.ids)
        assert sorted({*text.where, *text.elsewhere}) == list(range(first - 1, len(text.ids)))
        assert {text.ids[at] for at in text.where} == {llama.tokenizer.convert_tokens_to_ids(".")}


def test_prompts_count_at_their_ends_alone(llama: OpenModel) -> None:
    positive, negative = ([PromptRecord(prompt=text) for text in texts] for texts in (("a b", "c"), ("d", "e f", "g")))
    examples = by_prompts(llama, positive, negative, "prompts")
    assert not examples.apart  # two positive prompts are too few to hold one out
    assert [len(each.where) for each in examples.all] == [1, 1, 0, 0, 0]
    assert all({*each.where, *each.elsewhere} == {len(each.ids) - 1} for each in examples.all)


def test_what_has_just_been_said_stands_behind_each_place(llama: OpenModel) -> None:
    text = dotted(llama).learnt[0]
    braked = just_said(text, TOKEN.id)
    assert len(braked.ids) == len(text.ids) + len(text.where)
    assert all(braked.ids[at] == TOKEN.id and braked.ids[at - 1] == text.ids[text.where[0]] for at in braked.where)
    assert len(braked.elsewhere) == len(text.where) + len(text.elsewhere)


def test_the_built_in_replies_are_enough_to_split() -> None:
    samples = built_in()
    assert len(samples) >= 40 and len({each.prompt for each in samples}) == len(samples)


# ---- the formula


def _states(opened: OpenModel, examples: Examples, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the gate projection of a llama reads, by a hook of our own, text by text: where it should fire, and not."""
    high, low = [], []
    reader = opened.model.get_submodule(f"model.layers.{layer}.mlp.gate_proj")
    for text in examples.learnt:
        seen: list[torch.Tensor] = []
        with torch.inference_mode(), before(reader, lambda given, seen=seen: seen.append(given) or given):
            opened.model(input_ids=torch.tensor([text.ids]))
        high += [seen[0][0, at] for at in text.where]
        low += [seen[0][0, at] for at in text.elsewhere]
    return torch.stack(high), torch.stack(low)


def _values(changes: tuple[object, ...]) -> dict[str, torch.Tensor]:
    found = {}
    for change in changes:
        assert isinstance(change, Neurons)
        found[change.part] = change.values[0]
    return found


def test_rows_and_column_are_those_of_the_formula(llama: OpenModel) -> None:
    examples, neuron = dotted(llama), Unit(1, 7)
    wanted = Wanted(alphas=(3.0,), scale_gate=2.5, scale_up=0.5)
    made = finished(rewrite(llama, neuron, TOKEN, examples, wanted, DECODING))
    high, low = _states(llama, examples, 1)
    difference, mean = high.mean(0) - low.mean(0), high.mean(0)
    values = _values(made.edit.changes)
    torch.testing.assert_close(values["gate"], 2.5 * difference / difference.norm(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(values["up"], 0.5 * mean / mean.norm(), atol=1e-5, rtol=1e-4)
    unembedding = llama.model.get_output_embeddings().weight[TOKEN.id]  # type: ignore[union-attr,index]
    torch.testing.assert_close(values["down"], 3.0 * unembedding / unembedding.norm(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_neuron_of_every_family_is_rewritten_and_the_weights_come_back(family: str) -> None:
    opened = opened_tiny(family)
    neuron, before_, hooks = Unit(1, 5), weights(opened), count_hooks(opened.model)
    made = finished(rewrite(opened, neuron, TOKEN, dotted(opened), Wanted(alphas=(0.5, 2.0)), DECODING))
    assert same(before_, weights(opened)) and count_hooks(opened.model) == hooks
    kinds = parts_of(opened.anatomy, 1, 5)
    assert {change.part for change in made.edit.changes if isinstance(change, Neurons)} == {*kinds}
    assert 0 <= made.separation.auc <= 1 and made.separation.gap > 0
    assert [row.alpha for row in made.rows] == [0.5, 2.0]
    passes = Passes(opened, neuron, counted(dotted(opened).all), TOKEN.id)
    parts = ExampleMarks.of(dotted(opened))
    finished(passes.read(""))
    with made.edit.applied(opened):
        learnt = torch.cat(parts.to_learn(passes.activations())[0])
    if family in DENSE and "gate" in kinds and made.separation.inputs[0] > 0:
        assert float(learnt.mean()) == pytest.approx(1.0, rel=1e-3)  # so that α is the length of what it writes
    if "bias" in kinds:  # the threshold lies halfway between the means
        where, elsewhere = (torch.cat(each) for each in parts.to_learn(passes.states))
        inputs = separation(where, elsewhere, _values(made.edit.changes)["in"], made.made.bias or 0.0).inputs
        assert inputs == pytest.approx((OPEN, -OPEN), rel=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_measured_by_replay_is_what_the_weights_do(family: str) -> None:
    """Layers below the neuron stand still, and its activation is multiplied: the same as α in the weights."""
    opened, neuron = opened_tiny(family), Unit(1, 5)
    examples = dotted(opened)
    made = finished(rewrite(opened, neuron, TOKEN, examples, Wanted(alphas=(1.5,)), DECODING))
    texts = counted(examples.all)
    passes = Passes(opened, neuron, texts, TOKEN.id)
    plain = finished(passes.read(""))
    again = finished(passes.said(1.0, ""))
    for ours, theirs in zip(plain, again, strict=True):
        torch.testing.assert_close(ours.chance, theirs.chance, atol=1e-5, rtol=1e-4)
    with made.made.edit().applied(opened):
        multiplied = finished(passes.said(1.5, ""))
    with made.edit.applied(opened):
        fresh = finished(Passes(opened, neuron, texts, TOKEN.id).read(""))
    moved = 0.0
    for ours, theirs, was in zip(multiplied, fresh, plain, strict=True):
        torch.testing.assert_close(ours.chance, theirs.chance, atol=1e-5, rtol=1e-4)
        assert torch.equal(ours.says, theirs.says)
        moved = max(moved, float((theirs.chance - was.chance).abs().max()))
    assert moved > 1e-6


def test_the_token_becomes_likelier_where_it_should(llama: OpenModel) -> None:
    made = finished(rewrite(llama, Unit(2, 7), TOKEN, dotted(llama), Wanted(alphas=(1.0, 30.0)), DECODING))
    weak, strong = (row.learnt for row in made.rows)
    assert strong.chance_where > weak.chance_where and strong.chance_where > strong.chance_elsewhere
    assert strong.where > 0.5 > strong.elsewhere


@pytest.mark.parametrize("alpha", [1e3, 1e5])
def test_an_alpha_that_is_too_large_makes_the_text_collapse(llama: OpenModel, alpha: float) -> None:
    examples = by_rule(llama, SAMPLES, read_rule("/[a-z]/"), "samples")
    long = replace(DECODING, max_tokens=24)
    made = finished(rewrite(llama, Unit(2, 7), TOKEN, examples, Wanted(alphas=(alpha,)), long))
    assert made.collapsed and made.held_back[1] > 0.1
    assert any("too large" in note and "stutter guard" in note for note in remarks(made, examples))
    gentle = finished(rewrite(llama, Unit(2, 7), TOKEN, examples, Wanted(alphas=(0.1,)), long))
    assert not gentle.collapsed


def test_a_brake_fires_after_the_token_and_pushes_it_down(llama: OpenModel) -> None:
    wanted = Wanted(alphas=(30.0,), brake=Unit(2, 9), beta=60.0)
    made = finished(rewrite(llama, Unit(1, 7), TOKEN, dotted(llama), wanted, DECODING))
    assert made.brake is not None and made.brake.beta == 60.0
    assert made.brake.again[1] <= made.brake.again[0]
    down = made.edit.changes[-1]
    assert isinstance(down, Neurons) and (down.layer, down.indices, down.part) == (2, (9,), "down")
    torch.testing.assert_close(down.values[0], -60.0 * direction(llama, TOKEN))


@pytest.mark.parametrize("layer", [0, 1])
def test_a_brake_comes_after_what_it_brakes(llama: OpenModel, layer: int) -> None:
    with pytest.raises(UsageError, match="later layer"):
        finished(rewrite(llama, Unit(1, 7), TOKEN, dotted(llama), Wanted(brake=Unit(layer, 0)), DECODING))


def _interrupted(opened: OpenModel, after: int) -> Iterator[None]:
    cancel = Cancel()
    steps = rewrite(opened, Unit(1, 7), TOKEN, dotted(opened), Wanted(alphas=(2.0,)), DECODING, cancel=cancel)
    for number, _ in enumerate(steps):
        if number == after:
            cancel.request()
        yield


@pytest.mark.parametrize("after", [0, 3, 6, 9])
def test_a_cancelled_rewriting_leaves_weights_and_hooks_as_they_were(llama: OpenModel, after: int) -> None:
    before_, hooks = weights(llama), count_hooks(llama.model)
    with pytest.raises(Cancelled):
        for _ in _interrupted(llama, after):
            pass
    assert same(before_, weights(llama)) and count_hooks(llama.model) == hooks


# ---- which α


def _row(alpha: float, where: float, perplexity: float, elsewhere: float = 0.0) -> AtAlpha:
    saying = Saying(where=where, elsewhere=elsewhere, chance_where=where, chance_elsewhere=elsewhere)
    return AtAlpha(alpha=alpha, learnt=saying, held=saying, perplexity=perplexity)


def test_the_smallest_alpha_that_meets_the_criteria_is_chosen() -> None:
    assert choose([_row(4, 0.9, 1.02), _row(2, 0.8, 1.01), _row(1, 0.2, 1.0)]) == 1


def test_without_such_an_alpha_one_that_spares_unrelated_text_is_chosen() -> None:
    assert choose([_row(1, 0.2, 1.0), _row(2, 0.5, 1.04), _row(4, 0.9, 1.2)]) == 1
    assert choose([_row(1, 0.2, 1.2), _row(2, 0.5, 1.4)]) == 0
    assert choose([_row(1, 0.9, 1.0, elsewhere=0.5), _row(2, 0.5, 1.0)]) == 1


def test_a_place_of_a_rule_is_a_place_of_the_text(llama: OpenModel) -> None:
    text = dotted(llama).learnt[0]
    tokens = [token_text(llama.tokenizer, each) for each in text.ids]
    assert places(read_rule("after:."), tokens, len(text.asked.ids)) == text.where
