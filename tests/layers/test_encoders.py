"""Embeddings and pooling: what PAD is worth, which is nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.layers.decoders import BagOfWordsDecoder, GRUDecoder
from jaxsdgm.layers.encoders import PAD, POOLING, Embedding, TextEncoder

IDS = np.array([[3, 1, 4, PAD, PAD], [1, 5, 2, 4, 3]], np.int32)
LENGTHS = np.array([3, 5], np.int32)
ROW = np.arange(2)
V, E = 7, 4


def test_pad_is_zero_and_gets_no_gradient():
    embedding = Embedding(V, E)
    params = embedding.init(jax.random.key(0), IDS, ROW, train=False)["params"]
    table = np.asarray(params["table"])
    np.testing.assert_array_equal(table[PAD], 0)
    assert (np.abs(table[1:]) <= 0.5 / E).all()
    params = {"table": params["table"].at[PAD].set(9.0)}  # not even then
    vectors = embedding.apply({"params": params}, IDS, ROW, train=False)
    np.testing.assert_array_equal(vectors[0, 3:], 0)
    np.testing.assert_array_equal(vectors[1], table[IDS[1]])
    total = lambda p: (embedding.apply({"params": p}, IDS, ROW, train=False) ** 2).sum()
    gradient = jax.grad(total)(params)["table"]
    np.testing.assert_array_equal(gradient[PAD], 0)
    assert (gradient[1:6] != 0).any(1).all()
    np.testing.assert_array_equal(gradient[6], 0)  # not in the batch


@pytest.mark.parametrize("make", [BagOfWordsDecoder, GRUDecoder])
def test_a_decoder_gives_pad_no_gradient_either(make):
    decoder, table = make(V), jnp.ones((V, E))
    z = np.random.default_rng(0).normal(size=(2, E)).astype(np.float32)
    init = lambda key: decoder.init(key, z, IDS, table, method="nll")
    variables = jax.jit(init)(jax.random.key(0))
    total = lambda table: decoder.apply(variables, z, IDS, table, method="nll").sum()
    gradient = jax.jit(jax.grad(total))(table)
    np.testing.assert_array_equal(gradient[PAD], 0)
    assert (gradient[1:6] != 0).any(1).all()


def test_rows_beyond_the_words_of_a_table_are_no_words():
    decoder, rng = BagOfWordsDecoder(V), np.random.default_rng(0)
    z, table = rng.normal(size=(2, E)).astype(np.float32), rng.normal(size=(V + 3, E))
    variables = decoder.init(jax.random.key(0), z, IDS, table, method="nll")
    found = decoder.apply(variables, z, IDS, table, method="nll")
    np.testing.assert_allclose(found, decoder.apply(variables, z, IDS, table[:V], method="nll"))
    log_p = jax.nn.log_softmax(decoder.apply(variables, z, table, method="logits"))
    by_hand = -(np.take_along_axis(log_p, IDS, 1) * (IDS != PAD)).sum(1)
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)


def test_pooling_by_hand():
    rng = np.random.default_rng(0)
    words = rng.normal(size=(2, 5, E)) * (IDS != PAD)[..., None]
    outputs = -1 - rng.random((2, 5, 6))  # negative: zeros at padding would be the maximum
    mask = np.arange(5)[:, None] < LENGTHS[:, None, None]
    outputs = outputs * mask
    last = rng.normal(size=(2, 6))
    pooled = {name: pool(words, outputs, last, mask) for name, pool in POOLING.items()}
    for row, n in enumerate(LENGTHS):
        real = outputs[row, :n]
        np.testing.assert_allclose(pooled["mean"][row], real.mean(0), rtol=1e-6)
        np.testing.assert_allclose(pooled["max"][row], real.max(0), rtol=1e-6)
        np.testing.assert_allclose(pooled["words"][row], words[row, :n].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(pooled["last"], last)


def test_padding_does_not_change_a_document():
    rows = lambda ids: {"ids": ids, "lengths": LENGTHS, "row": ROW}
    encoder = TextEncoder({"en": V, "de": 9}, E, 3, 2, 0.2, "last+mean+max+words")
    call = {"language": "en", "train": False}
    init = lambda key: encoder.init(key, rows(IDS), **call)
    variables = jax.jit(init)(jax.random.key(0))
    assert "embeddings_de" not in variables["params"]  # a language that was not asked for
    apply = jax.jit(lambda ids: encoder.apply(variables, rows(ids), **call))
    wide = np.pad(IDS, ((0, 0), (0, 3)), constant_values=PAD)
    h = apply(IDS)
    assert h.shape == (2, 3 * 6 + E)
    np.testing.assert_allclose(apply(wide), h, atol=1e-6)
