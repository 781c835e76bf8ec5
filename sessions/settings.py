"""Settings of a session: what `set NAME VALUE` changes and `info` shows."""

from __future__ import annotations

from typing import Annotated, get_type_hints

import msgspec
from msgspec import Meta, Struct, structs

from sessions.errors import UsageError

#: Upper limits of tokens, of rows, and of all other counts: more would be generated, listed or computed for ever.
MOST_TOKENS, MOST_ROWS, MOST = 131_072, 10_000, 1_000_000
_MOST = {"max_tokens": MOST_TOKENS, "rows": MOST_ROWS, "top": MOST, "top_k": MOST, "no_repeat_ngram": MOST}


class Settings(Struct, frozen=True, kw_only=True):
    """Defaults of every command, in one place; an option on a line overrides them once.

    A setting is documented by its `Meta(description=…)`, which `help set` prints.
    """

    max_tokens: Annotated[int, Meta(ge=1, description="tokens to generate at most")] = 64
    sample: Annotated[bool, Meta(description="sample instead of taking the likeliest token")] = False
    temperature: Annotated[float, Meta(ge=0.01, le=100, description="temperature, when sampling")] = 0.7
    top_p: Annotated[float, Meta(gt=0, le=1, description="nucleus mass, when sampling")] = 0.95
    top_k: Annotated[int, Meta(ge=0, description="candidates kept, when sampling; 0 keeps all")] = 0
    rng: Annotated[int, Meta(ge=0, le=2**63 - 1, description="seed of the random numbers")] = 0
    guard: Annotated[
        str,
        Meta(
            pattern="^(auto|on|off)$",
            description="no third identical token in a row: auto (where a push is on), on, off",
        ),
    ] = "auto"
    repetition_penalty: Annotated[
        float, Meta(gt=0, le=100, description="penalty of tokens already there; 1 is none")
    ] = 1.0
    no_repeat_ngram: Annotated[int, Meta(ge=0, description="n-grams of this many tokens come once; 0 allows all")] = 0
    top: Annotated[int, Meta(ge=1, description="neurons a discovered circuit has")] = 200
    rows: Annotated[int, Meta(ge=1, description="rows a table shows")] = 20
    attention: Annotated[str, Meta(pattern="^(frozen|gradient)$", description="attention rule: frozen or gradient")] = (
        "frozen"
    )


def describe() -> dict[str, str]:
    """Name → what it is, for every setting."""
    hints = get_type_hints(Settings, include_extras=True)
    return {name: hint.__metadata__[0].description for name, hint in hints.items() if hasattr(hint, "__metadata__")}


def changed(settings: Settings, name: str, value: str) -> Settings:
    """The settings with one of them changed to what the user typed.

    Raises:
        UsageError: there is no such setting, or the value is invalid.
    """
    values = msgspec.to_builtins(settings)
    if name not in values:
        raise UsageError(f"unknown setting '{name}'", f"settings: {', '.join(values)}")
    switched = value.lower()
    switches = {"on": "true", "off": "false", "yes": "true", "no": "false"}
    if isinstance(values[name], str):
        switches = {"true": "on", "false": "off", "yes": "on", "no": "off"}
    values[name] = switches.get(switched, value)
    try:
        settings_now = msgspec.convert(values, Settings, strict=False)
        if name in _MOST and getattr(settings_now, name) > _MOST[name]:
            raise UsageError(f"'{value}' is too large for {name}", f"{_MOST[name]:,} at most")
        return settings_now
    except msgspec.ValidationError as error:
        was = msgspec.to_builtins(settings)[name]
        raise UsageError(
            f"invalid value '{value}' for {name}: {str(error).split(' - at')[0]}", f"for example: set {name} {was}"
        ) from error


def within_limits(settings: Settings) -> Settings:
    """The settings, cut to their upper limits: those of an earlier version had none."""
    return structs.replace(settings, **{name: min(getattr(settings, name), most) for name, most in _MOST.items()})
