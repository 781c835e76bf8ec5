"""Which neurons carry a behaviour: neurons, circuits, and the attribution that finds them."""
