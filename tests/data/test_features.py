"""Scaled features, and the cache that makes them once."""

import numpy as np
import pytest

from jaxsdgm.data import features
from jaxsdgm.data.features import Scaling, cached
from jaxsdgm.errors import UserError

X = np.random.default_rng(0).normal(1.0, [1.0, 2.0, 5.0], (40, 3)).astype(np.float32)


def test_scaling():
    scaled = Scaling.of(X)(X)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(np.mean(scaled**2), 1, rtol=1e-5)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    spread = (unit - unit.mean(0)).std(0)
    np.testing.assert_allclose(scaled.std(0) / scaled.std(0)[0], spread / spread[0], rtol=1e-5)


def test_scaling_comes_back_from_its_file(tmp_path):
    scaling = Scaling.of(X)
    scaling.save(tmp_path / "features.npz")
    np.testing.assert_array_equal(Scaling.load(tmp_path / "features.npz")(X), scaling(X))


@pytest.mark.parametrize("content", [None, b"PK\x03\x04 no archive"])
def test_a_missing_or_damaged_scaling(tmp_path, content):
    path = tmp_path / "features.npz"
    if content:
        path.write_bytes(content)
    with pytest.raises(UserError, match="features.npz: not readable"):
        Scaling.load(path)


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    """An encoder that counts its calls, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def encode(texts):
        encode.calls += 1
        return np.array([[len(text)] for text in texts], np.float32)

    encode.calls = 0
    return encode


def test_the_cache_knows_texts_and_key(encoder):
    for _ in range(2):
        np.testing.assert_array_equal(cached(encoder, ["ab", "c"], key="k"), [[2], [1]])
    assert encoder.calls == 1
    cached(encoder, ["a", "bc"], key="k")  # the same letters, other documents
    cached(encoder, ["ab", "c"], key="another")
    assert encoder.calls == 3


def test_a_damaged_file_is_made_again(encoder):
    cached(encoder, ["ab"], key="k")
    (path,) = features.cache_folder().iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    np.testing.assert_array_equal(cached(encoder, ["ab"], key="k"), [[2]])
    assert encoder.calls == 2
    assert [p.name for p in features.cache_folder().iterdir()] == [path.name]
