"""Output of the live command, and what it changes in its process."""
