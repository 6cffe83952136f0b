"""Pretraining of NXVAE or SNXVAE on two languages' sentences, or of PEMB on pairs (spec §4)."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxsdgm.data.batches import PretrainingPlan
from jaxsdgm.data.sources import load_documents, load_pretraining
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.latents import collapse_warnings, latents_of
from jaxsdgm.evaluation.neighbours import nearest_words, pick_queries
from jaxsdgm.evaluation.report import write_report
from jaxsdgm.experiments import setup
from jaxsdgm.experiments.chunked import Chunked
from jaxsdgm.experiments.sentences import (
    Encoded,
    Vocabulary,
    by_language,
    encode,
    in_pairs,
    in_pieces,
    make_tokenizers,
    median_limit,
    pair_shapes,
    sentence_shapes,
    windows,
)
from jaxsdgm.experiments.setup import Config
from jaxsdgm.layers.encoders import embeddings_of, vocabulary
from jaxsdgm.models.nxvae import NXVAE
from jaxsdgm.models.pemb import PairVAE
from jaxsdgm.models.terms import no_noise, whole
from jaxsdgm.training import schedules
from jaxsdgm.training.loop import Fit, Schedule, fit
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.progress import log
from jaxsdgm.training.state import TrainState, adam, create_state, reference_adversarial_adam
from jaxsdgm.training.step import make_run, make_step
from jaxsdgm.training.trials import Plan, Task, Trial, shapes_of


def run(config: Config, workdir: Path) -> dict[str, Any]:
    """Trains NXVAE, or goes on where it stopped; returns and writes results.json."""
    check_pairs(config)
    setup.start_workdir(config, workdir)
    if results := setup.finished(workdir):
        return results
    texts = load_pretraining(config.data, workdir / "text")
    documents = {}
    if config.data.documents_per_step:
        documents = {language: load_documents(config.data, language) for language in texts}
    tokenizers = make_tokenizers(config, texts, documents, workdir / "tokenizer")
    texts = in_pieces(texts, tokenizers)
    limit = config.data.max_length or median_limit(texts)
    log.info("pretrain: sentences cut at %d tokens", limit)
    pairs = config.data.pairs
    dev = encode(texts, tokenizers, "dev", limit)
    dev = in_pairs(dev) if pairs else dev
    of_documents = {
        language: {"documents": windows(config, of_one, tokenizers[language])}
        for language, of_one in documents.items()
    }
    of_sentences = {language: sentence_shapes(text, limit) for language, text in texts.items()}
    shapes = {
        phase: {"sentences": of_one, **shapes_of(of_documents.get(phase, {}))}
        for phase, of_one in (pair_shapes(of_sentences) if pairs else of_sentences).items()
    }

    @cache  # the report reads them too
    def read() -> Any:
        sentences = encode(texts, tokenizers, "train", limit)
        return {
            phase: {"sentences": rows, **of_documents.get(phase, {})}
            for phase, rows in (in_pairs(sentences) if pairs else sentences).items()
        }

    parallel = Parallel(config.parallel)
    model = build(config, setup.vocab_sizes(tokenizers), parallel)
    task, make, plan = make_task(config, model, shapes, read, dev, parallel)
    about = {"config": setup.as_json(config), "kind": "pretrain"}
    about["tokenizers"] = {language: t.digest for language, t in tokenizers.items()}
    (result,) = fit(
        task,
        [Trial(make, plan, workdir, about)],
        schedule=Schedule(**config.training),
        parallel=parallel,
        tensorboard=config.tensorboard,
        profile=config.profile,
    )
    train = {language: groups["sentences"] for language, groups in read().items()}
    results = summarise(config, result, tokenizers, train, dev, model, parallel)
    write_report(workdir, results)
    setup.write_results(workdir, results)
    return results


def check_pairs(config: Config) -> None:
    """Raises UserError for what a model of sentence pairs has no place for."""
    if not config.data.pairs:
        return
    if config.data.documents_per_step or config.model.adversary != "none":
        raise UserError(
            "config.data.pairs reads two languages as one and has neither documents nor a "
            "discriminator; set config.data.documents_per_step=0 and config.model.adversary=none"
        )


def build(config: Config, vocab_sizes: dict[str, int], parallel: Parallel) -> NXVAE:
    """The model of a config; `vocab_sizes` of its languages, or of the one that they share."""
    backend = setup.recurrence(config, parallel, trials=1)
    fields = {
        "encoder_config": setup.encoder_config(config, backend),
        "languages": tuple(config.data.languages),
        "latent": config.model.latent,
        "sample": config.model.kl.kind != "deterministic",
        "axis_name": parallel.axis_name,
        "dtype": setup.compute_dtype(config),
    }
    if config.data.pairs:
        return PairVAE(vocab_sizes, **fields)
    fields["discriminator_hidden"] = config.model.discriminator_hidden
    fields["adversary"] = setup.checked_adversary(config.model.adversary, "config.model.adversary")
    return NXVAE(vocab_sizes, **fields)


def make_schedule(config: Config, rounds_per_epoch: int, phases: int) -> Any:
    """Learning rate, KL weight and KL target in force at a step, for the kinds of spec §4.1."""
    kl = config.model.kl
    per_epoch = rounds_per_epoch * phases
    rate = setup.rate_schedule(config, updates=config.training.max_steps * phases)

    def schedule(hyper: dict[str, Array], step: Array) -> dict[str, Array]:
        number = step + 1  # the reference counts batches from 1
        weight, target = hyper["kl_weight"], hyper["kl_target"]
        if kl.kind == "sigmoid":
            middle = kl.middle_epochs * per_epoch
            weight = weight * schedules.sigmoid(number, slope=kl.slope, middle=middle)
        elif kl.kind == "linear":
            weight = weight * schedules.linear(number, warmup=kl.warmup)
        elif kl.kind == "cyclic":
            weight = weight * schedules.cyclic(number, period=kl.period)
        elif kl.kind == "beta":
            steps = per_epoch * kl.epochs
            target = schedules.ramp(number, end=kl.capacity, steps=steps)
        return rate({**hyper, "kl_weight": weight, "kl_target": target}, step)

    return schedule


KL_KINDS = ("fixed", "deterministic", "sigmoid", "linear", "cyclic", "beta")


def make_task(
    config: Config,
    model: NXVAE | PairVAE,
    shapes: dict[str, dict[str, Any]],
    read: Callable[[], Any],
    dev: Encoded,
    parallel: Parallel,
) -> tuple[Task, Callable[[], TrainState], Plan]:
    """The scan, the data and the evaluation of a pretraining run, its first state and its plan.

    `read` gives the sentences and documents, {language: {group: {name: [n, ...]}}} of `shapes`.
    """
    if config.model.kl.kind not in KL_KINDS:
        kinds = ", ".join(KL_KINDS)
        raise UserError(f"config.model.kl.kind is {config.model.kl.kind!r}; use one of {kinds}")
    optimizer = reference_adversarial_adam() if model.adversary == "reference" else adam()
    weight = 0.0 if config.model.kl.kind == "deterministic" else config.model.kl.weight
    hyper = {"learning_rate": config.learning_rate, "kl_weight": weight, "kl_target": 0.0}
    hyper |= {"document_weight": config.model.document_weight, **setup.free_bits(config)}
    dummy = {"ids": np.ones((2, 2), np.int32), "lengths": np.full(2, 2, np.int32)}
    init = jax.jit(partial(model.clone(axis_name=None).init, method="initialise"))

    def make() -> TrainState:
        variables = init(jax.random.key(config.seed), dummy)
        return create_state(variables, optimizer, seed=config.seed, hyper=hyper)

    def plan(start: int, count: int) -> Any:
        return {
            language: {k: rows for plan in of_one for k, rows in plan(start, count).items()}
            for language, of_one in plans.items()
        }

    plans = {
        language: make_plans(config, i, groups, len(parallel.devices))
        for i, (language, groups) in enumerate(shapes.items())
    }
    rounds = max(of_one[0].rounds_per_epoch for of_one in plans.values())
    objective = setup.make_objective(model)
    step = make_step(
        objective,
        optimizer,
        schedule=make_schedule(config, rounds, len(plans)),
        axis_name=parallel.axis_name,
    )
    evaluate, compile_evaluation = make_evaluate(model, dev, weight, parallel)
    task = Task(
        "pretrain",
        make_run(step),
        objective,
        shapes=shapes,
        read=read,
        evaluate=evaluate,
        compile_evaluation=compile_evaluation,
        score="reconstruction",
        maximise=False,
    )
    return task, make, plan


def make_plans(
    config: Config, number: int, groups: dict[str, Any], multiple: int
) -> list[PretrainingPlan]:
    """The plans of a language's groups, sentences first."""
    sizes = {"sentences": config.data.batch_size, "documents": config.data.documents_per_step}
    return [
        PretrainingPlan(
            group, rows["ids"].shape[0], sizes[group], config.seed, 2 * number + i, multiple
        )
        for i, (group, rows) in enumerate(groups.items())
    ]


def make_evaluate(
    model: NXVAE | PairVAE, dev: Encoded, weight: float, parallel: Parallel
) -> tuple[Callable[..., Any], Callable[..., None]]:
    """Means over the dev sentences of each language and over all of them; what compiles that."""
    plain = model.clone(axis_name=None)

    def terms(language: str, params: Any, batch_stats: Any, rows: Any) -> Any:
        groups: Any = plain.apply(
            {"params": params, "batch_stats": batch_stats},
            {"sentences": whole(rows)},
            language=language,
            hyper={"kl_weight": weight, "kl_target": 0.0},
            noise=no_noise,
            train=False,
            method="objective",
        )
        return groups["sentences"]

    run = {
        language: Chunked(partial(terms, language), parallel, chunk=400, trials=True)
        for language in dev
    }

    def evaluate(params: Any, batch_stats: Any, *_: Any) -> list[dict[str, float]]:
        found = {lang: run[lang](params, batch_stats, rows) for lang, rows in dev.items()}
        n = len(jax.tree.leaves(params)[0])
        return [_means(jax.tree.map(lambda x, i=i: x[i], found)) for i in range(n)]

    def compile_evaluation(params: Any, batch_stats: Any, *_: Any) -> None:
        for language, rows in dev.items():
            run[language].compile(params, batch_stats, rows)

    return evaluate, compile_evaluation


def _means(values: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Of every term `[n]` of every language, and over all sentences."""
    means = {
        f"{name}/{lang}": float(x.mean()) for lang, t in values.items() for name, x in t.items()
    }
    names = next(iter(values.values()))
    overall = {
        name: float(np.concatenate([v[name] for v in values.values()]).mean()) for name in names
    }
    return {**overall, **means}


def summarise(
    config: Config,
    result: Fit,
    tokenizers: dict[str, Vocabulary],
    train: Encoded,
    dev: Encoded,
    model: NXVAE,
    parallel: Parallel,
) -> dict[str, Any]:
    """Everything in the report, for the best parameters."""
    best = jax.device_get(result.best)
    weight = float(result.state.hyper["kl_weight"])
    alone = jax.tree.map(lambda x: x[None], (best.params, best.batch_stats))
    (metrics,) = make_evaluate(model, dev, weight, parallel)[0](*alone)
    latents = latents_of(posteriors(model, dev, best, parallel))
    whose = {language: vocabulary(model.vocab_sizes, language) for language in tokenizers}
    tables = {whose[lang]: embeddings_of(best.params["encoder"], lang) for lang in tokenizers}
    words = {whose[lang]: t.words for lang, t in tokenizers.items()}
    queries = dict.fromkeys(
        (whose[lang], word)
        for lang, rows in by_language(train, list(tokenizers)).items()
        for word in pick_queries(rows["ids"], rows["lengths"], tokenizers[lang].words)
    )
    return {
        "kind": "pretrain",
        **setup.provenance(config),
        "languages": list(tokenizers),
        "data": {
            "source": config.data.source,
            "counts": {
                f"{split} {lang}": len(rows["ids"])
                for split, part in (("train", train), ("dev", dev))
                for lang, rows in part.items()
            },
            "warnings": [],
        },
        "metrics": {"dev": metrics},
        "latents": {**latents, "of": "dev sentences"},
        "training": setup.training_summary(result, int(best.step) // len(train)),
        "parameters": setup.parameter_count(best.params),
        "warnings": collapse_warnings(
            {"z1": metrics["kl"]}, latents["active_units"], sizes=latents["size"]
        ),
        "tables": {"neighbours": nearest_words(tables, words, [*queries], max_id=5000)},
    }


def posteriors(model: NXVAE, dev: Encoded, best: Any, parallel: Parallel) -> dict[str, np.ndarray]:
    """Means and log-variances of q(z | x) `[n, z]` of the dev sentences of all languages."""
    plain = model.clone(axis_name=None)

    def infer(language: str, params: Any, batch_stats: Any, rows: Any) -> Any:
        h_and_q: Any = plain.apply(
            {"params": params, "batch_stats": batch_stats},
            whole(rows),
            language=language,
            train=False,
            method="encode",
        )
        return {"z1": h_and_q[1].mean, "z1_log_var": h_and_q[1].log_var}

    found = [
        Chunked(partial(infer, lang), parallel, chunk=400)(best.params, best.batch_stats, rows)
        for lang, rows in dev.items()
    ]
    return {name: np.concatenate([x[name] for x in found]) for name in found[0]}
