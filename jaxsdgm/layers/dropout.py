"""Dropout whose mask belongs to a row, wherever in the batch or on which device the row is."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

#: of a mask are drawn at a time: the random words are four times the size of the mask
NUMBERS = 2**22


class RowDropout(nn.Module):
    """Inverted element-wise dropout; the mask of a row depends on the key and the row's number.

    Hence one device or many, padding, and the order of the rows do not change a training run.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, row: Array, *, train: bool) -> Array:
        """`x [b, ...]`, row numbers `[b]`; unchanged unless `train`."""
        if not train or self.rate == 0:
            return x
        key = self.make_rng("dropout")
        shape = x.shape[1:]

        def draw(i: Array) -> Array:
            return jax.random.bernoulli(jax.random.fold_in(key, i), 1 - self.rate, shape)

        rows = max(1, NUMBERS // math.prod(shape))
        keep = jax.lax.map(draw, row, batch_size=rows) if rows < len(row) else jax.vmap(draw)(row)
        return jnp.where(keep, x / (1 - self.rate), 0).astype(x.dtype)
