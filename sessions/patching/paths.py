"""Path patching: what one unit does to the target through another one, and through that one alone.

Patching a unit shows all that it does, by every path. Path patching keeps a single one (Wang et al. 2022,
arXiv:2211.00593, section 3; Goldowsky-Dill et al. 2023, arXiv:2304.05969):

1. The base and the other prompt run, and are recorded.
2. The base runs with the sender's activation of the other prompt. Everything else that could carry it is frozen: what
   every attention and MLP above the sender adds is held at the base. What reaches the receiver is what the sender
   itself adds to the residual stream, the direct path. What the receiver becomes is recorded. With the receiver
   `logits`, this run gives the target already.
3. The base runs again, with the receiver held at what it became, and all else is free to follow.

The receiver is a head or a neuron. A head can receive through one of its inputs alone, the query, the key or the value:
its output is then computed from that input of the second step and the base's other two.

Each sender is a row of a batch in both runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from sessions.cancel import Cancel
from sessions.circuits.verification import affordable
from sessions.errors import ModelError, NotFinite, UsageError
from sessions.memory import in_parts
from sessions.model.attending import AttentionFunction, attending
from sessions.model.hooks import together, watched
from sessions.model.logits import only_target
from sessions.model.opening import OpenModel
from sessions.model.parts import Anatomy
from sessions.model.target import Target
from sessions.model.tokens import last_positions
from sessions.model.units import Unit
from sessions.patching.patches import PatchSite, Piece, SiteAt
from sessions.patching.replaying import Recording, on_site, parts_of, put

Input = Literal["q", "k", "v"]
#: What a decoder layer adds to the residual stream.
_WRITES: tuple[PatchSite, ...] = ("attn_out", "mlp_out")


class Receiver(NamedTuple):
    """The end of a path: a head, by all its inputs or one of them, a neuron, or with no unit the logits."""

    unit: Unit | None
    through: Input | None = None

    @classmethod
    def parse(cls, text: str) -> Receiver:
        """The receiver written as `text`: `logits`, `L9/H6`, `L9/H6.q`, `L24/N1005`.

        Raises:
            UsageError: it is none of these.
        """
        if text == "logits":
            return cls(None)
        name, dot, end = text.partition(".")
        unit = Unit.parse(name)
        through: dict[str, Input] = {"q": "q", "k": "k", "v": "v"}
        if unit.kind == "expert" or unit.position is not None or (dot and (unit.kind != "head" or end not in through)):
            raise UsageError(
                f"'{text[:80]}' is no receiver", "write logits, a head L9/H6, one of its inputs L9/H6.q, or L24/N1005"
            )
        return cls(unit, through.get(end))

    def check(self, anatomy: Anatomy, senders: Sequence[Unit]) -> None:
        """Raise `UsageError` or `ModelError` unless the model has it, and all senders are below it."""
        if self.unit is None:
            return
        anatomy.coordinates(self.unit)
        above = next((unit for unit in senders if unit.layer - self._slack(unit) >= self.unit.layer), None)
        if above is not None:
            raise UsageError(f"{above} is not below {self.unit}, so no path leads there", "name a higher receiver")
        if self.through is not None and anatomy.heads_of(self.unit.layer).gated:
            raise ModelError(
                f"the heads of layer {self.unit.layer} are gated: an input of one cannot be taken apart",
                f"name all of the head: --to {self.unit}",
            )

    def _slack(self, sender: Unit) -> bool:
        """Whether it reads what the sender adds in its own layer: the MLP reads the attention."""
        return self.unit is not None and self.unit.kind == "neuron" and sender.kind == "head"


def site_of(unit: Unit) -> SiteAt:
    """The site that a neuron or a head is a part of."""
    return SiteAt("heads" if unit.kind == "head" else "neurons", unit.layer)


def path_sites(anatomy: Anatomy) -> tuple[SiteAt, ...]:
    """What is frozen, and so must be recorded of the base: all that layers add to the residual stream."""
    return tuple(SiteAt(site, layer) for layer in range(anatomy.n_layers) for site in _WRITES)


class Paths:
    """Paths from senders to one receiver.

    Args:
        base: the prompt that runs, recorded at `path_sites` and at the sites of the senders.
        other: the prompt that the senders' activations are taken from, recorded at their sites.
        batch: tokens computed at once.
    """

    def __init__(
        self,
        opened: OpenModel,
        base: Recording,
        other: Recording,
        receiver: Receiver,
        target: Target,
        *,
        batch: int | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        self._opened, self._base, self._other = opened, base, other
        self._receiver, self._target, self._cancel = receiver, target, cancel
        self._rows = max(1, (batch or affordable(opened)) // len(base.ids))
        self._inputs = None if receiver.through is None else self._base_inputs()

    def values(self, senders: Sequence[Sequence[Piece]]) -> Iterator[tuple[list[int], list[float]]]:
        """The target's value by the path of each sender, which is a set of pieces, batch by batch: numbers and values.

        Raises:
            NotFinite: a value is not finite.
            ModelError: a layer has no one place where its attention or MLP writes.
        """
        numbers = range(len(senders))
        parts = (numbers[first : first + self._rows] for first in range(0, len(senders), self._rows))
        for part, values in in_parts(parts, lambda part: self._reached([senders[number] for number in part])):
            if not all(map(math.isfinite, values)):
                raise NotFinite("the target's value is not finite in a patched run", "open it with --dtype float32")
            yield list(part), values

    @torch.inference_mode()
    def _reached(self, senders: Sequence[Sequence[Piece]]) -> list[float]:
        anatomy, rows = self._opened.anatomy, len(senders)
        hooks = put(anatomy, self._other, senders)
        hooks += [on_site(anatomy, at, self._frozen(at, senders)) for at in path_sites(anatomy)]
        unit, became = self._receiver.unit, list[Tensor]()
        if unit is None:
            return self._run(hooks, rows)
        at = site_of(unit)
        parts = parts_of(anatomy, at)

        def keep(values: Tensor) -> Tensor:
            became.append(values.reshape(rows, len(self._base.ids), parts, -1)[:, :, unit.index].clone())
            return values

        if self._inputs is not None:
            hooks.append(self._only_through(self._inputs, rows))
        self._run([*hooks, on_site(anatomy, at, keep)], rows)

        def hold(values: Tensor) -> Tensor:
            apart = values.reshape(rows, len(self._base.ids), parts, -1).clone()
            apart[:, :, unit.index] = became[0]
            return apart.reshape(values.shape)

        return self._run([on_site(anatomy, at, hold)], rows)

    def _frozen(self, at: SiteAt, senders: Sequence[Sequence[Piece]]) -> Callable[[Tensor], Tensor]:
        """Hold what a layer adds at the base, but in the rows whose sender is a part of it."""
        base = self._base.states[at]
        part = "heads" if at.site == "attn_out" else "neurons"
        free = [row for row, pieces in enumerate(senders) if any(piece.at == (part, at.layer) for piece in pieces)]

        def change(values: Tensor) -> Tensor:
            apart = values.reshape(len(senders), *base.shape[:1], -1)
            held = base.reshape(1, *apart.shape[1:]).to(apart).expand_as(apart).clone()
            held[free] = apart[free]
            return held.reshape(values.shape)

        return change

    def _run(self, hooks: Sequence[AbstractContextManager[Any]], rows: int) -> list[float]:
        opened = self._opened
        ids = torch.tensor([self._base.ids] * rows, device=opened.device)
        with watched(opened.anatomy, self._cancel), together(hooks), only_target(opened.anatomy, self._target) as read:
            kept = last_positions(1, ids)
            values: list[float] = read(
                opened.model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits
            ).tolist()
        return values

    @torch.inference_mode()
    def _base_inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """The queries, keys and values of the receiver's layer in the base."""
        heard: list[tuple[Tensor, Tensor, Tensor]] = []

        def hear(attend: AttentionFunction, module: nn.Module, *inputs: Tensor, **options: Any) -> Any:
            heard.append(inputs[:3])  # type: ignore[arg-type]
            return attend(module, *inputs, **options)

        self._run([self._attending(hear)], 1)
        if not heard:
            raise ModelError(
                "the queries, keys and values of this family's attention cannot be reached", "leave .q, .k or .v out"
            )
        return heard[0]

    def _only_through(self, base: tuple[Tensor, Tensor, Tensor], rows: int) -> AbstractContextManager[None]:
        """The receiver's head attends with one input of the run and the other two of the base."""
        unit, through = self._receiver.unit, self._receiver.through
        assert unit is not None and through is not None

        def mix(attend: AttentionFunction, module: nn.Module, *inputs: Tensor, **options: Any) -> Any:
            query, key, value, *rest = inputs
            held = [one.expand(rows, -1, -1, -1) for one in base]
            held["qkv".index(through)] = (query, key, value)["qkv".index(through)]
            output, pattern = attend(module, query, key, value, *rest, **options)
            mixed, _ = attend(module, *held, *rest, **options)
            output = output.clone()
            output[:, :, unit.index] = mixed[:, :, unit.index]
            return output, pattern

        return self._attending(mix)

    def _attending(self, function: Callable[..., Any]) -> AbstractContextManager[None]:
        unit = self._receiver.unit
        assert unit is not None
        module = self._opened.anatomy.heads_of(unit.layer).attention
        return attending(self._opened.model, module, function)
