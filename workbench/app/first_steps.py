"""The first lines of a new session: typed in this order, they end in a result worth looking at."""

from __future__ import annotations

#: Lines, and what each of them does.
FIRST = (
    ("model smollm2", "open a small model that comes with the workbench"),
    ("prompt What is the capital of Texas?", "ask something"),
    ("seed The capital of Texas is", "begin its answer"),
    ('discover " Austin"', "find the neurons behind the next word"),
    ("ablate top10", "switch the ten strongest off"),
)
