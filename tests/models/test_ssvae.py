"""SSVAE: which parts each system has, and how labels enter its bound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxsdgm.experiments.ssvae import PARTS
from jaxsdgm.layers.encoders import TextEncoder
from jaxsdgm.models.ssvae import SSVAE
from jaxsdgm.models.terms import no_noise, random_noise

V, E, H, K, Z, D = 11, 4, 3, 3, 2, 5
RNG = np.random.default_rng(0)
LENGTHS = np.array([5, 2, 4, 3, 1, 5])
IDS = RNG.integers(2, V, (6, 5)) * (np.arange(5) < LENGTHS[:, None])
ROWS = {"ids": IDS.astype(np.int32), "lengths": LENGTHS, "row": np.arange(6), "mask": np.ones(6)}
HYPER = {"generation_weight": 0.5, "kl_weight": 0.7, "temperature": 1.0}


def batch(n=2):
    labelled = {**{k: x[:n] for k, x in ROWS.items()}, "labels": np.arange(n) % K}
    return {"labelled": labelled, "unlabelled": {k: x[n:] for k, x in ROWS.items()}}


def make(system="ssvae", dropout=0.0, backend="scan", **fields):
    encoder = TextEncoder({"en": V}, E, H, 1, dropout, backend=backend)
    sizes = {"latent": Z, "label_embedding": 2, "decoder_hidden": D, "decoder_dropout": dropout}
    return SSVAE(encoder, K, V, **{**sizes, **PARTS.get(system, {}), **fields})


def init(model):
    rows = {name: ROWS[name] for name in ("ids", "lengths")}
    args = {"method": "initialise", "languages": ("en",)}
    return jax.jit(lambda key: model.init(key, rows, **args))(jax.random.key(0))["params"]


def terms(model, params, *, noise=no_noise, train=True, given=None, rngs=None):
    return model.apply(
        {"params": params},
        given or batch(),
        language="en",
        hyper=HYPER,
        noise=noise,
        train=train,
        rngs=rngs,
        method="objective",
    )


@pytest.fixture(scope="module")
def params():
    return init(make())


PART_NAMES = {
    "ssvae": {"encoder", "classifier", "z_mean", "z_scale", "z_lstm", "label_table", "decoder"},
    "ssvae-kl": {"encoder", "classifier", "z_mean", "z_scale", "z_lstm", "label_table", "decoder"},
    "ssvae-z": {"encoder", "classifier", "label_table", "decoder"},
    "ssvae-kl-z": {"encoder", "classifier", "label_table", "decoder"},
    "ssvae-sup": {"encoder", "classifier"},
}


@pytest.mark.parametrize("system", PARTS)
def test_parts(system):
    """What is left out has no parameters, and no terms."""
    model = make(system)
    params = init(model)
    assert set(params) == PART_NAMES[system]
    found = terms(model, params)
    names = {group: set(values) for group, values in found.items()}
    if system == "ssvae-sup":
        assert names == {"labelled": {"cross_entropy", "loss"}}
        return
    kl_z = {"kl_z"} if system == "ssvae" else set()
    kl_y = {"kl_y"} if system in ("ssvae", "ssvae-z") else set()
    assert names["labelled"] == {"reconstruction", "cross_entropy", "loss"} | kl_z
    assert names["unlabelled"] == {"reconstruction", "loss"} | kl_z | kl_y


def test_the_decoder_word_by_word(params):
    """- log p(x | y, z) of one document, in numpy."""
    model, p = make(), jax.device_get(params)
    y, z, ids = np.eye(K)[1], np.array([0.3, -0.2]), IDS[0]
    bound = model.bind({"params": params})
    rows = {name: jnp.asarray(x[:1]) for name, x in ROWS.items()}
    nll = bound.nll(jnp.asarray(y[None]), jnp.asarray(z[None]), rows, language="en", train=False)
    d, table = p["decoder"], p["encoder"]["embeddings_en"]["table"]
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    h, c, total = np.zeros(D), np.zeros(D), 0.0
    for previous, word in zip([None, *ids[:-1]], ids, strict=True):
        x = d["start"] if previous is None else table[previous]
        x = np.concatenate([y @ p["label_table"], z, x])
        gates = x @ d["lstm"]["kernel_in"] + h @ d["lstm"]["kernel_hidden"]
        i, f, g, o = np.split(gates + d["lstm"]["bias_in"] + d["lstm"]["bias_hidden"], 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        logits = h @ d["kernel"] + d["bias"]
        total -= logits[word] - np.log(np.exp(logits).sum())
    assert nll[0] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("labels", ["straight-through", "relaxed"])
def test_draws_of_labels_agree_with_all_of_them(params, labels):
    """In expectation; the relaxed ones at a low temperature. To four standard errors."""
    hyper = {**HYPER, "temperature": 0.02 if labels == "relaxed" else 1.0}
    unlabelled = {"unlabelled": {k: x[:1] for k, x in ROWS.items()}}

    def loss(model, noise):
        arguments = {"language": "en", "hyper": hyper, "noise": noise, "train": True}
        found = model.apply({"params": params}, unlabelled, **arguments, method="objective")
        return found["unlabelled"]["loss"][0]

    # z is its mean, so that only y is random
    drawn = lambda key: lambda name, *a: (random_noise(key) if name == "y" else no_noise)(name, *a)
    model = make(labels=labels)
    keys = jax.random.split(jax.random.key(1), 1500)
    found = jax.jit(jax.vmap(lambda key: loss(model, drawn(key))))(keys)
    exact = loss(make(labels="enumerated"), no_noise)
    assert abs(found.mean() - exact) < 4 * found.std() / np.sqrt(len(found))
    assert found.std() > 0


def test_straight_through_has_a_gradient():
    model = make(labels="straight-through")
    params = init(model)
    only = {"unlabelled": batch()["unlabelled"]}
    loss = lambda p: terms(model, p, given=only)["unlabelled"]["loss"].mean()
    grads = jax.jit(jax.grad(loss))(params)
    assert np.abs(grads["classifier"]["kernel"]).max() > 0


@pytest.mark.parametrize("labels", ["relaxed", "enumerated"])
def test_groups_do_not_mix(params, labels):
    """A document's terms are the same alone and in company; with dropout too."""
    model = make(labels=labels, dropout=0.3)
    rngs = {"dropout": jax.random.key(2)}
    run = lambda given: terms(
        model, params, given=given, noise=random_noise(jax.random.key(1)), rngs=rngs
    )
    both = run(batch())
    for group, rows in batch().items():
        alone = run({group: rows})[group]
        for name, values in alone.items():
            np.testing.assert_allclose(values, both[group][name], rtol=1e-5, err_msg=name)


def test_packed_rows(params):
    """Leaving out rows that have ended changes nothing, in values and in gradients."""
    value = lambda backend: jax.jit(
        jax.value_and_grad(
            lambda p: sum(x["loss"].sum() for x in terms(make(backend=backend), p).values())
        )
    )(params)
    (loss, grads), (other, others) = value("scan"), value("packed")
    assert loss == pytest.approx(float(other), rel=1e-5)
    for (path, x), y in zip(flatten_dict(grads).items(), jax.tree.leaves(others), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6, err_msg=path)


def test_small_scales_are_finite(params):
    """A softplus far below zero neither overflows nor gives nan gradients."""
    low = jax.tree.map(lambda x: x, params)
    low["z_scale"] = {**params["z_scale"], "bias": jnp.full(Z, -90.0)}
    model = make()
    loss = lambda p: sum(x["loss"].sum() for x in terms(model, p).values())
    value, grads = jax.jit(jax.value_and_grad(loss))(low)
    assert np.isfinite(value)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(grads))


def test_evaluation_takes_the_most_probable_label(params):
    model = make()
    rows = {name: ROWS[name] for name in ("ids", "lengths")}
    found = model.apply({"params": params}, rows, language="en", method="predict")
    assert {name: x.shape[1] for name, x in found.items()} == {
        **{"log_q": K, "h": 2 * H},
        **{"z": Z, "z_log_var": Z},
    }
    best = np.asarray(found["log_q"]).argmax(-1)
    labelled = {"labelled": {**ROWS, "labels": best}}
    one = terms(model, params, train=False, given=labelled)["labelled"]["reconstruction"]
    other = terms(model, params, train=False, given={"unlabelled": ROWS})["unlabelled"]
    np.testing.assert_allclose(one, other["reconstruction"], rtol=1e-6)
