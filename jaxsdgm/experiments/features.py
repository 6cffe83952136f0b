"""Frozen encoders: every document to one vector, once, whatever is trained on them afterwards."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import jax
import numpy as np

from jaxsdgm.data.features import cached
from jaxsdgm.data.huggingface import HuggingFaceTokenizer, Tokenizer
from jaxsdgm.experiments import setup
from jaxsdgm.experiments.setup import Config
from jaxsdgm.layers.encoders import TextEncoder, TransformerEncoder
from jaxsdgm.training.progress import duration, log
from jaxsdgm.weights.bert import BertSize
from jaxsdgm.weights.huggingface import Checkpoint, find_checkpoint, load_weights, read_size

#: a batch is padded to one of these lengths, or to a multiple of 64: few compilations
WIDTHS = (*range(16, 128, 16), *range(128, 256, 32))
#: of a batch, padding included; a transformer's are those of `transformer_tokens`
BILSTM_TOKENS = 4096
#: batches on their way at a time: one computes while another waits for its last core, or is copied
STREAMS = 2
REPORT_SECONDS = 10.0

#: ids [b, t], lengths [b] -> [b, d]
Apply = Callable[[np.ndarray, np.ndarray], Any]


@dataclass(frozen=True)
class Featurizer:
    """Texts to features `[n, d]`; `key` names all that these depend on but the texts."""

    encode: Callable[[Sequence[str]], np.ndarray]
    key: str

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        return cached(self.encode, texts, key=self.key)


def make_featurizer(
    config: Config,
    checkpoint: Checkpoint | None,
    pretrained: Any,
    tokenizers: Mapping[str, Tokenizer],
) -> Featurizer:
    """The frozen encoder of a config: a checkpoint's transformer, or the NXVAE's BiLSTM."""
    if checkpoint:
        return _transformer(config, checkpoint)
    return _bilstm(config, pretrained, tokenizers)


def the_checkpoint(config: Config) -> Checkpoint | None:
    """The folder of the config's transformer, fetched if it must be; None for a BiLSTM."""
    if not config.encoder.checkpoint:
        return None
    return find_checkpoint(config.encoder.checkpoint, config.encoder.revision or None)


def token_limit(config: Config, transformer: BertSize | None) -> int:
    """Tokens of a document that are read: no more than a transformer has positions for."""
    limit = config.data.max_length
    return min(limit, transformer.max_length) if transformer else limit


def _transformer(config: Config, checkpoint: Checkpoint) -> Featurizer:
    tokenizer, size = load_tokenizer(config, checkpoint), read_size(checkpoint.folder)
    limit = token_limit(config, size)

    @cache  # read when the first text is not in the cache, and only once
    def load() -> Apply:
        model = TransformerEncoder(
            size, pooling=config.encoder.pooling, dtype=setup.compute_dtype(config)
        )
        variables = {"params": {"bert": load_weights(checkpoint.folder, size, on_device)}}
        return make_apply(model, variables, config.data.language)

    def encode(texts: Sequence[str]) -> np.ndarray:
        ids, lengths = tokenizer.encode(texts, limit)
        return in_buckets(load(), ids, lengths, limit=limit, tokens=transformer_tokens())

    weights = fingerprint(checkpoint.folder)
    parts = (weights, tokenizer.digest, config.encoder.pooling, limit, config.dtype)
    return Featurizer(encode, key="transformer " + " ".join(map(str, parts)))


def on_device(tensor: np.ndarray) -> jax.Array:
    """Waits for the copy: until it is done the tensor is there twice."""
    return jax.device_put(tensor).block_until_ready()


def transformer_tokens() -> int:
    """Of a batch: few on a CPU, whose cache holds what a layer makes of 1024, for each of two."""
    return 1024 if jax.default_backend() == "cpu" else 32768


def fingerprint(folder: Path) -> str:
    """SHA-256 of a checkpoint's tensors, whatever the folder is called."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def load_tokenizer(config: Config, checkpoint: Checkpoint) -> HuggingFaceTokenizer:
    """The checkpoint's tokenizer, with the prefix that the config puts before every text."""
    return HuggingFaceTokenizer.from_checkpoint(
        checkpoint.folder,
        language=config.data.language,
        prefix=config.encoder.prefix,
        lower=config.encoder.lower,
    )


def _bilstm(config: Config, pretrained: Any, tokenizers: Mapping[str, Tokenizer]) -> Featurizer:
    language, limit = config.data.language, config.data.max_length
    sizes = setup.vocab_sizes(tokenizers)
    model = TextEncoder(sizes, **setup.encoder_config(config), dtype=setup.compute_dtype(config))
    weights = pretrained["params"]["encoder"]
    apply = make_apply(model, {"params": weights}, language)

    def encode(texts: Sequence[str]) -> np.ndarray:
        ids, lengths = tokenizers[language].encode(texts, limit)
        return in_buckets(apply, ids, lengths, limit=limit, tokens=BILSTM_TOKENS)

    parts = (setup.digest(weights), tokenizers[language].digest, model.pooling, limit, config.dtype)
    return Featurizer(encode, key="bilstm " + " ".join(map(str, parts)))


def make_apply(model: Any, variables: Any, language: str) -> Apply:
    """`model.apply` of documents with variables `{"params": ...}`, compiled for each shape."""

    # the weights are an argument: as constants they would be folded, and copied, by the compiler
    @jax.jit
    def run(variables: Any, ids: Any, lengths: Any) -> Any:
        rows = {"ids": ids, "lengths": lengths, "row": np.arange(len(ids))}
        return model.apply(variables, rows, language=language, train=False)

    variables, lock = jax.device_put(variables), Lock()

    @cache
    def program(shape: tuple[int, int]) -> Callable[..., Any]:
        kinds = jax.ShapeDtypeStruct(shape, np.int32), jax.ShapeDtypeStruct(shape[:1], np.int32)
        return run.lower(variables, *kinds).compile()

    def apply(ids: np.ndarray, lengths: np.ndarray) -> Any:
        with lock:  # or each of the threads would compile it
            compiled = program(ids.shape)
        return compiled(variables, ids, lengths)

    return apply


def in_buckets(
    apply: Apply, ids: np.ndarray, lengths: np.ndarray, *, limit: int, tokens: int
) -> np.ndarray:
    """`apply` over documents of like length together, `[n, d]` float32 in the given order.

    A batch has up to `tokens` tokens, but one document at least. None is wider than `limit`, and no
    document may be longer.
    """
    started = reported = time.monotonic()
    total, done = int(lengths.sum()), 0
    order = np.argsort(lengths, kind="stable")[::-1]  # longest first: the estimate errs upwards

    def encode(part: tuple[np.ndarray, int]) -> tuple[np.ndarray, np.ndarray]:
        batch, width = part
        short = max(1, tokens // width) - len(batch)
        rows = np.pad(ids[batch, :width], ((0, short), (0, max(0, width - ids.shape[1]))))
        counts = np.pad(lengths[batch], (0, short), constant_values=1)
        return batch, np.asarray(apply(rows, counts), np.float32)[: len(batch)]

    features = []
    with ThreadPoolExecutor(STREAMS) as pool:
        for batch, vectors in pool.map(encode, _batches(order, lengths, limit, tokens)):
            features.append(vectors)
            done += int(lengths[batch].sum())
            now = time.monotonic()
            if now - reported > REPORT_SECONDS:
                left = duration((now - started) * (total - done) / done)
                log.info("encoding: %d of %d tokens, about %s left", done, total, left)
                reported = now
    restored = np.empty((len(ids), features[0].shape[1]), np.float32)
    restored[order] = np.concatenate(features)
    log.info("encoded %d documents in %s", len(ids), duration(time.monotonic() - started))
    return restored


def _batches(
    order: np.ndarray, lengths: np.ndarray, limit: int, tokens: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Neighbours in `order` (longest first) with the width that they are padded to."""
    start = 0
    while start < len(order):
        width = min(limit, _width(int(lengths[order[start]])))
        batch = order[start : start + max(1, tokens // width)]
        yield batch, width
        start += len(batch)


def _width(length: int) -> int:
    return next((width for width in WIDTHS if width >= length), -(-length // 64) * 64)
