"""Where native code of others is entered: the tokenizers of `tokenizers`, which is Rust, as Python calls them.

Such code raises plain exceptions for a text that it has no tokens for, and it panics where it was told nonsense by a
file: a normaliser with a broken map, a pre-tokenizer of length 0, an empty pattern. A panic arrives as a
`PanicException`, which is no `Exception`, so that it would pass every handler and end the process. What is entered
inside `reading_by` ends in one error instead, whichever it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sessions.errors import ModelError, WorkbenchError

#: Characters of a foreign error that a message repeats.
_REPEATED = 200


class Broken(ModelError):
    """Native code that panicked over what a file told it: it is not to be tried again."""


def is_panic(error: BaseException) -> bool:
    """Whether an error is a panic of a library written in Rust. Its class has no place to be imported from."""
    return type(error).__name__ == "PanicException"


def said_by(error: BaseException) -> str:
    """The first line of what an error says, cut, or its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:_REPEATED] if lines else type(error).__name__


def as_exception(error: BaseException, what: str) -> Exception:
    """The error, or one that handlers of exceptions catch, for one that would end the process: a panic, an exit."""
    return error if isinstance(error, Exception) else ModelError(f"{what} failed: {said_by(error)}", "")


@contextmanager
def reading_by(what: str = "the tokenizer", hint: str = "open the model with another tokenizer") -> Iterator[None]:
    """Turn whatever native code raises in the block into an error of the model's.

    Raises:
        ModelError: it failed or, which is a `Broken`, panicked; `what` is how the message names it.
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
