"""Listen to recordings once, then ask for sounds in words, by a sound, and after a correction.

    python examples/search_archive.py                     # the recordings in audio/
    python examples/search_archive.py recordings/ my-archive

Needs the extra ``archive``. The archive stays on disk: the next run listens to what is new only.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import zsaudio

AUDIO = Path(__file__).parent / "audio"


def main() -> None:
    """Print what is found."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else AUDIO
    location = sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()
    try:
        archive = zsaudio.Archive.open(location)
    except zsaudio.ArchiveError:
        archive = zsaudio.Archive.create(location, root=folder)
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac", ".ogg", ".mp3"))
    for added in archive.add(files):
        print(f"{added.status:<10} {added.clip}")

    print("\nin words")
    for match in archive.search(["smoke alarm", "somebody talks"], k=2):
        print(f"{match.score:.2f}  {match.label:<15} {Path(match.clip).name} from {match.onset:.1f} s")

    print("\nlike the first recording")
    for match in archive.search(like=[archive.embed(files[0])], k=2):
        print(f"{match.score:.2f}  {Path(match.clip).name} from {match.onset:.1f} s")

    # A person would judge the candidates, in a file: zsaudio search my-archive "alarm" --review review.csv
    candidates = archive.candidates(["alarm"], n=8)
    judged = [replace(candidate, answer="alarm" in candidate.clip) for candidate in candidates]
    corrected = zsaudio.Archive.open(location, model=archive.adapt(judged))
    print("\n'alarm', before and after a correction")
    for name, each in (("before", archive), ("after", corrected)):
        found = [f"{Path(match.clip).name} {match.score:.2f}" for match in each.search(["alarm"], k=3)]
        print(f"{name:<7} {', '.join(found)}")


if __name__ == "__main__":
    main()
