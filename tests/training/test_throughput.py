"""Counted arithmetic, and the line about it."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.layers.recurrent import BiLSTM
from jaxsdgm.layers.softmax import softmax_nll
from jaxsdgm.training.state import adam, create_state
from jaxsdgm.training.throughput import message, step_flops

B, T, D, H, V = 6, 16, 4, 5, 30


@pytest.mark.parametrize("backend", ["scan", "packed"])
def test_a_bilstm(backend):
    """Both directions of both layers, padding included."""
    lstm, x = BiLSTM(H, 2, backend=backend), np.zeros((B, T, D), np.float32)
    lengths, row = np.full(B, T, np.int32), np.arange(B)
    variables = lstm.init(jax.random.key(0), x, lengths, row, train=False)

    def objective(params, stats, batch, **rest):
        return lstm.apply(params, x, lengths, row, train=False)[1].sum()

    expected = 2 * 2 * B * T * 4 * H * (D + H + 2 * H + H)
    assert flops_of(objective, variables) == {"float32": 3 * expected}


def test_the_likelihood_of_words():
    rng = np.random.default_rng(0)
    params = rng.normal(size=(B, D)), rng.normal(size=(V, D)), rng.normal(size=V)
    params = [x.astype(np.float32) for x in params]

    def objective(params, stats, batch, **rest):
        return softmax_nll(*params, jnp.ones((B, 3), int), True).sum()

    assert flops_of(objective, params) == {"float32": 3 * 2 * B * D * V}


def flops_of(objective, params):
    state = create_state({"params": {"all": params}}, adam(), seed=0, hyper={})
    inner = lambda params, *rest, **more: objective(params["all"], *rest, **more)
    rows = {name: np.zeros((1, 1, 1), np.int32) for name in ("index", "row", "mask")}
    plan, data = {"en": {"all": rows}}, {"en": {"all": {"x": np.zeros((1, 1))}}}
    return step_flops(inner, jax.tree.map(lambda x: jnp.asarray(x)[None], state), data, plan)


def device(kind):
    return SimpleNamespace(device_kind=kind)


def test_share_of_the_peak():
    flops = {"bfloat16": 989e12, "float32": 495e12}
    assert message(flops, 4.0, [device("NVIDIA H200")]) == "371 TFLOP/s (50% of the peak)"
    assert message(flops, 4.0, [device("NVIDIA H200")] * 2) == "371 TFLOP/s (25% of the peak)"
    assert message({"float32": 3e6}, 1.0, [device("cpu")]) == "3 MFLOP/s (no peak known of cpu)"
    assert "no peak known of Tesla T4" in message(flops, 1.0, [device("Tesla T4")])
