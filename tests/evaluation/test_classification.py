"""Classification metrics against worked examples."""

import json
import math

import numpy as np
import pytest

from jaxsdgm.evaluation.classification import (
    classification_report,
    expected_calibration_error,
    negative_log_likelihood,
)

PROBABILITIES = [[0.9, 0.1], [0.8, 0.2], [0.45, 0.55], [0.3, 0.7]]
LABELS = [0, 1, 1, 1]


def test_report_of_four_documents():
    report = classification_report(PROBABILITIES, LABELS, ["C", "E"])
    assert report["accuracy"] == 0.75
    assert report["confusion"] == [[1, 0], [1, 2]]  # the second document: gold E, predicted C
    first, second = report["per_class"]
    assert first == {
        "label": "C",
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
        "support": 1,
    }
    assert second["recall"] == pytest.approx(2 / 3)
    assert report["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)
    expected = -(math.log(0.9) + math.log(0.2) + math.log(0.55) + math.log(0.7)) / 4
    assert report["nll"] == pytest.approx(expected)
    assert json.loads(json.dumps(report)) == report


def test_calibration_error_by_hand():
    # Bins are 1/15 wide. 0.91 and 0.92 share (0.867, 0.933]: accuracy 0.5, confidence 0.915.
    # 0.7 is alone in (0.667, 0.733]: right, gap 0.3. Mean over documents: (2 * 0.415 + 0.3) / 3.
    probabilities = [[0.91, 0.09], [0.92, 0.08], [0.3, 0.7]]
    error = expected_calibration_error(probabilities, [0, 1, 1])
    assert error == pytest.approx((2 * 0.415 + 0.3) / 3)


@pytest.mark.parametrize(("labels", "error"), [([0, 1], 0.0), ([1, 0], 1.0)])
def test_calibration_error_of_certainty(labels, error):
    assert expected_calibration_error([[1.0, 0.0], [0.0, 1.0]], labels) == error


def test_bins_are_closed_on_the_right():
    # 9/15 belongs to the ninth bin, with 0.59; 0.61 falls into the tenth.
    top = np.array([0.6, 0.59, 0.61])
    error = expected_calibration_error(np.stack([top, 1 - top], axis=1), [0, 1, 1])
    assert error == pytest.approx((abs(0.4 - 0.59) + 0.61) / 3)


def test_likelihood_of_the_impossible_is_finite():
    assert negative_log_likelihood([[1.0, 0.0]], [1]) == pytest.approx(-math.log(1e-12))


def test_a_class_nobody_has_or_predicts_counts_as_zero():
    report = classification_report([[0.9, 0.1, 0.0]], [0], ["a", "b", "c"])
    assert [row["f1"] for row in report["per_class"]] == [1.0, 0.0, 0.0]
    assert report["macro_f1"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.zeros((0, 2)), [], "n > 0"),
        ([[0.5, 0.5]], [0, 1], r"expected probabilities \[2, 2\]"),
        ([[0.5, 0.5]], [2], "expected 0 to 1"),
        ([[0.5, np.nan]], [0], "not finite"),
    ],
)
def test_wrong_arrays(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        classification_report(probabilities, labels, ["a", "b"])
