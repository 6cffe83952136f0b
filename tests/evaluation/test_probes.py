"""The probes against the paper's own code where it has them, and by hand."""

import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from jaxsdgm.errors import UserError
from jaxsdgm.evaluation import probes
from jaxsdgm.evaluation.probes import (
    copying_distance,
    draw_labels,
    gaussian_mixture,
    linear_probe,
    mapped_accuracy,
    one_to_one_map,
    peak_map,
    reconstruction_bleu,
    smoothness,
    swap_words,
    word_edit_distance,
)
from tests.parity.golden import load

FOLDER = Path(os.environ.get("JAXSDGM_GOLDEN", Path(__file__).parents[1] / "golden")) / "textvae"


# -- reconstruction ------------------------------------------------------------------------------


def test_bleu_of_the_reference():
    arrays = load(FOLDER / "bleu.npz", np.float64)
    found = reconstruction_bleu(arrays["in/hyp"].tolist(), arrays["in/ref"].tolist())
    assert found == pytest.approx(arrays["out/bleu"], abs=0.005)  # theirs has two decimals


@pytest.mark.parametrize(
    ("hypothesis", "reference", "bleu"),
    [
        ("a b c d", "a b c d", 100),
        ("a b c d", "a b c d e", 100 * np.exp(1 - 5 / 4)),  # brevity penalty
        ("a b c d e", "a b c d", 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25),
        ("A b c d", "a b c d", 0),  # case counts, and no 4-gram is left
        ("a b c", "a b c", 0),  # no smoothing: there is no 4-gram
        ("is n't it ? .", "is n't it ? .", 100),  # tokens stay as they are
        ("", "a b c d", 0),
    ],
)
def test_bleu_by_hand(hypothesis, reference, bleu):
    assert reconstruction_bleu([hypothesis], [reference]) == pytest.approx(bleu, abs=1e-9)


def test_bleu_is_of_the_corpus():
    """Not a mean over sentences: the counts of 4-grams are added first."""
    found = reconstruction_bleu(["a b c d", "x"], ["a b c d", "y"])
    assert found == pytest.approx(100 * (4 / 5) ** 0.25)


@pytest.mark.parametrize(("hypotheses", "references"), [([], []), (["a"], ["a", "b"])])
def test_bleu_wants_pairs(hypotheses, references):
    with pytest.raises(UserError, match="one reference a sentence"):
        reconstruction_bleu(hypotheses, references)


# -- distances -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ([4, 5, 6], [4, 6], 1),
        ([4, 5], [5, 4], 2),  # an exchange is two edits
        ([], [7, 7, 7], 3),
        (["the", "cat"], ["the", "dog"], 1),  # words, not letters
        (np.array([4, 5, 6]), [4, 5, 6], 0),
    ],
)
def test_edit_distance(one, other, distance):
    assert word_edit_distance(one, other) == distance


def nested(n):
    """Sentence i is the first i of n words, so two are |i - j| apart."""
    return [list(range(i)) for i in range(n)]


def test_a_space_in_order_is_smooth():
    line = np.arange(20.0)[:, None] * [[3.0, 4.0]]
    assert smoothness(line, nested(20), pairs=500, seed=0) == pytest.approx(1)


def test_a_space_at_random_is_not():
    means = np.random.default_rng(0).normal(size=(200, 8))
    assert abs(smoothness(means, nested(200), pairs=5000, seed=0)) < 0.1


def test_smoothness_is_pearsons():
    """Against all pairs of four sentences, each drawn many times."""
    means = np.array([[0.0], [1.0], [1.5], [5.0]])
    pairs = np.array(list(combinations(range(4), 2)))
    latent = np.abs(np.diff(means[pairs, 0]))[:, 0]
    expected = np.corrcoef(latent, np.diff(pairs)[:, 0])[0, 1]
    assert smoothness(means, nested(4), pairs=50_000, seed=1) == pytest.approx(expected, abs=0.01)


def test_smoothness_repeats_with_its_seed():
    means = np.random.default_rng(0).normal(size=(50, 4))
    first, again, other = (smoothness(means, nested(50), pairs=99, seed=s) for s in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("noise", [0, 1e-8], ids=["constant", "rounding"])
def test_a_collapsed_encoder_is_not_smooth(noise):
    means = np.full((20, 2), 0.3) + noise * np.arange(20)[:, None]
    assert smoothness(means, nested(20), pairs=500, seed=0) == 0


def test_sentences_at_one_distance_have_no_correlation():
    sentences = [[i] for i in range(20)]
    assert smoothness(np.arange(20.0)[:, None], sentences, pairs=500, seed=0) == 0


@pytest.mark.parametrize(
    ("means", "n", "message"),
    [
        (np.zeros((1, 2)), 1, "1 sentences where at least 2"),
        (np.zeros((3, 2)), 2, "3 means of 2 sentences"),
        ([[0.0], [np.nan]], 2, "not finite"),
    ],
)
def test_smoothness_refuses(means, n, message):
    with pytest.raises(UserError, match=message):
        smoothness(means, nested(n), seed=0)


def test_copying():
    train = [[1, 2, 3], [1, 2, 3, 4, 5], [9]]
    samples = [[1, 2, 3], [1, 2, 4, 4], []]  # 0; 2 from the first, too; 1 from [9]
    assert copying_distance(samples, train) == pytest.approx((0 + 2 + 1) / 3)
    assert copying_distance([["a", "b"]], [["ab"], ["a", "c"]]) == 1


def test_copying_from_many_is_the_minimum_over_all():
    """More training sentences than one block, the copy in the last."""
    rng = np.random.default_rng(0)
    train = [rng.integers(4, 1000, size=20).tolist() for _ in range(9000)]
    samples = [train[-1], train[0][:-2], [*train[5000], 1, 2, 3, 4]]
    assert copying_distance(samples, train) == pytest.approx((0 + 2 + 4) / 3)


@pytest.mark.parametrize(("samples", "train"), [([], [[1]]), ([[1]], [])])
def test_copying_wants_both(samples, train):
    with pytest.raises(UserError, match="at least one of each"):
        copying_distance(samples, train)


# -- noise ---------------------------------------------------------------------------------------

IDS = np.array(
    [
        [1, 10, 11, 12, 13, 2],
        [1, 10, 11, 2, 0, 0],
        [1, 10, 2, 0, 0, 0],
        [1, 2, 0, 0, 0, 0],
    ],
    np.int32,
)
LENGTHS = np.array([6, 4, 3, 2])


@pytest.mark.parametrize("k", [0, 1, 2, 5])
def test_swaps_keep_what_they_must(k):
    before = IDS.copy()
    swapped = swap_words(IDS, LENGTHS, k, np.random.default_rng(k))
    np.testing.assert_array_equal(IDS, before)
    assert swapped.dtype == IDS.dtype
    np.testing.assert_array_equal(np.sort(swapped), np.sort(IDS))
    np.testing.assert_array_equal(swapped[:, 0], IDS[:, 0])
    np.testing.assert_array_equal(swapped[IDS == 2], 2)
    np.testing.assert_array_equal(swapped[2:], IDS[2:])
    # Of two words there is one exchange, which undoes itself.
    np.testing.assert_array_equal(swapped[1, 1:3], [11, 10] if k % 2 else [10, 11])
    if k == 0:
        np.testing.assert_array_equal(swapped, IDS)


def test_one_swap_is_one_of_all_pairs_alike():
    n, words = 12_000, 4
    ids = np.tile(IDS[:1], (n, 1))
    moved = swap_words(ids, np.full(n, 6), 1, np.random.default_rng(0)) != ids
    assert (moved.sum(1) == 2).all()
    kinds, counts = np.unique(moved, axis=0, return_counts=True)
    assert len(kinds) == words * (words - 1) // 2
    np.testing.assert_allclose(counts, n / len(kinds), rtol=0.1)


def test_sentences_of_one_word_alone():
    swapped = swap_words(IDS[2:], LENGTHS[2:], 3, np.random.default_rng(0))
    np.testing.assert_array_equal(swapped, IDS[2:])


# -- classification ------------------------------------------------------------------------------


def test_maps_of_the_reference():
    arrays = load(FOLDER / "gmm_map.npz", np.float64)
    given = arrays["in/resp"], arrays["in/y"]
    for theirs, ours in (("peak", peak_map), ("one2one", one_to_one_map)):
        names = ours(*given)
        np.testing.assert_array_equal(names, arrays[f"out/map_{theirs}"])
        found = mapped_accuracy(*given, names)
        assert found == pytest.approx(float(arrays[f"out/acc_{theirs}"]))


def test_maps_by_hand():
    # Component 0 wins the first three, of which two are of label 0, but peaks on the third.
    responsibilities = np.array([[0.6, 0.4], [0.7, 0.3], [0.9, 0.1], [0.2, 0.8]])
    labels = [0, 0, 1, 1]
    assert peak_map(responsibilities, labels).tolist() == [1, 1]
    assert one_to_one_map(responsibilities, labels).tolist() == [0, 1]
    assert mapped_accuracy(responsibilities, labels, [1, 1]) == 0.5
    assert mapped_accuracy(responsibilities, labels, [0, 1]) == 0.75


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 1], [0, 3, 1, 4, 4]], ids=["fewer", "more"])
def test_one_to_one_gives_no_label_twice(labels):
    """With more components than labels, and with fewer."""
    names = one_to_one_map(np.eye(3)[[0, 1, 2, 2, 2]], labels)
    assert len(set(names.tolist())) == 3
    assert names[2] == max(labels)


def clusters(n, n_classes=2, *, seed, apart=6.0):
    """Means around one corner a class, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n)
    return apart * np.eye(n_classes)[labels] + rng.normal(size=(n, n_classes)), labels


def test_a_mixture_finds_clusters():
    train, valid, test = (clusters(300, 3, seed=s) for s in range(3))
    found = gaussian_mixture(train[0], valid, test, components=3, seed=0)
    assert found == {"peak": pytest.approx(1, abs=0.01), "one_to_one": pytest.approx(1, abs=0.01)}


def test_components_left_over_count_as_wrong_one_to_one():
    train, valid, test = (clusters(400, seed=s, apart=9.0) for s in range(3))
    found = gaussian_mixture(train[0], valid, test, components=6, seed=0)
    assert found["peak"] > 0.99
    assert found["one_to_one"] < 0.9


def test_a_mixture_needs_a_sentence_a_component():
    data = clusters(5, seed=0)
    with pytest.raises(UserError, match="5 sentences where at least 6"):
        gaussian_mixture(data[0], data, data, components=6, seed=0)


@pytest.mark.parametrize("equal", [True, False])
def test_draws(equal):
    labels = np.arange(1000) % 10 // 7  # seven of class 0 to three of class 1
    draw = lambda seed: draw_labels(labels, 100, n_classes=2, equal=equal, seed=seed)
    chosen = draw(1)
    assert len(set(chosen.tolist())) == 100
    np.testing.assert_array_equal(chosen, np.sort(chosen))
    np.testing.assert_array_equal(chosen, draw(1))
    assert not np.array_equal(chosen, draw(2))
    share = labels[chosen].mean()
    assert share == 0.5 if equal else 0.2 < share < 0.4


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize(
    ("labels", "n", "message"),
    [
        ([0, 1, 0], 4, "4 labels asked for, but there are only 3"),
        ([0, 0, 0, 0], 2, "class 1"),
    ],
)
def test_draws_that_cannot_be(labels, n, message, equal):
    with pytest.raises(UserError, match=message):
        draw_labels(labels, n, n_classes=2, equal=equal, seed=0)


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_linear_probe_of_clusters(n_classes, equal):
    train, valid, test = (clusters(600, n_classes, seed=s) for s in range(3))
    found = linear_probe(train, valid, test, n_labels=60, equal=equal, seed=0)
    assert found > 0.99


def test_a_linear_probe_reaches_the_best_line():
    """Two Gaussians d apart: the accuracy of the optimal rule is Phi(d / 2)."""
    train, valid, test = (clusters(8000, seed=s, apart=np.sqrt(2)) for s in range(3))
    found = linear_probe(train, valid, test, n_labels=8000, seed=0)
    assert found == pytest.approx(0.8413, abs=0.015)  # d = 2


def test_the_penalty_is_that_of_the_least_validation_loss(monkeypatch):
    """With as many dimensions as labels little penalty fits noise, and validation tells."""
    rng = np.random.default_rng(0)

    def noisy(n):
        labels = rng.integers(2, size=n)
        return rng.normal(size=(n, 30)) + 0.4 * labels[:, None], labels

    data = noisy(1000), noisy(1000), noisy(4000)
    score = lambda: linear_probe(*data, n_labels=30, seed=0)
    chosen = score()
    monkeypatch.setattr(probes, "STRENGTHS", (10.0**4,))
    assert chosen > score() + 0.03


def test_a_linear_probe_of_a_collapsed_encoder_is_chance():
    labels = np.arange(100) % 5 // 3  # 60 to 40
    data = np.full((100, 3), 0.2), labels
    assert linear_probe(data, data, data, n_labels=100, seed=0) == pytest.approx(0.6)


def test_a_linear_probe_needs_every_class():
    data = clusters(50, seed=0)
    other = data[0], data[1] + 1
    with pytest.raises(UserError, match="class 2"):
        linear_probe(data, other, data, n_labels=20, seed=0)
