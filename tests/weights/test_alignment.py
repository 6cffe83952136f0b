"""A known rotation is found again; CSLS against its formula."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from jaxsdgm.weights import alignment
from jaxsdgm.weights.alignment import mean_similarity, rounds, translations, unit_rows

N, D = 600, 20


def spaces(noise, seed=0):
    """Vectors of N words, and of the same words turned and blurred in another language."""
    rng = np.random.default_rng(seed)
    rotation = ortho_group.rvs(D, random_state=rng)
    source = unit_rows(rng.normal(size=(N, D)))
    target = unit_rows(source @ rotation + noise * rng.normal(size=(N, D)) / D**0.5)
    return source.astype(np.float32), target.astype(np.float32), rotation


def accuracy(source, target):
    return (translations(source, target) == np.arange(len(source))).mean()


def best(found):
    return max(found, key=lambda one: one.criterion)


def test_a_rotation_is_recovered_from_a_few_pairs():
    source, target, rotation = spaces(0)
    pairs = np.repeat(np.arange(D)[:, None], 2, axis=1)
    for one in rounds(source, target, pairs, frequent=N):
        np.testing.assert_allclose(one.mapping, rotation, atol=1e-5)
        assert one.criterion == pytest.approx(1, abs=1e-5)
    assert one.pairs == N


def test_refinement_mends_a_noisy_dictionary():
    source, target, rotation = spaces(0.5)
    rng = np.random.default_rng(1)
    pairs = np.repeat(rng.choice(N, 60, replace=False)[:, None], 2, axis=1)
    pairs[:20, 1] = rng.integers(0, N, 20)
    found = list(rounds(source, target, pairs, frequent=N))
    assert len(found) == alignment.ROUNDS + 1
    assert [found[0].pairs, found[1].pairs > 60] == [60, True]
    error = [np.linalg.norm(one.mapping - rotation) for one in (found[0], best(found))]
    assert error[1] < error[0] / 2
    assert best(found).criterion > found[0].criterion
    np.testing.assert_allclose(found[-1].mapping @ found[-1].mapping.T, np.eye(D), atol=1e-5)
    assert accuracy(source, target) < 0.05
    assert accuracy(source @ best(found).mapping, target) > 0.8


def test_rare_words_are_not_translated():
    source, target, _ = spaces(0)
    pairs = np.repeat(np.arange(D)[:, None], 2, axis=1)
    assert [one.pairs for one in rounds(source, target, pairs, frequent=100)][1:] == [100] * 5


def test_csls_is_its_formula_whatever_the_block(monkeypatch):
    rng = np.random.default_rng(0)
    rows, others = (unit_rows(rng.normal(size=(n, 6))).astype(np.float32) for n in (50, 70))
    cosines = rows @ others.T
    near = np.sort(cosines, 1)[:, -10:].mean(1)
    near_others = np.sort(cosines, 0)[-10:].mean(0)
    expected = (2 * cosines - near[:, None] - near_others).argmax(1)
    for block in (7, 1024):
        monkeypatch.setattr(alignment, "BLOCK", block)
        np.testing.assert_allclose(mean_similarity(rows, others, k=10), near, rtol=1e-5)
        np.testing.assert_array_equal(translations(rows, others), expected)
    few = mean_similarity(rows, others[:3], k=10)
    np.testing.assert_allclose(few, cosines[:, :3].mean(1), rtol=1e-4, atol=1e-6)


def test_unit_rows():
    np.testing.assert_allclose(unit_rows(np.array([[3.0, 4.0], [0, 0]])), [[0.6, 0.8], [0, 0]])
