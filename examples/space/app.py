"""``zsaudio app`` as a Hugging Face Space: what its ``app.py`` is."""

import uvicorn

from zsaudio.app.desk import Settings
from zsaudio.app.server import build
from zsaudio.labels import LabelSet
from zsaudio.recognizer import Recognizer

first = Recognizer(LabelSet.of("@everyday"))  # loads the model before anybody comes
settings = Settings("@everyday", first.with_labels, max_bytes=50 * 2**20, max_hours=1.0)

if __name__ == "__main__":
    # everybody is let in: the Space's own server stands before this one
    uvicorn.run(build(settings, open_to_all=True), host="0.0.0.0", port=7860)
