"""Runs of SSVAEs: rotations side by side, schedules, tests on another set, learning."""

import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from configs import ssvae_agnews, ssvae_dbpedia, ssvae_files, ssvae_imdb, ssvae_yelp
from jaxsdgm.data import generated
from jaxsdgm.data.documents import Corpus, Documents
from jaxsdgm.data.pools import make_pool
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import classify, ssvae
from jaxsdgm.experiments.ssvae import PARTS
from jaxsdgm.experiments.systems import build_model
from jaxsdgm.training.state import adam, create_state
from jaxsdgm.training.trials import stack


def make_config(system="ssvae", share="0.5", **fields):
    config = ssvae_files.get_config(f"{system},{share},40")
    config.data.source = "generated"
    config.data.max_length = 12
    config.data.batch_size = config.data.unlabelled_size = 8
    config.model.embedding, config.model.hidden, config.model.latent = 6, 4, 3
    config.model.ssvae.decoder_hidden, config.model.ssvae.label_embedding = 6, 3
    config.model.recurrence = "scan"
    config.training.max_steps, config.training.eval_every = 4, 2
    config.update_from_flattened_dict(fields)
    return config


FIELDS = {
    **{"training.max_steps": 8, "training.patience": 1, "model.dropout": 0.2},
    "data.out_of_domain.source": "generated",
}


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Three rotations, which end at different steps."""
    folder = tmp_path_factory.mktemp("together")
    classify.run(make_config(**FIELDS, trials=3), folder)
    return folder


def test_three_rotations_side_by_side(together):
    """Each with its own development set and labels; metrics tell what z carries."""
    seen = []
    for trial in range(3):
        folder = together / f"trial-{trial}"
        results = json.loads((folder / "results.json").read_text())
        assert results["subset"]["rule"] == "rotation"
        assert results["subset"]["n"] == 16
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        names = ("dev/kl_z", "dev/mutual_information", "dev/active_units")
        assert all(name in rows[-1] for name in names)
        best = max(row["dev/accuracy"] for row in rows)
        assert best == pytest.approx(results["metrics"]["dev"]["accuracy"])
        assert 0 <= results["metrics"]["out_of_domain"]["accuracy"] <= 1
        assert set(results["latents"]["mutual_information"]) == {"z"}
        counts = results["data"]["counts"]
        assert (sum(counts["train"]), sum(counts["dev"]), counts["unlabelled"]) == (40, 8, 360)
        seen.append(results["subset"]["indices"])
    assert seen[0] != seen[1] != seen[2]


def test_a_rotation_alone_is_that_of_several(together, tmp_path):
    """Early stopping by its own development set, also when the program shrinks."""
    alone = make_config(**FIELDS, seed=2)
    alone.data.subset_seed = 2
    classify.run(alone, tmp_path)
    read = lambda folder: (folder / "metrics.jsonl").read_text().splitlines()
    ours, theirs = read(tmp_path), read(together / "trial-2")
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        one, other = json.loads(one), json.loads(other)
        for name in ("dev/accuracy", "dev/nll", "train/loss"):
            assert one[name] == pytest.approx(other[name], rel=1e-4), name


def test_schedules():
    config = make_config(**{"model.kl_weight": 0.5, "model.ssvae.temperature": 5.0})
    own = config.model.ssvae
    own.kl_start, own.kl_end, own.temperature_steps, own.temperature_end = 10, 20, 100, 0.5
    schedule = ssvae.make_schedule(config, lambda hyper, step: hyper)
    hyper = {name: jnp.asarray(x) for name, x in ssvae.make_hyper(config).items()}
    found = [schedule(hyper, step) for step in (0, 15, 50, 200)]
    np.testing.assert_allclose([h["kl_weight"] for h in found], [0, 0.25, 0.5, 0.5])
    np.testing.assert_allclose([h["temperature"] for h in found], [5, 4.325, 2.75, 0.5], rtol=1e-5)


def test_the_rate_falls():
    """By four after exactly so many evaluations without improvement."""
    divide = classify.rate_division(make_config())
    state = create_state({"params": {}}, adam(), seed=0, hyper={"learning_rate": 4.0})
    states = stack([state] * 3)
    bests = SimpleNamespace(failures=jnp.array([3, 4, 5]))
    np.testing.assert_allclose(
        divide(states, bests, jnp.zeros(3)).hyper["learning_rate"], [4, 1, 4]
    )
    assert classify.rate_division(make_config(**{"rate_division.after": 0})) is None


SIZES = {"agnews": ssvae_agnews, "dbpedia": ssvae_dbpedia, "imdb": ssvae_imdb, "yelp": ssvae_yelp}


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("system", PARTS)
def test_configs(name, system):
    config = SIZES[name].get_config(f"{system},0.03")
    assert (config.data.n_labels, config.data.pool) == (120, 5000)
    assert config.data.max_length == {"agnews": 63, "dbpedia": 79, "imdb": 255, "yelp": 15}[name]
    model = build_model(config, {"en": 10_002}, np.ones(4))
    assert model.vocab_size == 10_002


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"model.ssvae.labels": "soft"}, "labels is 'soft'; use one of relaxed"),
        ({"model.pooling": "mean"}, "reads the BiLSTM's last states"),
        ({"encoder.trainable": False}, "which trains a BiLSTM|nothing to keep fixed"),
        ({"data.n_labels": 33}, "33 labels asked for, but only 32 of the pool"),
        ({"data.pool": 41}, "divides 41 training documents by 5"),
        ({"data.vocabulary": "test"}, "config.data.vocabulary is 'test'"),
        ({"data.pool": 4000}, "pool is 4000, but there are only 400"),
    ],
)
def test_bad_input(tmp_path, fields, match):
    with pytest.raises(UserError, match=match) as caught:
        classify.run(make_config(**fields), tmp_path)
    assert "\n" not in str(caught.value)


# -- learning ----------------------------------------------------------------------------------


def corpus(labels="true"):
    """Topics that share no word, so that a handful of labels tells them apart."""
    found = generated.generate("en", train=300, dev=1, test=200)
    splits = {}
    for split, documents in found.splits.items():
        rng = np.random.default_rng(len(documents))
        words = [
            " ".join(f"{'abcd'[label]}{i}" for i in rng.integers(0, 8, 6))
            for label in documents.labels
        ]
        splits[split] = Documents(tuple(words), documents.labels)
    if labels == "shuffled":
        train = splits["train"]
        order = np.random.default_rng(0).permutation(train.labels)
        splits["train"] = Documents(train.texts, order)
    return Corpus("en", found.label_names, splits, found.source)


@pytest.mark.slow
@pytest.mark.parametrize("system", PARTS)
def test_every_system_learns(tmp_path, system):
    """From 24 labels; from shuffled ones nothing but chance."""
    found = {}
    for labels in ("true", "shuffled"):
        config = make_config(system, "0.5", **{"training.max_steps": 120})
        config.data.n_labels = 24
        config.model.dropout = 0.0
        config.training.eval_every, config.learning_rate = 40, 1e-2
        pooled = make_pool(corpus(labels), pool=60, unlabelled=0)
        results = classify.run(config, tmp_path / labels, corpus=pooled)
        found[labels] = results["metrics"]["test"]["accuracy"]
    assert found["true"] > 0.9, found
    assert found["shuffled"] < 0.45, found
