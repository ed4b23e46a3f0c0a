"""Models: one file a family, a registry, and the bundled weights."""
