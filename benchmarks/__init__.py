"""Benchmarks: each prints one table of ratios to the raw transformers call measured in the same process."""
