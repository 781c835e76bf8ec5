"""The first lines to type in an empty session. They end in a good result: a few neurons off, another answer."""

from __future__ import annotations

#: Lines, and what each does.
FIRST: tuple[tuple[str, str], ...] = (
    ("model smollm2", "open a small model"),
    ("prompt What is the capital of Texas?", "ask it something"),
    ("seed The capital of Texas is", "begin its answer"),
    ('discover " Austin"', "find the neurons behind the next token"),
    ("ablate top10", "switch ten of them off: what does it say now?"),
)
#: The lines in a row, for a narrow place.
IN_SHORT = " · ".join(line for line, _ in FIRST)
