"""Changing activations while the model runs, and reading what changes."""
