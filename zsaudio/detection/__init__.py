"""From windows to scores, and from scores to tags and events."""
