"""A subspace is cut out of the weights."""
