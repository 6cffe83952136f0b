"""Affine maps and the multi-layer perceptron, with torch's initial values."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import Array

from jaxsdgm.layers.dropout import RowDropout
from jaxsdgm.layers.products import matmul

LEAKY_SLOPE = 0.01


def leaky_relu(x: Array) -> Array:
    """max(x, 0.01 x)."""
    return nn.leaky_relu(x, LEAKY_SLOPE)


def uniform_fan(fan: int) -> nn.initializers.Initializer:
    """U(-1/sqrt(fan), 1/sqrt(fan)): what torch gives to Linear and recurrent tensors alike."""
    bound = 1 / math.sqrt(fan)

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class Linear(nn.Module):
    """y = x W + b with W `[in, features]`; weight and bias start in U(-1/sqrt(in), 1/sqrt(in)).

    Or the weight as `first_values` makes it.
    """

    features: int
    first_values: nn.initializers.Initializer | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, last: Array | None = None) -> Array:
        """`x [..., in]` to `[..., features]`.

        With `last [b, j]` the inputs are `x [b, t, i]` and these, the same at all t, with i + j =
        in: as if they had been repeated and put behind x.
        """
        own, width = x.shape[-1], x.shape[-1] + (0 if last is None else last.shape[-1])
        init = uniform_fan(width)
        shape = width, self.features
        kernel = self.param("kernel", self.first_values or init, shape, self.param_dtype)
        bias = self.param("bias", init, (self.features,), self.param_dtype)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        if last is None:
            return matmul(x, kernel) + bias
        of_last = matmul(last.astype(x.dtype), kernel[own:]) + bias
        return matmul(x, kernel[:own]) + of_last[:, None]


class MLP(nn.Module):
    """Linear, LeakyReLU, ..., Linear; `features` are the widths of the layers (spec §3.6)."""

    features: Sequence[int]
    dropout: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, row: Array, *, train: bool) -> Array:
        """`x [b, d]`, row numbers `[b]` (for dropout of the input) to `[b, features[-1]]`."""
        x = RowDropout(self.dropout)(x, row, train=train)
        for i, width in enumerate(self.features):
            x = leaky_relu(x) if i else x
            layer = Linear(width, dtype=self.dtype, param_dtype=self.param_dtype, name=f"layer_{i}")
            x = layer(x)
        return x
