"""From a trained tagger to the numbers and figures of its report."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxsdgm.evaluation.figures import tsne_scatter
from jaxsdgm.evaluation.latents import active_units, collapse_warnings
from jaxsdgm.evaluation.tagging import entity_scores, tagging_report
from jaxsdgm.experiments import setup
from jaxsdgm.experiments.chunked import Chunked
from jaxsdgm.experiments.setup import Config
from jaxsdgm.experiments.tag_inputs import TagInputs, TagTrial, tags_of
from jaxsdgm.models.vsl import VSL
from jaxsdgm.training.loop import Fit


def summarise(
    config: Config,
    model: VSL,
    inputs: TagInputs,
    trial: TagTrial,
    result: Fit,
    predict: Chunked,
) -> tuple[dict[str, Any], dict[str, bytes | None]]:
    """Everything in the report, for the best parameters, and the paper's Figure 3.

    That is t-SNE of dev tokens' posterior means, or of h where there is no latent, by gold tag.
    """
    best = jax.device_get(result.best)
    names, metrics = inputs.vocabularies.tags, {}
    found: dict[str, Mapping[str, np.ndarray]] = {}
    for split, arrays in trial.held_out.items():
        found[split] = predict(best.params, best.batch_stats, arrays)
        gold = inputs.corpus.splits[split].tags or ()
        tags = tags_of(found[split]["tag"], arrays, names)
        metrics[split] = tagging_report(tags, gold, names)
        if inputs.corpus.entities:
            metrics[split] |= entity_scores(tags, gold)
    real = trial.held_out["dev"]["ids"] > 0
    labels = inputs.vocabularies.labels(inputs.corpus.splits["dev"], real.shape[1])[real]
    shown = list(model.latents) or ["h"]
    points = {name: found["dev"][name][real] for name in shown}
    figures = {
        f"tsne_of_{name}": tsne_scatter(x, labels, names, seed=config.seed)
        for name, x in points.items()
    }
    active = {name: active_units(points[name]) for name in model.latents}
    sizes = dict(model.latents)
    counts = np.bincount(labels, minlength=len(names))
    results = {
        "kind": "tag",
        **setup.provenance(config),
        "system": config.model.system,
        "language": config.data.language,
        "languages": [config.data.language],
        "label_names": list(names),
        "vectors": {"name": inputs.vectors_name} if inputs.vectors else None,
        "data": {
            "source": inputs.corpus.source,
            "counts": {
                **{f"{split} tokens": s.tokens for split, s in inputs.corpus.splits.items()},
                **{f"{split} sentences": len(s) for split, s in inputs.corpus.splits.items()},
                "words of the vocabulary": inputs.vocabularies.words.vocab_size,
            },
            "warnings": list(inputs.warnings),
        },
        "subset": dict(trial.subset),
        "metrics": metrics,
        "latents": {"active_units": active, "size": sizes, "of": "dev tokens"},
        "training": setup.training_summary(result, int(best.step)),
        "parameters": setup.parameter_count(best.params),
        "warnings": collapse_warnings(
            {},
            active,
            sizes=sizes,
            dev_accuracy=metrics["dev"]["accuracy"],
            majority_share=float(counts.max() / counts.sum()),
        ),
    }
    return results, figures
