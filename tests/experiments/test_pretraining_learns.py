"""SNXVAE and PEMB learn from generated text what their objectives ask for.

SNXVAE's latent variable explains more than the frequencies of the pieces do, and a classifier that
starts from it needs its labels. PEMB brings translations together, and only where the lines are
aligned.
"""

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import debian_classify, debian_pemb, debian_snxvae
from jaxsdgm.data import europarl, generated
from jaxsdgm.data.documents import Corpus, Documents
from jaxsdgm.data.subwords import SentencePieceTokenizer
from jaxsdgm.experiments import classify, pretrain
from jaxsdgm.training.checkpoints import load_pretrained

STEPS, WIDTH = 400, 48


def small(config: ConfigDict) -> ConfigDict:
    config.data.source = "generated"
    config.data.documents_per_step = 0
    config.data.vocab_size = ConfigDict({"en": 1000, "de": 1000})
    config.model.embedding = config.model.latent = WIDTH
    config.model.hidden, config.model.dropout = 32, 0.0
    config.learning_rate = 5e-3
    config.training.max_steps, config.training.eval_every = STEPS, STEPS // 2
    return config


@pytest.mark.slow
def test_snxvae_explains_sentences_and_serves_a_classifier(tmp_path):
    config = small(debian_snxvae.get_config("en-de"))
    config.data.subwords = 800
    results = pretrain.run(config, tmp_path / "snxvae")
    by_frequency = []
    for language in ("en", "de"):
        tokenizer = SentencePieceTokenizer.load(tmp_path / "snxvae" / "tokenizer", language)
        ids = {}
        for split in ("train", "dev"):
            lines = (tmp_path / "snxvae" / "text" / f"{language}.{split}.txt").read_text()
            tokens = map(str.split, lines.splitlines())
            ids[split] = tokenizer.encode_tokens(tokens, config.data.max_length)[0]
        counts = np.bincount(ids["train"][ids["train"] > 0], minlength=tokenizer.vocab_size) + 1
        bits = -np.log(counts / counts.sum())[ids["dev"]] * (ids["dev"] > 0)
        by_frequency.append(bits.sum(1).mean())
    # without z no decoder gets below 1
    assert results["metrics"]["dev"]["reconstruction"] < 0.96 * np.mean(by_frequency)
    assert accuracy(tmp_path, "true") > 0.45
    assert accuracy(tmp_path, "shuffled") < 0.35


def accuracy(folder, labels):
    """Of SNXVAE-z1 on the test documents of German, with 64 labels, true or shuffled ones."""
    corpus = generated.generate("de", train=300, dev=100, test=400)
    train = corpus.splits["train"]
    if labels == "shuffled":
        shuffled = np.random.default_rng(0).permutation(train.labels)
        splits = {**corpus.splits, "train": Documents(train.texts, shuffled)}
        corpus = Corpus(corpus.language, corpus.label_names, splits, corpus.source)
    config = small(debian_classify.get_config("de,64,nxvae_z1"))
    config.pretrained = str(folder / "snxvae")
    config.training.max_steps, config.training.eval_every = 200, 200
    results = classify.run(config, folder / labels, corpus=corpus)
    return results["metrics"]["test"]["accuracy"]


def found_translations(folder):
    """Share of the 100 most frequent English words whose translation is among the nearest ten."""
    variables, _, _ = load_pretrained(folder)
    spelling = {c: generated._spelling(c) for c in ("en", "de")}
    unit, words = {}, {}
    for c in ("en", "de"):
        table = np.asarray(variables["params"]["encoder"][f"embeddings_{c}"]["table"])[2:]
        unit[c] = table / np.linalg.norm(table, axis=1, keepdims=True)
        lines = (folder / "tokenizer" / f"{c}.vocab").read_text().splitlines()
        words[c] = {line.split("\t")[0]: i for i, line in enumerate(lines)}
    found = []
    for word, i in [*words["en"].items()][:100]:
        target = words["de"].get(spelling["de"][spelling["en"].index(word)])
        if target is not None:
            cosines = unit["de"] @ unit["en"][i]
            found.append((cosines > cosines[target]).sum() < 10)
    return np.mean(found)


@pytest.mark.slow
def test_pemb_finds_translations_where_lines_are_aligned(tmp_path, monkeypatch):
    config = small(debian_pemb.get_config("en-de"))
    pretrain.run(config, tmp_path / "aligned")
    assert found_translations(tmp_path / "aligned") > 0.5
    split = europarl._split
    apart = lambda *args, **fields: split(*args, **{**fields, "aligned": False})
    monkeypatch.setattr(europarl, "_split", apart)
    pretrain.run(config, tmp_path / "apart")
    assert found_translations(tmp_path / "apart") < 0.2
