"""Pretraining of a BERT on two languages' sentences, by masked words alone (spec §11.1).

What comes out is a checkpoint in Hugging Face's form, `WORKDIR/bertw-<languages>` (of subwords
`bertsw-`), which any command takes as its `config.encoder.checkpoint`.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxsdgm.data.batches import PretrainingPlan
from jaxsdgm.data.bert_tokenizers import save_for_transformers
from jaxsdgm.data.sequences import join
from jaxsdgm.data.sources import load_pretraining
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.cells import language_order
from jaxsdgm.evaluation.report import write_report
from jaxsdgm.experiments import setup
from jaxsdgm.experiments.chunked import Chunked
from jaxsdgm.experiments.masked_text import (
    ALL,
    Sequences,
    losses,
    make_tokenizer,
    masked_once,
    read,
    unigram,
)
from jaxsdgm.experiments.setup import Config
from jaxsdgm.layers.bert import ACTIVATIONS, BertSize
from jaxsdgm.models.masked_lm import MaskedLM
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.loop import Fit, Schedule, fit
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.state import TrainState, bert_adam, create_state
from jaxsdgm.training.step import make_run, make_step
from jaxsdgm.training.trials import Plan, Task, Trial, shapes_of
from jaxsdgm.weights.huggingface import save_checkpoint, write_config

TOKENIZER = "tokenizer"  # of a workdir: config.json and tokenizer in Hugging Face's form


def run(config: Config, workdir: Path) -> dict[str, Any]:
    """Trains a BERT, or goes on where it stopped; returns and writes results.json."""
    setup.start_workdir(config, workdir)
    if results := setup.finished(workdir):
        return results
    check(config)
    texts = load_pretraining(config.data, workdir / "text")
    tokenizer = make_tokenizer(config, texts)
    parallel, size = Parallel(config.parallel), make_size(config, tokenizer.vocab_size)
    save_for_transformers(tokenizer, workdir / TOKENIZER)
    write_config(workdir / TOKENIZER, size)
    train, dev = (read(config, texts, tokenizer, split) for split in ("train", "dev"))
    model = build(config, size, parallel)
    held_out = masked_once(model, dev)
    task, make, plan = make_task(config, model, join(train.values()), held_out, parallel)
    about = {"config": setup.as_json(config), "kind": "masked_lm", "size": asdict(size)}
    about["tokenizers"] = {ALL: tokenizer.digest}
    (result,) = fit(
        task,
        [Trial(make, plan, workdir, about)],
        schedule=Schedule(**config.training),
        parallel=parallel,
        tensorboard=config.tensorboard,
        profile=config.profile,
    )
    export_encoder(workdir, workdir / folder_name(config))
    results = summarise(config, result, train, held_out, model, parallel)
    write_report(workdir, results)
    setup.write_results(workdir, results)
    return results


def check(config: Config) -> None:
    """Raises UserError for values that cannot be."""
    model, data = config.model, config.data
    if model.hidden % model.heads:
        raise UserError(
            f"config.model.hidden {model.hidden} does not divide among config.model.heads "
            f"{model.heads}; choose a multiple"
        )
    if not 5 <= data.max_length <= model.positions:
        raise UserError(
            f"config.data.max_length is {data.max_length}; use 5 to config.model.positions, "
            f"which is {model.positions}"
        )
    if model.activation not in ACTIVATIONS:
        raise UserError(
            f"config.model.activation is {model.activation!r}; use one of {', '.join(ACTIVATIONS)}"
        )
    if not 0 < model.masked_share < 1 or model.max_masked < 1:
        raise UserError("config.model.masked_share must be between 0 and 1, max_masked at least 1")


def system(config: Config) -> str:
    """As the paper calls it."""
    return "BERTSW" if config.data.subwords else "BERTW"


def folder_name(config: Config) -> str:
    """Of the encoder in the workdir: bertw-en-de; tables know the run by it."""
    languages = sorted(config.data.languages, key=language_order)
    return "-".join([system(config).lower(), *languages])


# -- training ----------------------------------------------------------------------------------


def make_size(config: Config, vocab_size: int) -> BertSize:
    """The encoder of a config, with a pooler: that is not trained here, but is in its place."""
    model = config.model
    return BertSize(
        vocab_size,
        model.hidden,
        model.layers,
        model.heads,
        model.feed_forward,
        model.positions,
        activation=model.activation,
        dropout=model.dropout,
        attention_dropout=model.dropout,
    )


def build(config: Config, size: BertSize, parallel: Parallel) -> MaskedLM:
    """The model of a config."""
    return MaskedLM(
        size,
        masked_share=config.model.masked_share,
        max_masked=config.model.max_masked,
        remat=setup.remat(config.model.remat),
        axis_name=parallel.axis_name,
        dtype=setup.compute_dtype(config),
    )


def make_task(
    config: Config,
    model: MaskedLM,
    train: dict[str, np.ndarray],
    dev: Sequences,
    parallel: Parallel,
) -> tuple[Task, Callable[[], TrainState], Plan]:
    """The scan, the data and the evaluation of a run, its first state and its plan."""
    optimizer = bert_adam(weight_decay=config.weight_decay, clip=config.clip)
    some = {name: x[:2] for name, x in train.items()}
    init = jax.jit(partial(model.clone(axis_name=None).init, method="initialise"))

    def make() -> TrainState:
        variables = init(jax.random.key(config.seed), some)
        hyper = {"learning_rate": config.learning_rate}
        return create_state(variables, optimizer, seed=config.seed, hyper=hyper)

    n, batch_size = len(train["ids"]), config.data.batch_size
    plan = PretrainingPlan("sequences", n, batch_size, config.seed, 0, len(parallel.devices))
    objective = setup.make_objective(model)
    schedule = setup.rate_schedule(config, updates=config.training.max_steps)
    step = make_step(objective, optimizer, schedule=schedule, axis_name=parallel.axis_name)
    data = {ALL: {"sequences": train}}
    evaluate, compile_evaluation = make_evaluate(model, dev, parallel)
    task = Task(
        "masked_lm",
        make_run(step),
        objective,
        shapes=shapes_of(data),
        read=lambda: data,
        evaluate=evaluate,
        compile_evaluation=compile_evaluation,
        score="loss",
        maximise=False,
    )
    return task, make, lambda start, count: {ALL: plan(start, count)}


def make_evaluate(
    model: MaskedLM, dev: Sequences, parallel: Parallel
) -> tuple[Callable[..., Any], Callable[..., None]]:
    """Loss and perplexity of the held-out masked tokens; what compiles that."""
    plain = model.clone(axis_name=None)

    def nll(params: Any, batch_stats: Any, rows: Any) -> Any:
        rows = {**rows, "row": np.arange(rows["ids"].shape[0])}
        return {"nll": plain.apply({"params": params}, rows, train=False, method="nll")}

    run = Chunked(nll, parallel, chunk=64, trials=True)

    def evaluate(params: Any, batch_stats: Any, *_: Any) -> list[dict[str, float]]:
        found = {lang: run(params, batch_stats, rows)["nll"] for lang, rows in dev.items()}
        n = len(jax.tree.leaves(params)[0])
        return [losses({lang: x[i] for lang, x in found.items()}, dev) for i in range(n)]

    def compile_evaluation(params: Any, batch_stats: Any, *_: Any) -> None:
        for rows in dev.values():
            run.compile(params, batch_stats, rows)

    return evaluate, compile_evaluation


# -- results -----------------------------------------------------------------------------------


def export_encoder(workdir: Path, out: Path) -> None:
    """Writes the best encoder so far of the run in `workdir` in Hugging Face's form."""
    variables, about, folder = load_pretrained(workdir)
    size = BertSize(**about["size"])
    save_checkpoint(out, variables["params"]["encoder"], size, folder / TOKENIZER)


def summarise(
    config: Config,
    result: Fit,
    train: Sequences,
    dev: Sequences,
    model: MaskedLM,
    parallel: Parallel,
) -> dict[str, Any]:
    """Everything in the report, for the best parameters.

    "parameters" are those of the encoder with its pooler, which is what is handed on.
    """
    best = jax.device_get(result.best)
    alone = jax.tree.map(lambda x: x[None], (best.params, best.batch_stats))
    (metrics,) = make_evaluate(model, dev, parallel)[0](*alone)
    baseline = unigram(train, dev, model.size.vocab_size)
    warnings = []
    if metrics["loss"] >= baseline["loss"]:
        warnings = ["The model is no better than word frequencies: train longer or check the text."]
    return {
        "kind": "pretrain",
        "system": system(config),
        **setup.provenance(config),
        "languages": list(train),
        "data": {
            "source": config.data.source,
            "counts": {
                f"{split} {lang}": len(rows["ids"])
                for split, part in (("train", train), ("dev", dev))
                for lang, rows in part.items()
            },
            "warnings": [],
        },
        "encoder": folder_name(config),
        "vocabulary": model.size.vocab_size,
        "metrics": {"dev": {**metrics, "unigram_perplexity": baseline["perplexity"]}},
        "unigram": baseline,
        "training": setup.training_summary(result, int(best.step)),
        "parameters": setup.parameter_count(best.params["encoder"]),
        "warnings": warnings,
    }
