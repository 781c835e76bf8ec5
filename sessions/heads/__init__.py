"""Attention heads: their patterns, what they are known for, and what makes their scores."""
