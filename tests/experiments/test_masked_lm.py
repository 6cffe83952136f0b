"""A BERT from scratch: pretrained, better than word frequencies, fine-tuned, self-trained."""

import json
import random
import shutil

import jax
import numpy as np
import pytest

from configs import europarl_bert, mldoc_bert
from jaxsdgm import export
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import classify, masked_lm
from jaxsdgm.experiments.trained import load_trained
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.weights.huggingface import load_weights, read_size

TOPICS, WORDS = 6, 8  # of a language; a sentence has the words of one topic


def sentence(language, topic, rng, n=9):
    letters = "abcdefghij"
    return " ".join(f"{language}{letters[topic]}{letters[rng.randrange(WORDS)]}" for _ in range(n))


def write_text(folder, lines=900):
    rng = random.Random(0)
    for language in ("de", "en"):
        text = [sentence(language, rng.randrange(TOPICS), rng) for _ in range(lines)]
        (folder / f"europarl-v7.de-en.{language}").write_text("\n".join(text) + "\n")


def tiny(folder, **fields):
    config = europarl_bert.get_config("en-de,words")
    config.data.dir, config.data.normaliser = str(folder), "words"
    config.data.max_length, config.data.dev_lines, config.data.batch_size = 12, 60, 64
    config.data.short_share = 0.0
    config.model.hidden, config.model.layers, config.model.heads = 32, 1, 2
    config.model.feed_forward, config.model.positions, config.model.dropout = 32, 64, 0.0
    config.learning_rate, config.rate_warmup = 2e-2, 20
    config.training.checkpoint_seconds = 0.0
    config.training.max_steps, config.training.eval_every = 150, 75
    config.update_from_flattened_dict(fields)
    return config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    write_text(folder)
    masked_lm.run(tiny(folder), folder / "run")
    return folder


def test_better_than_word_frequencies(workdir):
    found = json.loads((workdir / "run" / "results.json").read_text())
    frequencies, dev = found["unigram"]["perplexity"], found["metrics"]["dev"]
    assert abs(frequencies - TOPICS * WORDS) < 6
    assert dev["perplexity"] < 0.6 * frequencies
    assert found["warnings"] == []
    assert found["system"] == "BERTW"
    assert {"loss/en", "loss/de"} <= dev.keys()
    assert found["vocabulary"] == 5 + 2 * TOPICS * WORDS
    assert "perplexity" in (workdir / "run" / "report.html").read_text()


def test_the_encoder_in_hugging_faces_form(workdir, tmp_path):
    folder = workdir / "run" / "bertw-en-de"
    best = load_pretrained(workdir / "run")[0]["params"]["encoder"]
    read = load_weights(folder, read_size(folder))
    jax.tree.map(np.testing.assert_array_equal, read, best)
    assert export.main([f"--workdir={workdir / 'run'}", f"--out={tmp_path / 'out'}"]) == 0
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
def test_resumed_in_the_same_bits(workdir):
    """Stopped after the first evaluation, then gone on with."""
    whole, cut = workdir / "run", workdir / "cut"
    shutil.copytree(whole, cut)
    (cut / "results.json").unlink()
    shutil.rmtree(cut / "checkpoints" / "150")
    masked_lm.run(tiny(workdir), cut)
    same = lambda folder: json.loads((folder / "results.json").read_text())["metrics"]
    assert same(cut) == same(whole)
    one, other = (load_pretrained(folder)[0]["params"] for folder in (whole, cut))
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("data.subwords", 9_000, "config.data.subwords=9000 cannot be made of the text"),
        ("model.heads", 5, "hidden 32 does not divide among config.model.heads 5"),
        ("data.max_length", 65, "config.data.max_length is 65; use 5 to .* 64"),
        ("model.masked_share", 0.0, "masked_share must be between 0 and 1"),
        ("rate_schedule", "line", "config.rate_schedule is 'line'"),
        ("model.activation", "swish", "config.model.activation is 'swish'"),
        ("data.dir", "/nowhere", "/nowhere: no such directory.*Europarl"),
    ],
)
def test_bad_values(workdir, tmp_path, field, value, match):
    with pytest.raises(UserError, match=match) as caught:
        masked_lm.run(tiny(workdir, **{field: value}), tmp_path)
    assert "\n" not in str(caught.value)


# -- fine-tuning -------------------------------------------------------------------------------


def write_documents(folder):
    """An MLDoc directory whose classes are four of the topics."""
    rng = random.Random(1)
    for split, each in (("train.1000", 12), ("dev", 10), ("test", 20)):
        lines = [
            f"{c}\t{sentence('en', i, rng)}" for _ in range(each) for i, c in enumerate("CEGM")
        ]
        (folder / f"english.{split}").write_text("\n".join(lines) + "\n")


def fine_tuned(workdir, **fields):
    config = mldoc_bert.get_config("en-de,en,8")
    config.data.dir = str(workdir)
    config.encoder.checkpoint = str(workdir / "run" / "bertw-en-de")
    config.data.subset, config.data.max_length = "stratified", 12
    config.learning_rate = 3e-3
    config.training.max_steps, config.training.eval_every = 24, 8
    config.update_from_flattened_dict(fields)
    return config


@pytest.mark.slow
def test_fine_tuning_and_self_training(workdir, tmp_path):
    write_documents(workdir)
    steps = {"self_training.max_steps": 6, "self_training.eval_every": 3}
    classify.run(fine_tuned(workdir, **steps), tmp_path / "run")
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    first = json.loads((tmp_path / "run" / "supervised" / "results.json").read_text())
    assert first["encoder"]["name"].endswith("bertw-en-de")
    assert first["metrics"]["test"]["accuracy"] > 0.4
    told = found["self_training"]
    assert told["supervised"]["test"] == first["metrics"]["test"]["accuracy"]
    assert told["trusted"] == told["of"] == 40
    assert 0 <= told["right"] <= 1
    predict, names = load_trained(tmp_path / "run")
    np.testing.assert_allclose(predict(["enaa enab", "x"]).sum(1), 1, rtol=1e-5)
    assert list(names) == found["label_names"]


def test_a_checkpoint_that_was_not_named(workdir, tmp_path):
    write_documents(workdir)
    config = fine_tuned(workdir)
    config.encoder.checkpoint = mldoc_bert.get_config("en-de,en,8").encoder.checkpoint
    with pytest.raises(UserError, match="bertw-en-de: no such folder"):
        classify.run(config, tmp_path / "run")
