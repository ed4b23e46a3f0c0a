"""Archives: recordings stored as vectors, to be searched later by text, by sound and by corrections."""
