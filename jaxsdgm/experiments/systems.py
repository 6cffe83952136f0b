"""From a config to M1+M2, AUX or a supervised twin, and what it takes over from an NXVAE."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from jaxsdgm.data.targets import TargetWords
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import setup, ssvae
from jaxsdgm.experiments.baselines import BASELINES
from jaxsdgm.experiments.inputs import Inputs
from jaxsdgm.experiments.setup import Config, Model
from jaxsdgm.layers.bert import BertSize
from jaxsdgm.layers.encoders import (
    FrozenFeatures,
    TextEncoder,
    TransformerEncoder,
    embeddings_of,
    vocabulary,
)
from jaxsdgm.models.classifier import Classifier
from jaxsdgm.models.sdgm import M1M2, Auxiliary
from jaxsdgm.models.semi import TRANSFERRED
from jaxsdgm.models.textvae import DocumentEncoder
from jaxsdgm.training.parallel import Parallel

SUPERVISED = {"nxvae_z1": "z1", "nxvae_h": "h", "sup_h": "h"}
GENERATIVE = ("m1m2", "aux")
SYSTEMS = (*GENERATIVE, *SUPERVISED)


def build(config: Config, inputs: Inputs, parallel: Parallel, *, trials: int = 1) -> Model:
    """The system of a config for the vocabularies and classes of its inputs."""
    sizes = setup.vocab_sizes(inputs.tokenizers)
    if config.model.unlabelled_chunk and len(parallel.devices) > 1:
        raise UserError(
            "config.model.unlabelled_chunk shares statistics among documents of one device; "
            "set it to 0 where there are several"
        )
    labels = inputs.splits["train"]["labels"][list(inputs.subset.indices)]
    counts = np.bincount(labels, minlength=len(inputs.corpus.label_names))
    targets = targets_of(inputs)
    decoder_sizes = {name: words.size for name, words in targets.items()} or None
    return build_model(
        config,
        sizes,
        counts,
        axis_name=parallel.axis_name,
        backend=setup.recurrence(config, parallel, trials=trials),
        decoder_sizes=decoder_sizes,
        transformer=inputs.transformer,
    )


def build_model(
    config: Config,
    sizes: Mapping[str, int],
    counts: np.ndarray,
    *,
    axis_name: str | None = None,
    backend: str = "scan",
    decoder_sizes: Mapping[str, int] | None = None,
    transformer: BertSize | None = None,
) -> Model:
    """As `build`, from vocabulary sizes and the number of labelled documents per class."""
    model = config.model
    if model.system in ssvae.PARTS:
        fields = {"axis_name": axis_name, "backend": backend}
        return ssvae.build(config, sizes, len(counts), **fields)
    if model.system not in SYSTEMS:
        known = ", ".join((*SYSTEMS, *ssvae.PARTS, *BASELINES))
        raise UserError(f"config.model.system is {model.system!r}; use one of {known}")
    shared = {
        "n_classes": len(counts),
        "latent": model.latent,
        "feature_dropout": model.feature_dropout,
        "classifier_hidden": model.classifier_hidden,
        "classifier_dropout": model.classifier_dropout,
        "head": {"hidden": model.head_hidden, "batch_norm": model.batch_norm},
        "axis_name": axis_name,
        "dtype": setup.compute_dtype(config),
    }
    encoder = build_encoder(config, sizes, transformer, backend)
    if model.system not in GENERATIVE:
        return Classifier(encoder, features=SUPERVISED[model.system], **shared)
    priors = {"uniform": (), "estimated": (), "labelled": tuple((counts / counts.sum()).tolist())}
    if model.label_prior not in priors:
        known = ", ".join(priors)
        raise UserError(f"config.model.label_prior is {model.label_prior!r}; use one of {known}")
    if model.feature_weight and (config.encoder.trainable or model.decoder == "none"):
        raise UserError(
            "config.model.feature_weight is for features that are data, beside words; set "
            "config.encoder.trainable=False and a decoder, or feature_weight=0"
        )
    if model.free_bits and model.decoder == "none":
        raise UserError(
            "config.model.free_bits is for divergences, of which there is none of z1 where "
            "config.model.decoder is 'none'; name a decoder, or set free_bits=0"
        )
    if model.system == "aux" and model.decoder == "none":
        raise UserError("config.model.system is 'aux', which needs a decoder: bow or gru")
    gru = {"inputs": model.gru.inputs, "hidden": model.gru.hidden}
    kinds = {
        "m1m2": partial(M1M2, conditioning=model.conditioning),
        "aux": partial(Auxiliary, hidden=model.auxiliary_hidden),
    }
    return kinds[model.system](
        encoder,
        decoder_sizes=decoder_sizes or sizes,
        decoder=None if model.decoder == "none" else model.decoder,
        decoder_config=gru if model.decoder == "gru" else None,
        tied=model.tied,
        decode_features=model.feature_weight > 0,
        estimate_proportions=model.label_prior == "estimated",
        label_proportions=priors[model.label_prior],
        unlabelled_chunk=model.unlabelled_chunk,
        adversary=setup.checked_adversary(config.target.adversary, "config.target.adversary"),
        discriminator_hidden=config.target.discriminator_hidden,
        **shared,
    )


def targets_of(inputs: Inputs) -> dict[str, TargetWords]:
    """The decoders' selected words, of the vocabularies that have a selection."""
    sizes = setup.vocab_sizes(inputs.tokenizers)
    of_languages = inputs.of_languages.items()
    return {vocabulary(sizes, name): x.targets for name, x in of_languages if x.targets}


def build_encoder(
    config: Config, sizes: Mapping[str, int], transformer: BertSize | None, backend: str
) -> nn.Module:
    """What makes h of a document: features made before, a transformer, or an LSTM."""
    if not config.encoder.trainable:
        return FrozenFeatures()
    dtype = setup.compute_dtype(config)
    if transformer:
        remat = setup.remat(config.encoder.remat)
        fields = {"pooling": config.encoder.pooling, "remat": remat}
        return TransformerEncoder(transformer, **fields, dtype=dtype)
    if config.encoder.kind == "lstm":
        (size,), model = sizes.values(), config.model
        return DocumentEncoder(size, model.embedding, model.hidden, backend, dtype=dtype)
    if config.encoder.kind != "bilstm":
        raise UserError(f"config.encoder.kind is {config.encoder.kind!r}; use bilstm or lstm")
    return TextEncoder(sizes, **setup.encoder_config(config, backend), dtype=dtype)


def make_initialise(model: nn.Module, inputs: Inputs) -> Callable[[int], Any]:
    """A function from a seed to fresh variables, every parameter touched."""
    some = {name: x[:2] for name, x in inputs.splits["train"].items() if name != "labels"}
    plain = model.clone(axis_name=None)
    init = jax.jit(partial(plain.init, method="initialise", languages=(*inputs.of_languages,)))
    return lambda seed: init(jax.random.key(seed), some)


def transfer(variables: Any, pretrained: Any, targets: Mapping[str, TargetWords]) -> Any:
    """`variables` with what was learned before (spec §4.4).

    Of a checkpoint that is the encoder; of an NXVAE the encoder, the posterior of z1, decoders and,
    where both have one, the discriminator.

    An untied decoder's table starts as the pretrained embeddings, and so does the output layer of a
    GRU as wide as they are; of a bag of words' table and biases the rows of a language's `targets`
    are taken where the decoder has only these.
    """
    params, stats = dict(variables["params"]), dict(variables.get("batch_stats", {}))
    theirs = pretrained["params"]
    for name in (*TRANSFERRED, "discriminator"):
        if name not in params or name not in theirs:  # a frozen encoder; a checkpoint
            continue
        params[name] = _take(params[name], theirs[name], name)
        if name in stats:
            stats[name] = _take(stats[name], pretrained["batch_stats"][name], name)
    for name in params:
        kind, _, language = name.rpartition("_")
        rows = targets[language].ids if language in targets else slice(None)
        if kind == "decoders" and name in theirs:
            source = {key: value[rows] for key, value in theirs[name].items()}
            table = word_table(theirs["encoder"], language)
            kernel = params[name].get("kernel")
            if kernel is not None and kernel.shape == table.shape[::-1]:
                source["kernel"] = table.T
            known = {key: value for key, value in params[name].items() if key in source}
            params[name] = {**params[name], **_take(known, source, name)}
        if kind == "decoder_tables":
            table = word_table(theirs["encoder"], language)
            params[name] = _take(params[name], {"table": table[rows]}, name)
    return {**variables, "params": params, "batch_stats": stats}


def word_table(encoder: Any, language: str) -> Any:
    """The embeddings `[v, e]` of a language, of an LSTM, or of a transformer's wordpieces."""
    if "bert" in encoder:
        return encoder["bert"]["words"]
    if "table" in encoder:
        return encoder["table"]
    return embeddings_of(encoder, language)


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
