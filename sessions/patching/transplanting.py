"""Transplanting: the effect of a state in another text, compared with the unchanged text and with a random state.

The three are rows of one batch: the unchanged text, the text with the state injected, and with a random vector of the
same norm. The last shows what any injection would do (the control of Ghandeharioun et al. 2024, arXiv:2401.06102,
section 4). At the place itself neurons are read in all of them, and in the text that the state came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from sessions.cancel import Cancel
from sessions.directions.findings import Origin
from sessions.directions.vector import Vector, check_origin, check_site, cosine, length
from sessions.errors import ArtifactError, UsageError
from sessions.events import Progress, Steps
from sessions.interventions.answering import ConditionedPrompt, running_rows
from sessions.interventions.arms import Condition
from sessions.interventions.intervention import Intervention
from sessions.model.finite import not_finite
from sessions.model.hooks import StateSite, watched
from sessions.model.info import Encoded, Prompt, same_model
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.tokens import token_text
from sessions.model.units import Unit
from sessions.patching.injecting import Injection, Seen, injected, random_like, seen_at
from sessions.patching.reaching import reaches, reaches_below
from sessions.patching.transplants import Observed, Placed

#: How many neurons are read by default: in the first layer that reads the state, and in each layer after it.
FIRST, LATER, LAYERS = 4, 1, 4


@torch.inference_mode()
def passed(
    opened: OpenModel,
    prompt: ConditionedPrompt,
    rows: Sequence[Sequence[Injection]],
    positions: Sequence[int],
    *,
    states: Sequence[tuple[int, StateSite]] = (),
    neurons: Sequence[int] = (),
    inputs: bool = False,
    logits_at: int = -1,
    start: int = 0,
    past: Any = None,
    cancel: Cancel | None = None,
) -> tuple[Seen, Tensor]:
    """One pass over a text, a row for each set of injections.

    With `past`, the keys and values of the tokens before `start` for each row, only tokens from `start` on are
    computed, and nothing can be injected or read before it.

    Returns the values at `positions` (see `seen_at`), and the logits after the token at `logits_at`, `[rows, vocab]`.
    """
    encoded, _ = prompt
    ids = torch.tensor([encoded.ids[start:]] * len(rows), device=opened.device)
    last = logits_at % len(encoded.ids) - start
    columns = [position - start for position in positions]
    later = {}
    if past is not None:
        where = torch.arange(start, len(encoded.ids), device=ids.device)[None].expand(len(rows), -1)
        later = {"past_key_values": past, "position_ids": where}
    with (
        watched(opened.anatomy, cancel),
        injected(opened.anatomy, rows),
        running_rows(opened, [prompt] * len(rows)),
        seen_at(opened.anatomy, len(rows), columns, states=states, neurons=neurons, inputs=inputs) as seen,
    ):
        logits = opened.model(
            input_ids=ids, use_cache=past is not None, logits_to_keep=slice(last, last + 1), **later
        ).logits
    return seen, logits[:, -1].float()


def captured(
    opened: OpenModel,
    prompt: ConditionedPrompt,
    position: int,
    layer: int,
    site: StateSite,
    *,
    neuron: str = "",
    suppressed: str = "",
    cancel: Cancel | None = None,
) -> Vector:
    """The state that a site of a layer holds at a position of a text.

    Args:
        neuron: the neuron that the place was chosen for.
        suppressed: the key of what is suppressed.

    Raises:
        ModelError: the layer has no such site.
        NotFinite: the state is not finite; the message says where that begins.
    """
    encoded, _ = prompt
    seen, _ = passed(opened, prompt, [()], [position], states=[(layer, site)], cancel=cancel)
    state = seen.states[layer, site][0, 0]
    if not bool(state.isfinite().all()):
        with running_rows(opened, [prompt]):
            raise not_finite(opened, [encoded.ids], f"what layer {layer} holds at {site}")
    origin = Origin(
        text=encoded.text,
        ids=encoded.ids,
        position=position,
        token=token_text(opened.tokenizer, encoded.ids[position]),
        neuron=neuron,
        under=suppressed,
    )
    info = opened.info
    return Vector(site, {layer: state}, 1, 0, info.family, origin, model=info.name, fingerprint=info.fingerprint)


def source_of(anatomy: Anatomy, origin: Origin, treatments: tuple[Intervention, ...] = ()) -> ConditionedPrompt:
    """The text that a state was captured in, to be read again under the same conditions.

    Raises:
        ArtifactError: it has a token or a length, or is for a neuron, that this model does not have.
    """
    check_origin(origin, anatomy)
    text = Encoded(
        prompt=Prompt(text=origin.text, chat=False),
        text=origin.text,
        ids=origin.ids,
        tokens=(),
        bos=0,
        templated=False,
        reply=len(origin.ids),
    )
    return text, Condition("source", treatments)


@dataclass(frozen=True, eq=False)
class Transplant:
    """A vector and its place in the text: layer and position."""

    vector: Vector
    state: Tensor
    layer: int
    site: StateSite
    position: int
    adds: bool = False

    @classmethod
    def of(
        cls,
        anatomy: Anatomy,
        vector: Vector,
        position: int,
        *,
        layer: int | None = None,
        site: StateSite | None = None,
        scale: float = 1.0,
        adds: bool = False,
    ) -> Self:
        """A vector for a position of a text, at its own layer and site unless others are given.

        Raises:
            UsageError: it is not a state, or it has several layers and none is given.
            ArtifactError: its width is not that of the model's states.
            ModelError: the model has no such site.
        """
        where = site or vector.site
        if vector.site == "neurons" or where == "neurons":
            raise UsageError(
                f"vector '{vector.name}' is over the neurons of a layer, and a state is one of the residual stream",
                f"shift adds to neurons; capture {vector.name} at a state",
            )
        own = vector.layers[0] if len(vector.layers) == 1 else layer
        if own is None or own not in vector.directions:
            raise UsageError(
                f"vector '{vector.name}' has {len(vector.layers)} layers, {vector.layers[0]} to {vector.layers[-1]}",
                "say which: --layer N",
            )
        into = own if layer is None else layer
        anatomy.check_layer(into)
        check_site(anatomy, where, into)
        state = vector.directions[own]
        if len(state) != anatomy.d_model:
            raise ArtifactError(
                f"vector '{vector.name}' has {len(state):,} numbers, and this model's states have {anatomy.d_model:,}",
                "open the model it was made on",
            )
        return cls(vector, state * scale, into, where, position, adds)

    def mapped(self, token: str, reaches_below: int) -> Placed:
        """Its place, at `token`, in a map over all layers; the state there differs from layer to layer."""
        return Placed(
            name=self.vector.name,
            position=self.position,
            token=token,
            layer=self.vector.layers[0],
            site=self.site,
            norm=float(self.state.norm()),
            replaced=0.0,
            cosine=None,
            came_from="" if self.vector.origin is None else self.vector.origin.token,
            reaches=reaches_below > 0,
            reaches_below=reaches_below,
        )

    def injection(self, state: Tensor, inputs: dict[int, Tensor]) -> Injection:
        return Injection(self.layer, self.site, self.position, state, self.adds, inputs)


@dataclass(frozen=True, eq=False)
class InjectionPlan:
    """The injections of each row (unchanged, injected, random), and what was measured at the places."""

    rows: tuple[tuple[Injection, ...], ...]
    placed: tuple[Placed, ...]
    observed: tuple[Observed, ...]


def transplanted(
    opened: OpenModel,
    prompt: ConditionedPrompt,
    transplants: Sequence[Transplant],
    *,
    observe: Sequence[Unit] = (),
    inputs: bool = False,
    rng: int = 0,
    cancel: Cancel | None = None,
) -> Steps[InjectionPlan]:
    """What these transplants do at their places, and the rows to generate with.

    Args:
        observe: neurons to read at each place; by default the most active ones in the source.
        inputs: swap the per-layer embeddings of the position as well.
        rng: seed of the random vectors.

    Raises:
        ArtifactError: per-layer embeddings are requested for a vector that was not captured.
    """
    condition = prompt[1]
    anatomy, positions = opened.anatomy, [transplant.position for transplant in transplants]
    places = [(transplant.layer, transplant.site) for transplant in transplants]
    yield Progress("reading the sources")
    sources = [_read_source(opened, transplant, condition.treatments, inputs, cancel) for transplant in transplants]
    plain, _ = passed(opened, prompt, [()], positions, states=places, cancel=cancel)
    rows, placed = [], []
    for number, (one, source) in enumerate(zip(transplants, sources, strict=True)):
        swapped = {} if not inputs or source is None else above(source.inputs, one.layer, one.site)
        random = random_like(one.state, rng + number)
        rows.append((one.injection(one.state, swapped), one.injection(random, swapped)))
        there = plain.states[one.layer, one.site][0, number]
        yield Progress("testing what the positions can reach", number, len(transplants), "places")
        placed.append(_placed(opened, prompt, one, there, cancel))
    batch: list[tuple[Injection, ...]] = [(), *zip(*rows, strict=True)]
    yield Progress("reading the neurons")
    watched_for = [
        (neuron, number)
        for number, (one, source) in enumerate(zip(transplants, sources, strict=True))
        for neuron in (observe or _strongest(anatomy, one, source))
    ]
    layers = sorted({neuron.layer for neuron, _ in watched_for})
    seen, _ = passed(opened, prompt, batch, positions, neurons=layers, cancel=cancel)
    if not all(bool(values.isfinite().all()) for values in seen.neurons.values()):
        with injected(anatomy, batch), running_rows(opened, [prompt] * len(batch)):
            texts, names = (
                [prompt[0].ids] * len(batch),
                ("the text as it is", "the text injected", "the random control"),
            )
            raise not_finite(opened, texts, "a neuron's activation", names)
    observed = []
    for neuron, place in watched_for:
        source = sources[place]
        activations = seen.neurons[neuron.layer][:, place, neuron.index].tolist()
        observed.append(
            Observed(
                neuron=Unit(*neuron.site),
                place=place,
                source=None if source is None else float(source.neurons[neuron.layer][0, 0, neuron.index]),
                without=activations[0],
                injected=activations[1],
                random=activations[2],
            )
        )
    return InjectionPlan(tuple(batch), tuple(placed), tuple(observed))


def _read_source(
    opened: OpenModel, transplant: Transplant, treatments: tuple[Intervention, ...], inputs: bool, cancel: Cancel | None
) -> Seen | None:
    """All neurons at the place where the vector was captured, and its per-layer embeddings if requested."""
    origin = transplant.vector.origin
    if origin is None or not same_model(transplant.vector.fingerprint, opened.info.fingerprint):
        if inputs:
            raise ArtifactError(
                f"vector '{transplant.vector.name}' was not captured in a text of this model",
                "capture it here, or leave out --per-layer-inputs",
            )
        return None
    layers = range(opened.anatomy.n_layers)
    source = source_of(opened.anatomy, origin, treatments)
    return passed(opened, source, [()], [origin.position], neurons=layers, inputs=inputs, cancel=cancel)[0]


def above(inputs: dict[int, Tensor], layer: int, site: StateSite) -> dict[int, Tensor]:
    """The per-layer embeddings that are read after a site; those below it would change what is injected into."""
    first = layer + (site == "resid_post")
    return {number: values[0, 0] for number, values in inputs.items() if number >= first}


def _placed(
    opened: OpenModel, prompt: ConditionedPrompt, transplant: Transplant, there: Tensor, cancel: Cancel | None
) -> Placed:
    vector, position = transplant.vector, transplant.position
    layer, site = transplant.layer, transplant.site
    reached = reaches(opened, prompt, layer, site, position, cancel)
    return Placed(
        name=vector.name,
        position=position,
        token=prompt[0].tokens[position],
        layer=layer,
        site=site,
        norm=length(transplant.state),
        replaced=length(there),
        cosine=cosine(transplant.state, there),
        came_from="" if vector.origin is None else vector.origin.token,
        reaches=reached,
        reaches_below=0 if reached else reaches_below(opened, prompt, site, position, layer, cancel),
    )


def remarks(anatomy: Anatomy, transplants: Sequence[Transplant], observe: Sequence[Unit], under: str) -> list[str]:
    """Remarks on the vectors and neurons of an injection. `under` is the session's key of what is suppressed and edited
    now."""
    notes = []
    for vector in {id(transplant.vector): transplant.vector for transplant in transplants}.values():
        if vector.origin is None:
            notes.append(f"'{vector.name}' was not captured in a text: there is no source to compare with")
        elif vector.origin.under != under:
            notes.append(f"'{vector.name}' was captured while other neurons were suppressed, or other edits on")
    notes += other_streams(anatomy, [transplant.site for transplant in transplants])
    if any(transplant.position == 0 for transplant in transplants):
        notes.append("position 0 begins the text: its state is unlike any other, and all later tokens attend to it")
    first = min(first_reader(transplant.layer, transplant.site) for transplant in transplants)
    below = next((neuron for neuron in observe if neuron.layer < first), None)
    if below is not None:
        notes.append(f"{below} is below layer {first}, where the injection changes nothing at this place")
    return notes


def other_streams(anatomy: Anatomy, sites: Sequence[str]) -> list[str]:
    """Remarks for models with several residual streams, of which a state is one."""
    count = anatomy.streams
    if count == 1 or not any(site.startswith("resid") for site in sites):
        return []
    others = "the other" if count == 2 else f"the {count - 1} others"
    return [
        f"this model has {count} residual streams: the state goes into the one that attention and MLPs read, and "
        f"{others} stay as they are"
    ]


def first_reader(layer: int, site: StateSite) -> int:
    """The first layer whose neurons read what was injected at a site."""
    return layer + (site in ("resid_post", "mlp_out"))


def _strongest(anatomy: Anatomy, transplant: Transplant, source: Seen | None) -> tuple[Unit, ...]:
    """The neuron that the state was captured for, and the most active ones in its source."""
    if source is None:
        return ()
    first = first_reader(transplant.layer, transplant.site)
    neurons = []
    origin = transplant.vector.origin
    if origin is not None and origin.neuron:
        neurons.append(Unit.parse(origin.neuron))
    for layer in range(first, min(first + LAYERS + 1, anatomy.n_layers)):
        values = source.neurons[layer][0, 0]
        best = values.abs().topk(min(FIRST if layer == first else LATER, len(values))).indices.tolist()
        neurons += [Unit(layer, index) for index in best]
    return tuple({neuron.site: Unit(*neuron.site) for neuron in neurons}.values())
