import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    recall_score,
    top_k_accuracy_score,
)

from zsaudio.evaluation import metrics

Case = tuple[np.ndarray, np.ndarray]  # scores, truth


@pytest.fixture
def case() -> Case:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, 200)
    truth[truth == 4] = 3  # class 4 has no clips
    scores = rng.uniform(size=(200, 6)) + 0.5 * metrics.one_hot(truth, 6)
    return scores, truth


def test_accuracies_are_those_of_scikit_learn(case: Case) -> None:
    scores, truth = case
    best = scores.argmax(axis=1)
    assert metrics.accuracy(scores, truth) == pytest.approx(accuracy_score(truth, best))
    for k in (2, 5):
        expected = top_k_accuracy_score(truth, scores, k=k, labels=np.arange(6))
        assert metrics.accuracy(scores, truth, k) == pytest.approx(expected)
    expected = confusion_matrix(truth, best, labels=np.arange(6))
    assert metrics.confusion(scores, truth).tolist() == expected.tolist()
    labels = [0, 1, 2, 3, 5]
    recall = recall_score(truth, best, labels=labels, average=None)
    assert metrics.class_accuracy(scores, truth)[labels] == pytest.approx(recall)
    assert np.isnan(metrics.class_accuracy(scores, truth)[4])
    assert metrics.mean_class_accuracy(scores, truth) == pytest.approx(balanced_accuracy_score(truth, best))


def test_top_k_by_hand() -> None:
    scores = np.array([[0.1, 0.5, 0.2, 0.15], [0.4, 0.3, 0.2, 0.1], [0.0, 0.1, 0.2, 0.3]])
    truth = np.array([2, 1, 0])
    assert metrics.accuracy(scores, truth) == 0
    assert metrics.accuracy(scores, truth, 2) == pytest.approx(2 / 3)
    assert metrics.accuracy(scores, truth, 3) == pytest.approx(2 / 3)
    assert metrics.accuracy(scores, truth, 4) == metrics.accuracy(scores, truth, 9) == 1
    assert metrics.accuracy(scores[:, :2], np.array([1, 0, 0])) == pytest.approx(2 / 3)


def test_confusion_has_truth_in_rows() -> None:
    scores = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert metrics.confusion(scores, np.array([0, 0, 1])).tolist() == [[1, 1], [0, 1]]


def test_average_precision_of_several_labels(case: Case) -> None:
    scores, _ = case
    truth = np.random.default_rng(1).uniform(size=scores.shape) < 0.3
    truth[:, 2] = False
    found = metrics.average_precision(scores, truth)
    assert np.isnan(found[2])
    rest = [0, 1, 3, 4, 5]
    assert found[rest].mean() == pytest.approx(average_precision_score(truth[:, rest], scores[:, rest]))
    # By hand: hits at ranks 1 and 3.
    by_hand = metrics.average_precision(np.array([[0.9], [0.8], [0.7]]), np.array([[True], [False], [True]]))
    assert by_hand[0] == pytest.approx((1 + 2 / 3) / 2)


def test_reliability_by_hand() -> None:
    scores = np.array([0.1, 0.15, 0.9, 1.0])
    right = np.array([0, 1, 1, 1])
    found = metrics.reliability(scores, right, bins=2)
    assert found.count.tolist() == [2, 2]
    assert found.score == pytest.approx([0.125, 0.95])
    assert found.right == pytest.approx([0.5, 1.0])
    assert found.ece == pytest.approx((0.375 + 0.05) / 2)


def test_calibrated_scores_have_no_error_and_overconfident_ones_have() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=50_000)
    right = rng.uniform(size=50_000) < scores
    assert metrics.reliability(scores, right).ece < 0.02
    assert metrics.reliability(scores**0.2, right).ece > 0.2


def test_empty_bins_count_for_nothing() -> None:
    found = metrics.reliability(np.array([0.05]), np.array([0.0]), bins=10)
    assert found.count.sum() == 1 and np.isnan(found.right[5])
    assert found.ece == pytest.approx(0.05)


def test_generalised_by_hand() -> None:
    # Classes 0 and 1 are seen, 2 and 3 unseen; class 0 has three clips, the others one or two.
    scores = np.array(
        [
            [9, 1, 2, 3],  # 0, right
            [9, 1, 2, 3],  # 0, right
            [1, 1, 2, 9],  # 0, taken for 3
            [9, 1, 2, 3],  # 1, taken for 0
            [9, 1, 3, 2],  # 2, taken for the seen class 0; among unseen ones: right
            [0, 1, 9, 3],  # 2, right
            [0, 1, 9, 3],  # 3, taken for 2
        ],
        float,
    )
    truth = np.array([0, 0, 0, 1, 2, 2, 3])
    found = metrics.generalised(scores, truth, unseen=[2, 3])
    assert found.seen == pytest.approx((2 / 3 + 0) / 2)
    assert found.unseen == pytest.approx((1 / 2 + 0) / 2)
    assert found.unseen_only == pytest.approx((1 + 0) / 2)
    assert found.harmonic == pytest.approx(2 * (1 / 3) * (1 / 4) / (1 / 3 + 1 / 4))


def test_harmonic_mean_of_nothing_is_nothing() -> None:
    assert metrics.harmonic_mean(0, 0) == metrics.harmonic_mean(1, 0) == 0
