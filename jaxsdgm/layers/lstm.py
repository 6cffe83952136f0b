"""The recurrence of a bidirectional LSTM layer: three back ends, one set of parameters.

All take `kernel_in [2, d, 4h]`, `kernel_hidden [2, h, 4h]` and `bias [2, 4h]`, gates stacked i, f,
g, o: c' = s(f) c + s(i) tanh(g); h' = s(o) tanh(c').
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import rnn

from jaxsdgm.distributions import at_least_float32

#: steps whose input projections are one matrix product, and whose gates exist at a time
CHUNK = 16
#: a chunk of steps works on the first k / PACKS of the rows, as few as hold its tokens
PACKS = 8

State = tuple[Array, Array]  # h and c, [2, b, h] each


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def lstm_scan(
    x: Array, kernel_in: Array, kernel_hidden: Array, bias: Array, lengths: Array, packs: int
) -> tuple[Array, Array]:
    """Both directions in one loop over `x [t, 2, b, d]`, the second one's steps in reverse order.

    Gates are computed again in the backward pass: of a step there remain h and c, a third of
    what the gates and these would take, for a third more arithmetic.

    Args:
      x: inputs; the rows' tokens are their first `lengths` steps in both directions.
      lengths: `[b]` >= 1.
      packs: 1, or PACKS where the rows are sorted, longest first: then no work is done for rows
        that have ended, but for a fraction 1 / packs. Only outside `vmap`, which would do the work
        of all sizes.

    Returns:
      Outputs `[t, 2, b, h]`, 0 beyond a row's length, and the last states `[2, b, h]`.
    """
    return _forward(x, kernel_in, kernel_hidden, bias, lengths, packs)[0]


def _forward(
    x: Array, kernel_in: Array, kernel_hidden: Array, bias: Array, lengths: Array, packs: int
) -> Any:
    b, h = x.shape[2], kernel_hidden.shape[1]
    chunks = _chunks(x)
    starts = CHUNK * jnp.arange(len(chunks))
    steps = {size: partial(_chunk, size) for size in _sizes(b, packs)}

    def body(state: State, inputs: tuple[Array, Array]) -> tuple[State, State]:
        chunk, start = inputs
        parameters = kernel_in, kernel_hidden, bias, lengths
        return _switch(steps, lengths, start)(chunk, state, start, *parameters)

    zero = jnp.zeros((2, b, h), x.dtype)
    (last, _), (hs, cs) = jax.lax.scan(body, (zero, zero), (chunks, starts))
    outputs = jnp.where(_valid(x, lengths), _joined(hs, len(x)), 0)
    return (outputs, last), (x, kernel_in, kernel_hidden, bias, lengths, hs, cs)


def _chunk(
    size: int,
    x: Array,
    state: State,
    start: Array,
    kernel_in: Array,
    kernel_hidden: Array,
    bias: Array,
    lengths: Array,
) -> tuple[State, State]:
    """CHUNK steps of the first `size` rows: the new state, and h and c after every step."""
    b = x.shape[2]
    gates = jnp.einsum("tsbd,sdg->tsbg", x[:, :, :size], kernel_in) + bias[:, None]
    keep = (start + jnp.arange(len(x)))[:, None, None] < lengths[:size, None]  # t b 1

    def step(state: State, inputs: tuple[Array, Array]) -> tuple[State, State]:
        gate, keep = inputs
        i, f, g, o = _activated(gate + jnp.einsum("sbh,shg->sbg", state[0], kernel_hidden))
        c = f * state[1] + i * g
        new = jnp.where(keep, o * jnp.tanh(c), state[0]), jnp.where(keep, c, state[1])
        return new, new

    first = state[0][:, :size], state[1][:, :size]
    last, every = jax.lax.scan(step, first, (gates, keep))
    return _put(state, last), jax.tree.map(partial(_widen, b), every)


def _backward(packs: int, residuals: Any, gradients: tuple[Array, Array]) -> Any:
    x, kernel_in, kernel_hidden, bias, lengths, hs, cs = residuals
    d_outputs = _chunks(jnp.where(_valid(x, lengths), gradients[0], 0))
    chunks = _chunks(x)
    steps = {size: partial(_chunk_backward, size) for size in _sizes(x.shape[2], packs)}

    def body(carry: Any, j: Array) -> tuple[Any, Array]:
        d_state, d_parameters = carry
        values = chunks[j], _before(hs, j), _before(cs, j), cs[j], d_outputs[j]
        parameters = kernel_in, kernel_hidden, bias, lengths
        arguments = (values, d_state, CHUNK * j, *parameters)
        d_x, d_state, more = _switch(steps, lengths, CHUNK * j)(*arguments)
        return (d_state, jax.tree.map(jnp.add, d_parameters, more)), d_x

    d_state = gradients[1], jnp.zeros_like(gradients[1])
    zeros = [at_least_float32(jnp.zeros_like(p)) for p in (kernel_in, kernel_hidden, bias)]
    numbers = jnp.arange(len(chunks))
    (_, d_parameters), d_x = jax.lax.scan(body, (d_state, zeros), numbers, reverse=True)
    of_kind = [d.astype(x.dtype) for d in d_parameters]
    return _joined(d_x, len(x)), *of_kind, None


def _chunk_backward(
    size: int,
    values: tuple[Array, ...],
    d_state: State,
    start: Array,
    kernel_in: Array,
    kernel_hidden: Array,
    bias: Array,
    lengths: Array,
) -> tuple[Array, State, list[Array]]:
    """Gradients of a chunk's inputs, of the state before it, and of the parameters."""
    b = values[0].shape[2]
    x, h0, c0, c, d_h = (value[:, :, :size] for value in values)
    gates = jnp.einsum("tsbd,sdg->tsbg", x, kernel_in) + bias[:, None]
    i, f, g, o = _activated(gates + jnp.einsum("tsbh,shg->tsbg", h0, kernel_hidden))
    tanh_c = jnp.tanh(c)
    keep = (start + jnp.arange(len(x)))[:, None, None] < lengths[:size, None]  # t b 1

    def step(carry: State, inputs: Any) -> tuple[State, Array]:
        i, f, g, o, tanh_c, c0, d_h, keep = inputs
        d_h = carry[0] + d_h
        d_c = carry[1] + d_h * o * (1 - tanh_c**2)
        parts = d_c * g * i * (1 - i), d_c * c0 * f * (1 - f), d_c * i * (1 - g**2)
        d_gate = jnp.concatenate([*parts, d_h * tanh_c * o * (1 - o)], -1)
        d_gate = jnp.where(keep, d_gate, 0)
        d_h0 = jnp.einsum("sbg,shg->sbh", d_gate, kernel_hidden)
        return (jnp.where(keep, d_h0, d_h), jnp.where(keep, d_c * f, carry[1])), d_gate

    first = d_state[0][:, :size], d_state[1][:, :size]
    inputs = (i, f, g, o, tanh_c, c0, d_h, keep)
    last, d_gates = jax.lax.scan(step, first, inputs, reverse=True)
    d_x = jnp.einsum("tsbg,sdg->tsbd", d_gates, kernel_in)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    d_parameters = [
        jnp.einsum("tsbd,tsbg->sdg", x, d_gates, preferred_element_type=wide),
        jnp.einsum("tsbh,tsbg->shg", h0, d_gates, preferred_element_type=wide),
        at_least_float32(d_gates).sum((0, 2)),
    ]
    return _widen(b, d_x), _put(d_state, last), d_parameters


lstm_scan.defvjp(_forward, _backward)


def lstm_cudnn(
    x: Array, kernel_in: Array, kernel_hidden: Array, bias: Array, lengths: Array
) -> tuple[Array, Array]:
    """The same layer by cuDNN, for `x [b, t, d]` in float32: outputs `[b, t, 2h]`, last `[b, 2h]`.

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


# -- chunks and packs ------------------------------------------------------------------------------


def _activated(gates: Array) -> tuple[Array, Array, Array, Array]:
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


def _chunks(x: Array) -> Array:
    """`[t, ...]` as `[t / CHUNK, CHUNK, ...]`, filled up with zeros."""
    n = -(-len(x) // CHUNK)
    x = jnp.pad(x, [(0, n * CHUNK - len(x))] + [(0, 0)] * (x.ndim - 1))
    return x.reshape(n, CHUNK, *x.shape[1:])


def _joined(chunks: Array, t: int) -> Array:
    return chunks.reshape(-1, *chunks.shape[2:])[:t]


def _valid(x: Array, lengths: Array) -> Array:
    return (jnp.arange(len(x))[:, None] < lengths)[:, None, :, None]  # t 1 b 1


def _before(states: Array, j: Array) -> Array:
    """The states `[CHUNK, 2, b, h]` that the steps of chunk j started from."""
    first = jnp.where(j > 0, states[jnp.maximum(j - 1, 0), -1], 0)
    return jnp.concatenate([first[None], states[j][:-1]])


def _sizes(b: int, packs: int) -> list[int]:
    return sorted({-(-b * k // packs) for k in range(1, packs + 1)})


def _switch(
    steps: Mapping[int, Callable[..., Any]], lengths: Array, start: Array
) -> Callable[..., Any]:
    """The first of {rows: step} (ascending) that holds all rows with tokens beyond `start`."""
    if len(steps) == 1:
        return next(iter(steps.values()))
    too_small = jnp.asarray(list(steps)) < (lengths > start).sum()
    return partial(jax.lax.switch, too_small.sum(), list(steps.values()))


def _put(state: State, rows: State) -> State:
    """A state `[2, b, h]` with new first rows."""
    put = lambda old, new: jax.lax.dynamic_update_slice(old, new, (0, 0, 0))
    return put(state[0], rows[0]), put(state[1], rows[1])


def _widen(b: int, x: Array) -> Array:
    """`[..., rows, h]` filled up with zeros to `b` rows."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, b - x.shape[-2]), (0, 0)])
