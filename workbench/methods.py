"""The methods of `Workbench`, one per verb, built from the grammar. `methods.pyi` declares them for editors.

After a change of a verb, `python -m workbench.stubs` writes that file again.
"""

from __future__ import annotations

from commands import calling, grammar
from commands.verb import key_of
from workbench.docstrings import documentation, documentation_of_head
from workbench.given import with_files
from workbench.signatures import method_name, python_name, signature


class Verbs:
    """One method per verb: it makes the verb's line, gives it to `exec` and returns the result.

    A subclass has `exec`, and `home`, where lists that stand for files are written.
    """

    def __getattr__(self, name):
        raise AttributeError(f"unknown verb '{name}'; verbs: {', '.join(map(method_name, grammar.VERBS))}")


def _run(workbench, name, args, kwargs):
    verb, args, kwargs = calling.called(name, args, kwargs)
    words = {python_name(key_of(param)): key_of(param) for param in verb.params}
    flags = {words.get(flag, flag): value for flag, value in kwargs.items()}
    placed, flags = with_files(verb, args, flags, workbench.home / "given")
    return workbench.exec(calling.call_line(verb.name, *placed, **flags))


def _method(verb):
    def method(self, *args, **kwargs):
        return _run(self, verb.name, args, kwargs)

    method.__name__ = method_name(verb.name)
    method.__qualname__ = f"Workbench.{method.__name__}"
    method.__doc__ = documentation(verb)
    method.__signature__ = signature(verb)
    return method


def _of_head(head):
    def method(self, *args, **kwargs):
        return _run(self, head, args, kwargs)

    method.__name__ = method_name(head)
    method.__qualname__ = f"Workbench.{method.__name__}"
    method.__doc__ = documentation_of_head(head)
    return method


for _verb in grammar.VERBS.values():
    setattr(Verbs, method_name(_verb.name), _method(_verb))
    if _verb.head != _verb.name:
        setattr(Verbs, method_name(_verb.head), _of_head(_verb.head))
