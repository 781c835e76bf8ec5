"""Many machines: pieces of work computed by the workers of a Ray cluster. This room alone imports ray."""
