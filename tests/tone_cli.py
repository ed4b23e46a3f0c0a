"""``zsaudio`` with a model that hears tones in the place of nano: run as a script, or patch with ``load``."""

from unittest import mock

from conftest import ToneModel


class NearToneModel(ToneModel):
    """Sees a quarter of a second on either side of a frame, as nano sees a bounded context."""

    context_s = 0.25


def load(model: str, device: str = "auto", dtype: str = "auto") -> NearToneModel:
    return NearToneModel()


if __name__ == "__main__":
    import zsaudio.cli

    with mock.patch("zsaudio.recognizer.load_model", load):
        zsaudio.cli.main()
