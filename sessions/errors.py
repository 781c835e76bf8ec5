"""The errors a user can cause or meet, each saying what was wrong and what to type instead.

Anything that is not one of these reaching the top of a command is a defect of the workbench.
"""

from __future__ import annotations

#: Characters of a message: what it repeats of a line or a file may be of any length, and nobody would read more.
_LONGEST = 2000


def _cut(text: str) -> str:
    """The beginning and the end of a text that is too long: what is repeated stands in the middle of a message."""
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}…{text[-half:]}"


class WorkbenchError(Exception):
    """Something a user can put right.

    Args:
        message: what was wrong, and where; one sentence, no trailing full stop.
        hint: what to type or do instead; empty when there is nothing to add.
    """

    kind = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = _cut(message)
        self.hint = _cut(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(WorkbenchError):
    """A line that the grammar does not accept. `column` counts characters from 0, where known."""

    kind = "usage"

    def __init__(self, message: str, hint: str = "", column: int | None = None) -> None:
        super().__init__(message, hint)
        self.column = column


class Cancelled(WorkbenchError):
    """The user cancelled the running command; everything it had changed has been unwound."""

    kind = "cancelled"

    def __init__(self) -> None:
        super().__init__("cancelled")


class ModelError(WorkbenchError):
    """A model that cannot be opened, or cannot do what was asked of it."""

    kind = "model"


class NotFinite(ModelError):
    """A number that the model computed is infinite or none; `row` is that of the batch, where only one is to blame."""

    def __init__(self, message: str, hint: str = "", row: int | None = None) -> None:
        super().__init__(message, hint)
        self.row = row


class ArtifactError(WorkbenchError):
    """A named artifact that is missing, malformed, misnamed, or belongs to another model."""

    kind = "artifact"


class ExpectationFailed(WorkbenchError):
    """An `expect` line whose statement is not true."""

    kind = "expectation"
