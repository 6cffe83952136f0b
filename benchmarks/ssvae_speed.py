"""Seconds a step of SSVAE, its simplifications and the supervised classifier, beside torch's.

    python benchmarks/ssvae_speed.py [--systems=ssvae,ssvae-kl,ssvae-z,ssvae-kl-z,ssvae-sup]
        [--labelled=32] [--unlabelled=32] [--length=63] [--mean-length=38] [--vocabulary=10003]
        [--decoder-hidden=200] ... [--trials=5] [--batches=8] [--rounds=2]
        [--dtype=float32|bfloat16] [--no-peer] [--out=FILE]

Sizes are the paper's for AG News (its Table 3). Only the update is timed, evaluations are not. With
the same weights and noise and without dropout ours and the peer (benchmarks/peers/ssvae.py) must
find the same loss first. Every system runs in processes of its own, by turns, and the best round
counts. A step sees the same documents again; its tokens are the words that there are to decode.
--trials adds one program that trains so many trials of each generative system side by side.
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
from benchmarks.processes import by_turns
from jaxsdgm.data.batches import SemiSupervisedPlan
from jaxsdgm.experiments.setup import DTYPES, make_objective
from jaxsdgm.experiments.ssvae import PARTS
from jaxsdgm.layers.encoders import TextEncoder
from jaxsdgm.models.ssvae import HYPERPARAMETERS, SSVAE
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.state import adam, create_state
from jaxsdgm.training.step import make_run, make_step
from jaxsdgm.training.trials import stack, stack_plans

SIZES = {
    **{"labelled": 32, "unlabelled": 32, "length": 63, "mean_length": 38, "vocabulary": 10_003},
    **{"classes": 4, "embedding": 300, "hidden": 100, "latent": 32, "label_embedding": 32},
    **{"decoder_hidden": 200, "trials": 0},
}
TOGETHER = "together"  # the program of all generative systems
GENERATIVE = tuple(name for name in PARTS if name != "ssvae-sup")
B2 = 0.99


def build(args: argparse.Namespace, system: str, dropout: float) -> SSVAE:
    sizes = {"en": args.vocabulary}
    dtype = DTYPES[args.dtype]
    widths = args.embedding, args.hidden, 1
    encoder = TextEncoder(sizes, *widths, dropout, backend="packed", dtype=dtype)
    fields = {name: getattr(args, name) for name in ("latent", "label_embedding", "decoder_hidden")}
    fields |= {"decoder_dropout": dropout, "dtype": dtype, **PARTS[system]}
    return SSVAE(encoder, args.classes, args.vocabulary, **fields)


def documents(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Lengths as in the paper's Table 1, a normal distribution of deviation 10; Zipf's words."""
    rng, n = np.random.default_rng(0), args.labelled + args.unlabelled
    lengths = np.clip(rng.normal(args.mean_length, 10, n).round(), 3, args.length).astype(np.int32)
    ids = np.exp(rng.uniform(np.log(2), np.log(args.vocabulary), (n, args.length)))
    ids = np.minimum(ids, args.vocabulary - 1) * (np.arange(args.length) < lengths[:, None])
    labels = rng.integers(0, args.classes, n)
    return {"ids": ids.astype(np.int32), "lengths": lengths, "labels": labels.astype(np.int32)}


def draws(args: argparse.Namespace) -> dict[str, np.ndarray]:
    rng, n = np.random.default_rng(1), args.labelled + args.unlabelled
    gumbel = rng.gumbel(size=(args.unlabelled, args.classes))
    return {"y": gumbel.astype(np.float32), "z": rng.normal(size=(n, args.latent)).astype("f")}


HYPER = {**dict.fromkeys(HYPERPARAMETERS, 1.0), "learning_rate": 4e-3}


def variables(args: argparse.Namespace, system: str) -> Any:
    model, some = build(args, system, 0.0), documents(args)
    rows = {name: some[name][:2] for name in ("ids", "lengths")}
    init = partial(model.init, method="initialise", languages=("en",))
    return jax.jit(lambda: init(jax.random.key(0), rows))()


# -- ours ----------------------------------------------------------------------------------------


def our_loss(args: argparse.Namespace, system: str) -> float:
    rows, n, recorded = documents(args), args.labelled, draws(args)
    number = lambda x, first: {
        "row": first + np.arange(len(x["ids"])),
        "mask": np.ones(len(x["ids"])),
    }
    known = {name: x[:n] for name, x in rows.items()}
    other = {name: x[n:] for name, x in rows.items() if name != "labels"}
    batch = {"labelled": known | number(known, 0), "unlabelled": other | number(other, n)}
    noise = lambda name, row, shape, draw=None: jnp.asarray(recorded[name])
    found: Any = build(args, system, 0.0).apply(
        variables(args, system),
        batch,
        language="en",
        hyper=HYPER,
        noise=noise,
        train=True,
        method="objective",
    )
    return float(sum(terms["loss"].mean() for terms in found.values()))


def parts(args: argparse.Namespace, system: str, trials: int) -> tuple[Any, Any, Any]:
    """`run(state, data, plan)`, states and plans `[T, ...]` of a system."""
    parallel = Parallel()
    optimizer = adam(b2=B2)
    model = build(args, system, 0.5).clone(axis_name=parallel.axis_name)
    run = make_run(make_step(make_objective(model), optimizer, axis_name=parallel.axis_name))
    first = variables(args, system)
    make = lambda seed: create_state(first, optimizer, seed=seed, hyper=HYPER)
    n, labels = args.labelled, documents(args)["labels"]
    rest = np.arange(n, n + args.unlabelled if system in GENERATIVE else n)
    sizes = {"batch_size": n, "unlabelled_size": args.unlabelled}
    plan = lambda seed: SemiSupervisedPlan(np.arange(n), labels[:n], rest, **sizes, seed=seed)
    plans = stack_plans([{"en": plan(seed)(0, args.batches)} for seed in range(trials)])
    return run, stack([make(seed) for seed in range(trials)]), plans


def tokens(args: argparse.Namespace, system: str) -> int:
    """Words of a step's documents; the supervised classifier has the labelled ones only."""
    n = args.labelled + (args.unlabelled if system != "ssvae-sup" else 0)
    return int(documents(args)["lengths"][:n].sum())


def our_step(args: argparse.Namespace, system: str) -> dict[str, Any]:
    """Of one system, or of all generative ones with their trials in one program."""
    parallel, data = Parallel(), {"en": dict.fromkeys(("labelled", "unlabelled"), documents(args))}
    together = system == TOGETHER
    systems, trials = (GENERATIVE, args.trials) if together else ((system,), 1)
    runs, states, plans = zip(*(parts(args, s, trials) for s in systems), strict=True)

    def run(state: Any, data: Any, plan: Any) -> Any:
        return zip(*(r(s, data, p) for r, s, p in zip(runs, state, plan, strict=True)), strict=True)

    state, plan = parallel.place(states, trials), parallel.lay_out(list(plans))
    data = parallel.replicate(data)
    compiled = parallel.compile(lambda *x: tuple(run(*x)), state, data, plan)

    def train() -> None:
        nonlocal state
        state, _ = compiled(state, data, plan)
        jax.block_until_ready(state)

    found = steps.timed(train, args.batches) | {"peak_gib": steps.peak_gib()}
    return per_token(found, trials * sum(tokens(args, s) for s in systems))


# -- torch's -------------------------------------------------------------------------------------


def make_peer(args: argparse.Namespace, system: str, dropout: float) -> tuple[Any, Any]:
    import torch

    from benchmarks.peers.ssvae import SSVAEPeer

    torch.set_num_threads(steps.cores())
    left_out = {"latent": args.latent, "divergence": True, "generative": True} | PARTS[system]
    sizes = argparse.Namespace(**vars(args), dropout=dropout, temperature=1.0, kl_weight=1.0)
    peer = SSVAEPeer(sizes, **{name: bool(x) for name, x in left_out.items()})
    peer.load(jax.device_get(variables(args, system))["params"])
    batch = {name: torch.from_numpy(x).long() for name, x in documents(args).items()}
    return peer, batch


def check(args: argparse.Namespace, system: str) -> dict[str, float]:
    """The losses of both, which must agree."""
    import torch

    peer, batch = make_peer(args, system, 0.0)
    noise = {name: torch.from_numpy(x) for name, x in draws(args).items()}
    with autocast(args):
        theirs = float(peer.module.loss(batch, noise, args.labelled).detach())
    return agree(args, system, ours=our_loss(args, system), theirs=theirs)


def peer_step(args: argparse.Namespace, system: str) -> dict[str, Any]:
    peer, batch = make_peer(args, system, 0.5)
    run = lambda: [peer.step(batch, args.labelled) for _ in range(args.batches)]
    with autocast(args):
        found = steps.timed(run, args.batches) | {"peak_gib": steps.peak_gib()}
    return per_token(found, tokens(args, system))


def compare(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """The systems beside SSVAE, and all trials in one program beside one after the other."""
    seconds = {row["system"]: row["seconds"] for row in rows}
    if "ssvae" in seconds:
        for row in rows:
            row["of_ssvae"] = row["seconds"] / seconds["ssvae"]
            print(f"{row['system']:12s} {row['of_ssvae']:.2f} of SSVAE's seconds")
    if args.trials:
        name = f"ours {TOGETHER}"
        one = by_turns(__file__, sys.argv[1:], [name], rounds=args.rounds)[name]
        alone = args.trials * sum(seconds[s] for s in GENERATIVE if s in seconds)
        print(
            f"{args.trials} trials of each of {len(GENERATIVE)} in one program: "
            f"{one['seconds']:.3f} s a step of all; one after the other {alone:.3f} s"
        )
        rows.append({"system": TOGETHER, "trials": args.trials, **one, "one_by_one": alone})


if __name__ == "__main__":
    against_torch.main(
        __file__,
        __doc__.split("\n\n", 1)[0],
        ",".join(PARTS),
        SIZES,
        ours=our_step,
        theirs=peer_step,
        check=check,
        more=compare,
    )
