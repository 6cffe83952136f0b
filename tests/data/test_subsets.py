import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jaxsdgm.data.mldoc import TABLE_2
from jaxsdgm.data.sources import load_corpus
from jaxsdgm.data.subsets import (
    PAPER_COUNTS,
    paper_subset,
    per_class_subset,
    proportional_counts,
    stratified_subset,
)
from jaxsdgm.errors import UserError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"

# The fractions behind the paper's label counts.
FRACTIONS = {
    ("en", 32): 0.034, ("en", 64): 0.066, ("en", 128): 0.130, ("en", 256): 0.258,
    ("de", 32): 0.0333, ("de", 64): 0.066, ("de", 128): 0.130, ("de", 256): 0.258,
    ("fr", 32): 0.0345, ("fr", 64): 0.066, ("fr", 128): 0.130, ("fr", 256): 0.258,
}  # fmt: skip


def _mldoc_labels(language):
    labels = np.repeat(np.arange(4), TABLE_2[language]["train"])
    return np.random.default_rng(0).permutation(labels).astype(np.int32)


@pytest.mark.parametrize(("language", "n"), FRACTIONS)
def test_the_papers_subsets_are_floors_of_class_shares(language, n):
    labels = _mldoc_labels(language)
    subset = paper_subset(labels, n, language, 4)
    expected = [math.floor(FRACTIONS[language, n] * c) for c in TABLE_2[language]["train"]]
    if (language, n) == ("de", 32):
        expected[1] += 1  # the exception that the paper's table makes
    assert PAPER_COUNTS[language][n] == expected
    assert np.bincount(labels[list(subset.indices)]).tolist() == expected
    for c, count in enumerate(expected):
        chosen = [i for i in subset.indices if labels[i] == c]
        assert chosen == np.flatnonzero(labels == c)[:count].tolist()
    assert (subset.rule, subset.n, subset.seed) == ("paper", n, None)
    assert list(subset.indices) == sorted(subset.indices)


def test_other_data_get_largest_remainders():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    # 7 * (.5, .3, .2) = 3.5, 2.1, 1.4: the one left over goes to the first class.
    assert paper_subset(labels, 7, "en", 3).indices == (0, 1, 2, 3, 50, 51, 80)
    assert proportional_counts([1, 1, 1], 5) == [2, 2, 1]
    assert proportional_counts([270, 234, 252, 244], 1000) == [270, 234, 252, 244]


@pytest.mark.parametrize("corpus", ["debian", "sib200"])
def test_stratified_subsets_are_those_of_the_shared_lists(corpus):
    folder = SHARED / corpus
    if not folder.is_dir():
        pytest.skip("../shared is absent")
    for language, listed in json.loads((folder / "subsets.json").read_text()).items():
        data = SimpleNamespace(source=corpus, dir=str(folder), language=language)
        labels = load_corpus(data).splits["train"].labels
        assert labels is not None
        for n, by_seed in listed["subsets"].items():
            for seed, lines in by_seed.items():
                subset = stratified_subset(labels, n=int(n), seed=int(seed))
                assert list(subset.indices) == lines, (language, n, seed)


def test_stratified_subsets_are_nested_and_even():
    labels = np.random.default_rng(1).integers(0, 3, 200)
    small, large = (stratified_subset(labels, n=n, seed=4) for n in (10, 50))
    assert set(small.indices) < set(large.indices)
    counts = np.bincount(labels[list(large.indices)])
    assert counts.max() - counts.min() <= 1
    assert small.indices != stratified_subset(labels, n=10, seed=5).indices
    assert len(stratified_subset(labels, n=200, seed=0).indices) == 200


def test_per_class():
    labels = np.array([0, 1] * 10)
    subset = per_class_subset(labels, per_class=3, n_classes=2, seed=2)
    assert np.bincount(labels[list(subset.indices)]).tolist() == [3, 3]
    assert (subset.n, subset.seed) == (6, 2)
    with pytest.raises(UserError, match="class 1 has only 2"):
        per_class_subset(np.array([0] * 8 + [1] * 2), per_class=3, n_classes=2, seed=0)


def test_impossible_subsets():
    labels = np.array([0, 0, 0, 1, 1, 1] * 4)
    with pytest.raises(UserError, match="25 labels asked for, but there are only 24"):
        stratified_subset(labels, n=25, seed=0)
    with pytest.raises(UserError, match="class 2 has no labelled example"):
        stratified_subset(labels, n=8, seed=0, n_classes=3)
    with pytest.raises(UserError, match="class 2 has no labelled example"):
        paper_subset(labels, 8, "en", 3)
    with pytest.raises(UserError, match="1 labels cannot cover 2 classes"):
        stratified_subset(labels, n=1, seed=0)
    with pytest.raises(UserError, match="class 1 gets no labelled example"):
        paper_subset(np.array([0] * 99 + [1]), 8, "en", 2)
