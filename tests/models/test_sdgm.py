"""M1+M2: how much it computes, what its fillers and options do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.models.sdgm import HYPERPARAMETERS, M1M2
from jaxsdgm.models.terms import masked_mean, normal_noise

B_L, B_U, T, V, E, K = 5, 11, 13, 1009, 4, 3
ENCODER = {"embedding": E, "hidden": 3, "layers": 1, "dropout": 0.2}
HYPER = {**{name: jnp.ones(()) for name in HYPERPARAMETERS}, "alpha": jnp.array(3.0)}


def rows(n, offset, seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, T + 1, n)
    ids = rng.integers(1, V, (n, T)) * (np.arange(T) < lengths[:, None])
    return {
        "ids": ids.astype(np.int32),
        "lengths": lengths.astype(np.int32),
        "labels": rng.integers(0, K, n).astype(np.int32),
        "row": np.arange(n, dtype=np.int32) + offset,
        "mask": np.ones(n, np.float32),
    }


BATCH = {"labelled": rows(B_L, 0, 0), "unlabelled": rows(B_U, 1000, 1)}


def make(**fields):
    model = M1M2({"en": V}, ENCODER, n_classes=K, latent=E, classifier_hidden=6, **fields)
    some = jnp.ones((2, 2), jnp.int32), jnp.full(2, 2)
    init = lambda key: model.init(key, *some, languages=("en",), method="initialise")
    return model, jax.jit(init)(jax.random.key(0))


def loss_of(model, variables, batch):
    def loss(params):
        groups, new = model.apply(
            {**variables, "params": params},
            batch,
            language="en",
            hyper=HYPER,
            noise=normal_noise(jax.random.key(1)),
            train=True,
            rngs={"dropout": jax.random.key(2)},
            mutable=["batch_stats"],
            method="objective",
        )
        means = {g: masked_mean(terms["loss"], batch[g]["mask"]) for g, terms in groups.items()}
        return sum(means.values()), (groups, new["batch_stats"])

    return loss


def evaluated(model, variables, batch=BATCH):
    loss = loss_of(model, variables, batch)
    (value, (groups, stats)), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        variables["params"]
    )
    return value, groups, stats, grads


def shapes(jaxpr):
    """Shapes of every intermediate, those inside loops and calls included."""
    for equation in jaxpr.eqns:
        yield from (v.aval.shape for v in equation.outvars if hasattr(v.aval, "shape"))
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from shapes(inner)


def test_no_array_of_documents_by_words_by_vocabulary():
    model, variables = make()
    loss = loss_of(model, variables, BATCH)
    jaxpr = jax.make_jaxpr(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    found = set(shapes(jaxpr.jaxpr))
    assert any(shape == (B_U, V) for shape in found)  # the walk sees the logits
    largest = max(found, key=np.prod)
    assert np.prod(largest) <= (B_L + B_U) * V, largest
    assert not [shape for shape in found if T in shape and V in shape]


def test_fillers_change_nothing():
    model, variables = make()
    value, _, stats, grads = evaluated(model, variables)
    filled = {}
    for group, part in BATCH.items():
        filler = {**rows(3, 5000, 7), "mask": np.zeros(3, np.float32)}
        filled[group] = {k: np.concatenate([part[k], filler[k]]) for k in part}
    value_2, _, stats_2, grads_2 = evaluated(model, variables, filled)
    np.testing.assert_allclose(value, value_2, rtol=1e-5)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, stats, stats_2)
    jax.tree.map(close, grads, grads_2)


def test_one_chunk_is_no_chunks():
    model, variables = make()
    whole = evaluated(model, variables)
    chunked = evaluated(model.clone(unlabelled_chunk=B_U), variables)
    np.testing.assert_allclose(whole[0], chunked[0], rtol=1e-6)


@pytest.mark.parametrize("decoder", ["bow", "gru", None])
def test_a_step_moves_what_it_should(decoder):
    model, variables = make(decoder=decoder)
    grads = evaluated(model, variables)[3]
    still = {"encoder", "posterior"} if decoder is None else set()
    for name, tree in grads.items():
        moves = any(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(tree))
        assert moves == (name not in still), name


def test_estimated_prior_moves_to_the_mean_of_q():
    model, variables = make(label_prior="estimated")
    before = variables["batch_stats"]["label_prior"]
    np.testing.assert_allclose(before, 1 / K)
    after = evaluated(model, variables)[2]["label_prior"]
    np.testing.assert_allclose(after.sum(), 1, rtol=1e-5)
    assert float(jnp.abs(after - before).max()) > 0


def test_label_proportions_are_the_prior():
    shares = (0.5, 0.3, 0.2)
    model, variables = make(label_proportions=shares)
    terms = evaluated(model, variables)[1]["labelled"]
    expected = np.log(np.array(shares)[BATCH["labelled"]["labels"]])
    np.testing.assert_allclose(terms["log_prior_y"], expected, rtol=1e-5)


def test_gru_and_words_decoders_ignore_padding():
    wide = {**BATCH, "labelled": dict(BATCH["labelled"])}
    wide["labelled"]["ids"] = np.pad(BATCH["labelled"]["ids"], ((0, 0), (0, 4)))
    wide["unlabelled"] = dict(BATCH["unlabelled"])
    wide["unlabelled"]["ids"] = np.pad(BATCH["unlabelled"]["ids"], ((0, 0), (0, 4)))
    model, variables = make(decoder="gru", feature_dropout=0.0)
    model = model.clone(encoder_config={**ENCODER, "dropout": 0.0})
    narrow, padded = evaluated(model, variables), evaluated(model, variables, wide)
    np.testing.assert_allclose(narrow[0], padded[0], rtol=1e-5)
