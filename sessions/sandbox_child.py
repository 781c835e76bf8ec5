"""The child process of `sandbox`, which runs the programs of other people and can be ended.

Two kinds of program come with files: chat templates, rendered with transformers' own code, and regular expressions.
Each request is a line of JSON, and so is each answer. The system ends a request that computes for too long
(`ITIMER_PROF`) and limits its memory (`RLIMIT_AS`). Neither the workbench nor torch is imported, so the child starts
fast.
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
    """Limit the memory of the process to `more` bytes above its present use, where the system says what that is."""
    with suppress(OSError, ValueError), open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + more, resource.RLIM_INFINITY))


def _templates() -> Any:
    """Renders a template. The request: {"template", "messages", "begun", "words"}."""
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
    """Finds the variables that a template reads from outside; its constants are computed. The request: {"template"}."""
    import jinja2
    from jinja2 import meta

    def work(request: dict[str, Any]) -> dict[str, Any]:
        # The tag `generation` is transformers' own; jinja does not know it.
        plain = re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", request["template"])
        parsed = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)
        return {"variables": sorted(meta.find_undeclared_variables(parsed))}

    return work


def _expressions() -> Any:
    """Searches texts for an expression. The request: {"expression", "texts", "all", "package"}.

    The answer has the spans of all matches in each text, or of the first one.
    """
    import regex  # type: ignore[import-untyped]

    def work(request: dict[str, Any]) -> dict[str, Any]:
        pattern = (regex if request["package"] == "regex" else re).compile(request["expression"])
        if request["all"]:
            spans = [[match.span() for match in pattern.finditer(text)] for text in request["texts"]]
        else:
            spans = [[] if match is None else [match.span()] for match in map(pattern.search, request["texts"])]
        return {"spans": spans}

    return work


_WORK = {"template": _templates, "variables": _variables, "expression": _expressions}

if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
