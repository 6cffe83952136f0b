import hashlib

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from jaxsdgm.data.generated import TOPICS, generate, write_pretraining
from jaxsdgm.data.subsets import stratified_subset

# Of the first documents, as every machine must make them.
DIGEST = "f906df45ea5ec75ff73d6efee7b1f2dc2f1f9747956a55b1af30a751712c11d4"


def test_the_same_arguments_give_the_same_bytes():
    texts = "\n".join(generate("en", train=40, dev=0, test=0).splits["train"].texts)
    assert hashlib.sha256(texts.encode()).hexdigest() == DIGEST
    other = generate("en", train=40, dev=0, test=0, seed=1).splits["train"].texts
    assert not set(other) & set(texts.split("\n"))


def test_sizes_and_balance():
    corpus = generate("xa", train=41, dev=8, test=12, unlabelled=5)
    sizes = {split: len(documents) for split, documents in corpus.splits.items()}
    assert sizes == {"train": 41, "dev": 8, "test": 12, "unlabelled": 5}
    assert corpus.counts("dev") == [2, 2, 2, 2]
    assert corpus.label_names == TOPICS
    assert corpus.splits["unlabelled"].labels is None
    assert "unlabelled" not in generate("xa").splits


def _accuracy(corpus, rows):
    train, test = corpus.splits["train"], corpus.splits["test"]
    vectorizer = CountVectorizer()
    counts = vectorizer.fit_transform(train.texts)[rows]
    model = MultinomialNB(alpha=0.1).fit(counts, train.labels[rows])
    return (model.predict(vectorizer.transform(test.texts)) == test.labels).mean()


@pytest.mark.parametrize("language", ["en", "de"])
def test_hard_with_few_labels_and_learnable_with_all(language):
    corpus = generate(language)
    labels = corpus.splits["train"].labels
    assert labels is not None
    few = [
        _accuracy(corpus, np.array(stratified_subset(labels, n=32, seed=seed).indices))
        for seed in range(5)
    ]
    assert 0.45 < np.mean(few) < 0.75
    assert _accuracy(corpus, np.arange(len(labels))) > 0.85


def test_languages_say_the_same_in_other_words(tmp_path):
    write_pretraining(tmp_path, ("xa", "xb"), sentences=2000)
    sides = [
        (tmp_path / f"generated.xa-xb.{c}").read_text().lower().splitlines() for c in ("xa", "xb")
    ]
    pairs = {
        (a, b)
        for first, second in zip(*sides, strict=True)
        for a, b in zip(first[:-1].split(), second[:-1].split(), strict=True)
    }
    # A dictionary: every word has one translation, and almost none is spelt alike.
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert sum(a == b for a, b in pairs) < 0.1 * len(pairs)


def test_documents_are_in_the_language_of_the_sentences(tmp_path):
    write_pretraining(tmp_path, ("en", "de"), sentences=3000)
    known = set((tmp_path / "generated.en-de.de").read_text().lower().replace(".", "").split())
    words = [w for text in generate("de").splits["test"].texts for w in text[:-1].lower().split()]
    assert np.mean([word in known for word in words]) > 0.98
