"""From a trained language model to the numbers and figures of its report."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxsdgm.evaluation.latents import active_units, collapse_warnings, mutual_information
from jaxsdgm.evaluation.likelihood import perplexity
from jaxsdgm.experiments import setup
from jaxsdgm.experiments.chunked import Chunked
from jaxsdgm.experiments.language_inputs import LanguageInputs
from jaxsdgm.experiments.language_probes import probe
from jaxsdgm.experiments.language_samplers import make_importance_nll
from jaxsdgm.experiments.setup import Config
from jaxsdgm.models.textvae import TextVAE
from jaxsdgm.training.loop import Fit
from jaxsdgm.training.progress import log


def system_name(config: Config) -> str:
    """What the paper calls a recipe: "Ours(4)" is a pretrained encoder, annealing and free bits."""
    model, start = config.model, config.pretrain_encoder or bool(config.pretrained)
    if not model.latent:
        return "LSTM-LM"
    if is_autoencoder(config):
        return "AE"
    annealed = bool(model.kl_warmup_epochs) and not model.kl_cycle_epochs
    target = f"({model.free_bits:g})"
    if start and annealed and model.free_bits_of == "dimension":
        return f"Ours{target}"
    name = "VAE" if model.importance_samples == 1 else f"IWAE(k={model.importance_samples})"
    name += f" (beta {model.kl_weight:g})" if model.kl_weight != 1 else ""
    name += "+pretrain" if start else ""
    name += "+anneal" if annealed else ""
    if model.kl_cycle_epochs:
        name += "+cyclic" + ("(SGD)" if config.optimizer == "sgd" else "")
    name += "+aggressive" if config.aggressive else ""
    kinds = {"dimension": "+FB", "sentence": "+FBP", "batch": "+FBP of batches"}
    return name + (kinds[model.free_bits_of] + target if model.free_bits_of in kinds else "")


def is_autoencoder(config: Config) -> bool:
    """Whether the divergence does not count at all."""
    return bool(config.model.latent) and not config.model.kl_weight


def score_of(config: Config, found: Mapping[str, np.ndarray]) -> Any:
    """What selects, mean over sentences `[..., n]`: the bound at KL weight 1, or reconstruction."""
    return found["reconstruction" if is_autoencoder(config) else "loss"].mean(-1)


def summarise(
    config: Config, model: TextVAE, inputs: LanguageInputs, result: Fit, predict: Chunked
) -> dict[str, Any]:
    """Everything in the report, for the best parameters; `predict` gives a split's sentences'."""
    best = jax.device_get(result.best)
    found = {
        split: predict(best.params, best.batch_stats, inputs.arrays[split])
        for split in ("dev", "test")
    }
    metrics = {split: numbers(x, inputs.tokens[split]) for split, x in found.items()}
    for split, x in found.items():
        metrics[split]["score"] = float(score_of(config, x))
    autoencoder = is_autoencoder(config)
    if not autoencoder:
        likelihood(config, model, inputs, found["test"], best.params, metrics["test"])
    name = system_name(config)
    latents: dict[str, Any] = {"active_units": {}, "size": {}}
    warnings: list[str] = []
    if model.latent:
        active, sizes = {"z": metrics["test"]["active_units"]}, {"z": model.latent}
        latents = {"active_units": active, "size": sizes, "of": "test sentences"}
        latents["mutual_information"] = {"z": metrics["test"]["mutual_information"]}
        if not autoencoder:
            warnings = collapse_warnings({"z": metrics["test"]["kl"]}, active, sizes=sizes)
    probes, texts = {}, {}
    if config.probes and model.latent:
        probes, texts = probe(config, model, inputs, best.params, predict, found["test"])
    counts = {f"{split} sentences": len(x["ids"]) for split, x in inputs.arrays.items()}
    counts |= {f"{split} words and ends": n for split, n in inputs.tokens.items()}
    counts["words of the vocabulary"] = len(inputs.vocabulary)
    return {
        "kind": "language_model",
        **setup.provenance(config),
        "system": name,
        "corpus": inputs.name,
        "data": {"source": inputs.corpus.source, "counts": counts},
        "metrics": metrics,
        "probes": probes,
        "texts": texts,
        "latents": latents,
        "training": setup.training_summary(result, int(best.step)),
        "parameters": setup.parameter_count(best.params),
        "warnings": warnings,
    }


def numbers(found: Mapping[str, np.ndarray], tokens: int) -> dict[str, Any]:
    """Means per sentence in nats, information and active units, perplexity of the bound (§6)."""
    n = len(found["reconstruction"])
    values: dict[str, Any] = {"reconstruction": float(found["reconstruction"].mean())}
    if "mean" in found:
        values["kl"] = float(found["kl"].mean())
        values["negative_elbo"] = values["reconstruction"] + values["kl"]
        values["elbo_ppl"] = perplexity(n * values["negative_elbo"], tokens)
        values["mutual_information"] = mutual_information(found["mean"], found["log_var"])
        values["active_units"] = active_units(found["mean"])
    return values


def likelihood(
    config: Config,
    model: TextVAE,
    inputs: LanguageInputs,
    found: Mapping[str, np.ndarray],
    params: Any,
    metrics: dict[str, Any],
) -> None:
    """Adds nll and ppl of the test sentences: exact, or by importance sampling."""
    tokens = inputs.tokens["test"]
    if not model.latent:
        metrics["nll"] = metrics["reconstruction"]
        metrics["ppl"] = perplexity(len(found["reconstruction"]) * metrics["nll"], tokens)
        return
    samples, chunk = config.evaluation.samples, config.evaluation.chunk
    log.info("%s: %d samples of each test sentence", config.name, samples)
    run = make_importance_nll(model, samples=samples, chunk=min(chunk, samples))
    nll = run(params, inputs.arrays["test"], found["mean"], found["log_var"])
    metrics["nll"] = float(nll.mean())
    metrics["ppl"] = perplexity(float(nll.sum()), tokens)
    metrics["importance_samples"] = samples
