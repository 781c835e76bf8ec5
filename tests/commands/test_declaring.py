"""A verb is one struct: from its fields come parsing, completion, help, the line and the method in Python."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import verb as registry
from commands.calling import call_line
from commands.choices import METHOD, SCOPE, OneOf, SomeOf
from commands.completing import complete
from commands.corpus import CorpusWord
from commands.grammar import VERBS, parse
from commands.names import FileName
from commands.ranges import Layers, Positions, Spans
from commands.request import Arg, Constraint, Excludes, Flag, Flags, Needs, Opt, Options, Request, fields_of
from commands.verb import Verb, verb
from commands.words import (
    Gain,
    Length,
    ListWord,
    NumberWord,
    ObservedWord,
    Prose,
    Real,
    RowsWord,
    SelectionWord,
    Sizes,
    TextWord,
    TokenWord,
    Whole,
    Word,
)
from sessions.errors import UsageError
from sessions.results import Quit
from sessions.session import Session
from tests.commands.driving import result, unharmed
from tests.rounds import kept


@contextmanager
def declared(name: str, kind: type[Request], default: bool = False) -> Iterator[Verb]:
    """The verb of a struct in the block, and none of it afterwards."""
    verb(name, family="test", example=name, default=default)(kind)
    try:
        yield VERBS[name]
    finally:
        registry.DEFAULTS.pop(VERBS.pop(name).head, None)
        registry.TEXTS.discard(name)


class Manner(Options, frozen=True):
    """How it waves."""

    group = "Manner"

    speed: Annotated[float | None, Opt(Real(), "how fast")] = None
    both: Annotated[bool | None, Flag("with both hands", off="--one-hand")] = None
    side: Annotated[str, Flags({"left": "to the left (default)", "right": "to the right"})] = "left"


class Wave(Request, frozen=True):
    """Wave to someone.

    Nobody is harmed.
    """

    whom: Annotated[str, Arg(OneOf("person", {"ann": "who lives here", "bob": "who does not"}), "to whom")] = "ann"
    times: Annotated[int, Arg(Whole(), "how often")] = 1
    manner: Manner = Manner()
    said: Annotated[tuple[str, ...], Opt(TokenWord(), "what is said", flag="--say", many=True)] = ()
    silent: Annotated[bool, Flag("say nothing")] = False

    rules: ClassVar[tuple[Constraint, ...]] = (
        Excludes("silent", ("said",)),
        Needs(("both",), "speed", "{some} is for a wave with {one}", "wave {one} 2 {some}"),
    )

    def run(self, session: Session) -> Quit:
        session.results["waved"].append(self)  # type: ignore[arg-type]
        return Quit()


@pytest.fixture
def wave() -> Iterator[Verb]:
    with declared("wave", Wave) as made:
        yield made


def request(line: str) -> Request:
    return parse(line).request


def test_a_struct_is_all_it_takes_to_have_a_verb(wave: Verb, tmp_path: Path) -> None:
    line = "wave bob 3 --speed 0.5 --one-hand --right --say hi --say=ho"
    asked = Wave("bob", 3, Manner(0.5, False, "right"), ("hi", "ho"))
    assert request(line) == asked
    assert [each.text for each in complete("wave b")] == ["bob"]
    assert [each.text for each in complete("wave --o")] == ["--one-hand"]
    text = wave.help_text()
    assert text.startswith("wave [WHOM] [TIMES] [options]\n\nWave to someone.\n\nNobody is harmed.\n")
    assert "\nManner:\n  --speed X" in text and "how often" in text and "to the right" in text
    session = Session(tmp_path)
    for said in (line, call_line("wave", "bob", 3, speed=0.5, both=False, right=True, say=["hi", "ho"])):
        assert isinstance(result(session, said), Quit)
        assert session.results["waved"].pop() == asked
    session.close()


def test_a_struct_says_the_line_that_makes_it_again(wave: Verb) -> None:
    asked = Wave("bob", 3, Manner(0.5, False, "right"), (" hi", "-"))
    assert asked.line() == 'wave bob 3 --speed 0.5 --one-hand --right --say " hi" --say "-"'
    assert Wave().line() == "wave"
    assert Wave(times=2).line() == "wave ann 2"  # what stands before it has to be said


class Point(Request, frozen=True):
    """Point from one thing at another."""

    start: Annotated[str | None, Arg(Word(), "from where")] = None
    end: Annotated[str | None, Arg(Word(), "at what")] = None


def test_a_word_behind_one_that_is_left_out_has_no_line() -> None:
    with declared("point", Point):
        assert Point("a", "b").line() == "point a b" and Point("a").line() == "point a"
        with pytest.raises(TypeError, match="point: end is given, and start before it is not"):
            Point(end="b").line()


def test_parameters_that_exclude_each_other_are_refused_before_anything_runs(wave: Verb) -> None:
    with pytest.raises(UsageError, match="--silent does not go with --say"):
        parse("wave --silent --say hi")
    with pytest.raises(UsageError, match="--silent does not go with --say"):
        Wave(said=("hi",), silent=True)
    with pytest.raises(UsageError, match="--both is for a wave with --speed") as refused:
        parse("wave --both")
    assert refused.value.hint == "wave --speed 2 --both"
    assert parse("wave --both --speed 1")


def test_a_field_without_help_is_no_declaration() -> None:
    class Dumb(Request, frozen=True):
        """Say nothing."""

        word: Annotated[str, Opt(TokenWord(), "")] = ""

    class Bare(Request, frozen=True):
        """Say less."""

        word: str = ""

    class Halved(Request, frozen=True):
        """Say half."""

        word: Annotated[str, Flags({"one": "the one", "other": ""})] = "one"

    for kind, wrong in ((Dumb, "a help text"), (Bare, "one mark"), (Halved, "a help text")):
        with pytest.raises(TypeError, match=f"{kind.__name__}.word needs {wrong}"):
            verb("dumb", family="test", example="dumb")(kind)
    assert "dumb" not in VERBS


def test_two_verbs_cannot_have_one_name() -> None:
    with pytest.raises(TypeError, match="declares the verb keep, and so does"):
        verb("keep", family="test", example="keep")(Wave)


def test_a_block_of_options_stands_in_a_verb_once() -> None:
    class Twice(Request, frozen=True):
        """Wave twice."""

        first: Manner = Manner()
        second: Manner = Manner()

    with pytest.raises(TypeError, match="two fields of one name"):
        verb("twice", family="test", example="twice")(Twice)


class Bow(Request, frozen=True):
    """Bow."""

    depth: Annotated[int, Opt(Whole(), "how deep")] = 1

    def run(self, session: Session) -> Quit:
        session.results["bowed"].append(self)  # type: ignore[arg-type]
        return Quit()


@pytest.fixture
def greet() -> Iterator[None]:
    """The sub-verbs `greet wave`, and `greet bow`, which `greet` alone means."""
    with declared("greet wave", Wave), declared("greet bow", Bow, default=True):
        yield


def test_each_sub_verb_has_parameters_of_its_own(greet: None) -> None:
    assert request("greet wave bob 3 --silent") == Wave("bob", 3, silent=True)
    assert request("greet bow --depth 2") == request("greet --depth 2") == Bow(2)
    assert request("greet --depth 2 bow") == Bow(2)  # options may stand before the word that names it
    assert request("greet") == Bow()
    with pytest.raises(UsageError, match="greet bow has no option --silent"):
        parse("greet bow --silent")


def test_the_line_of_a_sub_verb_names_it(greet: None) -> None:
    assert Bow(2).line() == "greet bow --depth 2"
    assert Wave("bob").line() == "greet wave bob"


def test_a_sub_verb_that_does_not_exist_is_told_the_nearest(greet: None) -> None:
    with pytest.raises(UsageError, match="greet has no 'wawe'") as refused:
        parse("greet wawe")
    assert (refused.value.hint, refused.value.column) == ("did you mean greet wave?", 6)
    with pytest.raises(UsageError, match="greet has no 'x'") as refused:
        parse('greet "x"')
    assert refused.value.hint == "one of: greet wave, greet bow"
    with declared("meet now", Bow), pytest.raises(UsageError, match="meet needs an action"):
        parse("meet")
    with pytest.raises(UsageError, match="there is no verb 'gret'") as refused:
        parse("gret bow")
    assert refused.value.hint == "did you mean greet?"


def test_an_option_of_another_sub_verb_is_told_whose_it_is(greet: None) -> None:
    with pytest.raises(UsageError, match="greet bow has no option --silent") as refused:
        parse("greet bow --silent")
    assert refused.value.hint == "it is an option of greet wave"


def test_a_misspelt_sub_verb_is_no_word_of_the_default_one() -> None:
    with declared("greet bow", Bow), declared("greet wave", Wave, default=True):
        assert request("greet bob") == Wave("bob")
        with pytest.raises(UsageError, match="greet has no 'waev'") as refused:
            parse("greet waev bob")
        assert refused.value.hint == "did you mean greet wave?"


def test_a_word_that_is_missing_is_named_with_an_example() -> None:
    with pytest.raises(UsageError, match="atlas build needs a name") as refused:
        parse("atlas build")
    assert refused.value.hint.endswith("for example: atlas build small --docs 12 --layers 12")
    with pytest.raises(UsageError, match="inject needs --at"):
        parse("inject texas")


def test_sub_verbs_are_offered_behind_their_first_word(greet: None) -> None:
    assert [each.text for each in complete("gre")] == ["greet"]
    assert [each.text for each in complete("greet ")] == ["wave", "bow"]
    assert [each.text for each in complete("greet w")] == ["wave"]
    assert [each.text for each in complete("greet wave b")] == ["bob"]
    assert [each.text for each in complete("greet --")] == ["--depth"]
    assert "--silent" in [each.text for each in complete("greet wave --")]


def test_python_may_name_a_sub_verb_by_its_first_argument(greet: None) -> None:
    assert call_line("greet wave", "bob", silent=True) == "greet wave bob --silent"
    assert call_line("greet", "wave", "bob", silent=True) == "greet wave bob --silent"
    assert call_line("greet", action="bow", depth=2) == call_line("greet", depth=2) == "greet bow --depth 2"


def test_help_of_a_first_word_lists_its_sub_verbs(greet: None, tmp_path: Path) -> None:
    session = Session(tmp_path)
    text = result(session, "help greet").text
    assert "greet wave [WHOM] [TIMES] [options]\n  Wave to someone" in text
    assert "greet bow [options]\n  Bow (greet alone means this)" in text
    assert result(session, "help greet wave").verb == "greet wave"
    session.close()


@pytest.mark.parametrize("made", VERBS.values(), ids=list(VERBS))
def test_every_example_of_a_verb_is_a_line_of_its_own(made: Verb) -> None:
    assert made.examples
    assert all(parse(example).verb == made.name for example in made.examples)


def test_the_verbs_stand_in_the_order_of_help_whatever_is_imported_first() -> None:
    code = "import commands.{}; from commands.grammar import VERBS; print(*VERBS, sep=',')"
    orders = [
        subprocess.run([sys.executable, "-c", code.format(first)], capture_output=True, text=True, check=True).stdout
        for first in ("expecting", "grammar")
    ]
    assert orders[0] == orders[1] and orders[0].strip().split(",") == list(VERBS)


# ---- any request of any verb


_FLOATS = st.floats(1e-6, 1e5)
_TEXTS = ["a", " Austin", "--y", "#", 'say "hi"', "back\\slash", "-1", "é\n\t", "two words", "0.5"]
#: Texts that one kind of word or another can read.
_SPELT = [
    "circuit.size",
    "20GiB",
    "ray",
    "ray:10.0.0.1:6379",
    "last",
    "after:.",
    "0.1-2",
    "thought,answer",
    "answer",
    "calm",
    "means:calm",
    "vector:calm",
    "circuit:x",
    "1",
    "x=0.5",
    "fr*0.5+es",
    "en,sw",
    "last",
    'before:" Austin"',
]


def _values(word: click.ParamType) -> st.SearchStrategy[Any]:
    """Values that a kind of word can have."""
    if isinstance(word, SomeOf):
        return st.lists(st.sampled_from(list(word.meanings)), min_size=1, max_size=3, unique=True).map(tuple)
    if isinstance(word, OneOf):
        return st.sampled_from(list(word.meanings))
    if isinstance(word, Whole):
        return st.integers(word.least, word.most)
    if isinstance(word, Real):
        return st.floats(1e-6, min(word.most, 1e9))
    if isinstance(word, NumberWord | Gain):
        return st.floats(-1e6, 1e6)
    if isinstance(word, Spans):
        return st.lists(_spans(), min_size=1, max_size=3).map(tuple)
    if isinstance(word, Layers | Positions):
        return _spans()
    if isinstance(word, Sizes):
        return st.lists(st.integers(1, 99), min_size=1, unique=True, max_size=4).map(lambda sizes: tuple(sorted(sizes)))
    if isinstance(word, SelectionWord | ObservedWord):
        return st.sampled_from(["all", "top10", "all - L24/*", "L1/N2, L3/N4@-1", "(top5, L1/N2) & L1/*", "texas"])
    if isinstance(word, FileName) and not isinstance(word, CorpusWord):
        return st.sampled_from(["a.json", "my file.json", "/tmp/-x", "#1"]).map(Path)
    if type(word) in (Word, TextWord, Prose, TokenWord):
        return st.sampled_from(_TEXTS) | st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
    return st.sampled_from([value for text in (*_TEXTS, *_SPELT) for value in _read(word, text)])


def _read(word: Any, text: str) -> list[Any]:
    """What a word means, where it is a word of this kind."""
    try:
        return [word.read(text)]
    except UsageError:
        return []


def _spans() -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda pair: (min(pair), max(pair)))


@st.composite
def _requests(draw: st.DrawFn) -> Request:
    """A request of any verb that is a struct, its parameters drawn at will."""
    made = draw(st.sampled_from(list(VERBS.values())))
    params: dict[str, Any] = {}
    gone = False
    for field in fields_of(made.kind):
        mark = field.mark
        if isinstance(mark, Flags):
            values: st.SearchStrategy[Any] = st.sampled_from(list(mark.choices))
        elif isinstance(mark, Flag):
            values = st.sampled_from([None, True, False] if mark.off else [True, False])
        else:
            values = _values(mark.word)
            if mark.many:
                values = st.lists(values, min_size=int(field.default is field_needed), max_size=3).map(tuple)
        optional = field.default is not field_needed
        if isinstance(mark, Arg) and gone and optional:  # nothing can stand behind a word that is left out
            params[field.name] = field.default
            continue
        params[field.name] = draw(st.just(field.default) | values) if optional else draw(values)
        gone = gone or (isinstance(mark, Arg) and params[field.name] is None)
    try:
        return made.kind.of(params)
    except UsageError:  # what was drawn does not go together
        return draw(_requests())


field_needed = fields_of(VERBS["keep"].kind)[0].default  # type: ignore[arg-type]


@given(_requests())
def test_the_line_of_a_request_is_read_as_that_request(asked: Request) -> None:
    assert request(asked.line()) == asked


@given(_FLOATS)
def test_a_number_is_said_in_full_and_no_longer(value: float) -> None:
    assert Real().read(Real().said(value)) == value
    assert Real().said(0.5) == "0.5" and NumberWord().said(2.0) == "2"


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (Layers(), "9-26"), (Layers(), "12"), (Positions(), "-4--1"), (Spans(), "0,3-7,-1"), (Sizes(), "10,50,200"),
        (ListWord(), "x,y"), (METHOD, "relp"), (SCOPE, "circuit"), (Length(), "40"), (RowsWord(), "7"), (Prose(), "#1"),
    ],
)  # fmt: skip
def test_a_word_is_said_as_it_is_typed(word: Any, text: str) -> None:
    assert word.said(word.read(text)) == text


# Verbs that only look

#: A line of each verb that only looks, in a session that has something to look at.
LOOKING = {
    "tokens": "tokens",
    "history": "history",
    "edits list": "edits list",
    "adapter list": "adapter list",
    "atlas show": "atlas show L1/N3",
    "atlas top": "atlas top 1",
    "atlas list": "atlas list",
    "means show": "means show facts",
    "means list": "means list",
    "lens components": "lens components",
    "lens show": "lens show carried",
    "lens list": "lens list",
    "preset list": "preset list",
    "recruits": "recruits one",
    "list": "list",
    "verify-files": "verify-files sums.txt",
    "info": "info",
    "bench": "bench --tokens 4 --write 2 --effects 1 --repeats 1",
    "help": "help discover",
}


@pytest.fixture
def furnished(little: Session) -> Session:
    """A session with an atlas, means, a preset, a round and a list of sums."""
    for line in (
        "atlas build small --docs 2",
        "means build facts --docs 2",
        "lens fit carried --docs 2 --layers 1 --steps 1 --batch 4",
        "shift top3 2 --live",
        "preset save p",
        "fingerprint --write sums.txt",
    ):
        result(little, line)
    kept(little.store, little.opened(), "one")
    return little


def test_verbs_that_only_look_change_neither_the_session_nor_a_file(furnished: Session) -> None:
    assert {name for name, known in VERBS.items() if known.kind.reads_only} == set(LOOKING)
    for line in LOOKING.values():
        before = files_of(furnished.home)
        with unharmed(furnished):
            assert parse(line).request.reads_only
            result(furnished, line)
        assert files_of(furnished.home) == before, line


def files_of(home: Path) -> dict[Path, bytes]:
    """Every file of a home but its journal."""
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file() and path.name != "journal.jsonl"}
