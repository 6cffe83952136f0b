"""A dropout mask belongs to a row's number, not to its place."""

import jax
import numpy as np
import pytest

from jaxsdgm.layers.dropout import RowDropout

KEY = jax.random.key(0)


def drop(x, row, rate=0.5, *, train=True, key=KEY):
    return np.asarray(
        RowDropout(rate).apply({}, x, np.asarray(row), train=train, rngs={"dropout": key})
    )


def test_a_row_takes_its_mask_along():
    x = np.ones((4, 100), np.float32)
    y, moved, padded = drop(x, [3, 1, 7, 9]), drop(x[:2], [9, 3]), drop(x, [0, 0, 3, 7])
    np.testing.assert_array_equal(moved, y[[3, 0]])
    np.testing.assert_array_equal(padded[2:], y[[0, 2]])
    assert (y[0] != y[1]).any()  # other numbers, other masks


def test_rate_and_scale():
    y = drop(np.ones((50, 20, 40), np.float32), np.arange(50), rate=0.2)
    assert set(np.unique(y)) == {0, np.float32(1) / np.float32(0.8)}
    # 40 000 draws: the standard error of the share is 0.002
    assert (y == 0).mean() == pytest.approx(0.2, abs=0.01)
    assert (y == 0).any((1, 2)).all()


def test_identity_in_evaluation_and_at_rate_zero():
    x = np.ones((3, 5), np.float32)
    np.testing.assert_array_equal(drop(x, [0, 1, 2], train=False), x)
    np.testing.assert_array_equal(drop(x, [0, 1, 2], rate=0), x)


def test_another_key_is_another_mask():
    x = np.ones((1, 100), np.float32)
    assert (drop(x, [0]) != drop(x, [0], key=jax.random.key(1))).any()
