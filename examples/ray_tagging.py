"""Tag recordings on a cluster of Ray, as a step among others of Ray Data.

    python examples/ray_tagging.py   # the recordings of the examples, here
    RAY_ADDRESS=auto python examples/ray_tagging.py s3://bucket/list.parquet s3://bucket/tags

A list is a Parquet file with a column "path"; its other columns are kept. For a whole folder of recordings
without a program of one's own there is ``zsaudio tag FOLDER --ray auto -o tags``, which also goes on when it
was killed.
"""

import sys
from pathlib import Path

import ray.data

from zsaudio.ray import tag_dataset

AUDIO = Path(__file__).parent / "audio"
LABELS = ["speech", "smoke alarm", "siren", "piano", "trumpet"]


def main() -> None:
    """Print the best tag of each recording, or write all tags as Parquet files."""
    if len(sys.argv) > 1:
        recordings = ray.data.read_parquet(sys.argv[1])
    else:
        recordings = ray.data.from_items([{"path": str(path)} for path in sorted(AUDIO.iterdir())])
    tags = tag_dataset(recordings.repartition(target_num_rows_per_block=64), LABELS, num_cpus=0.5)
    if len(sys.argv) > 2:
        tags.write_parquet(sys.argv[2])
        return
    for row in tags.iter_rows():
        best = row["error"] or f"{row['tags'][0]['label']} {row['tags'][0]['score']:.2f}"
        print(f"{Path(row['path']).name}: {best}")


if __name__ == "__main__":
    main()
