"""Discovery against one raw forward and backward pass, and against the reference implementation's numbers.

    python -m benchmarks.discover [--json]

The raw call is a forward pass with `logits_to_keep=1` and the gradient of one logit with respect to
the input embeddings, no parameter gradients: the least any attribution must do.
"""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.measuring import THREADS, Figure, in_turns, report, surroundings
from sessions.circuits.attributing import attribute
from sessions.circuits.discovery import AttributionOptions, Discovery, DiscoveryQuestion, Scope, discover
from sessions.circuits.pruning import CircuitSize
from sessions.circuits.rules import Attention
from sessions.events import finished
from sessions.model.info import Encoded, Prompt, Token
from sessions.model.opening import OpenModel, open_model
from sessions.model.tokens import encode
from sessions.model.units import Place
from sessions.store import Store
from tests.reference import AUSTIN

LENGTHS = {42: 15, 128: 9, 512: 5}


def main() -> None:
    torch.set_num_threads(THREADS)
    store = Store()
    smollm2 = finished(open_model("smollm2", models=store.models, dtype="float32", device="cpu"))
    gemma = finished(open_model("gemma3-270m", models=store.models, dtype="float32", device="cpu"))
    figures = [speed(smollm2, length, repeats) for length, repeats in LENGTHS.items()]
    figures += reference(smollm2)
    figures += [conservation(smollm2), conservation(gemma)]
    report("discover", figures, surroundings("float32", "cpu"))


def speed(opened: OpenModel, length: int, repeats: int) -> Figure:
    """Discovery (attribution, selection of 200, circuit built) over the raw call, on `length` tokens."""
    ids = (AUSTIN.ids * (length // len(AUSTIN.ids) + 1))[:length]
    encoded = Encoded(prompt=Prompt(text=""), text="", ids=ids, tokens=("",) * length, bos=1, templated=True)
    seconds = in_turns(
        repeats, raw=partial(raw_pass, opened, ids), discover=partial(found, opened, encoded, attention="frozen")
    )
    return Figure(f"discover / raw pass, {length} tokens", seconds["discover"] / seconds["raw"], 1.3, seconds)


def raw_pass(opened: OpenModel, ids: tuple[int, ...]) -> torch.Tensor:
    """Forward, and backward to the input embeddings."""
    model = opened.model
    embedded = model.get_input_embeddings()(torch.tensor([ids])).detach().requires_grad_()
    logits = model(inputs_embeds=embedded, use_cache=False, logits_to_keep=1).logits
    return torch.autograd.grad(logits[0, -1, AUSTIN.target_id], embedded)[0]


def found(opened: OpenModel, encoded: Encoded, attention: Attention) -> Discovery:
    """The circuit for the question of the reference file."""
    question = DiscoveryQuestion((Token(AUSTIN.target_id, " Austin"),), Token(AUSTIN.counterfactual_id, " Houston"))
    return discover(
        opened, encoded, question, choice=CircuitSize(200), scope=Scope(), how=AttributionOptions(attention=attention)
    )


def reference(opened: OpenModel) -> list[Figure]:
    """With attention gradients, as in the reference implementation: the same neurons, the same values."""
    prompt = Prompt(text=AUSTIN.prompt, seed=AUSTIN.seed)
    circuit = found(opened, encode(opened.tokenizer, prompt), "gradient").circuit
    ours: dict[Place, float] = {neuron.place: neuron.attribution or 0.0 for neuron in circuit.neurons}
    theirs: dict[Place, float] = {
        Place(layer, index, position): value for layer, position, index, value, _ in AUSTIN.top[:200]
    }
    shared = ours.keys() & theirs.keys()
    worst = max(abs(ours[place] - theirs[place]) / abs(theirs[place]) for place in shared)
    return [
        Figure("neurons of the reference's top 200 missing", 200 - len(shared), 0, {}),
        Figure("attribution, largest relative difference", worst, 1e-3, {}),
        Figure("logit difference, absolute difference", abs(circuit.target.value - AUSTIN.logit_diff), 1e-3, {}),
    ]


def conservation(opened: OpenModel) -> Figure:
    """With frozen attention, the relevance that reaches the embeddings equals the logit."""
    encoded = encode(opened.tokenizer, Prompt(text=AUSTIN.seed, chat=False))
    ids = torch.tensor([encoded.ids])
    attribution = attribute(opened.model, opened.anatomy, ids, lambda logits: logits[0].max())
    assert attribution.conservation is not None
    return Figure(f"conservation error, {opened.info.name}", attribution.conservation, 1e-5, {})


if __name__ == "__main__":
    main()
