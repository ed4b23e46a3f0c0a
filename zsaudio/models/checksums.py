"""Checksums of the bundled weights, checked once a start.

A folder of weights may hold ``SHA256SUMS``, as ``sha256sum`` writes it and ``sha256sum -c`` checks it.
"""

import functools
import hashlib
from pathlib import Path

from zsaudio.errors import ModelError

SUMS = "SHA256SUMS"


@functools.cache
def check_files(folder: Path) -> None:
    """Check the files of a folder, if it says what they should be.

    Raises
    ------
    ModelError
        If one is missing or damaged.
    """
    if not (folder / SUMS).is_file():
        return
    for line in (folder / SUMS).read_text(encoding="ascii", errors="replace").splitlines():
        expected, _, name = line.partition("  ")
        path = folder / name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror}); install zsaudio again") from error
        if found != expected:
            raise ModelError(f"{path}: damaged (its checksum is not that of {SUMS}); install zsaudio again")
