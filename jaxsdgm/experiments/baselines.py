"""Classical classifiers as runs like any other: logistic regression, and naive Bayes with EM.

Settings are fixed and dev is not looked at, so that they need no more labels than they are given.
"""

import io
import json
import platform
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from ml_collections import ConfigDict
from scipy.special import softmax
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from jaxsdgm.data.documents import Corpus, write_text
from jaxsdgm.data.sources import load_corpus
from jaxsdgm.data.subsets import Subset
from jaxsdgm.data.tokenizers import plain_words
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.classification import classification_report
from jaxsdgm.evaluation.report import write_report
from jaxsdgm.experiments import evidence, setup
from jaxsdgm.experiments.features import Featurizer, make_featurizer, the_checkpoint
from jaxsdgm.experiments.inputs import checked_tokenizers, draw_subset
from jaxsdgm.experiments.setup import Config
from jaxsdgm.training.checkpoints import load_pretrained

C = 10.0  # inverse strength of the logistic regression's penalty
ALPHA = 0.1  # added to every count of naive Bayes
ROUNDS, UNLABELLED_WEIGHT = 15, 0.3  # of EM
#: languages written without spaces: there a sign is a word, and n-grams of signs are the terms
UNSPACED = frozenset({"zh", "zho", "yue", "ja", "jpn"})
SPLITS = ("train", "dev", "test")
ARRAYS, ABOUT = "baseline.npz", "baseline.json"

Rows = Any  # [n, d], an array or a sparse matrix


@dataclass(frozen=True)
class Linear:
    """p(y | x) = softmax(W x + b)."""

    weights: np.ndarray  # [k, d]
    bias: np.ndarray  # [k]

    def probabilities(self, rows: Rows) -> np.ndarray:
        """Of every class, `[n, k]`, for rows `[n, d]`."""
        return softmax(rows @ self.weights.T + self.bias, axis=1)


def fit_logistic(rows: Rows, labels: np.ndarray, *, class_weight: str | None = None) -> Linear:
    """Logistic regression of rows `[n, d]` with labels `[n]`, 0 to k - 1, each at least once."""
    model = LogisticRegression(C=C, max_iter=1000, class_weight=class_weight).fit(rows, labels)
    if len(model.classes_) == 2:  # one row, the logit of class 1 against class 0
        weights = np.concatenate([np.zeros_like(model.coef_), model.coef_])
        return Linear(weights, np.append(0.0, model.intercept_))
    return Linear(model.coef_, model.intercept_)


def fit_naive_bayes(counts: Rows, shares: np.ndarray) -> Linear:
    """Multinomial naive Bayes; class proportions are those of the shares.

    Args:
      counts: [n, v] of each word in each document.
      shares: [n, k] how much of a document belongs to each class.
    """
    mass = shares.T @ counts + ALPHA  # [k, v]
    proportions = shares.sum(axis=0) / shares.sum()  # [k]
    return Linear(np.log(mass / mass.sum(axis=1, keepdims=True)), np.log(proportions))


def fit_nb_em(labelled: Rows, shares: np.ndarray, unlabelled: Rows) -> Linear:
    """EM of Nigam et al. 2000 (§5): unlabelled documents count for p(y | x), times a weight.

    Args:
      labelled: [n, v] counts.
      shares: [n, k] one-hot labels.
      unlabelled: [m, v] counts; with m = 0 this is naive Bayes.
    """
    model = fit_naive_bayes(labelled, shares)
    every = sp.vstack([labelled, unlabelled]).tocsr()
    for _ in range(ROUNDS if unlabelled.shape[0] else 0):
        guesses = UNLABELLED_WEIGHT * model.probabilities(unlabelled)
        model = fit_naive_bayes(every, np.concatenate([shares, guesses]))
    return model


# -- texts -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TextClassifier:
    """A linear model of the terms in a document: their counts, or sublinear TF-IDF."""

    language: str
    words: int  # longest term, in words
    terms: tuple[str, ...]  # [v]
    linear: Linear
    idf: np.ndarray | None = None  # [v]; None: plain counts

    def probabilities(self, texts: Iterable[str]) -> np.ndarray:
        """Of every class, `[n, k]`."""
        counts = vectorizer(self.language, self.words, self.terms).transform(texts)
        rows = counts if self.idf is None else tfidf(counts, self.idf)
        return self.linear.probabilities(rows)

    def save(self, workdir: Path, label_names: Sequence[str]) -> None:
        """Numbers as .npz, words as JSON."""
        arrays: dict[str, Any] = {"weights": self.linear.weights, "bias": self.linear.bias}
        if self.idf is not None:
            arrays["idf"] = self.idf
        np.savez_compressed(workdir / ARRAYS, **arrays)
        about = {"label_names": list(label_names), "language": self.language, "words": self.words}
        text = json.dumps({**about, "terms": self.terms}, ensure_ascii=False)
        write_text(workdir / ABOUT, text + "\n")


def vectorizer(language: str, words: int, terms: Sequence[str] | None = None) -> CountVectorizer:
    """Counts terms of one word to so many; `fit` looks for them where they are not given."""
    options: Any = {"token_pattern": None, "dtype": np.float64}  # scikit-learn's types forbid both
    return CountVectorizer(
        tokenizer=lambda text: plain_words(text, language),
        lowercase=False,
        ngram_range=(1, words),
        vocabulary=terms,
        **options,
    )


def tfidf(counts: Any, idf: np.ndarray) -> Any:
    """(1 + log count) idf, each row of length 1."""
    rows = counts.copy()
    rows.data = 1 + np.log(rows.data)
    return normalize(rows.multiply(idf).tocsr())


def count_terms(texts: Sequence[str], language: str, words: int) -> tuple[Any, tuple[str, ...]]:
    """Counts `[n, v]` of all terms in the texts, and the terms."""
    counter = vectorizer(language, words)
    try:
        counts = counter.fit_transform(texts)
    except ValueError:  # scikit-learn's empty vocabulary
        raise UserError(f"the {len(texts)} documents to fit on have no words in them") from None
    return counts, tuple(counter.get_feature_names_out().tolist())


def tfidf_lr(corpus: Corpus, subset: Subset) -> TextClassifier:
    """Logistic regression on TF-IDF of terms of one and two words of the labelled documents."""
    words = 3 if _unspaced(corpus.language) else 2
    texts, labels = _labelled(corpus, subset)
    counts, terms = count_terms(texts, corpus.language, words)
    idf = TfidfTransformer().fit(counts).idf_
    linear = fit_logistic(tfidf(counts, idf), labels)
    return TextClassifier(corpus.language, words, terms, linear, idf)


def nb_em(corpus: Corpus, subset: Subset) -> TextClassifier:
    """Naive Bayes on word counts, with EM over all documents that have no label in the subset."""
    words = 3 if _unspaced(corpus.language) else 1
    _, labels = _labelled(corpus, subset)
    texts = corpus.splits["train"].texts
    if "unlabelled" in corpus.splits:
        texts += corpus.splits["unlabelled"].texts
    counts, terms = count_terms(texts, corpus.language, words)
    rows = np.array(subset.indices)
    shares = np.eye(len(corpus.label_names))[labels]
    linear = fit_nb_em(counts[rows], shares, counts[unlabelled_rows(corpus, subset)])
    return TextClassifier(corpus.language, words, terms, linear)


ON_TEXTS: dict[str, Callable[[Corpus, Subset], TextClassifier]] = {
    "tfidf_lr": tfidf_lr,
    "nb_em": nb_em,
}
FEATURES_LR = "features_lr"
BASELINES = (*ON_TEXTS, FEATURES_LR)


def _unspaced(language: str) -> bool:
    return language.split("_")[0] in UNSPACED


def _labelled(corpus: Corpus, subset: Subset) -> tuple[list[str], np.ndarray]:
    """Texts and labels of the subset, which has every class."""
    train = corpus.splits["train"]
    assert train.labels is not None
    labels = train.labels[list(subset.indices)]
    for number, name in enumerate(corpus.label_names):
        if number not in labels:
            raise UserError(f"{corpus.source}: no labelled document of {name!r} to fit on; add one")
    return [train.texts[i] for i in subset.indices], labels


def unlabelled_rows(corpus: Corpus, subset: Subset) -> np.ndarray:
    """Rows used without a label, of the training documents followed by the further ones."""
    further = corpus.splits.get("unlabelled", ())
    return np.setdiff1d(np.arange(len(corpus.splits["train"]) + len(further)), subset.indices)


# -- features ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class FeatureClassifier:
    """A linear model of feature vectors of length 1, less the mean of the training file's."""

    mean: np.ndarray  # [d]
    linear: Linear

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Of every class, `[n, k]`, for features `[n, d]`."""
        return self.linear.probabilities(normalize(features) - self.mean)

    def save(self, workdir: Path, label_names: Sequence[str]) -> None:
        """Numbers as .npz, labels as JSON; which encoder it was is in the run's config."""
        weights, bias = self.linear.weights, self.linear.bias
        np.savez_compressed(workdir / ARRAYS, weights=weights, bias=bias, mean=self.mean)
        text = json.dumps({"label_names": list(label_names)}, ensure_ascii=False)
        write_text(workdir / ABOUT, text + "\n")


def frozen_encoder(config: Config) -> Featurizer:
    """The encoder of a config, from a checkpoint or from an NXVAE, as it is."""
    if not config.encoder.checkpoint and not config.pretrained:
        raise UserError(
            "features_lr needs an encoder; name a checkpoint in config.encoder.checkpoint or an "
            "NXVAE in config.pretrained"
        )
    pretrained, tokenizers = None, {}
    if config.pretrained:
        pretrained, about, folder = load_pretrained(config.pretrained)
        tokenizers = checked_tokenizers(folder, about["tokenizers"])
    return make_featurizer(config, the_checkpoint(config), pretrained, tokenizers)


def features_lr(train: np.ndarray, indices: Sequence[int], labels: np.ndarray) -> FeatureClassifier:
    """Balanced logistic regression on features that stand for documents.

    Args:
      train: [n, d] features of the whole training file, whose mean is taken off.
      indices: of the labelled ones among them.
      labels: of those, in the same order.
    """
    unit, rows = np.asarray(normalize(train)), list(indices)
    mean = unit.mean(axis=0)
    linear = fit_logistic(unit[rows] - mean, labels, class_weight="balanced")
    return FeatureClassifier(mean, linear)


# -- runs --------------------------------------------------------------------------------------


def run(config: Config, workdir: Path, *, corpus: Corpus | None = None) -> dict[str, Any]:
    """Fits and evaluates the baseline `config.model.system`; writes what any run writes."""
    setup.start_workdir(config, workdir)
    if results := setup.finished(workdir):
        return results
    corpus = corpus or load_corpus(config.data)
    subset = draw_subset(config, corpus)
    rows: dict[str, Any] = {split: corpus.splits[split].texts for split in SPLITS}
    if config.model.system == FEATURES_LR:
        encode = frozen_encoder(config)
        rows = {split: encode(texts) for split, texts in rows.items()}
    start = time.perf_counter()
    if config.model.system == FEATURES_LR:
        _, labels = _labelled(corpus, subset)
        classifier = features_lr(rows["train"], subset.indices, labels)
    else:
        classifier = ON_TEXTS[config.model.system](corpus, subset)
    seconds = time.perf_counter() - start
    classifier.save(workdir, corpus.label_names)
    found = {split: classifier.probabilities(x) for split, x in rows.items()}
    size = classifier.linear.weights.size + classifier.linear.bias.size
    return finish(config, workdir, corpus, subset, found, seconds=seconds, parameters=size)


def finish(
    config: Config,
    workdir: Path,
    corpus: Corpus,
    subset: Subset,
    probabilities: Mapping[str, np.ndarray],
    *,
    seconds: float,
    parameters: int,
) -> dict[str, Any]:
    """results.json and report.html, from the probabilities `[n, k]` of every split."""
    names = corpus.label_names
    metrics = {}
    for split, found in probabilities.items():
        labels = corpus.splits[split].labels
        assert labels is not None
        metrics[split] = classification_report(found, labels, names)
    latents = {"active_units": {}, "size": {}}
    unlabelled = len(unlabelled_rows(corpus, subset))
    results = {
        "kind": "classify",
        **setup.provenance(config),
        "system": config.model.system,
        "language": corpus.language,
        "languages": [corpus.language],
        "label_names": list(names),
        "device": f"CPU, {platform.machine()}",
        "data": {
            "source": corpus.source,
            "counts": {**{s: corpus.counts(s) for s in SPLITS}, "unlabelled": unlabelled},
            "warnings": list(corpus.warnings),
        },
        "subset": asdict(subset),
        "metrics": metrics,
        "training": {"seconds": round(seconds, 2)},
        "parameters": parameters,
        "warnings": evidence.warnings_of(metrics, latents, {}),
    }
    write_report(workdir, results)
    setup.write_results(workdir, results)
    return results


def _config(workdir: Path) -> Config:
    return ConfigDict(json.loads((workdir / "config.json").read_text(encoding="utf-8")))


def load_trained(workdir: Path) -> tuple[Callable[[list[str]], np.ndarray], list[str]]:
    """A fitted baseline as a function from documents to `[n, k]`, and its labels."""
    try:
        about = json.loads((workdir / ABOUT).read_text(encoding="utf-8"))
        with np.load(io.BytesIO((workdir / ARRAYS).read_bytes()), allow_pickle=False) as arrays:
            linear = Linear(arrays["weights"], arrays["bias"])
            idf = arrays["idf"] if "idf" in arrays else None
            mean = arrays["mean"] if "mean" in arrays else None
        if mean is not None:
            encode = frozen_encoder(_config(workdir)).encode
            classifier = FeatureClassifier(mean, linear)
            return lambda texts: classifier.probabilities(encode(texts)), about["label_names"]
        terms = tuple(about["terms"])
        classifier = TextClassifier(about["language"], about["words"], terms, linear, idf)
        return classifier.probabilities, about["label_names"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{workdir / ARRAYS}: cannot be read ({error}); fit again") from None
