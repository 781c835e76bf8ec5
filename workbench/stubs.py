"""Writes `methods.pyi`, which declares every verb for editors and type checkers: `python -m workbench.stubs`."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from commands.grammar import VERBS
from commands.verb import Verb, actions_of
from workbench.docstrings import documentation, documentation_of_head
from workbench.signatures import method_name, signature

PATH = Path(__file__).with_name("methods.pyi")


def stub() -> str:
    """The text of the stub file: one typed method per verb."""
    modules: defaultdict[str, set[str]] = defaultdict(set)
    for verb in VERBS.values():
        for kind in verb.results():
            modules[kind.__module__].add(kind.__name__)
    modules["sessions.model.units"].add("Unit")
    imports = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(modules.items())]
    methods = [line for verb in VERBS.values() for line in _method(verb)]
    heads = dict.fromkeys(verb.head for verb in VERBS.values() if verb.head != verb.name)
    methods += [line for head in heads for line in _of_head(head)]
    return "\n".join(
        [
            '"""The verbs as methods. Generated from the grammar by `python -m workbench.stubs`; do not edit."""',
            "",
            "# ruff: noqa",
            "# fmt: off",
            "from collections.abc import Sequence",
            "from pathlib import Path",
            "from typing import Any, Literal",
            "",
            *imports,
            "",
            "class Verbs:",
            *methods,
            "",
        ]
    )


def _method(verb: Verb) -> Iterator[str]:
    parameters, named = ["self"], False
    for param in [*signature(verb).parameters.values()][1:]:
        if param.kind is inspect.Parameter.KEYWORD_ONLY and not named:
            named = True
            parameters += [] if any(text.startswith("*") for text in parameters) else ["*"]
        parameters.append(_parameter(param))
    yield f"    def {method_name(str(verb.name))}("
    yield from (f"        {text}," for text in parameters)
    yield f"    ) -> {signature(verb).return_annotation}:"
    yield from _docstring(documentation(verb))


def _of_head(head: str) -> Iterator[str]:
    """The method of a verb with actions: `atlas("build", …)`, the same as `atlas_build(…)`."""
    actions = actions_of(head)
    literal = ", ".join(f'"{action}"' for action in actions)
    results = " | ".join(sorted({kind.__name__ for verb in actions.values() for kind in verb.results()}))
    words = f"self, action: Literal[{literal}] = ..., *words: Any, **options: Any"
    yield f"    def {method_name(head)}({words}) -> {results}:"
    yield from _docstring(documentation_of_head(head))


def _docstring(text: str) -> Iterator[str]:
    """The lines of a docstring."""
    first, *rest = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').split("\n")
    yield f'        """{first}'
    yield from (f"        {line}".rstrip() for line in rest)
    yield '        """'


def _parameter(param: inspect.Parameter) -> str:
    star = "*" if param.kind is inspect.Parameter.VAR_POSITIONAL else ""
    default = "" if param.default is inspect.Parameter.empty else f" = {param.default!r}"
    return f"{star}{param.name}: {param.annotation}{default}"


if __name__ == "__main__":
    PATH.write_text(stub(), encoding="utf-8")
