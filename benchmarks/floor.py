"""The floor of a training step: its arithmetic and its bytes, at what this machine can do.

Counted is what no implementation can leave out: multiply-adds of matrix products on valid tokens,
forward and twice that backward (none of them made again), and the bytes of parameters, gradients
and Adam's moments. The ceilings are measured in this process: the best product of the model's own
shapes, and an addition in place of arrays that no cache holds. The floor is the larger of the two
times, as if one could hide wholly behind the other.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.steps import DISCRIMINATOR, GRU, corpus, vocabularies
from jaxsdgm.experiments.setup import DTYPES, parameter_count
from jaxsdgm.layers.chunks import CHUNKS

REPEATS = 5
ROWS = 16_384  # of the largest product
NUMBERS = 2**26  # of an array that is added
#: the gradient is written and read, parameters and two moments are read and written, and the passes
#: forward and backward read the parameters
ACCESSES = 10


def floor(args: argparse.Namespace, params: Any) -> dict[str, float]:
    """Seconds of arithmetic and of bytes of a step, and the larger one."""
    arithmetic = 2 * multiply_adds(args) / product_rate(args)
    moved = bytes_moved(args, params) / byte_rate()
    seconds = {"arithmetic_seconds": arithmetic, "bytes_seconds": moved}
    return {**seconds, "floor_seconds": max(arithmetic, moved)}


# -- counts ----------------------------------------------------------------------------------------


def multiply_adds(args: argparse.Namespace) -> int:
    """Of a step, forward and backward."""
    rows, sizes = corpus(args), vocabularies(args)
    return 3 * sum(forward(args, rows[k]["lengths"], sizes[k]) for k in sizes)


def forward(args: argparse.Namespace, lengths: np.ndarray, vocabulary: int) -> int:
    """Of the documents of a language, forward."""
    return encoder(args, lengths) + heads(args) + decoder(args, lengths, vocabulary)


def encoder(args: argparse.Namespace, lengths: np.ndarray) -> int:
    """A transformer with its pooler, or a bidirectional LSTM."""
    tokens, d, h = int(lengths.sum()), args.embedding, args.hidden
    if args.task == "mbert":
        attention = 2 * d * int((lengths.astype(np.int64) ** 2).sum())
        layer = tokens * (4 * d * d + 2 * d * h) + attention
        return args.layers * layer + len(lengths) * d * d
    inputs = d + (args.layers - 1) * 2 * h
    return tokens * 2 * 4 * h * (inputs + args.layers * h)


def heads(args: argparse.Namespace) -> int:
    """The Gaussians, the classifier, and NXVAE's discriminator."""
    z, k, b, n = args.latent, args.classes, args.labelled, args.unlabelled
    width = args.embedding if args.task == "mbert" else 2 * args.hidden
    posterior = (b + n) * (width * z + 2 * z * z)
    if args.task == "nxvae":
        return posterior + n * DISCRIMINATOR * (width + 1)
    between = args.classifier_hidden
    classifier = (b + n) * (between * (z + k) if between else z * k)
    return posterior + classifier + (b + k * n) * 2 * (k * z + 3 * z * z)


def decoder(args: argparse.Namespace, lengths: np.ndarray, vocabulary: int) -> int:
    """A softmax a document, or a GRU and a softmax a token."""
    z, d = args.latent, args.embedding
    if args.task != "gru":
        return len(lengths) * (vocabulary * d + (z * d if z != d else 0))
    x, h = GRU["inputs"], GRU["hidden"]
    token = x * d + 3 * h * (x + h) + h * vocabulary
    return int(lengths.sum()) * token + len(lengths) * z * (x + h)


def bytes_moved(args: argparse.Namespace, params: Any) -> int:
    """Of a step, which is one update for every language."""
    return len(vocabularies(args)) * ACCESSES * 4 * parameter_count(params)


# -- ceilings --------------------------------------------------------------------------------------


def product_rate(args: argparse.Namespace) -> float:
    """Most operations a second, of products with the shapes of the encoder's."""
    tokens = min(sum(int(rows["lengths"].sum()) for rows in corpus(args).values()), ROWS)
    documents, h = args.labelled + args.unlabelled, args.hidden
    if args.task == "mbert":
        shapes = [(tokens, args.embedding, h), (tokens, h, args.embedding)]
    else:
        shapes = [
            (tokens, 2 * h, 4 * h),
            (CHUNKS[0] * documents, 2 * h, 4 * h),
            (documents, h, 4 * h),
        ]
    multiply, rates = jax.jit(jnp.matmul), []
    for rows, inner, columns in shapes:
        a = jnp.ones((rows, inner), DTYPES[args.dtype])
        b = jnp.ones((inner, columns), a.dtype)
        seconds = shortest(lambda a=a, b=b: multiply(a, b))
        rates.append(2 * rows * inner * columns / seconds)
    return max(rates)


def byte_rate() -> float:
    """Bytes a second of `x += y`, which reads two arrays and writes one."""
    add = jax.jit(jnp.add, donate_argnums=0)
    x, y = jnp.zeros(NUMBERS), jnp.ones(NUMBERS)

    def once() -> jax.Array:
        nonlocal x
        x = add(x, y)
        return x

    return 3 * x.nbytes / shortest(once)


def shortest(run: Callable[[], Any]) -> float:
    """Seconds of the fastest of several calls."""
    seconds = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])  # the first compiles
