"""From a config to M1+M2 or a supervised twin, and what it takes over from an NXVAE."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from jaxsdgm.data.targets import TargetWords
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import setup
from jaxsdgm.experiments.baselines import BASELINES
from jaxsdgm.experiments.inputs import Inputs
from jaxsdgm.experiments.setup import Config
from jaxsdgm.models.classifier import Classifier
from jaxsdgm.models.sdgm import M1M2

#: subtrees that a pretrained NXVAE hands on
TRANSFERRED = ("encoder", "posterior")
SUPERVISED = {"nxvae_z1": "z1", "nxvae_h": "h"}
SYSTEMS = ("m1m2", *SUPERVISED)


def build(config: Config, inputs: Inputs, *, axis_name: str | None) -> M1M2 | Classifier:
    """The system of a config for the vocabularies and classes of its inputs."""
    sizes = {language: t.vocab_size for language, t in inputs.tokenizers.items()}
    labels = inputs.splits["train"]["labels"][list(inputs.subset.indices)]
    counts = np.bincount(labels, minlength=len(inputs.corpus.label_names))
    decoder_sizes = {inputs.language: inputs.targets.size} if inputs.targets else None
    return build_model(config, sizes, counts, axis_name=axis_name, decoder_sizes=decoder_sizes)


def build_model(
    config: Config,
    sizes: Mapping[str, int],
    counts: np.ndarray,
    *,
    axis_name: str | None,
    decoder_sizes: Mapping[str, int] | None = None,
) -> M1M2 | Classifier:
    """As `build`, from vocabulary sizes and the number of labelled documents per class."""
    model = config.model
    if model.system not in SYSTEMS:
        known = ", ".join((*SYSTEMS, *BASELINES))
        raise UserError(f"config.model.system is {model.system!r}; use one of {known}")
    shared = {
        "n_classes": len(counts),
        "latent": model.latent,
        "feature_dropout": model.feature_dropout,
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
        decoder_sizes=decoder_sizes,
        label_prior="estimated" if model.label_prior == "estimated" else "fixed",
        label_proportions=priors[model.label_prior],
        unlabelled_chunk=model.unlabelled_chunk,
        **shared,
    )


def initialise(config: Config, model: nn.Module, language: str) -> Any:
    """Fresh variables, every parameter touched."""
    dummy = np.ones((2, 2), np.int32), np.full(2, 2, np.int32)
    plain = model.clone(axis_name=None)
    init = partial(plain.init, method="initialise", languages=(language,))
    return jax.jit(init)(jax.random.key(config.seed), *dummy)


def transfer(variables: Any, pretrained: Any, targets: TargetWords | None) -> Any:
    """`variables` with what the NXVAE knows: encoder, posterior of z1, decoders (spec §4.4).

    An untied decoder's table starts as the pretrained embeddings; of both its table and its biases
    the rows of `targets` are taken where the decoder has only these.
    """
    params, stats = dict(variables["params"]), dict(variables.get("batch_stats", {}))
    theirs = pretrained["params"]
    for name in TRANSFERRED:
        params[name] = _take(params[name], theirs[name], name)
        if name in stats:
            stats[name] = _take(stats[name], pretrained["batch_stats"][name], name)
    pick = (lambda rows: rows[targets.ids]) if targets else (lambda rows: rows)
    for name in params:
        kind, _, language = name.rpartition("_")
        if kind == "decoders" and name in theirs:
            known = {key: params[name][key] for key in params[name] if key in theirs[name]}
            source = {key: pick(value) for key, value in theirs[name].items()}
            params[name] = {**params[name], **_take(known, source, name)}
        if kind == "decoder_tables":
            rows = theirs["encoder"][f"embeddings_{language}"]["table"]
            params[name] = _take(params[name], {"table": pick(rows)}, name)
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
