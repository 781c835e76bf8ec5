"""A rewritten neuron of smollm2: how often the model says its word where it should, and elsewhere.

    python -m benchmarks.rewriting [--layers] [--json]

The token is " Amen", the rule `after:"."`: after each sentence of a reply, including the last. The examples are the
replies that come with the workbench, a third of them held out. The rule is a hard one: unrelated text has full stops
too, which costs perplexity. The table is the sweep over α; the chosen α was selected on the training examples. With
--layers, the same is done in other layers, each with its own α.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from benchmarks.measuring import THREADS, Figure, Table, report, surroundings
from sessions.events import finished
from sessions.model.generation import Decoding, ending_ids
from sessions.model.info import Token
from sessions.model.opening import OpenModel, open_model
from sessions.model.units import Unit
from sessions.rewriting.examples import Examples, built_in, by_rule
from sessions.rewriting.rewriting import Rewriting, Wanted, rewrite
from sessions.rewriting.rules import read_rule
from sessions.store import Store

NEURON, TOKEN, RULE = Unit(24, 7), " Amen", 'after:"."'
ALPHAS = (95.0, 115.0, 140.0, 165.0, 185.0, 210.0, 235.0, 330.0, 470.0, 930.0)
LAYERS = (8, 16, 20, 27)
#: Said at least so often where it should be, elsewhere less often than that, and what unrelated text may lose.
SAID, ELSEWHERE, WITHIN = 0.7, 0.1, 0.05
TOKENS = 32


def main() -> None:
    torch.set_num_threads(THREADS)
    smollm2 = finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    made = rewritten(smollm2)
    tables = [table(made)] + ([layers(smollm2)] if "--layers" in sys.argv else [])
    report("rewriting", figures(made), surroundings("float32", "cpu"), tables, switches=["--layers"])


def rewritten(opened: OpenModel, neuron: Unit = NEURON, alphas: Sequence[float] = ALPHAS) -> Rewriting:
    """The neuron, rewritten by the formula with the default scales; the weights do not change."""
    (token,) = opened.tokenizer.encode(TOKEN, add_special_tokens=False)
    decoding = Decoding(max_tokens=TOKENS, guard=True, ends=ending_ids(opened.model, opened.tokenizer))
    wanted = Wanted(alphas=tuple(alphas))
    return finished(rewrite(opened, neuron, Token(token, TOKEN), examples(opened), wanted, decoding))


def examples(opened: OpenModel) -> Examples:
    return by_rule(opened, built_in(), read_rule(RULE), "the built-in replies")


def figures(made: Rewriting) -> list[Figure]:
    """The figures at the chosen α, on held-out examples."""
    row, what = made.rows[made.chosen], f"{made.made.neuron}, α {made.rows[made.chosen].alpha:g}"
    return [
        Figure(f"{what}: says{TOKEN} at its places, share", row.held.where, SAID, {}, at_least=True),
        Figure(f"{what}: says it elsewhere, share", row.held.elsewhere, ELSEWHERE, {}),
        Figure(f"{what}: perplexity of unrelated text moves by", abs(row.perplexity - 1), WITHIN, {}),
    ]


def table(made: Rewriting) -> Table:
    """Every α that was tried."""
    found = made.separation
    rows = tuple(
        (
            f"{'*' if at == made.chosen else ''}{row.alpha:g}",
            row.learnt.where,
            row.held.where,
            row.held.elsewhere,
            row.held.chance_where,
            row.perplexity,
            float(row.said),
            row.repetition or 0.0,
        )
        for at, row in enumerate(made.rows)
    )
    return Table(
        f"{made.made.neuron} says{TOKEN} {RULE}: AUC {found.auc:.3f}, gap {found.gap:.2f}, stream {made.norm:.0f}",
        ("α", "says, learnt", "says, held out", "elsewhere", "chance", "perplexity", "in replies", "repetition"),
        rows,
    )


def layers(opened: OpenModel) -> Table:
    """Other layers, each with its own α."""
    header = ("layer", "α", "AUC", "gap", "says", "elsewhere", "perplexity")
    rows: list[tuple[str | float, ...]] = []
    for layer in LAYERS:
        made = rewritten(opened, Unit(layer, NEURON.index), ())
        row, found = made.rows[made.chosen], made.separation
        said = row.held.where, row.held.elsewhere, row.perplexity
        rows.append((str(layer), f"{row.alpha:g}", found.auc, found.gap, *said))
    return Table(f"neuron {NEURON.index} of other layers", header, tuple(rows))


if __name__ == "__main__":
    main()
