"""What writes the generated pages of `docs/`: the reference, the table of surfaces, the pictures of the app."""
