"""From a trained classifier to the numbers, tables and figures of its report."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsdgm.data.huggingface import Tokenizer
from jaxsdgm.data.targets import TargetWords
from jaxsdgm.evaluation.classification import classification_report
from jaxsdgm.evaluation.figures import tsne_scatter
from jaxsdgm.evaluation.generation import PRIOR, frequent_words, greedy_text, top_words
from jaxsdgm.evaluation.latents import LATENTS, collapse_warnings, latents_of
from jaxsdgm.evaluation.neighbours import nearest_words, pick_queries
from jaxsdgm.experiments import setup
from jaxsdgm.experiments.chunked import Chunked
from jaxsdgm.experiments.inputs import Inputs
from jaxsdgm.experiments.outputs import make_elbo, make_predict, rows_of
from jaxsdgm.experiments.setup import Config, Model
from jaxsdgm.layers.encoders import embeddings_of, vocabulary
from jaxsdgm.models.semi import SemiSupervised
from jaxsdgm.models.ssvae import SSVAE
from jaxsdgm.training.loop import Fit
from jaxsdgm.training.parallel import Parallel

STOP_SHARE = 0.1  # a word in more of the documents than this is left out of the word lists
DRAWS = 2  # of z2 from its prior
EXAMPLES = 2  # documents whose z2 is kept while y varies
TSNE_POINTS = 600  # documents in the figure of z1
SAMPLE_LENGTH = 30  # words of a GRU sample
NEIGHBOUR_IDS = 5000  # neighbours come from so many most frequent words

Arrays = dict[str, np.ndarray]


def make_summarise(
    model: Model, language: str, parallel: Parallel
) -> Callable[[Config, Inputs, Fit], tuple[dict[str, Any], dict[str, bytes | None]]]:
    """`summarise` for the runs of one model, compiled once."""
    predict = make_predict(model, language, parallel)
    bound = None
    if isinstance(model, SemiSupervised) or (isinstance(model, SSVAE) and model.generative):
        bound = make_elbo(model, language, parallel)
    return partial(summarise, model.clone(axis_name=None), predict, bound)


def summarise(
    plain: Model,
    predict: Chunked,
    bound: Chunked | None,
    config: Config,
    inputs: Inputs,
    result: Fit,
) -> tuple[dict[str, Any], dict[str, bytes | None]]:
    """Everything in the report, for the best parameters, and the figure of z1."""
    best, names = jax.device_get(result.best), inputs.corpus.label_names
    variables = {"params": best.params, "batch_stats": best.batch_stats}
    labelled = {split: labelled_of(arrays) for split, arrays in inputs.splits.items()}
    outputs = {
        split: predict(best.params, best.batch_stats, rows_of(arrays, plain))
        for split, arrays in labelled.items()
    }
    elbo, tables = {}, {}
    if bound:
        weighted = {"params": best.params, "hyper": result.state.hyper}
        for split in ("dev", "test"):
            explained = rows_of(inputs.splits[split], plain, "targets")
            terms = bound(weighted, best.batch_stats, explained)
            elbo[split] = {name: float(x.mean()) for name, x in terms.items()}
    if isinstance(plain, SemiSupervised) and plain.decoder:
        documents = {"input": inputs.splits["test"], "output": outputs["test"]}
        tables["generated"] = generated_tables(
            plain,
            variables,
            inputs.tokenizers[inputs.language],
            inputs.targets,
            inputs.splits["train"],
            documents,
            names,
            seed=config.seed,
        )
    tables["neighbours"] = neighbour_table(
        best.params, inputs.pretrained, inputs.tokenizers, inputs.language, inputs.splits["train"]
    )
    metrics = metrics_of(outputs, labelled, names)
    latents = latents_of(outputs["dev"])
    if "proportions" in best.batch_stats:
        latents["label_proportions"] = best.batch_stats["proportions"].tolist()
    latents["shown"] = next(name for name in ("z1", "z", "h") if name in outputs["test"])
    points = outputs["test"][latents["shown"]][:TSNE_POINTS]
    labels = inputs.splits["test"]["labels"][:TSNE_POINTS]
    results = {
        "kind": "classify",
        **setup.provenance(config),
        "system": config.model.system,
        "language": inputs.language,
        "languages": list(inputs.tokenizers),
        "encoder": encoder_of(config, inputs),
        "vectors": inputs.vectors.coverage if inputs.vectors else None,
        "label_names": list(names),
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
        "trained_parameters": setup.parameter_count(
            best.params, without=setup.frozen_parts(config, plain)
        ),
        "warnings": warnings_of(metrics, latents, elbo),
        "tables": tables,
    }
    return results, {"tsne": tsne_scatter(points, labels, names)}


def encoder_of(config: Config, inputs: Inputs) -> dict[str, Any]:
    """Which encoder a run has, for its results."""
    before = config.pretrained and ("SNXVAE" if setup.has_subwords(inputs.tokenizers) else "NXVAE")
    before = "text VAE" if config.encoder.kind == "lstm" else before
    name = config.encoder.checkpoint or before or "BiLSTM"
    revision = inputs.checkpoint.revision if inputs.checkpoint else None
    return {"name": name, "revision": revision, "trainable": config.encoder.trainable}


def metrics_of(
    outputs: Mapping[str, Arrays], splits: Mapping[str, Arrays], names: Sequence[str]
) -> dict[str, Any]:
    """Accuracy, F1, confusion, calibration and likelihood of every split's labelled documents."""
    return {
        split: classification_report(np.exp(out["log_q"]), splits[split]["labels"], names)
        for split, out in outputs.items()
    }


def labelled_of(arrays: Arrays) -> Arrays:
    """The documents whose label is known: there may be a million more in "train"."""
    known = arrays["labels"] >= 0
    return {name: x[known] for name, x in arrays.items()}


def warnings_of(
    metrics: Mapping[str, Any], latents: Mapping[str, Any], elbo: Mapping[str, Any]
) -> list[str]:
    """Collapsed posteriors and accuracy at chance, in words."""
    terms = elbo.get("dev", {})
    kl = {name: terms[f"kl_{name}"] for name in LATENTS if f"kl_{name}" in terms}
    counts = np.sum(metrics["dev"]["confusion"], axis=1)
    return collapse_warnings(
        kl,
        {name: latents["active_units"][name] for name in kl},
        sizes=latents["size"],
        dev_accuracy=metrics["dev"]["accuracy"],
        majority_share=float(counts.max() / counts.sum()),
    )


def neighbour_table(
    params: Any,
    pretrained: Any,
    tokenizers: Mapping[str, Tokenizer],
    language: str,
    train: Arrays,
) -> list[dict[str, Any]]:
    """Nearest words across languages: this run's embeddings, the NXVAE's for other languages.

    None for a transformer, whose wordpieces are those of all languages.
    """
    own = _word_tables(params, tokenizers, tokenizers)
    tables = own
    if pretrained:
        tables = {**_word_tables(pretrained["params"], tokenizers, tokenizers), **own}
    whose = vocabulary(setup.vocab_sizes(tokenizers), language)
    if whose not in tables:
        return []
    words = {vocabulary(tables, name): t.words for name, t in tokenizers.items()}
    queries = pick_queries(train["ids"], train["lengths"], words[whose])
    return nearest_words(tables, words, [(whose, word) for word in queries], max_id=NEIGHBOUR_IDS)


def _word_tables(
    params: Any, tokenizers: Mapping[str, Tokenizer], languages: Iterable[str]
) -> dict[str, Any]:
    """The embeddings `[v, e]` of those languages that a BiLSTM encoder has some of."""
    encoder, sizes = params.get("encoder", {}), setup.vocab_sizes(tokenizers)
    found = {vocabulary(sizes, name): embeddings_of(encoder, name) for name in languages}
    return {name: table for name, table in found.items() if table is not None}


def generated_tables(
    model: SemiSupervised,
    variables: Any,
    tokenizer: Tokenizer,
    targets: TargetWords | None,
    train: Arrays,
    documents: Mapping[str, Arrays],
    label_names: Sequence[str],
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """Words per class with z2 from its prior and from documents (the paper's Tables 14 and 15).

    `documents` are the predictions of the split that the examples are taken from, with its ids.
    """
    stop = frequent_words(train["ids"], train["lengths"], tokenizer.vocab_size, share=STOP_SHARE)
    words = tokenizer.words
    if targets:  # the decoder has a vocabulary of its own
        words = tuple(words[i] for i in targets.ids)
        stop = frozenset(np.flatnonzero(np.isin(targets.ids, list(stop))).tolist())
    draws = jax.random.normal(jax.random.key(seed), (DRAWS, model.latent))
    titles = [f"{PRIOR}, draw {i + 1}" for i in range(DRAWS)]
    z2s = [*draws, *documents["output"]["z2"][:EXAMPLES]]
    for ids in documents["input"]["ids"][:EXAMPLES]:
        text = " ".join(tokenizer.decode(ids[None])[0].split()[:20])
        titles.append(f"z2 of the document “{text} …”")
    vary = partial(_varied, model, variables, tokenizer.language, words, label_names, stop)
    return [{"title": title, "rows": vary(z2)} for title, z2 in zip(titles, z2s, strict=True)]


def _varied(
    model: SemiSupervised,
    variables: Any,
    language: str,
    words: Sequence[str],
    label_names: Sequence[str],
    stop: frozenset[int],
    z2: Any,
) -> list[dict[str, Any]]:
    """One z2, every label: z1 is the mean of p(z1 | z2, y), then the decoder."""
    k = len(label_names)
    decoded = model.apply(variables, jnp.tile(z2, (k, 1)), jnp.eye(k), method="imagine")
    if model.decoder == "gru":
        tokens = _greedy(model, variables, decoded, language)
        texts = [greedy_text(ids, words).split() for ids in tokens]
    else:
        logits = model.apply(variables, decoded, language=language, method="word_logits")
        texts = top_words(np.asarray(logits), words, stop=stop)
    return [{"label": name, "words": text} for name, text in zip(label_names, texts, strict=True)]


def _greedy(model: SemiSupervised, variables: Any, decoded: Any, language: str) -> np.ndarray:
    """The most probable next word again and again, from PAD, `[b, SAMPLE_LENGTH]` ids."""
    next_word = jax.jit(partial(model.apply, language=language, method="next_word"))
    token, state, tokens = jnp.zeros(len(decoded), jnp.int32), None, []
    for _ in range(SAMPLE_LENGTH):
        logits, state = next_word(variables, decoded, token, state)
        token = logits.argmax(-1).astype(jnp.int32)
        tokens.append(token)
    return np.stack(tokens, 1)
