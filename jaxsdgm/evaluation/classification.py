"""How good a classifier is: accuracy, F1, confusion matrix, calibration and likelihood."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

BINS = 15  # of the calibration error, as in Guo et al. 2017
SMALLEST = (
    1e-12  # probabilities below are raised to it, so that one document costs at most 27.6 nats
)


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean gap between confidence and accuracy, over 15 equal-width bins of the confidence.

    Confidence is the probability of the most probable class.
    ECE = sum over bins of |bin| / n * |accuracy(bin) - confidence(bin)|, bins closed on the right
    (Guo et al. 2017, "On calibration of modern neural networks", equation 3).

    Args:
        probabilities: [n, k], rows sum to one.
        labels: [n] gold class numbers.
    """
    probabilities = np.asarray(probabilities, np.float64)  # [n, k]
    confidence = probabilities.max(axis=1)
    surplus = (probabilities.argmax(axis=1) == np.asarray(labels)) - confidence  # [n]
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    # |bin| * |accuracy - confidence| is the absolute sum of the surpluses within the bin.
    return float(np.abs(np.bincount(bins, surplus, minlength=BINS)).sum() / len(confidence))


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean -log p(gold class) in nats, with p raised to 1e-12 where it is smaller.

    Args:
        probabilities: [n, k].
        labels: [n] gold class numbers.
    """
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    gold = probabilities[np.arange(len(labels)), labels]  # [n]
    return float(-np.log(np.maximum(gold, SMALLEST)).mean())


def classification_report(
    probabilities: ArrayLike, labels: ArrayLike, label_names: Sequence[str]
) -> dict[str, Any]:
    """Every number of the report about one split, ready for JSON.

    Args:
        probabilities: [n, k] with n > 0.
        labels: [n] gold class numbers, 0 to k - 1.
        label_names: k names.

    Returns:
        accuracy; macro_f1, the mean over all k classes; per_class, a list of {label, precision,
        recall, f1, support}, where recall is the accuracy within the class and a ratio without a
        denominator is 0; confusion, [k][k] counts with gold classes as rows; ece; nll in nats.

    Raises:
        ValueError: the shapes do not fit, a label is no class, or a probability is not finite.
    """
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    _check(probabilities, labels, n_classes=len(label_names))
    predicted = probabilities.argmax(axis=1)
    found = class_scores(labels, predicted, label_names)
    return {
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": float(np.mean([row["f1"] for row in found["per_class"]])),
        **found,
        "ece": expected_calibration_error(probabilities, labels),
        "nll": negative_log_likelihood(probabilities, labels),
    }


def class_scores(
    labels: np.ndarray, predicted: np.ndarray, label_names: Sequence[str]
) -> dict[str, Any]:
    """per_class and confusion of `classification_report`, of numbers `[n]`."""
    classes = np.arange(len(label_names))
    scores = precision_recall_fscore_support(
        labels,
        predicted,
        labels=classes,
        zero_division=0.0,  # pyright: ignore[reportArgumentType]
    )
    per_class = [
        {"label": name, "precision": p, "recall": r, "f1": f, "support": int(n)}
        for name, (p, r, f, n) in zip(label_names, np.array(scores).T.tolist(), strict=True)
    ]
    confusion = confusion_matrix(labels, predicted, labels=classes).tolist()
    return {"per_class": per_class, "confusion": confusion}


def _check(probabilities: np.ndarray, labels: np.ndarray, *, n_classes: int) -> None:
    n = len(labels)
    if n == 0 or probabilities.shape != (n, n_classes):
        raise ValueError(
            f"expected probabilities [{n}, {n_classes}] and n > 0, got {probabilities.shape}"
        )
    if not 0 <= labels.min() <= labels.max() < n_classes:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, expected 0 to {n_classes - 1}"
        )
    if not np.isfinite(probabilities).all():
        raise ValueError("a probability is not finite")
