"""A grid of patched states, against patching one cell after the other.

    python -m benchmarks.patching [--json]

The grid is every layer and position of the reference prompt on smollm2, into a corrupt prompt that differs from its
second token on, so that no cell but the first column is alike in both. One by one, each cell is a whole forward pass
with a hook; its seconds are those of one such pass, times the cells. Some cells are compared with such passes.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter

import torch
from torch import Tensor

from benchmarks.measuring import THREADS, Figure, in_turns, report, surroundings
from sessions.events import finished
from sessions.model.hooks import on_states
from sessions.model.info import Token
from sessions.model.logits import only_target
from sessions.model.opening import OpenModel, open_model
from sessions.model.target import Target
from sessions.model.tokens import last_positions
from sessions.patching.patches import Patch, PatchSite, Piece, SiteAt
from sessions.patching.replaying import Replay, recorded
from sessions.store import Store
from tests.reference import AUSTIN

TARGET = Target(tokens=(Token(AUSTIN.target_id, ""),), counterfactual=Token(AUSTIN.counterfactual_id, ""))
CLEAN = tuple(AUSTIN.ids)
#: Another second token, as common as the first one.
CORRUPT = (CLEAN[0], CLEAN[2], *CLEAN[2:])
SITES: tuple[PatchSite, ...] = ("resid_pre", "mlp_out", "attn_out")
#: Every how many cells one is compared.
COMPARED = 61


def main() -> None:
    torch.set_num_threads(THREADS)
    smollm2 = finished(open_model("smollm2", models=Store().models, dtype="float32", device="cpu"))
    report("patching", figures(smollm2), surroundings("float32", "cpu"))


def figures(opened: OpenModel) -> list[Figure]:
    """The cost of a grid at each site, and its accuracy."""
    made: list[Figure] = []
    for site in SITES:
        patches = cells(opened, site)
        seconds = in_turns(5, cell=partial(one_by_one, opened, patches[len(patches) // 2]))
        start = perf_counter()  # once: hundreds of passes are their own average
        values = grid(opened, site)
        seconds["grid"] = perf_counter() - start
        ratio = seconds["grid"] / (seconds["cell"] * len(patches))
        shape = f"{opened.anatomy.n_layers} × {len(CLEAN)}"
        made.append(Figure(f"grid of {shape} {site} / one by one", ratio, 0.55, seconds))
        error = max(
            abs(value - one_by_one(opened, patch))
            for value, patch in list(zip(values, patches, strict=True))[::COMPARED]
        )
        made.append(Figure(f"largest difference of {site} to one by one, logits", error, 1e-4, {}))
    return made


def cells(opened: OpenModel, site: PatchSite) -> list[Patch]:
    """One patch for each layer and position."""
    layers = range(opened.anatomy.n_layers)
    return [(Piece(SiteAt(site, layer), position),) for layer in layers for position in range(len(CLEAN))]


def grid(opened: OpenModel, site: PatchSite) -> list[float]:
    """The target in the corrupt prompt with each cell patched; the two prompts are recorded first."""
    sites = [SiteAt(site, layer) for layer in range(opened.anatomy.n_layers)]
    base, source = (recorded(opened, ids, TARGET, sites) for ids in (CORRUPT, CLEAN))
    patches = cells(opened, site)
    values = [0.0] * len(patches)
    for numbers, some in Replay(opened, base, source, TARGET).values(patches):
        for number, value in zip(numbers, some, strict=True):
            values[number] = value
    return values


_CLEAN: dict[SiteAt, Tensor] = {}


@torch.inference_mode()
def one_by_one(opened: OpenModel, patch: Patch) -> float:
    """The target with one cell patched, by a hook in a whole pass."""
    (piece,) = patch
    if piece.at not in _CLEAN:
        _CLEAN[piece.at] = recorded(opened, CLEAN, TARGET, [piece.at]).states[piece.at][:, 0]
    state = _CLEAN[piece.at][piece.position]

    def change(states: Tensor) -> Tensor:
        changed = states.clone()
        changed[:, piece.position] = state
        return changed

    ids = torch.tensor([CORRUPT])
    hook = on_states(opened.anatomy, piece.layer, piece.at.site, change)  # type: ignore[arg-type]
    with hook, only_target(opened.anatomy, TARGET) as read:
        out = opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(1, ids))
        return float(read(out.logits))


if __name__ == "__main__":
    main()
