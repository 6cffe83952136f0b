"""Text VAEs and the language model: recipes, stages, sweeps, probes, reports, bad input."""

import json
import math
import re

import jax
import numpy as np
import pytest

from configs import own_files, textvae_ptb
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import classify, language_model
from jaxsdgm.experiments.language_evidence import system_name
from jaxsdgm.experiments.language_inputs import load_inputs
from jaxsdgm.experiments.trained import load_trained
from jaxsdgm.report import compare
from jaxsdgm.training.checkpoints import load_pretrained
from tests.experiments import tiny_sentences


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_sentences.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def ours(folder, tmp_path_factory):
    """The paper's method with two targets, side by side."""
    workdir = tmp_path_factory.mktemp("ours")
    language_model.run(tiny_sentences.config(folder, "ours,1-2"), workdir)
    return workdir


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def test_the_papers_method(ours):
    before, _, _ = load_pretrained(ours / "autoencoder")
    assert results_of(ours / "autoencoder")["system"] == "AE"
    assert "nll" not in results_of(ours / "autoencoder")["metrics"]["test"]
    for target in (1, 2):
        found = results_of(ours / f"free_bits={target}")
        assert found["system"] == f"Ours({target})"
        numbers = found["metrics"]["test"]
        total = numbers["reconstruction"] + numbers["kl"]
        assert numbers["negative_elbo"] == pytest.approx(total)
        assert numbers["importance_samples"] == 20
        tokens = found["data"]["counts"]["test words and ends"]
        assert numbers["ppl"] == pytest.approx(math.exp(24 * numbers["nll"] / tokens))
        rows = (ours / f"free_bits={target}" / "metrics.jsonl").read_text().splitlines()
        assert json.loads(rows[0])["train/sentences/kl_counted"] >= target
    chosen = results_of(ours)["chosen"]["free_bits"]
    assert chosen in (1, 2)
    assert (ours / "textvae_tables.html").exists()
    # the decoder is new, the encoder goes on from the autoencoder's
    config = tiny_sentences.config(
        ours, "ours,1", **{"data.dir": results_of(ours / "autoencoder")["config"]["data"]["dir"]}
    )
    config.pretrained = str(ours / "autoencoder")
    inputs = load_inputs(config)
    model = language_model.build_model(config, len(inputs.vocabulary))
    params = language_model.initialise(config, model, inputs)["params"]
    same = jax.tree.map(np.array_equal, params["encoder"], before["params"]["encoder"])
    assert all(jax.tree.leaves(same))
    assert not np.array_equal(params["decoder"]["table"], before["params"]["decoder"]["table"])


def test_a_finished_run_is_not_run_again(ours, folder):
    again = language_model.run(tiny_sentences.config(folder, "ours,1-2"), ours)
    assert again == results_of(ours)


def test_the_language_model(folder, tmp_path):
    found = language_model.run(tiny_sentences.config(folder, "lm"), tmp_path)
    numbers = found["metrics"]["test"]
    assert found["system"] == "LSTM-LM"
    assert set(numbers) == {"reconstruction", "score", "nll", "ppl"}
    assert numbers["ppl"] < found["data"]["counts"]["words of the vocabulary"]
    page = compare([str(tmp_path)], tmp_path)
    assert page.startswith("1 runs: ")
    assert "text VAE paper" in page
    assert "LSTM-LM" in (tmp_path / "textvae_tables.md").read_text()
    assert not (tmp_path / "summary.html").exists()
    assert not (tmp_path / "paper_tables.html").exists()


@pytest.mark.parametrize("recipe", ["aggressive", "cyclic", "iwae", "fbp,2"])
def test_recipes(recipe, folder, tmp_path):
    config = tiny_sentences.config(folder, recipe)
    found = language_model.run(config, tmp_path)
    assert found["system"].startswith("IWAE" if recipe == "iwae" else "VAE+")
    assert np.isfinite(found["metrics"]["test"]["nll"])
    row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    if recipe == "aggressive":
        assert 15 <= row["train/encoder_steps"] <= 99
    if recipe == "fbp,2":
        assert row["train/sentences/kl_counted"] >= 2


def test_probes(tmp_path):
    folder = tiny_sentences.corpus(tmp_path / "corpus", train=120, labelled=True)
    fields = {"data.labelled": True, "probes": True}
    found = language_model.run(tiny_sentences.config(folder, "ae", **fields), tmp_path / "run")
    probes = found["probes"]
    assert set(probes) == {
        *("bleu", "smoothness", "noisy_reconstruction", "copying", "clustering", "linear_probe"),
    }
    assert set(probes["noisy_reconstruction"]) == {"1", "2", "3", "4"}
    assert set(probes["linear_probe"]) == {"100"}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Probes of the latent space" in page
    assert "between draws from the prior" in page


def test_a_collapsed_run_says_so(folder, tmp_path):
    fields = {"model.kl_weight": 5.0, "training.max_epochs": 1}
    language_model.run(tiny_sentences.config(folder, "vae", **fields), tmp_path)
    assert "The posterior of z has collapsed" in (tmp_path / "report.html").read_text()


def test_names_of_recipes():
    names = {}
    for argument in ("lm", "ae", "vae", "anneal", "cyclic", "cyclic-sgd", "aggressive", "fb,3"):
        names[argument] = system_name(textvae_ptb.get_config(argument))
    for argument in ("fbp,7", "pretrain", "pretrain-anneal", "ours,4", "iwae", "iwae-pretrain"):
        names[argument] = system_name(textvae_ptb.get_config(argument))
    assert [*names.values()] == [
        *("LSTM-LM", "AE", "VAE", "VAE+anneal", "VAE+cyclic", "VAE+cyclic(SGD)"),
        *("VAE+aggressive", "VAE+FB(3)", "VAE+FBP(7)", "VAE+pretrain", "VAE+pretrain+anneal"),
        *("Ours(4)", "IWAE(k=10)", "IWAE(k=10)+pretrain"),
    ]
    with pytest.raises(ValueError, match="'best' is no recipe"):
        textvae_ptb.get_config("best")


def test_another_encoder_is_refused(ours, folder, tmp_path):
    before = str(ours / "autoencoder")
    wider = tiny_sentences.config(folder, "vae", **{"model.hidden": 9, "pretrained": before})
    with pytest.raises(UserError, match="its encoder is of other sizes"):
        language_model.run(wider, tmp_path / "wider")
    other = tiny_sentences.corpus(tmp_path / "other", train=1)
    with pytest.raises(UserError, match="its vocabulary is another one"):
        language_model.run(tiny_sentences.config(other, "vae", pretrained=before), tmp_path / "b")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data.source": "web"}, "config.data.source is 'web'; use one of ptb"),
        ({"data.source": "ptb", "data.dir": ""}, "config.data.dir is empty"),
        ({"data.min_count": 10_000}, "lower config.data.min_count"),
        ({"model.free_bits_of": "words"}, "config.model.free_bits_of is 'words'"),
        ({"optimizer": "lion"}, "config.optimizer is 'lion'; use sgd or adam"),
        ({"aggressive": True, "optimizer": "adam"}, "config.aggressive is for a text VAE with"),
        ({"model.recurrence": "cudnn"}, "config.model.recurrence is 'cudnn'"),
        ({"evaluation.chunk": 7}, "config.evaluation.samples is 20, no multiple"),
    ],
)
def test_bad_fields(fields, message, folder, tmp_path):
    with pytest.raises(UserError, match=re.escape(message)):
        language_model.run(tiny_sentences.config(folder, "vae", **fields), tmp_path)


def test_its_encoder_starts_a_classifier(ours, tmp_path):
    """M1+M2+BOW from the text VAE's encoder, and predictions of the run."""
    documents = tmp_path / "data"
    documents.mkdir()
    for name, n, seed in (("train", 40, 5), ("dev", 20, 6), ("test", 20, 7)):
        rows = tiny_sentences.sentences(n, seed)
        lines = "".join(f"{label}\t{text}\n" for label, text in rows)
        text = f"label\ttext\n{lines}"
        (documents / f"{name}.tsv").write_text(text, encoding="utf-8")
    config = own_files.get_config("bow")
    config.data.update({"dir": str(documents), "train": "train.tsv", "dev": "dev.tsv"})
    config.data.update({"test": "test.tsv", "n_labels": 8, "normaliser": "lower", "language": "en"})
    config.pretrained, config.encoder.kind = str(ours / "free_bits=2"), "lstm"
    config.model.embedding = config.model.hidden = config.model.latent = 8
    config.model.classifier_hidden, config.model.recurrence = 8, "scan"
    config.model.free_bits, config.model.kl_warmup = 0.5, 2
    config.training.max_steps, config.training.eval_every = 4, 2
    found = classify.run(config, tmp_path / "run")
    assert found["encoder"]["name"] == "text VAE"
    predict, names = load_trained(tmp_path / "run")
    assert predict(["a man sees it ."]).shape == (1, len(names))
    config.encoder.kind = "bilstm"
    with pytest.raises(UserError, match="set config.encoder.kind=lstm for text VAEs"):
        classify.run(config, tmp_path / "other")
    config.encoder.kind, config.pretrained = "lstm", ""
    with pytest.raises(UserError, match="config.encoder.kind is 'lstm', the encoder of a text VAE"):
        classify.run(config, tmp_path / "fourth")
    config.pretrained, config.encoder.trainable = str(ours / "free_bits=2"), False
    with pytest.raises(UserError, match="config.frozen=encoder keeps a text VAE's encoder"):
        classify.run(config, tmp_path / "third")
