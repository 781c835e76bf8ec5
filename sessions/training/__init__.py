"""Rounds of training under suppression: train, see who learned, forbid them, train again."""
