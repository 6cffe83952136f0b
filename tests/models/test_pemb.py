"""PEMB's objective against loops over pairs, languages and words, in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.layers.encoders import TextEncoder
from jaxsdgm.models.pemb import PairVAE

SIZES, E, H = {"en": 7, "de": 6}, 4, 3
IDS = np.array(
    [[[3, 1, 4, 0], [2, 5, 0, 0]], [[1, 6, 2, 5], [4, 3, 1, 2]], [[2, 0, 0, 0], [1, 4, 4, 0]]],
    np.int32,
)
LENGTHS = np.array([[3, 2], [4, 4], [1, 3]], np.int32)
ROWS = {"ids": IDS, "lengths": LENGTHS, "row": np.arange(3), "mask": np.ones(3, np.float32)}
FIELDS = {"embedding": E, "hidden": H, "layers": 1, "dropout": 0.0}
HYPER = {"kl_weight": jnp.asarray(0.3), "kl_target": jnp.zeros(())}
EPS = np.random.default_rng(0).normal(size=(3, E)).astype(np.float32)


@pytest.fixture(scope="module")
def variables():
    model = PairVAE(SIZES, FIELDS, languages=("en", "de"), latent=E)
    rows = {"ids": IDS[:, 0], "lengths": LENGTHS[:, 0]}
    return jax.jit(lambda key: model.init(key, rows, method="initialise"))(jax.random.key(1))


def objective(params, stats, train=True, **fields):
    model = PairVAE(SIZES, {**FIELDS, **fields}, languages=("en", "de"), latent=E)
    groups, _ = model.apply(
        {"params": params, "batch_stats": stats},
        {"sentences": ROWS},
        language="",
        hyper=HYPER,
        noise=lambda name, row, shape: EPS,
        train=train,
        method="objective",
        mutable="batch_stats",
    )
    return groups["sentences"]


def by_loops(params, stats):
    """The mean loss, with one table of all words and each pair's words written in one row."""
    tables = [params["encoder"][f"embeddings_{c}"]["table"] for c in SIZES]
    encoder = {"lstm": params["encoder"]["lstm"]}
    encoder["embeddings_all"] = {"table": jnp.concatenate(tables)}
    ids = np.zeros((3, 8), np.int32)
    for row, pair, (first, second) in zip(ids, IDS, LENGTHS, strict=True):
        row[:first] = pair[0, :first]
        row[first : first + second] = pair[1, :second] + SIZES["en"]
    rows = {"ids": ids, "lengths": LENGTHS.sum(1), "row": ROWS["row"]}
    text = TextEncoder({"all": sum(SIZES.values())}, **FIELDS)
    h = text.apply({"params": encoder}, rows, language="all", train=False)
    head = params["posterior"]
    a = h @ head["hidden"]["kernel"] + head["hidden"]["bias"]
    a = (a - a.mean(0)) / jnp.sqrt(a.var(0) + 1e-5)
    a = jax.nn.relu(a * head["norm"]["scale"] + head["norm"]["bias"])
    mean, log_var = (a @ head[k]["kernel"] + head[k]["bias"] for k in ("mean", "log_var"))
    z = mean + jnp.exp(log_var / 2) * EPS
    kl = 0.5 * (mean**2 + jnp.exp(log_var) - 1 - log_var).sum(1)
    total, words = 0.3 * kl.sum(), 0.0
    for b in range(3):
        for i, (language, table) in enumerate(zip(SIZES, tables, strict=True)):
            scores = table.at[0].set(0) @ z[b] + params[f"decoders_{language}"]["bias"]
            log_p = scores - jnp.log(jnp.exp(scores).sum())
            for t in range(LENGTHS[b, i]):
                words -= log_p[IDS[b, i, t]]
    return (total + words) / 3, (words, kl)


def test_value_and_gradient(variables):
    params, stats = variables["params"], variables["batch_stats"]
    ours = jax.jit(jax.value_and_grad(lambda p: objective(p, stats)["loss"].mean()))(params)
    (value, (words, kl)), gradient = jax.jit(jax.value_and_grad(by_loops, has_aux=True))(
        params, stats
    )
    np.testing.assert_allclose(ours[0], value, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), ours[1], gradient
    )
    terms = jax.jit(objective)(params, stats)
    np.testing.assert_allclose(terms["reconstruction"].sum(), words, rtol=1e-5)
    np.testing.assert_allclose(terms["kl"], kl, rtol=1e-4)


def test_back_ends_agree(variables):
    params, stats = variables["params"], variables["batch_stats"]
    run = jax.jit(objective, static_argnames=("train", "backend"))
    plain, packed = (run(params, stats, train=False, backend=b) for b in ("scan", "packed"))
    for name in plain:
        np.testing.assert_allclose(plain[name], packed[name], rtol=1e-5)
