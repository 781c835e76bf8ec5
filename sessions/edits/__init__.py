"""Changing weights, reversibly: edits, and the ledger that applies and undoes them."""
