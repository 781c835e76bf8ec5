"""The journal: every finished command is one line, and no accident costs more than the line it hit."""

from __future__ import annotations

import math
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

import sessions
from sessions.artifacts import now
from sessions.errors import ArtifactError
from sessions.events import Failed, Result, Value
from sessions.journal import LARGEST_VALUE, Dropped, Journal, Record, read, told
from sessions.results import OlderResult
from sessions.versions import versions
from sessions.views import view
from sessions.views.blocks import Facts

ROOT = Path(sessions.__file__).parents[1]


def record(line: str = 'discover " Austin"', value: Any = None, **changes: Any) -> Record:
    made = Record(
        line=line,
        verb="discover",
        arguments={"target": " Austin", "top": 200},
        outcome="result",
        value=value,
        seconds=0.25,
        rng=0,
        time=now(),
        versions=versions(),
        model="smollm2",
        fingerprint="f00d",
    )
    return structs.replace(made, **changes)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "hosts" / "default" / "journal.jsonl")


def test_records_are_read_in_the_order_in_which_they_were_appended(journal: Journal) -> None:
    records = [
        record("a"),
        record("b", {"kind": "Narrowed", "before": 3}),
        record("c", {"error": "cancelled", "message": "cancelled"}, outcome="failed", author="ann"),
    ]
    for each in records:
        journal.append(each)
    assert read(journal.path) == (records, [])
    assert journal.path.read_bytes().count(b"\n") == 3


def test_a_journal_knows_which_records_it_appended_itself(journal: Journal) -> None:
    other = Journal(journal.path)
    for each, line in ((journal, "a"), (other, "b"), (journal, "c")):
        each.append(record(line))
    with journal.path.open("ab") as file:
        file.write(b'{"torn')  # by a process that was killed
    journal.append(record("d"))
    assert [each.line for each in journal.own()[0]] == ["a", "c", "d"]
    assert [each.line for each in other.own()[0]] == ["b"]
    assert Journal(journal.path).own() == ([], [])


def test_its_own_records_have_the_values_that_were_too_large_for_the_file(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.journal.LARGEST_VALUE", 100)
    monkeypatch.setattr("sessions.journal.MOST_HELD", 1000)
    records = [record(f"{number}", {"kind": "Saved", "name": "x" * 400}) for number in range(4)]
    for each in records:
        journal.append(each)
    assert all("dropped" in each.value for each in read(journal.path)[0])
    own, warnings = journal.own()
    assert own[2:] == records[2:] and all("dropped" in each.value for each in own[:2])  # those are too many to hold
    assert warnings == []


def test_records_that_are_no_longer_in_the_file_are_counted(journal: Journal) -> None:
    for line in "abc":
        journal.append(record(line))
    first = journal.path.read_bytes().splitlines(True)[0]
    journal.path.write_bytes(first)
    own, warnings = journal.own()
    assert [each.line for each in own] == ["a"]
    assert warnings == [f"2 lines of this session are no longer in {journal.path}"]
    journal.path.unlink()
    assert journal.own() == ([], [f"3 lines of this session are no longer in {journal.path}"])


def test_a_journal_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "nowhere" / "journal.jsonl") == ([], [])


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(line=texts, arguments=st.dictionaries(texts, values, max_size=3), value=values)
def test_any_record_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, line: str, arguments: dict[str, Any], value: Any
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    written = record(line, value, arguments=arguments)
    Journal(path).append(written)
    assert read(path) == ([written], [])


def test_the_journal_survives_a_cut_at_every_byte_of_its_last_line(journal: Journal) -> None:
    first, last, after = record("first"), record("last “…”", {"text": "é\n"}), record("after")
    journal.append(first)
    kept = journal.path.stat().st_size
    journal.append(last)
    whole = journal.path.read_bytes()
    for length in range(kept, len(whole) + 1):
        journal.path.write_bytes(whole[:length])
        records, warnings = read(journal.path)
        complete = length >= len(whole) - 1
        assert records == ([first, last] if complete else [first])
        assert len(warnings) == (0 if complete or length == kept else 1)
        assert all("line 2" in warning for warning in warnings)
        journal.append(after)
        again, warnings_again = read(journal.path)
        assert again == [*records, after]
        assert len(warnings_again) == len(warnings)
        assert all("line 2" in warning for warning in warnings_again)


@pytest.mark.parametrize(
    "torn", [b"\xff\xfe", b"{}", b"[1]", b'{"line": 3}', b"[" * 100_000, b"\x00" * 50, b'{"line":"x"'], ids=repr
)
def test_a_line_that_is_no_record_is_skipped_with_its_number(journal: Journal, torn: bytes) -> None:
    journal.append(record("a"))
    with journal.path.open("ab") as file:
        file.write(torn[:200] + b"\n\n")
    journal.append(record("b"))
    records, warnings = read(journal.path)
    assert [each.line for each in records] == ["a", "b"]
    assert len(warnings) == 1
    assert f"{journal.path}, line 2" in warnings[0]


def test_a_value_too_large_leaves_its_kind_and_its_size(journal: Journal) -> None:
    class Large(Value, frozen=True, kw_only=True):
        text: str

    journal.append(record(value=Large(text="x" * LARGEST_VALUE)))
    journal.append(record(value={"kind": "Swept", "arms": ["x" * LARGEST_VALUE]}))
    journal.append(record(value="x" * (LARGEST_VALUE - 2)))
    (large, swept, fits), warnings = read(journal.path)
    assert not warnings
    assert large.value["kind"] == "Large" and swept.value["kind"] == "Swept"
    assert set(large.value) == set(Dropped.__struct_fields__)
    assert str(LARGEST_VALUE) in large.value["dropped"]
    assert len(fits.value) == LARGEST_VALUE - 2


def test_what_json_cannot_say_does_not_stop_the_journal(journal: Journal) -> None:
    journal.append(record("generate \udcff", {"text": ["\udcff"], "path": Path("/x")}, arguments={"p": math.nan}))
    (only,), warnings = read(journal.path)
    assert not warnings
    assert only.line == "generate \\udcff"
    assert only.value == {"text": ["\\udcff"], "path": "/x"}
    assert only.arguments == {"p": None}


def test_the_versions_are_known_without_importing_what_they_are_of() -> None:
    code = (
        "import sys; from sessions.versions import versions; v = versions();"
        "assert set(v) == {'workbench', 'python', 'torch', 'transformers'} and all(v.values()), v;"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert versions()["python"] == sys.version.split()[0]


def test_a_journal_that_cannot_be_written_says_so_once_and_goes_on_when_it_can(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    journal = Journal(tmp_path / "home" / "journal.jsonl")
    with pytest.raises(ArtifactError, match="Not a directory") as caught:
        journal.append(record("a"))
    assert str(journal.path) in caught.value.message
    assert "WORKBENCH_HOME" in caught.value.hint
    journal.append(record("b"))
    (tmp_path / "home").unlink()
    journal.append(record("c"))
    assert [each.line for each in read(journal.path)[0]] == ["c"]
    journal.path.unlink()
    journal.path.mkdir()
    with pytest.raises(ArtifactError):
        journal.append(record("d"))


def test_a_folder_in_the_journal_s_place_is_an_error_to_read(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot read the journal"):
        read(tmp_path)


def test_a_disk_that_fills_up_in_the_middle_of_a_record_costs_that_record_only(journal: Journal) -> None:
    journal.append(record("a"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 10, hard))
    try:
        with pytest.raises(ArtifactError, match="cannot write the journal"):
            journal.append(record("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.append(record("c"))
    records, warnings = read(journal.path)
    assert [each.line for each in records] == ["a", "c"]
    assert len(warnings) == 1


APPENDING = """
import sys
from pathlib import Path
from sessions.journal import Journal, Record
journal = Journal(Path(sys.argv[1]))
for i in range(50):
    journal.append(Record(line=f"{sys.argv[2]}{i}", verb="", arguments={}, outcome="result", value="x" * 5000,
                          seconds=0, rng=0, time="", versions={}))
"""


def test_records_of_two_processes_are_never_mixed(journal: Journal) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", APPENDING, str(journal.path), who], cwd=ROOT) for who in ("a", "b")
    ]
    assert [process.wait() for process in processes] == [0, 0]
    records, warnings = read(journal.path)
    assert not warnings
    for who in ("a", "b"):
        assert [each.line for each in records if each.line.startswith(who)] == [f"{who}{i}" for i in range(50)]


def test_a_result_of_another_version_is_shown_as_data() -> None:
    """A kind whose fields have changed since, and a kind that is gone, lose nothing and break nothing."""
    for kind in ("Expected", "NoSuchKind"):
        _, outcome = told(record(value={"kind": kind, "holds": "yes\x1b[2J", "rows": [1, 2]}))
        assert isinstance(outcome, Result) and isinstance(outcome.value, OlderResult)
        assert (outcome.value.what, outcome.value.fields) == (kind, (("holds", '"yes\\u001b[2J"'), ("rows", "[1, 2]")))
        (facts, _) = view(outcome.value)
        assert isinstance(facts, Facts) and [fact.name for fact in facts.items] == ["holds", "rows"]
    _, damaged = told(record(value=[1]))
    assert isinstance(damaged, Failed)
