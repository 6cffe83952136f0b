"""The likelihood of words under a softmax over a large vocabulary, a tile of logits at a time.

Neither pass makes the logits `[n, v]`, unless it is asked to keep few: the backward pass makes each
tile again from the normaliser.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxsdgm.distributions import at_least_float32
from jaxsdgm.layers.products import product, transposed

PAD = 0
#: rows whose logits exist at a time; of FEW tokens, some of which are padding, SMALL_ROWS on a CPU
ROWS, SMALL_ROWS, FEW = 512, 128, 4096
#: logits that may be kept for the backward pass
KEPT = 2**23
#: and words: of a CPU as many as the cores' caches hold
WORDS = {"cpu": 2048}
MANY_WORDS = 4096
#: a logit whose exponential is 0, as that of a bias of -inf; unlike that, its product with 0 is 0
NEVER = -1e30


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def softmax_nll(
    z: Array,
    table: Array,
    bias: Array,
    ids: Array,
    silent_pad: bool,
    by_columns: bool = False,
    keeps: bool = False,
) -> Array:
    """- sum_t log softmax(z table^T + bias)[ids_t] over the words that are not PAD, in nats, `[n]`.

    Rows without a word cost nothing where there are many rows.

    Args:
      z: `[n, e]`, in the dtype of the matrix products, as is `table [v, e]`.
      bias: `[v]`.
      ids: `[n, t]`; all words of a row share one distribution.
      silent_pad: whether the logit of PAD is its bias alone. PAD is in the normaliser either way.
      by_columns: the table is `[e, v]`.
      keeps: of few rows all logits exist at a time, twice in the backward pass, which is faster.
    """
    return _forward(z, table, bias, ids, silent_pad, by_columns, keeps)[0]


def _forward(
    z: Array,
    table: Array,
    bias: Array,
    ids: Array,
    silent_pad: bool,
    by_columns: bool,
    keeps: bool,
) -> Any:
    ids = jnp.asarray(ids)
    size = _tile(ids, len(bias), keeps)
    order, back, tiles = _order(ids, size.rows)
    rows, words_of = (_in_tiles(x[order], size.rows) for x in (_with_ones(z), ids))
    wide, kept = at_least_float32(bias).dtype, None
    if size.all:
        part = _part(table, bias, jnp.asarray(0), size.words, silent_pad, by_columns)
        kept = product(rows[0], part.columns)

    def some_words(j: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        part = _part(table, bias, j, size.words, silent_pad, by_columns)

        def some_rows(r: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            highest, total, picked = (x[r] for x in sums)
            logits = product(rows[r], part.columns) if kept is None else kept
            higher = jnp.maximum(highest, logits.max(-1))
            total = total * jnp.exp(highest - higher) + jnp.exp(logits - higher[:, None]).sum(-1)
            index, here = _places(words_of[r], part)
            values = jnp.take_along_axis(logits, index, axis=1)
            picked += jnp.where(here, values, 0).sum(-1)
            found = higher, total, picked
            return tuple(x.at[r].set(new) for x, new in zip(sums, found, strict=True))

        return _loop(tiles, some_rows, sums)

    zero = jnp.zeros(rows.shape[:2], wide)
    start = jnp.full_like(zero, -jnp.inf), zero, zero
    highest, total, picked = _loop(-(-len(bias) // size.words), some_words, start)
    normaliser = highest + jnp.log(total)  # -inf in tiles of rows without words, which are left out
    count = (words_of != PAD).sum(-1)
    nll = jnp.where(count > 0, count * normaliser - picked, 0)
    return nll.reshape(-1)[: len(z)][back], (z, table, bias, ids, normaliser, kept)


def _backward(
    silent_pad: bool, by_columns: bool, keeps: bool, residuals: Any, gradient: Array
) -> Any:
    z, table, bias, ids, normaliser, kept = residuals
    e, wide, size = z.shape[-1], normaliser.dtype, _tile(ids, len(bias), keeps)
    order, back, tiles = _order(ids, size.rows)
    values = _with_ones(z), ids, gradient.astype(wide)
    rows = [_in_tiles(x[order], size.rows) for x in values]

    def some_words(j: Array, found: tuple[Array, ...]) -> tuple[Array, ...]:
        part = _part(table, bias, j, size.words, silent_pad, by_columns)

        def some_rows(r: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            d_z, d_columns = sums
            z, ids, g = (x[r] for x in rows)
            scale, row = (ids != PAD).sum(-1) * g, jnp.arange(len(z))[:, None]
            logits = product(z, part.columns) if kept is None else kept
            d = jnp.exp(logits - normaliser[r][:, None]) * scale[:, None]
            index, here = _places(ids, part)
            # words of other tiles are put beyond the end, where they are dropped
            index = jnp.where(here, index, len(part.words))
            d = d.at[row, index].add(jnp.broadcast_to(-g[:, None], ids.shape), mode="drop")
            d = d.astype(z.dtype)
            # with few columns of vectors, a CPU is twice as fast at the transposed products
            return d_z.at[r].add(product(part.columns, d.T)), d_columns + product(z.T, d)

        d_z, d_table, d_bias = found
        d_z, d_columns = _loop(tiles, some_rows, (d_z, jnp.zeros(part.columns.shape, wide)))
        own = d_columns[:e] if by_columns else d_columns[:e].T
        d_table = _add(d_table, own, part.words[0], axis=int(by_columns))
        return d_z, d_table, _add(d_bias, d_columns[e], part.words[0])

    start = [jnp.zeros(x.shape, wide) for x in (rows[0].mT, table, bias)]
    d_z, d_table, d_bias = _loop(-(-len(bias) // size.words), some_words, tuple(start))
    d_z = d_z.mT.reshape(-1, rows[0].shape[-1])[: len(z), :e][back]
    if silent_pad:
        d_table = d_table.at[(slice(None), PAD) if by_columns else PAD].set(0)
    return d_z.astype(z.dtype), d_table.astype(table.dtype), d_bias.astype(bias.dtype), None


softmax_nll.defvjp(_forward, _backward)


class Size(NamedTuple):
    """How many rows and words are a tile of logits, and whether that is all."""

    rows: int
    words: int
    all: bool


def _tile(ids: Array, v: int, keeps: bool) -> Size:
    n, t = ids.shape
    if keeps and n * v <= KEPT:
        return Size(n, v, True)
    cpu = jax.default_backend() == "cpu"
    rows = SMALL_ROWS if cpu and t == 1 and n <= FEW else ROWS
    return Size(min(n, rows), min(v, WORDS.get(jax.default_backend(), MANY_WORDS)), False)


def _order(ids: Array, rows: int) -> tuple[Any, Any, Any]:
    """Rows with words first, the way back from there, and how many tiles hold these."""
    if len(ids) <= rows:
        return slice(None), slice(None), 1
    empty = (ids == PAD).all(-1)
    order = jnp.argsort(empty)
    return order, jnp.argsort(order), -(-(~empty).sum() // rows)


def _in_tiles(x: Array, rows: int) -> Array:
    """`[n, ...]` as `[tiles, rows, ...]`, filled up with zeros."""
    x = jnp.pad(x, ((0, -len(x) % rows), *((0, 0),) * (x.ndim - 1)))
    return x.reshape(-1, rows, *x.shape[1:])


class Part(NamedTuple):
    """A tile of the vocabulary, from the word `first` on.

    The last one ends with the vocabulary: what it shares with the one before has a bias of NEVER.
    """

    first: Array
    words: Array
    columns: Array  # [e + m, w], of its words the vectors and the bias


def _part(
    table: Array, bias: Array, j: Array, size: int, silent_pad: bool, by_columns: bool
) -> Part:
    first = jnp.minimum(j * size, len(bias) - size)
    words = first + jnp.arange(size)
    cut = partial(jax.lax.dynamic_slice_in_dim, start_index=first, slice_size=size)
    # of a bias of -inf the summands would be NaN
    own = jnp.where(words >= j * size, jnp.maximum(cut(bias), NEVER), NEVER)
    own = _exactly(own, table.dtype)
    speaks = (words != PAD) if silent_pad else jnp.ones(size, bool)
    if by_columns:
        vectors = jnp.where(speaks, cut(table, axis=1), 0)
        return Part(j * size, words, jnp.concatenate([vectors, own.T]))
    vectors = jnp.where(speaks[:, None], cut(table), 0)
    return Part(j * size, words, transposed(jnp.concatenate([vectors, own], -1)))


def _exactly(bias: Array, dtype: Any) -> Array:
    """A bias `[w]` as m summands `[w, m]` whose products with 1 lose none of float32's digits."""
    if _summands(dtype) == 1:
        return bias.astype(dtype)[:, None]
    summands = []
    for _ in range(_summands(dtype)):
        summands.append(bias.astype(jnp.bfloat16).astype(dtype))
        bias = bias - summands[-1].astype(bias.dtype)
    return jnp.stack(summands, -1)


def _summands(dtype: Any) -> int:
    """Three of bfloat16, or one on a CPU: others may multiply float32 by fewer digits, too."""
    exact = jnp.finfo(dtype).bits >= 32 and jax.default_backend() == "cpu"
    return 1 if exact else 3


def _with_ones(z: Array) -> Array:
    """`[n, e + m]`: times a tile's columns these are its logits, the bias included.

    A pass over the logits less than adding it, and its gradient is a row of the table's.
    """
    return jnp.concatenate([z, jnp.ones((len(z), _summands(z.dtype)), z.dtype)], -1)


def _places(ids: Array, part: Part) -> tuple[Array, Array]:
    """Where the words of the rows `[n, t]` are in a tile, and which of them are."""
    here = (ids >= part.first) & (ids <= part.words[-1]) & (ids != PAD)
    return jnp.where(here, ids - part.words[0], 0), here


def _add(total: Array, part: Array, first: Array, axis: int = 0) -> Array:
    """`total` with `part` added from `first` on; if that is all, the total is still zeros."""
    if total.shape == part.shape:
        return part
    here = jax.lax.dynamic_slice_in_dim(total, first, part.shape[axis], axis)
    return jax.lax.dynamic_update_slice_in_dim(total, here + part, first, axis)


def _loop(count: Any, body: Callable[..., Any], start: Any) -> Any:
    """`fori_loop`, but without a loop where there is one turn: then nothing is made twice."""
    if isinstance(count, int) and count == 1:
        return body(jnp.asarray(0), start)
    return jax.lax.fori_loop(0, count, body, start)
