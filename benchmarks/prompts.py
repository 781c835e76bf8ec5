"""Discovery on many prompts together, against one discovery per prompt.

    python -m benchmarks.prompts [--json]

Thirty-two short prompts of different lengths, each with its own target. Together they are attributed in batches; one by
one each is a call of `discover`. The compared number is a neuron's attribution summed over positions, averaged over the
prompts.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.measuring import THREADS, Figure, in_turns, report, surroundings
from sessions.circuits import multi_prompt
from sessions.circuits.attributing import attribute
from sessions.circuits.cases import Case, resolve_targets
from sessions.circuits.discovery import Discovery, DiscoveryQuestion, discover
from sessions.circuits.pruning import CircuitSize
from sessions.events import finished
from sessions.model.opening import OpenModel, open_model
from sessions.store import Store
from sessions.texts.prompt_files import PromptRecord

#: Singular and plural of each, and what stands between it and the verb.
_NOUNS = (("key", "keys"), ("teacher", "teachers"), ("picture", "pictures"), ("dog", "dogs"))
_BETWEEN = ("", " near the old cabinet", " that we bought last year", " of the farmers")
_VERBS = ((" is", " are"), (" was", " were"))

ASKED = tuple(
    PromptRecord(
        prompt=f"The {nouns[number]}{between}", target=verbs[number], counterfactual=verbs[1 - number], raw=True
    )
    for place, nouns in enumerate(_NOUNS)
    for between in _BETWEEN
    for number in (0, 1)
    for verbs in (_VERBS[place % 2],)
)


def main() -> None:
    torch.set_num_threads(THREADS)
    smollm2 = finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    report("prompts", figures(smollm2), surroundings("float32", "cpu"))


def figures(opened: OpenModel) -> list[Figure]:
    """The time of all prompts together over that of one by one, and the difference of their numbers."""
    cases = finished(resolve_targets(opened, ASKED))
    seconds = in_turns(3, apart=partial(apart, opened, cases), together=partial(together, opened))
    name = f"{len(ASKED)} prompts together / one by one"
    return [
        Figure(name, seconds["together"] / seconds["apart"], 0.7, seconds),
        Figure("largest difference to the mean of each, logits", largest_difference(opened, cases), 1e-4, {}),
    ]


def together(opened: OpenModel) -> Discovery:
    """All prompts as in `discover --prompts`, including the resolution of targets."""
    return finished(multi_prompt.discover(opened, finished(resolve_targets(opened, ASKED)), choice=CircuitSize(200)))


def apart(opened: OpenModel, cases: tuple[Case, ...]) -> list[Discovery]:
    """One call of `discover` per prompt."""
    asked = ((case.encoded, DiscoveryQuestion(case.target.tokens, case.target.counterfactual)) for case in cases)
    return [discover(opened, encoded, question, choice=CircuitSize(200)) for encoded, question in asked]


def largest_difference(opened: OpenModel, cases: tuple[Case, ...]) -> float:
    sums = [alone(opened, case) for case in cases]
    means = (sum(site) / len(cases) for site in zip(*sums, strict=True))
    found = finished(multi_prompt.collapsed(opened, cases))
    return max(float((one - mean).abs().max()) for one, mean in zip(found, means, strict=True))


def alone(opened: OpenModel, case: Case) -> list[Tensor]:
    """The attribution of one prompt, summed over its positions but the first: `[width]` per site."""
    target, other = case.wanted
    ids = torch.tensor([case.ids])
    found = attribute(opened.model, opened.anatomy, ids, lambda logits: logits[0, target] - logits[0, other])
    return [site.relevance[1:].sum(0) for site in found.sites]


if __name__ == "__main__":
    main()
