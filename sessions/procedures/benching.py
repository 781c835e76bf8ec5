"""Measures what a machine does for a model: each piece of work beside the plain call that does the least of the same.

Times are medians, the piece and its plain call alternating, with the device waited for at both ends. The first run of
each is not counted: it compiles, allocates and reads files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.circuits.discovery import DiscoveryQuestion, discover
from sessions.circuits.pruning import CircuitSize
from sessions.circuits.verification import verify
from sessions.errors import Cancelled, UsageError, WorkbenchError
from sessions.events import Progress, Steps, finished
from sessions.model.generation import Decoding, generate
from sessions.model.hooks import watched
from sessions.model.info import Encoded, Prompt, Token
from sessions.model.opening import OpenModel
from sessions.model.target import Target
from sessions.model.units import Unit
from sessions.results import SpeedMeasured, SpeedRow
from sessions.training.findings import TrainingPlan
from sessions.training.learner import TrainingState, adapted
from sessions.training.losses import loss_of
from sessions.training.projections import modules_of
from sessions.training.samples import Lesson

#: Bytes that the copy moves out of and into memory: more than caches hold.
_COPIED = {"cpu": 2**27, "cuda": 2**30}
_GENERATE, _FORWARD = "transformers' generate", "a forward pass"
_BACK, _PEFT = "a pass and back", "the same by PEFT"

Run = Callable[[], object]


def measured(
    opened: OpenModel, *, tokens: int, written: int, effects: int, repeats: int, cancel: Cancel | None = None
) -> Steps[SpeedMeasured]:
    """Time prefill, decoding, discover, exact effects and a training step.

    Raises:
        UsageError: the text and what is generated exceed the model's positions.
    """
    context = opened.anatomy.context
    if context is not None and tokens + written > context:
        raise UsageError(
            f"{tokens + written:,} tokens are more than the {context:,} positions of the model",
            f"--tokens {max(context - written, 2)}",
        )
    clock = _Clock(opened, repeats)
    ids = text_of_length(opened, tokens)
    rows: list[SpeedRow] = []
    notes: list[str] = []
    steps: list[tuple[str, Callable[[], list[SpeedRow]]]] = [
        ("prefill and decoding", lambda: decoding(opened, clock, ids, written)),
        ("discover", lambda: [discovering(opened, clock, ids, cancel)]),
        ("exact effects", lambda: [verifying(opened, clock, ids, effects, cancel)]),
        ("a training step", lambda: [training(opened, clock, ids)]),
    ]
    for number, (name, step) in enumerate(steps):
        yield Progress(name, number, len(steps), "measurements")
        try:
            with watched(opened.anatomy, cancel):
                rows += step()
        except WorkbenchError as error:
            if isinstance(error, Cancelled):
                raise
            notes.append(f"{name} is not measured: {error.message}")
    bandwidth, read = copied(opened.device), weights_read(opened)
    decode = next((row.rate for row in rows if row.name == "decode"), 0.0)
    return SpeedMeasured(
        info=opened.info,
        rows=tuple(rows),
        bandwidth=bandwidth,
        read=read,
        share=decode * read / bandwidth,
        threads=torch.get_num_threads(),
        peak=torch.cuda.max_memory_allocated(opened.device) if opened.device.type == "cuda" else None,
        notes=tuple(notes),
    )


class _Clock:
    """Times work on the devices of a model."""

    def __init__(self, opened: OpenModel, repeats: int) -> None:
        self._cuda, self._repeats = opened.device.type == "cuda", repeats

    def seconds(self, run: Run, raw: Run) -> tuple[float, float]:
        """The median seconds of a piece of work, and of its plain call."""
        taken: tuple[list[float], list[float]] = ([], [])
        for number in range(self._repeats + 1):
            for times, work in zip(taken, (run, raw), strict=True):
                self._wait()
                start = perf_counter()
                work()
                self._wait()
                if number:
                    times.append(perf_counter() - start)
        return median(taken[0]), median(taken[1])

    def _wait(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()


def text_of_length(opened: OpenModel, tokens: int) -> tuple[int, ...]:
    """Ids that are no text: spread over the vocabulary, without those that end or pad a text."""
    special = set(opened.tokenizer.all_special_ids)
    known = [i for i in range(min(opened.anatomy.n_tokens, 50_000)) if i not in special]
    return tuple(known[7919 * place % len(known)] for place in range(1, tokens + 1))


def decoding(opened: OpenModel, clock: _Clock, ids: tuple[int, ...], written: int) -> list[SpeedRow]:
    """Reading the text, and each token that is written after it."""
    first, first_raw = clock.seconds(lambda: _written(opened, ids, 1), lambda: _forward(opened, ids))
    whole, whole_raw = clock.seconds(lambda: _written(opened, ids, written), lambda: _generated(opened, ids, written))
    each = max(whole - first, 1e-9) / (written - 1)
    each_raw = max(whole_raw - first_raw, 1e-9) / (written - 1)
    return [
        SpeedRow(
            name="prefill", seconds=first, rate=len(ids) / first, counted="tokens", raw=first_raw, against=_FORWARD
        ),
        SpeedRow(name="decode", seconds=each, rate=1 / each, counted="tokens", raw=each_raw, against=_GENERATE),
    ]


def _written(opened: OpenModel, ids: tuple[int, ...], count: int) -> None:
    finished(generate(opened.model, opened.tokenizer, [ids], Decoding(max_tokens=count)))


@torch.inference_mode()
def _forward(opened: OpenModel, ids: tuple[int, ...]) -> Tensor:
    logits: Tensor = opened.model(input_ids=_column(opened, ids), use_cache=True, logits_to_keep=1).logits
    return logits


def _generated(opened: OpenModel, ids: tuple[int, ...], count: int) -> object:
    row = _column(opened, ids)
    options = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False, "eos_token_id": None}
    pad = opened.tokenizer.pad_token_id
    return opened.model.generate(row, attention_mask=torch.ones_like(row), pad_token_id=pad, **options)


def _column(opened: OpenModel, ids: tuple[int, ...]) -> Tensor:
    return torch.tensor([ids], device=opened.device)


def discovering(opened: OpenModel, clock: _Clock, ids: tuple[int, ...], cancel: Cancel | None) -> SpeedRow:
    """Discovery of 200 neurons, against a pass and its gradient to the embeddings."""
    best, second = _likeliest(opened, ids)
    encoded = Encoded(prompt=Prompt(text=""), text="", ids=ids, tokens=("",) * len(ids), bos=0, templated=False)
    question = DiscoveryQuestion((Token(best, ""),), Token(second, ""))

    def raw() -> None:
        embedded = opened.model.get_input_embeddings()(_column(opened, ids)).detach().requires_grad_()
        logits = opened.model(inputs_embeds=embedded, use_cache=False, logits_to_keep=1).logits
        torch.autograd.grad(logits[0, -1, best], embedded)

    seconds, plain = clock.seconds(
        lambda: discover(opened, encoded, question, choice=CircuitSize(200), cancel=cancel), raw
    )
    return SpeedRow(
        name="discover",
        seconds=seconds,
        rate=len(ids) / seconds,
        counted="tokens",
        raw=plain,
        against=_BACK,
    )


def _likeliest(opened: OpenModel, ids: tuple[int, ...]) -> tuple[int, int]:
    best, second = _forward(opened, ids)[0, -1].topk(2).indices.tolist()
    return best, second


def verifying(opened: OpenModel, clock: _Clock, ids: tuple[int, ...], count: int, cancel: Cancel | None) -> SpeedRow:
    """Exact effects of neurons spread over layers and positions, against one forward pass."""
    layers = [layer for layer, width in enumerate(opened.anatomy.widths) if width]
    neurons = tuple(
        Unit(layer, place * 13 % opened.anatomy.widths[layer], place * 5 % len(ids))
        for place in range(count)
        for layer in [layers[place % len(layers)]]
    )
    target = Target(tokens=(Token(_likeliest(opened, ids)[0], ""),))
    seconds, raw = clock.seconds(
        lambda: finished(verify(opened, ids, neurons, target, cancel=cancel)), lambda: _forward(opened, ids)
    )
    return SpeedRow(
        name="exact effects", seconds=seconds, rate=count / seconds, counted="neurons", raw=raw, against=_FORWARD
    )


def training(opened: OpenModel, clock: _Clock, ids: tuple[int, ...]) -> SpeedRow:
    """A step of a round on one sample, against the same loss and its gradient by PEFT alone."""
    half = len(ids) // 2
    lesson = Lesson("bench", ids, half, (1.0,) * (len(ids) - half))
    with adapted(opened, TrainingPlan(modules=modules_of(opened.anatomy))) as learner:
        optimizer = torch.optim.AdamW(learner.weights.values(), lr=1e-6)
        state = TrainingState()

        def step() -> None:
            with learner.running((), state.absorbing, None):
                learner.gradients([lesson], state)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        def raw() -> None:
            with torch.enable_grad():
                loss_of(opened, lesson).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        with _gradients():
            seconds, plain = clock.seconds(step, raw)
    return SpeedRow(
        name="training step",
        seconds=seconds,
        rate=1 / seconds,
        counted="samples",
        raw=plain,
        against=_PEFT,
    )


@contextmanager
def _gradients() -> Iterator[None]:
    with torch.inference_mode(False), torch.enable_grad():
        yield


def copied(device: torch.device, repeats: int = 5) -> float:
    """Memory bandwidth, in bytes a second: what a copy reads and writes."""
    size = _COPIED.get(device.type, 2**27)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = perf_counter()
        target.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(perf_counter() - start)
    return 2 * size / min(times[1:])


def weights_read(opened: OpenModel) -> int:
    """Bytes of weights that one token reads: all but the embeddings, of which it reads a row, unless the head has them.

    In a mixture of experts a token reads some of them only, so this counts too many.
    """
    embedding = opened.model.get_input_embeddings().weight
    head = opened.model.get_output_embeddings()
    tied = head is not None and head.weight is embedding
    apart = 0 if tied else embedding.nbytes
    return sum(weight.nbytes for weight in opened.model.parameters()) - apart
