"""How well a model answers: tasks with checks, the same under several conditions, and statistics of the pairs."""
