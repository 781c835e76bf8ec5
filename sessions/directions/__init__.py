"""Directions in activations: control vectors, autoencoders and the logit lens."""
