"""The GRU in both directions against one step by step, in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.layers import chunks
from jaxsdgm.layers.recurrent import GRU, bigru

B, T, H = 6, 11, 5
LENGTHS = np.array([11, 9, 9, 4, 1, 0])


@pytest.fixture(autouse=True)
def _double():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def problem():
    rng = np.random.default_rng(0)
    shapes = (2, B, T, 3 * H), (2, H, 3 * H), (2, 3 * H)
    return [jnp.asarray(rng.normal(size=shape)) for shape in shapes]


def step(h, gate, kernel, bias):
    x_r, x_z, x_n = jnp.split(gate, 3, -1)
    m_r, m_z, m_n = jnp.split(h @ kernel + bias, 3, -1)
    r, z = jax.nn.sigmoid(x_r + m_r), jax.nn.sigmoid(x_z + m_z)
    return (1 - z) * jnp.tanh(x_n + r * m_n) + z * h


def by_hand(gates, kernel, bias):
    """Row by row, each only as long as it is."""
    outputs, last = jnp.zeros((B, T, 2 * H)), jnp.zeros((B, 2 * H))
    for way in (0, 1):
        part = slice(way * H, (way + 1) * H)
        for row, n in enumerate(LENGTHS):
            h = jnp.zeros(H)
            for t in range(n)[:: 1 - 2 * way]:
                h = step(h, gates[way, row, t], kernel[way], bias[way])
                outputs = outputs.at[row, t, part].set(h)
            last = last.at[row, part].set(h)
    return outputs, last


@pytest.mark.parametrize("packs", [1, 2, 4])
@pytest.mark.parametrize("few", [0, chunks.FEW])
def test_both_directions(monkeypatch, few, packs):
    monkeypatch.setattr(chunks, "FEW", few)
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(B, T, 2 * H)), rng.normal(size=(B, 2 * H))

    def loss(function):
        def total(*arguments):
            outputs, last = function(*arguments)
            return (outputs * weights[0]).sum() + (last * weights[1]).sum(), (outputs, last)

        return jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))

    found = loss(lambda *x: bigru(*x, jnp.asarray(LENGTHS), packs))(*problem())
    wanted = loss(by_hand)(*problem())
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_one_direction_from_a_state():
    """As the decoder uses it; the gradient of the first state too."""
    rng = np.random.default_rng(2)
    x, first = jnp.asarray(rng.normal(size=(2, 7, 3))), jnp.asarray(rng.normal(size=(2, H)))
    layer = GRU(H, param_dtype=jnp.float64)
    params = layer.init(jax.random.key(0), x, first)["params"]

    def plain(params, x, first):
        gates, h, found = x @ params["kernel_in"] + params["bias_in"], first, []
        for t in range(7):
            h = step(h, gates[:, t], params["kernel_hidden"], params["bias_hidden"])
            found.append(h)
        return jnp.stack(found, 1)

    ours = lambda params, x, first: layer.apply({"params": params}, x, first)
    grad = lambda f: jax.jit(jax.grad(lambda *a: (f(*a) ** 2).sum(), argnums=(0, 1, 2)))
    np.testing.assert_allclose(ours(params, x, first), plain(params, x, first), rtol=1e-12)
    found, wanted = (jax.tree.leaves(grad(f)(params, x, first)) for f in (ours, plain))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
