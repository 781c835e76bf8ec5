"""A corpus is its documents in order, the same each time it is read, or an error that says what is wrong with it."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.errors import ArtifactError, UsageError, WorkbenchError
from sessions.events import finished
from sessions.texts import corpus as room
from sessions.texts.corpus import Corpus

PARAGRAPHS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\n"))
)


def refused(word: str | Path) -> WorkbenchError:
    with pytest.raises(WorkbenchError) as raised:
        finished(Corpus(str(word)).surveyed())
    assert raised.value.hint
    return raised.value


def test_the_built_in_corpus_is_short_paragraphs_of_many_kinds() -> None:
    corpus = Corpus()
    texts = list(corpus.documents())
    assert corpus.name == "paragraphs"
    assert len(texts) == len(set(texts)) == 116 and all(40 < len(text) < 600 for text in texts)
    survey = finished(corpus.surveyed())
    assert survey.documents == 116 and survey == finished(Corpus().surveyed())
    assert list(Corpus("", 5).documents()) == texts[:5]


@given(PARAGRAPHS)
def test_blank_lines_part_the_documents_of_a_text(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("corpus") / "a.txt"
    path.write_text("\n\n".join(texts), encoding="utf-8", newline="")
    assert list(Corpus(str(path)).documents()) == [text.strip() for text in texts if text.strip()]


def test_a_folder_is_its_files_by_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("three\nlines\n\n\n\nfour")
    (tmp_path / "a.jsonl").write_text('{"text": "one", "id": 1}\n\n{"text": ""}\n')
    (tmp_path / "sub" / "c.md").write_text("five")
    (tmp_path / "d.bin").write_bytes(b"\xff\xfe")
    assert list(Corpus(str(tmp_path)).documents()) == ["one", "", "three\nlines", "four", "five"]


def test_texts_cut_elsewhere_are_another_corpus(tmp_path: Path) -> None:
    found = set()
    for number, text in enumerate(("ab\n\nc", "a\n\nbc", "abc")):
        path = tmp_path / f"{number}.txt"
        path.write_text(text)
        found.add(finished(Corpus(str(path)).surveyed()).sha256)
    assert len(found) == 3


def test_what_cannot_be_read_as_a_corpus_is_refused(tmp_path: Path) -> None:
    assert "no corpus" in refused(tmp_path / "nothing.txt").message
    assert "no text files" in refused(tmp_path).message
    (tmp_path / "blank.txt").write_text("\n \n")
    assert "no document" in refused(tmp_path / "blank.txt").message
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    assert "UTF-8" in refused(tmp_path / "latin.txt").message
    for line in ('{"prompt": "x"}', "plain", '{"text": 3}'):
        (tmp_path / "a.jsonl").write_text('{"text": "ok"}\n' + line)
        assert "line 2" in refused(tmp_path / "a.jsonl").message


def test_a_file_that_vanishes_half_way_is_named(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("one\n\ntwo")
    texts = Corpus(str(tmp_path)).documents()
    assert next(texts) == "one"
    (tmp_path / "b.txt").unlink()
    with pytest.raises(ArtifactError, match=r"b\.txt") as raised:
        list(texts)
    assert "goes on where it stopped" in raised.value.hint


def test_data_sets_need_their_library_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "find_spec", lambda _: None)
    error = refused("hf:some/set")
    assert isinstance(error, UsageError) and "not installed" in error.message and "[corpora]" in error.hint


def test_a_data_set_is_its_column_of_texts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[object, ...]] = []

    def load_dataset(name: str, *, split: str, streaming: bool) -> list[dict[str, str]]:
        asked.append((name, split, streaming))
        if name == "gone":
            raise ConnectionError("no route\nto host")
        return [{"text": "one"}, {"text": "two"}] if name != "other" else [{"content": "x"}]

    stand_in = ModuleType("datasets")
    stand_in.load_dataset = load_dataset  # type: ignore[attr-defined]
    stand_in.load_from_disk = lambda path: [{"text": Path(path).name}]  # type: ignore[attr-defined]
    stand_in.__spec__ = ModuleSpec("datasets", None)
    monkeypatch.setitem(sys.modules, "datasets", stand_in)
    assert list(Corpus("hf:some/set:test").documents()) == ["one", "two"]
    assert asked == [("some/set", "test", True)]
    assert "'text'" in refused("hf:other").message
    with pytest.raises(ArtifactError, match=r"no route$"):
        list(Corpus("hf:gone").documents())
    (tmp_path / "state.json").write_text("{}")
    assert list(Corpus(f"hf:{tmp_path}").documents()) == [tmp_path.name]
