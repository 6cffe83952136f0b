"""The classical baselines: against scikit-learn, against measured figures, and as runs."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.preprocessing import normalize

from configs import debian_classify
from jaxsdgm import predict
from jaxsdgm.data.documents import Corpus, Documents
from jaxsdgm.data.sources import load_corpus
from jaxsdgm.data.subsets import Subset, stratified_subset
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import baselines, classify, trained

DEBIAN = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "debian"


def config(system, **fields):
    made = debian_classify.get_config(f"en,16,{system}")
    made.data.source = "generated"
    made.update_from_flattened_dict(fields)
    return made


def generated(**fields):
    return load_corpus(SimpleNamespace(source="generated", language="en", **fields))


def small_corpus(language, train, labels, k=2):
    documents = Documents(tuple(train), np.array(labels, np.int32))
    names = tuple("abcdefg"[:k])
    return Corpus(language, names, dict.fromkeys(("train", "dev", "test"), documents), "here")


@pytest.mark.parametrize("k", [2, 3])
def test_logistic_regression_gives_scikit_learns_probabilities(k):
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(30, 4)), np.arange(30) % k
    expected = LogisticRegression(C=10.0, max_iter=1000).fit(rows, labels).predict_proba(rows)
    np.testing.assert_allclose(
        baselines.fit_logistic(rows, labels).probabilities(rows), expected, rtol=1e-6
    )


def test_em_is_that_of_weighted_copies():
    """One copy of an unlabelled document for each class, weighted by its probability."""
    rng = np.random.default_rng(1)
    labels, k = np.array([0, 1, 2, 0]), 3
    known, unknown = (sp.csr_matrix(rng.poisson(1.0, (n, 9)).astype(float)) for n in (4, 20))
    model = MultinomialNB(alpha=0.1).fit(known, labels)
    copies = sp.vstack([known, *[unknown] * k]).tocsr()
    targets = np.concatenate([labels, np.repeat(np.arange(k), 20)])
    for _ in range(15):
        weights = np.concatenate([np.ones(4), 0.3 * model.predict_proba(unknown).T.ravel()])
        model = MultinomialNB(alpha=0.1).fit(copies, targets, sample_weight=weights)
    ours = baselines.fit_nb_em(known, np.eye(k)[labels], unknown)
    np.testing.assert_allclose(ours.weights, model.feature_log_prob_, rtol=1e-8)
    np.testing.assert_allclose(ours.bias, model.class_log_prior_, rtol=1e-8)


def test_tfidf_is_scikit_learns():
    corpus = generated()
    subset = stratified_subset(corpus.splits["train"].labels, n=16, seed=0)  # pyright: ignore
    classifier = baselines.tfidf_lr(corpus, subset)
    texts = [corpus.splits["train"].texts[i] for i in subset.indices]
    theirs = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"[^\W_]+", sublinear_tf=True)
    expected = theirs.fit(texts).transform(corpus.splits["test"].texts)
    counts = baselines.vectorizer("en", 2, classifier.terms).transform(corpus.splits["test"].texts)
    assert classifier.idf is not None
    assert classifier.terms == tuple(theirs.get_feature_names_out())
    assert abs(baselines.tfidf(counts, classifier.idf) - expected).max() < 1e-12


@pytest.mark.parametrize("language", ["zh", "zho_Hans"])
def test_chinese_terms_are_one_to_three_signs(language):
    corpus = small_corpus(language, ["我是人", "你好 abc"], [0, 1])
    classifier = baselines.nb_em(corpus, Subset((0, 1), "all", 2, None))
    first = {"我", "是", "人", "我 是", "是 人", "我 是 人"}
    assert set(classifier.terms) == first | {"你", "好", "abc", "你 好", "好 abc", "你 好 abc"}


def test_features_are_centred_with_the_whole_training_file():
    rng = np.random.default_rng(2)
    train, labels = rng.normal(3.0, 1.0, size=(40, 5)), np.arange(40) % 4
    rows = [0, 1, 2, 3, 4, 8, 12]
    new = rng.normal(3.0, 1.0, size=(6, 5))
    unit = normalize(train)
    mean = unit.mean(axis=0)
    theirs = LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced")
    theirs.fit(unit[rows] - mean, labels[rows])
    ours = baselines.features_lr(train, rows, labels[rows]).probabilities(new)
    np.testing.assert_allclose(ours, theirs.predict_proba(normalize(new) - mean), rtol=1e-6)


@pytest.mark.parametrize(
    ("system", "language", "unlabelled", "n", "expected"),
    [
        ("nb_em", "en", "", 32, 68.2),
        ("nb_em", "en", "", 128, 80.4),
        ("nb_em", "de", "", 64, 78.9),
        ("nb_em", "en", "rest", 32, 71.5),
        ("tfidf_lr", "en", "", 32, 56.9),
    ],
)
def test_measured_figures(system, language, unlabelled, n, expected):
    """Mean test accuracy over five subsets of Debian's descriptions, measured independently."""
    if not DEBIAN.is_dir():
        pytest.skip("../shared is absent")
    corpus = load_corpus(
        SimpleNamespace(source="debian", dir=str(DEBIAN), language=language, unlabelled=unlabelled)
    )
    train, test = corpus.splits["train"], corpus.splits["test"]
    assert train.labels is not None
    right = []
    for seed in range(5):
        subset = stratified_subset(train.labels, n=n, seed=seed)
        found = baselines.ON_TEXTS[system](corpus, subset).probabilities(test.texts)
        right.append(np.mean(found.argmax(axis=1) == test.labels))
    assert 100 * np.mean(right) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize(
    ("system", "unlabelled"), [("tfidf_lr", ""), ("nb_em", ""), ("nb_em", "rest")]
)
def test_a_run_like_any_other(tmp_path, system, unlabelled):
    made = config(system, **{"data.unlabelled": unlabelled})
    results = json.loads(json.dumps(classify.run(made, tmp_path)))
    assert results == json.loads((tmp_path / "results.json").read_text())
    assert results["kind"] == "classify"
    assert results["system"] == system
    assert results["data"]["counts"]["unlabelled"] == 384 + (2000 if unlabelled else 0)
    assert results["subset"]["n"] == 16
    assert {"accuracy", "macro_f1", "confusion", "ece", "nll"} <= results["metrics"]["dev"].keys()
    assert results["metrics"]["test"]["accuracy"] > 0.5
    assert "scikit-learn" in results["versions"]
    assert "</html>" in (tmp_path / "report.html").read_text()
    assert classify.run(made, tmp_path) == results  # returned, not fitted again
    function, names = trained.load_trained(tmp_path)
    texts = generated().splits["test"].texts
    found = list(predict.predictions(texts, function, names))
    gold = [names[i] for i in generated().splits["test"].labels]  # pyright: ignore
    right = np.mean([one.label == label for one, label in zip(found, gold, strict=True)])
    assert right == pytest.approx(results["metrics"]["test"]["accuracy"])


def test_all_labels_need_no_em(tmp_path):
    results = classify.run(config("nb_em", **{"data.n_labels": 0}), tmp_path)
    assert results["data"]["counts"]["unlabelled"] == 0
    assert results["subset"]["rule"] == "all"


def test_what_cannot_be_fitted():
    subset = Subset((0, 1), "all", 2, None)
    with pytest.raises(UserError, match="here: no labelled document of 'b'"):
        baselines.nb_em(small_corpus("en", ["x", "y"], [0, 0]), subset)
    with pytest.raises(UserError, match="the 2 documents to fit on have no words"):
        baselines.tfidf_lr(small_corpus("en", ["?", "!"], [0, 1]), subset)


def test_damaged_files(tmp_path):
    classify.run(config("nb_em"), tmp_path)
    path = tmp_path / baselines.ARRAYS
    for damage in (path.read_bytes()[:100], b""):
        path.write_bytes(damage)
        with pytest.raises(UserError, match=r"baseline\.npz: cannot be read .*fit again"):
            trained.load_trained(tmp_path)
