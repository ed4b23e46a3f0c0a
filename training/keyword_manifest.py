"""List all utterances of nano-keyword's training data.

    python -m training.keyword_manifest --data DATA --work WORK

Writes ``keyword_manifest.csv.gz`` beside this file: the source of each utterance, the recording's file or the
synthetic voice, its words, and the phonemes of made-up words (``*``). A test compares it with
``heldout_words.txt``. The rows that are there already stay: the weights were trained in stages, each from the
previous one's, on other utterances.
"""

import argparse
import csv
import gzip
import io
from collections import defaultdict
from pathlib import Path

from training.keyword_data import spoken

MANIFEST = Path(__file__).with_suffix(".csv.gz")


def main() -> None:
    """Write the manifest; print how many utterances and hours there are of each source."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    table = csv.reader(io.StringIO(gzip.decompress(MANIFEST.read_bytes()).decode("utf-8")))
    rows = {tuple(row): None for row in table}
    seconds: defaultdict[str, float] = defaultdict(float)
    for source, items in sorted(spoken(options.work, options.data).items()):
        for item in items:
            rows[source, item.voice, item.words, item.phones if "*" in item.words else ""] = None
            seconds[source] += item.samples / 16000
        print(f"{source}: {len(items)} utterances, {seconds[source] / 3600:.2f} h")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    MANIFEST.write_bytes(gzip.compress(text.getvalue().encode("utf-8"), 9, mtime=0))
    print(f"{MANIFEST}: {MANIFEST.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
