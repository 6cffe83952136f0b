"""Checkpoints as encoders: frozen, with cached features, and fine-tuned."""

import json

import jax
import numpy as np
import pytest

from configs import debian_e5, mldoc_mbert
from jaxsdgm import export
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import classify, features
from jaxsdgm.experiments.inputs import load_inputs
from jaxsdgm.experiments.trained import load_trained
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.weights.huggingface import load_weights, read_size
from tests.experiments import tiny_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint.make(tmp_path_factory.mktemp("models") / "tiny")


def frozen(checkpoint, system="bow"):
    config = debian_e5.get_config(f"en,16,{system}")
    config.data.source, config.encoder.checkpoint = "generated", str(checkpoint)
    config.data.max_length, config.model.latent = 24, 4
    config.training.max_steps = config.training.eval_every = 20
    return config


def fine_tuned(checkpoint, system):
    config = mldoc_mbert.get_config(f"en,8,{system}")
    config.data.source, config.encoder.checkpoint = "generated", str(checkpoint)
    config.data.max_length, config.data.unlabelled_size = 12, 8
    config.model.latent, config.learning_rate = 6, 1e-3
    config.training.max_steps, config.training.eval_every = 4, 2
    return config


def test_logistic_regression_on_the_same_features(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    classify.run(frozen(checkpoint, "features_lr"), tmp_path / "run")
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["system"] == "features_lr"
    check_prediction(tmp_path / "run", found)


TEXTS = ["en a few words", "others", "and more of them here"]


def check_prediction(workdir, found):
    predict, names = load_trained(workdir)
    assert list(names) == found["label_names"]
    probabilities = predict(TEXTS)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    # alone or in company: the padding of a batch says nothing
    np.testing.assert_allclose(predict(TEXTS[1:2]), probabilities[1:2], atol=1e-5)


def test_frozen_features_are_made_once(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    classify.run(frozen(checkpoint), tmp_path / "a")
    found = json.loads((tmp_path / "a" / "results.json").read_text())
    assert found["encoder"] == {"name": str(checkpoint), "revision": None, "trainable": False}
    assert found["tables"]["neighbours"] == []
    assert found["tables"]["generated"]
    check_prediction(tmp_path / "a", found)
    monkeypatch.setattr(features, "in_buckets", None)
    classify.run(frozen(checkpoint, "nxvae_z1"), tmp_path / "b")
    assert (tmp_path / "b" / "results.json").exists()


def test_buckets_give_every_document_its_own_vector():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 300, 90).astype(np.int32)
    ids = rng.integers(1, 9, (90, 300)).astype(np.int32) * (np.arange(300) < lengths[:, None])
    shapes = set()

    def apply(ids, lengths):
        shapes.add(ids.shape)
        return np.stack([ids.sum(1), lengths], 1)

    found = features.in_buckets(apply, ids, lengths, limit=300, tokens=1024)
    np.testing.assert_array_equal(found, np.stack([ids.sum(1), lengths], 1))
    assert len(shapes) <= len(features.WIDTHS) + 2
    assert all(rows * width <= 1024 for rows, width in shapes)


def test_no_batch_is_wider_than_the_limit():
    lengths = np.array([90, 3])
    widths = []

    def apply(ids, lengths):
        widths.append(ids.shape[1])
        return lengths[:, None]

    features.in_buckets(apply, np.ones((2, 90), np.int32), lengths, limit=94, tokens=256)
    assert widths == [94]


@pytest.mark.parametrize("trainable", [True, False])
def test_documents_longer_than_the_positions_are_cut(checkpoint, tmp_path, monkeypatch, trainable):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = fine_tuned(checkpoint, "sup") if trainable else frozen(checkpoint)
    config.data.max_length = 500
    config.training.max_steps = config.training.eval_every = 1
    classify.run(config, tmp_path / "run")
    predict, _ = load_trained(tmp_path / "run")
    assert predict(["many " * 100]).shape[0] == 1


@pytest.mark.parametrize("system", ["m1m2,gru", "sup"])
def test_fine_tuning(checkpoint, tmp_path, system):
    classify.run(fine_tuned(checkpoint, system), tmp_path)
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["encoder"]["trainable"]
    assert found["system"] == ("sup_h" if system == "sup" else "m1m2")
    check_prediction(tmp_path, found)


def test_the_encoder_is_trained_and_its_pieces_are_explained(checkpoint, tmp_path):
    config = fine_tuned(checkpoint, "m1m2")
    inputs = load_inputs(config)
    start = inputs.pretrained["params"]["encoder"]["bert"]["words"]
    rows = inputs.splits["train"]
    kept = rows["targets"] > 0
    assert not np.isin(rows["targets"][kept], [2, 3]).any()  # [CLS] and [SEP]
    np.testing.assert_array_equal(kept.sum(1), rows["lengths"] - 2)
    classify.run(config, tmp_path)
    variables, _, _ = load_pretrained(tmp_path)
    moved = variables["params"]["encoder"]["bert"]["words"]
    assert moved.shape == start.shape
    assert np.abs(moved - start).max() > 0


def test_nothing_to_keep_fixed(checkpoint, tmp_path):
    config = frozen(checkpoint)
    config.encoder.checkpoint = ""
    with pytest.raises(UserError, match="nothing to keep fixed"):
        classify.run(config, tmp_path)


def test_two_encoders(checkpoint, tmp_path):
    config = fine_tuned(checkpoint, "sup")
    config.pretrained = str(tmp_path)
    with pytest.raises(UserError, match="both name an encoder"):
        classify.run(config, tmp_path / "run")


def test_no_such_checkpoint(checkpoint, tmp_path):
    config = frozen(tmp_path / "nosuch")
    with pytest.raises(UserError, match="nosuch"):
        classify.run(config, tmp_path / "run")


def test_a_fine_tuned_encoder_is_exported(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    classify.run(fine_tuned(checkpoint, "sup"), tmp_path / "run")
    assert export.main([f"--workdir={tmp_path / 'run'}", f"--out={tmp_path / 'out'}"]) == 0
    trained = load_pretrained(tmp_path / "run")[0]["params"]["encoder"]["bert"]
    read = load_weights(tmp_path / "out", read_size(tmp_path / "out"))
    jax.tree.map(np.testing.assert_array_equal, read, trained)
    config = frozen(tmp_path / "out", "features_lr")  # and it is a checkpoint like any other
    classify.run(config, tmp_path / "frozen")
    with pytest.raises(UserError, match="there is something"):
        export.export_encoder(tmp_path / "run", tmp_path / "out")


def test_nothing_to_export(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = frozen(checkpoint)
    config.training.max_steps = config.training.eval_every = 1
    classify.run(config, tmp_path / "run")
    with pytest.raises(UserError, match="trained no transformer"):
        export.export_encoder(tmp_path / "run", tmp_path / "out")
