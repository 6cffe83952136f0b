"""VSL against the paper's code: values, gradients, remembered priors, annealing, trajectories."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.layers.token_encoder import TokenEncoder, tokens_of
from jaxsdgm.models.terms import masked_mean
from jaxsdgm.models.vsl import VSL, PriorStore
from jaxsdgm.training import schedules
from jaxsdgm.training.state import adam
from tests.parity import golden
from tests.parity.golden import DTYPES, assert_close, assert_trees_close, load, under

SYSTEMS = {"g": "vsl-g", "flat": "vsl-gg-flat", "hier": "vsl-gg-hier", "bigru": "bigru"}

files = partial(golden.files, "vsl")


# -- their arrays in our form --------------------------------------------------------------------


def shifted(table):
    """A row of zeros for PAD before theirs, of which the first is UNK."""
    return np.concatenate([np.zeros_like(table[:1]), table])


def to_flax(arrays):
    """Their parameters by our names."""
    found = {"encoder/table": shifted(arrays["word_embed"])}
    found["encoder/characters"] = shifted(arrays["char_embed"])
    for theirs, ours in (("char_gru", "character_gru"), ("word_gru", "gru")):
        for name, leaf in (("w_ih", "kernel_in"), ("w_hh", "kernel_hidden")):
            both = [arrays[f"{theirs}/{way}/{name}"].T for way in ("fw", "bw")]
            found[f"encoder/{ours}/{leaf}"] = np.stack(both)
        for name, leaf in (("b_ih", "bias_in"), ("b_hh", "bias_hidden")):
            both = [arrays[f"{theirs}/{way}/{name}"] for way in ("fw", "bw")]
            found[f"encoder/{ours}/{leaf}"] = np.stack(both)
    linear = {"classifier": "classifier"}
    for latent in "yz":
        linear |= {
            f"q_{latent}_mean": f"means_{latent}",
            f"q_{latent}_logvar": f"log_vars_{latent}",
        }
    linear |= {f"dec/{i}": f"decoder_{i}" for i in range(9)}
    for theirs, ours in linear.items():
        if f"{theirs}/w" in arrays:
            found[f"{ours}/kernel"], found[f"{ours}/bias"] = (
                arrays[f"{theirs}/w"].T,
                arrays[f"{theirs}/b"],
            )
    if "out_embed" in arrays:
        found["output_table"] = shifted(arrays["out_embed"])
    return unflatten_dict(found, sep="/")


def gradients(arrays, params):
    """Theirs by our names; those of what they kept fixed are left out."""
    fixed = "word_embed" not in arrays
    arrays = {"word_embed": np.zeros(params["encoder"]["table"].shape)[1:], **arrays}
    found = flatten_dict(to_flax(arrays), sep="/")
    if fixed:
        del found["encoder/table"]
    return unflatten_dict(found, sep="/")


def rows_of(arrays, prefix, width, first):
    """A batch of theirs, filled up to `width` tokens; sentences are numbered from `first`."""
    fill = lambda x: np.pad(x, ((0, 0), (0, width - x.shape[1]), *((0, 0),) * (x.ndim - 2)))
    mask, char_mask = (arrays[f"{prefix}_{name}"] > 0 for name in ("mask", "char_mask"))
    n = len(mask)
    rows = {
        "ids": fill((arrays[f"{prefix}_word"] + 1) * mask),
        "characters": fill((arrays[f"{prefix}_char"] + 1) * char_mask),
        "row": np.arange(n),
        "mask": np.ones(n),
        "sentence": first + np.arange(n),
        "start": (first + np.arange(n)) * width,
    }
    if f"{prefix}_label" in arrays:
        rows["labels"] = fill(arrays[f"{prefix}_label"])
    return rows


def batch_of(arrays, found=("l", "u"), name=""):
    """Both batches of a fixture at one width, and how wide that is."""
    names = {"l": "labelled", "u": "unlabelled"}
    there = [k for k in found if f"{k}{name}_word" in arrays]
    width = max(arrays[f"{k}{name}_word"].shape[1] for k in there)
    batch, first = {}, 0
    for k in there:
        batch[names[k]] = rows_of(arrays, f"{k}{name}", width, first)
        first += len(batch[names[k]]["row"])
    return batch, width


def noise_of(arrays, width, prefix=""):
    """Recorded draws, those of the labelled sentences first."""

    def noise(name, row, shape, draw=None):
        parts = [arrays.get(f"{prefix}{k}_{name}") for k in "lu"]
        fill = lambda x: jnp.pad(x, ((0, 0), (0, width - x.shape[1]), (0, 0)))
        if all(part is None for part in parts):
            return jnp.zeros((len(row), *shape))
        values = jnp.concatenate([fill(part) for part in parts if part is not None])
        values = values.reshape(-1, values.shape[-1])  # a row a token
        assert values.shape == (len(row), *shape), name
        return values

    return noise


def make_model(arrays, stem, **fields):
    """The system of a fixture, at its sizes."""
    params = under(arrays, "param/")
    encoder = TokenEncoder(
        len(params["word_embed"]) + 1,
        len(params["char_embed"]) + 1,
        params["word_embed"].shape[1],
        params["word_gru/fw/w_hh"].shape[1],
        params["char_embed"].shape[1],
        params["char_gru/fw/w_hh"].shape[1],
    )
    system = SYSTEMS[stem.replace("vsl_", "").replace("traj_", "").split("_")[0]]
    if "dec/0/w" in params:
        fields["decoder_hidden"] = len(params["dec/0/w"])
        fields["decoder_layers"] = sum(name.startswith("dec/") for name in params) // 2 - 1
        fields["tied"] = "out_embed" not in params
        fields["latent"] = len(params["q_z_mean/w"])
    if "q_y_mean/w" in params:
        fields["tag_latent"] = len(params["q_y_mean/w"])
    if "hier_z" in stem:
        fields["classify"] = "z"
    fields["variational"] = "novr" not in stem
    return VSL(encoder, len(params["classifier/w"]), system, **fields)


def stores(arrays, model, batch, width):
    """Their priors as ours remembers them."""
    if not model.latents or "kl_weight" not in arrays:
        return {}
    values = {}
    for ours, theirs in (("mean", "mean"), ("log_var", "logvar")):
        parts = []
        for k in "lu":
            found = [arrays.get(f"{k}_prior_{name}_{theirs}") for name in model.latents]
            if found[0] is not None:
                x = np.concatenate(found, -1)
                parts.append(np.pad(x, ((0, 0), (0, width - x.shape[1]), (0, 0))))
        if parts:
            x = np.concatenate(parts)
            values[ours] = jnp.asarray(x.reshape(-1, x.shape[-1]))
    if not values:
        return {}
    return {"priors": {**values, "visits": jnp.zeros(len(values["mean"]) // width, jnp.int32)}}


# -- tests ---------------------------------------------------------------------------------------


@DTYPES
@files("[bv].*")
def test_objective(path, dtype):
    """Every term, the loss and its gradients, on recorded parameters and draws."""
    arrays = load(path, dtype)
    given, params = under(arrays, "in/"), to_flax(under(arrays, "param/"))
    batch, width = batch_of(given)
    n = sum(len(rows["row"]) for rows in batch.values())
    train = not path.stem.endswith("_eval")
    fields = {"sentences": n, "tokens": n * width} if "l_prior_z_mean" in given else {}
    fields = fields or ({"sentences": n, "tokens": n * width} if "u_prior_z_mean" in given else {})
    noise_there = any(np.any(arrays.get(f"eps/{k}_x", 0)) for k in "lu")
    if noise_there:
        fields["decoder_noise"] = float(given["x_logvar"])
    model = make_model(arrays, path.stem, **fields)
    stats = stores(given, model, batch, width)
    weights = {"kl_weight": given.get("kl_weight", 0.0), "labelled_weight": 1.0}
    alone = "l_word" not in given  # the fixture of unlabelled sentences alone has weight 1
    weights["unlabelled_weight"] = 1.0 if alone else given.get("unlabel_weight", 1.0)

    def objective(params):
        groups, new = model.apply(
            {"params": params, "batch_stats": stats},
            batch,
            hyper=weights,
            noise=noise_of(under(arrays, "eps/"), width),
            train=train,
            method="objective",
            mutable=["batch_stats"],
        )
        means = {g: {k: x.mean() for k, x in terms.items()} for g, terms in groups.items()}
        return sum(terms["loss"] for terms in means.values()), (means, new)

    (total, (means, _)), grads = jax.jit(jax.value_and_grad(objective, has_aux=True))(params)
    if "out/total" in arrays:
        assert_close(total, arrays["out/total"], dtype, "total")
    for k, group in (("l", "labelled"), ("u", "unlabelled")):
        found = means.get(group, {})
        pairs = {"rec": "reconstruction", "sup": "cross_entropy"}
        for theirs, ours in pairs.items():
            if f"out/{k}_{theirs}" in arrays:
                assert_close(found[ours], arrays[f"out/{k}_{theirs}"], dtype, f"{k}_{theirs}")
        if f"out/{k}_kl" in arrays:
            kl = found["kl_z"] + found.get("kl_y", 0)
            assert_close(kl, arrays[f"out/{k}_kl"], dtype, f"{k}_kl")
    expected = under(arrays, "grad/")
    if expected:
        expected = gradients(expected, params)
        trained = "table" in expected["encoder"]
        if not trained:
            grads["encoder"].pop("table")
        # PAD has no gradient of theirs; ours is 0
        assert_trees_close(grads, expected, dtype, path.stem)


@DTYPES
@files("[bv].*")
def test_what_is_inferred(path, dtype):
    """States, posteriors, draws, the decoder's vectors and the tags' logits."""
    arrays = load(path, dtype)
    given, params = under(arrays, "in/"), to_flax(under(arrays, "param/"))
    for k, group in (("l", "labelled"), ("u", "unlabelled")):
        batch, width = batch_of(given, found=(k,)) if f"{k}_word" in given else ({}, 0)
        if not batch:
            continue
        model, rows = make_model(arrays, path.stem), batch[group]
        noise = noise_of(
            {key: x for key, x in under(arrays, "eps/").items() if key.startswith(k)}, width
        )

        def found(model, rows=rows, noise=noise):
            tokens = tokens_of(rows)
            train = not path.stem.endswith(("_eval", "_novr"))
            h, q, drawn = model.infer(tokens, tokens.of, None, noise=noise, train=train)
            vectors = model.word_vectors(drawn, tokens.of, noise) if drawn else None
            return h, q, drawn, model.log_p_tag(h, drawn), vectors

        h, q, drawn, log_p, vectors = model.apply({"params": params}, method=found)
        mask = (rows["ids"] > 0)[..., None]
        padded = lambda x, mask=mask: x.reshape(*mask.shape[:2], -1) * mask
        check = lambda actual, name, k=k, padded=padded: assert_close(
            padded(actual), arrays[f"out/{k}_{name}"], dtype, name
        )
        check(h, "h")
        for name in drawn:
            check(drawn[name], name)
            check(q[name].mean, f"q_{name}_mean")
            check(q[name].log_var, f"q_{name}_logvar")
        if f"out/{k}_class_logits" in arrays:
            logits = arrays[f"out/{k}_class_logits"]
            assert_close(padded(log_p), jax.nn.log_softmax(logits) * mask, dtype, "class_logits")
        if vectors is not None:
            check(vectors, "dec_mean")
        if f"out/{k}_pred" in arrays:
            found = padded(log_p).argmax(-1) * mask[..., 0]
            np.testing.assert_array_equal(found, arrays[f"out/{k}_pred"])


@files("prior_buffer")
@pytest.mark.parametrize("every", [1, 2, 3])
def test_priors(path, every):
    """What is read at every step, and what is remembered at the end."""
    arrays = load(path, np.float32)
    lengths, order = arrays["in/lens"], arrays["in/order"]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    store = PriorStore(len(lengths), int(lengths.sum()), 2)
    zeros = jnp.zeros((lengths.sum(), 2))
    stats = {"mean": zeros, "log_var": zeros, "visits": jnp.zeros(len(lengths), jnp.int32)}
    for step, visited in enumerate(order):
        posterior = arrays[f"in/post_{step}"]
        t = posterior.shape[1]
        rows = {
            "ids": (np.arange(t) < lengths[visited][:, None]).astype(np.int32),
            "mask": np.ones(2),
            "sentence": visited,
            "start": starts[visited],
        }
        rows["characters"] = np.zeros((2, t, 1), np.int32)
        prior, new = store.apply(
            {"batch_stats": stats},
            rows,
            tokens_of(rows),
            DiagonalGaussian(posterior.reshape(-1, 2), posterior.reshape(-1, 2)),
            np.full(2, every),
            mutable=["batch_stats"],
        )
        stats = new["batch_stats"]
        read = prior.mean.reshape(posterior.shape)
        np.testing.assert_array_equal(read, arrays[f"out/freq{every}/read_{step}"])
    for i, (start, n) in enumerate(zip(starts, lengths, strict=True)):
        final = arrays[f"out/freq{every}/final_{i}"]
        np.testing.assert_array_equal(stats["mean"][start : start + n], final)
    np.testing.assert_array_equal(stats["visits"], arrays[f"out/freq{every}/count"])


@files("kl_anneal")
def test_annealing(path):
    arrays = load(path, np.float64)
    for name, rate in (("1e-3", 1e-3), ("1e-4", 1e-4)):
        found = [schedules.exponential(i, rate=rate) for i in arrays["in/iteration"]]
        np.testing.assert_allclose(found, arrays[f"out/rate_{name}"], rtol=1e-5, atol=1e-7)


@files("traj_.*")
def test_trajectory(path):
    """Some steps of clipped Adam, with priors that are replaced on the way."""
    arrays = load(path, np.float32)
    given, params = under(arrays, "in/"), to_flax(under(arrays, "param/"))
    pairs = [batch_of(given, name=f"_batch{i}") for i in range(2)]
    width = pairs[0][1]
    firsts = 0
    for batch, _ in pairs:
        for rows in batch.values():
            n = len(rows["row"])
            rows["sentence"], rows["start"] = (
                (firsts + np.arange(n)),
                (firsts + np.arange(n)) * width,
            )
            firsts += n
    every = int(given["update_freq"])
    sizes = {"sentences": firsts, "tokens": firsts * width, "update_every": (every, every)}
    model = make_model(arrays, path.stem, **sizes)
    size = sum(model.latents.values())
    zeros = jnp.zeros((firsts * width, size))
    stats = {"priors": {"mean": zeros, "log_var": zeros, "visits": jnp.zeros(firsts, jnp.int32)}}
    optimizer = adam(frozen=("table",), clip=float(given["clip"]))
    state = optimizer.init(params)

    @jax.jit
    def step(params, stats, state, batch, eps, kl_weight):
        def objective(params):
            groups, new = model.apply(
                {"params": params, "batch_stats": stats},
                batch,
                hyper={
                    "kl_weight": kl_weight,
                    "labelled_weight": 1.0,
                    "unlabelled_weight": given["unlabel_weight"],
                },
                noise=noise_of(eps, width),
                train=True,
                method="objective",
                mutable=["batch_stats"],
            )
            total = sum(masked_mean(terms["loss"], batch[g]["mask"]) for g, terms in groups.items())
            return total, new["batch_stats"]

        (total, stats), grads = jax.value_and_grad(objective, has_aux=True)(params)
        grads["encoder"]["table"] = jnp.zeros_like(grads["encoder"]["table"])
        updates, state = optimizer.update(grads, state, params)
        params = jax.tree.map(lambda p, u: p - given["lr"] * u, params, updates)
        return params, stats, state, total, optax.tree.norm(grads)

    for i in range(int(given["steps"])):
        eps = {k: jnp.asarray(x) for k, x in under(arrays, f"eps/step{i}_").items()}
        weight = schedules.exponential(i, rate=float(given["kl_rate"]))
        np.testing.assert_allclose(weight, arrays[f"out/step{i}_kl_weight"], rtol=1e-5, atol=1e-7)
        params, stats, state, total, norm = step(params, stats, state, pairs[i % 2][0], eps, weight)
        np.testing.assert_allclose(total, arrays[f"out/step{i}_total"], rtol=1e-3)
        np.testing.assert_allclose(norm, arrays[f"out/step{i}_grad_norm"], rtol=1e-3)
    expected = flatten_dict(to_flax(under(arrays, "out/final_param/")), sep="/")
    found = flatten_dict(params, sep="/")
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
