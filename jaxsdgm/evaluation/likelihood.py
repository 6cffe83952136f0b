"""The likelihood of data under a latent variable model, by importance sampling on the device."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxsdgm import distributions as dist
from jaxsdgm.distributions import DiagonalGaussian


def importance_nll(
    nll: Callable[[Array], Array],
    q: DiagonalGaussian,
    draw: Callable[[Array, int], Array],
    *,
    samples: int,
    chunk: int,
) -> Array:
    """- log 1/S sum_s p(x, z_s) / q(z_s | x) in nats of one example, with p(z) = N(0, I).

    The mean of exp(-value) is p(x); the value itself is at least - log p(x) on average, and at most
    the negative ELBO (Burda et al. 2016).

    Args:
      nll: - log p(x | z) in nats `[c]` of latents `[c, z]`.
      q: the example's posterior, fields `[z]`.
      draw: standard normal noise `[c, z]` of chunk i, of c samples.
      samples: S; a multiple of the chunk.
      chunk: samples at a time.
    """
    if samples % chunk:
        raise ValueError(f"{samples} samples are not a multiple of the chunk, {chunk}")

    def more(total: Array, i: Array) -> tuple[Array, None]:
        noise = draw(i, chunk)
        z = q.sample(noise)
        prior = dist.log_prob(dist.standard_normal_like(DiagonalGaussian(z, z)), z)
        log_w = prior - nll(z) - dist.log_prob(q, z)
        return jnp.logaddexp(total, jax.nn.logsumexp(log_w)), None

    start = jnp.full((), -jnp.inf, dist.at_least_float32(q.mean).dtype)
    total, _ = jax.lax.scan(more, start, jnp.arange(samples // chunk))
    return math.log(samples) - total


def perplexity(total_nll: float, tokens: int) -> float:
    """exp(nats of all sentences / their tokens); `</s>` is one, `<s>` is not."""
    return math.exp(total_nll / tokens)
