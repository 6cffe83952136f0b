"""The recurrence of an LSTM layer: three back ends, one set of parameters.

Kernels are `kernel_in [d, 4h]`, `kernel_hidden [h, 4h]` and `bias [4h]`, gates stacked i, f, g, o:
c' = s(f) c + s(i) tanh(g); h' = s(o) tanh(c'). cuDNN's takes both directions' at once, `[2, ...]`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import rnn

from jaxsdgm.distributions import at_least_float32
from jaxsdgm.layers.chunks import (
    apart,
    choose,
    chunks_of,
    in_one_loop,
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

#: bytes of gates, of a layer one way, that are kept for the backward pass; more are made again
KEPT = 2**27

State = tuple[Array, Array]  # h and c, [b, h] each


def lstm_scan(
    x: Array,
    kernel_in: Array,
    kernel_hidden: Array,
    bias: Array,
    first: State,
    lengths: Array,
    backwards: Array | bool,
    packs: int,
) -> tuple[Array, Array]:
    """One direction over the first `lengths [b]` steps of `x [t, b, d]`.

    Beyond KEPT the gates are computed again in the backward pass, and c from the first one of its
    chunk: of a step there remains h, a sixth of what the gates, h and c would take, for a third
    more arithmetic.

    Args:
      first: the state to start from; of a loop backwards it has to be zeros.
      backwards: from each row's last token to its first. A bool, of which no arithmetic is left in
        the program, or a scalar: both directions are one loop under `vmap` over it and the kernels.
      packs: 1, or PACKS where the rows are sorted, longest first: then no work is done for rows
        that have ended, but for a fraction 1 / packs. Only outside `vmap`, which would do the work
        of all sizes.

    Returns:
      Outputs `[t, b, h]`, 0 beyond a row's length, and the last states `[b, h]`.
    """
    return _recurrence(x, kernel_in, kernel_hidden, bias, first, lengths, backwards, packs)


def bilstm_scan(
    x: Array, kernel_in: Array, kernel_hidden: Array, bias: Array, lengths: Array, packs: int
) -> tuple[Array, Array]:
    """Both directions from zeros, of parameters `[2, ...]`: see `lstm_scan`.

    Returns:
      Outputs `[t, b, 2h]` and last states `[b, 2h]`, the backward one that at step 0.
    """
    if packs == 1:
        zero = jnp.zeros((x.shape[1], kernel_hidden.shape[1]), x.dtype)

        def one_way(way: Any, backwards: Array) -> tuple[Array, Array]:
            rest: Any = (zero, zero), lengths, backwards, packs
            return lstm_scan(x, *way, *rest)

        ways = in_one_loop(one_way, (kernel_in, kernel_hidden, bias))
        outputs, last = (jnp.concatenate(found, -1) for found in zip(*ways, strict=True))
        return outputs, last
    return _both(packs, x, apart((kernel_in, kernel_hidden, bias)), lengths)


def _forward(
    x: Array,
    kernel_in: Array,
    kernel_hidden: Array,
    bias: Array,
    first: State,
    lengths: Array,
    backwards: Array | bool,
    packs: int,
    outputs: Array | None = None,
) -> Any:
    """Results and residuals; h is put into `outputs [n, k, b, 2h]` where there are two directions.

    The one backwards has the last columns.
    """
    (t, b), h = x.shape[:2], len(kernel_hidden)
    chunks = chunks_of(x)
    n, k = chunks.shape[:2]
    keeps = x.dtype.itemsize * t * b * 4 * h <= KEPT
    steps = {size: partial(_chunk, size, keeps, backwards) for size in row_counts(b, packs)}
    parameters = kernel_in, kernel_hidden, bias, lengths
    start = jnp.zeros((n, k, b, h), x.dtype) if outputs is None else outputs
    column = _column(start, h, backwards)

    def body(i: Array, carry: tuple[State, Array, list[Array]]) -> Any:
        state, outputs, kept = carry
        j = choose(backwards, n - 1 - i, i)
        step = switch(steps, lengths, k * j)
        new, hs, *every = step(chunks[j], state, k * j, *parameters)
        every = every if keeps else [state[1]]
        kept = jax.tree.map(partial(put_chunk, j), kept, every)
        return new, put_chunk(j, outputs, hs, column), kept

    shapes = [(k, b, h)] * 5 if keeps else [(b, h)]
    kept = [jnp.zeros((n, *shape), x.dtype) for shape in shapes]
    (last, _), found, kept = jax.lax.fori_loop(0, n, body, (first, start, kept))
    return (joined(found, t), last), (x, *parameters, first, found, kept)


def _column(outputs: Array, h: int, backwards: Array | bool) -> int:
    """Where a direction's states begin in outputs that may be of both."""
    return h if outputs.shape[-1] > h and backwards else 0


def _chunk(
    size: int,
    keeps: bool,
    backwards: Array | bool,
    x: Array,
    state: State,
    start: Array,
    kernel_in: Array,
    kernel_hidden: Array,
    bias: Array,
    lengths: Array,
) -> list[Any]:
    """A chunk of steps of the first `size` rows: the new state, h, and what is kept of each step.

    h is 0 where a row has no token. Kept are c before the step and the four gates, or nothing.
    """
    k, b = x.shape[:2]
    gates = matmul(x[:, :size], kernel_in)
    keep = kept_rows(start, k, lengths[:size])

    def step(state: State, inputs: tuple[Array, Array]) -> tuple[State, tuple[Array, ...]]:
        gate, keep = inputs
        (h, c), gates = _cell(gate + bias, state, kernel_hidden)
        kept = (jnp.where(keep, h, 0), *((state[1], *gates) if keeps else ()))
        return (jnp.where(keep, h, state[0]), jnp.where(keep, c, state[1])), kept

    last, every = scan(step, (state[0][:size], state[1][:size]), (gates, keep), backwards)
    return [_put(state, last), *[widen(b, x) for x in every]]


def _backward(
    backwards: Array | bool,
    packs: int,
    residuals: Any,
    gradients: tuple[Array, Array],
    other: Array | None = None,
) -> Any:
    """The gradients of what `_forward` has; that of x on top of the `other` direction's."""
    x, kernel_in, kernel_hidden, bias, lengths, first, outputs, kept = residuals
    (t, b), d_outputs, chunks = x.shape[:2], chunks_of(gradients[0]), chunks_of(x)
    n, h = len(chunks), len(kernel_hidden)
    k, column = chunks.shape[1], _column(outputs, h, backwards)
    steps = {size: partial(_chunk_backward, size, backwards) for size in row_counts(b, packs)}
    parameters = kernel_in, kernel_hidden, bias, lengths

    def body(i: Array, carry: Any) -> Any:
        d_state, d_parameters, d_x = carry
        j = choose(backwards, i, n - 1 - i)
        h0 = _before(partial(_states, outputs, h, column), n, first[0], j, backwards)
        values = chunks[j], h0, _states(d_outputs, h, column, j)
        cells = [x[j] for x in kept]
        step = switch(steps, lengths, k * j)
        new, d_state, more = step(values, cells, d_state, k * j, *parameters)
        d_x = put_chunk(j, d_x, new if other is None else d_x[j] + new)
        return d_state, jax.tree.map(jnp.add, d_parameters, more), d_x

    d_state = gradients[1], jnp.zeros_like(gradients[1])
    zeros = [at_least_float32(jnp.zeros_like(p)) for p in (kernel_in, kernel_hidden, bias)]
    d_x = jnp.zeros_like(chunks) if other is None else chunks_of(other)
    carry = d_state, zeros, d_x
    d_first, d_parameters, d_x = jax.lax.fori_loop(0, n, body, carry)
    return joined(d_x, t), *[d.astype(x.dtype) for d in d_parameters], d_first, None


def _chunk_backward(
    size: int,
    backwards: Array | bool,
    values: tuple[Array, ...],
    cells: list[Array],
    d_state: State,
    start: Array,
    kernel_in: Array,
    kernel_hidden: Array,
    bias: Array,
    lengths: Array,
) -> tuple[Array, State, list[Array]]:
    """Gradients of a chunk's inputs, of the state before it, and of the parameters.

    `cells` are c before each step and the four gates, or else c `[b, h]` before the first step.
    """
    (k, b), (x, h0, d_h) = values[0].shape[:2], (value[:, :size] for value in values)
    keep = kept_rows(start, k, lengths[:size])
    if len(cells) > 1:
        c0, i, f, g, o = (value[:, :size] for value in cells)
    else:
        i, f, g, o = _activated(matmul(x, kernel_in) + bias + matmul(h0, kernel_hidden))
        c0 = _cells(cells[0][:size], i, f, g, keep, backwards)
    inputs, kernel_back = (i, f, g, o, c0, d_h, keep), transposed(kernel_hidden)

    def step(carry: State, inputs: Any) -> tuple[State, Array]:
        i, f, g, o, c0, d_h, keep = inputs
        tanh_c = jnp.tanh(f * c0 + i * g)
        d_h = carry[0] + jnp.where(keep, d_h, 0)
        d_c = carry[1] + d_h * o * (1 - tanh_c**2)
        parts = d_c * g * i * (1 - i), d_c * c0 * f * (1 - f), d_c * i * (1 - g**2)
        d_gate = jnp.concatenate([*parts, d_h * tanh_c * o * (1 - o)], -1)
        d_gate = jnp.where(keep, d_gate, 0)
        d_h0 = matmul(d_gate, kernel_back)
        return (jnp.where(keep, d_h0, d_h), jnp.where(keep, d_c * f, carry[1])), d_gate

    first = d_state[0][:size], d_state[1][:size]
    last, d_gates = scan(step, first, inputs, choose(backwards, False, True))
    d_x = matmul(d_gates, kernel_in.T)
    x, h0, d_gates = (value.reshape(-1, value.shape[-1]) for value in (x, h0, d_gates))
    d_parameters = [product(x.T, d_gates), product(h0.T, d_gates), at_least_float32(d_gates).sum(0)]
    return widen(b, d_x), _put(d_state, last), d_parameters


def _cells(
    first: Array, i: Array, f: Array, g: Array, keep: Array, backwards: Array | bool
) -> Array:
    """c before each step of a chunk `[k, b, h]`, from the first one and the gates."""

    def step(c: Array, inputs: tuple[Array, ...]) -> tuple[Array, Array]:
        i, f, g, keep = inputs
        return jnp.where(keep, f * c + i * g, c), c

    return scan(step, first, (i, f, g, keep), backwards)[1]


_recurrence = recurrence(_forward, _backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _both(packs: int, x: Array, ways: Any, lengths: Array) -> Any:
    """Both directions; their outputs are one array, as are their gradients of x."""
    return _both_forward(packs, x, ways, lengths)[0]


def _both_forward(packs: int, x: Array, ways: Any, lengths: Array) -> Any:
    b, h = x.shape[1], len(ways[0][1])
    zero = jnp.zeros((b, h), x.dtype)
    both, states, residuals = jnp.zeros((*chunks_of(x).shape[:2], b, 2 * h), x.dtype), [], []
    for i in (0, 1):
        rest: Any = (zero, zero), lengths, bool(i), packs, both
        (outputs, last), (*others, both, kept) = _forward(x, *ways[i], *rest)
        states.append(last)
        residuals.append((others, kept))
    return (outputs, jnp.concatenate(states, -1)), (both, residuals)


def _both_backward(packs: int, residuals: Any, gradients: Any) -> Any:
    both, of_ways = residuals
    d_x, d_ways = None, []
    for i, d_last in enumerate(jnp.split(gradients[1], 2, -1)):
        others, kept = of_ways[i]
        rest: Any = (*others, both, kept), (gradients[0], d_last), d_x
        d_x, *d_way, _, _ = _backward(bool(i), packs, *rest)
        d_ways.append(tuple(d_way))
    return d_x, d_ways, None


_both.defvjp(_both_forward, _both_backward)


def lstm_cudnn(
    x: Array, kernel_in: Array, kernel_hidden: Array, bias: Array, lengths: Array
) -> tuple[Array, Array]:
    """Both directions by cuDNN, for `x [b, t, d]` in float32: outputs `[b, t, 2h]`, last `[b, 2h]`.

    Only on CUDA, and neither under `vmap` nor spread over devices.
    """
    b, _, d = x.shape
    h = kernel_hidden.shape[1]
    weights = cudnn_weights(kernel_in, kernel_hidden, bias)
    zero = jnp.zeros((2, b, h), x.dtype)
    sizes = {"input_size": d, "hidden_size": h, "num_layers": 1}
    lengths = lengths.astype(jnp.int32)
    found: Any = rnn.lstm(x, zero, zero, weights, lengths, **sizes, dropout=0.0, bidirectional=True)
    outputs, last, _ = found
    return outputs, jnp.concatenate([last[0], last[1]], -1)


def cudnn_weights(kernel_in: Array, kernel_hidden: Array, bias: Array) -> Array:
    """The parameters as cuDNN's flat vector: the matrices of both directions, then two biases."""
    matrices = [w.T.ravel() for pair in zip(kernel_in, kernel_hidden, strict=True) for w in pair]
    biases = [part for one in bias for part in (one, jnp.zeros_like(one))]
    return jnp.concatenate([*matrices, *biases])


def lstm_step(gates: Array, state: State, kernel_hidden: Array) -> State:
    """h and c `[b, h]` after one step; `gates [b, 4h]` is what the input gives, bias included."""
    return _cell(gates, state, kernel_hidden)[0]


def _cell(gates: Array, state: State, kernel_hidden: Array) -> tuple[State, tuple[Array, ...]]:
    """The state after a step, and the gates i, f, g, o."""
    i, f, g, o = parts = _activated(gates + matmul(state[0], kernel_hidden))
    c = f * state[1] + i * g
    return (o * jnp.tanh(c), c), parts


def _activated(gates: Array) -> tuple[Array, Array, Array, Array]:
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


def _states(chunks: Array, h: int, column: int, j: Array) -> Array:
    """Of chunk j a direction's columns, `[k, b, h]`."""
    _, k, b, _ = chunks.shape
    return jax.lax.dynamic_slice(chunks, (j, 0, 0, column), (1, k, b, h))[0]


def _before(
    states: Callable[[Array], Array], n: int, first: Array, j: Array, backwards: Array | bool
) -> Array:
    """The states `[k, b, h]` that the steps of chunk j, of n, started from."""
    k = choose(backwards, j + 1, j - 1)
    near = states(jnp.clip(k, 0, n - 1))[choose(backwards, 0, -1)]
    start = jnp.where((k >= 0) & (k < n), near, first)
    here, start = states(j), start[None]
    later, earlier = jnp.concatenate([here[1:], start]), jnp.concatenate([start, here[:-1]])
    return choose(backwards, later, earlier)


def _put(state: State, rows: State) -> State:
    """A state `[b, h]` with new first rows."""
    put = lambda old, new: jax.lax.dynamic_update_slice(old, new, (0, 0))
    return put(state[0], rows[0]), put(state[1], rows[1])
