"""The reference is what the declarations say now."""

from __future__ import annotations

import re
from typing import get_args

from commands.grammar import VERBS
from manual import reference, surfaces
from manual.markdown import inline
from sessions.views.blocks import AnyBlock

AGAIN = "something declared has changed: run python -m manual"


def test_the_pages_are_those_of_the_verbs_there_are() -> None:
    for path, text in reference.pages().items():
        assert path.read_text("utf-8") == text, f"{path.name}: {AGAIN}"


def test_every_verb_and_every_option_is_explained() -> None:
    pages = {path.stem: text for path, text in reference.pages().items()}
    for name, verb in VERBS.items():
        page = pages[reference.slug(verb.family)]
        (section,) = re.findall(rf"^## {re.escape(name)}$.*?(?=^## |\Z)", page, re.M | re.S)
        assert verb.usage in section and all(example in section for example in verb.examples)
        for rows in verb.groups().values():
            assert all(inline(about).replace("|", "\\|").replace("\\\\|", "\\|") in section for _, about in rows), name


def test_what_does_not_go_together_is_said() -> None:
    page = reference.pages()[reference.FOLDER / "circuits.md"]
    assert "`--prompts` does not go with `TARGET`, `--vs`, `--target-only`, `--sequence`." in page
    assert "`--sequence` needs `TARGET`." in page


def test_the_table_of_surfaces_is_current_and_has_no_empty_cell() -> None:
    """Making it draws every block of every result on every surface; a verb without a view is an error."""
    assert surfaces.PATH.read_text("utf-8") == surfaces.text(), AGAIN
    rows = list(surfaces.rows())
    assert len(rows) == len(VERBS)
    assert all(cell.strip() for row in rows for cell in row)


def test_every_form_of_a_block_has_a_word() -> None:
    assert set(surfaces.FORMS) == {kind.__name__ for kind in get_args(AnyBlock)}


def test_text_is_escaped_and_what_one_types_is_code() -> None:
    assert inline("with --prompts: a|b <x> *not* {odd}") == r"with `--prompts`: a\|b \<x\> \*not\* \{odd\}"
    assert inline('lines {"a": {"b": 1}} in x.jsonl') == 'lines `{"a": {"b": 1}}` in `x.jsonl`'
