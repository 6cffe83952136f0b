"""Embeddings that start from a file, a run's embeddings as a file, and what excludes the two."""

import json
from functools import cache

import numpy as np
import pytest

from configs import debian_classify, mldoc_nxvae
from jaxsdgm import export
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.cells import cell_of
from jaxsdgm.experiments import classify
from jaxsdgm.experiments.inputs import load_inputs
from jaxsdgm.experiments.systems import build, make_initialise
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.weights.word_vectors import read_vectors, write_vectors
from tests.training import tiny

FOUND = 40


@cache
def tokenizer():
    return load_inputs(tiny.config("rand")).tokenizers["en"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Vectors of the most frequent words of the tiny corpus, and of one that it has not."""
    path = tmp_path_factory.mktemp("vectors") / "some.en.vec"
    words = (*tokenizer().words[2 : 2 + FOUND], "<PAD>", "<UNK>", "absent")
    write_vectors(path, words, np.random.default_rng(0).normal(size=(len(words), 8)))
    return path


def config(file, **fields):
    config = tiny.config("vectors")
    config.training.max_steps = config.training.eval_every = 2
    config.vectors = str(file)
    config.update_from_flattened_dict(fields)
    return config


def table(variables):
    return np.asarray(variables["params"]["encoder"]["embeddings_en"]["table"])


def test_embeddings_start_as_in_the_file_the_others_at_random(file, tmp_path):
    inputs, parallel = load_inputs(config(file)), Parallel()
    model = build(config(file), inputs, parallel)
    initialise = make_initialise(model, inputs)
    trial = classify.make_trial(config(file), model, inputs, parallel, tmp_path, initialise)
    state, fresh = trial.make(), initialise(config(file).seed)
    start = table({"params": state.params})
    np.testing.assert_array_equal(start[2 : 2 + FOUND], read_vectors(file).vectors[:FOUND])
    np.testing.assert_array_equal(start[:2], table(fresh)[:2])
    np.testing.assert_array_equal(start[2 + FOUND :], table(fresh)[2 + FOUND :])


def test_a_run_and_its_embeddings_as_a_file(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("jaxsdgm.experiments.evidence.TSNE_POINTS", 60)  # for its time
    classify.run(config(file), tmp_path / "run")
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    words, counts = tokenizer().words[2:], np.array(tokenizer().counts[2:])
    assert found["vectors"] == {
        "name": "some.en",
        "found": FOUND,
        "vocabulary": len(words),
        "share": pytest.approx(FOUND / len(words), abs=1e-4),
        "token_share": pytest.approx(counts[:FOUND].sum() / counts.sum(), abs=1e-4),
    }
    assert cell_of(found).encoder == "BiLSTM, some.en"
    assert cell_of({**found, "vectors": None}).encoder == "BiLSTM"

    def call(language, name):
        paths = [f"--workdir={tmp_path / 'run'}", f"--out={tmp_path / name}"]
        return export.main([*paths, *([f"--language={language}"] if language else [])])

    assert call("en", "out.vec") == 0
    out = read_vectors(tmp_path / "out.vec")
    assert out.words == words
    trained = table(load_pretrained(tmp_path / "run")[0])
    np.testing.assert_array_equal(out.vectors, trained[2:])
    moved = np.abs(trained[2 : 2 + FOUND] - read_vectors(file).vectors[:FOUND])
    assert moved.max() > 0  # fine-tuned like everything else
    again = load_inputs(config(tmp_path / "out.vec"))
    assert again.vectors.coverage["share"] == again.vectors.coverage["token_share"] == 1
    capsys.readouterr()
    for language, name, match in (
        ("de", "de.vec", "no embeddings of 'de'; the run has these: en"),
        ("en", "out.vec", "there is something"),
        ("en", "out", "not the name of word vectors"),
        ("", "folder", "trained no transformer; give --language"),
    ):
        assert call(language, name) == 2
        assert match in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"pretrained": "runs/nxvae"}, "config.vectors and config.pretrained both"),
        ({"encoder.checkpoint": "some/model"}, "config.vectors is for .* a BiLSTM"),
        ({"encoder.trainable": False}, "config.vectors is for .* a BiLSTM"),
        ({"model.embedding": 9}, "vectors of 8 numbers where 9 are needed"),
        ({"vectors": "en.vec"}, "en.vec: no such file"),
    ],
)
def test_what_excludes_vectors(file, fields, match):
    with pytest.raises(UserError, match=match) as caught:
        load_inputs(config(file, **fields))
    assert "\n" not in str(caught.value)


def test_the_arguments_of_the_configs():
    for get, pair in ((debian_classify.get_config, ""), (mldoc_nxvae.get_config, "en-de,")):
        rand, vectors = get(f"{pair}de,32,rand"), get(f"{pair}de,32,vectors")
        assert rand.model.system == vectors.model.system == "nxvae_z1"
        assert (rand.vectors, vectors.vectors) == ("", "de.vec")
        assert rand.name.endswith("_rand")
        assert not rand.pretrained
        assert rand.model.latent == get(f"{pair}de,32,nxvae_z1").model.latent
