"""Steps of a recurrence in chunks; of rows sorted by length only those that have tokens left."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

#: how many steps may be a chunk: their input projections are one product, their gates exist at once
CHUNKS = (8, 7, 6, 5)
#: a chunk of steps works on the first k / PACKS of the rows, as few as hold its tokens
PACKS = 5


def chunks_of(x: Array) -> Array:
    """`[t, ...]` as `[n, k, ...]`, filled up with as few zeros as any k of CHUNKS allows."""
    k = min(CHUNKS, key=lambda k: -len(x) % k)
    n = -(-len(x) // k)
    x = jnp.pad(x, [(0, n * k - len(x))] + [(0, 0)] * (x.ndim - 1))
    return x.reshape(n, k, *x.shape[1:])


def joined(chunks: Array, t: int) -> Array:
    """Chunks as the steps `[t, ...]` that they were made of."""
    return chunks.reshape(-1, *chunks.shape[2:])[:t]


def in_order(x: Array, backwards: Array) -> Array:
    """`x [t, ...]` as the recurrence meets it, or back."""
    return jnp.where(backwards, x[::-1], x)


def kept_rows(start: Array, k: int, lengths: Array) -> Array:
    """Whether there is a token in each of k steps from `start`, `[k, b, 1]`."""
    return (start + jnp.arange(k))[:, None, None] < lengths[:, None]


def row_counts(b: int, packs: int) -> list[int]:
    """How many rows, of `b`, a chunk may work on: all, or with several packs as few as none."""
    return [b] if packs == 1 else sorted({-(-b * k // packs) for k in range(packs + 1)})


def switch(
    steps: Mapping[int, Callable[..., Any]], lengths: Array, start: Array
) -> Callable[..., Any]:
    """The first of {rows: step} (ascending) that holds all rows with tokens beyond `start`."""
    if len(steps) == 1:
        return next(iter(steps.values()))
    too_small = jnp.asarray(list(steps)) < (lengths > start).sum()
    return partial(jax.lax.switch, too_small.sum(), list(steps.values()))


def widen(b: int, x: Array) -> Array:
    """`[t, rows, h]` filled up with zeros to `b` rows."""
    return jnp.pad(x, ((0, 0), (0, b - x.shape[1]), (0, 0)))
