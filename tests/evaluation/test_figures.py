"""Figures: the right kind of file, the same bytes each time, and nothing drawn from nothing."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from jaxsdgm.evaluation import figures

ROWS = [
    {"step": 1, "seconds": 0.5, "train/loss": 9.0, "train/labelled/kl_z1": 0.0, "dev/nll": None},
    {
        "step": 2,
        "seconds": 1.0,
        "train/loss": 7.0,
        "train/labelled/kl_z1": 3.0,
        "dev/accuracy": 0.5,
    },
]


def _texts(svg: bytes) -> list[str]:
    """matplotlib leaves the text of each label in a comment before its outlines."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    tree = ET.fromstring(svg, parser)
    return [(node.text or "").strip() for node in tree.iter() if node.tag is ET.Comment]


def test_curves_have_a_panel_for_each_kind():
    texts = _texts(figures.training_curves(ROWS, best_step=2) or b"")
    assert {"Loss", "Accuracy", "KL (nats a document)", "train/labelled/kl_z1"} <= set(texts)
    assert "Label cross-entropy (nats)" not in texts  # its only value is missing
    assert "seconds" not in texts


@pytest.mark.parametrize("rows", [[], [{"step": 1, "seconds": 2.0}]])
def test_no_curves_of_nothing(rows):
    assert figures.training_curves(rows) is None


def test_a_diverged_run_still_has_curves():
    rows = [{"step": 1, "train/loss": 3.0}, {"step": 2, "train/loss": float("nan")}]
    assert figures.training_curves(rows)


def test_confusion_matrix_shows_its_counts():
    counts = [[1234, 5], [0, 0]]
    texts = _texts(figures.confusion_matrix(counts, ["CCAT", "a very long name of a class"]))
    assert {"1,234", "5", "CCAT", "predicted", "gold"} <= set(texts)
    svg = figures.confusion_matrix(counts, ["a", "b"])
    assert svg == figures.confusion_matrix(counts, ["a", "b"])


def test_bars_show_mean_and_spread():
    rows = [
        {"name": "M1+M2", "mean": 0.712, "std": 0.013},
        {"name": "twin", "mean": 1.0, "std": None},
    ]
    assert {"71.2 ± 1.3", "100.0", "M1+M2", "twin"} <= set(_texts(figures.comparison_bars(rows)))


def test_tsne_is_reproducible_and_samples_down(monkeypatch):
    monkeypatch.setattr(figures, "TSNE_POINTS", (10, 24))
    points = np.random.default_rng(0).normal(size=(40, 3))
    png = figures.tsne_scatter(points, np.arange(40) % 9, [str(i) for i in range(9)], seed=3)
    assert png is not None
    assert png.startswith(b"\x89PNG")
    assert png == figures.tsne_scatter(
        points, np.arange(40) % 9, [str(i) for i in range(9)], seed=3
    )


@pytest.mark.parametrize("width", [1, 4])
def test_tsne_of_one_live_unit(width):
    points = np.zeros((12, width))
    points[:, 0] = np.arange(12)
    assert figures.tsne_scatter(points, np.zeros(12, int), ["a"])


@pytest.mark.parametrize(
    "points",
    [np.eye(9), np.ones((20, 4)), np.full((20, 4), np.nan)],
    ids=["few", "collapsed", "nan"],
)
def test_tsne_with_nothing_to_see(points):
    assert figures.tsne_scatter(points, np.zeros(len(points), int), ["a"]) is None


def test_boxes_with_a_dashed_line_for_all_labels():
    panels = {
        "debian, en": {"M1+M2": {8: [0.5, 0.6, 0.8], 32: [0.7]}, "SUP-h": {32: [0.6, 0.65]}},
        "debian, zh": {"SUP-h": {16: [0.4, 0.5]}},
    }
    plain = figures.accuracy_boxes(panels, {})
    dashed = figures.accuracy_boxes(panels, {"debian, en": {"SUP-h": 0.9}})
    assert plain.count(b"stroke-dasharray") < dashed.count(b"stroke-dasharray")
    assert dashed == figures.accuracy_boxes(panels, {"debian, en": {"SUP-h": 0.9}})


def test_no_two_systems_of_figure_1_look_alike():
    names = [f"system {i}" for i in range(20)]
    looks = {tuple(figures._fill(names, name).items()) for name in names}
    assert len(looks) == len(names)
