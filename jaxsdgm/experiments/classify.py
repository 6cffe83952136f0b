"""Document classification from a few labels: M1+M2 and its supervised twins (spec §5, §6, §8)."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxsdgm.data.batches import SemiSupervisedPlan
from jaxsdgm.data.documents import Corpus
from jaxsdgm.data.features import Scaling
from jaxsdgm.data.huggingface import HuggingFaceTokenizer
from jaxsdgm.data.tokenizers import WordTokenizer
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.classification import classification_report
from jaxsdgm.evaluation.figures import tsne_scatter
from jaxsdgm.evaluation.report import write_report
from jaxsdgm.evaluation.summary import write_summary
from jaxsdgm.experiments import baselines, evidence, setup
from jaxsdgm.experiments.features import make_featurizer, the_checkpoint, token_limit
from jaxsdgm.experiments.inputs import Inputs, checked_tokenizers, load_inputs
from jaxsdgm.experiments.setup import Config
from jaxsdgm.experiments.systems import (
    SUPERVISED,
    TRANSFERRED,
    build,
    build_model,
    initialise,
    transfer,
)
from jaxsdgm.models.classifier import Classifier
from jaxsdgm.models.sdgm import M1M2
from jaxsdgm.models.terms import no_noise, whole
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.loop import Fit, Schedule, Task, fit
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.progress import log
from jaxsdgm.training.state import adam, create_state
from jaxsdgm.training.step import make_run, make_step
from jaxsdgm.weights.bert import BertSize

TSNE_POINTS = 600
FEATURES = "features.npz"


def run(config: Config, workdir: Path, *, corpus: Corpus | None = None) -> dict[str, Any]:
    """Trains and evaluates one system, or goes on where it stopped; writes results.json.

    `corpus` stands for the one that `config.data` describes.
    """
    if config.trials > 1:
        return run_trials(config, workdir, corpus=corpus)
    if config.model.system in baselines.BASELINES:
        return baselines.run(config, workdir, corpus=corpus)
    setup.start_workdir(config, workdir)
    if results := setup.finished(workdir):
        return results
    inputs = load_inputs(config, corpus)
    for tokenizer in inputs.tokenizers.values():
        tokenizer.save(workdir / "tokenizer")
    if inputs.scaling:
        inputs.scaling.save(workdir / FEATURES)
    parallel = Parallel(config.parallel)
    model = build(config, inputs, axis_name=parallel.axis_name)
    task, state = make_task(config, model, inputs, parallel)
    about = {"config": setup.as_json(config), "kind": "classify"}
    about["tokenizers"] = {lang: t.digest for lang, t in inputs.tokenizers.items()}
    about["label_names"] = list(inputs.corpus.label_names)
    about["transformer"] = asdict(inputs.transformer) if inputs.transformer else None
    result = fit(
        task,
        state,
        schedule=Schedule(**{**config.training, "eval_every": eval_every(config, inputs)}),
        parallel=parallel,
        workdir=workdir,
        about=about,
        tensorboard=config.tensorboard,
    )
    results, figures = summarise(config, inputs, model, result, parallel)
    write_report(workdir, results, figures=figures)
    setup.write_results(workdir, results)
    return results


def run_trials(config: Config, workdir: Path, *, corpus: Corpus | None = None) -> dict[str, Any]:
    """Several seeds, of labelled draw and initialisation alike; one sub-folder each."""
    runs = []
    for trial in range(config.trials):
        one = config.copy_and_resolve_references()
        with one.unlocked():
            one.trials, one.seed = 1, config.seed + trial
            one.data.subset_seed = config.data.subset_seed + trial
        log.info("trial %d of %d", trial + 1, config.trials)
        runs.append(run(one, workdir / f"trial-{trial}", corpus=corpus))
    accuracies = {
        split: [result["metrics"][split]["accuracy"] for result in runs]
        for split in ("dev", "test")
    }
    spread = {
        split: {"mean": float(np.mean(x)), "std": float(np.std(x)), "runs": x}
        for split, x in accuracies.items()
    }
    results = {"kind": "trials", "name": config.name, "accuracy": spread}
    write_summary(workdir, runs)
    setup.write_results(workdir, results)
    return results


# -- training ----------------------------------------------------------------------------------


def label_weight(config: Config, n_labelled: int, n_unlabelled: int) -> float:
    """alpha = beta (Nl + Nu) / Nl, or beta itself (spec §6.4)."""
    if config.model.alpha_rule == "scaled":
        return config.model.beta * (n_labelled + n_unlabelled) / n_labelled
    if config.model.alpha_rule == "plain":
        return config.model.beta
    raise UserError(f"config.model.alpha_rule is {config.model.alpha_rule!r}; use scaled or plain")


def make_plan(config: Config, inputs: Inputs, multiple: int) -> SemiSupervisedPlan:
    """Which documents are in which step."""
    labelled = np.array(inputs.subset.indices)
    supervised = config.model.system in SUPERVISED
    return SemiSupervisedPlan(
        labelled,
        inputs.splits["train"]["labels"][labelled],
        inputs.unlabelled[:0] if supervised else inputs.unlabelled,
        batch_size=config.data.batch_size or len(labelled),
        unlabelled_size=config.data.unlabelled_size,
        seed=config.seed,
        multiple=multiple,
    )


def eval_every(config: Config, inputs: Inputs) -> int:
    """Steps between evaluations; 0 in the config means one epoch."""
    return config.training.eval_every or make_plan(config, inputs, 1).steps_per_epoch


def make_task(
    config: Config, model: M1M2 | Classifier, inputs: Inputs, parallel: Parallel
) -> tuple[Task, Any]:
    """The scan, the data and the evaluation of a classification run, and its first state."""
    plan = make_plan(config, inputs, len(parallel.devices))
    layer_wise = isinstance(model, M1M2) and model.decoder is None
    optimizer = adam(
        frozen=TRANSFERRED if layer_wise else (),
        scales=dict.fromkeys(TRANSFERRED, config.encoder_rate)
        if config.encoder_rate != 1 and not layer_wise
        else None,
        weight_decay=config.weight_decay,
    )
    hyper = {
        "learning_rate": config.learning_rate,
        "alpha": label_weight(config, len(plan.labelled), len(inputs.unlabelled)),
        "kl_weight": config.model.kl_weight,
        "reconstruction_weight": config.model.reconstruction_weight,
        "feature_weight": config.model.feature_weight,
        "labelled_weight": config.model.labelled_weight,
    }
    variables = initialise(config, model, inputs)
    if inputs.pretrained:
        variables = transfer(variables, inputs.pretrained, inputs.targets)
    state = create_state(variables, optimizer, seed=config.seed, hyper=hyper)
    step = make_step(
        setup.make_objective(model),
        optimizer,
        schedule=setup.rate_schedule(config, updates=config.training.max_steps),
        axis_name=parallel.axis_name,
    )
    language = inputs.language
    task = Task(
        config.name,
        make_run(step),
        data={language: dict.fromkeys(plan.groups, inputs.splits["train"])},
        plan=lambda start, count: {language: plan(start, count)},
        evaluate=make_evaluate(model, inputs, parallel),
        score="accuracy",
        maximise=True,
    )
    return task, state


def make_predict(
    model: M1M2 | Classifier, language: str, parallel: Parallel, *, chunk: int = 128
) -> setup.Chunked:
    """`predict(params, batch_stats, rows)` over any number of documents."""
    plain = model.clone(axis_name=None)

    def predict(params: Any, batch_stats: Any, rows: Any) -> Any:
        variables = {"params": params, "batch_stats": batch_stats}
        return plain.apply(variables, rows, language=language, method="predict")

    return setup.make_chunked(predict, parallel, chunk=chunk)


def make_evaluate(model: M1M2 | Classifier, inputs: Inputs, parallel: Parallel) -> Any:
    """Accuracy and negative log-likelihood on dev."""
    predict = make_predict(model, inputs.language, parallel)
    dev = _rows(inputs.splits["dev"], model)
    labels = inputs.splits["dev"]["labels"]
    names = inputs.corpus.label_names

    def evaluate(params: Any, batch_stats: Any) -> dict[str, float]:
        log_q = predict(params, batch_stats, dev)["log_q"]
        if not np.isfinite(log_q).all():
            return {"accuracy": float("nan")}
        report = classification_report(np.exp(log_q), labels, names)
        return {name: report[name] for name in ("accuracy", "macro_f1", "nll")}

    return evaluate


# -- evidence ----------------------------------------------------------------------------------


def summarise(
    config: Config, inputs: Inputs, model: M1M2 | Classifier, result: Fit, parallel: Parallel
) -> tuple[dict[str, Any], dict[str, bytes | None]]:
    """Everything in the report, for the best parameters, and the figure of z1."""
    best, names = jax.device_get(result.best), inputs.corpus.label_names
    variables = {"params": best.params, "batch_stats": best.batch_stats}
    predict = make_predict(model, inputs.language, parallel)
    rows = {split: _rows(arrays, model) for split, arrays in inputs.splits.items()}
    outputs = {split: predict(best.params, best.batch_stats, x) for split, x in rows.items()}
    elbo, tables = {}, {}
    plain = model.clone(axis_name=None)
    if isinstance(plain, M1M2):
        bound = make_elbo(plain, config, inputs.language, parallel)
        for split in ("dev", "test"):
            terms = bound(
                best.params, best.batch_stats, _rows(inputs.splits[split], model, "targets")
            )
            elbo[split] = {name: float(x.mean()) for name, x in terms.items()}
    if isinstance(plain, M1M2) and plain.decoder:
        documents = {"input": inputs.splits["test"], "output": outputs["test"]}
        tables["generated"] = evidence.generated_tables(
            plain,
            variables,
            inputs.tokenizers[inputs.language],
            inputs.targets,
            inputs.splits["train"],
            documents,
            names,
            seed=config.seed,
        )
    tables["neighbours"] = evidence.neighbour_table(
        best.params, inputs.pretrained, inputs.tokenizers, inputs.language, inputs.splits["train"]
    )
    metrics = evidence.metrics_of(outputs, inputs.splits, names)
    latents = evidence.latents_of(outputs["dev"])
    if "proportions" in best.batch_stats:
        latents["label_proportions"] = best.batch_stats["proportions"].tolist()
    z1, labels = outputs["test"]["z1"][:TSNE_POINTS], inputs.splits["test"]["labels"][:TSNE_POINTS]
    results = {
        "kind": "classify",
        "name": config.name,
        "system": config.model.system,
        "seed": config.seed,
        "language": inputs.language,
        "languages": list(inputs.tokenizers),
        "encoder": encoder_of(config, inputs),
        "label_names": list(names),
        "config": setup.as_json(config),
        "versions": setup.versions(),
        "device": setup.device_name(),
        "data": {
            "source": inputs.corpus.source,
            "counts": {
                **{split: inputs.corpus.counts(split) for split in ("train", "dev", "test")},
                "unlabelled": len(inputs.unlabelled),
            },
            "warnings": list(inputs.corpus.warnings),
        },
        "subset": asdict(inputs.subset),
        "metrics": metrics,
        "elbo": elbo,
        "latents": latents,
        "training": setup.training_summary(result, int(best.step)),
        "parameters": setup.parameter_count(best.params),
        "warnings": evidence.warnings_of(metrics, latents, elbo),
        "tables": tables,
    }
    return results, {"tsne": tsne_scatter(z1, labels, names)}


def encoder_of(config: Config, inputs: Inputs) -> dict[str, Any]:
    """Which encoder a run has, for its results."""
    name = config.encoder.checkpoint or (config.pretrained and "NXVAE") or "BiLSTM"
    revision = inputs.checkpoint.revision if inputs.checkpoint else None
    return {"name": name, "revision": revision, "trainable": config.encoder.trainable}


def _rows(
    arrays: Mapping[str, np.ndarray], model: M1M2 | Classifier, *more: str
) -> dict[str, np.ndarray]:
    """What the encoder reads of documents, and `more` where there is such a thing."""
    names = (*model.encoder.inputs, *more)
    return {name: arrays[name] for name in names if name in arrays}


def make_elbo(model: M1M2, config: Config, language: str, parallel: Parallel) -> setup.Chunked:
    """The terms of the unlabelled bound, per document, at the means of the posteriors."""
    plain = model.clone(axis_name=None)
    hyper = {"alpha": 0.0, "kl_weight": config.model.kl_weight}
    hyper["reconstruction_weight"] = config.model.reconstruction_weight
    hyper["feature_weight"] = config.model.feature_weight

    def terms(params: Any, batch_stats: Any, rows: Any) -> Any:
        groups: Any = plain.apply(
            {"params": params, "batch_stats": batch_stats},
            {"unlabelled": whole(rows)},
            language=language,
            hyper=hyper,
            noise=no_noise,
            train=False,
            method="objective",
        )
        return groups["unlabelled"]

    return setup.make_chunked(terms, parallel, chunk=128)


# -- use ---------------------------------------------------------------------------------------


def load_trained(workdir: Path) -> tuple[Callable[[list[str]], np.ndarray], list[str]]:
    """A run's parameters as a function from documents to `[n, k]`, and its labels."""
    if (workdir / baselines.ABOUT).exists():
        return baselines.load_trained(workdir)
    outputs, names = load_outputs(workdir)
    return lambda texts: np.exp(outputs(texts)["log_q"]), names


def load_outputs(
    workdir: Path,
) -> tuple[Callable[[list[str]], dict[str, np.ndarray]], list[str]]:
    """A run's parameters as a function from documents to all that `predict` of its model gives.

    That is log_q `[n, k]` and, of M1+M2, the posterior means z1 and z2 `[n, z]`; and its labels.
    """
    variables, about, folder = load_pretrained(workdir)
    if about.get("kind") != "classify":
        raise UserError(f"{folder}: not a classification run but {about.get('kind')!r}")
    config: Config = ConfigDict(about["config"])
    names = about["label_names"]
    transformer = BertSize(**about["transformer"]) if about["transformer"] else None
    kind = HuggingFaceTokenizer if transformer else WordTokenizer
    tokenizers = checked_tokenizers(folder, about["tokenizers"], kind)
    sizes = {language: t.vocab_size for language, t in tokenizers.items()}
    model = build_model(config, sizes, np.ones(len(names)), axis_name=None, transformer=transformer)
    predict = make_predict(model, config.data.language, Parallel())
    rows = make_reader(config, folder, tokenizers, token_limit(config, transformer))
    params, batch_stats = variables["params"], variables["batch_stats"]
    return lambda texts: predict(params, batch_stats, rows(texts)), names


def make_reader(
    config: Config, folder: Path, tokenizers: Mapping[str, WordTokenizer], limit: int
) -> Callable[[list[str]], dict[str, np.ndarray]]:
    """Documents to what the encoder of a finished run reads: token ids, or features."""
    if not config.encoder.trainable:
        pretrained = load_pretrained(config.pretrained)[0] if config.pretrained else None
        encode = make_featurizer(config, the_checkpoint(config), pretrained, tokenizers).encode
        scaling = Scaling.load(folder / FEATURES) if config.encoder.checkpoint else lambda x: x
        return lambda texts: {"features": scaling(encode(texts))}
    tokenizer = tokenizers[config.data.language]

    def read(texts: list[str]) -> dict[str, np.ndarray]:
        ids, lengths = tokenizer.encode(texts, limit)
        # one width, one compilation
        return {"ids": np.pad(ids, ((0, 0), (0, limit - ids.shape[1]))), "lengths": lengths}

    return read
