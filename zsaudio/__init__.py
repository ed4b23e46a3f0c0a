"""zsaudio: recognises sounds that it was never trained on, named in plain words.

The public names are imported on first use, so that ``import zsaudio`` costs no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "AudioError": "errors",
    "ClipEvents": "events",
    "ClipTags": "scoring",
    "DataError": "errors",
    "Dataset": "datasets",
    "DetectionOptions": "events",
    "Event": "events",
    "Evaluation": "evaluation",
    "EventDetector": "events",
    "FrameScores": "events",
    "Label": "labels",
    "LabelError": "errors",
    "LabelSet": "labels",
    "MissingExtraError": "errors",
    "ModelError": "errors",
    "OptionError": "errors",
    "Recognizer": "recognizer",
    "Tag": "scoring",
    "ZsaudioError": "errors",
    "available_models": "models.registry",
    "builtin_label_sets": "labels",
    "evaluate": "evaluation",
    "load_audio": "audio",
    "load_keyword_model": "models.registry",
    "load_model": "models.registry",
    "microphone": "capture",
    "read_dataset": "datasets",
}

__all__ = [*_HOME, "__version__"]  # noqa: PLE0604  # all of them are strings

if TYPE_CHECKING:
    from zsaudio.audio import load_audio as load_audio
    from zsaudio.capture import microphone as microphone
    from zsaudio.datasets import Dataset as Dataset
    from zsaudio.datasets import read_dataset as read_dataset
    from zsaudio.errors import AudioError as AudioError
    from zsaudio.errors import DataError as DataError
    from zsaudio.errors import LabelError as LabelError
    from zsaudio.errors import MissingExtraError as MissingExtraError
    from zsaudio.errors import ModelError as ModelError
    from zsaudio.errors import OptionError as OptionError
    from zsaudio.errors import ZsaudioError as ZsaudioError
    from zsaudio.evaluation import Evaluation as Evaluation
    from zsaudio.evaluation import evaluate as evaluate
    from zsaudio.events import ClipEvents as ClipEvents
    from zsaudio.events import DetectionOptions as DetectionOptions
    from zsaudio.events import Event as Event
    from zsaudio.events import EventDetector as EventDetector
    from zsaudio.events import FrameScores as FrameScores
    from zsaudio.labels import Label as Label
    from zsaudio.labels import LabelSet as LabelSet
    from zsaudio.labels import builtin_label_sets as builtin_label_sets
    from zsaudio.models.registry import available_models as available_models
    from zsaudio.models.registry import load_keyword_model as load_keyword_model
    from zsaudio.models.registry import load_model as load_model
    from zsaudio.recognizer import Recognizer as Recognizer
    from zsaudio.scoring import ClipTags as ClipTags
    from zsaudio.scoring import Tag as Tag


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zsaudio' has no attribute '{name}'")
    return getattr(import_module(f"zsaudio.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
