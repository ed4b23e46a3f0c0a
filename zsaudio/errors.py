"""Errors that zsaudio raises on purpose: one root, and children that are builtins too.

Every message is one line that says what is wrong, in which file, and what to do about it.
"""

import re
from importlib import metadata


class ZsaudioError(Exception):
    """Root of every error that zsaudio raises on purpose."""


class AudioError(ZsaudioError, ValueError):
    """An input that cannot be used as audio: missing, empty, unreadable, silent of samples."""


class DamagedAudioError(AudioError):
    """A recording of which only a part can be decoded; found when that part has been read.

    Attributes
    ----------
    missing_s, expected_s
        How much could not be decoded, and the recording's whole length, in seconds.
    """

    def __init__(self, message: str, missing_s: float = 0.0, expected_s: float = 0.0) -> None:
        super().__init__(message)
        self.missing_s, self.expected_s = missing_s, expected_s


def has_result(error: Exception | None) -> bool:
    """Return whether a recording with this error has a result: it has none, or one of a part of it."""
    return error is None or isinstance(error, DamagedAudioError)


class LabelError(ZsaudioError, ValueError):
    """A label, prompt, template or label file that cannot be used."""


class OptionError(ZsaudioError, ValueError):
    """An option whose value cannot be used."""


class OutputError(ZsaudioError, OSError):
    """Results that cannot be written, such as on a full disk."""


class DataError(ZsaudioError, ValueError):
    """Labelled data, or what describes its classes, that cannot be used."""


class ModelError(ZsaudioError, RuntimeError):
    """A model that cannot be found, downloaded or loaded."""


class ArchiveError(ZsaudioError, RuntimeError):
    """An archive of stored vectors that cannot be read, written or used with this model."""


class MissingExtraError(ZsaudioError, ImportError):
    """An optional dependency that is absent or broken."""


def install_command(extra: str) -> str:
    """Return the command that installs what an extra of zsaudio consists of.

    It names the packages, not the extra, so that it also works where zsaudio was installed from a clone.
    """
    try:
        lines = metadata.requires("zsaudio") or []
    except metadata.PackageNotFoundError:
        lines = []
    needed = [line.split(";")[0].strip() for line in lines if re.search(rf"extra == ['\"]{extra}['\"]", line)]
    return " ".join(["pip install", *(f'"{name}"' for name in needed or [f"zsaudio[{extra}]"])])
