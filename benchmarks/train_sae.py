"""Trains small sparse autoencoders on a model's residual stream, and measures them on held-out texts.

    python -m benchmarks.train_sae [--json] [--keep]
    python -m benchmarks.train_sae --example        # trains the one of `run patchscope` again

Two are trained on the residual stream of smollm2 after its middle layer, over Python's own manual (which comes with
every Python). One keeps the k largest features (Gao et al. 2024). The other has an L1 penalty on what each feature
writes (Bricken et al. 2023, with the decoder's norms in the penalty as in Anthropic's update of April 2024). The
optimiser is Adam; decoder rows have length 1; features are initialised with states drawn from the data; states are
scaled to a variance of d, a factor that is folded into the weights at the end. The first position of a text, an
outlier, is left out.

With --keep they are written to the home folder as SAELens folders, saes/smollm2-L15-topk and saes/smollm2-L15-standard.
The example's autoencoder is smaller, in float16, trained on the stream before layer 8 and also on the built-in
paragraphs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from pydoc_data.topics import topics
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.measuring import THREADS, Figure, Table, report, surroundings
from sessions.directions import sae_files
from sessions.directions.features import AutoencoderAbout, Which
from sessions.directions.sae import Autoencoder
from sessions.events import finished
from sessions.model.hooks import StateSite, on_states
from sessions.model.opening import OpenModel, open_model
from sessions.model.rows import padded_rows
from sessions.model.tokens import last_positions
from sessions.store import Store
from sessions.texts.corpus import Corpus

LAYER = 15
SIZE, ACTIVE = 2048, 32
WINDOW, TOKENS = 128, 24_000
#: Weight of the L1 penalty.
PENALTY = 2.0
KEEP, OF_EXAMPLE = "--keep", "--example"
#: The one that the example has: where it is, its size, and the place it is for.
EXAMPLE = Path(__file__).parents[1] / "commands" / "examples" / "smollm2-sae"
EXAMPLE_SIZE, EXAMPLE_ACTIVE, EXAMPLE_LAYER = 192, 16, 8


def main() -> None:
    torch.set_num_threads(THREADS)
    store = Store()
    smollm2 = finished(open_model("smollm2", models=store.models, dtype="float32", device="cpu"))
    if OF_EXAMPLE in sys.argv:
        make_example(smollm2)
        return
    with TemporaryDirectory() as away:
        folder = store.home / "saes" if KEEP in sys.argv else Path(away)
        title, (figures, table) = "sparse autoencoders", measured(smollm2, folder)
        report(title, figures, surroundings("float32", "cpu"), [table], switches=[KEEP])


def make_example(opened: OpenModel) -> None:
    """Train the example's autoencoder and write it in float16, which is precise enough for its features."""
    ids = [id_ for text in Corpus("paragraphs").documents() for id_ in opened.tokenizer.encode(text)]
    length = WINDOW // 2
    own = [ids[at : at + length] for at in range(0, len(ids) - length + 1, length)]
    texts = windows(opened, length, TOKENS) + own
    known = states(opened, texts, EXAMPLE_LAYER, "resid_pre")
    made = trained(
        opened, known, EXAMPLE_LAYER, "topk", size=EXAMPLE_SIZE, k=EXAMPLE_ACTIVE, site="resid_pre", steps=1200
    )
    sae_files.write(made, EXAMPLE, force=True)
    weights = EXAMPLE / "sae_weights.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(weights).items()}, weights)
    missed, active = unexplained(finished(sae_files.read(Which(str(EXAMPLE)))), known)
    print(f"{EXAMPLE}: {missed:.2f} of the variance of its own texts unexplained, L0 {active:.1f}")


def measured(opened: OpenModel, folder: Path) -> tuple[list[Figure], Table]:
    """Train, write and read both kinds, and measure the unexplained variance on held-out texts."""
    start = perf_counter()
    seen, unseen = split(windows(opened, WINDOW, TOKENS))
    known, held_out = states(opened, seen, LAYER, "resid_post"), states(opened, unseen, LAYER, "resid_post")
    read = perf_counter() - start
    figures, rows = [], []
    for kind, limit in (("topk", 0.3), ("standard", 0.45)):
        start = perf_counter()
        made = trained(opened, known, LAYER, kind, size=SIZE, k=ACTIVE)
        seconds = {"reading": read, "training": perf_counter() - start}
        path = folder / f"{opened.info.name}-L{LAYER}-{kind}"
        sae_files.write(made, path, force=True)
        again = finished(sae_files.read(Which(str(path))))
        missed, active = unexplained(again, held_out)
        alive = float((again.encode(known) > 0).any(0).float().mean())
        figures.append(Figure(f"{kind}: variance unexplained on held-out texts", missed, limit, seconds))
        rows.append((kind, missed, unexplained(again, known)[0], active, alive))
    header = ("architecture", "unexplained", "on its own texts", "L0", "features that fire")
    return figures, Table(
        f"{SIZE:,} features, layer {LAYER}, {len(known):,} states, {len(held_out):,} held out", header, tuple(rows)
    )


def windows(opened: OpenModel, length: int, tokens: int) -> list[list[int]]:
    """About `tokens` tokens of the manual, as texts of equal length."""
    found: list[list[int]] = []
    for name in sorted(topics):
        ids = opened.tokenizer.encode(topics[name], add_special_tokens=False)
        found += [ids[at : at + length] for at in range(0, len(ids) - length + 1, length)]
        if len(found) * length >= tokens:
            break
    return found[: tokens // length]


def split(texts: Sequence[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Texts to train on, and the last tenth, from other parts of the manual, to measure on."""
    cut = len(texts) - max(1, len(texts) // 10)
    return list(texts[:cut]), list(texts[cut:])


class _Enough(Exception):
    """Raised in a hook to end a pass once the site has been read."""


@torch.inference_mode()
def states(opened: OpenModel, texts: Sequence[list[int]], layer: int, site: StateSite, batch: int = 16) -> Tensor:
    """The states of a site at all positions but the first of texts of equal length, `[n, d]` in float32.

    Each pass ends at the site: later layers are not computed.
    """
    found: list[Tensor] = []

    def keep(values: Tensor) -> Tensor:
        apart = values.reshape(-1, len(texts[0]), values.shape[-1])
        found.append(apart[:, 1:].reshape(-1, values.shape[-1]).float().cpu())
        raise _Enough

    with on_states(opened.anatomy, layer, site, keep):
        for at in range(0, len(texts), batch):
            with suppress(_Enough), padded_rows(opened, texts[at : at + batch]) as ids:
                opened.model(input_ids=ids, use_cache=False, logits_to_keep=last_positions(1, ids))
    return torch.cat(found)


def trained(
    opened: OpenModel,
    known: Tensor,
    layer: int,
    kind: str,
    *,
    size: int,
    k: int,
    steps: int = 400,
    batch: int = 512,
    rate: float = 2e-3,
    site: StateSite = "resid_post",
    seed: int = 0,
) -> Autoencoder:
    """An autoencoder of `size` features trained on states `[n, d]`; `kind` is "topk" or "standard"."""
    draw = torch.Generator().manual_seed(seed)
    width = known.shape[1]
    factor = float((width / (known - known.mean(0)).square().sum(-1).mean()) ** 0.5)
    scaled = known * factor
    centre = scaled.mean(0)
    rows = normalize(scaled[torch.randint(len(scaled), (size,), generator=draw)] - centre, dim=-1)
    rows = normalize(rows + 0.1 * torch.randn(size, width, generator=draw) / width**0.5, dim=-1)
    decoder, bias = rows.clone().requires_grad_(), centre.clone().requires_grad_()
    encoder, encoder_bias = rows.T.clone().requires_grad_(), torch.zeros(size, requires_grad=True)
    about = AutoencoderAbout(
        source="", architecture=kind, layer=layer, site=site, size=size, width=width, k=k if kind == "topk" else 0,
        model=opened.info.name, fingerprint=opened.info.fingerprint,
    )  # fmt: skip
    made = Autoencoder(about, encoder, encoder_bias, decoder, bias)
    with torch.no_grad():  # the features begin as many and alike, and would say too much together
        some = scaled[:batch]
        said = made.decode(made.encode(some), some) - centre
        encoder.mul_(((some - centre) * said).sum() / said.square().sum())
    learning = torch.optim.Adam([encoder, encoder_bias, decoder, bias], lr=rate, betas=(0.9, 0.99))
    for step in range(steps):
        part = scaled[torch.randint(len(scaled), (batch,), generator=draw)]
        for group in learning.param_groups:  # up for a tenth of the way, down over the last third
            group["lr"] = rate * min(1.0, 10 * (step + 1) / steps, 3 * (steps - step) / steps)
        activations = made.encode(part)
        loss = (made.decode(activations, part) - part).square().sum(-1).mean()
        if kind == "standard":
            loss = loss + PENALTY * min(1.0, 5 * step / steps) * (activations @ decoder.norm(dim=-1)).mean()
        learning.zero_grad()
        loss.backward()
        learning.step()
        with torch.no_grad():
            decoder.copy_(normalize(decoder, dim=-1))
    # Back in the units of the states, decoder rows of length 1.
    return Autoencoder(
        about, encoder.detach(), encoder_bias.detach() / factor, decoder.detach(), bias.detach() / factor
    )


@torch.inference_mode()
def unexplained(sae: Autoencoder, held_out: Tensor) -> tuple[float, float]:
    """The unexplained share of the variance of states `[n, d]`, and the mean number of active features (L0)."""
    activations = sae.encode(held_out)
    missed = (sae.decode(activations, held_out) - held_out).square().sum()
    whole = (held_out - held_out.mean(0)).square().sum()
    return float(missed / whole), float((activations > 0).sum(-1).float().mean())


if __name__ == "__main__":
    main()
