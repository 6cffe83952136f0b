"""Zero-shot classification: labels in a source language, the test in a target language (spec §9).

The run of `classify` with a second language. It is chosen by the source's development set.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import jax

from jaxsdgm.data.documents import Corpus
from jaxsdgm.data.sources import load_corpus
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.latents import latents_of
from jaxsdgm.experiments import evidence
from jaxsdgm.experiments.chunked import Chunked
from jaxsdgm.experiments.inputs import Inputs, load_inputs
from jaxsdgm.experiments.outputs import make_predict, rows_of
from jaxsdgm.experiments.setup import Config, Model, has_subwords
from jaxsdgm.experiments.systems import GENERATIVE, SYSTEMS
from jaxsdgm.models.crosslingual import two_languages
from jaxsdgm.models.terms import Batch, Groups
from jaxsdgm.training.loop import Fit
from jaxsdgm.training.parallel import Parallel


def load_languages(config: Config, corpus: Corpus | None = None) -> Inputs:
    """What a run reads, of one language or of source and target; `corpus` is given or read."""
    check(config, corpus)
    source = load_inputs(config, corpus)
    if not config.target.language:
        return source
    data = config.data.copy_and_resolve_references()
    data.language = config.target.language
    target = load_inputs(config, load_corpus(data))
    ours, theirs = source.corpus.label_names, target.corpus.label_names
    if ours != theirs:
        raise UserError(
            f"the labels of {source.language!r} are {', '.join(ours)} and those of "
            f"{target.language!r} {', '.join(theirs)}; a zero-shot run needs the same in both"
        )
    if has_subwords(source.tokenizers) and (config.target.adversary != "none" or source.targets):
        raise UserError(
            f"{config.pretrained}: SNXVAE's languages share embeddings and decoder, for which "
            "neither target.adversary nor data.targets is made; set them to none and "
            "min_documents=0"
        )
    # one copy of what they share
    shared = {"pretrained": source.pretrained, "tokenizers": source.tokenizers}
    return replace(source, target=replace(target, **shared))


def check(config: Config, corpus: Corpus | None) -> None:
    """Raises UserError where a config with a second language, or an adversary, makes no sense."""
    target, language, system = config.target, config.target.language, config.model.system
    if target.adversary != "none":
        if not language or system not in GENERATIVE or config.model.decoder == "none":
            raise UserError(
                "config.target.adversary is for m1m2 and aux with a decoder on two languages; set "
                "config.target.language, or adversary=none"
            )
    if not language:
        return
    problems = [
        (
            language == config.data.language,
            f"config.target.language and config.data.language are both {language!r}; name two "
            "languages",
        ),
        (
            system not in SYSTEMS,
            f"config.model.system is {system!r}; a zero-shot run has one of {', '.join(SYSTEMS)}",
        ),
        (
            corpus is not None,
            "documents in memory are of one language; leave config.target.language empty",
        ),
        (
            config.data.source == "files",
            "config.data.source is 'files', whose tables are of one language; a zero-shot run "
            "needs a corpus of several (mldoc, debian, sib200)",
        ),
        (
            config.data.unlabelled not in ("", "rest"),
            f"config.data.unlabelled is {config.data.unlabelled!r}, a file of one language; a "
            "zero-shot run takes rest, or none",
        ),
        (
            config.encoder.checkpoint or not config.encoder.trainable,
            "config.encoder is a transformer or frozen; a zero-shot run needs an NXVAE's encoder, "
            "with checkpoint='' and trainable=True",
        ),
        (
            config.self_training.max_steps,
            "config.self_training is for one language; a zero-shot run needs max_steps=0",
        ),
        (
            not config.pretrained,
            "config.pretrained is empty; a zero-shot run needs an NXVAE of both languages",
        ),
        (
            not config.model.labelled_weight,
            "config.model.labelled_weight is 0, which leaves out the source's labels; give them a "
            "small weight",
        ),
        (
            target.n_labels and not target.labelled_weight,
            f"config.target.n_labels is {target.n_labels}, but config.target.labelled_weight 0; "
            "give them a weight, or set n_labels=0",
        ),
        (
            config.model.label_prior == "estimated"
            and config.model.unlabelled_weight
            and target.unlabelled_weight,
            "config.model.label_prior is 'estimated', from the unlabelled documents of one "
            "language; set the unlabelled_weight of source or target to 0",
        ),
    ]
    for there, problem in problems:
        if there:
            raise UserError(problem)


def objective_of(inputs: Inputs) -> str | Callable[..., Groups]:
    """What a model minimises: its own `objective`, or that of two languages."""
    if not inputs.target:
        return "objective"
    source, target = inputs.of_languages

    def objective(model: Any, batch: Batch, *, language: str, **arguments: Any) -> Groups:
        del language  # the phase's, which is of both
        return two_languages(model, batch, languages=(source, target), **arguments)

    return objective


# -- results -----------------------------------------------------------------------------------


def make_summarise(
    model: Model, first: Inputs, parallel: Parallel
) -> Callable[[Config, Inputs, Fit], tuple[dict[str, Any], dict[str, bytes | None]]]:
    """`summarise` for the runs of one model, of one language or two."""
    if not first.target:
        return evidence.make_summarise(model, first.language, parallel)
    of_target = evidence.make_summarise(model, first.target.language, parallel)
    return partial(summarise, model, of_target, make_predict(model, first.language, parallel))


def summarise(
    model: Model,
    of_target: Callable[..., Any],
    predict: Chunked,
    config: Config,
    inputs: Inputs,
    result: Fit,
) -> tuple[dict[str, Any], dict[str, bytes | None]]:
    """The target's report, with the figures of both languages.

    Of metrics, "train" and "dev" are the source's and "test" is the target's; all are in
    "by_language".
    """
    assert inputs.target
    results, figures = of_target(config, inputs.target, result)
    best, names = jax.device_get(result.best), inputs.corpus.label_names
    labelled = {split: evidence.labelled_of(x) for split, x in inputs.splits.items()}
    outputs = {
        split: predict(best.params, best.batch_stats, rows_of(arrays, model))
        for split, arrays in labelled.items()
    }
    source, target = evidence.metrics_of(outputs, labelled, names), results["metrics"]
    told = evidence.warnings_of(source, latents_of(outputs["dev"]), {})
    warnings = {inputs.language: told, inputs.target.language: results["warnings"]}
    results |= {
        "kind": "zero_shot",
        "language": "-".join(inputs.of_languages),
        "data": _data(config, inputs),
        "subset": asdict(inputs.subset),
        "metrics": {"train": source["train"], "dev": source["dev"], "test": target["test"]},
        "by_language": {inputs.language: source, inputs.target.language: target},
        "warnings": [f"{lang}: {text}" for lang, texts in warnings.items() for text in texts],
    }
    if config.target.n_labels:
        results["target_subset"] = asdict(inputs.target.subset)
    return results, figures


def _data(config: Config, inputs: Inputs) -> Mapping[str, Any]:
    """Sources and sizes of both corpora."""
    both = inputs.of_languages.values()
    counts: dict[str, Any] = {
        f"{split} {one.language}": one.corpus.counts(split)
        for one in both
        for split in ("train", "dev", "test")
    }
    weights = config.model.unlabelled_weight, config.target.unlabelled_weight
    for one, weight in zip(both, weights, strict=True):
        counts[f"unlabelled {one.language}"] = len(one.unlabelled) if weight else 0
    return {
        "source": "; ".join(one.corpus.source for one in both),
        "counts": counts,
        "warnings": [warning for one in both for warning in one.corpus.warnings],
    }
