"""Recurrences: the reversal, a cell by hand, and padding that never enters."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

from jaxsdgm.layers import chunks, lstm
from jaxsdgm.layers.encoders import TextEncoder
from jaxsdgm.layers.recurrent import GRU, BiLSTM, BiLSTMLayer

B, T, D, H = 3, 6, 4, 5
LENGTHS = np.array([6, 3, 1])


def sequence(seed=0, width=T):
    return np.random.default_rng(seed).normal(size=(B, width, D)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reverse_sequences(x, lengths):
    """`x [b, t, d]` with the first `lengths [b]` steps of each row in reverse; the rest stay."""
    steps = jnp.arange(x.shape[1])
    source = jnp.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return jnp.take_along_axis(x, source[..., None], axis=1)


def test_reverse_sequences():
    x = np.arange(10).reshape(2, 5, 1)
    y = reverse_sequences(x, np.array([3, 5]))[..., 0]
    np.testing.assert_array_equal(y, [[2, 1, 0, 3, 4], [9, 8, 7, 6, 5]])
    np.testing.assert_array_equal(reverse_sequences(y[..., None], np.array([3, 5])), x)


def test_lstm_layer_row_by_row():
    layer, x = BiLSTMLayer(H), sequence()
    params = layer.init(jax.random.key(0), x, LENGTHS)["params"]
    outputs, last = jax.jit(layer.apply)({"params": params}, x, LENGTHS)
    p = jax.device_get(params)

    def walk(direction, steps):
        h, c, states = np.zeros(H), np.zeros(H), []
        for step in steps:
            gates = step @ p["kernel_in"][direction] + h @ p["kernel_hidden"][direction]
            gates = gates + p["bias_in"][direction] + p["bias_hidden"][direction]
            i, f, g, o = np.split(gates, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            states.append(h)
        return np.array(states)

    for row, n in enumerate(LENGTHS):
        forward, backward = walk(0, x[row, :n]), walk(1, x[row, :n][::-1])
        expected = np.concatenate([forward, backward[::-1]], -1)
        np.testing.assert_allclose(outputs[row, :n], expected, atol=1e-6)
        np.testing.assert_array_equal(outputs[row, n:], 0)
        np.testing.assert_allclose(last[row], np.append(forward[-1], backward[-1]), atol=1e-6)


def test_gru_step_by_step():
    gru, x = GRU(H), sequence()
    first = np.random.default_rng(1).normal(size=(B, H)).astype(np.float32)
    params = gru.init(jax.random.key(0), x, first)["params"]
    states = jax.jit(gru.apply)({"params": params}, x, first)
    p, h = jax.device_get(params), first
    for t in range(T):
        r, z, n = np.split(x[:, t] @ p["kernel_in"] + p["bias_in"], 3, -1)
        hidden_r, hidden_z, hidden_n = np.split(h @ p["kernel_hidden"] + p["bias_hidden"], 3, -1)
        z, r = sigmoid(z + hidden_z), sigmoid(r + hidden_r)
        h = (1 - z) * np.tanh(n + r * hidden_n) + z * h
        np.testing.assert_allclose(states[:, t], h, atol=1e-6)


def test_padding_never_enters():
    lstm, x = BiLSTM(H, layers=2), sequence()
    row = np.arange(B)
    params = lstm.init(jax.random.key(0), x, LENGTHS, row, train=False)["params"]
    apply = jax.jit(lambda x: lstm.apply({"params": params}, x, LENGTHS, row, train=False))
    real = np.arange(T + 4)[:, None] < LENGTHS[:, None, None]
    padded = np.concatenate([x, np.zeros((B, 4, D), np.float32)], 1)
    outputs, last = apply(x)
    for filling in (0.0, 1e3):
        wide_outputs, wide_last = apply(np.where(real, padded, np.float32(filling)))
        np.testing.assert_allclose(wide_last, last, atol=1e-6)
        np.testing.assert_allclose(wide_outputs[:, :T], outputs, atol=1e-6)
        np.testing.assert_array_equal(wide_outputs[:, T:], 0)


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_is_between_layers_only(layers):
    lstm, x, row = BiLSTM(H, layers, dropout=0.5), sequence(), np.arange(B)
    params = lstm.init(jax.random.key(0), x, LENGTHS, row, train=False)
    still = lstm.apply(params, x, LENGTHS, row, train=False)[1]
    keys = {"dropout": jax.random.key(1)}
    noisy = lstm.apply(params, x, LENGTHS, row, train=True, rngs=keys)[1]
    assert bool((still == noisy).all()) == (layers == 1)


# -- back ends of the LSTM ---------------------------------------------------------------------


@pytest.fixture
def x64():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def plain_scan(x, kernel_in, kernel_hidden, bias, lengths):
    """A layer step by step over all rows, differentiated by JAX."""
    both = jnp.stack([x, reverse_sequences(x, lengths)]).transpose(2, 0, 1, 3)  # t 2 b d

    def step(state, inputs):
        h, c = state
        token, number = inputs
        gates = jnp.einsum("sbd,sdg->sbg", token, kernel_in) + bias[:, None]
        i, f, g, o = jnp.split(gates + jnp.einsum("sbh,shg->sbg", h, kernel_hidden), 4, -1)
        new_c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        keep = (number < lengths)[:, None]
        new = jax.nn.sigmoid(o) * jnp.tanh(new_c)
        state = jnp.where(keep, new, h), jnp.where(keep, new_c, c)
        return state, jnp.where(keep, new, 0)

    zero = jnp.zeros((2, x.shape[0], kernel_hidden.shape[1]), x.dtype)
    (last, _), outputs = jax.lax.scan(step, (zero, zero), (both, jnp.arange(x.shape[1])))
    forward, backward = outputs.transpose(1, 2, 0, 3)
    outputs = jnp.concatenate([forward, reverse_sequences(backward, lengths)], -1)
    return outputs, jnp.concatenate([*last], -1)


def layer_scan(backend, x, kernel_in, kernel_hidden, bias, lengths):
    """The same by a back end of `BiLSTMLayer`."""
    params = {"kernel_in": kernel_in, "kernel_hidden": kernel_hidden}
    params |= {"bias_in": bias, "bias_hidden": jnp.zeros_like(bias)}
    return BiLSTMLayer(H, backend).apply({"params": params}, x, lengths)


def problem(b, t, dtype=np.float64):
    """Inputs, parameters and sorted lengths."""
    rng = np.random.default_rng(0)
    lengths = np.sort(rng.integers(1, t + 1, b))[::-1].astype(np.int32)
    shapes = (b, t, D), (2, D, 4 * H), (2, H, 4 * H), (2, 4 * H)
    return (*(rng.normal(size=s).astype(dtype) for s in shapes), lengths.copy())


@pytest.mark.parametrize("backend", ["scan", "packed"])
@pytest.mark.parametrize(("b", "t"), [(1, 1), (3, 5), (9, 16), (40, 37)])
@pytest.mark.parametrize("kept", [0, lstm.KEPT])
@pytest.mark.parametrize("few", [0, chunks.FEW])
def test_values_and_gradients_of_the_scan(x64, monkeypatch, few, kept, backend, b, t):
    monkeypatch.setattr(lstm, "KEPT", kept)
    monkeypatch.setattr(chunks, "FEW", few)
    *arguments, lengths = problem(b, t)

    def value(scan, *arguments):
        outputs, last = scan(*arguments)
        wave = jnp.cos(jnp.arange(outputs.size).reshape(outputs.shape))
        return (wave * outputs).sum() + (last**3).sum(), (outputs, last)

    ours = lambda *a: layer_scan(backend, *a, lengths)
    theirs = lambda *a: plain_scan(*a, lengths)
    every = {"argnums": (0, 1, 2, 3), "has_aux": True}
    found, expected = (
        jax.jit(jax.grad(partial(value, scan), **every))(*arguments) for scan in (ours, theirs)
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_the_scan_under_vmap(x64):
    *arguments, lengths = problem(5, 7)
    both = [np.stack([x, 2 * x]) for x in arguments]
    run = jax.vmap(lambda *a: layer_scan("scan", *a, lengths)[1])
    expected = plain_scan(*(2 * x for x in arguments), lengths)[1]
    np.testing.assert_allclose(run(*both)[1], expected, rtol=1e-9)


def test_cudnn_has_the_same_parameters():
    """By JAX's own reference for what cuDNN computes, since there may be no CUDA here."""
    x, *parameters, lengths = problem(3, 6, np.float32)
    weights = lstm.cudnn_weights(*parameters)
    zero = jnp.zeros((2, 3, H))
    unpacked = rnn.unpack_lstm_weights(weights, D, H, 1, True)
    outputs, last, _ = rnn.lstm_ref(x, zero, zero, *unpacked, lengths, D, H, 1, 0.0, True)
    ours, ours_last = layer_scan("scan", x, *parameters, lengths)
    np.testing.assert_allclose(outputs[..., :H], ours[..., :H], atol=1e-5)
    np.testing.assert_allclose(jnp.concatenate([*last], -1), ours_last, atol=1e-5)


def test_a_packed_encoder_gives_its_rows_in_their_order():
    fields = {"embedding": D, "hidden": H, "dropout": 0.3, "pooling": "mean+words"}
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 20, 30).astype(np.int32)
    ids = (rng.integers(1, 9, (30, 20)) * (np.arange(20) < lengths[:, None])).astype(np.int32)
    rows = {"ids": ids, "lengths": lengths, "row": np.arange(30)}
    scan = TextEncoder({"en": 9}, **fields)
    variables = scan.init(jax.random.key(0), rows, language="en", train=False)
    apply = partial(scan.apply, variables, rows, language="en", train=True)
    found = scan.clone(backend="packed").apply(
        variables, rows, language="en", train=True, rngs={"dropout": jax.random.key(1)}
    )
    np.testing.assert_allclose(found, apply(rngs={"dropout": jax.random.key(1)}), atol=1e-6)
