"""Calls into native code (the Rust tokenizers) that turn its exceptions and panics into one error.

Native code raises a plain exception for a text that it has no tokens for. It panics if a file holds nonsense: a
normaliser with a broken map, a pre-tokenizer of length 0, an empty pattern. Python sees a panic as a `PanicException`,
which does not derive from `Exception`, so it passes every handler and ends the process. `reading_by` turns both into a
`ModelError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sessions.errors import ModelError, WorkbenchError

#: The most characters that a message repeats from a foreign error.
_REPEATED = 200


class Broken(ModelError):
    """Native code panicked over the contents of a file; trying again panics again."""


def is_panic(error: BaseException) -> bool:
    """Whether an error is a panic of a Rust library, whose class cannot be imported."""
    return type(error).__name__ == "PanicException"


def said_by(error: BaseException) -> str:
    """The first line of an error's message, shortened; its class name if it has no message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:_REPEATED] if lines else type(error).__name__


def as_exception(error: BaseException, what: str) -> Exception:
    """The error itself, or a `ModelError` in place of a panic or an exit, which would end the process."""
    return error if isinstance(error, Exception) else ModelError(f"{what} failed: {said_by(error)}", "")


@contextmanager
def reading_by(what: str = "the tokenizer", hint: str = "open the model with another tokenizer") -> Iterator[None]:
    """Turn any exception or panic of native code in the block into a `ModelError`.

    Args:
        what: the name of the code in the message.

    Raises:
        ModelError: the code failed; `Broken` if it panicked.
    """
    try:
        yield
    except (WorkbenchError, MemoryError):
        raise
    except Exception as error:
        raise ModelError(f"{what} cannot do this: {said_by(error)}", hint) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise Broken(f"{what} is broken: {said_by(error)}", hint) from error
