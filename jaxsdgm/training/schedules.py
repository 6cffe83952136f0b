"""Weights that change with the step: pure functions of it, traceable."""

from typing import Any

import jax.numpy as jnp
from jax import Array


def linear(step: Any, *, warmup: int) -> Array:
    """min(1, step / warmup)."""
    return jnp.minimum(1.0, step / warmup)


def window(step: Any, *, start: float, end: float) -> Array:
    """A ramp from 0 at `start` to 1 at `end`."""
    return jnp.clip((step - start) / (end - start), 0.0, 1.0)


def sigmoid(step: Any, *, slope: float, middle: float) -> Array:
    """1 / (1 + exp(-slope (step - middle)))."""
    return 1 / (1 + jnp.exp(-slope * (step - middle)))


def exponential(step: Any, *, rate: float) -> Array:
    """min(exp(rate step) - 1, 1), which is 1 from step log 2 / rate on (VSL; spec §4)."""
    return jnp.minimum(jnp.expm1(rate * jnp.asarray(step)), 1.0)


def cyclic(step: Any, *, period: int) -> Array:
    """A ramp from 0 to 1 over one period, then 1 for one period, and again (spec §6.7)."""
    step = jnp.asarray(step)
    rising = (step // period) % 2 == 0
    return jnp.where(rising, (step % period) / period, 1.0)


def ramp(step: Any, *, end: float, steps: int) -> Array:
    """end * step / steps: the growing KL target of the "beta" kind (spec §4.1)."""
    return end * jnp.asarray(step) / steps


def cosine(step: Any, *, steps: int, end: float, warmup: int) -> Array:
    """Up to 1 in `warmup` steps while half a cosine falls from 1 to `end` over `steps`."""
    fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / steps, 1)))
    return jnp.minimum(1.0, (step + 1) / warmup) * (end + (1 - end) * fall)


def triangle(step: Any, *, steps: int, warmup: int) -> Array:
    """Up to 1 in `warmup` steps, then down a line that reaches 0 after `steps` (spec §11.1)."""
    return jnp.where(step < warmup, (step + 1) / warmup, jnp.maximum(1 - step / steps, 0))


def restarts(epoch: Any, period: int) -> Array:
    """Half a cosine from 1 towards 0 over a period of epochs, and again (paper 4, spec §5)."""
    return 0.5 * (1 + jnp.cos(jnp.pi * (jnp.asarray(epoch) % period) / period))
