"""Masked batch normalisation against numpy."""

import jax
import numpy as np
import pytest

from jaxsdgm.layers.normalization import EPSILON, MOMENTUM, MaskedBatchNorm

D = 3


def batch(rows, seed=0):
    return np.random.default_rng(seed).normal(2.0, 3.0, (rows, D)).astype(np.float32)


def variables(mean=0.5, var=4.0):
    """Scale, bias and running statistics that are not the initial ones."""
    full = lambda value: np.full(D, value, np.float32)
    return {
        "params": {"scale": full(1.5), "bias": full(-0.25)},
        "batch_stats": {"mean": full(mean), "var": full(var)},
    }


def normalise(x, mask, *, groups=1, train=True):
    """The output and the running statistics after it."""
    norm = MaskedBatchNorm()
    y, new = norm.apply(variables(), x, mask, train=train, groups=groups, mutable=["batch_stats"])
    return np.asarray(y), jax.device_get(new["batch_stats"])


def affine(x, mean, var):
    return (x - mean) / np.sqrt(var + EPSILON) * 1.5 - 0.25


def test_masked_rows_have_no_part_in_the_statistics():
    x, mask = batch(7), np.array([1, 1, 0, 1, 1, 0, 1], np.float32)
    real = x[mask > 0]
    y, stats = normalise(x, mask)
    expected = np.where(mask[:, None], affine(x, real.mean(0), real.var(0)), -0.25)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        stats["mean"], (1 - MOMENTUM) * 0.5 + MOMENTUM * real.mean(0), rtol=1e-5
    )
    unbiased = real.var(0, ddof=1)
    np.testing.assert_allclose(stats["var"], (1 - MOMENTUM) * 4.0 + MOMENTUM * unbiased, rtol=1e-5)


def test_groups_are_batches_one_after_another():
    x = batch(12)
    mask = np.array([1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0], np.float32)
    y, stats = normalise(x, mask, groups=3)
    mean, var = np.full(D, 0.5), np.full(D, 4.0)
    for part in (slice(0, 4), slice(4, 8), slice(8, 12)):
        real = x[part][mask[part] > 0]
        expected = np.where(mask[part, None], affine(x[part], real.mean(0), real.var(0)), -0.25)
        np.testing.assert_allclose(y[part], expected, rtol=1e-4, atol=1e-5)
        mean = 0.9 * mean + 0.1 * real.mean(0)
        var = 0.9 * var + 0.1 * real.var(0, ddof=1)
    np.testing.assert_allclose(stats["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], var, rtol=1e-5)


@pytest.mark.parametrize("count", [0, 1])
def test_a_group_without_a_variance_uses_the_running_statistics(count):
    x, mask = batch(4), (np.arange(4) < count).astype(np.float32)
    y, stats = normalise(x, mask)
    np.testing.assert_allclose(y[:count], affine(x, 0.5, 4.0)[:count], rtol=1e-5)
    np.testing.assert_allclose(stats["mean"], 0.5)
    np.testing.assert_allclose(stats["var"], 4.0)


def test_evaluation_uses_and_keeps_the_running_statistics():
    x = batch(5)
    y, stats = normalise(x, np.ones(5, np.float32), train=False)
    np.testing.assert_allclose(y, affine(x, 0.5, 4.0), rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 4.0)


def test_gradient_does_not_see_masked_rows():
    x, mask = batch(6), np.array([1, 1, 1, 1, 0, 0], np.float32)
    weights = batch(6, seed=1)

    def total(x):
        y, _ = MaskedBatchNorm().apply(variables(), x, mask, train=True, mutable=["batch_stats"])
        return (y * weights * mask[:, None]).sum()

    def total_of_real(x):
        ones = np.ones(4, np.float32)
        y, _ = MaskedBatchNorm().apply(variables(), x, ones, train=True, mutable=["batch_stats"])
        return (y * weights[:4]).sum()

    gradient = jax.grad(total)(x)
    np.testing.assert_allclose(gradient[:4], jax.grad(total_of_real)(x[:4]), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(gradient[4:], 0)


def test_a_masked_row_far_from_the_others_has_no_infinite_gradient():
    """The others are all alike, as a unit that is off for them: this row is 1e4 / 0.003 away."""
    x, mask = np.zeros((4, D), np.float32), np.array([1, 1, 1, 0], np.float32)
    x[3] = 1e4

    def loss(x):
        y = MaskedBatchNorm().apply(variables(), x, mask, train=True, mutable=["batch_stats"])[0]
        return (jax.numpy.exp(y).sum(-1) * mask).sum()

    assert np.isfinite(jax.grad(loss)(x)).all()


def test_sums_are_over_the_mapped_axis():
    x, mask = batch(8), np.array([1, 1, 1, 0, 1, 1, 0, 1], np.float32)
    norm = MaskedBatchNorm(axis_name="data")
    apply = lambda x, mask: norm.apply(variables(), x, mask, train=True, mutable=["batch_stats"])
    y, new = jax.pmap(apply, "data")(x.reshape(4, 2, D), mask.reshape(4, 2))
    whole, stats = normalise(x, mask)
    np.testing.assert_allclose(y.reshape(8, D), whole, rtol=1e-4, atol=1e-5)
    for name, values in stats.items():
        np.testing.assert_allclose(new["batch_stats"][name][3], values, rtol=1e-5)
