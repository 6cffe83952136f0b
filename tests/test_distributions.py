"""Distributions against scipy and Monte Carlo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxsdgm import distributions as dist
from jaxsdgm.distributions import DiagonalGaussian

D = 5


def gaussian(seed, rows=3):
    rng = np.random.default_rng(seed)
    mean, log_var = rng.normal(size=(2, rows, D)).astype(np.float32)
    return DiagonalGaussian(jnp.asarray(mean), jnp.asarray(log_var))


def scipy_normal(q):
    return stats.norm(np.asarray(q.mean), np.exp(0.5 * np.asarray(q.log_var)))


def test_log_prob_and_entropy():
    q, x = gaussian(0), gaussian(1).mean
    reference = scipy_normal(q)
    np.testing.assert_allclose(dist.log_prob(q, x), reference.logpdf(x).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(dist.entropy(q), reference.entropy().sum(-1), rtol=1e-5)


def test_kl_of_known_values():
    # KL(N(1, 1) || N(0, 1)) = 1/2; KL(N(0, s²) || N(0, 1)) = (s² - 1)/2 - log s
    one = DiagonalGaussian(jnp.array([1.0]), jnp.array([0.0]))
    np.testing.assert_allclose(dist.kl(one), 0.5)
    wide = DiagonalGaussian(jnp.array([0.0]), jnp.log(jnp.array([4.0])))
    np.testing.assert_allclose(dist.kl(wide), 1.5 - np.log(2), rtol=1e-6)
    np.testing.assert_allclose(dist.kl(gaussian(0), gaussian(0)), 0, atol=1e-6)


def test_kl_by_monte_carlo():
    """KL(q || p) = - E_q log p - H(q), the consistency check of spec §6.6."""
    q, p = gaussian(0, rows=1), gaussian(1, rows=1)
    z = q.sample(jax.random.normal(jax.random.key(0), (200_000, D)))
    values = np.asarray(-dist.log_prob(p, z) - dist.entropy(q), np.float64)
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - float(dist.kl(q, p)[0])) < 4 * error
    assert error < 0.01 * float(dist.kl(q, p)[0])  # the check has teeth


def test_sample_is_mean_plus_deviation():
    q = gaussian(0)
    noise = np.ones((3, D), np.float32)
    expected = np.asarray(q.mean) + scipy_normal(q).std()
    np.testing.assert_allclose(q.sample(noise), expected, rtol=1e-6)


def test_repeat_is_row_by_row():
    q = gaussian(0)
    np.testing.assert_array_equal(q.repeat(2).mean, np.asarray(q.mean)[[0, 0, 1, 1, 2, 2]])


def test_detached_has_no_gradient():
    total = lambda mean: dist.kl(DiagonalGaussian(mean, jnp.zeros(D)).detached())
    np.testing.assert_array_equal(jax.grad(total)(jnp.ones(D)), 0)


def test_free_bits():
    dims = jnp.array([[0.1, 0.3, 2.0, 0.0]])
    np.testing.assert_allclose(dist.free_bits(dims, 0.8), [0.2 + 0.3 + 2.0 + 0.2], rtol=1e-6)
    np.testing.assert_allclose(dist.free_bits(dims, 0.0), [2.4], rtol=1e-6)


def test_categorical():
    logits = np.random.default_rng(0).normal(size=(4, 3))
    log_q = special.log_softmax(logits, -1)
    q, p = np.exp(log_q), np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(
        dist.categorical_entropy(log_q), stats.entropy(q, axis=-1), rtol=1e-5
    )
    expected = stats.entropy(q, np.tile(p, (4, 1)), axis=-1)
    np.testing.assert_allclose(dist.categorical_kl(log_q, np.log(p)), expected, rtol=1e-5)
    values = np.arange(12.0).reshape(4, 3)
    np.testing.assert_allclose(dist.expectation(log_q, values), (q * values).sum(-1), rtol=1e-5)
    labels = np.array([0, 2, 1, 1])
    expected = -log_q[np.arange(4), labels]
    np.testing.assert_allclose(dist.cross_entropy(jnp.asarray(logits), labels), expected, rtol=1e-5)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_binary_cross_entropy(target):
    logits = np.array([-3.0, 0.0, 2.0])
    expected = -stats.bernoulli(special.expit(logits)).logpmf(target)
    np.testing.assert_allclose(
        dist.binary_cross_entropy(jnp.asarray(logits), target), expected, rtol=1e-5
    )
    far = dist.binary_cross_entropy(jnp.array([-1e4, 1e4]), target)
    np.testing.assert_allclose(far, [1e4 * target, 1e4 * (1 - target)])


def test_sums_are_float32_at_least():
    q = DiagonalGaussian(jnp.ones((2, D), jnp.bfloat16), jnp.ones((2, D), jnp.bfloat16))
    assert dist.kl(q).dtype == dist.entropy(q).dtype == jnp.float32
    assert (
        dist.cross_entropy(jnp.zeros((2, 3), jnp.bfloat16), jnp.zeros(2, int)).dtype == jnp.float32
    )
