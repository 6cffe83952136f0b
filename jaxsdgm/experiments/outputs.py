"""What a classifier says of documents: its predictions and its bound, over any number of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxsdgm.experiments.chunked import Chunked
from jaxsdgm.models.classifier import Classifier
from jaxsdgm.models.semi import SemiSupervised
from jaxsdgm.models.terms import no_noise, whole
from jaxsdgm.training.parallel import Parallel

CHUNK = 128  # documents at a time


def make_predict(
    model: SemiSupervised | Classifier, language: str, parallel: Parallel, *, trials: bool = False
) -> Chunked:
    """`predict(params, batch_stats, rows)` over any number of documents; see `Chunked`."""
    plain = model.clone(axis_name=None)

    def predict(params: Any, batch_stats: Any, rows: Any) -> Any:
        variables = {"params": params, "batch_stats": batch_stats}
        return plain.apply(variables, rows, language=language, method="predict")

    return Chunked(predict, parallel, chunk=CHUNK, trials=trials)


def rows_of(
    arrays: Mapping[str, np.ndarray], model: SemiSupervised | Classifier, *more: str
) -> dict[str, np.ndarray]:
    """What the encoder reads of documents, and `more` where there is such a thing."""
    names = (*model.encoder.inputs, *more)
    return {name: arrays[name] for name in names if name in arrays}


def make_elbo(model: SemiSupervised, language: str, parallel: Parallel) -> Chunked:
    """The terms of the unlabelled bound, per document, at the means of the posteriors.

    Its first argument is {"params": ..., "hyper": ...}: the weights in the bound are the run's.
    """
    plain = model.clone(axis_name=None)

    def terms(weighted: Any, batch_stats: Any, rows: Any) -> Any:
        groups: Any = plain.apply(
            {"params": weighted["params"], "batch_stats": batch_stats},
            {"unlabelled": whole(rows)},
            language=language,
            hyper={**weighted["hyper"], "unlabelled_weight": 1.0},  # whatever it was trained with
            noise=no_noise,
            train=False,
            method="objective",
        )
        return groups["unlabelled"]

    return Chunked(terms, parallel, chunk=CHUNK)
