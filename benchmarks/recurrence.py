"""A training step of the BiLSTM: our back ends beside torch's packed LSTM, on the same cores.

    python benchmarks/recurrence.py [--documents=500] [--length=200] [--width=300] [--hidden=600]
        [--layers=2] [--rounds=2] [--systems=packed,scan,torch] [--out=FILE.json]

Documents have lengths like news: log-normal around 0.6 of --length, cut there. A step is the
gradient of the mean squared output with respect to inputs and weights, in float32. All systems have
the same weights and inputs and must find the same loss. Each runs in processes of its own, by
turns; the best round counts. Peak memory is that of the process.

Measured 2026-11-21 on two cores (AMD EPYC, AVX2; JAX 0.10.2, torch 2.13.0) with --documents=40
--rounds=1: packed 5.3 s and 1.3 GiB, scan 8.1 s and 1.0 GiB, torch 24.1 s and 0.9 GiB; torch takes
4.6 times as long as packed. packed alone with 500 documents: 66.4 s and 6.0 GiB of the process.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.processes import by_turns

SYSTEMS = ("packed", "scan", "torch")


def problem(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, list[Any]]:
    """Inputs `[b, t, d]`, lengths `[b]` (longest first), and a layer's parameters each."""
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(np.log(0.6 * args.length), 0.5, args.documents)
    lengths = np.sort(np.clip(lengths, 5, args.length).astype(np.int32))[::-1].copy()
    x = rng.normal(size=(args.documents, int(lengths[0]), args.width)).astype(np.float32)
    layers, d, h = [], args.width, args.hidden
    for _ in range(args.layers):
        shapes = {"kernel_in": (2, d, 4 * h), "kernel_hidden": (2, h, 4 * h)}
        shapes |= {"bias_in": (2, 4 * h), "bias_hidden": (2, 4 * h)}
        draw = lambda shape: rng.uniform(-1, 1, shape).astype(np.float32) / h**0.5
        layers.append({name: draw(shape) for name, shape in shapes.items()})
        d = 2 * h
    return x, lengths, layers


def jax_step(args: argparse.Namespace) -> Callable[[], float]:
    """A function that makes one step of ours and gives the loss."""
    import jax
    import jax.numpy as jnp

    from jaxsdgm.layers.recurrent import BiLSTM

    x, lengths, layers = problem(args)
    lstm = BiLSTM(args.hidden, args.layers, backend=args.system)
    params = {f"layer_{i}": layer for i, layer in enumerate(layers)}
    params, x = jax.device_put((params, x))

    @jax.jit
    def step(params: Any, x: jax.Array) -> Any:
        def loss(params: Any, x: jax.Array) -> jax.Array:
            row = jnp.arange(len(x))
            outputs = lstm.apply({"params": params}, x, lengths, row, train=False)[0]
            return (outputs**2).sum() / lengths.sum()

        return jax.value_and_grad(loss, argnums=(0, 1))(params, x)

    return lambda: float(jax.block_until_ready(step(params, x))[0])


def torch_step(args: argparse.Namespace) -> Callable[[], float]:
    """The same by torch.nn.LSTM over packed sequences."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    x, lengths, layers = problem(args)
    lstm = torch.nn.LSTM(args.width, args.hidden, args.layers, bidirectional=True, batch_first=True)
    names = {"kernel_in": "weight_ih", "kernel_hidden": "weight_hh"}
    names |= {"bias_in": "bias_ih", "bias_hidden": "bias_hh"}
    for i, layer in enumerate(layers):
        for ours, theirs in names.items():
            for direction, suffix in enumerate(("", "_reverse")):
                value = torch.from_numpy(np.ascontiguousarray(layer[ours][direction].T))
                getattr(lstm, f"{theirs}_l{i}{suffix}").data.copy_(value)
    inputs, counts = torch.from_numpy(x).requires_grad_(), torch.from_numpy(lengths).long()

    def step() -> float:
        lstm.zero_grad()
        inputs.grad = None
        outputs = lstm(pack_padded_sequence(inputs, counts, batch_first=True))[0].data
        loss = (outputs**2).sum() / int(lengths.sum())
        loss.backward()
        return loss.item()

    return step


def measure(args: argparse.Namespace) -> dict[str, float]:
    """One system in this process: the loss, seconds of the second step, peak memory."""
    step = torch_step(args) if args.system == "torch" else jax_step(args)
    loss = step()  # compiles, and warms up
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return {
        "loss": loss,
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    for name, value in {"documents": 500, "length": 200, "width": 300, "hidden": 600}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--out")
    parser.add_argument("--system", choices=SYSTEMS, help="measure this one alone, print JSON")
    args = parser.parse_args()
    if args.system:
        print(json.dumps(measure(args)))
        return
    systems = args.systems.split(",")
    results = by_turns(__file__, sys.argv[1:], systems, rounds=args.rounds)
    losses = [result["loss"] for result in results.values()]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)
    first = next(iter(results.values()))
    for system, r in results.items():
        print(
            f"{system:8s} {r['seconds']:.1f} s, {r['cpu_seconds']:.1f} CPU s, peak "
            f"{r['peak_gib']:.1f} GiB, {r['cpu_seconds'] / first['cpu_seconds']:.2f} of the first"
        )
    if args.out:
        Path(args.out).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
