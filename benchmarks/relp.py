"""How well attributions estimate activation patching: the comparison of RelP (Jafari et al. 2025, arXiv:2508.21258).

    python -m benchmarks.relp [--json] [--pairs N]

In the clean prompt of an indirect-object pair, the state at one layer and position is replaced by that of the corrupt
prompt. The effect on the target, the difference of two logits, is measured by running the model (activation patching)
and estimated from one backward pass over the clean prompt:

    (state in the corrupt prompt − state in the clean one) · ∂ target / ∂ state

The derivative is the model's own (attribution patching), or that of the network which the rules of relevance
propagation make linear (RelP), with attention patterns frozen or with their own gradient. A figure is Pearson's
correlation of estimates and effects over all layers and positions, each a mean over the pairs, as the paper has it. The
table has it too over the cells of all pairs one by one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from benchmarks.measuring import THREADS, Figure, Table, report, surroundings
from benchmarks.tasks import SPLITS, pairs
from sessions.circuits.cases import Case, resolve_targets
from sessions.circuits.mean_effects import differences
from sessions.circuits.rules import Attention, half, linearised, takes_half
from sessions.events import finished
from sessions.model.hooks import after, on_neurons, on_states, together
from sessions.model.opening import OpenModel, open_model
from sessions.model.rows import padded_rows
from sessions.model.tokens import last_positions
from sessions.patching.grids import Grid, fill, plan
from sessions.patching.patches import PatchSite
from sessions.store import Store

MODELS = ("smollm2", "gemma3-270m")
SITES: tuple[PatchSite, ...] = ("resid_pre", "attn_out", "mlp_out")
#: The estimates: the attention rule of the linearised network, or None for the model's own derivative.
ESTIMATES: dict[str, Attention | None] = {
    "relp, gradient attention": "gradient",
    "relp, frozen attention": "frozen",
    "gradient × activation": None,
}
#: Pairs of one backward pass.
AT_ONCE = 10


def main() -> None:
    torch.set_num_threads(THREADS)
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--pairs", type=int, default=100)
    options, sys.argv[1:] = parser.parse_known_args()
    records = [record for split in SPLITS for record in pairs("ioi", split, options.pairs // len(SPLITS))]
    figures, rows = [], []
    for name in MODELS:
        opened = finished(open_model(name, models=Store().models, dtype="float32", device="cpu"))
        for site in SITES:
            for estimate, over_cells, over_all in correlations(
                opened, finished(resolve_targets(opened, records)), site
            ):
                rows.append((name, site, estimate, over_cells, over_all))
                if estimate.startswith("relp"):
                    figures.append(Figure(f"{name}, {site}: {estimate}", over_cells, 0.95, {}, at_least=True))
    table = Table("Pearson correlation with patching", ("model", "site", "estimate", "means", "all cells"), tuple(rows))
    report("relp", figures, surroundings("float32", "cpu") | {"pairs": str(len(records))}, [table])


def correlations(opened: OpenModel, cases: Sequence[Case], site: PatchSite) -> Iterator[tuple[str, float, float]]:
    """Each estimate with its correlations at one site: over the means of the pairs, and over all their cells."""
    exact = effects(opened, cases, site)
    for name, attention in ESTIMATES.items():
        parts = [cases[first : first + AT_ONCE] for first in range(0, len(cases), AT_ONCE)]
        found = torch.cat([estimated(opened, part, site, attention) for part in parts])
        yield name, pearson(found.mean(0), exact.mean(0)), pearson(found, exact)


def effects(opened: OpenModel, cases: Sequence[Case], site: PatchSite) -> Tensor:
    """The exact effect of each state, `[pairs, layers, seq]`: the target with it patched minus the target."""
    layers, length = range(opened.anatomy.n_layers), len(cases[0].ids)
    chosen = plan(opened, site, layers, range(length))
    grid = Grid(len(cases), len(chosen.cells))
    finished(fill(opened, cases, chosen, "noise", grid))
    return (grid.values - grid.base[:, None]).reshape(len(cases), len(layers), length)


def estimated(opened: OpenModel, cases: Sequence[Case], site: PatchSite, attention: Attention | None) -> Tensor:
    """The estimate of each effect, `[pairs, layers, seq]`."""
    texts = [case.corrupt.ids for case in cases if case.corrupt is not None]
    with torch.no_grad():
        other, _ = states(opened, cases, texts, site)
    with torch.enable_grad(), ExitStack() as stack:
        if attention is not None:
            stack.enter_context(linearised(opened.model, opened.anatomy, attention))
            for _, each in opened.anatomy.unit_sites():
                if takes_half(each):
                    stack.enter_context(on_neurons(each, lambda values, _: half(values)))
        own, target = states(opened, cases, [case.ids for case in cases], site)
        gradients = torch.autograd.grad(target.sum(), own)
    moved = [(there - here).detach() for there, here in zip(other, own, strict=True)]
    return torch.stack([(move * by).sum(-1) for move, by in zip(moved, gradients, strict=True)], dim=1).double()


def states(
    opened: OpenModel, cases: Sequence[Case], texts: Sequence[Sequence[int]], site: PatchSite
) -> tuple[list[Tensor], Tensor]:
    """The state of each layer in some texts, `[texts, seq, d_model]`, and the targets of the cases, `[texts]`."""
    anatomy, seen = opened.anatomy, list[Tensor]()

    def keep(values: Tensor) -> Tensor:
        seen.append(values)
        return values

    def leaf(_: Tensor, output: Tensor) -> Tensor:
        return output.detach().requires_grad_() if torch.is_grad_enabled() else output

    hooks = [on_states(anatomy, layer, site, keep) for layer in range(anatomy.n_layers)]  # type: ignore[arg-type]
    hooks += [after(embedding, leaf) for embedding in anatomy.embeddings]
    wanted, lengths = torch.tensor([case.wanted for case in cases]), list(map(len, texts))
    with together(hooks), padded_rows(opened, texts) as ids, differences(anatomy, lengths, wanted) as read:
        out = opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(ids.shape[1], ids))
        return seen, read(out.logits)


def pearson(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


if __name__ == "__main__":
    main()
