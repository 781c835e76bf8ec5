"""`Circuit`: the units that carry a behaviour, as attribution finds them and as they are saved by name. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from sessions.errors import UsageError
from sessions.model.info import Prompt
from sessions.model.target import Target
from sessions.model.units import Kind, Place, Unit
from sessions.texts.prompt_files import PromptRecord

if TYPE_CHECKING:
    from torch import Tensor


class Circuit(Struct, frozen=True, kw_only=True):
    """Neurons that carry a behaviour, strongest first, with everything needed to read them.

    `conservation` is the relative gap between the relevance at the target and at the inputs
    (`Attribution.conservation`): how much the attribution failed to account for. `total` is the sum of the attributions
    of all candidates, chosen or not. `held` names the ablation value behind the effects, such as "zero"; it is "" where
    none was verified. `suppressed` are the neurons that were held at zero when it was found, `edits` the names of the
    edits that were on.

    A circuit of many prompts has them in `prompts`, and no ids, tokens or prompt of its own. Its neurons have no
    positions, or positions counted from the end (-1 is the last). Attributions, effects, activations and the target's
    value are then means over the prompts, unless `chosen` says otherwise.
    """

    neurons: tuple[Unit, ...]
    prompt: Prompt
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    target: Target
    method: str
    attention: str
    chosen: str
    conservation: float | None
    total: float | None
    model: str
    fingerprint: str
    name: str = ""
    held: str = ""
    prompts: tuple[PromptRecord, ...] = ()
    suppressed: tuple[str, ...] = ()
    edits: tuple[str, ...] = ()

    @property
    def asked(self) -> tuple[int, ...]:
        """The ids of its prompt: `ids` without the tokens of a target of several tokens."""
        behind = len(self.target.tokens) - 1 if self.target.sequence else 0
        return self.ids[: len(self.ids) - behind]

    def prompt_as_found(self, ids: tuple[int, ...]) -> tuple[Prompt, str]:
        """Its prompt with the token ids it was found on, and a remark where it now reads as other `ids`."""
        if ids == self.asked:
            return self.prompt, ""
        remark = (
            f"its prompt is read as the {len(self.asked):,} tokens it was found on; now it would be {len(ids):,} others"
        )
        return structs.replace(self.prompt, exact=self.asked), remark

    @property
    def known_target(self) -> Target | None:
        """Its target; None where the ids of its tokens are not known."""
        tokens = self.target.tokens
        return self.target if tokens and all(token.id >= 0 for token in tokens) else None

    @property
    def way(self) -> str:
        """The method of its attributions, in words."""
        return f"{self.method}, {self.attention} attention" if self.attention else self.method

    @property
    def compared(self) -> str:
        """What its attributions are compared with, in a word; "" where they have no target."""
        return (self.method.partition(" against ")[2] or "zero") if self.target.stated else ""

    def __len__(self) -> int:
        return len(self.neurons)

    def top(self, n: int) -> tuple[Unit, ...]:
        """The n neurons with the largest |attribution|."""
        return self.neurons[:n]

    def tensor(
        self,
        n_layers: int | None = None,
        d_mlp: int | None = None,
        of: str = "attribution",
        kind: Kind = "neuron",
    ) -> Tensor:
        """A quantity of its neurons as float32 `[n_layers, d_mlp]` on the CPU, summed over positions. It is 0 where the
        circuit has no neuron or the quantity is unknown. Of heads it is `[n_layers, n_heads]`.

        Args:
            n_layers, d_mlp: of the model; by default just large enough for the units.
            of: "attribution", "effect" or "activation".
            kind: the units it is of.

        Raises:
            UsageError: a neuron does not fit into the shape, or there is no such quantity.
        """
        import torch  # circuits are data that can be read without torch

        if of not in ("attribution", "effect", "activation"):
            raise UsageError(f"a circuit's neurons have no '{of}'", "one of: attribution, effect, activation")
        units = [unit for unit in self.neurons if unit.kind == kind]
        rows = 1 + max((unit.layer for unit in units), default=-1)
        columns = 1 + max((unit.index for unit in units), default=-1)
        shape = (rows if n_layers is None else n_layers, columns if d_mlp is None else d_mlp)
        wrong = next((unit for unit in units if unit.layer >= shape[0] or unit.index >= shape[1]), None)
        if wrong is not None:
            raise UsageError(f"{wrong} does not fit into {shape[0]} layers of {shape[1]} {kind}s", "give larger ones")
        grid = torch.zeros(shape, dtype=torch.float32, device="cpu")
        for unit in units:
            grid[unit.layer, unit.index] += getattr(unit, of) or 0.0
        return grid

    def is_like(self, other: Circuit) -> bool:
        """Whether the other is the same circuit, apart from its neurons' effects."""
        bare = structs.replace(self, neurons=(), held="") == structs.replace(other, neurons=(), held="")
        pairs = zip(self.neurons, other.neurons, strict=False)
        return bare and len(self) == len(other) and all(ours.place == theirs.place for ours, theirs in pairs)

    def token(self, position: int | None) -> str:
        """The token at a position; "" where unknown."""
        if position is None or not -len(self.tokens) <= position < len(self.tokens):
            return ""
        return self.tokens[position]

    def share(self, neuron: Unit) -> float | None:
        """The neuron's attribution as a fraction of the target's value; None where that is 0."""
        if neuron.attribution is None or self.target.value == 0:
            return None
        return neuron.attribution / self.target.value

    def with_effects(self, effects: Mapping[Place, float | None], held: str) -> Circuit:
        """The same circuit with new effects of some neurons, by place. Effects of the others are dropped if they were
        measured at another ablation value."""
        before = {} if held != self.held else {n.place: n.effect for n in self.neurons}
        known = {**before, **effects}
        neurons = tuple(structs.replace(neuron, effect=known.get(neuron.place)) for neuron in self.neurons)
        return structs.replace(self, neurons=neurons, held=held)

    def with_neurons(self, neurons: tuple[Unit, ...], chosen: str) -> Circuit:
        """The same circuit with other neurons, without its name, since it was not saved like this."""
        return structs.replace(self, neurons=neurons, chosen=chosen, name="")
