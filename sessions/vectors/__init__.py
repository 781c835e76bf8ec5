"""Directions in activations: made from prompts, saved by name, taken apart into neurons, exported."""
