"""Document classification from a few labels: M1+M2 and its supervised twins (spec §5, §6, §8)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from jaxsdgm.data.batches import SemiSupervisedPlan
from jaxsdgm.data.documents import Corpus
from jaxsdgm.data.sources import load_corpus
from jaxsdgm.data.subsets import Subset, paper_subset, stratified_subset
from jaxsdgm.data.tokenizers import WordTokenizer
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.classification import classification_report
from jaxsdgm.evaluation.figures import tsne_scatter
from jaxsdgm.evaluation.report import write_report
from jaxsdgm.experiments import evidence, setup
from jaxsdgm.experiments.pretrain import make_objective
from jaxsdgm.models.classifier import Classifier
from jaxsdgm.models.sdgm import M1M2
from jaxsdgm.models.terms import no_noise, rows_of
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.loop import Fit, Schedule, Task, fit
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.progress import log
from jaxsdgm.training.state import adam, create_state
from jaxsdgm.training.step import make_run, make_step

#: subtrees that a pretrained NXVAE hands on
TRANSFERRED = ("encoder", "posterior")
SUPERVISED = {"nxvae_z1": "z1", "nxvae_h": "h"}
SYSTEMS = ("m1m2", *SUPERVISED)
TSNE_POINTS = 600


@dataclass(frozen=True)
class Inputs:
    """A corpus as arrays: everything that a run reads."""

    corpus: Corpus
    subset: Subset
    tokenizers: dict[str, WordTokenizer]
    splits: dict[str, dict[str, np.ndarray]]  # {split: {"ids", "lengths", "labels"}}
    unlabelled: np.ndarray  # rows of the "train" split that are used without their label
    pretrained: dict[str, Any] | None  # variables of the NXVAE, or None

    @property
    def language(self) -> str:
        return self.corpus.language


def run(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Trains and evaluates one system, or goes on where it stopped; writes results.json."""
    if config.trials > 1:
        return run_trials(config, workdir)
    setup.start_workdir(config, workdir)
    if results := setup.finished(workdir):
        return results
    inputs = load_inputs(config)
    for tokenizer in inputs.tokenizers.values():
        tokenizer.save(workdir / "tokenizer")
    parallel = Parallel(config.parallel)
    model = build(config, inputs, axis_name=parallel.axis_name)
    task, state = make_task(config, model, inputs, parallel)
    about = {"config": setup.as_json(config), "kind": "classify"}
    about["tokenizers"] = {lang: t.digest for lang, t in inputs.tokenizers.items()}
    about["label_names"] = list(inputs.corpus.label_names)
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


def run_trials(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Several seeds, of labelled draw and initialisation alike; one sub-folder each."""
    runs = []
    for trial in range(config.trials):
        one = config.copy_and_resolve_references()
        with one.unlocked():
            one.trials, one.seed = 1, config.seed + trial
            one.data.subset_seed = config.data.subset_seed + trial
        log.info("trial %d of %d", trial + 1, config.trials)
        runs.append(run(one, workdir / f"trial-{trial}"))
    accuracies = {
        split: [result["metrics"][split]["accuracy"] for result in runs] for split in ("dev", "test")
    }
    spread = {
        split: {"mean": float(np.mean(x)), "std": float(np.std(x)), "runs": x}
        for split, x in accuracies.items()
    }
    results = {"kind": "trials", "name": config.name, "accuracy": spread}
    setup.write_results(workdir, results)
    return results


# -- data --------------------------------------------------------------------------------------


def load_inputs(config: ConfigDict) -> Inputs:
    """Reads and checks everything before anything is compiled."""
    if config.model.system not in SYSTEMS:
        known = ", ".join(SYSTEMS)
        raise UserError(f"config.model.system is {config.model.system!r}; use one of {known}")
    corpus = load_corpus(config.data)
    subset = draw_subset(config, corpus)
    pretrained, tokenizers = load_tokenizers(config, corpus)
    tokenizer, limit = tokenizers[corpus.language], config.data.max_length
    splits = {}
    for split in ("train", "dev", "test"):
        ids, lengths = tokenizer.encode(corpus.splits[split].texts, limit)
        splits[split] = {"ids": ids, "lengths": lengths, "labels": corpus.splits[split].labels}
    if "unlabelled" in corpus.splits:
        splits["train"] = _append(splits["train"], corpus.splits["unlabelled"].texts, tokenizer, limit)
    unlabelled = np.setdiff1d(np.arange(len(splits["train"]["ids"])), subset.indices)
    return Inputs(corpus, subset, tokenizers, splits, unlabelled, pretrained)


def _append(
    train: dict[str, np.ndarray], texts: tuple[str, ...], tokenizer: WordTokenizer, limit: int
) -> dict[str, np.ndarray]:
    """The training documents, followed by documents without a label (-1)."""
    ids, lengths = tokenizer.encode(texts, limit)
    width = max(ids.shape[1], train["ids"].shape[1])
    wide = lambda x: np.pad(x, ((0, 0), (0, width - x.shape[1])))
    return {
        "ids": np.concatenate([wide(train["ids"]), wide(ids)]),
        "lengths": np.concatenate([train["lengths"], lengths]),
        "labels": np.concatenate([train["labels"], np.full(len(ids), -1, np.int32)]),
    }


def draw_subset(config: ConfigDict, corpus: Corpus) -> Subset:
    """The labelled training documents; 0 labels means all of them."""
    labels, data = corpus.splits["train"].labels, config.data
    assert labels is not None
    k = len(corpus.label_names)
    if not data.n_labels:
        return Subset(tuple(range(len(labels))), "all", len(labels), None)
    if data.subset == "paper":
        return paper_subset(labels, data.n_labels, corpus.language, k)
    if data.subset == "stratified":
        return stratified_subset(labels, n=data.n_labels, seed=data.subset_seed, n_classes=k)
    raise UserError(f"config.data.subset is {data.subset!r}; use one of paper, stratified")


def load_tokenizers(
    config: ConfigDict, corpus: Corpus
) -> tuple[dict[str, Any] | None, dict[str, WordTokenizer]]:
    """The NXVAE's variables and vocabularies, or none and a vocabulary of the training texts."""
    language, data = corpus.language, config.data
    if not config.pretrained:
        log.warning("no config.pretrained: encoder and embeddings start from random values")
        texts = [*corpus.splits["train"].texts]
        if "unlabelled" in corpus.splits:
            texts += corpus.splits["unlabelled"].texts
        blank = WordTokenizer(language, data.normaliser, (), ())
        size = data.vocab_size.get(language, 50_000)
        tokens = map(blank.tokens, texts)
        return None, {
            language: WordTokenizer.train(
                tokens, language=language, normaliser=data.normaliser, size=size
            )
        }
    variables, about, folder = load_pretrained(config.pretrained)
    digests = about["tokenizers"]
    if language not in digests:
        known = ", ".join(digests)
        raise UserError(f"{folder}: pretrained on {known}, not on {language!r}; pretrain with it")
    tokenizers = {lang: WordTokenizer.load(folder / "tokenizer", lang) for lang in digests}
    for lang, tokenizer in tokenizers.items():
        if tokenizer.digest != digests[lang]:
            raise UserError(
                f"{folder / 'tokenizer'}: the {lang!r} vocabulary is not the one that the checkpoint "
                "was trained with; restore it or pretrain again"
            )
    return variables, tokenizers


# -- model -------------------------------------------------------------------------------------


def build(config: ConfigDict, inputs: Inputs, *, axis_name: str | None) -> M1M2 | Classifier:
    """The system of a config."""
    sizes = {language: t.vocab_size for language, t in inputs.tokenizers.items()}
    labels = inputs.splits["train"]["labels"][list(inputs.subset.indices)]
    counts = np.bincount(labels, minlength=len(inputs.corpus.label_names))
    return build_model(config, sizes, counts, axis_name=axis_name)


def build_model(
    config: ConfigDict, sizes: Mapping[str, int], counts: np.ndarray, *, axis_name: str | None
) -> M1M2 | Classifier:
    """As `build`, from vocabulary sizes and the number of labelled documents per class."""
    model = config.model
    shared = {
        "n_classes": len(counts),
        "latent": model.latent,
        "classifier_hidden": model.classifier_hidden,
        "classifier_dropout": model.classifier_dropout,
        "axis_name": axis_name,
        "dtype": setup.compute_dtype(config),
    }
    encoder = setup.encoder_config(config)
    if model.system != "m1m2":
        return Classifier(sizes, encoder, features=SUPERVISED[model.system], **shared)
    priors = {"uniform": (), "estimated": (), "labelled": tuple((counts / counts.sum()).tolist())}
    if model.label_prior not in priors:
        known = ", ".join(priors)
        raise UserError(f"config.model.label_prior is {model.label_prior!r}; use one of {known}")
    gru = {"inputs": model.gru.inputs, "hidden": model.gru.hidden}
    return M1M2(
        sizes,
        encoder,
        conditioning=model.conditioning,
        decoder=None if model.decoder == "none" else model.decoder,
        decoder_config=gru if model.decoder == "gru" else None,
        tied=model.tied,
        label_prior="estimated" if model.label_prior == "estimated" else "fixed",
        label_proportions=priors[model.label_prior],
        unlabelled_chunk=model.unlabelled_chunk,
        **shared,
    )


def initialise(config: ConfigDict, model: nn.Module, language: str) -> Any:
    """Fresh variables, every parameter touched."""
    dummy = np.ones((2, 2), np.int32), np.full(2, 2, np.int32)
    init = partial(model.init, method="initialise", languages=(language,))
    return jax.jit(init)(jax.random.key(config.seed), *dummy)


def transfer(variables: Any, pretrained: Any, language: str) -> Any:
    """`variables` with what the NXVAE knows: encoder, posterior of z1, decoders (spec §4.4).

    An untied decoder's table starts as the pretrained embeddings.
    """
    params, stats = dict(variables["params"]), dict(variables.get("batch_stats", {}))
    theirs = pretrained["params"]
    for name in TRANSFERRED:
        params[name] = _take(params[name], theirs[name], name)
        if name in stats:
            stats[name] = _take(stats[name], pretrained["batch_stats"][name], name)
    for name in [key for key in params if key.startswith("decoders_")]:
        source = dict(theirs.get(name, {}))
        if "table" in params[name]:
            own = theirs["encoder"].get(name.replace("decoders", "embeddings"))
            source["table"] = own["table"] if own else params[name]["table"]
        known = {key: value for key, value in params[name].items() if key in source}
        params[name] = {**params[name], **_take(known, source, name)}
    return {**variables, "params": params, "batch_stats": stats}


def _take(ours: Any, theirs: Any, path: str) -> Any:
    """The leaves of `ours` from the same places of `theirs`; shapes must agree."""
    if isinstance(ours, Mapping):
        missing = [key for key in ours if key not in theirs]
        if missing:
            raise UserError(f"config.pretrained has no parameters {path}/{missing[0]}")
        return {key: _take(value, theirs[key], f"{path}/{key}") for key, value in ours.items()}
    if ours.shape != theirs.shape:
        raise UserError(
            f"config.pretrained: {path} is {theirs.shape} there and {ours.shape} here; use the "
            "sizes (config.model) of the pretraining run"
        )
    return theirs


# -- training ----------------------------------------------------------------------------------


def label_weight(config: ConfigDict, n_labelled: int, n_unlabelled: int) -> float:
    """alpha = beta (Nl + Nu) / Nl, or beta itself (spec §6.4)."""
    if config.model.alpha_rule == "scaled":
        return config.model.beta * (n_labelled + n_unlabelled) / n_labelled
    if config.model.alpha_rule == "plain":
        return config.model.beta
    raise UserError(f"config.model.alpha_rule is {config.model.alpha_rule!r}; use scaled or plain")


def make_plan(config: ConfigDict, inputs: Inputs, multiple: int) -> SemiSupervisedPlan:
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


def eval_every(config: ConfigDict, inputs: Inputs) -> int:
    """Steps between evaluations; 0 in the config means one epoch."""
    return config.training.eval_every or make_plan(config, inputs, 1).steps_per_epoch


def make_task(
    config: ConfigDict, model: M1M2 | Classifier, inputs: Inputs, parallel: Parallel
) -> tuple[Task, Any]:
    """The scan, the data and the evaluation of a classification run, and its first state."""
    plan = make_plan(config, inputs, len(parallel.devices))
    layer_wise = isinstance(model, M1M2) and model.decoder is None
    optimizer = adam(
        frozen=TRANSFERRED if layer_wise else (),
        scales=dict.fromkeys(TRANSFERRED, config.encoder_rate)
        if config.encoder_rate != 1 and not layer_wise
        else None,
    )
    hyper = {
        "learning_rate": config.learning_rate,
        "alpha": label_weight(config, len(plan.labelled), len(inputs.unlabelled)),
        "kl_weight": config.model.kl_weight,
        "reconstruction_weight": config.model.reconstruction_weight,
    }
    variables = initialise(config, model, inputs.language)
    if inputs.pretrained:
        variables = transfer(variables, inputs.pretrained, inputs.language)
    state = create_state(variables, optimizer, seed=config.seed, hyper=hyper)
    step = make_step(make_objective(model), optimizer, axis_name=parallel.axis_name)
    language = inputs.language
    task = Task(
        config.name,
        make_run(step),
        data={language: inputs.splits["train"]},
        plan=lambda start, count: {language: plan(start, count)},
        evaluate=make_evaluate(model, inputs, parallel),
        score="accuracy",
        maximise=True,
    )
    return task, state


def make_predict(
    model: M1M2 | Classifier, language: str, parallel: Parallel, *, chunk: int = 128
) -> setup.Chunked:
    """`predict(params, batch_stats, {"ids", "lengths"})` over any number of documents."""
    plain = model.clone(axis_name=None)

    def predict(params: Any, batch_stats: Any, rows: Any) -> Any:
        variables = {"params": params, "batch_stats": batch_stats}
        inputs = rows["ids"], rows["lengths"]
        return plain.apply(variables, *inputs, language=language, method="predict")

    return setup.make_chunked(predict, parallel, chunk=chunk)


def make_evaluate(model: M1M2 | Classifier, inputs: Inputs, parallel: Parallel) -> Any:
    """Accuracy and negative log-likelihood on dev."""
    predict = make_predict(model, inputs.language, parallel)
    dev = _texts(inputs.splits["dev"])
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
    config: ConfigDict, inputs: Inputs, model: M1M2 | Classifier, result: Fit, parallel: Parallel
) -> tuple[dict[str, Any], dict[str, bytes | None]]:
    """Everything in the report, for the best parameters, and the figure of z1."""
    best, names = jax.device_get(result.best), inputs.corpus.label_names
    variables = {"params": best.params, "batch_stats": best.batch_stats}
    predict = make_predict(model, inputs.language, parallel)
    rows = {split: _texts(arrays) for split, arrays in inputs.splits.items()}
    outputs = {split: predict(best.params, best.batch_stats, x) for split, x in rows.items()}
    elbo, tables = {}, {}
    plain = model.clone(axis_name=None)
    if isinstance(plain, M1M2):
        bound = make_elbo(plain, config, inputs.language, parallel)
        for split in ("dev", "test"):
            terms = bound(best.params, best.batch_stats, rows[split])
            elbo[split] = {name: float(x.mean()) for name, x in terms.items()}
    if isinstance(plain, M1M2) and plain.decoder:
        documents = {"input": inputs.splits["test"], "output": outputs["test"]}
        tables["generated"] = evidence.generated_tables(
            plain,
            variables,
            inputs.tokenizers[inputs.language],
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
    if "label_prior" in best.batch_stats:
        latents["label_prior"] = best.batch_stats["label_prior"].tolist()
    z1, labels = outputs["test"]["z1"][:TSNE_POINTS], inputs.splits["test"]["labels"][:TSNE_POINTS]
    results = {
        "kind": "classify",
        "name": config.name,
        "system": config.model.system,
        "seed": config.seed,
        "language": inputs.language,
        "languages": list(inputs.tokenizers),
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


def _texts(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: arrays[name] for name in ("ids", "lengths")}


def make_elbo(model: M1M2, config: ConfigDict, language: str, parallel: Parallel) -> setup.Chunked:
    """The terms of the unlabelled bound, per document, at the means of the posteriors."""
    plain = model.clone(axis_name=None)
    hyper = {"alpha": 0.0, "kl_weight": config.model.kl_weight}
    hyper["reconstruction_weight"] = config.model.reconstruction_weight

    def terms(params: Any, batch_stats: Any, rows: Any) -> Any:
        groups = plain.apply(
            {"params": params, "batch_stats": batch_stats},
            {"unlabelled": rows_of(rows["ids"], rows["lengths"])},
            language=language,
            hyper=hyper,
            noise=no_noise,
            train=False,
            method="objective",
        )
        return groups["unlabelled"]

    return setup.make_chunked(terms, parallel, chunk=128)
