"""Draws blocks (`sessions.views.blocks`) in a terminal. Nothing here depends on a kind of result."""
