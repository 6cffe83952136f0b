"""A finished classification run in use: documents in, probabilities or latents out."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from jaxsdgm.data.features import Scaling
from jaxsdgm.data.huggingface import Tokenizer
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import baselines
from jaxsdgm.experiments.features import make_featurizer, the_checkpoint, token_limit
from jaxsdgm.experiments.inputs import FEATURES, checked_tokenizers
from jaxsdgm.experiments.outputs import make_predict
from jaxsdgm.experiments.setup import Config, vocab_sizes
from jaxsdgm.experiments.systems import build_model
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.weights.bert import BertSize


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
    with config.unlocked():  # what configs did not have yet when older runs were trained
        config.encoder.kind = config.encoder.get("kind", "bilstm")
        config.model.free_bits = config.model.get("free_bits", 0.0)
    names = about["label_names"]
    transformer = BertSize(**about["transformer"]) if about["transformer"] else None
    tokenizers = checked_tokenizers(folder, about["tokenizers"])
    sizes = vocab_sizes(tokenizers)
    model = build_model(config, sizes, np.ones(len(names)), transformer=transformer)
    language = config.target.language or config.data.language
    predict = make_predict(model, language, Parallel())
    rows = make_reader(config, folder, tokenizers, language, token_limit(config, transformer))
    params, batch_stats = variables["params"], variables["batch_stats"]
    return lambda texts: predict(params, batch_stats, rows(texts)), names


def make_reader(
    config: Config,
    folder: Path,
    tokenizers: Mapping[str, Tokenizer],
    language: str,
    limit: int,
) -> Callable[[list[str]], dict[str, np.ndarray]]:
    """Documents to what the encoder of a finished run reads: token ids, or features."""
    if not config.encoder.trainable:
        pretrained = load_pretrained(config.pretrained)[0] if config.pretrained else None
        encode = make_featurizer(config, the_checkpoint(config), pretrained, tokenizers).encode
        scaling = Scaling.load(folder / FEATURES) if config.encoder.checkpoint else lambda x: x
        return lambda texts: {"features": scaling(encode(texts))}
    tokenizer = tokenizers[language]

    def read(texts: list[str]) -> dict[str, np.ndarray]:
        ids, lengths = tokenizer.encode(texts, limit)
        # one width, one compilation
        return {"ids": np.pad(ids, ((0, 0), (0, limit - ids.shape[1]))), "lengths": lengths}

    return read
