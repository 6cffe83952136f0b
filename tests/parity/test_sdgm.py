"""NXVAE, M1+M2 and AUX against the paper's code: values, gradients, running statistics."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxsdgm import distributions as dist
from jaxsdgm.distributions import DiagonalGaussian
from jaxsdgm.evaluation.latents import active_units
from jaxsdgm.layers.encoders import SHARED, GaussianHead, TextEncoder
from jaxsdgm.layers.recurrent import BiLSTM
from jaxsdgm.models.crosslingual import two_languages
from jaxsdgm.models.nxvae import NXVAE
from jaxsdgm.models.sdgm import M1M2, Auxiliary
from jaxsdgm.training import schedules
from jaxsdgm.training.state import reference_adversarial_adam
from tests.parity import golden
from tests.parity.golden import (
    DTYPES,
    assert_close,
    assert_trees_close,
    cases,
    load,
    to_flax,
    under,
)

files = partial(golden.files, "sdgm")


def encoder_config(params):
    """Sizes of the encoder, read off its weights; the fixtures have no dropout."""
    layers = params["encoder"]["lstm"]
    hidden = layers["layer_0"]["kernel_hidden"].shape[1]
    width = layers["layer_0"]["kernel_in"].shape[1]
    return {"embedding": width, "hidden": hidden, "layers": len(layers), "dropout": 0.0}


def vocab_sizes(params):
    return {l: len(params["encoder"][f"embeddings_{l}"]["table"]) for l in golden.LANGUAGES}


@DTYPES
@files("bilstm_encoder")
def test_bilstm(path, dtype):
    arrays = load(path, dtype)
    params, _ = to_flax(under(arrays, "param/"))
    lstm = params["encoder"]["lstm"]
    model = BiLSTM(lstm["layer_0"]["kernel_hidden"].shape[1], len(lstm))

    def total(params, emb):
        row = np.arange(len(emb))
        outputs, h = model.apply({"params": params}, emb, arrays["in/lens"], row, train=False)
        return (h * arrays["in/cotangent_h"]).sum(), (outputs, h)

    (value, (outputs, h)), grads = jax.value_and_grad(total, (0, 1), has_aux=True)(
        lstm, arrays["in/emb"]
    )
    assert_close(h, arrays["out/h"], dtype, "h")
    assert_close(outputs, arrays["out/seq"], dtype, "seq")
    assert_close(value, arrays["out/total"], dtype, "total")
    expected = to_flax(under(arrays, "grad/"))[0]["encoder"]["lstm"]
    assert_trees_close(grads[0], expected, dtype, "grad")
    assert_close(grads[1], arrays["grad_in/emb"], dtype, "grad_in", gradient=True)


@DTYPES
@files("inferer_.*")
def test_gaussian_head(path, dtype):
    arrays = load(path, dtype)
    train = path.stem.endswith("train")
    params, stats = to_flax(under(arrays, "param/"))
    model = GaussianHead(len(params["mean"]["bias"]))

    def total(params, h):
        variables = {"params": params, "batch_stats": stats}
        q, new = model.apply(variables, h, np.ones(len(h)), train=train, mutable="batch_stats")
        z = q.sample(arrays["eps/z"]) if train else q.mean
        outputs = {"mu": q.mean, "logvar": q.log_var, "z": z}
        return sum((x * arrays[f"in/cotangent_{k}"]).sum() for k, x in outputs.items()), (
            outputs,
            new,
        )

    (value, (outputs, new)), grads = jax.value_and_grad(total, (0, 1), has_aux=True)(
        params, arrays["in/h"]
    )
    assert_close(value, arrays["out/total"], dtype, "total")
    for name, output in outputs.items():
        assert_close(output, arrays[f"out/{name}"], dtype, name)
    after = to_flax(under(arrays, "out/after/"))[1]
    assert_trees_close(new["batch_stats"], after, dtype, "after")
    assert_trees_close(grads[0], to_flax(under(arrays, "grad/"))[0], dtype, "grad")
    assert_close(grads[1], arrays["grad_in/h"], dtype, "grad_in", gradient=True)


@DTYPES
@files("bow_decoder_nll")
def test_bag_of_words(path, dtype):
    arrays = load(path, dtype)
    params, _ = to_flax(under(arrays, "param/"))
    for language in golden.LANGUAGES:
        model = nxvae(params)

        def total(params, z, language=language, model=model):
            def decode(model, z=z, language=language):
                table = model.encoder.table(language)
                return model.decoders[language].nll(z, arrays[f"in/x_{language}"], table)

            values = nn.apply(decode, model)({"params": params})
            return values.mean(), values

        (value, nll), grads = jax.value_and_grad(total, (0, 1), has_aux=True)(
            params, arrays[f"in/z_{language}"]
        )
        assert_close(nll, arrays[f"out/nll_{language}"], dtype, "nll")
        assert_close(value, arrays[f"out/total_{language}"], dtype, "total")
        expected = to_flax(under(arrays, f"grad_{language}/"))[0]
        assert_trees_close(grads[0], expected, dtype, "grad")
        assert_close(grads[1], arrays[f"grad_in/z_{language}"], dtype, "z", gradient=True)


def nxvae(params, adversary="none"):
    encoder = params.get("encoder", {})
    tables = {k.removeprefix("embeddings_"): v["table"] for k, v in encoder.items() if k != "lstm"}
    sizes = {l: len(tables[l]) for l in (*golden.LANGUAGES, SHARED) if l in tables}
    width = next(iter(tables.values())).shape[1]
    config = encoder_config(params) if "lstm" in encoder else {"embedding": width}
    hidden = len(params["discriminator"]["layer_0"]["bias"]) if "discriminator" in params else 1
    fields = {"latent": width, "discriminator_hidden": hidden, "adversary": adversary}
    return NXVAE(sizes, config, languages=golden.LANGUAGES, **fields)


def shared(params, language):
    """The parameters of an SNXVAE: a language's table and decoder are those of all languages."""
    encoder = {"lstm": params["encoder"]["lstm"]}
    encoder[f"embeddings_{SHARED}"] = params["encoder"][f"embeddings_{language}"]
    others = {k: v for k, v in params.items() if not k.startswith(("encoder", "decoders"))}
    return {**others, "encoder": encoder, f"decoders_{SHARED}": params[f"decoders_{language}"]}


def nxvae_terms(path, dtype, adversary, subwords=False):
    """Masked means, gradients and statistics of one fixture, with our objective."""
    arrays = load(path, dtype)
    params, stats = to_flax(under(arrays, "param/"))
    if subwords:
        params = shared(params, golden.LANGUAGES[int(arrays["in/lang"])])
    model, train = nxvae(params, adversary), not path.stem.endswith("eval")
    rows = {"ids": arrays["in/x"], "lengths": arrays["in/lens"]}
    rows.update(mask=np.ones(len(rows["ids"]), dtype), row=np.arange(len(rows["ids"])))
    hyper = {"kl_weight": arrays["in/alpha"], "kl_target": np.zeros((), dtype)}

    def total(params, name):
        groups, new = model.apply(
            {"params": params, "batch_stats": stats},
            {"sentences": rows},
            language=golden.LANGUAGES[int(arrays["in/lang"])],
            hyper=hyper,
            noise=lambda name, row, shape: arrays["eps/z"],
            train=train,
            method="objective",
            mutable="batch_stats",
        )
        return groups["sentences"][name].mean(), (groups["sentences"], new)

    run = jax.jit(jax.value_and_grad(total, has_aux=True), static_argnums=1)
    return arrays, params, lambda name: run(params, name)


@DTYPES
@files("nxvae_.*")
def test_nxvae(path, dtype):
    adversary = "reference" if "adversarial" in path.stem else "none"
    arrays, _, run = nxvae_terms(path, dtype, adversary)
    (value, (terms, new)), grads = run("loss")
    assert_close(terms["reconstruction"], arrays["out/nll_per_example"], dtype, "nll")
    assert_close(terms["kl"], arrays["out/kl_per_example"], dtype, "kl")
    assert_close(value, arrays["out/total"], dtype, "total")
    after = to_flax(under(arrays, "out/after/"))[1]
    assert_trees_close(new["batch_stats"], after, dtype, "after")
    assert_trees_close(grads, to_flax(under(arrays, "grad/"))[0], dtype, "grad")


@pytest.mark.parametrize("dtype", [np.float64])
@files("nxvae_adversarial.*")
def test_snxvae(path, dtype):
    """The same fixtures with one table and one decoder; the discriminator knows the languages."""
    arrays, _, run = nxvae_terms(path, dtype, "reference", subwords=True)
    (value, (terms, _)), grads = run("loss")
    assert_close(terms["reconstruction"], arrays["out/nll_per_example"], dtype, "nll")
    assert_close(value, arrays["out/total"], dtype, "total")
    expected = to_flax(under(arrays, "grad/"))[0]
    language = golden.LANGUAGES[int(arrays["in/lang"])]
    assert_trees_close(grads, shared(expected, language), dtype, "grad")


@DTYPES
@files("nxvae_adversarial.*")
def test_adversary_as_described(path, dtype):
    """The discriminator gets its own loss, the encoder its opposite, and nobody the other's."""
    arrays, _, run = nxvae_terms(path, dtype, "separate")
    (_, (terms, _)), grads = run("loss")
    for ours, theirs in (("discriminator", "loss_dis"), ("deceiver", "loss_enc")):
        assert_close(terms[ours], arrays[f"out/{theirs}_per_example"], dtype, ours)
    kinds = {k: to_flax(under(arrays, f"grad_{k}/"))[0] for k in ("vae", "dis", "enc")}
    without = lambda tree: {k: v for k, v in tree.items() if k != "discriminator"}
    expected = jax.tree.map(np.add, without(kinds["vae"]), without(kinds["enc"]))
    assert_trees_close(grads, expected, dtype, "encoder")
    expected = kinds["dis"]["discriminator"]
    assert_trees_close(grads["discriminator"], expected, dtype, "discriminator")


@DTYPES
@files("nxvae_adversarial.*")
def test_reference_optimisers(path, dtype):
    """One step of the three Adam optimisers of the paper's code (spec §4.2)."""
    arrays, params, run = nxvae_terms(path, dtype, "reference")
    _, grads = run("loss")
    optimizer = reference_adversarial_adam()
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    after = to_flax(under(arrays, "out/after_ref_step/"))[0]
    stepped = jax.tree.map(lambda p, u: p - 5e-4 * u, params, updates)
    moved = jax.tree.map(lambda new, old: new - old, stepped, params)
    expected = jax.tree.map(lambda new, old: np.asarray(new - old), after, params)
    # Adam's first step divides a gradient by its size: entries that are zero but for rounding
    # move by either 0 or a whole step
    reliable = jax.tree.map(lambda g: np.abs(g) > 1e-6, to_flax(under(arrays, "grad/"))[0])
    compare = lambda m, e, r: np.testing.assert_allclose(
        np.where(r, m, 0), np.where(r, e, 0), rtol=1e-2 if dtype == np.float32 else 1e-6, atol=1e-7
    )
    jax.tree.map(compare, moved, expected, reliable)


def semi_supervised(arrays, params, stem, **fields):
    sizes = vocab_sizes(params)
    decoder, config = "bow", None
    if "hid2vocab" in "".join(arrays):
        decoder = "gru"
        gru = params["decoders_en"]["gru"]["kernel_in"]
        config = {"inputs": gru.shape[0], "hidden": gru.shape[1] // 3}
    if "classifier_input" in params:
        hidden = len(params["classifier_input"]["norm"]["scale"])
        make = functools.partial(Auxiliary, hidden=hidden)
    else:
        kinds = {"label_embedding": "transconcat", "z2_prior": "gmix_transadd"}
        shifted = "transadd" if "label_shift" in params["z2_posterior"] else "concat"
        conditioning = next((kinds[k] for k in kinds if k in params), shifted)
        make = functools.partial(M1M2, conditioning=conditioning)
    classifier = params["classifier"]
    return make(
        TextEncoder(sizes, **encoder_config(params)),
        decoder_sizes=sizes,
        n_classes=len(classifier["layer_1"]["bias"]),
        latent=len(params["posterior"]["mean"]["bias"]),
        classifier_hidden=len(classifier["layer_0"]["bias"]),
        decoder=None if "fixenc" in stem else decoder,
        decoder_config=config,
        tied="decoder_tables_en" not in params,
        unlabelled_chunk=int(arrays.get("in/U_chunk", 0)),
        **fields,
    )


def fixture(path, dtype):
    arrays = load(path, dtype)
    grads = under(arrays, "grad/")
    tied = not any("decoder.embeddings" in name for name in grads)
    params, stats = to_flax(under(arrays, "param/"), tied)
    return arrays, params, stats, to_flax(grads, tied)[0], tied


def both_groups(arrays, dtype):
    batch = {}
    for group, letter in (("labelled", "L"), ("unlabelled", "U")):
        if f"in/{letter}_x" in arrays:
            ids = arrays[f"in/{letter}_x"]
            rows = {"ids": ids, "lengths": arrays[f"in/{letter}_lens"]}
            batch[group] = {**rows, "mask": np.ones(len(ids), dtype), "row": np.arange(len(ids))}
    if "labelled" in batch:
        batch["labelled"]["labels"] = arrays["in/L_y"]
    return batch


def recorded_noise(arrays):
    def noise(name, row, shape):
        group, variable = name.split("_")
        key = f"eps/{group[0].upper()}_{variable}"
        chunks = sorted(k for k in arrays if k.startswith(f"{key}_chunk"))
        values = np.concatenate([arrays[k] for k in chunks]) if chunks else arrays[key]
        values = values.reshape(-1, *shape)
        return np.pad(values, [(0, len(row) - len(values)), *[(0, 0)] * len(shape)])

    return noise


TERMS = {"reconstruction": "nll", "kl_z2": "kld", "kl_z1": "z1kld"}
TOTALS = cases("sdgm", r"(m1m2|aux)_(total.*|labelled|unlabelled|unlabelled_chunked|fixenc)")
#: the right KL(q(y|x) || p(y)), and the paper's average over labels where a fixture has both
VARIANTS = [
    pytest.param(path, averaged, id=f"{path.stem}-{'averaged' if averaged else 'summed'}")
    for path in TOTALS
    for averaged in (False, True)
    if not averaged or "out/total_kldysum" in load(path, np.float64)
]


@DTYPES
@pytest.mark.parametrize(("path", "mean_label_kl"), VARIANTS)
def test_the_bound(path, mean_label_kl, dtype):
    arrays, params, stats, grads, tied = fixture(path, dtype)
    suffix = "" if mean_label_kl or "out/total_kldysum" not in arrays else "_kldysum"
    if not mean_label_kl and suffix:
        grads = to_flax(under(arrays, "grad_kldysum/"), tied)[0]
    model = semi_supervised(arrays, params, path.stem, mean_label_kl=mean_label_kl)
    batch = both_groups(arrays, dtype)
    ones = np.ones((), dtype)
    hyper = {"alpha": arrays.get("in/alpha"), "kl_weight": ones, "reconstruction_weight": ones}
    hyper["labelled_weight"] = hyper["unlabelled_weight"] = ones

    def total(params):
        groups, new = model.apply(
            {"params": params, "batch_stats": stats},
            batch,
            language="en",
            hyper=hyper,
            noise=recorded_noise(arrays),
            train=True,
            method="objective",
            mutable="batch_stats",
        )
        return sum(terms["loss"].mean() for terms in groups.values()), (groups, new)

    (value, (groups, new)), actual = jax.jit(jax.value_and_grad(total, has_aux=True))(params)
    assert_close(value, arrays[f"out/total{suffix}"], dtype, "total")
    for group, terms in groups.items():
        names = {**TERMS, "kl_z1": "z1kld" if model.decoder else "rec"}
        for ours, theirs in names.items():
            if ours in terms:
                key = f"out/{group[0].upper()}_{theirs}_per_example"
                assert_close(terms[ours], arrays[key], dtype, f"{group} {ours}")
    if "labelled" in groups:
        terms = groups["labelled"]
        assert_close(terms["cross_entropy"].mean(), arrays["out/cls_loss"], dtype, "cross_entropy")
        assert_close(terms["log_prior_y"], arrays["out/L_yprior_per_example"], dtype, "log p(y)")
    after = to_flax(under(arrays, "out/after/"), tied)[1]
    assert_trees_close({**stats, **new["batch_stats"]}, after, dtype, "after")
    assert_trees_close(actual, grads, dtype, "grad")


def zero_shot(path, dtype):
    """Masked means, gradients and statistics of a fixture of two languages."""
    arrays, params, stats, grads, tied = fixture(path, dtype)
    # one total with the paper's average over labels is all that was recorded
    fields = {"adversary": "none", "mean_label_kl": True}
    if "discriminator" in params:
        hidden = len(params["discriminator"]["layer_0"]["bias"])
        fields |= {"adversary": "reference", "discriminator_hidden": hidden}
    model = semi_supervised(arrays, params, path.stem, **fields)
    groups = both_groups(arrays, dtype)
    batch = {"source_labelled": groups["labelled"], "target_unlabelled": groups["unlabelled"]}
    hyper = dict.fromkeys(("kl_weight", "reconstruction_weight"), np.ones((), dtype))
    for prefix, short in (("", "src"), ("target_", "trg")):
        hyper[f"{prefix}alpha"] = arrays[f"in/{short}_cls_alpha"]
        hyper[f"{prefix}labelled_weight"] = arrays[f"in/{short}_le"]
        hyper[f"{prefix}unlabelled_weight"] = arrays[f"in/{short}_ue"]
    recorded = recorded_noise(arrays)

    def total(params):
        found, new = model.apply(
            {"params": params, "batch_stats": stats},
            batch,
            languages=golden.LANGUAGES,
            hyper=hyper,
            noise=lambda name, *shape: recorded(name.partition("_")[2], *shape),
            train=True,
            method=two_languages,
            mutable="batch_stats",
        )
        return sum(terms["loss"].mean() for terms in found.values()), (found, new)

    found = jax.jit(jax.value_and_grad(total, has_aux=True))(params)
    return arrays, {**stats}, grads, tied, found


@DTYPES
@files("xl_zeroshot_total.*")
def test_two_languages(path, dtype):
    arrays, stats, grads, tied, ((value, (groups, new)), actual) = zero_shot(path, dtype)
    assert_close(value, arrays["out/total"], dtype, "total")
    assert set(groups) == {"source_labelled", "target_unlabelled"}
    for group, theirs in (("source_labelled", "src_L"), ("target_unlabelled", "trg_U")):
        names = {**TERMS, "discriminator": "dis_loss", "deceiver": "enc_loss"}
        for ours in names.keys() & groups[group].keys():
            key = f"out/{theirs}_{names[ours]}_per_example"
            assert_close(groups[group][ours], arrays[key], dtype, f"{group} {ours}")
        assert ("discriminator" in groups[group]) == path.stem.endswith("_adv")
    terms = groups["source_labelled"]
    assert_close(terms["cross_entropy"].mean(), arrays["out/src_L_cldc_loss"], dtype, "CE")
    after = to_flax(under(arrays, "out/after/"), tied)[1]
    assert_trees_close({**stats, **new["batch_stats"]}, after, dtype, "after")
    assert_trees_close(actual, grads, dtype, "grad")


@DTYPES
@files("(m1m2|aux)_predict_eval")
def test_prediction(path, dtype):
    arrays = load(path, dtype)
    params, stats = to_flax(under(arrays, "param/"))
    model = semi_supervised(arrays, params, path.stem)
    out = model.apply(
        {"params": params, "batch_stats": stats},
        {"ids": arrays["in/L_x"], "lengths": arrays["in/L_lens"]},
        language="en",
        method="predict",
    )
    assert_close(jnp.exp(out["log_q"]), arrays["out/prob"], dtype, "prob")
    assert_close(out["z1"], arrays["out/mu1"], dtype, "mu1")
    np.testing.assert_array_equal(out["log_q"].argmax(-1), arrays["out/pred"])


@DTYPES
@files("m1m2_gru_decoder")
def test_gru_decoder(path, dtype):
    arrays = load(path, dtype)
    params, _ = to_flax(under(arrays, "param/"))
    for language in golden.LANGUAGES:
        table = params["encoder"][f"embeddings_{language}"]["table"]
        decoder = gru_decoder(params, language)

        def total(params, z, decoder=decoder, language=language):
            table = params["encoder"][f"embeddings_{language}"]["table"]
            variables = {"params": params[f"decoders_{language}"]}
            ids = arrays[f"in/x_{language}"]
            nll = decoder.apply(variables, z, ids, table, method="nll")
            return nll.mean(), nll

        (value, nll), grads = jax.value_and_grad(total, (0, 1), has_aux=True)(
            params, arrays[f"in/z_{language}"]
        )
        assert_close(nll, arrays[f"out/nll_{language}"], dtype, "nll")
        assert_close(value, arrays[f"out/total_{language}"], dtype, "total")
        expected = to_flax(under(arrays, f"grad_{language}/"))[0]
        assert_trees_close(grads[0], expected, dtype, "grad")
        assert_close(grads[1], arrays[f"grad_in/z_{language}"], dtype, "z", gradient=True)
        key = f"in/greedy_z_{language}"
        if key in arrays:
            tokens, log_p = greedy(decoder, params[f"decoders_{language}"], table, arrays[key], 8)
            np.testing.assert_array_equal(tokens, arrays[f"out/greedy_tokens_{language}"])
            assert_close(log_p, arrays[f"out/greedy_logp_{language}"], dtype, "log p")


def gru_decoder(params, language):
    from jaxsdgm.layers.decoders import GRUDecoder

    table = params["encoder"][f"embeddings_{language}"]["table"]
    gru = params[f"decoders_{language}"]["gru"]["kernel_in"]
    sizes = {"inputs": gru.shape[0], "hidden": gru.shape[1] // 3}
    return GRUDecoder(len(table), **sizes)


def greedy(decoder, params, table, z, steps):
    token, state, tokens, log_ps = jnp.zeros(len(z), int), None, [], []
    for _ in range(steps):
        logits, state = decoder.apply({"params": params}, z, token, state, table, method="step")
        token = logits.argmax(-1)
        tokens.append(token)
        log_ps.append(jax.nn.log_softmax(logits))
    return np.stack(tokens, 1), np.stack(log_ps, 1)


@DTYPES
@files("kl_functions")
def test_kl_functions(path, dtype):
    arrays = load(path, dtype)
    names = ("mu_q", "logvar_q", "mu_p", "logvar_p", "x")
    inputs = {name: arrays[f"in/{name}"] for name in names}

    def q(a):
        return DiagonalGaussian(a["mu_q"], a["logvar_q"])

    def p(a):
        return DiagonalGaussian(a["mu_p"], a["logvar_p"])

    functions = {
        "kl_std": lambda a: dist.kl(q(a)),
        "kl_two": lambda a: dist.kl(q(a), p(a)),
        "log_normal": lambda a: dist.log_prob(p(a), a["x"]),
        "entropy_q": lambda a: dist.entropy(q(a)),
    }
    for i, budget in enumerate(arrays["in/fb"]):
        for name, prior in (("kl_std", lambda a: dist.standard_normal_like(q(a))), ("kl_two", p)):
            functions[f"{name}_fbmax{i}"] = lambda a, prior=prior, budget=budget: dist.free_bits(
                dist.kl_per_dimension(q(a), prior(a)), budget
            )
    for name, function in functions.items():
        assert_close(function(inputs), arrays[f"out/{name}"], dtype, name)
        grads = jax.grad(lambda a, function=function: function(a).sum())(inputs)
        for key, expected in under(arrays, f"grad_in/{name}/").items():
            assert_close(grads[key], expected, dtype, f"{name} {key}", gradient=True)
            # the paper's variant zeroes the dimensions below the threshold: same gradient
            reference = arrays.get(f"grad_in/{name.replace('fbmax', 'fb')}/{key}", expected)
            assert_close(grads[key], reference, dtype, f"{name} {key}", gradient=True)


@DTYPES
@files("kl_functions")
def test_schedules(path, dtype):
    arrays = load(path, dtype)
    steps = arrays["in/steps"]
    period = int(arrays["in/cyclic_period"])
    per_epoch = int(arrays["in/sigmoid_n_batch"])
    middle = int(arrays["in/sigmoid_x0ep"]) * per_epoch
    cyclic = schedules.cyclic(steps, period=period)
    linear = schedules.linear(steps, warmup=10)
    sigmoid = schedules.sigmoid(
        arrays["in/sigmoid_iters"], slope=float(arrays["in/sigmoid_k"]), middle=middle
    )
    assert_close(cyclic, arrays["out/cyclic_weight"], dtype, "cyclic")
    assert_close(linear, arrays["out/linear_weight_warm10"], dtype, "linear")
    assert_close(sigmoid, arrays["out/sigmoid_weight"], dtype, "sigmoid")
    total = per_epoch * 500
    target = schedules.ramp(arrays["in/beta_iters"], end=10.0, steps=total)
    assert_close(1 + np.abs(2 - target), arrays["out/beta_loss_nll1_kld2"], dtype, "beta")


@files("active_units")
def test_active_units(path):
    arrays = load(path, np.float64)
    means = np.concatenate([value for key, value in arrays.items() if "mu_batch" in key])
    assert active_units(means, threshold=float(arrays["out/delta"])) == arrays["out/n_active"]
