"""The recurrence of a GRU layer, from gates that the inputs are made into beforehand.

r = s(x_r + m_r), z = s(x_z + m_z), n = tanh(x_n + r m_n), h' = (1 - z) n + z h, where x_r, x_z and
x_n `[h]` are the parts of a step's gates `[3h]` (the input's product and bias) and m_r, m_z, m_n
those of h kernel_hidden + bias_hidden, with `kernel_hidden [h, 3h]` and `bias_hidden [3h]`.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxsdgm.distributions import at_least_float32
from jaxsdgm.layers.chunks import (
    choose,
    chunks_of,
    joined,
    kept_rows,
    put_chunk,
    recurrence,
    row_counts,
    scan,
    switch,
    widen,
)
from jaxsdgm.layers.products import matmul, product, transposed


def gru_scan(
    gates: Array,
    first: Array,
    kernel_hidden: Array,
    bias_hidden: Array,
    lengths: Array,
    backwards: Array | bool,
    packs: int,
) -> tuple[Array, Array]:
    """One direction over the first `lengths [b]` steps of `gates [t, b, 3h]`, from `first [b, h]`.

    Args:
      lengths: may be 0; the last state is then the first.
      backwards: from each row's last token to its first. A bool, of which no arithmetic is left in
        the program, or a scalar: both directions are one loop under `vmap` over it and the kernels.
      packs: 1, or more where the rows are sorted, longest first: then no work is done for rows
        that have ended, but for a fraction 1 / packs. Only outside `vmap`, which would do the work
        of all sizes.

    Returns:
      Outputs `[t, b, h]`, 0 beyond a row's length, and the last states `[b, h]`.
    """
    return _recurrence(gates, first, kernel_hidden, bias_hidden, lengths, backwards, packs)


def _forward(
    gates: Array,
    first: Array,
    kernel_hidden: Array,
    bias_hidden: Array,
    lengths: Array,
    backwards: Array | bool,
    packs: int,
) -> Any:
    (t, b), h = gates.shape[:2], len(kernel_hidden)
    chunks = chunks_of(gates)
    n, k = chunks.shape[:2]
    steps = {size: partial(_chunk, size, backwards) for size in row_counts(b, packs)}
    parameters = kernel_hidden, bias_hidden, lengths

    def body(i: Array, carry: tuple[Array, list[Array]]) -> tuple[Array, list[Array]]:
        state, kept = carry
        j = choose(backwards, n - 1 - i, i)
        step = switch(steps, lengths, k * j)
        new, every = step(chunks[j], state, k * j, *parameters)
        return new, jax.tree.map(partial(put_chunk, j), kept, every)

    kept = [jnp.zeros((n, k, b, h), gates.dtype) for _ in range(6)]
    last, (outputs, *cells) = jax.lax.fori_loop(0, n, body, (first, kept))
    return (joined(outputs, t), last), (*parameters, cells)


def _chunk(
    size: int,
    backwards: Array | bool,
    gates: Array,
    state: Array,
    start: Array,
    kernel_hidden: Array,
    bias_hidden: Array,
    lengths: Array,
) -> tuple[Array, list[Array]]:
    """A chunk of steps of the first `size` rows: the new state, and of each the output and cells.

    The cells are h before the step, r, z, n and m_n.
    """
    k, b = gates.shape[:2]
    keep = kept_rows(start, k, lengths[:size])

    def step(h0: Array, inputs: tuple[Any, Array]) -> tuple[Array, tuple[Array, ...]]:
        (x_r, x_z, x_n), keep = inputs
        m_r, m_z, m_n = jnp.split(matmul(h0, kernel_hidden) + bias_hidden, 3, axis=-1)
        r, z = jax.nn.sigmoid(x_r + m_r), jax.nn.sigmoid(x_z + m_z)
        n = jnp.tanh(x_n + r * m_n)
        h = (1 - z) * n + z * h0
        return jnp.where(keep, h, h0), (jnp.where(keep, h, 0), h0, r, z, n, m_n)

    # apart beforehand: a CPU computes a step of several parts of one array a number at a time
    parts = jnp.split(gates[:, :size], 3, axis=-1)
    last, every = scan(step, state[:size], (parts, keep), backwards)
    return _put(state, last), [widen(b, values) for values in every]


def _backward(
    backwards: Array | bool, packs: int, residuals: Any, gradients: tuple[Array, Array]
) -> Any:
    *parameters, cells = residuals
    kernel_hidden, bias_hidden, lengths = parameters
    dtype = cells[0].dtype
    (t, b), d_outputs = gradients[0].shape[:2], chunks_of(gradients[0])
    n, k = d_outputs.shape[:2]
    steps = {size: partial(_chunk_backward, size, backwards) for size in row_counts(b, packs)}

    def body(i: Array, carry: Any) -> Any:
        d_state, d_parameters, d_gates = carry
        j = choose(backwards, i, n - 1 - i)
        step = switch(steps, lengths, k * j)
        new, d_state, more = step([x[j] for x in cells], d_outputs[j], d_state, k * j, *parameters)
        return d_state, jax.tree.map(jnp.add, d_parameters, more), put_chunk(j, d_gates, new)

    zeros = [at_least_float32(jnp.zeros_like(p)) for p in (kernel_hidden, bias_hidden)]
    d_gates = jnp.zeros((n, k, b, 3 * len(kernel_hidden)), dtype)
    carry = gradients[1], zeros, d_gates
    d_first, d_parameters, d_gates = jax.lax.fori_loop(0, n, body, carry)
    d_parameters = [d.astype(dtype) for d in d_parameters]
    return joined(d_gates, t), d_first, *d_parameters, None


def _chunk_backward(
    size: int,
    backwards: Array | bool,
    cells: list[Array],
    d_h: Array,
    d_state: Array,
    start: Array,
    kernel_hidden: Array,
    bias_hidden: Array,
    lengths: Array,
) -> tuple[Array, Array, list[Array]]:
    """Gradients of a chunk's gates, of the state before it, and of the parameters."""
    (k, b), cells, d_h = d_h.shape[:2], [x[:, :size] for x in cells], d_h[:, :size]
    keep, kernel_back = kept_rows(start, k, lengths[:size]), transposed(kernel_hidden)

    def step(d_last: Array, inputs: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        (h0, r, z, n, m_n), d_h, keep = inputs
        d = d_last + d_h
        d_n = jnp.where(keep, d * (1 - z) * (1 - n**2), 0)
        d_z = jnp.where(keep, d * (h0 - n) * z * (1 - z), 0)
        d_m = jnp.concatenate([d_n * m_n * r * (1 - r), d_z, d_n * r], -1)
        return jnp.where(keep, d * z + matmul(d_m, kernel_back), d_last), (d_m, d_n)

    from_end = choose(backwards, False, True)
    first, (d_m, d_n) = scan(step, d_state[:size], (cells, d_h, keep), from_end)
    d_x = jnp.concatenate([d_m[..., : 2 * d_n.shape[-1]], d_n], -1)
    flat = lambda value: value.reshape(-1, value.shape[-1])
    d_kernel = product(flat(cells[0]).T, flat(d_m))
    d_parameters = [d_kernel, at_least_float32(flat(d_m)).sum(0)]
    return widen(b, d_x), _put(d_state, first), d_parameters


_recurrence = recurrence(_forward, _backward)


def _put(state: Array, rows: Array) -> Array:
    """A state `[b, h]` with new first rows."""
    return jax.lax.dynamic_update_slice(state, rows, (0, 0))
