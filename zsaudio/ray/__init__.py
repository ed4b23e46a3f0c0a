"""Many recordings on a cluster: tags, events and embeddings as steps of Ray Data. Needs the extra ``ray``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zsaudio.ray.datasets import detect_dataset as detect_dataset
    from zsaudio.ray.datasets import embed_dataset as embed_dataset
    from zsaudio.ray.datasets import tag_dataset as tag_dataset

__all__ = ["detect_dataset", "embed_dataset", "tag_dataset"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'zsaudio.ray' has no attribute '{name}'")
    from zsaudio.ray import datasets

    return getattr(datasets, name)
