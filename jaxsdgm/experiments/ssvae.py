"""From a config to SSVAE or one of its simplifications, and what is special in training them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jax import Array

from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.latents import active_units, gaussian_kl, mutual_information
from jaxsdgm.experiments import setup
from jaxsdgm.experiments.setup import Config
from jaxsdgm.layers.encoders import TextEncoder, vocabulary
from jaxsdgm.models.ssvae import LABELS, SSVAE
from jaxsdgm.training import schedules

#: what each system leaves out of SSVAE
PARTS: dict[str, dict[str, Any]] = {
    "ssvae": {},
    "ssvae-kl": {"divergence": False},
    "ssvae-z": {"latent": 0},
    "ssvae-kl-z": {"divergence": False, "latent": 0},
    "ssvae-sup": {"generative": False},
}
SUPERVISED = "ssvae-sup"


def build(
    config: Config,
    sizes: Mapping[str, int],
    n_classes: int,
    *,
    axis_name: str | None,
    backend: str,
) -> SSVAE:
    """The system that `config.model.system` names, one of PARTS."""
    model, own = config.model, config.model.ssvae
    if own.labels not in LABELS:
        raise UserError(
            f"config.model.ssvae.labels is {own.labels!r}; use one of {', '.join(LABELS)}"
        )
    if model.pooling != "last" or config.target.language:
        raise UserError(
            "config.model.system is an SSVAE, which reads the BiLSTM's last states and has one "
            "language; set config.model.pooling=last and config.target.language=''"
        )
    if config.encoder.checkpoint or not config.encoder.trainable:
        raise UserError(
            "config.model.system is an SSVAE, which trains a BiLSTM; set "
            "config.encoder.checkpoint='' and config.encoder.trainable=True"
        )
    dtype = setup.compute_dtype(config)
    fields = {
        "latent": model.latent,
        "label_embedding": own.label_embedding,
        "decoder_hidden": own.decoder_hidden,
        "decoder_dropout": model.dropout,
        "labels": own.labels,
        "share_encoder": own.share_encoder,
        "stl": own.stl,
        "axis_name": axis_name,
        "dtype": dtype,
    }
    encoder = TextEncoder(sizes, **setup.encoder_config(config, backend), dtype=dtype)
    size = sizes[vocabulary(sizes, config.data.language)]
    return SSVAE(encoder, n_classes, size, **{**fields, **PARTS[model.system]})


def make_hyper(config: Config) -> dict[str, float]:
    """The numbers in a run's loss and optimiser."""
    own = config.model.ssvae
    return {
        "learning_rate": config.learning_rate,
        "generation_weight": config.model.generation_weight,
        "kl_weight": config.model.kl_weight,
        "temperature": own.temperature,
        **setup.free_bits(config),
    }


def make_schedule(
    config: Config, rate: Callable[[dict[str, Array], Array], dict[str, Array]]
) -> Callable[[dict[str, Array], Array], dict[str, Array]]:
    """The hyperparameters in force at a step; `rate` does the learning rate's part."""
    own = config.model.ssvae

    def schedule(hyper: dict[str, Array], step: Array) -> dict[str, Array]:
        hyper = dict(rate(hyper, step))
        if own.kl_end:
            hyper["kl_weight"] *= schedules.window(step, start=own.kl_start, end=own.kl_end)
        if own.temperature_steps:
            share = schedules.linear(step, warmup=own.temperature_steps)
            hyper["temperature"] += share * (own.temperature_end - hyper["temperature"])
        return hyper

    return schedule


def latent_metrics(output: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What z tells of documents: KL, mutual information (nats a document) and active units."""
    if "z" not in output:
        return {}
    mean, log_var = output["z"], output["z_log_var"]
    return {
        "kl_z": float(gaussian_kl(mean, log_var).mean()),
        "mutual_information": mutual_information(mean, log_var),
        "active_units": active_units(mean),
    }
