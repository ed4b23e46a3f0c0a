"""Speech models, and keyword spotting with their outputs."""
