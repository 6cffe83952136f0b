"""Documents through a BERT checkpoint: our encoder beside torch's, on the same cores.

    python benchmarks/encode.py --checkpoint=DIR [--documents=1000] [--length=128] [--shortest=128]
        [--batch=16,32] [--rounds=1] [--out=FILE.json]

Documents are random ids of lengths from --shortest to --length, sorted by length, in batches padded
to a multiple of 16. Each system runs in processes of its own, by turns, --rounds times, with every
size of --batch: its best size and round count. Seconds are without loading and compiling; peak
memory is that of the process; CPU seconds say more than seconds where the machine is shared.

Measured on 2026-11-22 on two cores of an Intel Xeon (AVX-512), otherwise idle (JAX 0.10.2, torch
2.13.0), with multilingual-e5-small (12 layers of 384, 449 MiB): --documents=256 --rounds=2 takes
7.1 s and torch 6.6 s, hence 0.93 times as fast; peak memory 1085 MiB and 946 MiB. With
--documents=320 --shortest=8 --rounds=2: 5.2 s and 5.1 s, 0.97 times. Before attention's products
stood alone the first took 10.3 s. On two shared cores of an AMD EPYC (AVX2) the day before, 1000
documents took 110.8 s and torch 124.2 s. What is left on the Intel: 51 of 68 ms of a layer are
matrix products (32 documents), which torch's library does in 45.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.processes import by_turns

SYSTEMS = ("jaxsdgm", "torch")
BUCKET = 16

Batch = tuple[np.ndarray, np.ndarray]  # ids [b, t], lengths [b]


def batches(args: argparse.Namespace, size: int, vocab_size: int) -> Iterator[Batch]:
    """Batches of `size`, shortest documents first; the last is filled up with its own rows."""
    rng = np.random.default_rng(0)
    lengths = np.sort(rng.integers(args.shortest, args.length + 1, args.documents))
    for start in range(0, args.documents, size):
        part = np.resize(lengths[start : start + size], size).astype(np.int32)
        width = -(-part.max() // BUCKET) * BUCKET
        ids = rng.integers(5, vocab_size, (size, width)).astype(np.int32)
        yield np.where(np.arange(width) < part[:, None], ids, 1), part


def jax_encoder(folder: str) -> tuple[Callable[[Batch], np.ndarray], int]:
    """A function from a batch to mean-pooled states `[b, d]`, and the size of the vocabulary."""
    import jax

    from jaxsdgm.layers.bert import BertEncoder
    from jaxsdgm.weights.huggingface import load_weights, read_size

    size = read_size(folder)
    encoder, params = BertEncoder(size), jax.device_put(load_weights(folder, size))

    @jax.jit
    def encode(params: Any, ids: jax.Array, lengths: jax.Array) -> jax.Array:
        bound = encoder.bind({"params": params})
        hidden = bound(ids, lengths, np.arange(ids.shape[0]), train=False)
        return bound.pool(hidden, lengths, "mean")

    return lambda batch: np.asarray(encode(params, *batch)), size.vocab_size


def torch_encoder(folder: str) -> tuple[Callable[[Batch], np.ndarray], int]:
    """The same through transformers' model with its fastest attention."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    model.eval()

    @torch.inference_mode()
    def encode(batch: Batch) -> np.ndarray:
        ids, lengths = map(torch.from_numpy, batch)
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        hidden = model(ids.long(), attention_mask=mask).last_hidden_state
        return ((hidden * mask[..., None]).sum(1) / lengths[:, None]).numpy()

    return encode, model.config.vocab_size


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One system in this process: seconds, peak memory and a checksum of the result."""
    make = {"jaxsdgm": jax_encoder, "torch": torch_encoder}[args.system]
    encode, vocab_size = make(args.checkpoint)
    seconds = {}
    for size in map(int, args.batch.split(",")):
        work = list(batches(args, size, vocab_size))
        for batch in {ids.shape: (ids, lengths) for ids, lengths in work}.values():
            encode(batch)  # compiles, and warms up
        wall, cpu = time.perf_counter(), time.process_time()
        vectors = np.concatenate([encode(batch) for batch in work])
        seconds[size] = time.perf_counter() - wall, time.process_time() - cpu
    wall, cpu = min(seconds.values())
    return {
        "seconds": wall,
        "cpu_seconds": cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "mean_absolute": float(np.abs(vectors).mean()),
        **{f"seconds_{size}": wall for size, (wall, _) in seconds.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--shortest", type=int, default=128)
    parser.add_argument("--batch", default="16,32", help="sizes")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out")
    parser.add_argument("--system", choices=SYSTEMS, help="measure this one alone, print JSON")
    args = parser.parse_args()
    if args.system:
        print(json.dumps(measure(args)))
        return
    results: dict[str, Any] = by_turns(__file__, sys.argv[1:], SYSTEMS, rounds=args.rounds)
    for kind in ("seconds", "cpu_seconds"):
        results[f"ratio_{kind}"] = results["torch"][kind] / results["jaxsdgm"][kind]
    for system in SYSTEMS:
        r = results[system]
        print(
            f"{system:8s} {r['seconds']:.1f} s, {r['cpu_seconds']:.1f} CPU s, "
            f"peak {r['peak_mib']:.0f} MiB"
        )
    print(
        f"ours is {results['ratio_seconds']:.2f} times as fast as torch "
        f"({results['ratio_cpu_seconds']:.2f} by CPU time)"
    )
    if args.out:
        with open(args.out, "w", encoding="utf-8") as stream:
            json.dump(results, stream, indent=1)


if __name__ == "__main__":
    main()
