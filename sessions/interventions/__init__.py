"""Changing activations while the model runs, and comparing the texts that result."""
