"""Keyword spotting with any CTC checkpoint of transformers: wav2vec2, HuBERT, WavLM, Parakeet, LASR, ...

The class of the network is found by the checkpoint's config; its own extractor turns audio into what it
reads, samples or a spectrogram. The checkpoint's vocabulary determines how a keyword is spelled: in letters,
with the word delimiter between words; in sub-words, as its tokeniser splits the text; or in phonemes of the
International Phonetic Alphabet. Letters may be of any language; the phonemes of a text come from
``pronunciation.py``, in English, unless they are given by hand.

The attention of such networks spans the whole window. Here each frame is treated as if it depended on
``CONTEXT_S`` of audio on either side, so scores depend a little on how a recording is cut. The scores are not
calibrated: the constants suit a network whose outputs are nearly always certain. ``zsaudio calibrate`` finds
thresholds.
"""

import re
import string
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from zsaudio.errors import LabelError
from zsaudio.models.checkpoint import Kind, find_checkpoint, importing_transformers, load_part
from zsaudio.models.device import resolve_device
from zsaudio.models.speech.alignment import AlignmentScoring
from zsaudio.models.speech.base import Speech
from zsaudio.models.speech.pronunciation import IPA, Pronouncer, pronouncer, split_pronunciation, spoken_words

CONTEXT_S = 1.0
_SHORTEST_S = 0.5  # a shorter window is padded with zeros
_MEASURED_S = 8.0  # silence from which the length of a frame is learned
_GRID = 80  # frames are multiples of so many samples
_WORD = "▁"  # before a word, in vocabularies of sub-words
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
        self.sample_rate: int = self._extractor.sampling_rate
        self.frame_s = self._frame(config) / self.sample_rate
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
        self._tokenizer = tokenizer

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
        if sum(token.startswith(_WORD) for token in self._number) > 1:
            return self._sub_words(written)
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
            log_probs = torch.log_softmax(self._logits(samples), dim=-1)[:, self._columns].cpu().numpy()
            # Convolutions without padding: the last one or two frames are missing.
            missing = max(0, n_frames - len(log_probs))
            found.append(np.pad(log_probs, ((0, missing), (0, 0)), mode="edge")[:n_frames])
        return found

    def _logits(self, samples: np.ndarray) -> torch.Tensor:
        inputs = self._extractor(samples, sampling_rate=self.sample_rate, return_tensors="pt")
        logits: torch.Tensor = self._network(**inputs.to(self.device)).logits[0].float()
        return logits

    def _frame(self, config: Any) -> int:
        """Return the length of a frame in samples: from the config, or else measured."""
        if self._extractor.model_input_names[0] == "input_values":
            return int(config.inputs_to_logits_ratio)
        return self._measured_frame()

    @torch.inference_mode()
    def _measured_frame(self) -> int:
        """Return the length of a frame in samples, from how many frames some silence has."""
        n_samples = round(_MEASURED_S * self.sample_rate)
        n_frames = len(self._logits(np.zeros(n_samples, np.float32)))
        return round(n_samples / n_frames / _GRID) * _GRID

    def _sub_words(self, written: str) -> list[tuple[int, ...]]:
        """Return a text as the tokeniser splits it, in each case whose pieces are all in the vocabulary."""
        found: list[tuple[int, ...]] = []
        alphabet = {letter for token in self._number for letter in token if letter.isalpha()}
        for words in spoken_words(written, alphabet | set(string.ascii_letters)):
            text = " ".join(words)
            for way in dict.fromkeys((text, text.lower(), text.upper(), text.title())):
                tokens = self._tokenizer.tokenize(way)
                if tokens and all(token in self._number for token in tokens):
                    found.append(tuple(self._number[token] for token in tokens))
        if not found:
            raise LabelError(f"keyword '{written}': the vocabulary of {self.name} cannot spell it")
        return list(dict.fromkeys(found))

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
