"""Hidden states of one text, injected into another."""
