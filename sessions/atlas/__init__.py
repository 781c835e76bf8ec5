"""Statistics of neurons over a corpus: maxima with their contexts, means, and neurons that hardly ever fire."""
