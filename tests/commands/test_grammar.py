"""The grammar: every line is a call or an error with a hint, and half a line knows what it could become."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.calling import call_line
from commands.completing import Completion, complete
from commands.grammar import VERBS, Call, find, parse
from commands.line import words
from commands.names import FileName, ModelName
from commands.verb import Verb
from sessions.errors import UsageError
from sessions.model.units import Unit
from sessions.session import Session
from tests.commands.driving import result

_OPTIONS = sorted({name for verb in VERBS.values() for param in verb.params for name in param.opts if name[0] == "-"})
_PIECES = [
    *VERBS, *_OPTIONS, "--top=", "--at=", "--bogus", "all", "top10", "L1/N2@-1", "L0-2/*", "texas", "-", "+", "&", ",",
    "0", "-1", "1e9", "nan", "²", "9" * 5000, '"', "'", '" Austin"', "#", "\\", "=", "a=b", "~nobody/", "./", "..",
    "\0", "\ud800", "é", " ", "  ", "\t", "contains", "<=",
]  # fmt: skip
#: Lines that begin like lines, and go on like anything.
LINES = st.one_of(
    st.text(alphabet=st.characters()),
    st.lists(st.sampled_from(_PIECES), max_size=7).map("".join),
    st.tuples(st.sampled_from(sorted(VERBS)), st.lists(st.sampled_from(_PIECES), max_size=6)).map(
        lambda parts: " ".join([parts[0], *parts[1]])
    ),
)


def refused(line: str) -> UsageError:
    with pytest.raises(UsageError) as raised:
        parse(line)
    return raised.value


def offered(line: str, session: Session | None = None) -> list[str]:
    return [completion.text for completion in complete(line, session=session)]


# ---- any line


@given(LINES)
def test_a_line_is_a_call_or_an_error_with_a_hint(line: str) -> None:
    try:
        call = parse(line)
    except UsageError as error:
        assert error.message and error.hint
        assert error.column is None or 0 <= error.column <= len(line)
    else:
        assert call.verb in VERBS
        assert set(call.params) == {param.name for param in VERBS[call.verb].params}


@given(LINES, st.data())
def test_completion_never_fails(line: str, data: st.DataObject) -> None:
    cursor = data.draw(st.integers(0, len(line)))
    for completion in complete(line, cursor):
        assert 0 <= completion.start <= cursor


@given(LINES)
def test_what_completion_offers_is_read_as_what_it_is(line: str) -> None:
    """Put in place of the word it is one word, and nothing that is wrong with the line is wrong with it."""
    for completion in complete(line):
        completed = line[: completion.start] + completion.text
        end = words(completed, unfinished=True)[-1].end
        assert end == len(completed)
        try:
            parse(completed)
        except UsageError as error:
            assert error.column is None or not completion.start <= error.column < end


# ---- verbs


@pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))
def test_every_verb_explains_itself(verb: Verb) -> None:
    assert parse(verb.example).verb == verb.name
    assert verb.summary and len(verb.summary) < 100
    text = verb.help_text()
    assert text.startswith(verb.usage) and verb.summary in text
    for param in verb.params:
        about = param.help if isinstance(param, click.Option) else getattr(param, "about", "")
        assert about and about in text
        assert all(name in text for name in param.opts if name.startswith("-"))


def test_the_verbs_of_the_foundation_are_there() -> None:
    wanted = (
        "model prompt seed tokens generate top prob discover neurons ablate amplify sweep keep drop "
        "save load list delete export import info set expect run help quit"
    )
    assert set(wanted.split()) <= set(VERBS)


def test_exit_is_quit() -> None:
    assert parse("exit").verb == "quit"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("discovr", "discover"),
        ("abalte", "ablate"),
        ("DISCOVER", "discover"),
        ("gen", "generate"),
        ("ls", "list"),
    ],
)
def test_an_unknown_verb_names_the_nearest(typed: str, meant: str) -> None:
    error = refused(f"  {typed} x")
    assert error.message == f"there is no verb '{typed}'"
    assert error.hint == f"did you mean {meant}?"
    assert error.column == 2


def test_a_word_like_no_verb_leads_to_help() -> None:
    assert refused("zzz").hint == refused('""').hint == "help lists all verbs"
    assert find("top").name == "top"


def test_a_line_without_a_command_is_told_so() -> None:
    assert refused("").message == refused("# nothing").message == "the line is empty"


def test_bytes_that_are_no_text_are_found() -> None:
    line = b"prompt caf\xe9 au lait".decode("utf-8", "surrogateescape")
    assert refused(line).column == 10


# ---- options


def params(line: str) -> dict[str, Any]:
    return {name: value for name, value in parse(line).params.items() if value not in (None, False, ())}


#: What `discover` does unless it is told otherwise.
ANYWHERE = {"at": "all", "region": "all"}
PLAIN = {"method": "relp", "units": "neurons"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('discover " Austin" --top 50', {**PLAIN, "target": " Austin", "top": 50}),
        ('discover --top=50 " Austin"', {**PLAIN, "target": " Austin", "top": 50}),
        ('discover --vs=" Houston" " Austin"', {**PLAIN, "target": " Austin", "vs": " Houston"}),
        ('discover x --vs "--y"', {**PLAIN, "target": "x", "vs": "--y"}),
        ("discover --layers 9-26 --keep-bos", {**PLAIN, "layers": (9, 26), "keep_bos": True}),
        ("discover --layers L12", {**PLAIN, "layers": (12, 12)}),
        ('prompt two  words "and  more" --raw', {"text": ("two", "words", "and  more"), "raw": True}),
        ("prompt the -- in the middle", {"text": ("the", "--", "in", "the", "middle")}),
        ('prompt "--raw" is a word', {"text": ("--raw", "is", "a", "word")}),
        ("generate --stop a --stop=b --greedy", {"stop": ("a", "b")}),
        ("amplify top10 -2", {"selection": "top10", "factor": -2.0, **ANYWHERE}),
        (
            "amplify L1/N2, L3/N4 -.5 --at circuit",
            {**ANYWHERE, "selection": "L1/N2, L3/N4", "factor": -0.5, "at": "circuit"},
        ),
        ("shift L1/N2, L3/N4 3 --prompt", {**ANYWHERE, "selection": "L1/N2, L3/N4", "gain": 3.0, "region": "prompt"}),
        (
            "set-to L1/N2 -3 --positions 1,3-5,-1",
            {**ANYWHERE, "selection": "L1/N2", "gain": -3.0, "positions": ((1, 1), (3, 5), (-1, -1))},
        ),
        ("ablate all - L24/*", {"selection": "all - L24/*", "held": "zero", **ANYWHERE}),
        ("ablate all-L24/* --mean", {"selection": "all-L24/*", "held": "mean", **ANYWHERE}),
        ("ablate top50 & L9-26/* + x", {"selection": "top50 & L9-26/* + x", "held": "zero", **ANYWHERE}),
        ("sweep top50 -1 0 1e3", {"words": ("top50", "-1", "0", "1e3"), **ANYWHERE}),
        ('expect prob " Austin" < 0.2', {"subject": "prob", "words": (" Austin", "<", "0.2")}),
    ],
)
def test_lines_are_parsed_into_parameters(line: str, expected: dict[str, Any]) -> None:
    assert params(line) == expected


@pytest.mark.parametrize(
    ("line", "message", "hint", "at"),
    [
        ("discover --topp 5", "discover has no option --topp", "did you mean --top?", "--topp"),
        ("tokens --all", "tokens has no option --all", "it has none; put quotes around text", "--all"),
        ("discover --top", "--top needs a value", "help discover", ""),
        ("prompt hi --system --raw", "--system needs a value", "help prompt", " --raw"),
        ("discover --top five", "'five' is not a whole number of at least 1", "10", "five"),
        ("discover --top=five", "'five' is not a whole number of at least 1", "10", "five"),
        ("discover --top 0", "'0' is not a whole number", "10", "0"),
        ("discover --top " + "9" * 5000, "is not a whole number", "10", "999"),
        ("discover --cumulative 1.5", "'1.5' is not a number above 0 and at most 1", "0.5", "1.5"),
        ("discover --percentage inf", "'inf' is not a number above 0", "0.5", "inf"),
        ("discover --layers 26-9", "'26-9' is not a range of layers", "9-26", "26-9"),
        ("discover --layers ²", "'²' is not a range of layers", "9-26", "²"),
        ('discover ""', "the token is empty", "leading space", '"'),
        ("discover --attention frosen", "unknown attention rule 'frosen'", "did you mean frozen?", "frosen"),
        ("ablate --prompt --generated", "ablate takes --prompt or --generated, not both", "leave one", "--generated"),
        ("ablate --mean top5 --resample", "ablate takes --mean or --resample, not both", "leave one", "--resample"),
        ("ablate --at=here", "unknown scope 'here'", "one of: all, circuit", "here"),
        ("ablate  top10,,", "'top10,,' is not a selection: at ','", "top10", ","),
        ("ablate all -", "'all -' is not a selection: it ends after 'all -'", "top10", ""),
        ("ablate L1/N2x", "'x' is left over", "L24/N1005@41", "x"),
        ("amplify all lots", "'lots' is not a multiplier", "0, 0.5 or 2", "lots"),
        ("amplify all nan", "'nan' is not a multiplier", "0, 0.5 or 2", "nan"),
        ("amplify all 1e9", "1e9 is too large for a multiplier", "below a million", "1e9"),
        ('generate --stop ""', "the text is empty", "quotes", '"'),
        ("set tpo 5", "unknown setting 'tpo'", "did you mean top?", "tpo"),
        ("run ~nobody-at-all/x.wb", "of an unknown user", "./", "~"),
        ('model ""', "the model's name is empty", "smollm2", '"'),
    ],
)
def test_an_error_in_a_line_is_reported_with_its_column(line: str, message: str, hint: str, at: str) -> None:
    error = refused(line)
    assert message in error.message
    assert hint in error.hint
    assert error.column is not None
    assert line[error.column :].startswith(at)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ablate all texas", "unexpected extra argument (texas)"),
        ("save", "save needs a name"),
        ("save --force=yes x", "'--force' does not take a value"),
    ],
)
def test_too_much_or_too_little_shows_the_usage(line: str, message: str) -> None:
    error = refused(line)
    assert message in error.message
    assert error.hint.startswith("usage: ")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "~x", "", "all", "top5", "L24", "x" * 65, ".x", "é"])
def test_a_name_that_no_artifact_can_have_is_refused_before_anything_runs(name: str) -> None:
    for verb in ("save", "load", "delete"):
        error = refused(f'{verb} "{name}"')
        assert error.message and error.hint
        assert error.column == len(f'{verb} "')
    assert refused(f'import x.json --as "{name}"').column == len('import x.json --as "')


# ---- completion


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("abl", ["ablate"]),
        ("  dis", ["discover"]),
        ("help neu", ["neurons", "neuron"]),
        ("discover --att", ["--attention"]),
        ("discover --attention ", ["frozen", "gradient"]),
        ("discover --attention=g", ["--attention=gradient"]),
        ("ablate --at c", ["circuit"]),
        ("ablate t", ["top10", "top50"]),
        ("ablate all - t", ["top10", "top50"]),
        ("ablate L1/N2,t", ["L1/N2,top10", "L1/N2,top50"]),
        ("ablate L1/N2, t", ["top10", "top50"]),
        ("amplify all ", ["0", "0.5", "1", "2"]),
        ("sweep al", ["all"]),
        ("sweep all 0", ["0", "0.5"]),
        ("set atten", ["attention"]),
        ("set attention f", ["frozen"]),
        ("set sample ", ["on", "off"]),
        ("expect circuit.c", ["circuit.conservation"]),
        ("expect text con", ["contains"]),
        ('expect prob " A" >', [">", ">="]),
        ("expect text contains con", []),
        ("model smo", ["smollm2"]),
        ("model --dtype bf", ["bfloat16"]),
        ('model "smo', ["smollm2"]),
        ("export --format r", ["reference"]),
        ("nosuchverb ", []),
        ("top # dis", []),
        ("# dis", []),
        ("ablate all ", []),
        ('discover "--to', []),
        ("discover --bogus=", []),
    ],
)
def test_completions_of_lines(line: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert offered(line) == expected


def test_an_empty_line_offers_every_verb() -> None:
    assert offered("") == sorted({verb.head for verb in VERBS.values()})
    assert all(completion.description for completion in complete(""))


def test_an_option_that_was_given_is_not_offered_again() -> None:
    assert "--top" in offered("discover --")
    assert "--top" not in offered("discover --top 5 --")
    assert "--top" not in offered("discover --top=5 --")
    assert "--stop" in offered("generate --stop x --")


def test_only_what_stands_before_the_cursor_counts() -> None:
    assert complete("discover --att frozen", len("dis")) == [Completion(0, "discover", VERBS["discover"].summary)]


def test_every_verb_offers_something_for_what_it_takes(little: Session) -> None:
    """Everything but numbers and texts of the user's own can be completed."""
    (Path.cwd() / "file.json").touch()
    (Path.cwd() / "file.wb").touch()
    (Path.cwd() / "file.safetensors").touch()
    (Path.cwd() / "file.jsonl").touch()
    (Path.cwd() / "file.dot").touch()
    (Path.cwd() / "file.svg").touch()
    (Path.cwd() / "file.html").touch()
    result(little, "save texas")
    (little.home / "adapters" / "fr").mkdir(parents=True)
    (little.home / "edits").mkdir()
    (little.home / "edits" / "meow.safetensors").touch()
    (little.home / "rounds" / "crab-1").mkdir(parents=True)
    (little.home / "rounds" / "crab-1" / "round.json").touch()
    free = ("text", "token", "whole number", "number", "gain", "name")
    for verb in VERBS.values():
        for param in verb.params:
            if isinstance(param, click.Option) and not param.is_flag and param.type.name not in free:
                assert offered(f"{verb.name} {param.opts[0]} ", little), f"{verb.name} {param.opts[0]}"
        first = next((param for param in verb.params if isinstance(param, click.Argument)), None)
        if first is not None and (first.type.name not in free or verb.name in ("load", "delete")):
            assert offered(f"{verb.name} ", little), verb.name


def test_a_session_offers_its_names_and_neurons(little: Session) -> None:
    result(little, "save texas")
    assert little.circuit is not None
    strongest = str(little.circuit.neurons[0])
    assert "texas" in offered("load ", little)
    assert offered('load "te', little) == ["texas"]
    assert {"texas", strongest} <= set(offered("ablate ", little))
    assert f"all,{strongest}" in offered("ablate all,", little)


def test_files_are_offered_as_they_have_to_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my files").mkdir()
    (tmp_path / "my files" / "a.wb").touch()
    (tmp_path / "b.wb").touch()
    (tmp_path / "c.json").touch()
    (tmp_path / ".hidden.wb").touch()
    monkeypatch.chdir(tmp_path)
    assert offered("run ")[:2] == ['"my files/"', "b.wb"]
    assert "capital" in offered("run c")
    assert offered('run "my files/') == ['"my files/a.wb"']
    assert offered("run nowhere/") == offered("run ~nobody-at-all/") == offered("run \0/") == []
    for param in (FileName(), ModelName()):
        assert all(text.isprintable() for text, _ in param.completions(None, ""))


def test_files_whose_names_are_no_text_are_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        Path(tmp_path, "caf\udce9.wb").touch()
    except OSError:
        pytest.skip("this file system takes no such name")
    monkeypatch.chdir(tmp_path)
    assert all(each.isalpha() for each in offered("run "))


# ---- from Python


@given(st.text(min_size=1), st.text(min_size=1), st.integers(1, 10**6))
def test_arguments_come_through_a_line_as_they_were(target: str, other: str, top: int) -> None:
    call = parse(call_line("discover", target, vs=other, top=top, keep_bos=True, keep_universal=False))
    assert (call.verb, call.params["target"], call.params["vs"], call.params["top"]) == ("discover", target, other, top)
    assert call.params["keep_bos"] is True and call.params["keep_universal"] is False


@given(st.lists(st.text()), st.text(), st.booleans())
def test_texts_come_through_a_line_as_they_were(texts: list[str], system: str, raw: bool) -> None:
    call = parse(call_line("prompt", *texts, system=system, raw=raw))
    said = {"text": tuple(texts), "system": system, "raw": raw, "thinking": None}
    assert call.params == {**said, "goes_on": False, "max_tokens": None}


@given(st.floats(-1e6, 1e6))
def test_multipliers_come_through_a_line_as_they_were(factor: float) -> None:
    assert parse(call_line("amplify", "all", factor)).params["factor"] == factor


def called(name: str, *args: Any, **kwargs: Any) -> Call:
    return parse(call_line(name, *args, **kwargs))


def test_python_values_have_their_words() -> None:
    neurons = (Unit(1, 2, attribution=0.5), Unit(3, 4, -1))
    assert called("ablate", neurons).params["selection"] == "L1/N2,L3/N4@-1"
    assert called("sweep", neurons, 0, 1.5).params["words"] == ("L1/N2,L3/N4@-1", "0", "1.5")
    assert called("sweep", "all", [0, 1]).params["words"] == ("all", "0", "1")
    assert called("discover", layers=(9, 26)).params["layers"] == (9, 26)
    assert called("discover", layers=range(9, 27)).params["layers"] == (9, 26)
    assert called("prompt", "x", thinking=False).params["thinking"] == "off"
    assert called("set", "sample", True).params["value"] == "on"
    assert called("generate", sample=False).params["sample"] is False
    assert called("generate", sample=None).params["sample"] is None
    assert called("generate", stop=["a", " b"]).params["stop"] == ("a", " b")
    assert called("export", Path("my file.json")).params["path"] == Path("my file.json")


def test_an_argument_may_be_named_without_the_one_before_it() -> None:
    call = called("amplify", factor=3)
    assert (call.params["selection"], call.params["factor"]) == ("all", 3.0)
    assert call_line("amplify") == "amplify"
    with pytest.raises(UsageError, match="set needs name too"):
        call_line("set", value=3)


def test_what_a_verb_does_not_take_is_refused() -> None:
    with pytest.raises(UsageError, match="discover takes no argument bogus"):
        call_line("discover", bogus=1)
    with pytest.raises(UsageError, match="takes no argument 'b'"):
        call_line("save", "a", "b")
    with pytest.raises(UsageError, match="there is no verb 'discovr'"):
        call_line("discovr")


# ---- weight


def test_the_grammar_needs_no_torch() -> None:
    code = (
        "import sys, commands.completing as c, commands.grammar as g; c.complete('abl'); g.parse('discover x'); "
        "print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_from_python_a_parameter_may_be_called_name() -> None:
    """Words and options of that name are those of the verb, not of the function that writes its line."""
    assert parse(call_line("save", name="texas")).params["name"] == "texas"
    assert parse(call_line("surgery", layers="1-2", tokens=" a", name="cut")).params["name"] == "cut"


@pytest.mark.parametrize("line", ["ablate " + "L1/N1," * 170_000 + "L", "arms " + "a " * 300_000, "m" * 1_000_000])
def test_nothing_is_completed_in_a_line_too_long_to_be_typed(line: str) -> None:
    assert complete(line) == []


def test_a_selection_of_a_megabyte_is_read_in_one_go() -> None:
    """Reading it took time that grew with the square of its length: half a minute."""
    assert len(parse("ablate " + "L1/N1," * 170_000 + "L1/N1").params["selection"]) > 1_000_000
