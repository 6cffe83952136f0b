"""VSL: padding and order change nothing, tokens are as good as sentences, the twins without VR."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsdgm.data.token_batches import TokenPlan, most_tokens
from jaxsdgm.layers.token_encoder import TokenEncoder
from jaxsdgm.models.terms import no_noise
from jaxsdgm.models.vsl import LATENTS, VSL

V, C, T, W, B = 23, 9, 7, 5, 4
RNG = np.random.default_rng(0)
LENGTHS = np.array([7, 1, 4, 2])
SPELLINGS = RNG.integers(1, C, (V, W)) * (np.arange(W) < RNG.integers(1, W + 1, V)[:, None])
IDS = RNG.integers(1, V, (B, T)) * (np.arange(T) < LENGTHS[:, None])
LABELS = RNG.integers(0, 3, (B, T))
HYPER = {"kl_weight": 0.3, "labelled_weight": 0.8, "unlabelled_weight": 0.5}


def make(system="vsl-gg-hier", *, packed=False, **fields):
    encoder = TokenEncoder(V, C, 6, 5, 4, 3, packed=packed)
    sizes = {"latent": 4, "tag_latent": 3, "decoder_hidden": 5, "sentences": B, "tokens": B * T}
    return VSL(encoder, 3, system, **{**sizes, **fields})


def sentences(which, width=T):
    """Padded sentences, `width` tokens wide."""
    which = np.array(which)
    ids = np.pad(IDS[which], ((0, 0), (0, width - T)))
    return {
        "ids": ids,
        "characters": SPELLINGS[ids] * (ids > 0)[..., None],
        "labels": np.pad(LABELS[which], ((0, 0), (0, width - T))),
        "row": which,
        "mask": np.ones(len(which)),
        "sentence": which,
        "start": which * T,
    }


def batch(width=T):
    return {"labelled": sentences([0, 1], width), "unlabelled": sentences([2, 3], width)}


def noise(name, row, shape, draw=None):
    """Of the token's number alone."""
    if not shape:
        return jnp.zeros(len(row))
    return jnp.sin(jnp.asarray(row, jnp.float32)[:, None] * jnp.arange(1, 1 + shape[0]) + len(name))


def init(model):
    rows = {"ids": np.ones((2, 2), int), "characters": np.ones((2, 2, 2), int)}
    found = jax.jit(lambda: model.init(jax.random.key(1), rows, method="initialise"))()
    stats = found.get("batch_stats", {})
    # priors that are not those of the beginning
    fill = lambda x: jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)
    stats = jax.tree.map(lambda x: fill(x) if x.ndim == 2 else x, stats)
    return found["params"], stats


def run(model, variables, given, **fields):
    """Terms, gradients and new priors."""

    def objective(params):
        groups, new = model.apply(
            {"params": params, "batch_stats": variables[1]},
            given,
            hyper={**HYPER, **fields.pop("hyper", {})},
            noise=fields.pop("noise", noise),
            train=fields.pop("train", True),
            method="objective",
            mutable=["batch_stats"],
        )
        return sum(terms["loss"].sum() for terms in groups.values()), (groups, new)

    found = jax.jit(jax.value_and_grad(objective, has_aux=True))(variables[0])
    (_, (groups, new)), grads = found
    return groups, grads, new


def assert_close(found, wanted):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-5), found, wanted)


@pytest.mark.parametrize("system", LATENTS)
def test_packed(system):
    """Work left out changes nothing."""
    variables = init(make(system))
    wanted = run(make(system), variables, batch())
    assert_close(run(make(system, packed=True), variables, batch()), wanted)


def test_padding():
    """More tokens a sentence and characters a word."""
    variables, given = init(make()), batch(T + 3)
    for rows in given.values():
        rows["characters"] = np.pad(rows["characters"], ((0, 0), (0, 0), (0, 2)))
    wanted, found = run(make(), variables, batch()), run(make(), variables, given)
    assert_close(found, wanted)


def plan(parts=1):
    rows = {
        "labelled": {"index": np.array([[0, 1]]), "mask": np.ones((1, 2))},
        "unlabelled": {"index": np.array([[2, 3]]), "mask": np.ones((1, 2))},
    }
    for of_group in rows.values():
        of_group["row"] = of_group["sentence"] = of_group["index"]
        of_group["start"] = of_group["index"] * T
    given = lambda start, count: rows
    tokens = most_tokens(given, LENGTHS, steps=1, parts=parts)
    return TokenPlan(given, IDS, IDS, SPELLINGS, {"labels": LABELS}, tokens, parts)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_tokens_for_sentences(parts, packed):
    """The same terms, gradients and priors from tokens without padding, however they are parted."""
    made = plan(parts)(0, 1)
    given = {group: {k: x[0] for k, x in rows.items()} for group, rows in made.items()}
    assert given["labelled"]["ids"].shape == (32 * parts,)
    assert len(np.unique(given["labelled"]["spellings"], axis=0)) <= len(np.unique(IDS[:2]))
    variables = init(make())
    wanted = run(make(), variables, batch())
    assert_close(run(make(packed=packed), variables, given), wanted)


def test_rows_that_do_not_count():
    """They have no tokens, and their priors stay."""
    variables = init(make())
    made = plan()
    rows = made.rows(0, 1)
    rows["unlabelled"]["mask"] = np.array([[1.0, 0.0]])
    given = {group: {k: x[0] for k, x in rows.items()} for group, rows in made(0, 1).items()}
    groups, _, new = run(make(), variables, given)
    assert float(groups["unlabelled"]["loss"][1]) == 0
    before, after = variables[1]["priors"], new["batch_stats"]["priors"]
    np.testing.assert_array_equal(after["visits"], [1, 1, 1, 0])
    np.testing.assert_array_equal(after["mean"][3 * T :], before["mean"][3 * T :])
    assert (after["mean"][2 * T : 2 * T + 4] != before["mean"][2 * T : 2 * T + 4]).all()


@pytest.mark.parametrize("system", ["vsl-g", "vsl-gg-flat", "vsl-gg-hier"])
def test_without_vr(system):
    """The loss is that of VSL with draws of zeros and without divergences."""
    variables, twin = init(make(system)), make(system, variational=False)
    quiet = run(make(system), variables, batch(), noise=no_noise, hyper={"kl_weight": 0.0})
    found = run(twin, variables, batch())
    assert "kl_z" not in found[0]["labelled"]
    for group in ("labelled", "unlabelled"):
        np.testing.assert_allclose(found[0][group]["loss"], quiet[0][group]["loss"], rtol=1e-5)


def test_divergences():
    """0 where the prior is the posterior, and that of N(0, I) at the first visit."""
    model = make()
    params, stats = init(model)
    stats = jax.tree.map(jnp.zeros_like, stats)
    first = run(model, (params, stats), batch())
    again = run(model, (params, first[2]["batch_stats"]), batch())
    for group in ("labelled", "unlabelled"):
        for name in ("kl_y", "kl_z"):
            assert (first[0][group][name] > 0).all()
            np.testing.assert_allclose(again[0][group][name], 0, atol=1e-6)


def test_one_sentence_of_one_token():
    variables, model = init(make()), make()
    given = {"labelled": {name: x[1:2] for name, x in sentences([0, 1]).items()}}
    groups, _, _ = run(model, variables, given)
    assert groups["labelled"]["loss"].shape == (1,)
    assert np.isfinite(groups["labelled"]["loss"]).all()
    rows = {name: given["labelled"][name][:, :1] for name in ("ids", "characters")}
    found = model.apply({"params": variables[0]}, rows, method="predict")
    assert found["log_p"].shape == (1, 1, 3)


def test_evaluation():
    """Means instead of draws, no divergences, priors as they were."""
    variables, model = init(make()), make()
    groups, _, new = run(model, variables, batch(), train=False)
    assert set(groups["unlabelled"]) == {"reconstruction", "loss"}
    jax.tree.map(np.testing.assert_array_equal, new.get("batch_stats", variables[1]), variables[1])


@pytest.mark.parametrize(("system", "read"), [("vsl-gg-hier", "y"), ("vsl-g", "z")])
def test_an_orthogonal_start(system, read):
    """The latent of the tag then says of a state all that the state says."""
    sizes = {"tag_latent": 6, "latent": 6}
    params, _ = init(make(system, orthogonal=True, **sizes))
    kernel = params[f"means_{read}"]["kernel"]
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(6), atol=1e-5)
    params, _ = init(make(system, **sizes))
    assert np.abs(params[f"means_{read}"]["kernel"]).max() <= len(kernel) ** -0.5


def test_rare_words():
    """At a rate of 1 the encoder sees none of them; the decoder explains them all the same."""
    variables = init(make())
    given, unknown = batch(), batch()
    for rows, hidden in zip(given.values(), unknown.values(), strict=True):
        rows["rare"] = rows["ids"] % 2 == 0
        hidden["rare"] = np.zeros_like(rows["ids"], bool)
    seen = run(make(unknown_rate=1.0), variables, given)[0]["labelled"]["reconstruction"]
    as_before = run(make(unknown_rate=1.0), variables, unknown)[0]["labelled"]["reconstruction"]
    plain = run(make(), variables, batch())[0]["labelled"]["reconstruction"]
    np.testing.assert_allclose(as_before, plain, rtol=1e-6)
    assert (seen != plain).any()


def test_priors_are_replaced_where_they_are():
    """A step copies no store: it costs what its own tokens do, however many there are in all."""
    tokens = 5000
    model = make(tokens=tokens)
    params, stats = init(model)
    given = {group: {k: jnp.asarray(x) for k, x in rows.items()} for group, rows in batch().items()}

    def step(carry, _):
        def loss(params):
            groups, new = model.apply(
                {"params": params, "batch_stats": carry[1]},
                given,
                hyper=HYPER,
                noise=noise,
                train=True,
                method="objective",
                mutable=["batch_stats"],
            )
            return sum(terms["loss"].sum() for terms in groups.values()), new["batch_stats"]

        grads, stats = jax.grad(loss, has_aux=True)(carry[0])
        return (jax.tree.map(lambda p, g: p - g, carry[0], grads), stats), None

    steps = lambda *carry: jax.lax.scan(step, carry, length=3)[0]
    text = jax.jit(steps, donate_argnums=(0, 1)).lower(params, stats).compile().as_text()
    size = f"f32[{tokens},7]"
    assert re.search(rf"= {re.escape(size)}\S* (fusion|scatter)\(", text)
    assert not re.search(rf"= {re.escape(size)}\S* copy\(", text)
