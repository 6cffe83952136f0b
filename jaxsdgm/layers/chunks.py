"""Steps of a recurrence in chunks; of rows sorted by length only those that have tokens left."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

#: how many steps may be a chunk: their input projections are one product, their gates exist at once
CHUNKS = (8, 7, 6, 5)
#: all are one where these are so few rows of products: each is faster then, and none is summed up
FEW = 1024
#: a chunk of steps works on the first k / PACKS of the rows, as few as hold its tokens
PACKS = 12


def recurrence(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """A recurrence with a backward pass of its own, as `f(*arrays, backwards, packs)`.

    `backwards` is a bool, which is not differentiated and known while tracing, or a scalar.

    Args:
      forward: `f(*arrays, backwards, packs)` to results and residuals.
      backward: `f(backwards, packs, residuals, gradients)` to the gradients of the arrays.
    """

    @partial(jax.custom_vjp, nondiff_argnums=(0, 1))
    def known(backwards: bool, packs: int, *arrays: Any) -> Any:
        return forward(*arrays, backwards, packs)[0]

    known.defvjp(lambda backwards, packs, *arrays: forward(*arrays, backwards, packs), backward)

    @partial(jax.custom_vjp, nondiff_argnums=(0,))
    def traced(packs: int, backwards: Array, *arrays: Any) -> Any:
        return forward(*arrays, backwards, packs)[0]

    def traced_forward(packs: int, backwards: Array, *arrays: Any) -> Any:
        found, residuals = forward(*arrays, backwards, packs)
        return found, (backwards, residuals)

    def traced_backward(packs: int, residuals: Any, gradients: Any) -> Any:
        return None, *backward(residuals[0], packs, residuals[1], gradients)

    traced.defvjp(traced_forward, traced_backward)

    def either(*arrays: Any) -> Any:
        *values, backwards, packs = arrays
        if isinstance(backwards, bool):
            return known(backwards, packs, *values)
        return traced(packs, backwards, *values)

    return either


def in_one_loop(one_way: Callable[..., Any], arrays: Any) -> list[Any]:
    """What `one_way(arrays of one direction, backwards)` gives for each of both, by `vmap`."""
    found = jax.vmap(one_way)(arrays, jnp.array([False, True]))
    return [jax.tree.map(lambda x, way=way: x[way], found) for way in (0, 1)]


def apart(arrays: Any) -> list[Any]:
    """Arrays `[2, ...]` as those of each direction, whose loops come one after the other.

    They have to where there are several packs, since the rows at work differ.
    """
    # unlike that of an index, the gradient of a split is one array
    halves = jax.tree.map(lambda x: [half[0] for half in jnp.split(x, 2)], arrays)
    return jax.tree.transpose(jax.tree.structure(arrays), jax.tree.structure([0, 0]), halves)


def chunks_of(x: Array) -> Array:
    """`[t, b, ...]` as `[n, k, b, ...]`, filled up with as few zeros as any k of CHUNKS allows."""
    few = x.shape[0] * x.shape[1] <= FEW
    k = len(x) if few else min(CHUNKS, key=lambda k: -len(x) % k)
    n = -(-len(x) // k)
    x = jnp.pad(x, [(0, n * k - len(x))] + [(0, 0)] * (x.ndim - 1))
    return x.reshape(n, k, *x.shape[1:])


def joined(chunks: Array, t: int) -> Array:
    """Chunks as the steps `[t, ...]` that they were made of."""
    return chunks.reshape(-1, *chunks.shape[2:])[:t]


def put_chunk(j: Array, chunks: Array, new: Array, column: int = 0) -> Array:
    """Chunks with a new one at j, which is in bounds: `.at[j].set` would read the old one too.

    It may be narrower, and then begins at a column.
    """
    start = (j, *[0] * (chunks.ndim - 2), column)
    return jax.lax.dynamic_update_slice(chunks, new[None], start)


def choose(backwards: Array | bool, yes: Any, no: Any) -> Any:
    """What belongs to the direction."""
    if isinstance(backwards, bool):
        return yes if backwards else no
    return jnp.where(backwards, yes, no)


def scan(step: Callable[..., Any], first: Any, inputs: Any, backwards: Array | bool) -> Any:
    """`jax.lax.scan` over leading axes, from their ends if `backwards`; outputs are in their order.

    A direction that is known takes no copies.
    """
    if isinstance(backwards, bool):
        return jax.lax.scan(step, first, inputs, reverse=backwards)
    in_order = lambda x: jnp.where(backwards, x[::-1], x)
    last, outputs = jax.lax.scan(step, first, jax.tree.map(in_order, inputs))
    return last, jax.tree.map(in_order, outputs)


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
