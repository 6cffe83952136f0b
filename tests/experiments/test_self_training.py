"""Self-training: which labels, which documents, when anew; and that it helps (slow)."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest

from configs import debian_classify, debian_e5
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import classify, self_training
from jaxsdgm.experiments.inputs import load_inputs, redraw
from jaxsdgm.experiments.self_training import FOLDER, SelfTrained, pseudo_labels, with_labels
from jaxsdgm.experiments.systems import build
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.state import create_state
from jaxsdgm.training.trials import Task

KNOWN = np.array([0, -1, -1, 1, -1, -1, -1])
Q = np.array([[0.1, 0.9], [0.6, 0.4], [0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.7, 0.3], [0.8, 0.2]])


@pytest.mark.parametrize(
    ("options", "trusted"),
    [
        ({}, [1, 1, 1, 1, 1, 1, 1]),
        ({"confidence": 0.75}, [1, 0, 1, 1, 1, 0, 1]),
        ({"balanced": True}, [1, 0, 1, 1, 1, 0, 0]),
        ({"balanced": True, "confidence": 0.85}, [1, 0, 0, 1, 0, 0, 0]),
    ],
)
def test_pseudo_labels(options, trusted):
    labels, found = pseudo_labels(KNOWN, Q, **{"confidence": 0.0, "balanced": False, **options})
    np.testing.assert_array_equal(labels, [0, 0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(found, trusted)


def test_balance_keeps_the_proportions_of_the_labels():
    rng = np.random.default_rng(0)
    known = np.array([0] * 6 + [1] * 2 + [-1] * 400)
    q = rng.dirichlet([1, 1], len(known))
    labels, trusted = pseudo_labels(known, q, confidence=0.0, balanced=True)
    kept = np.bincount(labels[8:][trusted[8:] > 0])
    assert kept[0] == pytest.approx(3 * kept[1], abs=2)
    assert kept[0] == (labels[8:] == 0).sum()  # of the scarcer class all


def test_labels_of_the_state_stand_in_the_batches():
    seen = {}
    task = Task("x", lambda *arguments: seen.update(plan=arguments[2]), *[None] * 6, True)
    state = create_state({"params": {}}, _Nothing(), seed=0, hyper={})
    fields = {name: getattr(state, name) for name in state.__dataclass_fields__}
    labels = {"known": KNOWN, "labels": KNOWN + 5, "trusted": np.array([1.0, 0, 1, 1, 1, 1, 1])}
    plan = {"index": np.array([[1, 2], [3, 3]]), "mask": np.array([[1.0, 1], [1, 0]])}
    run = with_labels(task, _Nothing()).run
    run(SelfTrained(**fields, **labels), {}, {"en": {"labelled": plan}})
    found = seen["plan"]["en"]["labelled"]
    np.testing.assert_array_equal(found["labels"], [[4, 4], [6, 6]])
    np.testing.assert_array_equal(found["mask"], [[0, 1], [1, 0]])


class _Nothing:
    relabel = None

    def init(self, params):
        return ()


# -- whole runs --------------------------------------------------------------------------------


def tiny(**fields):
    config = debian_classify.get_config("en,32,nxvae_z1")
    config.data.source = "generated"
    config.data.max_length = 12
    config.model.embedding = config.model.latent = 8
    config.model.hidden, config.model.classifier_hidden = 6, 8
    config.model.recurrence = "scan"
    config.training.checkpoint_seconds = 0.0
    config.training.max_steps, config.training.eval_every = 4, 2
    config.self_training.max_steps, config.self_training.eval_every = 6, 2
    config.update_from_flattened_dict(fields)
    return config


def test_bad_input(tmp_path):
    with pytest.raises(UserError, match="for supervised systems, not for 'm1m2'"):
        classify.run(tiny(**{"model.system": "m1m2"}), tmp_path / "a")
    with pytest.raises(UserError, match="config.self_training.confidence is 1.5"):
        classify.run(tiny(**{"self_training.confidence": 1.5}), tmp_path / "b")
    with pytest.raises(UserError, match="needs documents without a label.*config.data.n_labels"):
        classify.run(tiny(**{"data.n_labels": 0}), tmp_path / "c")
    assert not (tmp_path / "c" / FOLDER).exists()


@pytest.mark.slow
def test_an_interrupted_run_ends_in_the_same_bits(tmp_path):
    classify.run(tiny(), tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / "results.json").unlink()
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "6")
    classify.run(tiny(), tmp_path / "cut")
    read = lambda name: json.loads((tmp_path / name / "results.json").read_text())
    for key in ("metrics", "self_training"):
        assert read("whole")[key] == read("cut")[key]
    one, other = (load_pretrained(tmp_path / name)[0] for name in ("whole", "cut"))
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.slow
def test_trials_side_by_side_have_their_own_labels(tmp_path):
    classify.run(tiny(trials=2), tmp_path)
    for trial in range(2):
        found = json.loads((tmp_path / f"trial-{trial}" / "results.json").read_text())
        assert found["self_training"]["trusted"] == 368
    assert json.loads((tmp_path / "results.json").read_text())["accuracy"]["test"]["runs"]


@pytest.mark.slow
def test_unlabelled_documents_help(tmp_path):
    """On clusters of vectors: a linear classifier cannot learn its own labels by heart."""
    config = debian_e5.get_config("en,4,nxvae_z1")
    config.model.system = "nxvae_h"
    config.data.source, config.encoder.checkpoint = "generated", ""
    config.encoder.trainable = True
    given, rng = load_inputs(config), np.random.default_rng(0)
    centres = rng.normal(size=(len(given.corpus.label_names), 16))
    splits = {}
    for split, arrays in given.splits.items():
        noise = rng.normal(size=(len(arrays["labels"]), 16))
        features = centres[arrays["labels"]] + 0.9 * noise
        splits[split] = {**arrays, "features": features.astype(np.float32)}
    given = replace(given, splits=splits)
    config.encoder.trainable = False
    config.model.feature_dropout, config.model.classifier_hidden = 0.0, 0
    config.learning_rate = 5e-3
    config.rate_schedule, config.weight_decay = "constant", 0.0
    config.training.max_steps = config.training.eval_every = 60
    config.training.select = "best"
    config.data.batch_size = 20
    config.self_training.max_steps = 400
    gains = []
    for seed in range(2):
        config.seed = config.data.subset_seed = seed
        drawn, parallel = redraw(given, config), Parallel()
        model = build(config, drawn, parallel)
        folder = tmp_path / str(seed)
        stages = {**self_training.first_stages({folder: config}), folder: config}
        for where, one in stages.items():
            where.mkdir(parents=True, exist_ok=True)
            classify.train_group(model, {where: one}, {where: drawn}, parallel)
        found = json.loads((folder / "results.json").read_text())
        told = found["self_training"]
        gains.append(found["metrics"]["test"]["accuracy"] - told["supervised"]["test"])
    assert np.mean(gains) > 0.05
