"""Two languages in one objective: which parts there are, and whose weights and tables they have."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsdgm.layers.encoders import TextEncoder
from jaxsdgm.models.crosslingual import OF_TARGET, of_language, two_languages
from jaxsdgm.models.sdgm import M1M2, Auxiliary
from jaxsdgm.models.semi import HYPERPARAMETERS
from jaxsdgm.models.terms import no_noise
from jaxsdgm.training.state import adam
from tests.models.test_sdgm import rows, shapes

SIZES = {"en": 1009, "de": 1013}
LANGUAGES = ("en", "de")
BATCH = {
    "source_labelled": rows(5, 0, 0),
    "source_unlabelled": rows(6, 1000, 1),
    "target_labelled": rows(3, 0, 2),
    "target_unlabelled": rows(7, 1000, 3),
}
HYPER = {name: jnp.array(1.0 + i) for i, name in enumerate(HYPERPARAMETERS)}
HYPER |= {f"target_{name}": jnp.array(9.0 + i) for i, name in enumerate(OF_TARGET)}


def make(kind=M1M2, **fields):
    """A model, and a function from a key to its variables."""
    encoder = TextEncoder(SIZES, embedding=4, hidden=3, layers=1, dropout=0.0)
    fields = {"decoder_sizes": SIZES, "latent": 4, "classifier_hidden": 6, **fields}
    model = kind(encoder, n_classes=3, **fields)
    some = {"ids": jnp.ones((2, 2), jnp.int32), "lengths": jnp.full(2, 2)}
    init = lambda key: model.init(key, some, languages=LANGUAGES, method="initialise")
    return model, init


def losses(model, variables, batch):
    """The loss of every group, summed over its documents."""
    groups, _ = model.apply(
        variables,
        batch,
        languages=LANGUAGES,
        hyper=HYPER,
        noise=no_noise,
        train=True,
        method=two_languages,
        mutable="batch_stats",
    )
    return {name: terms["loss"].sum() for name, terms in groups.items()}


def test_a_language_has_its_own_weights():
    """AUX; the fixtures have M1+M2."""
    model, init = make(Auxiliary, hidden=7)
    variables = jax.jit(init)(jax.random.key(0))

    @jax.jit
    def both_ways(variables):
        alone = {}
        for part, language in zip(("source", "target"), LANGUAGES, strict=True):
            batch = {name: BATCH[f"{part}_{name}"] for name in ("labelled", "unlabelled")}
            arguments = {"language": language, "noise": no_noise, "train": True}
            arguments |= {"hyper": of_language(HYPER, part), "method": "objective"}
            groups, _ = model.apply(variables, batch, mutable="batch_stats", **arguments)
            alone |= {f"{part}_{name}": terms["loss"].sum() for name, terms in groups.items()}
        return losses(model, variables, BATCH), alone

    together, alone = both_ways(variables)
    assert together.keys() == BATCH.keys()
    for name, loss in together.items():
        np.testing.assert_allclose(loss, alone[name], rtol=1e-5)
    assert [float(of_language(HYPER, part)["alpha"]) for part in ("source", "target")] == [1, 9]


def test_parts_that_are_absent_are_not_computed():
    model, init = make()
    variables = jax.eval_shape(init, jax.random.key(0))
    batch = {name: BATCH[name] for name in ("source_labelled", "target_unlabelled")}
    jaxpr = jax.make_jaxpr(lambda variables: losses(model, variables, batch))(variables)
    found = set(shapes(jaxpr.jaxpr))
    # word logits of the documents that are there, in the vocabulary of their language
    assert {(5, SIZES["en"]), (7, SIZES["de"])} <= found
    sizes = {shape[0] for shape in found if len(shape) == 2 and shape[1] in SIZES.values()}
    assert not sizes & {6, 11, 3, 10}


def test_frozen_parts_and_scales():
    """The name may be anywhere on a path: every word table, or the recurrence."""
    tables = {"embeddings_en": {"table": jnp.ones(2)}, "embeddings_de": {"table": jnp.ones(3)}}
    params = {"encoder": {**tables, "lstm": {"layer_0": {"bias_in": jnp.ones(4)}}}}
    params |= {"decoder_tables_de": {"table": jnp.ones(3)}, "posterior": {"mean": jnp.ones(2)}}
    optimizer = adam(frozen=("table",), scales={"lstm": 2.0, "encoder": 3.0})
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    for path, update in jax.tree_util.tree_leaves_with_path(updates):
        names = {part.key for part in path}
        size = 0.0 if "table" in names else 6.0 if "lstm" in names else 1.0
        np.testing.assert_allclose(update, size, rtol=1e-5, err_msg=jax.tree_util.keystr(path))
