"""The ways to combine adapters, by PEFT's names: words for completion and help, without torch."""

from __future__ import annotations

COMBINATIONS = {
    "cat": "the exact weighted sum, of the sum of their ranks",
    "svd": "the closest to that sum of a lower rank",
    "linear": "factors added up, which needs equal ranks and is not the sum",
    "ties": "the largest numbers of each factor, signs voted on",
    "ties_svd": "the same with products instead of factors",
    "dare_linear": "some numbers at random, the rest larger for it",
    "dare_linear_svd": "the same with products",
    "dare_ties": "some numbers at random, signs voted on",
    "dare_ties_svd": "the same with products",
    "magnitude_prune": "the largest numbers of each factor",
    "magnitude_prune_svd": "the same with products",
}
#: The share of numbers that stays, for combinations that drop some.
DENSITY = 0.5


def drops(combination: str) -> bool:
    """Whether a combination drops numbers, and has a density."""
    return combination.startswith(("ties", "dare", "magnitude"))
