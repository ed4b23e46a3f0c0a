"""Checksums of weights, those of zsaudio and of learned models, checked once a start.

A folder of weights may hold ``SHA256SUMS``, as ``sha256sum`` writes it and ``sha256sum -c`` checks it.
"""

import functools
import hashlib
from pathlib import Path

from zsaudio.errors import ModelError

SUMS = "SHA256SUMS"


def write_sums(folder: Path, *names: str) -> None:
    """Say in a folder what these files in it should be."""
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines), encoding="ascii")


@functools.cache
def check_files(folder: Path, remedy: str = "make it again, or take it from a copy") -> None:
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
            raise ModelError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
        if found != expected:
            raise ModelError(f"{path}: damaged (its checksum is not that of {SUMS}); {remedy}")
