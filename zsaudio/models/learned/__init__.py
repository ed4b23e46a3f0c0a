"""Models that ``zsaudio train`` and ``zsaudio adapt`` write, and what they consist of."""
