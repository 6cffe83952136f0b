"""Recurrences: the reversal, a cell by hand, and padding that never enters."""

import jax
import numpy as np
import pytest

from jaxsdgm.layers.recurrent import GRU, BiLSTM, BiLSTMLayer, reverse_sequences

B, T, D, H = 3, 6, 4, 5
LENGTHS = np.array([6, 3, 1])


def sequence(seed=0, width=T):
    return np.random.default_rng(seed).normal(size=(B, width, D)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


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
