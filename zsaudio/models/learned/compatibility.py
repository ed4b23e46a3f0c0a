"""Methods that learn, from known classes, a compatibility of audio embeddings with class vectors.

All three are scikit-learn estimators (``get_params``, ``set_params``, ``clone``) with one difference from a
classifier: classes are vectors, so ``fit`` takes them as a third argument, and ``predict`` takes the vectors
of other classes than those it was fitted on.

Conventions: ``X`` are audio embeddings ``(n_clips, dim)``; ``y`` are class numbers ``(n_clips,)``;
``semantics`` are the vectors of the classes, ``(n_classes, n_dimensions)``
(``zsaudio.models.learned.semantics``). Embeddings are centred on the mean of the training clips and divided
by their mean length there.

References
----------
Romera-Paredes & Torr, An embarrassingly simple approach to zero-shot learning, ICML 2015.
Frome et al., DeViSE, NeurIPS 2013; Akata et al., Label-Embedding for Image Classification (ALE), 2016.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from zsaudio.errors import DataError, OptionError
from zsaudio.models.learned.descent import descend


class Compatibility(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """Base class: centring, prediction, and the weights as arrays."""

    mean_: np.ndarray
    length_: float
    semantics_: np.ndarray

    def fit(self, X: np.ndarray, y: np.ndarray, semantics: np.ndarray, **options: Any) -> "Compatibility":  # noqa: N803
        """Learn from clips ``X`` of classes ``y``, whose vectors are ``semantics[y]``.

        Classes of ``semantics`` without a clip take no part.
        """
        X, y = np.asarray(X, np.float64), np.asarray(y)  # noqa: N806
        if len(X) != len(y) or X.ndim != 2:
            raise DataError(f"{X.shape} embeddings do not go with {y.shape} classes")
        present, y = np.unique(y, return_inverse=True)
        if len(present) < 2:
            raise DataError("at least two classes with recordings are needed to learn from")
        self.mean_ = X.mean(axis=0)
        self.length_ = float(np.linalg.norm(X - self.mean_, axis=1).mean()) or 1.0
        self.semantics_ = np.asarray(semantics, np.float64)
        self._fit(self._centred(X), y, self.semantics_[present], **options)
        return self

    def decision_function(self, X: np.ndarray, semantics: np.ndarray | None = None) -> np.ndarray:  # noqa: N803
        """Return the compatibility of clips with classes, ``(n_clips, n_classes)``; more is better."""
        chosen = self.semantics_ if semantics is None else np.asarray(semantics, np.float64)
        return self._score(self._centred(np.asarray(X, np.float64)), chosen)

    def predict(self, X: np.ndarray, semantics: np.ndarray | None = None) -> np.ndarray:  # noqa: N803
        """Return the number of the best class of each clip."""
        return np.asarray(self.decision_function(X, semantics).argmax(axis=1))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was learned."""
        return {"mean": self.mean_, "length": np.array([self.length_]), **self._arrays()}

    def restore(self, arrays: dict[str, np.ndarray]) -> "Compatibility":
        """Take what ``arrays`` returned; ``decision_function`` then needs its ``semantics``."""
        self.mean_, self.length_ = arrays["mean"], float(arrays["length"][0])
        self._restore(arrays)
        return self

    def _centred(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        return np.asarray((X - self.mean_) / self.length_)

    @abstractmethod
    def _fit(self, X: np.ndarray, y: np.ndarray, S: np.ndarray, **options: Any) -> None: ...  # noqa: N803

    @abstractmethod
    def _score(self, X: np.ndarray, S: np.ndarray) -> np.ndarray: ...  # noqa: N803

    @abstractmethod
    def _arrays(self) -> dict[str, np.ndarray]: ...

    @abstractmethod
    def _restore(self, arrays: dict[str, np.ndarray]) -> None: ...


class _Bilinear(Compatibility):
    """``score(x, s) = x' W s``."""

    weights_: np.ndarray

    def _score(self, X: np.ndarray, S: np.ndarray) -> np.ndarray:  # noqa: N803
        return np.asarray(X @ self.weights_ @ S.T)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"weights": self.weights_}

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.weights_ = arrays["weights"]


class ESZSL(_Bilinear):
    """The closed form of Romera-Paredes & Torr 2015 (equation 9).

    With clips in the rows of ``X``, ``Y`` +1 for a clip's class and -1 for the others, and classes in the
    rows of ``S``, the minimiser of ``|X W S' - Y|^2 + gamma |W S'|^2 + lam |X W|^2 + gamma lam |W|^2`` is
    ``(X'X + gamma I)^-1 X' Y S (S'S + lam I)^-1``.

    Parameters
    ----------
    gamma
        Regularisation of the audio dimensions.
    lam
        Regularisation of the class dimensions.
    """

    def __init__(self, gamma: float = 0.1, lam: float = 10.0) -> None:
        self.gamma = gamma
        self.lam = lam

    def _fit(self, X: np.ndarray, y: np.ndarray, S: np.ndarray, **options: Any) -> None:  # noqa: N803
        if self.gamma <= 0 or self.lam <= 0:
            raise OptionError(f"gamma and lam must be above 0, not {self.gamma} and {self.lam}")
        target = np.where(y[:, None] == np.arange(len(S)), 1.0, -1.0)
        left = np.linalg.solve(X.T @ X + self.gamma * np.eye(X.shape[1]), X.T @ target @ S)
        self.weights_ = np.linalg.solve(S.T @ S + self.lam * np.eye(S.shape[1]), left.T).T


class _Descended(Compatibility):
    """A method whose weights are found by gradient descent."""

    epochs: int
    learning_rate: float
    decay: float
    seed: int
    network_: nn.Module

    def _fit(self, X: np.ndarray, y: np.ndarray, S: np.ndarray, **options: Any) -> None:  # noqa: N803
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.network_ = self._network(X.shape[1], S.shape[1])
        clips, classes = torch.from_numpy(X).float(), torch.from_numpy(S).float()
        target = torch.from_numpy(y)

        def loss(rows: Tensor) -> Tensor:
            return self._loss(self.network_(clips[rows], classes), target[rows])

        descend(
            self.network_, loss, len(X), self.epochs, self.learning_rate, self.decay, self.seed, **options
        )

    @torch.no_grad()
    def _score(self, X: np.ndarray, S: np.ndarray) -> np.ndarray:  # noqa: N803
        scores = self.network_(torch.from_numpy(X).float(), torch.from_numpy(S).float())
        return np.asarray(scores.double().numpy())

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in self.network_.state_dict().items()}

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        shapes = {name: array.shape for name, array in arrays.items()}
        self.network_ = self._network(*self._sizes(shapes))
        own = {name: torch.from_numpy(arrays[name]).float() for name in self.network_.state_dict()}
        self.network_.load_state_dict(own)
        self.network_.eval()

    @abstractmethod
    def _network(self, dim: int, n_dimensions: int) -> nn.Module: ...

    @abstractmethod
    def _sizes(self, shapes: dict[str, tuple[int, ...]]) -> tuple[int, int]: ...

    @abstractmethod
    def _loss(self, scores: Tensor, target: Tensor) -> Tensor: ...


class RankingBilinear(_Descended):
    """``score(x, s) = x' W s``, learned so that the right class ranks first by a margin (DeViSE, ALE).

    Parameters
    ----------
    margin
        Margin of the right class.
    weighted
        Weight a clip's violations by the rank of its right class, as in ALE; else sum them, as in DeViSE.
    epochs, learning_rate, decay
        Parameters of gradient descent (AdamW).
    seed
        Seed of the order of the clips.
    """

    def __init__(
        self,
        margin: float = 0.5,
        weighted: bool = True,
        epochs: int = 60,
        learning_rate: float = 3e-3,
        decay: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.margin = margin
        self.weighted = weighted
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.decay = decay
        self.seed = seed

    def _network(self, dim: int, n_dimensions: int) -> nn.Module:
        return _Product(dim, n_dimensions)

    def _sizes(self, shapes: dict[str, tuple[int, ...]]) -> tuple[int, int]:
        dim, n_dimensions = shapes["weights"]
        return dim, n_dimensions

    def _loss(self, scores: Tensor, target: Tensor) -> Tensor:
        right = scores.gather(1, target[:, None])
        violation = (self.margin + scores - right).clamp_min(0).scatter(1, target[:, None], 0)
        if not self.weighted:
            return violation.sum(1).mean()
        rank = (violation > 0).sum(1)
        # ALE, equation 9: a clip whose right class has rank r counts 1 + 1/2 + ... + 1/r, spread over r.
        harmonic = torch.cumsum(1 / torch.arange(1, scores.shape[1] + 1), 0)
        weight = torch.where(rank > 0, harmonic[(rank - 1).clamp_min(0)] / rank.clamp_min(1), 0.0)
        return (weight * violation.sum(1)).mean()


class ContrastiveHead(_Descended):
    """Two small networks map clips and classes to a shared space; the score is the cosine there.

    Trained with a softmax loss over the classes.

    Parameters
    ----------
    hidden, shared
        Width of the audio network, and dimension of the shared space.
    temperature
        Temperature of the softmax.
    epochs, learning_rate, decay
        Parameters of gradient descent (AdamW).
    seed
        Seed of the initial weights and the order of the clips.
    """

    def __init__(
        self,
        hidden: int = 256,
        shared: int = 64,
        temperature: float = 0.1,
        epochs: int = 30,
        learning_rate: float = 1e-3,
        decay: float = 0.3,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.shared = shared
        self.temperature = temperature
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.decay = decay
        self.seed = seed

    def _network(self, dim: int, n_dimensions: int) -> nn.Module:
        return _TwoTowers(dim, n_dimensions, self.hidden, self.shared)

    def _sizes(self, shapes: dict[str, tuple[int, ...]]) -> tuple[int, int]:
        return shapes["audio.0.weight"][1], shapes["classes.weight"][1]

    def _loss(self, scores: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(scores / self.temperature, target)


METHODS: dict[str, type[Compatibility]] = {
    "eszsl": ESZSL,
    "ranking": RankingBilinear,
    "contrastive": ContrastiveHead,
}


class _Product(nn.Module):
    def __init__(self, dim: int, n_dimensions: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(dim, n_dimensions))

    def forward(self, clips: Tensor, classes: Tensor) -> Tensor:
        return clips @ self.weights @ classes.T


class _TwoTowers(nn.Module):
    def __init__(self, dim: int, n_dimensions: int, hidden: int, shared: int) -> None:
        super().__init__()
        self.audio = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(0.3), nn.Linear(hidden, shared)
        )
        self.classes = nn.Linear(n_dimensions, shared, bias=False)

    def forward(self, clips: Tensor, classes: Tensor) -> Tensor:
        return normalize(self.audio(clips), dim=-1) @ normalize(self.classes(classes), dim=-1).T
