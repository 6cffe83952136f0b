"""What the latent space of a text VAE is like: the paper's probes (spec of paper 4, §7)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxsdgm.data.lines import SPLITS
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.probes import (
    copying_distance,
    gaussian_mixture,
    linear_probe,
    reconstruction_bleu,
    smoothness,
    swap_words,
)
from jaxsdgm.experiments.chunked import Chunked
from jaxsdgm.experiments.language_inputs import LanguageInputs
from jaxsdgm.experiments.language_samplers import make_decode
from jaxsdgm.experiments.setup import Config
from jaxsdgm.models.textvae import TextVAE
from jaxsdgm.training.progress import log

#: sentences drawn from the prior; swapped words; clusters; labels of the linear probe
DRAWN, SWAPS = 300, (1, 2, 3, 4)
CLUSTERS, LABELS = (2, 10), (100, 500, 1000, 2000, 10_000)
#: points between two latents, ends left out, and pairs of ends shown
INNER, PAIRS = 4, 5


def probe(
    config: Config,
    model: TextVAE,
    inputs: LanguageInputs,
    params: Any,
    predict: Chunked,
    found: dict[str, np.ndarray],
) -> tuple[dict[str, Any], dict[str, list[list[str]]]]:
    """Every probe's number, and sentences to read; `found` is `predict` of the test sentences.

    Clusterings and linear probes are of labelled sentences only.
    """
    rng, test = np.random.default_rng(config.seed), inputs.corpus.splits["test"]
    decode = make_decode(model, params)
    read = lambda z: [inputs.vocabulary.decode(row) for row in decode(z.astype(np.float32))]
    z = found["mean"] + np.exp(found["log_var"] / 2) * rng.normal(size=found["mean"].shape)
    again = read(z)
    gold = [inputs.vocabulary.decode(row) for row in inputs.arrays["test"]["ids"]]
    probes: dict[str, Any] = {
        "bleu": reconstruction_bleu(*(list(map(" ".join, x)) for x in (again, gold))),
        "smoothness": smoothness(found["mean"], test.words, seed=config.seed),
        "noisy_reconstruction": noisy(inputs, params, predict, rng),
    }
    prior = read(rng.normal(size=(DRAWN, model.latent)))
    probes["copying"] = copying_distance(prior, inputs.corpus.splits["train"].words)
    if test.labels is not None:
        probes |= of_labels(config, inputs, params, predict, found)
    starts, ends = rng.normal(size=(2, PAIRS, model.latent))
    half = len(z[: 2 * PAIRS]) // 2
    pairs = zip(gold[:PAIRS], again[:PAIRS], strict=True)
    texts = {
        "reconstructions": [[*map(" ".join, pair)] for pair in pairs],
        "drawn from the prior": [[" ".join(words)] for words in prior[:PAIRS]],
        "between draws from the prior": between(starts, ends, read),
        "between test sentences": between(z[:half], z[half : 2 * half], read),
    }
    return probes, texts


def noisy(
    inputs: LanguageInputs, params: Any, predict: Chunked, rng: np.random.Generator
) -> dict[str, float]:
    """- log p(x | z) in nats where the encoder reads x with some of its words swapped."""
    rows = inputs.arrays["test"]
    losses = {}
    for k in SWAPS:
        read = swap_words(rows["ids"], rows["lengths"], k, rng)
        answer = predict(params, {}, {**rows, "read": read})
        losses[str(k)] = float(answer["reconstruction"].mean())
    return losses


def of_labels(
    config: Config,
    inputs: LanguageInputs,
    params: Any,
    predict: Chunked,
    found: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Accuracies of clusters, and of a linear classifier with a few labels, on posterior means."""
    means = {split: predict(params, {}, inputs.arrays[split])["mean"] for split in ("train", "dev")}
    means["test"] = found["mean"]
    labels = {k: x.labels for k, x in inputs.corpus.splits.items() if x.labels is not None}
    train, dev, test = ((means[split], labels[split]) for split in SPLITS)
    fields = {"seed": config.seed}
    cluster = lambda k: gaussian_mixture(means["train"], dev, test, components=k, **fields)["peak"]
    probe_with = lambda n: linear_probe(train, dev, test, n_labels=n, **fields)
    return {
        "clustering": where_it_can(CLUSTERS, cluster),
        "linear_probe": where_it_can(LABELS, probe_with),
    }


def where_it_can(counts: Sequence[int], measure: Callable[[int], float]) -> dict[str, float]:
    """A figure by count; one that there are too few sentences for is left out, and that is said."""
    found = {}
    for count in counts:
        try:
            found[str(count)] = measure(count)
        except UserError as error:
            log.warning("no probe with %d: %s", count, error)
    return found


def between(starts: np.ndarray, ends: np.ndarray, read: Any) -> list[list[str]]:
    """The sentences of (1 - t) z_0 + t z_1 for evenly spaced t, of each pair of latents `[z]`."""
    shares = np.linspace(0, 1, INNER + 2)[:, None]
    paths: Sequence[np.ndarray] = [
        (1 - shares) * a + shares * b for a, b in zip(starts, ends, strict=True)
    ]
    return [[" ".join(words) for words in read(path)] for path in paths]
