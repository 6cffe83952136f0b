"""Importance sampling, information and active units against a model that is known in full.

z ~ N(0, I), x = W z + s e: p(x) and q(z | x) are Gaussians.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.evaluation import latents
from jaxsdgm.evaluation.latents import active_units, latents_of, mutual_information
from jaxsdgm.evaluation.likelihood import importance_nll, perplexity

#: columns at right angles, so that the posterior is diagonal; the last latent tells nothing
W = np.array([[2.0, 0.0, 0.0], [0.0, 0.7, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
S = 0.5


def draws(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) @ W.T + S * rng.normal(size=(n, 4))


def posterior(x):
    precision = 1 + (W**2).sum(0) / S**2
    return x @ W / S**2 / precision, np.broadcast_to(-np.log(precision), (len(x), 3))


def nll_of(x):
    """- log N(x; W z, S^2 I)."""
    distance = lambda z: ((x - z @ jnp.asarray(W.T, z.dtype)) ** 2).sum(-1)
    return lambda z: 0.5 * distance(z) / S**2 + 4 * (0.5 * np.log(2 * np.pi) + np.log(S))


def exact(x):
    covariance = W @ W.T + S**2 * np.eye(4)
    determinant = np.linalg.slogdet(2 * np.pi * covariance)[1]
    return 0.5 * determinant + 0.5 * x @ np.linalg.solve(covariance, x)


def estimate(x, mean, log_var, key, *, samples=4000, chunk=500):
    draw = lambda i, n: jax.random.normal(jax.random.fold_in(key, i), (n, 3))
    q = DiagonalGaussian(jnp.asarray(mean), jnp.asarray(log_var))
    return float(importance_nll(nll_of(jnp.asarray(x)), q, draw, samples=samples, chunk=chunk))


def test_the_true_posterior_needs_one_sample():
    x = draws(1)
    mean, log_var = posterior(x)
    found = estimate(x[0], mean[0], log_var[0], jax.random.key(0), samples=1, chunk=1)
    assert found == pytest.approx(exact(x[0]), rel=1e-5)


def test_a_wrong_posterior_is_made_up_for():
    """Within its error, which the runs show: exp(-nll) is an unbiased estimate of p(x)."""
    x = draws(1, seed=4)
    mean, log_var = posterior(x)
    wrong = mean[0] + 0.3, log_var[0] + 0.5
    found = np.array([estimate(x[0], *wrong, jax.random.key(i)) for i in range(20)])
    ratios = np.exp(exact(x[0]) - found)
    error = ratios.std(ddof=1) / np.sqrt(len(ratios))
    assert error < 0.02
    assert abs(ratios.mean() - 1) < 3.5 * error


def test_few_samples_are_too_high_on_average():
    x = draws(1, seed=4)
    mean, log_var = posterior(x)
    wrong = mean[0] + 0.5, log_var[0] + 1.0
    of = lambda n: np.mean(
        [estimate(x[0], *wrong, jax.random.key(i), samples=n, chunk=n) for i in range(200)]
    )
    assert of(1) > of(5) > exact(x[0])


def test_samples_have_to_fill_chunks():
    with pytest.raises(ValueError, match="10 samples are not a multiple of the chunk, 4"):
        importance_nll(nll_of(jnp.zeros(4)), None, None, samples=10, chunk=4)


def test_information_and_active_units():
    """I(x; z) = sum_j log(1 + w_j^2 / s^2) / 2, and the latent without a weight is not active."""
    mean, log_var = posterior(draws(4000, seed=1))
    expected = 0.5 * np.log(1 + (W**2).sum(0) / S**2).sum()
    assert mutual_information(mean, log_var) == pytest.approx(expected, abs=0.1)
    assert active_units(mean) == 2
    found = latents_of({"z1": mean, "z1_log_var": log_var, "z2": mean})
    told = round(mutual_information(mean, log_var), 4)
    assert found["mutual_information"] == {"z1": told}
    assert found["active_units"] == {"z1": 2, "z2": 2}


def test_of_many_documents_some_are_taken_evenly(monkeypatch):
    mean, log_var = posterior(draws(9, seed=1))
    wanted = mutual_information(mean[[0, 4, 8]], log_var[[0, 4, 8]])
    monkeypatch.setattr(latents, "MOST", 3)
    assert mutual_information(mean, log_var) == pytest.approx(wanted)


def test_perplexity():
    assert perplexity(np.log(8.0) * 6, 6) == pytest.approx(8)
