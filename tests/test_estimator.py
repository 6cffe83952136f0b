"""The estimator: fitted to documents in memory, some of them without a label."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from configs import debian_e5
from jaxsdgm.data import generated
from jaxsdgm.errors import UserError
from jaxsdgm.estimator import SDGMClassifier
from tests.experiments import tiny_checkpoint


def make_config(folder):
    config = debian_e5.frozen("en", 0, "bow")
    config.encoder.checkpoint = str(tiny_checkpoint.make(folder / "tiny"))
    config.data.max_length, config.model.latent = 24, 4
    config.training.max_steps = config.training.eval_every = 100
    return config


def test_fit_predict_transform(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    documents = generated.generate("en", unlabelled=0, seed=0).splits["train"]
    texts = list(documents.texts[:60])
    topics = [f"topic {label}" for label in documents.labels[:60]]
    labels = [*topics[:30], *[None] * 30]
    classifier = SDGMClassifier(make_config(tmp_path)).fit(texts, labels)
    assert classifier.classes_.tolist() == sorted(set(topics))
    assert classifier.results_["data"]["counts"]["unlabelled"] == 30
    probabilities = classifier.predict_proba(texts[30:])
    assert probabilities.shape == (30, len(classifier.classes_))
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert classifier.transform(texts[:3]).shape == (3, 4)
    assert classifier.predict(texts[:3])[0] in classifier.classes_
    assert classifier.score(texts[:30], topics[:30]) > 1.5 / len(classifier.classes_)
    assert "SDGMClassifier" in repr(classifier)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a", "b"], ["x"], "2 documents but 1 labels"),
        (["a", " "], ["x", "y"], r"X\[1\] is empty"),
        (["a", "b"], ["x", None], "fewer than two labels"),
    ],
)
def test_bad_input(texts, labels, message):
    with pytest.raises(UserError, match=message):
        SDGMClassifier(None).fit(texts, labels)


def test_not_fitted():
    with pytest.raises(NotFittedError, match="call fit"):
        SDGMClassifier(None).predict(["a"])
