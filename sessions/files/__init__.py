"""Whole files: written completely or not at all, read with bounds, and checked."""
