"""The methods of attribution, and their registry.

Each file of this room has one method (`method.Method`). To add one, add a file with one class: the registry reads the
room, and completion, help, `discover --method` and `sessions.open(…).attribute(method=…)` read the registry.

Importing this room imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from sessions.circuits.methods.method import REFERENCES, Method
from sessions.errors import UsageError

if TYPE_CHECKING:
    from sessions.model.parts import Anatomy

__all__ = ["DEFAULT", "METHODS", "REFERENCES", "Method", "check_options", "listed", "named", "within_reach"]

#: The method where none is named.
DEFAULT = "relp"


def _in_this_room() -> dict[str, Method]:
    """The methods by name: the default, then other estimates, then those that measure."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    instances = [kind() for kind in Method.__subclasses__() if kind.__module__.startswith(f"{__name__}.")]
    instances.sort(key=lambda instance: (instance.name != DEFAULT, not instance.estimates, instance.name))
    return {method.name: method for method in instances}


#: All methods by name.
METHODS: dict[str, Method] = _in_this_room()


def within_reach(anatomy: Anatomy) -> Method:
    """The default method or, where it does not support the model, its substitute."""
    chosen = METHODS[DEFAULT]
    while chosen.instead and chosen.why_not(anatomy) is not None:
        chosen = METHODS[chosen.instead]
    return chosen


def named(name: str) -> Method:
    """The method of this name.

    Raises:
        UsageError: there is no such method.
    """
    if name not in METHODS:
        near = get_close_matches(name, METHODS, 1)
        hint = f"did you mean {near[0]}?" if near else f"methods: {', '.join(METHODS)}"
        raise UsageError(f"unknown method '{name}'", hint)
    return METHODS[name]


def check_options(
    method: Method,
    *,
    attention: str | None = None,
    steps: int | None = None,
    reference: str = "zero",
    many: bool = False,
) -> None:
    """Raise `UsageError` for an option that does not go with the method.

    Args:
        reference: one of `REFERENCES`.
        many: whether many prompts are attributed.
    """
    if many and not method.many:
        able = listed(other.name for other in METHODS.values() if other.many)
        raise UsageError(f"--method {method.name} is for one prompt", f"leave out --prompts, or choose {able}")
    if steps is not None and not method.takes_steps:
        able = listed(other.name for other in METHODS.values() if other.takes_steps)
        raise UsageError(f"--steps is for --method {able}, not for {method.name}", "leave one of them out")
    if attention is not None and not method.attentions:
        raise UsageError(f"--attention is for estimates, and --method {method.name} measures", "leave one of them out")
    if attention is not None and attention not in method.attentions:
        raise UsageError(
            f"--method {method.name} does not take --attention {attention}", f"one of: {', '.join(method.attentions)}"
        )
    if reference not in method.references:
        what = {"zero": "zero", "mean": "a mean", "prompt": "another prompt"}[reference]
        raise UsageError(
            f"--method {method.name} does not take {what} as --reference", f"it takes: {', '.join(method.references)}"
        )


def listed(names: Iterable[str]) -> str:
    """The names as a list: a, b or c."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
