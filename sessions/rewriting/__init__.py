"""A neuron is made to say something new, at chosen places of a text."""
