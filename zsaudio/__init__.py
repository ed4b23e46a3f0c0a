"""zsaudio: recognises sounds that no classifier was trained for, named in plain words.

The public names are imported on first use, so that ``import zsaudio`` costs no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Archive": "archive.archive",
    "ArchiveError": "errors",
    "AudioError": "errors",
    "Calibrated": "learning.thresholds",
    "ClipEvents": "results",
    "ClipTags": "results",
    "DataError": "errors",
    "Dataset": "evaluation.datasets",
    "Describer": "description",
    "DetectionOptions": "detection.hysteresis",
    "Event": "results",
    "Evaluation": "evaluation.clips",
    "EventDetector": "detection.hysteresis",
    "EventSession": "detection.events",
    "FrameScores": "results",
    "Label": "labels",
    "LabelError": "errors",
    "LabelSet": "labels",
    "MissingExtraError": "errors",
    "ModelError": "errors",
    "OptionError": "errors",
    "Recognizer": "recognizer",
    "Tag": "results",
    "ZsaudioError": "errors",
    "adapt": "learning.adapt",
    "available_models": "models.registry",
    "builtin_label_sets": "labels",
    "calibrate": "learning.thresholds",
    "evaluate": "evaluation.clips",
    "load_audio": "audio.reader",
    "load_keyword_model": "models.registry",
    "load_model": "models.registry",
    "microphone": "audio.microphone",
    "read_dataset": "evaluation.datasets",
    "train": "learning.train",
}

__all__ = [*_HOME, "__version__"]  # noqa: PLE0604  # all of them are strings

if TYPE_CHECKING:
    from zsaudio.archive.archive import Archive as Archive
    from zsaudio.audio.microphone import microphone as microphone
    from zsaudio.audio.reader import load_audio as load_audio
    from zsaudio.description import Describer as Describer
    from zsaudio.detection.events import EventSession as EventSession
    from zsaudio.detection.hysteresis import DetectionOptions as DetectionOptions
    from zsaudio.detection.hysteresis import EventDetector as EventDetector
    from zsaudio.errors import ArchiveError as ArchiveError
    from zsaudio.errors import AudioError as AudioError
    from zsaudio.errors import DataError as DataError
    from zsaudio.errors import LabelError as LabelError
    from zsaudio.errors import MissingExtraError as MissingExtraError
    from zsaudio.errors import ModelError as ModelError
    from zsaudio.errors import OptionError as OptionError
    from zsaudio.errors import ZsaudioError as ZsaudioError
    from zsaudio.evaluation.clips import Evaluation as Evaluation
    from zsaudio.evaluation.clips import evaluate as evaluate
    from zsaudio.evaluation.datasets import Dataset as Dataset
    from zsaudio.evaluation.datasets import read_dataset as read_dataset
    from zsaudio.labels import Label as Label
    from zsaudio.labels import LabelSet as LabelSet
    from zsaudio.labels import builtin_label_sets as builtin_label_sets
    from zsaudio.learning.adapt import adapt as adapt
    from zsaudio.learning.thresholds import Calibrated as Calibrated
    from zsaudio.learning.thresholds import calibrate as calibrate
    from zsaudio.learning.train import train as train
    from zsaudio.models.registry import available_models as available_models
    from zsaudio.models.registry import load_keyword_model as load_keyword_model
    from zsaudio.models.registry import load_model as load_model
    from zsaudio.recognizer import Recognizer as Recognizer
    from zsaudio.results import ClipEvents as ClipEvents
    from zsaudio.results import ClipTags as ClipTags
    from zsaudio.results import Event as Event
    from zsaudio.results import FrameScores as FrameScores
    from zsaudio.results import Tag as Tag


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zsaudio' has no attribute '{name}'")
    return getattr(import_module(f"zsaudio.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
