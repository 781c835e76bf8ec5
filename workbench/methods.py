"""The methods of `Workbench`, one a verb, made from the grammar. `methods.pyi` beside it says which there are.

`python -m workbench.stubs` writes that file anew after a change of a verb.
"""

from __future__ import annotations

from commands import grammar
from commands.verb import key_of
from workbench.given import with_files
from workbench.signatures import method_name, python_name, signature


class Verbs:
    """A method a verb, which runs the verb's line and returns its result."""

    def __getattr__(self, name):
        raise AttributeError(f"no verb is called '{name}'; there are: {', '.join(map(method_name, grammar.VERBS))}")


def _method(verb):
    words = {python_name(key_of(param)): key_of(param) for param in verb.params}

    def method(self, *args, **kwargs):
        flags = {words.get(flag, flag): value for flag, value in kwargs.items()}
        placed, flags = with_files(verb, args, flags, self.session.home / "given")
        return self.exec(grammar.call_line(verb.name, *placed, **flags))

    method.__name__ = method_name(verb.name)
    method.__qualname__ = f"Workbench.{method.__name__}"
    method.__doc__ = verb.help_text()
    method.__signature__ = signature(verb)
    return method


for _verb in grammar.VERBS.values():
    setattr(Verbs, method_name(_verb.name), _method(_verb))
