"""What a classifier says of documents: its predictions and its bound, over any number of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxsdgm.evaluation.classification import classification_report
from jaxsdgm.experiments.chunked import Chunked
from jaxsdgm.experiments.inputs import Inputs
from jaxsdgm.experiments.setup import Model
from jaxsdgm.experiments.ssvae import latent_metrics
from jaxsdgm.models.semi import SemiSupervised
from jaxsdgm.models.ssvae import SSVAE
from jaxsdgm.models.terms import no_noise, whole
from jaxsdgm.training.parallel import Parallel

CHUNK = 128  # documents at a time


def make_predict(
    model: Model,
    language: str,
    parallel: Parallel,
    *,
    trials: bool = False,
    own_rows: bool = False,
) -> Chunked:
    """`predict(params, batch_stats, rows)` over any number of documents; see `Chunked`."""
    plain = model.clone(axis_name=None)

    def predict(params: Any, batch_stats: Any, rows: Any) -> Any:
        variables = {"params": params, "batch_stats": batch_stats}
        return plain.apply(variables, rows, language=language, method="predict")

    return Chunked(predict, parallel, chunk=CHUNK, trials=trials, own_rows=own_rows)


def rows_of(arrays: Mapping[str, np.ndarray], model: Model, *more: str) -> dict[str, np.ndarray]:
    """What the encoder reads of documents, and `more` where there is such a thing."""
    names = (*model.encoder.inputs, *more)
    return {name: arrays[name] for name in names if name in arrays}


def make_elbo(model: SemiSupervised | SSVAE, language: str, parallel: Parallel) -> Chunked:
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


def make_evaluate(
    model: Model, inputs: Sequence[Inputs], parallel: Parallel
) -> tuple[Callable[..., Any], Callable[..., None]]:
    """Dev metrics of every trial, and what compiles that.

    `inputs` are those of each trial: their development sets are one, or differ.
    """
    first, names = inputs[0], inputs[0].corpus.label_names
    own = any(one.splits["dev"] is not first.splits["dev"] for one in inputs)
    predict = make_predict(model, first.language, parallel, trials=True, own_rows=own)
    dev_of = lambda trial: (inputs[trial] if own else first).splits["dev"]

    def rows(trials: Sequence[int]) -> Any:
        return [rows_of(dev_of(i), model) for i in trials] if own else rows_of(dev_of(0), model)

    def metrics(output: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
        if not np.isfinite(output["log_q"]).all():
            return {"accuracy": float("nan")}
        report = classification_report(np.exp(output["log_q"]), labels, names)
        found = {name: report[name] for name in ("accuracy", "macro_f1", "nll")}
        return {**found, **latent_metrics(output)}

    def evaluate(params: Any, batch_stats: Any, trials: Sequence[int]) -> list[dict[str, float]]:
        found = predict(params, batch_stats, rows(trials))
        return [
            metrics({name: x[slot] for name, x in found.items()}, dev_of(i)["labels"])
            for slot, i in enumerate(trials)
        ]

    def compile_evaluation(params: Any, batch_stats: Any, trials: Sequence[int]) -> None:
        predict.compile(params, batch_stats, rows(trials))

    return evaluate, compile_evaluation
