"""Selections: their grammar and how they are resolved. `top10`, `all - L24/*`, `L24/N1005@41, texas`.

    selection  =  term { operator term }          read from left to right
    operator   =  ","  or  "+"  (either)   "-"  (without)   "&"  (both)
    term       =  "(" selection ")"
               |  all | topN | suppressed | L24/N1005[@41] | L24#1005 | L5/H3 | L3/E5 | recruits:ROUND[:N]
               |  L24/*  |  L9-26/*  all neurons of layers, L24/H*  L0-5/H*  all heads, L3/E*  all experts
               |  preset:NAME[:PART]  |  atlas:NAME:topN  |  atlas:NAME:positiveN  |  atlas:NAME:quietN
               |  quiet:LAST[:N]
               |  name of a saved circuit

When sets are compared, a unit without a position stands for the unit at every position. A name may contain "-": a
word that is the name of a saved circuit is not read as a difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from functools import cache

from msgspec import Struct, structs

from sessions.cancel import look
from sessions.circuits.circuit import Circuit
from sessions.errors import UsageError
from sessions.model.units import KINDS, Kind, Place, Unit

# No model needs nine digits; a word with more matches none of these.
_N = r"[0-9]{1,9}(?![0-9])"
_LAYERS = re.compile(rf"L({_N})(?:-({_N}))?/([NHE]?)\*(?:@(-?{_N}))?", re.IGNORECASE)
_UNIT = re.compile(rf"L{_N}(?:/[NHE]|#){_N}(?:@-?{_N})?", re.IGNORECASE)
_TOP = re.compile(rf"top({_N})", re.IGNORECASE)
#: The recruits of a round of training, by its number or its name, and how many of the strongest.
_RECRUITS = re.compile(
    rf"recruits:(?P<round>{_N}(?=[\s,+&:()-]|$)|[A-Za-z0-9][A-Za-z0-9._-]*)(?::(?P<count>{_N}))?", re.IGNORECASE
)
#: The neurons of a preset, or of one of its tiers or regions.
_PRESET = re.compile(
    r"preset:(?P<preset>[A-Za-z0-9][A-Za-z0-9._-]*)(?::(?P<part>(?:[^\s,+&()]|\([^\s,+&()]*\))+))?", re.IGNORECASE
)
#: Neurons of an atlas and their number: the most active by magnitude, the most active above 0, or the least active.
_ATLAS = re.compile(
    rf"atlas:(?P<atlas>[A-Za-z0-9][A-Za-z0-9._-]*):(?P<end>top|positive|quiet)(?P<count>{_N})", re.IGNORECASE
)
#: The neurons that `quiet` found last, or the first of them.
_QUIET = re.compile(rf"quiet:last(?::(?P<count>{_N}))?", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_GAP = re.compile(r"\s*")
#: No name of a circuit is longer.
_LONGEST = 64
#: Characters of a selection that a message repeats.
_SHOWN = 400
SUPPRESSED = "suppressed"
OPERATORS = {",": "+", "+": "+", "-": "-", "&": "&"}
#: Deepest nesting of parentheses.
DEEPEST = 20

HINT = "for example: top10, all, L24/N1005@41, L5/H3, L9-26/*, or the name of a saved circuit"


class Term(Struct, frozen=True):
    """One term and the operator before it: "+", "-" or "&".

    `text` is the term as written. `inside` holds the terms of a selection in parentheses.
    """

    operator: str
    text: str
    inside: tuple[Term, ...] = ()


class Selection(Struct, frozen=True):
    """The selected neurons. `pinned` are the places whose position the user wrote; `length` is that of the prompt."""

    text: str
    neurons: tuple[Unit, ...]
    pinned: frozenset[Place] = frozenset()
    length: int = 0

    def spread(self, scope: str) -> tuple[Unit, ...]:
        """The neurons to intervene on. With scope "all", only positions that the user wrote are kept; with "circuit",
        those of the circuit are kept as well. Positions counted from the end are those of the prompt.

        Raises:
            UsageError: a neuron has a position that the prompt does not have.
        """
        everywhere = scope != "circuit"
        kept = [n.bare if everywhere and n.place not in self.pinned else n.counted(self.length) for n in self.neurons]
        outside = next((n for n in kept if self.length and not 0 <= (n.position or 0) < self.length), None)
        if outside is not None:
            raise UsageError(
                f"{outside} is not in this prompt, which has {self.length:,} tokens",
                "leave --at circuit out, or set the prompt that the circuit was found on",
            )
        return tuple({neuron.place: neuron for neuron in kept}.values())

    def within(self, neurons: Iterable[Unit]) -> tuple[Unit, ...]:
        """Those of `neurons` that the selection covers, in their own order."""
        return tuple(_both(neurons, self.neurons))


class Surroundings(Struct, frozen=True):
    """What a selection is resolved against.

    `widths` counts the neurons of each layer, `heads` and `experts` these (all empty without a model). `length` counts
    the tokens of the text (0 without one, or with several). `names` are the saved circuits, `read` loads one.
    `suppressed` is what is held at zero, `quiet` what `quiet` found last. `recruits` loads those of a round: a number
    of them or, for None, the round's own number. `preset` loads the neurons of a preset or of a named part; `atlas`
    loads a number of neurons from the "top", "positive" or "quiet" end of an atlas.
    """

    circuit: Circuit | None
    widths: tuple[int, ...]
    length: int
    names: tuple[str, ...]
    read: Callable[[str], Circuit]
    suppressed: tuple[Unit, ...] = ()
    recruits: Callable[[str, int | None], tuple[Unit, ...]] | None = None
    preset: Callable[[str, str | None], tuple[Unit, ...]] | None = None
    atlas: Callable[[str, str, int], tuple[Unit, ...]] | None = None
    quiet: tuple[Unit, ...] = ()
    heads: tuple[int, ...] = ()
    experts: tuple[int, ...] = ()

    def counts(self, kind: Kind) -> tuple[int, ...]:
        """The number of units of a kind in each layer."""
        return {"neuron": self.widths, "head": self.heads, "expert": self.experts}[kind]


def terms(text: str, is_name: Callable[[str], bool] = lambda name: True) -> tuple[Term, ...]:
    """The terms of a selection, in order.

    Raises:
        UsageError: the text is not a selection; `column` says where it stops being one.
    """
    parsed, end = _terms(text, 0, is_name, 0)
    if end < len(text):
        raise UsageError(f"'{_said(text)}' is not a selection: '{_said(text[end:])}' is left over", HINT, end)
    return parsed


def _terms(text: str, at: int, is_name: Callable[[str], bool], depth: int) -> tuple[tuple[Term, ...], int]:
    """The terms from `at` on, and where they end: at an unmatched parenthesis, or where no operator follows."""
    parsed: list[Term] = []
    operator = "+"
    while True:
        at = _past_blanks(text, at)
        term, at = _one(text, at, operator, is_name, depth)
        parsed.append(term)
        at = _past_blanks(text, at)
        if at == len(text) or text[at] not in OPERATORS:
            return tuple(parsed), at
        operator, at = OPERATORS[text[at]], at + 1


def _one(text: str, at: int, operator: str, is_name: Callable[[str], bool], depth: int) -> tuple[Term, int]:
    """The term that begins at `at`, and where it ends."""
    if not text.startswith("(", at):
        end = _term_end(text, at, is_name)
        return Term(operator, text[at:end]), end
    if depth == DEEPEST:
        raise UsageError(f"a selection nests more than {DEEPEST} parentheses", HINT, at)
    inside, end = _terms(text, at + 1, is_name, depth + 1)
    if not text.startswith(")", end):
        left = f"'{_said(text[end:])}' is left over" if end < len(text) else "a parenthesis is not closed"
        raise UsageError(f"'{_said(text)}' is not a selection: {left}", "close each ( with a )", end)
    return Term(operator, text[at : end + 1], inside), end + 1


def _past_blanks(text: str, at: int) -> int:
    return _GAP.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing as well


def _term_end(text: str, at: int, is_name: Callable[[str], bool]) -> int:
    for pattern in (_LAYERS, _UNIT, _RECRUITS, _PRESET, _ATLAS, _QUIET):
        match = pattern.match(text, at)
        if match:
            return match.end()
    match = _WORD.match(text, at)
    if match is None:
        problem = (
            f"it ends after '{_said(text.strip())}'"
            if text.strip() and at >= len(text.rstrip())
            else f"at '{_said(text[at:])}'"
        )
        raise UsageError(
            f"'{_said(text)}' is not a selection: {problem}" if text.strip() else "the selection is empty", HINT, at
        )
    # A difference may be written without spaces: take the longest beginning that is a term.
    ends = [end for end in _beginnings(match.group(), at) if _is_end(text, end)]
    words = (end for end in ends if end == ends[0] or end - at <= _LONGEST)
    known = (end for end in words if _is_keyword(text[at:end]) or is_name(text[at:end]))
    return next(known, ends[0] if ends else match.end())


def _said(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _beginnings(word: str, at: int) -> Iterator[int]:
    """Where a word that starts at `at` may end: at its end, then before each "-" from the right."""
    end = len(word)
    while end > 0:
        yield at + end
        end = word.rfind("-", 0, end)


def _is_end(text: str, at: int) -> bool:
    """Whether a term may end here: at the end of the text, or before a space, an operator or a parenthesis."""
    return at == len(text) or text[at].isspace() or text[at] in OPERATORS or text[at] == ")"


def _is_keyword(word: str) -> bool:
    return word.lower() in ("all", SUPPRESSED) or _TOP.fullmatch(word) is not None


def resolve(text: str, around: Surroundings) -> Selection:
    """The neurons of a selection in its surroundings, without duplicates, in the order written.

    Raises:
        UsageError: no such layer, neuron, position or circuit; or nothing is selected.
    """
    names, places = frozenset(around.names), cache(lambda: _places(around))
    chosen, pinned = _joined(terms(text, lambda word: word in names), around, places)
    if not chosen:
        raise UsageError(f"'{_said(text)}' selects no unit", HINT)
    return Selection(text, tuple(chosen.values()), frozenset(pinned), around.length)


def _joined(
    found: Iterable[Term], around: Surroundings, places: Callable[[], dict[Place, Unit]]
) -> tuple[dict[Place, Unit], set[Place]]:
    """The neurons of several terms, joined by their operators, and the places whose position the user wrote."""
    chosen: dict[Place, Unit] = {}
    pinned: set[Place] = set()
    for term in found:
        look()
        if term.inside:
            group, written = _joined(term.inside, around, places)
            neurons = tuple(group.values())
        else:
            neurons, explicit = _term(term.text, around, places)
            written = {neuron.place for neuron in neurons} if explicit else set()
        if term.operator == "+":
            chosen.update((neuron.place, neuron) for neuron in neurons)
            pinned |= written
        else:
            shared = {neuron.place: neuron for neuron in _both(chosen.values(), neurons)}
            chosen = shared if term.operator == "&" else {p: n for p, n in chosen.items() if p not in shared}
    return chosen, pinned


def _both(neurons: Iterable[Unit], others: Iterable[Unit]) -> Iterator[Unit]:
    """Those of `neurons` that are among `others`; where one of the two has no position, any position fits."""
    positions: dict[Place, set[int | None]] = {}
    for other in others:
        positions.setdefault(other.anywhere, set()).add(other.position)
    for neuron in neurons:
        known = positions.get(neuron.anywhere)
        if known is not None and (neuron.position is None or None in known or neuron.position in known):
            yield neuron


def _places(around: Surroundings) -> dict[Place, Unit]:
    """The neurons of the session's circuit by their places."""
    return {} if around.circuit is None else {neuron.place: neuron for neuron in reversed(around.circuit.neurons)}


def _term(text: str, around: Surroundings, places: Callable[[], dict[Place, Unit]]) -> tuple[tuple[Unit, ...], bool]:
    """The neurons of one term, with their attributions in the circuit, and whether the user wrote their position."""
    layers = _LAYERS.fullmatch(text)
    if layers:
        return _whole_layers(layers, around), layers[4] is not None
    if _UNIT.fullmatch(text):
        neuron = _checked(Unit.parse(text), around)
        return (places().get(neuron.place, neuron),), neuron.position is not None
    if text.lower() == SUPPRESSED:
        if not around.suppressed:
            raise UsageError("no neuron is suppressed", "for example: suppress L24/N1005")
        return around.suppressed, False
    recruits = _RECRUITS.fullmatch(text)
    if recruits and around.recruits is not None:
        return around.recruits(recruits["round"], int(recruits["count"]) if recruits["count"] else None), False
    preset = _PRESET.fullmatch(text)
    if preset and around.preset is not None:
        return around.preset(preset["preset"], preset["part"]), False
    atlas = _ATLAS.fullmatch(text)
    if atlas and around.atlas is not None:
        return around.atlas(atlas["atlas"], atlas["end"].lower(), int(atlas["count"])), False
    quiet = _QUIET.fullmatch(text)
    if quiet:
        if not around.quiet:
            raise UsageError(
                "there are no quiet neurons yet", "find some: quiet, or name an atlas: atlas:NAME:quiet300"
            )
        return around.quiet[: int(quiet["count"]) if quiet["count"] else None], False
    if _is_keyword(text):
        circuit = _current(around)
        top = _TOP.fullmatch(text)
        return (circuit.top(int(top[1])) if top else circuit.neurons), False
    return _named(text, around).neurons, False


def _whole_layers(match: re.Match[str], around: Surroundings) -> tuple[Unit, ...]:
    first, last = int(match[1]), int(match[2] or match[1])
    if not around.widths:
        raise UsageError(f"'{match.group()}' needs a model, to know its layers", "open one: model smollm2")
    if first > last or last >= len(around.widths):
        raise UsageError(f"'{match.group()}' names no layers", f"layers are 0 to {len(around.widths) - 1}")
    position = None if match[4] is None else _position(int(match[4]), around)
    kind = KINDS[match[3].upper() or "N"]
    counts = around.counts(kind)
    units = tuple(Unit(layer, i, position, kind=kind) for layer in range(first, last + 1) for i in range(counts[layer]))
    if not units:
        raise UsageError(f"'{match.group()}' selects nothing: there are no {kind}s there", HINT)
    return units


def _checked(neuron: Unit, around: Surroundings) -> Unit:
    if around.widths:
        if neuron.layer >= len(around.widths):
            raise UsageError(f"there is no layer {neuron.layer}", f"layers are 0 to {len(around.widths) - 1}")
        count, what = around.counts(neuron.kind)[neuron.layer], neuron.kind
        if neuron.index >= count:
            raise UsageError(
                f"layer {neuron.layer} has no {what} {neuron.index}"
                if count
                else f"layer {neuron.layer} has no {what}s",
                f"its {what}s are 0 to {count - 1}" if count else HINT,
            )
    if neuron.position is None:
        return neuron
    return structs.replace(neuron, position=_position(neuron.position, around))


def _position(position: int, around: Surroundings) -> int:
    """The position counted from 0. A negative one counts from the end of the text; it is kept where there are several
    texts or the circuit is of many prompts."""
    if not around.length:
        return position
    if not -around.length <= position < around.length:
        raise UsageError(
            f"the prompt has no position {position}", f"positions are 0 to {around.length - 1}, or -1 for the last"
        )
    of_many = around.circuit is not None and bool(around.circuit.prompts)
    return position if of_many and position < 0 else position % around.length


def _current(around: Surroundings) -> Circuit:
    if around.circuit is None:
        raise UsageError("there is no circuit yet", 'find one: discover " Austin", or load NAME')
    return around.circuit


def _named(name: str, around: Surroundings) -> Circuit:
    if name not in around.names:
        near = get_close_matches(name, [*around.names, "all", "top10"], 1)
        hint = f"a number comes after the selection: all {name}" if name.isdecimal() else HINT
        raise UsageError(f"no saved circuit is called '{name}'", f"did you mean {near[0]}?" if near else hint)
    return around.read(name)
