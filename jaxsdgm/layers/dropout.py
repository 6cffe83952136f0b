"""Dropout whose mask belongs to a row, wherever in the batch or on which device the row is."""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

#: of a mask are drawn at a time: the random words are twice the size of the mask
NUMBERS = 2**22


class RowDropout(nn.Module):
    """Inverted element-wise dropout; the mask of a row depends on the key and the row's number.

    Hence one device or many, padding, and the order of the rows do not change a training run.
    Half a random word decides an element, so that the rate is met to 2^-17: on a CPU the words are
    most of what dropout costs.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, row: Array, *, train: bool) -> Array:
        """`x [b, ...]`, row numbers `[b]`; unchanged unless `train`."""
        if not train or self.rate == 0:
            return x
        key, shape = self.make_rng("dropout"), x.shape[1:]
        size, below = math.prod(shape), round((1 - self.rate) * 2**16)

        def draw(i: Array) -> Array:
            words = jax.random.bits(jax.random.fold_in(key, i), (-(-size // 2),), jnp.uint32)
            halves = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)
            return (halves[:size] < below).reshape(shape)

        rows = max(1, NUMBERS // size)
        keep = jax.lax.map(draw, row, batch_size=rows) if rows < len(row) else jax.vmap(draw)(row)
        return jnp.where(keep, x / (1 - self.rate), 0).astype(x.dtype)
