"""A classification run as a scikit-learn estimator, for notebooks and scripts."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

from jaxsdgm.data.documents import Corpus, Documents
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import classify, trained
from jaxsdgm.experiments.setup import Config

NO_LABEL = -1  # scikit-learn's; None says the same


class SDGMClassifier(ClassifierMixin, BaseEstimator):
    """M1+M2, or one of its supervised twins, on documents in memory.

        config = own_files_e5.get_config("en")
        classifier = SDGMClassifier(config).fit(texts, labels)
        classifier.predict(["another document"])

    Args:
      config: of configs/; what it says of files is not read.

    Attributes:
      classes_: the labels `[k]`, sorted.
      results_: the run's results.json. Its dev and test figures are those of the labelled
        documents that it was fitted to and say nothing about others.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    def fit(self, X: Sequence[str], y: Sequence[Any]) -> Self:
        """Trains on documents `X [n]` whose label in `y [n]` is None or -1 where it is not known.

        Raises:
          UserError: of unequal lengths, an empty document, no label or only one.
        """
        _check(X, y)
        known = [(text, label) for text, label in zip(X, y, strict=True) if _has(label)]
        texts, labels = zip(*known, strict=True)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        labelled = Documents(texts, numbers.astype(np.int32))
        splits: dict[str, Documents] = dict.fromkeys(("train", "dev", "test"), labelled)
        others = tuple(text for text, label in zip(X, y, strict=True) if not _has(label))
        if others:
            splits["unlabelled"] = Documents(others)
        config = self.config.copy_and_resolve_references()
        config.data.n_labels, config.trials = 0, 1
        config.sweep = {}
        names = tuple(map(str, self.classes_))
        corpus = Corpus(config.data.language, names, splits, "documents given to fit")
        with TemporaryDirectory() as folder:
            self.results_ = classify.run(config, Path(folder), corpus=corpus)
            self._outputs, _ = trained.load_outputs(Path(folder))
        return self

    def predict_proba(self, X: Sequence[str]) -> np.ndarray:
        """q(y | x) of documents `[n]`: `[n, k]`, the classes in the order of `classes_`."""
        return np.exp(self._read(X)["log_q"])

    def predict(self, X: Sequence[str]) -> np.ndarray:
        """The most probable labels `[n]`."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]

    def transform(self, X: Sequence[str]) -> np.ndarray:
        """Means of q(z1 | x) of documents `[n]`: `[n, z]`."""
        return self._read(X)["z1"]

    def _read(self, X: Sequence[str]) -> dict[str, np.ndarray]:
        if not hasattr(self, "_outputs"):
            raise NotFittedError("this SDGMClassifier is not fitted; call fit first")
        return self._outputs(list(X))


def _has(label: Any) -> bool:
    return label is not None and label != NO_LABEL


def _check(X: Sequence[str], y: Sequence[Any]) -> None:
    if len(X) != len(y):
        raise UserError(f"{len(X)} documents but {len(y)} labels; None stands for no label")
    empty = [i for i, text in enumerate(X) if not str(text).strip()]
    if empty:
        raise UserError(f"X[{empty[0]}] is empty; leave the document out")
    if len({label for label in y if _has(label)}) < 2:
        raise UserError("y has fewer than two labels; every class needs a labelled document")
