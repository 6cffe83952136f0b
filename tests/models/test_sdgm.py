"""M1+M2: the bound by its formula, how much it computes, what its fillers and options do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.experiments.setup import make_objective
from jaxsdgm.layers.encoders import FrozenFeatures, TextEncoder
from jaxsdgm.layers.softmax import WORDS
from jaxsdgm.models.sdgm import M1M2, Auxiliary
from jaxsdgm.models.semi import HYPERPARAMETERS, MOMENTUM, TRANSFERRED
from jaxsdgm.models.terms import masked_mean, no_noise, random_noise
from jaxsdgm.training.state import adam, create_state
from jaxsdgm.training.step import make_step

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


def make(kind=M1M2, **fields):
    encoder = TextEncoder({"en": V}, **ENCODER)
    fields = {"decoder_sizes": {"en": V}, "latent": E, "classifier_hidden": 6, **fields}
    model = kind(encoder, n_classes=K, **fields)
    some = {"ids": jnp.ones((2, 2), jnp.int32), "lengths": jnp.full(2, 2)}
    init = lambda key: model.init(key, some, languages=("en",), method="initialise")
    return model, jax.jit(init)(jax.random.key(0))


def loss_of(model, variables, batch):
    def loss(params):
        groups, new = model.apply(
            {**variables, "params": params},
            batch,
            language="en",
            hyper=HYPER,
            noise=random_noise(jax.random.key(1)),
            train=True,
            rngs={"dropout": jax.random.key(2)},
            mutable=["batch_stats"],
            method="objective",
        )
        means = {g: masked_mean(terms["loss"], batch[g]["mask"]) for g, terms in groups.items()}
        return sum(means.values()), (groups, new["batch_stats"])

    return loss


def evaluated(model, variables, batch=BATCH):
    """The loss, the terms, the new statistics and the gradient."""
    loss = loss_of(model, variables, batch)
    (value, (groups, stats)), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        variables["params"]
    )
    return value, groups, stats, grads


@functools.cache
def plain(kind=M1M2):
    """The model with no option set, its variables, and `evaluated` of them."""
    model, variables = make(kind, **({"hidden": 7} if kind is Auxiliary else {}))
    return model, variables, evaluated(model, variables)


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
    model, variables, _ = plain()
    loss = loss_of(model, variables, BATCH)
    jaxpr = jax.make_jaxpr(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    found = set(shapes(jaxpr.jaxpr))
    assert any(shape == (B_U, V) for shape in found)  # the walk sees the logits
    largest = max(found, key=np.prod)
    assert np.prod(largest) <= (B_L + B_U) * V, largest
    assert not [shape for shape in found if T in shape and V in shape]


def test_aux_has_no_array_of_documents_by_labels_by_vocabulary():
    """It reconstructs under every label: a bag of words is read in chunks of the vocabulary."""
    width = WORDS["cpu"]
    words = 2 * width + 9
    model, variables = make(Auxiliary, hidden=7, decoder_sizes={"en": words})
    loss = loss_of(model, variables, BATCH)
    jaxpr = jax.make_jaxpr(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    found = set(shapes(jaxpr.jaxpr))
    assert (B_U * K, width) in found  # the walk sees the logits of a chunk
    assert np.prod(max(found, key=np.prod)) <= B_U * K * width
    assert not [shape for shape in found if T in shape and width in shape]


@pytest.mark.parametrize("kind", [M1M2, Auxiliary])
def test_fillers_change_nothing(kind):
    model, variables, (value, _, stats, grads) = plain(kind)
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
    model, variables, (value, _, stats, _) = plain()
    chunked = jax.jit(loss_of(model.clone(unlabelled_chunk=B_U), variables, BATCH))
    chunked_value, (_, chunked_stats) = chunked(variables["params"])
    np.testing.assert_allclose(value, chunked_value, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), stats, chunked_stats)


@pytest.mark.parametrize("decoder", ["bow", "gru", None])
def test_a_step_moves_what_it_should(decoder):
    model, variables = make(decoder=decoder)
    optimizer = adam(frozen=() if decoder else TRANSFERRED)
    hyper = {**HYPER, "learning_rate": 0.01}
    state = create_state(variables, optimizer, seed=0, hyper=hyper)
    step = make_step(make_objective(model), optimizer)
    with jax.debug_key_reuse(True):  # nothing draws twice from one key
        new, metrics = jax.jit(step, static_argnums=2)(state, BATCH, "en")
    assert np.isfinite(metrics["loss"])
    old, new = jax.tree_util.tree_leaves_with_path(state.params), jax.tree.leaves(new.params)
    for (path, before), after in zip(old, new, strict=True):
        still = decoder is None and path[0].key in TRANSFERRED
        assert bool((before == after).all()) == still, jax.tree_util.keystr(path)


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def densities(model, batch):
    """log q(y | z1) `[b, k]`, word logits `[b, v]` and both KLs `[b, k]`, label after label."""
    h = model.encode(batch, language="en", train=False)
    x = model.infer(h, batch, no_noise, "", train=False)
    kls = []
    for y in range(K):
        label = jnp.zeros((len(h), K)).at[:, y].set(1)
        terms = model.given_label(x, label, None, language="en", train=False)
        kls.append(terms["kl_z1"] + terms["kl_z2"])
    log_q = model.log_q_y(x, train=False)
    return log_q, model.word_logits(x.z1, language="en"), jnp.stack(kls, 1)


@pytest.mark.parametrize("group", BATCH)
def test_the_bound_is_its_formula_with_a_loop_over_labels(group):
    """Spec §6.2 and §6.3 at the means of the posteriors."""
    model, variables, _ = plain()
    batch = BATCH[group]
    call = {"language": "en", "hyper": HYPER, "noise": no_noise, "train": False}
    objective = lambda: model.apply(variables, {group: batch}, method="objective", **call)
    found = jax.jit(objective)()[group]["loss"]
    pieces = jax.jit(lambda: model.apply(variables, batch, method=densities))()
    log_q, logits, kls = map(np.asarray, pieces)
    words = np.take_along_axis(log_softmax(logits), batch["ids"], 1)
    expected = -(words * (batch["ids"] != 0)).sum(1)
    if group == "labelled":
        of_label = np.arange(B_L), batch["labels"]
        expected += kls[of_label] + np.log(K) - HYPER["alpha"] * log_q[of_label]
    else:
        q = np.exp(log_q)
        expected += (q * kls).sum(1) + (q * (log_q + np.log(K))).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_estimated_proportions_weigh_documents_and_move_by_em():
    model, variables, (_, groups, _, _) = plain()
    model = model.clone(estimate_proportions=True)
    pi = jnp.array([0.7, 0.2, 0.1])
    variables = {**variables, "batch_stats": {**variables["batch_stats"], "proportions": pi}}
    loss = jax.jit(loss_of(model, variables, BATCH))
    _, (estimated, stats) = loss(variables["params"])
    q = q_of(model, variables)
    joint = q * K * pi
    weight = 1 / joint.sum(-1)
    fixed = groups["unlabelled"]["loss"]
    np.testing.assert_allclose(estimated["unlabelled"]["loss"], weight * fixed, rtol=1e-4)
    moved = (stats["proportions"] - (1 - MOMENTUM) * pi) / MOMENTUM
    np.testing.assert_allclose(moved, (weight[:, None] * joint).mean(0), rtol=1e-4)


def q_of(model, variables):
    """q(y | x) of the unlabelled documents, with the draws of `loss_of`."""

    def log_q(model):
        names = ("ids", "lengths", "row")
        rows = {name: np.concatenate([BATCH[g][name] for g in BATCH]) for name in names}
        h = model.encode(rows, language="en", train=True)[B_L:]
        rows = BATCH["unlabelled"]
        noise = random_noise(jax.random.key(1))
        return model.log_q_y(model.infer(h, rows, noise, "unlabelled_z1", train=True), train=True)

    options = {"rngs": {"dropout": jax.random.key(2)}, "mutable": ["batch_stats"]}
    return np.exp(jax.jit(lambda: model.apply(variables, method=log_q, **options)[0])())


def test_label_proportions_are_the_prior():
    shares = (0.5, 0.3, 0.2)
    model, variables, _ = plain()
    np.testing.assert_allclose(model.apply(variables, method="log_p_y"), np.log(np.full(K, 1 / K)))
    model = model.clone(label_proportions=shares)
    np.testing.assert_allclose(model.apply(variables, method="log_p_y"), np.log(shares), rtol=1e-6)


def test_gru_decoder_ignores_padding():
    wide = {**BATCH, "labelled": dict(BATCH["labelled"])}
    wide["labelled"]["ids"] = np.pad(BATCH["labelled"]["ids"], ((0, 0), (0, 4)))
    wide["unlabelled"] = dict(BATCH["unlabelled"])
    wide["unlabelled"]["ids"] = np.pad(BATCH["unlabelled"]["ids"], ((0, 0), (0, 4)))
    model, variables = make(decoder="gru", feature_dropout=0.0)
    model = model.clone(encoder=model.encoder.clone(dropout=0.0))
    narrow, padded = (
        jax.jit(loss_of(model, variables, batch))(variables["params"])[0] for batch in (BATCH, wide)
    )
    np.testing.assert_allclose(narrow, padded, rtol=1e-5)


def test_features_are_explained_beside_words():
    fields = {"decoder_sizes": {"en": V}, "latent": E, "classifier_hidden": 6}
    model = M1M2(FrozenFeatures(), n_classes=K, decode_features=True, **fields)
    batch = {group: {**x, "features": features(len(x["row"]))} for group, x in BATCH.items()}
    some = {"ids": jnp.ones((2, 2), jnp.int32), "features": features(2)}
    variables = model.init(jax.random.key(0), some, languages=("en",), method="initialise")
    _, groups, _, grads = evaluated(model, variables, batch)
    mean = variables["params"]["feature_decoder"]["mean"]
    assert mean["kernel"].shape == (E, features(1).shape[1])
    for group, terms in groups.items():
        nll = terms["reconstruction"] + terms["feature_reconstruction"]
        bound = nll + terms["kl_z1"] + terms["kl_z2"]
        if group == "labelled":
            expected = bound - terms["log_prior_y"] + HYPER["alpha"] * terms["cross_entropy"]
        else:
            expected = bound + terms["kl_y"]
        np.testing.assert_allclose(terms["loss"], expected, rtol=1e-5)
    # d/db of sum |h - Wz - b|^2 / 2 averaged in each group is minus the mean residual: not zero
    assert np.abs(grads["feature_decoder"]["mean"]["bias"]).max() > 0.01


def features(n):
    return np.random.default_rng(n).normal(size=(n, 7)).astype(np.float32)
