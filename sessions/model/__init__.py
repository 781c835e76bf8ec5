"""The model: opening it, its anatomy, exact tokens, hooks and generation."""
