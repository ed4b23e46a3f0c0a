"""Keyword spotting with a bundle of torchaudio: ``torchaudio:MMS_FA``, ``torchaudio:WAV2VEC2_ASR_BASE_960H``.

``MMS_FA`` (Pratap et al., Scaling Speech Technology to 1,000+ Languages, 2023) was trained on speech in 1,130
languages, written in the letters a to z by the romaniser uroman. A keyword is spelled in the letters of the
bundle: in lower case, without accents (Unicode's NFKD decomposition), and what they do not cover by uroman,
where that is installed. torchaudio downloads and keeps the weights.
"""

import unicodedata
from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np
import torch

from zsaudio.errors import LabelError, ModelError, install_command
from zsaudio.models.device import resolve_device
from zsaudio.models.speech.ctc import CtcCheckpoint
from zsaudio.models.speech.pronunciation import split_pronunciation

PREFIX = "torchaudio:"


class TorchaudioBundle(CtcCheckpoint):
    """A CTC bundle of ``torchaudio.pipelines`` as a ``zsaudio.models.base.SpeechModel`` and ``Model``.

    Parameters
    ----------
    source
        ``torchaudio:`` and the name of a bundle for speech recognition or forced alignment.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    ModelError
        If torchaudio is missing or broken, has no such bundle, or cannot get its weights.
    """

    def __init__(self, source: str, device: str = "cpu") -> None:
        self.name = source
        self.device = resolve_device(device)
        bundle = _find_bundle(source)
        try:
            self._network = bundle.get_model().to(self.device)
        except Exception as error:  # whatever a download or a damaged file raises
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(
                f"{source}: torchaudio cannot download or load its weights ({reason}): check the connection, "
                "or use --keyword-model nano-keyword, the bundled one"
            ) from error
        labels = bundle.get_labels()
        self._delimiter = "|"
        # the first label is blank; that of MMS_FA for anything at all, the last, is no letter
        self._columns = [number for number, label in enumerate(labels) if label != "*"]
        self._number = {label: number for number, label in enumerate(labels) if number and label != "*"}
        self.sample_rate = int(bundle.sample_rate)
        self.frame_s = self._measured_frame() / self.sample_rate

    def symbols(self, text: str) -> list[tuple[int, ...]]:
        """Return the spellings of a text, each as symbols; between slashes it is in the bundle's letters.

        Raises
        ------
        LabelError
            If it has no word, or a letter that neither the bundle nor uroman has.
        """
        written, by_hand = split_pronunciation(text)
        if by_hand:
            return super().symbols(text)
        alphabet = {label.lower() for label in self._number}
        written = written.casefold()
        strange = "".join(dict.fromkeys(c for c in written if not _is_covered(c, alphabet)))
        if not strange:
            return super().symbols(written)
        romanise = _romaniser()
        if romanise is None:
            raise LabelError(
                f"keyword '{text}': {self.name} has no letter '{strange}'; install the romaniser "
                f"(pip install uroman), or write it in Latin letters between slashes: keyword: {text} /.../"
            )
        return super().symbols(romanise.romanize_string(written).casefold())

    def _logits(self, samples: np.ndarray) -> torch.Tensor:
        waveform = torch.from_numpy(samples.astype(np.float32))[None].to(self.device)
        logits: torch.Tensor = self._network(waveform)[0][0].float()
        return logits


def _is_covered(character: str, alphabet: Collection[str]) -> bool:
    """Return whether a character is no letter, is one of an alphabet, or is one with accents."""
    if not character.isalpha() or character in alphabet:
        return True
    parts = [part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part)]
    return all(part in alphabet for part in parts)


def _find_bundle(source: str) -> Any:
    """Return the bundle of a source.

    Raises
    ------
    ModelError
        If torchaudio is missing or broken, or has no such bundle.
    """
    try:
        from torchaudio import pipelines
    except ModuleNotFoundError as error:
        if error.name != "torchaudio":
            raise
        raise ModelError(
            f"{source} needs torchaudio, which fits one build of torch only; in an environment of its own: "
            f"{install_command('torchaudio')}"
        ) from error
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise ModelError(
            f"{source}: torchaudio is installed but does not work with torch {torch.__version__}: install a "
            "pair that works, torch==2.11.0 torchaudio==2.11.0"
        ) from error
    # constants, whose classes have letters: bundles for speech recognition and for alignment
    known = [name for name in dir(pipelines) if name.isupper() and hasattr(pipelines, name)]
    bundles = {name: getattr(pipelines, name) for name in known}
    bundles = {name: bundle for name, bundle in bundles.items() if hasattr(bundle, "get_labels")}
    bundle = bundles.get(source.removeprefix(PREFIX))
    if bundle is None:
        raise ModelError(f"torchaudio has no bundle '{source}' for keywords; known are {', '.join(bundles)}")
    return bundle


@cache
def _romaniser() -> Any:
    """Return uroman's romaniser, or None where it is not installed. It takes seconds to load."""
    try:
        from uroman import Uroman
    except ImportError:
        return None
    return Uroman()
