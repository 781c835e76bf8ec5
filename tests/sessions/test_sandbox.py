"""Templates and regular expressions run within bounds, can be cancelled, and say the same as anywhere else."""

from __future__ import annotations

import re
import threading

import pytest

from sessions import expressions
from sessions.cancel import Cancel, looking_at
from sessions.errors import Cancelled, ModelError
from sessions.model import templates
from tests.families import tiny_tokenizer

USER = {"role": "user", "content": "the cat"}
#: Programs that never end, in every way there is.
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
SWALLOWING = {
    "a text multiplied": "{{ 'a' * 10000000000 }}",
    "a text doubled": "{% set x = namespace(a='ab') %}{% for i in range(60) %}{% set x.a = x.a ~ x.a %}{% endfor %}",
    "a width": "{{ '%09999999999d' % 1 }}",
    "a text that is long": "{{ 'a'|center(20000000) }}",
}


def rendered(template: str) -> str:
    return templates.rendered(tiny_tokenizer(template=template), [USER], begun=True)


@pytest.mark.parametrize(
    "template",
    [
        "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>{{ m['content'] | trim }}{% endfor %}",
        "{% if add_generation_prompt %}{{ messages | tojson(indent=1) }}{% endif %}",
        "{% generation %}{{ messages[0].content | upper }}{% endgeneration %}é\u2028\U0001f600",
        "{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    ],
)
def test_a_template_writes_what_transformers_has_it_write(template: str) -> None:
    tokenizer = tiny_tokenizer(template=template)
    own = tokenizer.apply_chat_template([USER], tokenize=False, add_generation_prompt=True)
    assert templates.rendered(tokenizer, [USER], begun=True) == own


def test_a_template_that_never_ends_is_ended_once_and_not_tried_again(
    hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="the chat template computes for more than 2 seconds"):
        rendered(ENDLESS)
    assert rendered("{{ messages[0].content }}") == "the cat"
    monkeypatch.setattr(templates, "answer_to", lambda _: pytest.fail("it was tried again"))
    with pytest.raises(ModelError, match="computes for more"):
        rendered(ENDLESS)


@pytest.mark.parametrize("template", SWALLOWING.values(), ids=SWALLOWING)
def test_a_template_does_not_take_the_memory(template: str) -> None:
    with pytest.raises(ModelError, match=r"the chat template (takes more than 512 MiB|writes more than)"):
        rendered(template)
    assert rendered("{{ messages[0].content }}") == "the cat"


def test_what_a_template_reads_is_found_without_computing_its_constants_here() -> None:
    assert "enable_thinking" in templates.variables("{% if enable_thinking %}{% endif %}")
    try:
        templates.variables("{{ 'a' * 10000000000 }}{{ enable_thinking }}")
    except ModelError as error:
        assert "memory" in error.message


def test_an_error_of_a_template_is_its_own() -> None:
    with pytest.raises(templates.ProgramError, match="no system here"):
        rendered("{{ raise_exception('no system here') }}")
    with pytest.raises(templates.ProgramError):
        rendered("{{" + "(" * 5000)


def test_who_waits_for_a_program_can_cancel() -> None:
    cancel = Cancel()
    with looking_at(cancel), pytest.raises(Cancelled):
        threading.Timer(0.2, cancel.request).start()
        rendered(ENDLESS.replace("99999", "99998"))
    assert rendered("{{ messages[0].content }}") == "the cat"


def test_a_command_that_was_cancelled_before_still_renders_what_it_ends_with() -> None:
    cancel = Cancel()
    cancel.request()
    with looking_at(cancel):
        assert rendered("{% for i in range(90000) %}{% endfor %}{{ messages[0].content }}") == "the cat"


# ---- regular expressions


@pytest.mark.parametrize("expression", ["a+", r"(?i)THE\b", "(c)(a)t", "x*", r"[.?!]$", "(?=t)"])
def test_an_expression_finds_what_it_finds_in_python(expression: str) -> None:
    text = "the cat, the hat. é"
    own = [match.span() for match in re.finditer(expression, text)]
    assert expressions.every(expression, text) == own
    assert expressions.first(expression, text) == (own[0] if own else None)


@pytest.mark.parametrize("package", ["re", "regex"])
def test_an_expression_that_goes_back_and_forth_for_ever_is_ended(hasty: None, package: expressions.Package) -> None:
    with pytest.raises(expressions.TooSlow, match="computes for more than 2 seconds"):
        expressions.first(r"(a|a|aa)*$", "a" * 60 + "b", package)
    assert expressions.first("b", "ab", package) == (1, 2)


def test_an_expression_that_is_none_or_takes_too_much_to_be_read_is_malformed() -> None:
    for wrong in ("(", "[", "a" * 2001, "(?P<a", "(" * 1500):
        with pytest.raises(expressions.Malformed):
            expressions.check(wrong, "regex")
    with pytest.raises(expressions.Malformed, match=r"it (takes|computes)"):
        expressions.check("(?:(?:(?:a{60000}){60000}){60000})", "regex")
