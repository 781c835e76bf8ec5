"""Runs the programs of other people in a process of its own, which can be ended: see `sandbox`, which starts this file.

Two kinds of program come with files: chat templates, rendered with transformers' own code, and regular expressions. It
is asked a line of JSON at a time and answers with one. A request that computes for too long is ended by the system
(`ITIMER_PROF`), and what it takes of the memory is bounded (`RLIMIT_AS`). Nothing of the workbench is imported, nor
torch: it is here at once.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys
from contextlib import suppress
from typing import Any


def main(seconds: float, memory: int, longest: int) -> None:
    """Answer requests until there are no more."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin.buffer:
        try:
            request = json.loads(line)
            work = _WORK[request["kind"]]()
            _bound_memory(memory)
            signal.setitimer(signal.ITIMER_PROF, seconds)  # the signal ends the process, whatever it is doing
            answer = work(request)
            if len(answer.get("text", "")) > longest:
                answer = {"limit": "length"}
        except MemoryError:
            answer = {"limit": "memory"}
        except Exception as error:  # programs raise whatever they like
            answer = {"error": str(error) or type(error).__name__}
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _bound_memory(more: int) -> None:
    """Let the process have so many bytes more than it has now, where the system tells what that is."""
    with suppress(OSError, ValueError), open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + more, resource.RLIM_INFINITY))


def _templates() -> Any:
    """What renders a template: {"template", "messages", "begun", "words"}."""
    from transformers.utils.chat_template_utils import render_jinja_template

    def work(request: dict[str, Any]) -> dict[str, Any]:
        (text,), _ = render_jinja_template(
            conversations=[request["messages"]],
            chat_template=request["template"],
            add_generation_prompt=request["begun"],
            **request["words"],
        )
        return {"text": text}

    return work


def _variables() -> Any:
    """What finds the variables that a template reads from outside, its constants computed: {"template"}."""
    import jinja2
    from jinja2 import meta

    def work(request: dict[str, Any]) -> dict[str, Any]:
        # The tag `generation` is transformers' own, and jinja knows none of it.
        plain = re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", request["template"])
        parsed = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)
        return {"variables": sorted(meta.find_undeclared_variables(parsed))}

    return work


def _expressions() -> Any:
    """What looks for an expression in texts: {"expression", "texts", "all", "package"}.

    Of each text the spans are said, of all matches or of the first.
    """
    import regex  # type: ignore[import-untyped]

    def work(request: dict[str, Any]) -> dict[str, Any]:
        found = (regex if request["package"] == "regex" else re).compile(request["expression"])
        if request["all"]:
            spans = [[each.span() for each in found.finditer(text)] for text in request["texts"]]
        else:
            spans = [[] if each is None else [each.span()] for each in map(found.search, request["texts"])]
        return {"spans": spans}

    return work


_WORK = {"template": _templates, "variables": _variables, "expression": _expressions}

if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
