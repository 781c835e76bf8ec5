"""Statements about the product, on real models."""
