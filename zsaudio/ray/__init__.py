"""Many recordings on a cluster: tags, events and embeddings as steps of Ray Data. Needs the extra ``ray``."""

from zsaudio.ray.datasets import detect_dataset, embed_dataset, tag_dataset

__all__ = ["detect_dataset", "embed_dataset", "tag_dataset"]
