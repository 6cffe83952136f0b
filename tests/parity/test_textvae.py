"""Text VAEs against the paper's code: values, gradients, updates, bounds, decoding, schedules."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from jaxsdgm import distributions as dist
from jaxsdgm.data.batches import EqualLengthPlan
from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.evaluation.decoding import END, beam_search, decode
from jaxsdgm.evaluation.latents import active_units, mutual_information
from jaxsdgm.evaluation.likelihood import importance_nll, perplexity
from jaxsdgm.models.textvae import SENTENCES, TextVAE
from jaxsdgm.training import schedules
from jaxsdgm.training.plateau import START, Plateau
from jaxsdgm.training.state import compare, create_state, nothing_yet, sgd
from tests.parity import golden
from tests.parity.golden import DTYPES, assert_close, assert_trees_close, load, under

files = partial(golden.files, "textvae")
BACKENDS = pytest.mark.parametrize("backend", ["scan", "packed"])
LEAVES = {
    "embed.weight": "table",
    "lstm.weight_ih_l0": "lstm/kernel_in",
    "lstm.weight_hh_l0": "lstm/kernel_hidden",
    "lstm.bias_ih_l0": "lstm/bias_in",
    "lstm.bias_hh_l0": "lstm/bias_hidden",
    "linear.weight": "kernel",
    "pred_linear.weight": "kernel",
    "trans_linear.weight": "to_state",
}


def to_flax(arrays, part=""):
    """Their parameters, or gradients, by our names; a language model's are all of a `part`."""
    found = {}
    for name, value in arrays.items():
        side, _, leaf = name.partition(".") if not part else (part, "", name)
        if leaf in LEAVES:
            transposed = leaf.startswith("lstm.weight") or leaf.endswith("linear.weight")
            found[f"{side}/{LEAVES[leaf]}"] = jnp.asarray(value.T if transposed else value)
    return unflatten_dict(found, sep="/")


def make_model(params, **fields):
    """A model of the sizes of the weights."""
    decoder = params["decoder"]
    vocab_size, embedding = decoder["table"].shape
    latent = decoder["lstm"]["kernel_in"].shape[0] - embedding
    hidden = decoder["kernel"].shape[0]
    model = TextVAE(vocab_size, embedding, hidden, latent, dropout=0.0, **fields)
    if "encoder" in params and len(params["encoder"]["kernel"]) != hidden:
        model = model.clone(encoder_hidden=len(params["encoder"]["kernel"]))
    return model


def rows_of(arrays):
    ids = arrays["in/x"]
    lengths = arrays.get("in/lengths", np.full(len(ids), ids.shape[1]))
    n = len(ids)
    return {"ids": ids, "lengths": lengths, "row": np.arange(n), "mask": np.ones(n)}


def recorded(draws):
    """The noise of a fixture: `[b, z]` or, of several draws, `[b, k, z]`."""
    return lambda name, row, shape, draw=None: jnp.asarray(draws)[row]


def terms_of(model, params, rows, draws, **hyper):
    hyper = {"kl_weight": 1.0, "free_bits": 0.0, **hyper}
    arguments = {"hyper": hyper, "noise": recorded(draws), "train": True}
    found = model.apply({"params": params}, {SENTENCES: rows}, **arguments, method="objective")
    return found[SENTENCES]


def with_gradient(model, params, rows, draws, **hyper):
    """Terms, the mean loss, and its gradient."""

    def mean_loss(params):
        terms = terms_of(model, params, rows, draws, **hyper)
        return terms["loss"].mean(), terms

    (loss, terms), gradient = jax.value_and_grad(mean_loss, has_aux=True)(params)
    return terms, loss, gradient


@DTYPES
@files("encoder")
def test_encoder(path, dtype):
    arrays = load(path, dtype)
    given = under(arrays, "param/")
    params = to_flax({f"encoder.{k.removeprefix('encoder.')}": v for k, v in given.items()})
    rows, n = rows_of(arrays), len(params["encoder"]["kernel"])
    size = params["encoder"]["table"].shape
    model = TextVAE(*size, n, params["encoder"]["kernel"].shape[1] // 2, backend="packed")

    def encode(params):
        return DiagonalGaussian(
            *model.apply({"params": params}, rows["ids"], rows["lengths"], method="encode")
        )

    q = encode(params)
    assert_close(q.mean, arrays["out/mu"], dtype, "mean")
    assert_close(q.log_var, arrays["out/logvar"], dtype, "log-variance")
    per_dimension = dist.kl_per_dimension(q, dist.standard_normal_like(q))
    assert_close(per_dimension, arrays["out/kl_dim"], dtype, "kl of dimensions")
    assert_close(dist.kl(q), arrays["out/kl"], dtype, "kl")
    many = DiagonalGaussian(q.mean[:, None], q.log_var[:, None])
    z = many.sample(arrays["eps/z"])
    assert_close(z, arrays["out/z"], dtype, "draws")
    assert_close(dist.log_prob(many, z), arrays["out/log_q"], dtype, "log q")
    prior = dist.standard_normal_like(DiagonalGaussian(z, z))
    assert_close(dist.log_prob(prior, z), arrays["out/log_p"], dtype, "log p")
    total = lambda params: (lambda q: q.mean.sum() + (q.log_var**2).sum())(encode(params))
    expected = {
        f"encoder.{k.removeprefix('encoder.')}": v for k, v in under(arrays, "grad/").items()
    }
    assert_trees_close(jax.grad(total)(params), to_flax(expected), dtype, "gradient")


@DTYPES
@files("decoder")
def test_decoder(path, dtype):
    arrays = load(path, dtype)
    name = lambda k: f"decoder.{k.removeprefix('decoder.')}"
    params = to_flax({name(k): v for k, v in under(arrays, "param/").items()})
    model, rows, z = make_model(params), rows_of(arrays), arrays["in/z"]
    b, s, _ = z.shape

    def nll(params, z):
        flat, repeat = z.reshape(b * s, -1), lambda x: jnp.repeat(x, s, axis=0)
        decoder = lambda m: m.decoder.nll(
            flat, *(repeat(rows[k]) for k in ("ids", "lengths", "row")), train=False
        )
        return model.apply({"params": params}, method=decoder).reshape(b, s)

    assert_close(nll(params, z), arrays["out/rec"], dtype, "reconstruction")
    found = jax.grad(lambda *a: nll(*a).mean(), (0, 1))(params, jnp.asarray(z))
    gradient = under(arrays, "grad/")
    assert_close(found[1], gradient.pop("z"), dtype, "gradient of z", gradient=True)
    gradient = to_flax({name(k): v for k, v in gradient.items()})
    assert_trees_close(found[0], gradient, dtype, "gradient")
    # word by word, as in generation
    one = {"params": params}
    state = model.apply(one, z[:, 0], method="first_state")
    for t in range(rows["ids"].shape[1] - 1):
        logits, state = model.apply(one, z[:, 0], rows["ids"][:, t], state, method="next_word")
        assert_close(logits, arrays["out/logits"][:, 0, t], dtype, f"logits of step {t}")


@DTYPES
@BACKENDS
@files("elbo")
def test_elbo_and_an_update(path, dtype, backend):
    arrays = load(path, dtype)
    params = to_flax(under(arrays, "param/"))
    model, rows = make_model(params, backend=backend), rows_of(arrays)
    optimizer = sgd(clip=float(arrays["in/clip"]))
    for i, weight in enumerate(arrays["in/kl_weights"]):
        out = under(arrays, f"out/{i}/")
        found = with_gradient(model, params, rows, arrays["eps/z"][:, 0], kl_weight=weight)
        terms, loss, gradient = found
        assert_close(terms["loss"], out["loss"], dtype, "loss")
        assert_close(terms["reconstruction"], out["rec"], dtype, "reconstruction")
        assert_close(terms["kl"], out["kl"], dtype, "kl")
        assert_close(loss, out["loss_mean"], dtype, "mean loss")
        expected = to_flax(under(arrays, f"grad/{i}/"))
        assert_trees_close(gradient, expected, dtype, f"gradient {i}")
        direction, _ = optimizer.update(gradient, optimizer.init(params))
        after = jax.tree.map(lambda p, d: p - arrays["in/lr"] * d, params, direction)
        assert_trees_close(after, to_flax(under(out, "after/")), dtype, f"after {i}")


@DTYPES
@files("freebits")
def test_free_bits(path, dtype):
    arrays = load(path, dtype)
    params, rows = to_flax(under(arrays, "param/")), rows_of(arrays)
    cases = {
        "fb_dim": ("dimension", "target_dim_total"),
        "fbp_ex": ("sentence", "target_ex"),
        "fbp_batch_below": ("batch", "target_batch_below"),
        "fbp_batch_above": ("batch", "target_batch_above"),
    }
    for name, (kind, target) in cases.items():
        model, out = make_model(params, free_bits=kind), under(arrays, f"out/{name}/")
        hyper = {"kl_weight": arrays["in/kl_weight"], "free_bits": arrays[f"in/{target}"]}
        found = with_gradient(model, params, rows, arrays["eps/z"][:, 0], **hyper)
        terms, loss, gradient = found
        assert_close(terms["kl"], out["kl"], dtype, f"{name}: kl")
        assert_close(loss, out["paper_loss"].mean(), dtype, f"{name}: mean loss")
        if kind != "batch":
            assert_close(terms["loss"], out["paper_loss"], dtype, f"{name}: loss")
        expected = to_flax(under(arrays, f"grad/{name}/"))
        assert_trees_close(gradient, expected, dtype, f"{name}: gradient")


@DTYPES
@BACKENDS
@files("iwae")
def test_importance_weighted_bound(path, dtype, backend):
    arrays = load(path, dtype)
    params, rows = to_flax(under(arrays, "param/")), rows_of(arrays)
    draws = arrays["eps/z"]
    model = make_model(params, importance_samples=draws.shape[1], backend=backend)
    terms, loss, gradient = with_gradient(model, params, rows, draws)
    assert_close(terms["loss"], arrays["out/loss"], dtype, "loss")
    assert_close(loss, arrays["out/loss_mean"], dtype, "mean loss")
    assert_close(terms["reconstruction"], arrays["out/rec_mean"], dtype, "reconstruction")
    assert_close(terms["kl"], arrays["out/kl"], dtype, "kl")
    assert_trees_close(gradient, to_flax(under(arrays, "grad/")), dtype, "gradient")


@DTYPES
@BACKENDS
@files("padded")
def test_padding(path, dtype, backend):
    arrays = load(path, dtype)
    params, rows = to_flax(under(arrays, "param/")), rows_of(arrays)
    model, draws = make_model(params, backend=backend), arrays["eps/z"][:, 0]
    weight = arrays["in/kl_weight"]
    terms, loss, gradient = with_gradient(model, params, rows, draws, kl_weight=weight)
    for ours, theirs in (("loss", "loss"), ("reconstruction", "rec"), ("kl", "kl")):
        assert_close(terms[ours], arrays[f"out/{theirs}"], dtype, ours)
    assert_close(loss, arrays["out/loss_mean"], dtype, "mean loss")
    assert_trees_close(gradient, to_flax(under(arrays, "grad/")), dtype, "gradient")
    shuffled = {name: x[::-1] for name, x in rows.items()}
    again = terms_of(model, params, shuffled, draws, kl_weight=weight)
    assert_close(again["loss"][::-1], terms["loss"], dtype, "in another order")


@DTYPES
@files("lstm_lm")
def test_language_model(path, dtype):
    arrays = load(path, dtype)
    params = to_flax(under(arrays, "param/"), "decoder")
    model, rows = make_model(params), rows_of(arrays)
    terms, loss, gradient = with_gradient(model, params, rows, None)
    assert model.latent == 0
    assert_close(terms["loss"], arrays["out/loss"], dtype, "loss")
    assert_close(loss, arrays["out/loss_mean"], dtype, "mean loss")
    words = (rows["lengths"] - 1).sum()
    found = perplexity(float(terms["loss"].sum()), int(words))
    assert_close(found, arrays["out/ppl"], dtype, "perplexity")
    expected = to_flax(under(arrays, "grad/"), "decoder")
    assert_trees_close(gradient, expected, dtype, "gradient")


@DTYPES
@files("nll_is")
@pytest.mark.parametrize("chunks", [1, 3])
def test_importance_sampling(path, dtype, chunks):
    arrays = load(path, dtype)
    params, rows = to_flax(under(arrays, "param/")), rows_of(arrays)
    model, draws = make_model(params), jnp.asarray(arrays["eps/z"])
    bound = lambda method: partial(model.apply, {"params": params}, method=method)
    q = bound("encode")(rows["ids"], rows["lengths"])
    found = []
    for i, (ids, length) in enumerate(zip(rows["ids"], rows["lengths"], strict=True)):
        nll = lambda z, ids=ids, length=length: bound("sentence_nll")(z, jnp.asarray(ids), length)
        size = draws.shape[1] // chunks
        draw = lambda j, c, i=i: jax.lax.dynamic_slice_in_dim(draws[i], j * c, c)
        own = DiagonalGaussian(q[0][i], q[1][i])
        found.append(importance_nll(nll, own, draw, samples=size * chunks, chunk=size))
    assert_close(np.array(found), arrays["out/nll"], dtype, "nll")
    words = int(arrays["out/num_words"])
    assert words == (rows["lengths"] - 1).sum()
    assert_close(perplexity(float(sum(found)), words), arrays["out/ppl"], dtype, "perplexity")


@DTYPES
@files("mi_au")
def test_information_and_active_units(path, dtype):
    arrays = load(path, dtype)
    given = under(arrays, "param/")
    params = to_flax({f"encoder.{k.removeprefix('encoder.')}": v for k, v in given.items()})
    kernel = params["encoder"]["kernel"]
    model = TextVAE(*params["encoder"]["table"].shape, len(kernel), kernel.shape[1] // 2)
    batches = [arrays[f"in/x/{i}"] for i in range(4)]
    encode = lambda x: model.apply(
        {"params": params}, x, np.full(len(x), x.shape[1]), method="encode"
    )
    found = [encode(x) for x in batches]
    means, log_vars = (np.concatenate([q[i] for q in found]) for i in (0, 1))
    noise = np.concatenate([arrays[f"eps/z/{i}"][:, 0] for i in range(4)])
    told = mutual_information(means, log_vars, noise=noise)
    assert_close(told, arrays["out/mi"], dtype, "mutual information")
    one_by_one = [
        mutual_information(*q, noise=arrays[f"eps/z/{i}"][:, 0]) for i, q in enumerate(found)
    ]
    assert_close(np.array(one_by_one), arrays["out/mi_per_batch"], dtype, "of batches")
    assert active_units(means) == arrays["out/au_at_0.01"]
    assert active_units(means, threshold=float(arrays["in/delta"])) == arrays["out/au_at_delta"]


@DTYPES
@files("decode")
def test_decoding(path, dtype):
    arrays = load(path, dtype)
    name = lambda k: f"decoder.{k.removeprefix('decoder.')}"
    params = to_flax({name(k): v for k, v in under(arrays, "param/").items()})
    model, z = make_model(params), jnp.asarray(arrays["in/z"])
    bound = lambda method: partial(model.apply, {"params": params}, method=method)
    state = bound("first_state")(z)
    ids = np.asarray(decode(bound("next_word"), z, state))
    np.testing.assert_array_equal(ids, arrays["out/greedy"])
    ends = ids == END
    lengths = np.where(ends.any(1), ends.argmax(1) + 1, ids.shape[1])
    np.testing.assert_array_equal(lengths, arrays["out/greedy_len"])
    for i, (beam, length) in enumerate(
        zip(arrays["out/beam"], arrays["out/beam_len"], strict=True)
    ):
        first = jax.tree.map(lambda x, i=i: x[i : i + 1], state)
        width = int(arrays["in/beam"])
        assert beam_search(bound("next_word"), z[i], first, width=width) == beam[:length].tolist()


@DTYPES
@files("linear_cls")
def test_linear_classifier(path, dtype):
    arrays = load(path, dtype)
    given = under(arrays, "param/")
    params = to_flax({k: v for k, v in given.items() if k.startswith("encoder.")})
    kernel = params["encoder"]["kernel"]
    model, rows = (
        TextVAE(*params["encoder"]["table"].shape, len(kernel), kernel.shape[1] // 2),
        rows_of(arrays),
    )
    mean, _ = model.apply({"params": params}, rows["ids"], rows["lengths"], method="encode")

    def loss(weight, bias):
        return dist.cross_entropy(mean @ weight.T + bias, arrays["in/y"])

    head = given["linear.weight"], given["linear.bias"]
    assert_close(loss(*head), arrays["out/loss"], dtype, "loss")
    found = jax.grad(lambda *head: loss(*head).mean(), (0, 1))(*map(jnp.asarray, head))
    for name, gradient in zip(("weight", "bias"), found, strict=True):
        expected = arrays[f"grad/linear.{name}"]
        assert_close(gradient, expected, dtype, name, gradient=True)


@files("schedules")
@pytest.mark.parametrize("name", ["code", "paper"])
def test_plateau(path, name):
    """Learning rates and reloads epoch by epoch, and when the run ends."""
    arrays = load(path, np.float64)
    given, out = under(arrays, f"in/{name}/"), under(arrays, f"out/{name}/")
    rule = Plateau(int(given["patience"]), int(given["first_epoch"]))
    optimizer = sgd(clip=5.0)
    hyper = {"learning_rate": float(arrays["in/lr0"]), **START}
    params = {"params": {"epoch": jnp.zeros(())}}
    one = create_state(params, optimizer, seed=0, hyper=hyper)
    states = jax.tree.map(lambda x: x[None], one)
    bests = jax.tree.map(lambda x: x[None], nothing_yet(one, maximise=False))
    better = jax.vmap(partial(compare, maximise=False, min_delta=0.0))
    for epoch in range(int(out["epochs_run"])):
        assert not rule.ended(states)[0]
        states = dataclasses.replace(states, params={"epoch": jnp.full(1, float(epoch))})
        scores = jnp.asarray(arrays["in/val_loss"][epoch : epoch + 1], jnp.float32)
        bests = better(bests, states, scores)
        states = rule.between(states, bests, scores, jnp.full(1, epoch))
        assert states.hyper["learning_rate"][0] == out["lr"][epoch]
        assert bests.params["epoch"][0] == out["best_epoch"][epoch]
        expected = out["best_epoch"][epoch] if out["reload"][epoch] else epoch
        assert states.params["epoch"][0] == expected
    assert rule.ended(states)[0]


@files("schedules")
def test_kl_weight(path):
    arrays = load(path, np.float64)
    assert arrays["in/kl_start"] == 0
    warmup = arrays["in/anneal_epochs"] * arrays["in/anneal_ntrain"] / arrays["in/anneal_batch"]
    steps = 1 + jnp.arange(len(arrays["out/kl_weight"]))
    found = schedules.linear(steps, warmup=float(warmup))
    np.testing.assert_allclose(found, arrays["out/kl_weight"], rtol=1e-5)


@files("schedules")
def test_batches_of_one_length(path):
    arrays = load(path, np.float64)
    plan = EqualLengthPlan(SENTENCES, arrays["in/lengths"], int(arrays["in/bucket_batch"]), seed=0)
    found = [[arrays["in/lengths"][batch[0]], len(batch)] for batch in plan.batches]
    expected = arrays["out/bucket_T_B"]
    offset = expected[0, 0] - found[0][0]  # theirs count `<s>` and `</s>`
    np.testing.assert_array_equal(np.array(found) + [offset, 0], expected)
