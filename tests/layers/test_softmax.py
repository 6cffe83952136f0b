"""The tiled likelihood of words against one softmax over the vocabulary."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.layers import softmax
from jaxsdgm.layers.softmax import softmax_nll

V, E = 23, 4


@pytest.fixture
def x64():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def problem(n, t):
    """Rows with words that repeat, with PAD in between, and without a word."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, V, (n, t)) * (rng.random((n, 1)) < 0.8)
    return rng.normal(size=(n, E)), rng.normal(size=(V, E)), rng.normal(size=V), ids


def plain_nll(z, table, bias, ids, silent_pad):
    """The sum over positions."""
    scores = z @ table.T
    if silent_pad:
        scores = scores.at[:, 0].set(0)
    log_p = jax.nn.log_softmax(scores + bias)
    return -jnp.where(ids != 0, jnp.take_along_axis(log_p, ids, 1), 0).sum(-1)


@pytest.mark.parametrize("silent_pad", [True, False])
@pytest.mark.parametrize("tile", [(11, 23, True), (11, 23), (11, 7), (3, 7), (4, 23)])
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("by_columns", [False, True])
def test_values_and_gradients(x64, monkeypatch, tile, silent_pad, batched, by_columns):
    size = softmax.Size(*tile, *[False] * (3 - len(tile)))
    monkeypatch.setattr(softmax, "_tile", lambda ids, v, keeps: size)
    *arguments, ids = problem(11, 6)

    def ours(z, table, *rest):
        return softmax_nll(z, table.T if by_columns else table, *rest, by_columns)

    def total(nll, z, table, bias):
        values = nll(z, table, bias, ids, silent_pad)
        return (values * jnp.cos(jnp.arange(11))).sum(), values

    found, expected = (
        jax.grad(partial(total, nll), argnums=(0, 1, 2), has_aux=True) for nll in (ours, plain_nll)
    )
    if batched:
        arguments = [np.stack([x, 2 * x]) for x in arguments]
        found, expected = jax.vmap(found), jax.vmap(expected)
    pairs = zip(
        jax.tree.leaves(jax.jit(found)(*arguments)),
        jax.tree.leaves(jax.jit(expected)(*arguments)),
        strict=True,
    )
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_bfloat16_sums_in_float32():
    z, table, bias, ids = problem(5, 6)
    exact = plain_nll(z, jnp.asarray(table), bias, ids, True)
    low = [jnp.asarray(x, jnp.bfloat16) for x in (z, table)]
    nll = softmax_nll(*low, jnp.asarray(bias, jnp.float32), ids, True)
    assert nll.dtype == jnp.float32
    np.testing.assert_allclose(nll, exact, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("by_columns", [False, True])
@pytest.mark.parametrize("tile", [(5, 23, True), (5, 7), (2, 7)])
def test_gradients_in_bfloat16(monkeypatch, tile, by_columns):
    """Compiled, since the compiler has no code for some forms of bfloat16's products."""
    size = softmax.Size(*tile, *[False] * (3 - len(tile)))
    monkeypatch.setattr(softmax, "_tile", lambda ids, v, keeps: size)
    z, table, bias, ids = problem(5, 6)

    def ours(z, table, bias):
        table = table.T if by_columns else table
        return softmax_nll(z, table, bias, ids, True, by_columns).sum()

    plain = lambda *arguments: plain_nll(*arguments, ids, True).sum()
    low = [jnp.asarray(x, jnp.bfloat16) for x in (z, table)]
    rest = jnp.asarray(bias, jnp.float32)
    found = jax.jit(jax.grad(ours, (0, 1, 2)))(*low, rest)
    exact = jax.grad(plain, (0, 1, 2))(*[x.astype(jnp.float32) for x in low], rest)
    for a, b in zip(found, exact, strict=True):
        np.testing.assert_allclose(a.astype(jnp.float32), b, rtol=0.03, atol=0.05)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_products_of_few_digits_have_the_whole_bias(monkeypatch, dtype):
    """The bias is a factor of the product; a GPU reads float32's factors as tensorfloat32."""
    monkeypatch.setattr(softmax, "_summands", lambda dtype: 3)
    bias = np.random.default_rng(0).normal(size=V).astype(np.float32) * 10
    nothing = jnp.zeros((V, E), dtype)
    assert (softmax._exactly(bias, dtype).astype(np.float32).sum(-1) == bias).all()
    nll = softmax_nll(nothing, nothing, bias, np.arange(V)[:, None], False)
    np.testing.assert_allclose(nll[1:], -jax.nn.log_softmax(bias)[1:], rtol=1e-6)
    bias[0] = -np.inf  # of what is no word
    nll = softmax_nll(nothing, nothing, bias, np.arange(V)[:, None], False)
    np.testing.assert_allclose(nll[1:], -jax.nn.log_softmax(bias)[1:], rtol=1e-6)


def test_few_logits_are_kept_only_if_asked():
    assert softmax._tile(np.ones((300, 1)), 6000, True) == (300, 6000, True)
    assert not softmax._tile(np.ones((300, 1)), 6000, False).all
    assert not softmax._tile(np.ones((300, 1)), 60_000, True).all
    assert not softmax._tile(np.ones((1500, 1)), 6000, True).all


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("v", [40_000, 250_000])
def test_logits_are_never_whole(v, keeps):
    """The temporary memory of a step does not hold `[n, v]`, let alone twice."""
    n, t = 512, 64
    shapes = [((n, E), float), ((v, E), float), ((v,), float), ((n, t), int)]
    arguments = [jax.ShapeDtypeStruct(shape, kind) for shape, kind in shapes]
    total = lambda z, table, bias, ids: softmax_nll(z, table, bias, ids, True, False, keeps).sum()
    compiled = jax.jit(jax.grad(total, argnums=(0, 1, 2))).lower(*arguments).compile()
    analysis = compiled.memory_analysis()
    assert analysis.temp_size_in_bytes < 60 * 2**20 + v * (E + 1) * 4
