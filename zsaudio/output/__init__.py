"""Tags and events out: formats, files, a journal of what is done, pictures."""
