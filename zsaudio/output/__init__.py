"""Results as text: formats, outputs with a journal of what is done, pictures and cuts of recordings."""
