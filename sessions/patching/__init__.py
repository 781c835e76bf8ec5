"""Hidden states of one text, put into another."""
