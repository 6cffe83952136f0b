"""Tokens a second that VSL-GG-Hier and its BiGRU baseline train on, beside torch's.

    python benchmarks/vsl_speed.py [--systems=bigru,vsl-gg-hier] [--labelled=10] [--unlabelled=10]
        [--mean-length=18] [--vocabulary=10000] ... [--batches=8] [--rounds=2]
        [--dtype=float32|bfloat16] [--no-peer] [--out=FILE]

Sizes are those of the paper's code. The corpus is invented: lengths of sentences and words as of
German UD (a log-normal one, a Poisson one), a word is spelt in one way, words after Zipf. With the
same weights and noise ours and the peer (benchmarks/peers/vsl.py) must find the same loss first.
Each runs in processes of its own, by turns, and the best round counts; compilation is not counted.
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
from jaxsdgm.data.batches import PretrainingPlan
from jaxsdgm.data.token_batches import TokenPlan, most_tokens
from jaxsdgm.experiments.setup import DTYPES, make_objective
from jaxsdgm.layers.token_encoder import TokenEncoder
from jaxsdgm.models.vsl import VSL
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.state import adam, create_state
from jaxsdgm.training.step import make_run, make_step
from jaxsdgm.training.trials import stack, stack_plans

SIZES = {
    **{"labelled": 10, "unlabelled": 10, "mean_length": 18, "vocabulary": 10_000, "length": 80},
    **{"tags": 17, "embedding": 100, "hidden": 100, "character_embedding": 50, "latent": 50},
    **{"character_hidden": 100, "tag_latent": 25, "decoder_hidden": 100, "characters": 120},
}
WIDTH = 30  # characters of a word, at most
HYPER = {"kl_weight": 0.5, "labelled_weight": 1.0, "unlabelled_weight": 0.1, "learning_rate": 1e-3}


def batch_size(args: argparse.Namespace, system: str) -> int:
    return args.labelled + (args.unlabelled if system != "bigru" else 0)


def corpus(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Sentences of all batches, one after the other, `[batches * (labelled + unlabelled), t]`."""
    rng, n = np.random.default_rng(0), args.batches * (args.labelled + args.unlabelled)
    lengths = np.exp(rng.normal(np.log(args.mean_length) - 0.18, 0.6, n)).round()
    lengths = np.clip(lengths, 1, args.length).astype(int)
    ids = np.exp(rng.uniform(np.log(2), np.log(args.vocabulary), (n, args.length))).astype(int)
    ids = np.minimum(ids, args.vocabulary - 1) * (np.arange(args.length) < lengths[:, None])
    widths = np.clip(rng.poisson(4.5, args.vocabulary) + 1, 1, WIDTH)
    spellings = rng.integers(1, args.characters, (args.vocabulary, WIDTH))
    spellings = spellings * (np.arange(WIDTH) < widths[:, None])
    labels = rng.integers(0, args.tags, ids.shape) * (ids > 0)
    return {
        "ids": ids.astype(np.int32),
        "spellings": spellings.astype(np.int16),
        "labels": labels.astype(np.int32),
        "start": np.arange(n) * args.length,
    }


def build(args: argparse.Namespace, system: str) -> VSL:
    names = ("embedding", "hidden", "character_embedding", "character_hidden")
    sizes = {name: getattr(args, name) for name in names}
    dtype = DTYPES[args.dtype]
    encoder = TokenEncoder(args.vocabulary, args.characters, **sizes, packed=True, dtype=dtype)
    names = ("latent", "tag_latent", "decoder_hidden")
    n = len(corpus(args)["ids"])
    fields = {"sentences": n, "tokens": n * args.length, "dtype": dtype}
    return VSL(encoder, args.tags, system, **{k: getattr(args, k) for k in names}, **fields)


def variables(args: argparse.Namespace, system: str) -> Any:
    rows = {"ids": np.ones((2, 2), np.int32), "characters": np.ones((2, 2, 2), np.int32)}
    init = partial(build(args, system).init, method="initialise")
    return jax.jit(lambda: init(jax.random.key(0), rows))()


def token_plan(args: argparse.Namespace, system: str) -> tuple[TokenPlan, int]:
    """The batches in the corpus's order, and how many real tokens they have."""
    data, n = corpus(args), args.labelled
    both = n + args.unlabelled
    sizes = {"labelled": (0, n), "unlabelled": (n, args.unlabelled)}
    if system == "bigru":
        del sizes["unlabelled"]

    def rows(start: int, count: int) -> Any:
        found = {}
        for group, (first, size) in sizes.items():
            plain = PretrainingPlan(group, size, size, 0, 0)(start, count)[group]
            index = np.array(
                [first + np.arange(size) + i * both for i in range(start, start + count)]
            )
            found[group] = {
                **plain,
                "index": index,
                "sentence": index,
                "start": data["start"][index],
            }
        return found

    lengths = (data["ids"] > 0).sum(1)
    tokens = most_tokens(rows, lengths, steps=args.batches, parts=len(jax.devices()))
    arrays = data["ids"], data["ids"], data["spellings"]
    plan = TokenPlan(rows, *arrays, {"labels": data["labels"]}, tokens, len(jax.devices()))
    used = [rows(0, args.batches)[group]["index"] for group in sizes]
    return plan, int(sum(lengths[index].sum() for index in used))


def our_loss(args: argparse.Namespace, system: str) -> float:
    """Of the first batch, with draws of zeros."""
    plan, _ = token_plan(args, system)
    batch = {g: {k: jnp.asarray(x[0]) for k, x in rows.items()} for g, rows in plan(0, 1).items()}
    found: Any = build(args, system).apply(
        variables(args, system),
        batch,
        hyper=HYPER,
        noise=lambda name, row, shape, draw=None: jnp.zeros((len(row), *shape)),
        train=True,
        method="objective",
        mutable=["batch_stats"],
    )
    return float(sum(terms["loss"].mean() for terms in found[0].values()))


def our_step(args: argparse.Namespace, system: str) -> dict[str, Any]:
    parallel, optimizer = Parallel(), adam(clip=10.0)
    model = build(args, system).clone(axis_name=parallel.axis_name)
    run = make_run(make_step(make_objective(model), optimizer, axis_name=parallel.axis_name))
    state = stack([create_state(variables(args, system), optimizer, seed=0, hyper=HYPER)])
    plan, tokens = token_plan(args, system)
    batches = parallel.lay_out(stack_plans([{"tags": plan(0, args.batches)}]))
    data = {"tags": dict.fromkeys(plan(0, 1), {})}
    state = parallel.place(state, 1)
    compiled = parallel.compile(run, state, data, batches)

    def train() -> None:
        nonlocal state
        state, _ = compiled(state, data, batches)
        jax.block_until_ready(state)

    return per_token(steps.timed(train, args.batches), tokens / args.batches)


def make_peer(args: argparse.Namespace, system: str) -> tuple[Any, list[Any]]:
    import torch

    from benchmarks.peers.vsl import TaggerPeer

    torch.set_num_threads(steps.cores())
    data, both = corpus(args), args.labelled + args.unlabelled
    sizes = argparse.Namespace(
        **vars(args), kl_weight=HYPER["kl_weight"], sentences=len(data["ids"])
    )
    peer = TaggerPeer(sizes, latents=system != "bigru")
    peer.load(jax.device_get(variables(args, system))["params"])
    place = data["start"][:, None] + np.arange(args.length)
    whole = {"ids": data["ids"], "labels": data["labels"], "place": place}
    whole["characters"] = data["spellings"][data["ids"]] * (data["ids"] > 0)[..., None]
    batches = []
    for i in range(args.batches):
        of_step = {k: x[i * both : (i + 1) * both] for k, x in whole.items()}
        longest = int((of_step["ids"] > 0).sum(1).max())
        cut = {k: x[:, :longest].astype(np.int64) for k, x in of_step.items()}
        batches.append({k: torch.from_numpy(x) for k, x in cut.items()})
    return peer, batches


def check(args: argparse.Namespace, system: str) -> dict[str, float]:
    """The losses of both, which must agree."""
    import torch

    peer, batches = make_peer(args, system)
    noise = {name: torch.zeros(1, 1) for name in "yz"}
    with autocast(args):
        theirs = float(peer.module.loss(batches[0], noise, peer.store).detach())
    return agree(args, system, ours=our_loss(args, system), theirs=theirs)


def peer_step(args: argparse.Namespace, system: str) -> dict[str, Any]:
    peer, batches = make_peer(args, system)
    with autocast(args):
        found = steps.timed(lambda: [peer.step(batch) for batch in batches], args.batches)
    return per_token(found, token_plan(args, system)[1] / args.batches)


if __name__ == "__main__":
    against_torch.main(
        __file__,
        __doc__.split("\n\n", 1)[0],
        "bigru,vsl-gg-hier",
        SIZES,
        ours=our_step,
        theirs=peer_step,
        check=check,
    )
