"""Batch normalisation over the rows that count: masked, grouped and synchronised."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from jaxsdgm.distributions import at_least_float32

EPSILON = 1e-5
MOMENTUM = 0.1


class MaskedBatchNorm(nn.Module):
    """BatchNorm1d of torch over masked rows, in `groups` equal slices of the batch.

    Training normalises each group with its own mean and biased variance over the rows whose mask is
    set, and moves the running statistics once per group, in order, with the unbiased variance:
    running = 0.9 running + 0.1 batch. Evaluation uses the running statistics. A group with fewer
    than two rows has no variance of its own: it is normalised with the running statistics, which it
    leaves as they are. In training a row that does not count comes out at the mean, as `bias`: it
    may lie any number of the others' deviations away, and what is computed from it further on would
    overflow, which its weight of 0 does not undo in the gradient.

    `groups > 1` reproduces gradient accumulation over chunks (spec §6.5) without a loop.
    `axis_name` is the mapped axis that the rows are spread over: sums are then over all devices.
    """

    axis_name: str | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array, *, train: bool, groups: int = 1) -> Array:
        """`x [rows, d]`, `mask [rows]` in {0, 1}; returns `[rows, d]` in the dtype of `x`."""
        d = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (d,), self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (d,), self.param_dtype)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (d,), self.param_dtype)
        var = self.variable("batch_stats", "var", jnp.ones, (d,), self.param_dtype)
        values = at_least_float32(x).reshape(groups, -1, d)  # g n d
        if not train:
            center, spread = mean.value, var.value
        else:
            weights = mask.astype(values.dtype).reshape(groups, -1, 1)  # g n 1
            count = self._sum(weights)  # g 1 1
            center = self._sum(values * weights) / jnp.maximum(count, 1)
            spread = self._sum((values - center) ** 2 * weights) / jnp.maximum(count, 1)
            enough = count > 1
            unbiased = spread * count / jnp.maximum(count - 1, 1)
            if not self.is_initializing():
                mean.value = _moved(mean.value, center, enough)
                var.value = _moved(var.value, unbiased, enough)
            center = jnp.where(enough, center, mean.value)
            spread = jnp.where(enough, spread, var.value)
            values = jnp.where(weights > 0, values, center)
        normal = (values - center) * jax.lax.rsqrt(spread + EPSILON) * scale + bias
        return normal.reshape(x.shape).astype(self.dtype or x.dtype)

    def _sum(self, values: Array) -> Array:
        total = values.sum(1, keepdims=True)
        return jax.lax.psum(total, self.axis_name) if self.axis_name else total


def _moved(running: Array, batch: Array, enough: Array) -> Array:
    """The running statistic `[d]` after the groups of `batch [g, 1, d]`, one after another."""

    def move(running: Array, group: tuple[Array, Array]) -> tuple[Array, None]:
        value, valid = group
        moved = (1 - MOMENTUM) * running + MOMENTUM * value[0]
        return jnp.where(valid[0], moved, running).astype(running.dtype), None

    return jax.lax.scan(move, running, jax.lax.stop_gradient((batch, enough)))[0]
