"""Masking and its likelihood: the statistics of the one, and the other beside dense logits."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.data.bert_tokenizers import CLS, MASK, PAD, SEP, SPECIAL, UNK
from jaxsdgm.layers.bert import BertEncoder, BertSize, gelu
from jaxsdgm.models.masked_lm import MaskedLM, mask_tokens
from jaxsdgm.models.terms import no_noise

VOCABULARY, WIDTH = 50, 40
KEY = jax.random.key(3)
MASK_TOKENS = jax.jit(
    partial(mask_tokens, vocab_size=VOCABULARY), static_argnames=("share", "most")
)


def sequences(n, width=WIDTH, seed=0):
    """Random words in [CLS] A [SEP] B [SEP], some unknown, of random lengths."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(6, width + 1, n)
    lengths[0] = width
    ids = rng.integers(len(SPECIAL), VOCABULARY, (n, width))
    ids = np.where(rng.random(ids.shape) < 0.1, UNK, ids)
    second = lengths // 2
    where = np.arange(width)
    ids[:, 0] = CLS
    ids = np.where((where == second[:, None] - 1) | (where == lengths[:, None] - 1), SEP, ids)
    ids = np.where(where >= lengths[:, None], PAD, ids)
    found = {"ids": ids, "lengths": lengths, "second": second, "row": np.arange(n)}
    return {name: jnp.asarray(x, jnp.int32) for name, x in found.items()}


def masked(rows, share=0.15, most=30, key=KEY):
    arguments = (rows["ids"], rows["lengths"], rows["row"])
    return jax.tree.map(np.asarray, MASK_TOKENS(key, *arguments, share=share, most=most))


def test_how_many_and_where():
    rows = sequences(400)
    found, ids = masked(rows), np.asarray(rows["ids"])
    chosen = found.targets != PAD
    candidates = (ids >= len(SPECIAL)).sum(1)
    wanted = np.clip(np.round(0.15 * np.asarray(rows["lengths"])), 1, 6)
    np.testing.assert_array_equal(chosen.sum(1), np.minimum(wanted, candidates))
    old = np.take_along_axis(ids, found.positions, 1)
    np.testing.assert_array_equal(found.targets, np.where(chosen, old, PAD))
    assert (old[chosen] >= len(SPECIAL)).all()  # no special token, none unknown, no padding
    for positions, of_row in zip(found.positions, chosen, strict=True):
        assert len(set(positions[of_row])) == of_row.sum()


def test_what_stands_there():
    rows = sequences(6000)
    found, ids = masked(rows), np.asarray(rows["ids"])
    chosen = found.targets != PAD
    new = np.take_along_axis(found.ids, found.positions, 1)[chosen]
    old = found.targets[chosen]
    assert abs((new == MASK).mean() - 0.8) < 0.01
    assert abs((new == old).mean() - (0.1 + 0.1 / (VOCABULARY - len(SPECIAL)))) < 0.01
    random = new[(new != MASK) & (new != old)]
    assert set(random) == set(range(len(SPECIAL), VOCABULARY))
    untouched = np.ones_like(ids, bool)
    for row, positions, of_row in zip(untouched, found.positions, chosen, strict=True):
        row[positions[of_row]] = False
    np.testing.assert_array_equal(found.ids[untouched], ids[untouched])
    # every place of a sequence is as likely as another
    full = np.asarray(rows["lengths"]) > WIDTH - 4
    places = np.bincount(found.positions[full][chosen[full]], minlength=WIDTH)[1:15]
    assert places.min() > 0.7 * places.max()


def test_at_most_thirty():
    rows = sequences(3, width=400)
    found = masked(rows, share=0.5)
    assert found.targets.shape == (3, 30)
    assert (found.targets[0] != PAD).all()


def test_a_sequence_without_words():
    rows = {"ids": jnp.array([[CLS, UNK, SEP, PAD]]), "lengths": jnp.array([3])}
    found = masked({**rows, "row": jnp.array([0])})
    assert (found.targets == PAD).all()
    np.testing.assert_array_equal(found.ids, rows["ids"])


def test_masks_belong_to_rows_and_keys():
    rows = sequences(8)
    whole, part = masked(rows), masked(jax.tree.map(lambda x: x[5:], rows))
    for all_rows, of_part in zip(whole, part, strict=True):
        np.testing.assert_array_equal(all_rows[5:], of_part)
    assert (masked(rows, key=jax.random.key(4)).positions != whole.positions).any()


# -- the likelihood ------------------------------------------------------------------------------

SIZE = BertSize(VOCABULARY, 8, 1, 2, 12, WIDTH, dropout=0.0, attention_dropout=0.0)


@pytest.fixture(scope="module")
def model_and_params():
    model = MaskedLM(SIZE)
    init = jax.jit(lambda key, rows: model.init(key, rows, method="initialise"))
    params = init(jax.random.key(0), sequences(2))["params"]
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(KEY, x.shape), params)
    return model, params


def by_hand(params, rows, found):
    """The mean over all masked tokens from logits of every position."""
    types = (jnp.arange(WIDTH) >= rows["second"][:, None]).astype(jnp.int32)
    encoder = BertEncoder(SIZE)
    arguments = found.ids, rows["lengths"], rows["row"]
    h = encoder.apply({"params": params["encoder"]}, *arguments, train=False, types=types)
    x = gelu(h @ params["transform"]["kernel"] + params["transform"]["bias"])
    x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + SIZE.epsilon)
    x = x * params["norm"]["scale"] + params["norm"]["bias"]
    logits = x @ params["encoder"]["words"].T + params["bias"]  # b t v
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), rows["ids"][..., None], -1)[..., 0]
    here = np.zeros(found.ids.shape)
    for row, positions, targets in zip(here, found.positions, found.targets, strict=True):
        row[positions[targets != PAD]] = 1
    return -(log_p * here).sum() / here.sum()


def test_loss_and_gradient_by_hand(model_and_params):
    model, params = model_and_params
    rows = {**sequences(5), "mask": jnp.ones(5)}

    def loss(params):
        groups = model.apply(
            {"params": params},
            {"sequences": rows},
            language="all",
            hyper={},
            noise=no_noise,
            train=True,
            rngs={"masking": KEY},
            method="objective",
        )
        return groups["sequences"]["loss"].mean()

    key = model.apply({}, rngs={"masking": KEY}, method=lambda module: module.make_rng("masking"))
    found = masked(rows, key=key)
    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    dense = jax.jit(jax.value_and_grad(lambda params: by_hand(params, rows, found)))
    expected, by_dense = dense(params)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(by_dense), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    pooler = gradient["encoder"]["pooler"]
    assert all((x == 0).all() for x in jax.tree.leaves(pooler))


def test_no_logits_of_all_positions(model_and_params):
    """The largest array of a step is not [b, t, v], nor [b, k, v]."""
    model, params = model_and_params
    rows = {**sequences(64), "mask": jnp.ones(64)}
    arguments = {"language": "all", "hyper": {}, "noise": no_noise, "train": True}

    def loss(params):
        rngs = {"masking": KEY}
        batch = {"sequences": rows}
        groups = model.apply({"params": params}, batch, **arguments, rngs=rngs, method="objective")
        return groups["sequences"]["loss"].mean()

    text = str(jax.make_jaxpr(jax.grad(loss))(params))
    assert f"64,{WIDTH},{VOCABULARY}" not in text
    assert f"64,6,{VOCABULARY}" not in text
