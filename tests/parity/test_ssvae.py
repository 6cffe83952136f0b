"""SSVAE and its simplifications against the paper's code: values, gradients, four updates."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxsdgm import distributions as dist
from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.layers.encoders import TextEncoder
from jaxsdgm.models.ssvae import SSVAE
from jaxsdgm.training import schedules
from jaxsdgm.training.state import adam
from tests.parity import golden
from tests.parity.golden import DTYPES, assert_close, assert_trees_close, load, under

UNK, PAD, GO = 0, 1, 2  # theirs

files = partial(golden.files, "ssvae")


# -- their arrays in our form --------------------------------------------------------------------


def ours(ids):
    """Their ids in our numbering, in which PAD is 0 and UNK 1."""
    return np.where(ids == PAD, 0, np.where(ids == UNK, 1, ids)).astype(np.int32)


def by_word(table):
    """Their rows, one a word, in our numbering."""
    return np.concatenate([table[[PAD, UNK]], table[2:]])


def swapped(weight):
    """A head's weights, whose inputs are the backward state first there and last here."""
    return np.concatenate(np.split(weight, 2, axis=1)[::-1], axis=1).T


def to_flax(arrays):
    """Their parameters, or gradients, as ours."""
    found = {}
    words = by_word(arrays["word_embeddings.weight"])
    found["encoder/embeddings_en/table"] = words.copy()
    # the vector before the first word is not a row of the table here
    found["decoder/start"] = words[GO].copy()
    found["encoder/embeddings_en/table"][GO] = 0
    found["label_table"] = arrays["pos_embeddings.weight"]
    for vertex, lstm in ((0, "encoder/lstm"), (1, "z_lstm")):
        prefix = f"infer_bn.vertices.{vertex}.1."
        rnn = under(arrays, f"{prefix}rnn.")
        for kind in ("weight", "bias") if rnn else ():
            for part, end in (("ih", "in"), ("hh", "hidden")):
                both = np.stack([rnn[f"{kind}_{part}_l0"], rnn[f"{kind}_{part}_l0_reverse"]])
                both = both.swapaxes(1, 2) if kind == "weight" else both
                name = "kernel" if kind == "weight" else "bias"
                found[f"{lstm}/layer_0/{name}_{end}"] = both
        heads = under(arrays, f"{prefix}hidden_to_z_params.")
        for theirs, name in (("logits", "classifier"), ("loc", "z_mean"), ("scale", "z_scale")):
            if f"{theirs}.weight" in heads:
                found[f"{name}/kernel"] = swapped(heads[f"{theirs}.weight"])
                found[f"{name}/bias"] = heads[f"{theirs}.bias"]
    decoder = under(arrays, "gen_bn.vertices.0.1.")
    for part, end in (("ih", "in"), ("hh", "hidden")):
        found[f"decoder/lstm/kernel_{end}"] = decoder[f"rnn.weight_{part}_l0"].T
        found[f"decoder/lstm/bias_{end}"] = decoder[f"rnn.bias_{part}_l0"]
    found["decoder/kernel"] = by_word(decoder["hidden_to_z_params.logits.weight"]).T
    found["decoder/bias"] = by_word(decoder["hidden_to_z_params.logits.bias"])
    return unflatten_dict(found, sep="/")


def make_model(arrays, **fields):
    """The model of a fixture's sizes and parts; there is no dropout in any."""
    sizes, names = json.loads(str(arrays["in/sizes"])), set(under(arrays, "param/"))
    has_z = any(name.endswith("loc.weight") for name in names)
    encoder = TextEncoder({"en": sizes["V"]}, sizes["E"], sizes["H"], 1, 0.0)
    return SSVAE(
        encoder,
        sizes["K"],
        sizes["V"],
        latent=sizes["Z"] if has_z else 0,
        label_embedding=sizes["Y"],
        decoder_hidden=sizes["D"],
        decoder_dropout=0.0,
        share_encoder="infer_bn.vertices.1.1.rnn.weight_ih_l0" not in names,
        **fields,
    )


def rows(text, first, labels=None):
    ids = ours(text[:, 1:])
    found = {"ids": ids, "lengths": (ids > 0).sum(1), "mask": np.ones(len(ids), ids.dtype)}
    found["row"] = first + np.arange(len(ids))
    return found if labels is None else {**found, "labels": labels}


def make_batch(arrays, step=""):
    """Both groups of a step, of those that the fixture has."""
    found = {}
    if f"in/lab_text{step}" in arrays:
        labels = arrays[f"in/lab_y{step}"]
        found["labelled"] = rows(arrays[f"in/lab_text{step}"], 0, labels)
    if f"in/unlab_text{step}" in arrays:
        found["unlabelled"] = rows(arrays[f"in/unlab_text{step}"], 100)
    return found


def make_noise(arrays, step=""):
    """The recorded draws, by row number."""

    def noise(name, row, shape, draw=None):
        kind = "z" if name == "z" else "gumbel"
        both = [arrays.get(f"eps/{part}{step}_{kind}") for part in ("lab", "unlab")]
        known, other = (np.zeros((0, *shape)) if x is None else x for x in both)
        where = jnp.where(row < 100, row, row - 100 + len(known))
        return jnp.asarray(np.concatenate([known, other]))[where]

    return noise


def loss_of(model, params, batch, noise, g, c):
    hyper = {"generation_weight": g, "kl_weight": c, "temperature": 1.0}
    groups = model.apply(
        {"params": params},
        batch,
        language="en",
        hyper=hyper,
        noise=noise,
        train=True,
        method="objective",
    )
    return sum(terms["loss"].mean() for terms in groups.values()), groups


# -- tests ---------------------------------------------------------------------------------------


@DTYPES
@files("ssvae_.*")
def test_objectives(path, dtype):
    arrays = load(path, dtype)
    clamped, c, g = not np.isnan(arrays["in/kl_th"]), arrays["in/kl_coeff"], arrays["in/g"]
    model = make_model(arrays, clamp_kl_y=clamped, divergence=bool(c))
    params, batch, noise = to_flax(under(arrays, "param/")), make_batch(arrays), make_noise(arrays)

    def losses(p):
        _, groups = loss_of(model, p, batch, noise, g, c)
        means = [groups[name]["loss"].mean() for name in ("labelled", "unlabelled")]
        return jnp.stack(means), groups

    by_group, groups = jax.jit(jax.jacrev(losses, has_aux=True))(params)
    grads = jax.tree.map(lambda x: x.sum(0), by_group)
    known, other = groups["labelled"], groups["unlabelled"]
    close = lambda x, name: assert_close(np.asarray(x), arrays[name], dtype, name)
    close(known["cross_entropy"].mean(), "out/lab_ce_loss")
    close(other["loss"].mean(), "out/loss_unlab_weighted")
    constant = g / 2 * arrays["out/lab_logprior_y_const"]
    assert_close(
        known["loss"].mean(), arrays["out/loss_lab_weighted"] + constant, dtype, "labelled loss"
    )
    for part, terms in (("lab", known), ("unlab", other)):
        log_p = arrays[f"out/{part}_token_logp"].sum(1)
        assert_close(-terms["reconstruction"], log_p, dtype, f"{part} reconstruction")
        if model.latent and c:
            close(terms["kl_z"], f"out/{part}_kl_z_true")
    if c:
        close(other["kl_y"], f"out/unlab_kl_y_{'clamped' if clamped else 'true'}")
    assert_trees_close(grads, to_flax(under(arrays, "grad/")), dtype, "gradient")
    alone = jax.tree.map(lambda x: x[1], by_group)
    assert_trees_close(alone, to_flax(under(arrays, "grad_unlab/")), dtype, "of the unlabelled")


@DTYPES
@files("supervised")
def test_supervised(path, dtype):
    arrays = load(path, dtype)
    model = make_model(arrays, generative=False)
    params = to_flax(under(arrays, "param/"))
    used = {name: params[name] for name in ("encoder", "classifier")}
    batch, noise = make_batch(arrays), make_noise(arrays)
    value = jax.value_and_grad(lambda p: loss_of(model, p, batch, noise, 1, 1)[0])
    loss, grads = jax.jit(value)(used)
    assert_close(loss, arrays["out/loss_total"], dtype, "loss")
    theirs = to_flax(under(arrays, "grad/"))
    assert_trees_close(grads, {name: theirs[name] for name in used}, dtype, "gradient")
    read = {name: batch["labelled"][name] for name in ("ids", "lengths")}
    log_q = model.apply({"params": used}, read, language="en", method="predict")["log_q"]
    assert (np.asarray(log_q).argmax(-1) == arrays["out/pred"]).all()
    accuracy = (arrays["out/pred"] == arrays["in/lab_y"]).mean()
    assert accuracy == pytest.approx(arrays["out/accuracy"])


@DTYPES
@files("stl")
def test_sticking_the_landing(path, dtype):
    arrays = load(path, dtype)
    params, batch, noise = to_flax(under(arrays, "param/")), make_batch(arrays), make_noise(arrays)
    model = make_model(arrays, stl=True)
    value = jax.value_and_grad(lambda p: 2 * loss_of(model, p, batch, noise, 1.0, 1.0)[0])
    loss, grads = jax.jit(value)(params)
    assert_close(loss, arrays["out/loss"], dtype, "loss")
    assert_trees_close(grads, to_flax(under(arrays, "grad_stl/")), dtype, "gradient")


@DTYPES
@files("optim_4_iterations")
def test_four_updates(path, dtype):
    """The reference makes Adam's moments anew where the KL sets in, before the second update."""
    arrays = load(path, dtype)
    start, end = arrays["in/anneal_iterations"]
    model = make_model(arrays, clamp_kl_y=True)
    b1, b2 = arrays["in/betas"]
    assert b1 == pytest.approx(0.9)
    optimizer = adam(b2=float(b2))
    params = to_flax(under(arrays, "param/"))
    g, rate = arrays["in/g"], arrays["in/lr"]
    state = optimizer.init(params)
    for i in range(int(arrays["in/n_iterations"])):
        if i == start:
            state = optimizer.init(params)
        batch, noise = make_batch(arrays, f"_{i}"), make_noise(arrays, str(i))

        def loss(p, batch=batch, noise=noise, i=i):
            # their labelled pass is half an iteration ahead
            total = 0.0
            for group, at in (("unlabelled", i), ("labelled", i + 0.5)):
                c = schedules.window(at, start=start, end=end)
                total += loss_of(model, p, {group: batch[group]}, noise, g, c)[0]
            return total

        grads = jax.jit(jax.grad(loss))(params)
        updates, state = optimizer.update(grads, state, params)
        params = jax.tree.map(lambda p, u: p - rate * u, params, updates)
    assert_trees_close(params, to_flax(under(arrays, "out/final/")), dtype, "parameters")


@DTYPES
@files("gumbel_softmax")
def test_gumbel_softmax(path, dtype):
    arrays = load(path, dtype)
    logits, gumbel, w = arrays["in/logits"], arrays["eps/gumbel"], arrays["in/w"]
    for name in under(arrays, "out/sample_t"):
        t = float(name)
        sample = dist.gumbel_softmax(logits, gumbel, t)
        assert_close(sample, arrays[f"out/sample_t{name}"], dtype, f"sample at {t}")
        density = dist.concrete_log_prob(logits, arrays[f"out/sample_t{name}"], t)
        assert_close(density, arrays[f"out/log_density_t{name}"], dtype, f"density at {t}")
        grad = jax.grad(lambda a, t=t: (w * dist.gumbel_softmax(a, gumbel, t)).sum())(logits)
        assert_close(grad, arrays[f"grad/logits_t{name}"], dtype, f"gradient at {t}", gradient=True)


@DTYPES
@files("kl")
def test_divergences(path, dtype):
    arrays = load(path, dtype)
    model = lambda **fields: SSVAE(TextEncoder({}), arrays["in/y_logits"].shape[1], 1, **fields)
    for kind in ("true", "clamped"):
        of = model(clamp_kl_y=kind == "clamped")
        kl_y = lambda a, of=of: of._kl_y(jax.nn.log_softmax(a))
        assert_close(kl_y(arrays["in/y_logits"]), arrays[f"out/kl_y_{kind}"], dtype, kind)
        grad = jax.grad(lambda a, f=kl_y: f(a).sum())(arrays["in/y_logits"])
        assert_close(grad, arrays[f"grad/y_logits_{kind}"], dtype, kind, gradient=True)
    scale = jax.nn.softplus(arrays["in/z_scale_raw"])
    assert_close(scale, arrays["out/z_scale"], dtype, "scale")

    def kl_z(mean, raw):
        return dist.kl(DiagonalGaussian(mean, 2 * jnp.log(jax.nn.softplus(raw))))

    both = arrays["in/z_loc"], arrays["in/z_scale_raw"]
    assert_close(kl_z(*both), arrays["out/kl_z"], dtype, "kl_z")
    grads = jax.grad(lambda *x: kl_z(*x).sum(), argnums=(0, 1))(*both)
    for name, grad in zip(("z_loc", "z_scale_raw"), grads, strict=True):
        assert_close(grad, arrays[f"grad/{name}"], dtype, name, gradient=True)


@files("kl_anneal")
def test_annealing(path):
    arrays = load(path, np.float64)
    start, end = arrays["in/anneal"]
    steps = arrays["in/iteration"]
    window = lambda x: np.asarray(schedules.window(x, start=start, end=end))
    np.testing.assert_allclose(window(steps), arrays["out/coeff_unlab"], atol=1e-6)
    np.testing.assert_allclose(window(steps + 0.5), arrays["out/coeff_lab"], atol=1e-6)


def test_every_parameter_is_compared():
    """No name of theirs is forgotten: as many numbers here as there."""
    path = golden.ROOT / "ssvae" / "ssvae_zy_separate_kl_full_true.npz"
    arrays = load(path, np.float64)
    theirs = sum(x.size for x in under(arrays, "param/").values())
    found = sum(x.size for x in flatten_dict(to_flax(under(arrays, "param/"))).values())
    assert found == theirs + json.loads(str(arrays["in/sizes"]))["E"]  # the start, beside its row
