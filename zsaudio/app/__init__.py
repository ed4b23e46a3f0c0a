"""zsaudio in the browser: recordings, live sound, archives and models on a page of this computer."""
