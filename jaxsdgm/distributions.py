"""Diagonal Gaussians, categoricals and their divergences: pure functions, no parameters.

A Gaussian is the pair of its mean and the logarithm of its variance, both `[..., z]`. Every
divergence sums over the last axis and nothing else, so a batch of any shape goes in and the values
per example come out. Sums are taken in float32 at least, whatever the inputs are.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_LOG_2PI = math.log(2 * math.pi)


def at_least_float32(x: Array) -> Array:
    """`x` in float32, or in float64 where it is float64 already."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class DiagonalGaussian(NamedTuple):
    """N(mean, diag(exp(log_var))); both fields `[..., z]`."""

    mean: Array
    log_var: Array

    def sample(self, noise: Array) -> Array:
        """mean + exp(log_var / 2) * noise, the reparameterised draw (Kingma and Welling 2014)."""
        return self.mean + jnp.exp(0.5 * self.log_var) * noise

    def repeat(self, times: int) -> "DiagonalGaussian":
        """Each row `times` times in a row: `[b, z]` to `[b * times, z]`."""
        return DiagonalGaussian(*(jnp.repeat(x, times, axis=0) for x in self))

    def rows(self, index: slice) -> "DiagonalGaussian":
        """The rows that `index` picks."""
        return DiagonalGaussian(*(x[index] for x in self))

    def detached(self) -> "DiagonalGaussian":
        """The same distribution, constant to differentiation."""
        return DiagonalGaussian(*(jax.lax.stop_gradient(x) for x in self))


def standard_normal_like(q: DiagonalGaussian) -> DiagonalGaussian:
    """N(0, I) of the shape of `q`."""
    return DiagonalGaussian(jnp.zeros_like(q.mean), jnp.zeros_like(q.log_var))


def kl_per_dimension(q: DiagonalGaussian, p: DiagonalGaussian) -> Array:
    """KL(q || p) of each latent dimension, in nats, `[..., z]`.

    1/2 [log var_p - log var_q - 1 + ((mean_q - mean_p)^2 + var_q) / var_p]
    """
    mean_q, log_var_q, mean_p, log_var_p = map(at_least_float32, (*q, *p))
    distance = (mean_q - mean_p) ** 2 * jnp.exp(-log_var_p)
    return 0.5 * (log_var_p - log_var_q - 1 + distance + jnp.exp(log_var_q - log_var_p))


def kl(q: DiagonalGaussian, p: DiagonalGaussian | None = None) -> Array:
    """KL(q || p) in nats, summed over the latent dimensions; `p` is N(0, I) unless given."""
    return kl_per_dimension(q, p or standard_normal_like(q)).sum(-1)


def free_bits(kl_dims: Array, budget: Array | float) -> Array:
    """sum_d max(budget / z, KL_d): no pressure on a dimension below its share of the budget.

    `kl_dims [..., z]` comes from `kl_per_dimension`; `budget` is in nats, for all dimensions
    together (Kingma et al. 2016, appendix C.8).
    """
    return jnp.maximum(kl_dims, budget / kl_dims.shape[-1]).sum(-1)


def log_prob(p: DiagonalGaussian, x: Array) -> Array:
    """log N(x; mean, var) in nats, summed over the latent dimensions."""
    mean, log_var, x = map(at_least_float32, (*p, x))
    return -0.5 * (_LOG_2PI + log_var + (x - mean) ** 2 * jnp.exp(-log_var)).sum(-1)


def entropy(q: DiagonalGaussian) -> Array:
    """Differential entropy of a Gaussian in nats: z/2 (1 + log 2 pi) + 1/2 sum log var."""
    return 0.5 * (1 + _LOG_2PI + at_least_float32(q.log_var)).sum(-1)


def categorical_entropy(log_q: Array) -> Array:
    """- sum_y q log q in nats over the last axis; `log_q` is normalised (`log_softmax`)."""
    return -(jnp.exp(log_q) * log_q).sum(-1)


def categorical_kl(log_q: Array, log_p: Array) -> Array:
    """sum_y q (log q - log p) in nats over the last axis; both arguments are normalised."""
    return (jnp.exp(log_q) * (log_q - log_p)).sum(-1)


def expectation(log_q: Array, values: Array) -> Array:
    """sum_y q(y) values(y) over the last axis."""
    return (jnp.exp(log_q) * values).sum(-1)


def cross_entropy(logits: Array, labels: Array) -> Array:
    """- log softmax(logits)[label] in nats; `logits [..., k]`, `labels [...]` int."""
    log_q = jax.nn.log_softmax(at_least_float32(logits))
    return -jnp.take_along_axis(log_q, labels[..., None], axis=-1)[..., 0]


def binary_cross_entropy(logits: Array, target: float) -> Array:
    """- [t log s(o) + (1 - t) log(1 - s(o))] of Bernoulli logits `o`, elementwise, in nats."""
    logits = at_least_float32(logits)
    return jax.nn.softplus(logits) - target * logits


def gumbel_softmax(logits: Array, noise: Array, temperature: Array | float) -> Array:
    """softmax((logits + noise) / temperature), a relaxed draw of a one-hot vector, `[..., k]`.

    `noise` are draws of the standard Gumbel distribution (Jang et al. 2017, equation 2).
    """
    return jax.nn.softmax((at_least_float32(logits) + noise) / temperature)


def straight_through(relaxed: Array) -> Array:
    """The one-hot vector of the largest entry, with the gradient of `relaxed [..., k]`."""
    hard = jax.nn.one_hot(relaxed.argmax(-1), relaxed.shape[-1], dtype=relaxed.dtype)
    return hard + relaxed - jax.lax.stop_gradient(relaxed)


def concrete_log_prob(logits: Array, relaxed: Array, temperature: Array | float) -> Array:
    """Log-density of a draw of `gumbel_softmax` on the simplex, in nats, `[...]`.

    log (k-1)! + (k-1) log t + sum_i (a_i - (t+1) log x_i) - k log sum_i exp(a_i - t log x_i)
    (Maddison et al. 2017, equation 10).
    """
    k, log_x = relaxed.shape[-1], jnp.log(relaxed)
    normaliser = jax.nn.logsumexp(logits - temperature * log_x, axis=-1)
    density = (logits - (temperature + 1) * log_x).sum(-1) - k * normaliser
    return math.lgamma(k) + (k - 1) * jnp.log(temperature) + density
