"""The rules of the house that can be read off its files. Layers and imports are contracts in `pyproject.toml`."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
FLOORS = ("sessions", "commands", "workbench")


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax tree of every file of the three floors, by its path."""
    files = (file for floor in FLOORS for file in sorted((ROOT / floor).rglob("*.py")))
    return {str(file.relative_to(ROOT)): ast.parse(file.read_text("utf-8")) for file in files}


def test_no_file_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph(*FLOORS, exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while True:  # what imports nothing that is left, and what nothing that is left imports, is in no circle
        imported = {each for those in imports.values() for each in those}
        kept = {module: those & imports.keys() for module, those in imports.items() if module in imported}
        kept = {module: those for module, those in kept.items() if those}
        if kept == imports:
            break
        imports = kept
    assert sorted(imports) == []


def test_hooks_are_registered_in_one_file() -> None:
    names = {
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
        "register_hook",
    }
    found = {path for path, tree in trees().items() for node in attributes(tree) if node.attr in names}
    assert found == {"sessions/model/hooks.py"}


def test_every_file_says_what_it_is_for() -> None:
    assert [path for path, tree in trees().items() if tree.body and ast.get_docstring(tree) is None] == []


def test_no_public_class_name_stands_twice() -> None:
    """Each is one word of one glossary: a reader who meets it knows which is meant."""
    where: defaultdict[str, list[str]] = defaultdict(list)
    for path, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(path)
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}


def attributes(tree: ast.Module) -> Iterator[ast.Attribute]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
