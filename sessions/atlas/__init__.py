"""What neurons do over a corpus: maxima with their contexts, means, and those that hardly ever fire."""
