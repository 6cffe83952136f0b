"""Decoders that have no golden fixture: by their formulas."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import multivariate_normal

from jaxsdgm.layers.decoders import FeatureDecoder
from jaxsdgm.layers.linear import Linear


def test_feature_decoder_is_a_gaussian_without_its_constant():
    rng = np.random.default_rng(0)
    z, features = rng.normal(size=(5, 3)), rng.normal(size=(5, 4))
    decoder = FeatureDecoder()
    variables = decoder.init(jax.random.key(0), z, features, method="nll")
    mean = variables["params"]["mean"]
    expected = [
        -multivariate_normal.logpdf(h, np.asarray(m, float)) - 2 * np.log(2 * np.pi)
        for h, m in zip(features, z @ mean["kernel"] + mean["bias"], strict=True)
    ]
    actual = decoder.apply(variables, z, features, method="nll")
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_inputs_that_are_the_same_at_all_steps():
    """A Linear's last inputs, once a row, are as if they had been repeated."""
    rng = np.random.default_rng(0)
    x, last = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5))
    repeated = np.concatenate([x, np.repeat(last[:, None], 3, axis=1)], -1)
    layer = Linear(6)
    params = layer.init(jax.random.key(0), repeated)
    assert jax.tree.map(np.shape, params) == jax.tree.map(
        np.shape, layer.init(jax.random.key(0), x, last)
    )
    loss = lambda *x: jnp.sin(layer.apply(*x)).sum()
    found = jax.value_and_grad(loss)(params, x, last)
    expected = jax.value_and_grad(loss)(params, repeated)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, expected)
