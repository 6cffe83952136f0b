"""Decoders that have no golden fixture: by their formulas."""

import jax
import numpy as np
from scipy.stats import multivariate_normal

from jaxsdgm.layers.decoders import FeatureDecoder


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
