"""The likelihood of words under a softmax over a large vocabulary, a tile of logits at a time.

Neither pass makes the logits `[n, v]`: the backward pass makes each tile again from the normaliser.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxsdgm.distributions import at_least_float32

PAD = 0
#: rows and words whose logits exist at a time: of a CPU as many as a core's cache holds
TILES = {"cpu": (128, 2048)}
LARGE_TILE = 512, 4096


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def softmax_nll(z: Array, table: Array, bias: Array, ids: Array, silent_pad: bool) -> Array:
    """- sum_t log softmax(z table^T + bias)[ids_t] over the words that are not PAD, in nats, `[n]`.

    Rows without a word cost nothing where there are many rows.

    Args:
      z: `[n, e]`, in the dtype of the matrix products, as is `table [v, e]`.
      bias: `[v]`.
      ids: `[n, t]`; all words of a row share one distribution.
      silent_pad: whether the logit of PAD is its bias alone. PAD is in the normaliser either way.
    """
    return _forward(z, table, bias, ids, silent_pad)[0]


def _forward(z: Array, table: Array, bias: Array, ids: Array, silent_pad: bool) -> Any:
    ids = jnp.asarray(ids)
    order, back, tiles = _order(ids)
    rows = _in_tiles(z[order]), _in_tiles(ids[order])
    wide = at_least_float32(bias).dtype

    def one_tile(r: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        z, ids = rows[0][r], rows[1][r]

        def some_words(j: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            highest, total, picked = sums
            logits, words, _ = _logits(z, table, bias, j, silent_pad)
            higher = jnp.maximum(highest, logits.max(-1))
            total = total * jnp.exp(highest - higher) + jnp.exp(logits - higher[:, None]).sum(-1)
            index, here = _places(ids, words, j)
            values = jnp.take_along_axis(logits, index, axis=1)
            return higher, total, picked + jnp.where(here, values, 0).sum(-1)

        zero = jnp.zeros(len(z), wide)
        start = jnp.full(len(z), -jnp.inf, wide), zero, zero
        highest, total, picked = _loop(_word_tiles(table), some_words, start)
        normaliser = highest + jnp.log(total)
        nll = (ids != PAD).sum(-1) * normaliser - picked
        return found[0].at[r].set(nll), found[1].at[r].set(normaliser)

    zero = jnp.zeros(rows[0].shape[:2], wide)
    nll, normaliser = _loop(tiles, one_tile, (zero, zero))
    residuals = z, table, bias, ids, normaliser
    return nll.reshape(-1)[: len(z)][back], residuals


def _backward(silent_pad: bool, residuals: Any, gradient: Array) -> Any:
    z, table, bias, ids, normaliser = residuals
    order, back, tiles = _order(ids)
    rows = [_in_tiles(x[order]) for x in (z, ids, gradient.astype(normaliser.dtype))]
    wide = normaliser.dtype
    product = partial(jnp.matmul, preferred_element_type=wide)

    def one_tile(r: Array, found: tuple[Array, ...]) -> tuple[Array, ...]:
        z, ids, g = (x[r] for x in rows)
        scale, row = (ids != PAD).sum(-1) * g, jnp.arange(len(z))[:, None]

        def some_words(j: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            d_z, d_table, d_bias = sums
            logits, words, part = _logits(z, table, bias, j, silent_pad)
            d = jnp.exp(logits - normaliser[r][:, None]) * scale[:, None]
            index, here = _places(ids, words, j)
            # words of other tiles are put beyond the end, where they are dropped
            index = jnp.where(here, index, len(words))
            d = d.at[row, index].add(jnp.broadcast_to(-g[:, None], ids.shape), mode="drop")
            d_bias = _add(d_bias, d.sum(0), words[0])
            d = (jnp.where(words == PAD, 0, d) if silent_pad else d).astype(z.dtype)
            return d_z + product(d, part), _add(d_table, product(d.T, z), words[0]), d_bias

        start = jnp.zeros(z.shape, wide), *found[1:]
        d_z, *of_words = _loop(_word_tiles(table), some_words, start)
        return found[0].at[r].set(d_z), *of_words

    zeros = (jnp.zeros(x.shape, wide) for x in (rows[0], table, bias))
    d_z, d_table, d_bias = _loop(tiles, one_tile, tuple(zeros))
    d_z = d_z.reshape(-1, d_z.shape[-1])[: len(z)][back]
    return d_z.astype(z.dtype), d_table.astype(table.dtype), d_bias.astype(bias.dtype), None


softmax_nll.defvjp(_forward, _backward)


def _tile() -> tuple[int, int]:
    return TILES.get(jax.default_backend(), LARGE_TILE)


def _order(ids: Array) -> tuple[Any, Any, Any]:
    """Rows with words first, the way back from there, and how many tiles hold these."""
    rows, _ = _tile()
    if len(ids) <= rows:
        return slice(None), slice(None), 1
    empty = (ids == PAD).all(-1)
    order = jnp.argsort(empty)
    return order, jnp.argsort(order), -(-(~empty).sum() // rows)


def _in_tiles(x: Array) -> Array:
    """`[n, ...]` as `[tiles, rows, ...]`, filled up with zeros; one of all rows if they are few."""
    rows = min(len(x), _tile()[0])
    x = jnp.pad(x, ((0, -len(x) % rows), *((0, 0),) * (x.ndim - 1)))
    return x.reshape(-1, rows, *x.shape[1:])


def _word_tiles(table: Array) -> int:
    return -(-len(table) // _tile()[1])


def _logits(
    z: Array, table: Array, bias: Array, j: Array, silent_pad: bool
) -> tuple[Array, Array, Array]:
    """Logits `[n, w]` of tile j, its words `[w]` and their vectors `[w, e]`.

    The last tile ends with the vocabulary: what it shares with the one before is -inf there.
    """
    _, size = _tile()
    count = min(len(table), size)
    first = jnp.minimum(j * size, len(table) - count)
    words = first + jnp.arange(count)
    part = jax.lax.dynamic_slice_in_dim(table, first, count)
    wide = at_least_float32(bias).dtype
    scores = jnp.matmul(z, part.T, preferred_element_type=wide)
    if silent_pad:
        scores = jnp.where(words == PAD, 0, scores)
    scores += jax.lax.dynamic_slice_in_dim(bias, first, count)
    return jnp.where(words >= j * size, scores, -jnp.inf), words, part


def _places(ids: Array, words: Array, j: Array) -> tuple[Array, Array]:
    """Where the words of the rows `[n, t]` are in tile j, and which of them are."""
    here = (ids >= j * _tile()[1]) & (ids <= words[-1]) & (ids != PAD)
    return jnp.where(here, ids - words[0], 0), here


def _add(total: Array, part: Array, first: Array) -> Array:
    """`total [v, ...]` with `part [w, ...]` added from `first` on."""
    here = jax.lax.dynamic_slice_in_dim(total, first, len(part))
    return jax.lax.dynamic_update_slice_in_dim(total, here + part, first, 0)


def _loop(count: Any, body: Callable[..., Any], start: Any) -> Any:
    """`fori_loop`, but without a loop where there is one turn: then nothing is made twice."""
    if isinstance(count, int) and count == 1:
        return body(jnp.asarray(0), start)
    return jax.lax.fori_loop(0, count, body, start)
