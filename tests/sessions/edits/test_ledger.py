"""The ledger: whatever is done with edits, in whatever order, the weights are to the bit what the list says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessions.cancel import Cancel
from sessions.edits.edit import Edit, Neurons
from sessions.edits.ledger import Ledger
from sessions.errors import ArtifactError, Cancelled, UsageError
from sessions.model.generation import Decoding, generate
from sessions.model.hooks import count_hooks, watched
from sessions.model.opening import OpenModel, adopt
from tests.edits import added, bits, cut, louder
from tests.families import tiny, tiny_tokenizer

FAMILIES = ("llama", "gpt2", "phi3", "gemma3n", "mixtral", "gpt_oss", "bloom")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
KINDS = (louder, cut, added)


def opened_as(family: str, dtype: torch.dtype = torch.float32) -> OpenModel:
    return adopt(tiny(family).to(dtype), tiny_tokenizer(), name=family)


def sha(edit: Edit) -> Edit:
    """The edit with a digest, as one that was read from a file has; here its name will do."""
    return replace(edit, sha256=edit.name)


# ---- any sequence of steps

_number = st.integers(1, 6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), st.integers(0, 2), st.integers(0, 3)),
        st.tuples(st.just("misfit"), st.integers(0, 3)),
        st.tuples(st.just("undo"), st.integers(1, 3)),
        st.tuples(st.just("redo"), st.integers(1, 3)),
        st.tuples(st.just("turn"), _number, st.booleans()),
        st.tuples(st.just("all"), st.booleans()),
        st.tuples(st.just("lifted"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("held"), _number, st.booleans()),
        st.tuples(st.just("generate"), st.booleans()),
    ),
    max_size=16,
)


class Driven:
    """A ledger on a model, and a twin of the model to which the same edits are applied from scratch."""

    def __init__(self, opened: OpenModel, twin: OpenModel) -> None:
        self.opened, self.twin, self.ledger = opened, twin, Ledger(opened)
        self.count = 0

    def step(self, step: tuple[object, ...]) -> None:
        with suppress(UsageError, ArtifactError, Cancelled):
            getattr(self, f"do_{step[0]}")(*step[1:])
        self.check([entry.edit for entry in self.ledger.entries if entry.on])

    def check(self, edits: Sequence[Edit]) -> None:
        with ExitStack() as stack:
            for edit in edits:
                stack.enter_context(edit.applied(self.twin))
            assert bits(self.opened) == bits(self.twin)

    def do_apply(self, kind: int, seed: int) -> None:
        self.count += 1
        self.ledger.apply(sha(KINDS[kind](self.opened, seed=seed, name=f"e{self.count}")))

    def do_misfit(self, seed: int) -> None:
        """Fits at first, and then does not."""
        changes = louder(self.opened, seed=seed).changes
        before = self.ledger.undone
        with pytest.raises(ArtifactError):
            self.ledger.apply(Edit("x", "", (*changes, Neurons(0, "down", (0,), torch.zeros(1, 7))), name="misfit"))
        assert self.ledger.undone == before

    def do_undo(self, count: int) -> None:
        self.ledger.undo(count)

    def do_redo(self, count: int) -> None:
        self.ledger.redo(count)

    def do_turn(self, number: int, on: bool) -> None:
        self.ledger.turn(number, on)

    def do_all(self, on: bool) -> None:
        self.ledger.turn_all(on)

    def do_lifted(self, below: int, cancelled: bool) -> None:
        entries = self.ledger.entries
        with self.ledger.lifted(below):
            left = [entry.edit for entry in entries[:below] if entry.on]
            self.check(left)
            assert list(self.ledger.active) == left
            with self.ledger.lifted():
                self.check([])
            self.check(left)
            if cancelled:
                raise Cancelled

    def do_held(self, number: int, on: bool) -> None:
        entries = enumerate(self.ledger.entries, 1)
        with self.ledger.held(number, on):
            self.check([entry.edit for place, entry in entries if (on if place == number else entry.on)])

    def do_generate(self, cancelled: bool) -> None:
        cancel = Cancel()
        steps = generate(self.opened.model, self.opened.tokenizer, [[1, 5, 9]], Decoding(max_tokens=3))
        with watched(self.opened.anatomy, cancel), closing(steps):
            for _ in steps:
                if cancelled:
                    cancel.request()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_whatever_is_done_the_weights_are_what_the_list_says_and_come_back_to_the_bit(
    family: str, dtype: torch.dtype
) -> None:
    opened, twin = opened_as(family, dtype), opened_as(family, dtype)
    twin.model.load_state_dict(opened.model.state_dict())  # of one family some numbers are not drawn from the seed
    before, hooks = bits(opened), count_hooks(opened.model)

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    def driven(steps: list[tuple[object, ...]]) -> None:
        found = Driven(opened, twin)
        try:
            for step in steps:
                found.step(step)
        finally:
            found.ledger.close()
        assert bits(opened) == before and count_hooks(opened.model) == hooks

    driven()


# ---- what the list says


@pytest.fixture
def opened() -> OpenModel:
    return opened_as("llama")


@pytest.fixture
def ledger(opened: OpenModel) -> Iterator[Ledger]:
    """Three edits that all change the same neuron."""
    found = Ledger(opened)
    for number in range(3):
        found.apply(sha(louder(opened, seed=number, name=f"e{number + 1}")))
    yield found
    found.close()


def names(edits: Sequence[Edit]) -> list[str]:
    return [edit.name for edit in edits]


def test_the_last_is_undone_first_and_redone_last(ledger: Ledger) -> None:
    assert names(ledger.undo(2)) == ["e3", "e2"]
    assert names(ledger.redo()) == ["e2"]
    assert names(ledger.active) == ["e1", "e2"]
    assert names([entry.edit for entry in ledger.undone]) == ["e3"]


def test_an_edit_that_is_off_stays_off_when_it_is_undone_and_redone(ledger: Ledger) -> None:
    ledger.turn(3, False)
    ledger.undo()
    ledger.redo()
    assert [entry.on for entry in ledger.entries] == [True, True, False]


def test_a_new_edit_leaves_nothing_to_redo_and_one_that_is_refused_does_not(opened: OpenModel, ledger: Ledger) -> None:
    ledger.undo()
    with pytest.raises(UsageError, match="applied already"):
        ledger.apply(louder(opened, name="e1"))
    assert len(ledger.undone) == 1
    ledger.apply(louder(opened, name="new"))
    assert ledger.undone == ()
    with pytest.raises(UsageError, match="nothing to redo"):
        ledger.redo()


def test_undo_and_redo_refuse_more_edits_than_there_are(ledger: Ledger) -> None:
    key = ledger.key()
    for refused in (lambda: ledger.undo(4), ledger.redo, lambda: ledger.turn(4, False), lambda: ledger.turn(1, True)):
        with pytest.raises(UsageError) as caught:
            refused()
        assert caught.value.hint
    assert ledger.key() == key and len(ledger.entries) == 3


def test_an_edit_is_meant_by_its_number_or_its_name(ledger: Ledger) -> None:
    assert [ledger.meant(word) for word in ("2", "e2", "edit:e2")] == [2, 2, 2]
    for word in ("0", "4", "e9", "99999999999999999999999"):
        with pytest.raises(UsageError):
            ledger.meant(word)


def test_the_key_is_that_of_what_is_in_the_weights(ledger: Ledger) -> None:
    keys = {ledger.key()}
    with ledger.lifted():
        assert ledger.key() == ""
    ledger.turn(2, False)
    keys.add(ledger.key())
    ledger.turn(1, False)
    keys.add(ledger.key())
    ledger.turn_all(False)
    assert ledger.key() == "" and len(keys) == 3
    ledger.turn_all(True)
    assert ledger.key() in keys


def test_the_norm_is_kept_while_an_edit_is_off(ledger: Ledger) -> None:
    norms = [entry.norm for entry in ledger.entries]
    assert all(norm is not None and norm > 0 for norm in norms)
    ledger.turn_all(False)
    assert [entry.norm for entry in ledger.entries] == norms


def test_edits_go_along_to_another_copy_of_the_model(ledger: Ledger) -> None:
    ledger.turn(2, False)
    ledger.undo()
    other = opened_as("llama", torch.bfloat16)
    before = bits(other)
    moved = ledger.moved(other)
    assert (names(moved.active), len(moved.undone)) == (["e1"], 1)
    assert bits(other) != before
    moved.close()
    assert bits(other) == before


def test_a_copy_that_an_edit_does_not_fit_is_left_as_it_is(ledger: Ledger) -> None:
    other = opened_as("gpt2")  # whose neurons have no gates
    before = bits(other)
    with pytest.raises(UsageError):
        ledger.moved(other)
    assert bits(other) == before and len(ledger.active) == 3
