"""Tokens a second of a text VAE beside torch's: in training, and in importance sampling.

    python benchmarks/textvae_speed.py [--systems=train,likelihood] [--vocabulary=6000]
        [--embedding=128] [--hidden=512] ... [--batches=8] [--samples=1000] [--chunk=500]
        [--rounds=2] [--dtype=float32|bfloat16] [--no-peer] [--out=FILE]

Sizes are those that the paper has for SNLI; lengths of the invented sentences are as of SNLI's, a
batch has sentences of one length, padded to one of a few for ours, as in a run. A token of the
likelihood is a word of a sentence under one sample. Each runs in processes of its own, by turns,
and the best round counts; compilation is not counted. With the same weights and noise both must
find the same loss first.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import against_torch, steps
from benchmarks.against_torch import agree, autocast, per_token
from jaxsdgm.data.batches import EqualLengthPlan
from jaxsdgm.experiments.language_model import widths_of
from jaxsdgm.experiments.language_samplers import make_importance_nll
from jaxsdgm.experiments.setup import DTYPES, make_objective
from jaxsdgm.models.terms import no_noise, whole
from jaxsdgm.models.textvae import SENTENCES, TextVAE
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.state import create_state, sgd
from jaxsdgm.training.step import make_run, make_step
from jaxsdgm.training.trials import stack, stack_plans

SIZES = {
    **{"vocabulary": 6000, "embedding": 128, "hidden": 512, "latent": 32, "batch": 32},
    **{"mean_words": 10, "length": 62, "free_bits": 4, "samples": 1000, "chunk": 500},
    "sentences": 4,
}
HYPER = {"kl_weight": 1.0, "learning_rate": 0.5}


def corpus(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Sentences of --batches batches, each of one length."""
    rng = np.random.default_rng(0)
    lengths = np.exp(rng.normal(np.log(args.mean_words) - 0.08, 0.4, args.batches)).round()
    lengths = np.clip(lengths + 2, 3, args.length).astype(int).repeat(args.batch)
    ids = np.exp(rng.uniform(np.log(4), np.log(args.vocabulary), (len(lengths), args.length)))
    ids = np.minimum(ids, args.vocabulary - 1).astype(np.int32)
    ids = ids * (np.arange(args.length) < lengths[:, None])
    ids[:, 0], ids[np.arange(len(ids)), lengths - 1] = 1, 2
    return {"ids": ids, "lengths": lengths.astype(np.int32)}


def build(args: argparse.Namespace, **fields: Any) -> TextVAE:
    sizes = args.vocabulary, args.embedding, args.hidden, args.latent
    return TextVAE(
        *sizes, free_bits="dimension", backend="packed", dtype=DTYPES[args.dtype], **fields
    )


def params_of(args: argparse.Namespace) -> Any:
    """Larger than first values are, so that a wrong weight shows."""
    rows = {"ids": np.ones((2, 3), np.int32), "lengths": np.full(2, 3, np.int32)}
    init = partial(build(args).init, method="initialise")
    params = jax.jit(lambda: init(jax.random.key(0), rows))()["params"]
    return jax.tree.map(lambda x: 5 * x, params)


def our_loss(args: argparse.Namespace) -> float:
    """Of the first batch without dropout, with draws of zeros."""
    batch = whole({k: jnp.asarray(x[: args.batch]) for k, x in corpus(args).items()})
    hyper = {"kl_weight": jnp.ones(()), "free_bits": jnp.asarray(float(args.free_bits))}
    rest = {"hyper": hyper, "noise": no_noise, "train": False, "method": "objective"}
    found: Any = build(args).apply({"params": params_of(args)}, {SENTENCES: batch}, **rest)
    return float(found[SENTENCES]["loss"].mean())


def ours(args: argparse.Namespace, system: str) -> dict[str, Any]:
    return {"train": our_step, "likelihood": our_likelihood}[system](args)


def our_step(args: argparse.Namespace) -> dict[str, Any]:
    parallel, optimizer, data = Parallel(), sgd(clip=5.0), corpus(args)
    model = build(args, axis_name=parallel.axis_name)
    plan = EqualLengthPlan(SENTENCES, data["lengths"], args.batch, seed=0)
    fields = {"axis_name": parallel.axis_name, "widths": widths_of(model, plan)}
    run = make_run(make_step(make_objective(model), optimizer, **fields))
    hyper = {**HYPER, "free_bits": float(args.free_bits)}
    state = stack([create_state({"params": params_of(args)}, optimizer, seed=0, hyper=hyper)])
    batches = parallel.lay_out(stack_plans([{"text": plan(0, args.batches)}]))
    placed = parallel.replicate({"text": {SENTENCES: data}})
    state = parallel.place(state, 1)
    compiled = parallel.compile(run, state, placed, batches)

    def train() -> None:
        nonlocal state
        state, _ = compiled(state, placed, batches)
        jax.block_until_ready(state)

    tokens = (data["lengths"] - 1).sum() / args.batches
    return per_token(steps.timed(train, args.batches), tokens)


def sentences(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """The first of a few batches."""
    which = np.arange(args.sentences) % args.batches * args.batch
    rows = {name: x[which] for name, x in corpus(args).items()}
    return {**rows, "row": np.arange(args.sentences, dtype=np.int32)}


def our_likelihood(args: argparse.Namespace) -> dict[str, Any]:
    model, params, rows = build(args), jax.device_put(params_of(args)), sentences(args)
    sizes = {"samples": args.samples, "chunk": args.chunk, "at_a_time": args.sentences}
    run = make_importance_nll(model, **sizes)
    encode = jax.jit(partial(model.apply, method="encode"))
    q: Any = encode({"params": params}, rows["ids"], rows["lengths"])
    tokens = (rows["lengths"] - 1).sum() * args.samples
    return per_token(steps.timed(lambda: run(params, rows, *map(np.asarray, q)), 1), tokens)


def make_peer(args: argparse.Namespace) -> Any:
    import torch

    from benchmarks.peers.textvae import TextVAEPeer

    torch.set_num_threads(steps.cores())
    peer = TextVAEPeer(args)
    peer.load(jax.device_get(params_of(args)))
    return peer


def cut(ids: np.ndarray, length: int) -> Any:
    import torch

    return torch.from_numpy(ids[:, :length].astype(np.int64))


def check(args: argparse.Namespace, system: str) -> dict[str, float]:
    """The losses of both, which must agree."""
    import torch

    peer, data = make_peer(args), corpus(args)
    peer.module.eval()
    ids = cut(data["ids"][: args.batch], data["lengths"][0])
    with autocast(args):
        theirs = float(peer.module.loss(ids, torch.zeros(1, 1)).detach())
    return agree(args, system, ours=our_loss(args), theirs=theirs)


def theirs(args: argparse.Namespace, system: str) -> dict[str, Any]:
    return {"train": peer_step, "likelihood": peer_likelihood}[system](args)


def peer_step(args: argparse.Namespace) -> dict[str, Any]:
    peer, data, b = make_peer(args), corpus(args), args.batch
    lengths = data["lengths"][::b]
    batches = [cut(data["ids"][i * b : (i + 1) * b], n) for i, n in enumerate(lengths)]
    with autocast(args):
        found = steps.timed(lambda: [peer.step(batch) for batch in batches], args.batches)
    return per_token(found, (data["lengths"] - 1).sum() / args.batches)


def peer_likelihood(args: argparse.Namespace) -> dict[str, Any]:
    peer, rows = make_peer(args), sentences(args)
    pairs = zip(rows["ids"], rows["lengths"], strict=True)
    ids = [cut(one[None], n) for one, n in pairs]
    run = lambda: [peer.importance_nll(one, args.samples, args.chunk) for one in ids]
    with autocast(args):
        found = steps.timed(run, 1)
    return per_token(found, (rows["lengths"] - 1).sum() * args.samples)


if __name__ == "__main__":
    against_torch.main(
        __file__,
        __doc__.split("\n\n", 1)[0],
        "train,likelihood",
        SIZES,
        ours=ours,
        theirs=theirs,
        check=check,
    )
