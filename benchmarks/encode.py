"""Documents through a BERT checkpoint: our frozen encoder beside torch's, on the same cores.

    python benchmarks/encode.py --checkpoint=DIR [--documents=1000] [--length=128] [--shortest=128]
        [--batch=16,32] [--rounds=1] [--out=FILE.json]

Documents are random ids of lengths from --shortest to --length, mean-pooled. Ours go the way of
`config.encoder.trainable=False`, without its file cache, in batches of its choosing; torch's are
sorted by length, in batches of each size of --batch padded to a multiple of 16. Each system runs in
processes of its own, by turns, --rounds times; torch's best size and each one's best round count.
Seconds are without loading and compiling; peak memory is that of the process; CPU seconds say more
than seconds where the machine is shared.

Measured on 2026-11-22 on two cores of an Intel Xeon (AVX-512), otherwise idle (JAX 0.10.2, torch
2.13.0), with multilingual-e5-small (12 layers of 384, 449 MiB): --rounds=2 --batch=16,32,64 takes
23.2 s and torch 24.5 s (with 32), hence 1.05 times as fast; peak memory 966 MiB and 1194 MiB. With
--documents=640 --shortest=8 --rounds=2: 9.1 s and 10.7 s, 1.17 times. That was before all processes
asked for pages of 2 MiB; since then --batch=32 takes 23.5 s and torch 26.7 s, 1.14 times, peaks 967
and 953 MiB. A layer is 80% products, which torch's library does at 320 GFLOP/s and XLA's at 285.
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

SYSTEMS = ("jaxsdgm", "torch")
BUCKET = 16

Documents = tuple[np.ndarray, np.ndarray]  # ids [n, t], lengths [n]
Encode = Callable[[Documents], np.ndarray]  # to mean-pooled states [n, d]


def documents(args: argparse.Namespace, vocab_size: int) -> Documents:
    """Random ids, shortest documents first, 1 where they have ended."""
    rng = np.random.default_rng(0)
    lengths = np.sort(rng.integers(args.shortest, args.length + 1, args.documents)).astype(np.int32)
    ids = rng.integers(5, vocab_size, (args.documents, args.length)).astype(np.int32)
    return np.where(np.arange(args.length) < lengths[:, None], ids, 1), lengths


def ours(args: argparse.Namespace) -> tuple[dict[str, Encode], int]:
    """The encoder by the name of its batches, and the size of the vocabulary."""
    from jaxsdgm.experiments.features import (
        in_buckets,
        make_apply,
        on_device,
        transformer_tokens,
    )
    from jaxsdgm.layers.encoders import TransformerEncoder
    from jaxsdgm.weights.huggingface import load_weights, read_size

    size = read_size(args.checkpoint)
    model = TransformerEncoder(size, pooling="mean")
    weights = load_weights(args.checkpoint, size, on_device)
    apply = make_apply(model, {"params": {"bert": weights}}, "en")
    limits = {"limit": args.length, "tokens": transformer_tokens()}
    return {"own": lambda x: in_buckets(apply, *x, **limits)}, size.vocab_size


def theirs(args: argparse.Namespace) -> tuple[dict[str, Encode], int]:
    """The same through transformers' model with its fastest attention."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(
        args.checkpoint, dtype=torch.float32, attn_implementation="sdpa"
    )
    model.eval()

    @torch.inference_mode()
    def encode(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        width = -(-lengths.max() // BUCKET) * BUCKET
        tokens, counts = torch.from_numpy(ids[:, :width]).long(), torch.from_numpy(lengths)
        mask = (torch.arange(tokens.shape[1]) < counts[:, None]).long()
        hidden = model(tokens, attention_mask=mask).last_hidden_state
        return ((hidden * mask[..., None]).sum(1) / counts[:, None]).numpy()

    def in_batches(size: int) -> Encode:
        parts = lambda x: [slice(i, i + size) for i in range(0, len(x[1]), size)]
        return lambda x: np.concatenate([encode(x[0][rows], x[1][rows]) for rows in parts(x)])

    sizes = map(int, args.batch.split(","))
    return {str(size): in_batches(size) for size in sizes}, model.config.vocab_size


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One system in this process: seconds, peak memory and a checksum of the result."""
    ways, vocab_size = {"jaxsdgm": ours, "torch": theirs}[args.system](args)
    work, seconds = documents(args, vocab_size), {}
    for name, encode in ways.items():
        for width in range(BUCKET, args.length + BUCKET, BUCKET):  # compiles, and warms up
            last = np.searchsorted(work[1], width, "right")
            if last:
                encode((work[0][last - 1 : last], work[1][last - 1 : last]))
        wall, cpu = time.perf_counter(), time.process_time()
        vectors = encode(work)
        seconds[name] = time.perf_counter() - wall, time.process_time() - cpu
    wall, cpu = min(seconds.values())
    return {
        "seconds": wall,
        "cpu_seconds": cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "mean_absolute": float(np.abs(vectors).mean()),
        **{f"seconds_{name}": wall for name, (wall, _) in seconds.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--shortest", type=int, default=128)
    parser.add_argument("--batch", default="16,32", help="torch's sizes")
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
