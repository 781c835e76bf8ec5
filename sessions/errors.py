"""The errors that a user can cause or meet. Each says what is wrong and what to type instead.

Any other exception that leaves a command is a bug of the workbench.
"""

from __future__ import annotations

#: Characters of a message. A message may quote a line or a file of any length; nobody would read more.
_LONGEST = 2000


def _cut(text: str) -> str:
    """The text, without its middle if it is too long: a message has its quotations there."""
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}…{text[-half:]}"


class WorkbenchError(Exception):
    """Something that a user can correct.

    Args:
        message: what is wrong, and where; one sentence without a full stop.
        hint: what to type or do instead; empty where there is nothing to add.
    """

    kind = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = _cut(message)
        self.hint = _cut(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(WorkbenchError):
    """A line that the grammar does not accept. `column` is where, in characters from 0, if it is known."""

    kind = "usage"

    def __init__(self, message: str, hint: str = "", column: int | None = None) -> None:
        super().__init__(message, hint)
        self.column = column


class Cancelled(WorkbenchError):
    """The user cancelled the running command. Everything that it changed has been undone."""

    kind = "cancelled"

    def __init__(self) -> None:
        super().__init__("cancelled")


class ModelError(WorkbenchError):
    """A model that cannot be opened, or cannot do what was asked of it."""

    kind = "model"


class NotFinite(ModelError):
    """The model computed an infinite number or NaN. `row` is the row of the batch, if only one is the cause."""

    def __init__(self, message: str, hint: str = "", row: int | None = None) -> None:
        super().__init__(message, hint)
        self.row = row


class ArtifactError(WorkbenchError):
    """A named artifact that is missing, malformed, misnamed, or belongs to another model."""

    kind = "artifact"


class ExpectationFailed(WorkbenchError):
    """The statement of an `expect` line is not true."""

    kind = "expectation"
