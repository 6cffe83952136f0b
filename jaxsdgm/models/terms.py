"""What every objective of the library takes and returns."""

import zlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array

#: Rows by group: {group: {"ids": [b, t], "lengths": [b], "row": [b], "mask": [b], ...}}. A row's
#: number names its noise; the mask is 0 where a row only fills the batch.
Batch = Mapping[str, Mapping[str, Array]]

#: Terms of an objective, unreduced: {group: {name of the term: [b]}}, with a term "loss" in each
#: group. The step takes the masked mean of every term over its group and minimises the sum of the
#: groups' losses.
Groups = dict[str, dict[str, Array]]

#: (variable, row numbers [b], shape of a row) -> standard normal draws [b, *shape], or those of
#: another function of `jax.random` that is given. A function, so that tests can inject recorded
#: noise.
Noise = Callable[..., Array]


def random_noise(key: Array) -> Noise:
    """Draws that depend on the key, the variable and the row number alone.

    A training run is then the same on one device or many.
    """

    def noise(
        name: str,
        row: Array,
        shape: tuple[int, ...],
        draw: Callable[..., Array] = jax.random.normal,
    ) -> Array:
        stream = jax.random.fold_in(key, zlib.crc32(name.encode()))
        return jax.vmap(lambda i: draw(jax.random.fold_in(stream, i), shape))(row)

    return noise


def no_noise(
    name: str, row: Array, shape: tuple[int, ...], draw: Callable[..., Array] | None = None
) -> Array:
    """Zeros: the sample of a Gaussian is its mean."""
    return jnp.zeros((len(row), *shape))


def whole(rows: Mapping[str, Array]) -> dict[str, Array]:
    """`rows` as a batch of which every row counts: for `init` and for evaluation."""
    n = len(next(iter(rows.values())))
    return {**rows, "row": jnp.arange(n), "mask": jnp.ones(n)}


def masked_mean(values: Array, mask: Array, axis_name: str | None = None) -> Array:
    """Mean of `values [b]` over the rows whose `mask [b]` is set; 0 where none is.

    `axis_name` is the mapped axis that the rows are spread over, if they are.
    """
    mask = mask.astype(values.dtype)
    # where, not a product: a row that does not count may hold an infinity
    total, count = jnp.where(mask > 0, values * mask, 0).sum(), mask.sum()
    if axis_name:
        total, count = jax.lax.psum((total, count), axis_name)
    return total / jnp.maximum(count, 1)


def counted_kl(kl: Array, hyper: Mapping[str, Array]) -> Array:
    """max(l, KL) of divergences `[...]` in nats with l = hyper["free_bits"], where hyper has one.

    Below l nothing is gained by a smaller divergence (Kingma et al. 2016; spec of paper 4, §3).
    """
    return jnp.maximum(kl, hyper["free_bits"]) if "free_bits" in hyper else kl
