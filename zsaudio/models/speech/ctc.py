"""Keyword spotting with any CTC checkpoint of transformers: wav2vec2, HuBERT, WavLM and the like.

The checkpoint's vocabulary determines how a keyword is spelled: in letters, with the word delimiter between
words, or in phonemes of the International Phonetic Alphabet. Letters may be of any language; the phonemes of
a text come from ``pronunciation.py``, in English, unless they are given by hand.

The attention of such networks spans the whole window. Here each frame is treated as if it depended on
``CONTEXT_S`` of audio on either side, so scores depend a little on how a recording is cut. The scores are not
calibrated: the constants suit a network whose outputs are nearly always certain. ``zsaudio calibrate`` finds
thresholds.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from zsaudio.errors import LabelError, ModelError
from zsaudio.models.checkpoint import Kind, find_checkpoint, importing_transformers, load_part
from zsaudio.models.device import resolve_device
from zsaudio.models.speech.alignment import AlignmentScoring
from zsaudio.models.speech.base import Speech
from zsaudio.models.speech.pronunciation import IPA, Pronouncer, pronouncer, split_pronunciation, spoken_words

CONTEXT_S = 1.0
_SHORTEST_S = 0.1  # a shorter window is padded with zeros
_SPECIAL = re.compile(r"<.*>|\[.*\]")


class CtcCheckpoint(Speech):
    """A CTC checkpoint as a ``zsaudio.models.base.SpeechModel`` and ``Model``.

    Parameters
    ----------
    source
        Hugging Face id, or folder, of a checkpoint with its processor.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    ModelError
        If the checkpoint cannot be found, downloaded or loaded.
    """

    window_s = 10.0
    before_s = after_s = CONTEXT_S
    scoring = AlignmentScoring(bias=-3.0, ratio=0.5, symbols=1.0)

    def __init__(self, source: str, device: str = "cpu") -> None:
        self.name = source
        self.device = resolve_device(device)
        with importing_transformers():
            from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer
            from transformers.models.auto.modeling_auto import MODEL_FOR_CTC_MAPPING_NAMES
        kind = Kind("CTC", MODEL_FOR_CTC_MAPPING_NAMES, "--keyword-model nano-keyword, the bundled one")
        folder = find_checkpoint(source, kind)
        self._extractor = load_part(AutoFeatureExtractor, folder)
        tokenizer = load_part(AutoTokenizer, folder)
        self._network = load_part(_loadable(AutoModelForCTC, folder), folder).to(self.device)
        config = self._network.config
        if not hasattr(config, "inputs_to_logits_ratio"):
            raise ModelError(
                f"{folder}: zsaudio knows CTC checkpoints that read waveforms, not '{config.model_type}'"
            )
        self.sample_rate: int = self._extractor.sampling_rate
        self.frame_s = config.inputs_to_logits_ratio / self.sample_rate
        blank = config.pad_token_id
        vocabulary = {
            token: number for token, number in tokenizer.get_vocab().items() if number < config.vocab_size
        }
        self._columns = [blank, *(number for number in range(config.vocab_size) if number != blank)]
        place = {number: column for column, number in enumerate(self._columns)}
        self._number = {
            token: place[number]
            for token, number in vocabulary.items()
            if number != blank and not _SPECIAL.fullmatch(token)
        }
        self._delimiter = getattr(tokenizer, "word_delimiter_token", None)

    def symbols(self, text: str) -> list[tuple[int, ...]]:
        """Return the pronunciations or spellings of a text, each as symbols."""
        written, by_hand = split_pronunciation(text)
        if by_hand:
            return [self._phonemes(each, text) for each in by_hand]
        if self._is_phonetic:
            return [
                tuple(number for phoneme in said for number in self._phonemes(_ipa(phoneme), text))
                for said in self._pronounce(written)
            ]
        letters = "".join(token for token in self._number if len(token) == 1 and token.isalpha())
        if letters == letters.upper():
            written = written.upper()
        elif letters == letters.lower():
            written = written.lower()
        between = [self._number[self._delimiter]] if self._delimiter in self._number else []
        ways = []
        for words in spoken_words(written, letters):
            cased = [word.upper() if letters == letters.upper() else word for word in words]
            spelled = [[self._number[letter] for letter in word if letter in self._number] for word in cased]
            ways.append(
                tuple(number for i, word in enumerate(spelled) for number in [*(between if i else []), *word])
            )
        return ways

    @torch.inference_mode()
    def log_probs(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return per window the log-probabilities ``(n_frames, n_symbols)``, blank first."""
        found = []
        for window in windows:
            n_frames = max(1, -(-len(window) // round(self.frame_s * self.sample_rate)))
            samples = np.pad(window, (0, max(0, round(_SHORTEST_S * self.sample_rate) - len(window))))
            inputs = self._extractor(samples, sampling_rate=self.sample_rate, return_tensors="pt")
            values = inputs.input_values.to(self.device)
            logits = self._network(values).logits[0].float()
            log_probs = torch.log_softmax(logits, dim=-1)[:, self._columns].cpu().numpy()
            # The convolutions have no padding, so the last one or two frames are missing.
            missing = max(0, n_frames - len(log_probs))
            found.append(np.pad(log_probs, ((0, missing), (0, 0)), mode="edge")[:n_frames])
        return found

    @property
    def _is_phonetic(self) -> bool:
        return len({"ə", "ɪ", "ʃ", "ŋ", "ɛ", "ʌ"} & set(self._number)) >= 3

    @cached_property
    def _pronounce(self) -> Pronouncer:
        return pronouncer()

    def _phonemes(self, written: str, where: str) -> tuple[int, ...]:
        """Split written phonemes into symbols of the vocabulary, the longest possible first."""
        longest = sorted(self._number, key=len, reverse=True)
        rest, found = unicodedata.normalize("NFC", re.sub(r"[\sˈˌ]", "", written)), []
        while rest:
            token = next((token for token in longest if rest.startswith(token)), None)
            if token is None and rest[0] in "ːˑ":
                rest = rest[1:]
                continue
            if token is None:
                raise LabelError(f"keyword '{where}': {self.name} has no symbol for '{rest}'")
            found.append(self._number[token])
            rest = rest[len(token) :]
        if not found:
            raise LabelError(f"keyword '{where}': nothing stands between the slashes")
        return tuple(found)


def _ipa(phoneme: str) -> str:
    """Return an ARPAbet phoneme in the International Phonetic Alphabet, long vowels marked as such."""
    usual = {
        "AH": "ə",
        "AA": "ɑː",
        "AO": "ɔː",
        "ER": "ɚ",
        "IY": "iː",
        "UW": "uː",
        "R": "ɹ",
        "G": "ɡ",
        "JH": "dʒ",
    }
    return usual.get(phoneme) or next(symbol for symbol, name in IPA.items() if name == phoneme)


def _loadable(auto: Any, folder: Any) -> Any:
    """Return the class of a checkpoint's network, for ``load_part``."""
    from transformers import AutoConfig

    config = load_part(AutoConfig, folder)
    return auto._model_mapping[type(config)]
