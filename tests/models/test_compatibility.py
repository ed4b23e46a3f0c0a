from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.base import clone

from zsaudio.errors import DataError, OptionError
from zsaudio.models.learned.compatibility import (
    ESZSL,
    METHODS,
    Compatibility,
    ContrastiveHead,
    RankingBilinear,
)

World = tuple[np.ndarray, np.ndarray, np.ndarray]  # embeddings, classes, semantics


@pytest.fixture
def world() -> World:
    """Twelve classes in a space of 4; audio is a noisy rotation of it, in 6 dimensions. Eight are seen."""
    rng = np.random.default_rng(0)
    semantics = rng.normal(size=(12, 4))
    semantics /= np.linalg.norm(semantics, axis=1, keepdims=True)
    y = np.repeat(np.arange(12), 20)
    X = semantics[y] @ rng.normal(size=(4, 6)) + 0.1 * rng.normal(size=(240, 6)) + 3.0  # noqa: N806
    return X, y, semantics


def short(method: str) -> Compatibility:
    return METHODS[method](**({} if method == "eszsl" else {"epochs": 60, "learning_rate": 0.02}))


@pytest.mark.parametrize("method", METHODS)
def test_classes_never_seen_are_recognised(world: World, method: str) -> None:
    X, y, semantics = world  # noqa: N806
    seen = y < 8
    fitted = short(method).fit(X[seen], y[seen], semantics)
    assert (fitted.predict(X[seen], semantics[:8]) == y[seen]).mean() > 0.8
    unseen = fitted.predict(X[~seen], semantics[8:]) + 8
    assert (unseen == y[~seen]).mean() > 0.7  # chance: 0.25


@pytest.mark.parametrize("method", METHODS)
def test_semantics_that_say_nothing_teach_nothing_of_unseen_classes(world: World, method: str) -> None:
    X, y, semantics = world  # noqa: N806
    seen = y < 8
    shuffled = np.concatenate([semantics[:8], np.roll(semantics[8:], 1, axis=0)])
    fitted = short(method).fit(X[seen], y[seen], semantics)
    assert (fitted.predict(X[~seen], shuffled[8:]) + 8 == y[~seen]).mean() < 0.3


@pytest.mark.parametrize("method", METHODS)
def test_scikit_learn_conventions(world: World, method: str) -> None:
    X, y, semantics = world  # noqa: N806
    estimator = short(method)
    assert clone(estimator).get_params() == estimator.get_params()
    assert estimator.set_params(**estimator.get_params()) is estimator
    before = estimator.get_params()
    assert estimator.fit(X, y, semantics) is estimator and estimator.get_params() == before
    scores = estimator.decision_function(X[:5])
    assert scores.shape == (5, 12)
    assert np.array_equal(scores.argmax(axis=1), estimator.predict(X[:5]))
    again = clone(estimator).fit(X, y, semantics)
    assert np.array_equal(again.decision_function(X), estimator.decision_function(X))


@pytest.mark.parametrize("method", METHODS)
def test_what_was_learned_can_be_stored(world: World, method: str) -> None:
    X, y, semantics = world  # noqa: N806
    fitted = short(method).fit(X, y, semantics)
    restored = METHODS[method](**fitted.get_params()).restore(fitted.arrays())
    found = restored.decision_function(X, semantics)
    assert found == pytest.approx(fitted.decision_function(X), abs=1e-5)


def test_eszsl_is_the_minimum_of_its_objective(world: World) -> None:
    X, y, semantics = world  # noqa: N806
    gamma, lam = 0.7, 2.0
    fitted = ESZSL(gamma, lam).fit(X, y, semantics)
    centred = X - X.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1).mean()
    target = np.where(y[:, None] == np.arange(12), 1.0, -1.0)

    def objective(flat: np.ndarray) -> float:
        w = flat.reshape(6, 4)
        return float(
            np.sum((centred @ w @ semantics.T - target) ** 2)
            + gamma * np.sum((w @ semantics.T) ** 2)
            + lam * np.sum((centred @ w) ** 2)
            + gamma * lam * np.sum(w**2)
        )

    found = minimize(objective, np.zeros(24), method="BFGS", options={"gtol": 1e-6})
    assert fitted.weights_.ravel() == pytest.approx(found.x, abs=1e-3)
    assert np.abs(fitted.weights_).max() > 0.1


def test_ranking_loss_by_hand() -> None:
    import torch

    scores = torch.tensor([[1.0, 0.9, 1.2, 0.0], [2.0, 0.0, 0.0, 0.0]])
    target = torch.tensor([0, 0])
    # First clip: violations 0.2 + 0.9 - 1 = 0.1 and 0.2 + 1.2 - 1 = 0.4, so the rank is 2; second clip: none.
    plain = RankingBilinear(margin=0.2, weighted=False)._loss(scores, target)
    weighted = RankingBilinear(margin=0.2)._loss(scores, target)
    assert float(plain) == pytest.approx(0.5 / 2)
    assert float(weighted) == pytest.approx((1 + 1 / 2) / 2 * 0.5 / 2)


@pytest.mark.parametrize("method", ["ranking", "contrastive"])
def test_an_interrupted_run_ends_as_it_would_have(world: World, method: str, tmp_path: Path) -> None:
    X, y, semantics = world  # noqa: N806
    estimator = METHODS[method](epochs=25)
    whole = clone(estimator).fit(X, y, semantics).decision_function(X)

    def stop(done: int, total: int) -> None:
        if done == 17:
            raise KeyboardInterrupt

    state = tmp_path / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        clone(estimator).fit(X, y, semantics, state=state, on_epoch=stop)
    assert state.exists()
    epochs: list[int] = []
    resumed = clone(estimator)
    resumed.fit(X, y, semantics, state=state, on_epoch=lambda done, total: epochs.append(done))
    assert epochs == list(range(11, 26)) and not state.exists()
    assert resumed.decision_function(X) == pytest.approx(whole, abs=1e-6)


def test_seeds_matter(world: World) -> None:
    X, y, semantics = world  # noqa: N806
    one, other = (
        ContrastiveHead(epochs=2, seed=seed).fit(X, y, semantics).decision_function(X) for seed in (0, 1)
    )
    assert not np.allclose(one, other)


def test_bad_input(world: World) -> None:
    X, y, semantics = world  # noqa: N806
    with pytest.raises(DataError, match="at least two classes"):
        ESZSL().fit(X[:20], y[:20], semantics)
    with pytest.raises(DataError, match="do not go with"):
        ESZSL().fit(X[:20], y, semantics)
    with pytest.raises(OptionError, match="must be above 0"):
        ESZSL(gamma=0).fit(X, y, semantics)
