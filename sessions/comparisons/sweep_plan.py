"""The plan of a sweep: everything that its answers depend on, and the rows of its grid in their order.

The plan holds the neurons of each selection when it was made, the ids of the prompts, the decoding, and the other
interventions in force. Its rows are, for each prompt in turn, the baseline (multiplier 1, once for all selections) and
then each selection at each other multiplier. They are cut into batches in that order, by numbers of rows and of tokens.

For adapters the multipliers are weights. A batch has one set of weights, which applies to the model for all its rows.
So rows are ordered by weight and then by prompt, and the baseline is the model at 0.

`sweeping` answers the rows of a plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from msgspec import Struct, structs

from sessions.comparisons.sweep_points import SweepCurve, SweepPoint, curve_of
from sessions.errors import ArtifactError, UsageError
from sessions.interventions.arms import Condition
from sessions.interventions.intervention import EVERYWHERE, Intervention, TokenScope, refuse_overlaps, units_of
from sessions.model.generation import Decoding
from sessions.model.info import Encoded, Prompt
from sessions.model.opening import OpenModel
from sessions.model.target import Target
from sessions.model.units import Unit, kind_in

#: Default rows of a batch, and its most tokens: prompt, padding and what may be generated.
ROWS = 32
LARGEST_BATCH = 32768


class AdapterShare(Struct, frozen=True):
    """An adapter of a sweep: its name, or that of its round, the sha256 of its file, and its weight at multiplier 1.

    One that is `against` the others has its weight at multiplier 0 and weight 0 at 1.
    """

    name: str
    weight: float
    sha256: str
    round: bool = False
    against: bool = False


class Chosen(Struct, frozen=True):
    """One selection of a sweep, as it was typed: neurons (`L24/N1005@41`) or adapters.

    Positions below 0 count from a prompt's end. With `deep`, the adapters are rounds of a series, which are added one
    after the other with equal shares.
    """

    text: str
    neurons: tuple[str, ...] = ()
    adapters: tuple[AdapterShare, ...] = ()
    deep: bool = False

    def weights(self, multiplier: float) -> tuple[tuple[AdapterShare, float], ...]:
        """The adapters that are on at a multiplier, each with its weight."""
        if self.deep:
            return tuple((share, share.weight / multiplier) for share in self.adapters[: int(multiplier)])
        scales = ((share, 1 - multiplier if share.against else multiplier) for share in self.adapters)
        return tuple((share, share.weight * scale) for share, scale in scales if share.weight * scale)


class SweepPrompt(Struct, frozen=True):
    """A prompt, its ids, its target without a value (None if it has none), and the part of its text to intervene in."""

    prompt: Prompt
    ids: tuple[int, ...]
    target: Target | None
    where: TokenScope = EVERYWHERE


class GridKey(Struct, frozen=True):
    """A row of the grid: the numbers of its prompt and its selection (None for the baseline), and its multiplier."""

    prompt: int
    selection: int | None
    multiplier: float


class SweepPlan(Struct, frozen=True, kw_only=True, dict=True):
    """Everything that determines the cells of a sweep, except the model's weights.

    `suppressed` are held at zero and `live` is in force in every row. A batch has at most `batch` rows. `scope` says in
    words where selections are in force. `device` and `versions` are those that it was begun with.
    """

    dtype: str
    selections: tuple[Chosen, ...]
    multipliers: tuple[float, ...]
    prompts: tuple[SweepPrompt, ...]
    decoding: Decoding
    live: tuple[Intervention, ...] = ()
    suppressed: tuple[str, ...] = ()
    batch: int = ROWS
    scope: str = ""
    device: str = ""
    versions: dict[str, str] = {}

    @cached_property
    def places(self) -> tuple[GridKey, ...]:
        """The rows of the grid, in order."""
        return tuple(self._places())

    @property
    def weighs(self) -> bool:
        """Whether it is a sweep of adapters."""
        return bool(self.selections[0].adapters)

    @property
    def base(self) -> float:
        """The multiplier of the baseline."""
        return 0.0 if self.weighs else 1.0

    def weights(self, place: GridKey) -> tuple[tuple[AdapterShare, float], ...]:
        """The adapters that are on in a row, each with its weight."""
        return self.selections[place.selection or 0].weights(place.multiplier)

    def _places(self) -> Iterator[GridKey]:
        if self.weighs:
            prompts = range(len(self.prompts))
            yield from (GridKey(prompt, None, self.base) for prompt in prompts)
            for selection in range(len(self.selections)):
                for multiplier in self.multipliers:
                    if multiplier != self.base:
                        yield from (GridKey(prompt, selection, multiplier) for prompt in prompts)
            return
        for prompt in range(len(self.prompts)):
            yield GridKey(prompt, None, 1.0)
            for selection in range(len(self.selections)):
                for multiplier in self.multipliers:
                    if multiplier != 1:
                        yield GridKey(prompt, selection, multiplier)

    @cached_property
    def neurons(self) -> tuple[tuple[Unit, ...], ...]:
        """The neurons of each selection."""
        return tuple(tuple(map(Unit.parse, chosen.neurons)) for chosen in self.selections)

    @property
    def simple(self) -> bool:
        """Whether it is one selection on one prompt."""
        return len(self.selections) == len(self.prompts) == 1

    def name_of(self, place: GridKey) -> str:
        """The selection of a row, as it was written; empty for the baseline."""
        return "" if place.selection is None else self.selections[place.selection].text

    def batches(self) -> Iterator[range]:
        """The rows of each batch."""
        start, longest = 0, 0
        for row, place in enumerate(self.places):
            longest = max(longest, len(self.prompts[place.prompt].ids))
            tokens = (row + 1 - start) * (longest + self.decoding.max_tokens)
            other = self.weighs and _set(place) != _set(self.places[start])
            if row > start and (other or row - start == self.batch or tokens > LARGEST_BATCH):
                yield range(start, row)
                start, longest = row, len(self.prompts[place.prompt].ids)
        yield range(start, len(self.places))

    def whole(self, cells: int) -> int:
        """How many of the first `cells` cells belong to complete batches."""
        return max((batch.stop for batch in self.batches() if batch.stop <= cells), default=0)

    @cached_property
    def last(self) -> int:
        """The row of the last multiplier given, for the last selection and the last prompt."""
        return self.row_of(len(self.prompts) - 1, len(self.selections) - 1, self.multipliers[-1])

    def row_of(self, prompt: int, selection: int, multiplier: float) -> int:
        """The row of a cell of the grid; at the baseline's multiplier, that of the baseline."""
        return self.places.index(GridKey(prompt, None if multiplier == self.base else selection, float(multiplier)))

    def is_place_of(self, cell: SweepPoint, row: int) -> bool:
        """Whether a cell belongs to a row."""
        place = self.places[row]
        key = place.prompt, self.name_of(place), place.multiplier
        return (cell.prompt, cell.selection, cell.multiplier) == key

    def condition(self, place: GridKey) -> Condition:
        """The condition of a row."""
        treatments, prompt = self.live, self.prompts[place.prompt]
        if place.selection is not None and not self.weighs:
            neurons = tuple(neuron.counted(len(prompt.ids)) for neuron in self.neurons[place.selection])
            treatments = (*self.live, Intervention(neurons, place.multiplier, (), prompt.where, self.name_of(place)))
        suppressed = frozenset(Unit.parse(text).anywhere for text in self.suppressed)
        free = tuple(treatment.without(suppressed) for treatment in treatments) if suppressed else treatments
        return Condition(f"×{place.multiplier:g}", free, place.multiplier)

    @property
    def measured(self) -> str:
        """What the heights of its cells measure."""
        tokens = {question.target.tokens[0].text for question in self.prompts if question.target is not None}
        if not tokens:
            return "p of the likeliest token"
        return f'p("{tokens.pop()}")' if len(tokens) == 1 else "p of the target"

    def curves(self, cells: Sequence[SweepPoint]) -> tuple[SweepCurve, ...]:
        """The curve of each selection, from all cells."""
        sites = [len({neuron.anywhere for neuron in neurons}) for neurons in self.neurons]
        rows = zip(self.selections, sites, map(kind_in, self.neurons), strict=True)
        return tuple(curve_of(chosen.text, count, cells, unit) for chosen, count, unit in rows)

    def sound(self) -> SweepPlan:
        """The plan, if it is valid, whatever file it is from.

        Raises:
            ArtifactError: it has no cells, invalid settings, or invalid neurons.
        """
        decoding, multipliers = self.decoding, self.multipliers
        if not (self.prompts and self.selections and multipliers and len(set(multipliers)) == len(multipliers)):
            raise ArtifactError("the plan lacks prompts, selections or multipliers, or has one of them twice")
        if min(self.batch, decoding.max_tokens) < 1 or decoding.temperature <= 0 or decoding.top_k < 0:
            raise ArtifactError("the plan has an invalid batch size, length or temperature")
        try:
            named = [*self.suppressed, *(name for chosen in self.selections for name in chosen.neurons)]
            if not all(chosen.adapters if self.weighs else chosen.neurons for chosen in self.selections):
                raise UsageError("a selection has no neuron")
            for name in named:
                Unit.parse(name)
        except UsageError as error:
            raise ArtifactError(f"the plan has invalid neurons: {error.message}") from error
        return self

    def check(self, opened: OpenModel) -> None:
        """Raise `UsageError` if the plan changes a neuron twice, or has a neuron or a token that the model lacks."""
        for prompt in self.prompts:
            target = None if prompt.target is None else (*prompt.target.tokens, prompt.target.counterfactual)
            opened.anatomy.check_tokens(token.id for token in target or () if token is not None)
        opened.anatomy.check_tokens(token for prompt in self.prompts for token in prompt.ids)
        for name in self.suppressed:
            opened.anatomy.coordinates(Unit.parse(name))
        for chosen, neurons in zip(self.selections, self.neurons, strict=True):
            if not neurons:
                continue
            for where in {prompt.where for prompt in self.prompts}:
                refuse_overlaps((*self.live, Intervention(neurons, 0.0, (), where, chosen.text)))
            for place in units_of((Intervention(neurons),)):
                opened.anatomy.coordinates(Unit.at(place))

    def differs(self, other: SweepPlan) -> str:
        """The first difference from `other`, in words, or ""."""
        differences = {
            "dtype": "its dtype",
            "selections": "its selections, or the neurons or adapters that they mean",
            "multipliers": "its multipliers",
            "prompts": "its prompts, their targets, or where in them it intervenes",
            "decoding": "how its texts are generated",
            "live": "the interventions that are live",
            "suppressed": "the suppressed neurons",
            "batch": "the rows of a batch",
        }
        return next((words for name, words in differences.items() if getattr(self, name) != getattr(other, name)), "")


def _set(place: GridKey) -> tuple[int | None, float]:
    return place.selection, place.multiplier


def question(encoded: Encoded, target: Target | None, where: TokenScope = EVERYWHERE) -> SweepPrompt:
    """A prompt as the plan stores it."""
    return SweepPrompt(
        encoded.prompt, encoded.ids, None if target is None else structs.replace(target, value=0.0), where
    )
