"""Every family of models against plain transformers, number by number.

Each family is opened by the workbench and, from the same weights, by transformers alone. What the workbench says must
be what plain forward passes over single texts say, without cache, batch or hook: a neuron is switched off there by
zeroing the weights it writes with. What a family cannot do is refused, and stands in `families.NO_RULE`, from which
the manual's table is made; a refusal that is not in it fails here, and so does an entry that nothing refuses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from sessions.circuits.attributing import attribute
from sessions.circuits.cases import last_logits
from sessions.circuits.discovery import AttributionOptions, DiscoveryQuestion, discover
from sessions.circuits.edges import trace
from sessions.circuits.pruning import CircuitSize
from sessions.circuits.verification import verify
from sessions.comparisons.diverging import divergences
from sessions.errors import ModelError
from sessions.events import finished
from sessions.interventions.answering import compare
from sessions.interventions.arms import Condition
from sessions.interventions.intervention import Intervention
from sessions.model.distribution import next_logits
from sessions.model.generation import Decoding, generate
from sessions.model.hooks import count_hooks
from sessions.model.info import Encoded, Prompt, Token
from sessions.model.opening import OpenModel, adopt
from sessions.model.sites import ExpertSite
from sessions.model.target import Target
from sessions.model.tokens import encode
from sessions.model.units import Unit
from tests.families import ALL, MARKS, NO_RULE, PAGE, table, tiny, tiny_tokenizer
from tests.vocabularies import spoken

#: Longer than sliding windows and than what stretched positions were trained on, so that what depends on that shows.
IDS = (1, 9, 27, 17, 51, 5, 33, 8, 20, 41, 11, 30, 22, 45, 16, 3, 60, 37, 29, 12)
#: Rows of one batch: on both sides of these lengths, and one that generation takes across.
ROWS = (IDS, IDS[:14], IDS[:5])
TOKENS = 4
ONE = Decoding(max_tokens=1)
#: By the beginning of a family's name: how its tokenizers and templates are made (see `vocabularies`).
MANNERS = {
    "mistral": ("normalizer, marks", "mistral"),
    "mixtral": ("normalizer, marks", "llama2"),
    "phi3": ("metaspace", "chatml"),
    "gemma": ("metaspace, always", "trimming"),
    "llama": ("byte level, marks", "trimming"),
    "qwen3": ("byte level, marks", "empty thought"),
    "glm": ("glm", "glm"),
    "deepseek": ("byte level, marks", "opened thought"),
}
DIFFERENCE = Target(tokens=(Token(7, "a"),), counterfactual=Token(19, "b"))
SEQUENCE = (Token(41, "a"), Token(29, "b"), Token(12, "c"))


@dataclass(frozen=True)
class Both:
    """A family as the workbench opens it, and a model of the same weights that it has never touched."""

    opened: OpenModel
    untouched: nn.Module

    @torch.inference_mode()
    def logits(self, ids: Sequence[int], without: Unit | None = None) -> Tensor:
        """Logits of every position of a text, `[seq, vocab]`, in a fresh plain pass over it alone."""
        model = copy.deepcopy(self.untouched)  # positions may be encoded by what a model has read before
        if without is not None:
            silence(self.opened, model, without)
        return model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0].float()

    def continued(self, ids: Sequence[int], without: Unit | None = None) -> list[int]:
        """The greedy text, all of it read anew for each token."""
        text = list(ids)
        for _ in range(TOKENS):
            text.append(int(self.logits(text, without)[-1].argmax()))
        return text[len(ids) :]


def silence(opened: OpenModel, model: nn.Module, neuron: Unit) -> None:
    """Zero what a neuron writes with, in another model of the same family."""
    site, local = opened.anatomy.site_of(*neuron.site)
    names = {module: name for name, module in opened.model.named_modules()}
    if isinstance(site, ExpertSite):
        experts = model.get_submodule(names[site.experts])
        weights = experts.down_proj.data[local // site.d_expert]
        columns = weights.T if getattr(experts, "is_transposed", False) else weights
    else:
        down = model.get_submodule(names[site.down])
        columns = down.weight.data.T if isinstance(down, Conv1D) else down.weight.data
    columns[:, local % site.d_expert if isinstance(site, ExpertSite) else local] = 0


def neurons(opened: OpenModel) -> list[Unit]:
    """One of each layer, the last of a wide one, where shared experts and the like end."""
    return [Unit(layer, width - 1 - layer) for layer, width in enumerate(opened.anatomy.widths)]


def encoded(ids: Sequence[int]) -> Encoded:
    tokens = tuple(map(str, ids))
    return Encoded(prompt=Prompt(text="x"), text="x", ids=tuple(ids), tokens=tokens, bos=1, templated=False)


def close(one: object, other: object) -> None:
    torch.testing.assert_close(torch.as_tensor(one), torch.as_tensor(other), rtol=1e-4, atol=2e-4)


def prompts_ids(both: Both) -> None:
    """A prompt is the ids that the family's manner of tokenizer makes of it, raw and by its template."""
    family = both.opened.info.name
    manner = next((MANNERS[known] for known in MANNERS if family.startswith(known)), ("byte level", "chatml"))
    tokenizer, turn = spoken(*manner), [{"role": "user", "content": "that is  A"}]
    assert list(encode(tokenizer, Prompt(text=" that", chat=False)).ids) == tokenizer(" that")["input_ids"]
    own = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=True)["input_ids"]
    assert list(encode(tokenizer, Prompt(text="that is  A")).ids) == own


def the_next_token(both: Both) -> None:
    for ids in ROWS:
        close(next_logits(both.opened, ids), both.logits(ids)[-1])


def padded_rows(both: Both) -> None:
    for row, ids in zip(last_logits(both.opened, ROWS), ROWS, strict=True):
        close(row, both.logits(ids)[-1])


def greedy_text(both: Both) -> None:
    decoding = Decoding(max_tokens=TOKENS)
    together = finished(generate(both.opened.model, both.opened.tokenizer, ROWS, decoding))
    assert [row.ids for row in together] == [both.continued(ids) for ids in ROWS]


def ablation(both: Both) -> None:
    neuron, prompt = neurons(both.opened)[1], encoded(IDS[:14])
    arms = ablating(neuron)
    found, first = finished(compare(both.opened, prompt, arms, Decoding(max_tokens=TOKENS), target=DIFFERENCE))
    for arm, logits, without in zip(found, first, (None, neuron), strict=True):
        plain = both.logits(prompt.ids, without)[-1]
        close(logits, plain)
        close(arm.target, float(plain[7] - plain[19]))
        assert list(arm.ids) == both.continued(prompt.ids, without)
    (_, ablated) = finished(divergences(both.opened, prompt, arms, found[0].ids))
    for number, kl in enumerate(ablated):
        text = (*prompt.ids, *found[0].ids[:number])
        p, q = (both.logits(text, without)[-1].log_softmax(-1) for without in (None, neuron))
        close(kl, float((p.exp() * (p - q)).sum()))


def effects(both: Both) -> None:
    some = neurons(both.opened)
    for target, measure in (
        (DIFFERENCE, lambda logits: logits[-1, 7] - logits[-1, 19]),
        (Target(tokens=SEQUENCE, sequence=True), log_probability),
    ):
        found = finished(verify(both.opened, IDS, some, target))
        clean = measure(both.logits(IDS))
        close(found.value, clean)
        for neuron, effect in zip(some, found.effects, strict=True):
            close(effect, clean - measure(both.logits(IDS, neuron)))
    at_place = [Unit(neuron.layer, neuron.index, place) for neuron in some for place in (3, 18)]
    last = finished(verify(both.opened, IDS, [*at_place, *some], DIFFERENCE, batch=30)).effects  # in other groups
    for number, neuron in enumerate(at_place):
        (clean, changed), _ = finished(compare(both.opened, encoded(IDS), ablating(neuron), ONE, target=DIFFERENCE))
        close(last[number], clean.target - changed.target)


def ablating(neuron: Unit) -> list[Condition]:
    return [Condition("baseline"), Condition("ablated", (Intervention((neuron,), 0.0),))]


def log_probability(logits: Tensor) -> Tensor:
    last = logits[-len(SEQUENCE) :].log_softmax(-1)
    return sum(row[token.id] for row, token in zip(last, SEQUENCE, strict=True))


def discovery(both: Both) -> None:
    prompt, question = encoded(IDS[: -len(SEQUENCE) + 1]), DiscoveryQuestion(tokens=SEQUENCE, sequence=True)
    found = discover(both.opened, prompt, question, choice=CircuitSize(5), how=AttributionOptions("atp", "gradient"))
    close(found.circuit.target.value, log_probability(both.logits((*prompt.ids, 41, 29))))


def relevance(both: Both) -> None:
    """What leaves the logits arrives at the embeddings, up to biases, of which these models have none."""
    ids = torch.tensor([IDS])
    for measure in (lambda logits: logits[-1, 7] - logits[-1, 19], lambda logits: logits[-1].log_softmax(-1)[7]):
        found = attribute(both.opened.model, both.opened.anatomy, ids, measure)
        close(found.value, measure(both.logits(IDS)))
        assert found.inputs == pytest.approx(found.outputs, rel=1e-5, abs=1e-5)


def edges(both: Both) -> None:
    sources = [Unit(layer, 3, position) for layer in range(3) for position in (2, 19)]
    traced = finished(trace(both.opened, IDS, DIFFERENCE, sources, 3))
    close(traced.value, both.logits(IDS)[-1, 7] - both.logits(IDS)[-1, 19])


#: What is compared, by the line that a user types for it.
CHECKS: dict[str, Callable[[Both], None]] = {
    "tokens": prompts_ids,
    "top": the_next_token,
    "batches": padded_rows,
    "generate": greedy_text,
    "ablate": ablation,
    "verify": effects,
    "discover --method atp": discovery,
    "discover": relevance,
    "edges": edges,
}


def state_of(model: nn.Module) -> dict[str, object]:
    """All that a model remembers: weights, buffers, and the plain attributes of its modules, hooks among them."""
    found: dict[str, object] = {"hooks": count_hooks(model)}
    for name, module in model.named_modules():
        for key, value in (*vars(module).items(), *module._parameters.items(), *module._buffers.items()):
            if isinstance(value, Tensor):
                found[f"{name}.{key}"] = value.detach().clone()
            elif isinstance(value, bool | int | float | str | tuple | None):
                found[f"{name}.{key}"] = value
    return found


def same(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("family", ALL)
def test_a_family_says_what_plain_transformers_says_or_refuses_by_name(family: str) -> None:
    untouched = tiny(family)
    both = Both(adopt(copy.deepcopy(untouched), tiny_tokenizer(), name=family), untouched)
    before = state_of(both.opened.model)
    refused: dict[str, str] = {}
    for name, check in CHECKS.items():
        try:
            check(both)
        except ModelError as error:
            refused[name] = error.message
    no_rule = f"relp is not available on this model: {NO_RULE.get(family)}"
    assert refused == (dict.fromkeys(("discover", "edges"), no_rule) if family in NO_RULE else {})
    after = state_of(both.opened.model)
    assert [name for name in before.keys() | after.keys() if not same(before.get(name), after.get(name))] == []


def test_the_manuals_table_of_families_is_the_one_that_is_proven_here() -> None:
    assert MARKS[0] + table() + MARKS[1] in PAGE.read_text("utf-8"), "python -m tests.families writes it"
