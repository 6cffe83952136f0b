"""A training step beside its torch peers, and beside the least that it could take.

    python benchmarks/train_step.py [--task=bow|gru|nxvae|mbert] [--systems=ours,strong,published]
        [--labelled=16] [--unlabelled=484] [--length=200] [--vocabulary=40002] [--hidden=600] ...
        [--dropout=0.2] [--steps=1] [--rounds=1] [--dtype=float32|bfloat16] [--compile] [--out=FILE]

Sizes are those of benchmarks/steps.py, peers those of benchmarks/peers. Before anything is timed
all systems must find the same loss on the same weights and noise without dropout; "published",
whose BatchNorm statistics are those of 16 documents, is compared with ours on such chunks. Then
each system trains in processes of its own, by turns, with dropout and fresh noise: forward,
backward and Adam. Ours is the engine's compiled scan over --steps steps. The best round counts, and
peak memory is that of the process, or on a GPU of its device. The floor is that of
benchmarks/floor.py, measured in our processes.

On a GPU float32 products have the same --precision in all systems. bfloat16 is for ours and
"strong" (by autocast), as is --compile (torch.compile) for "strong"; "published" stays as it was.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import steps
from benchmarks.floor import floor
from benchmarks.processes import by_turns

TASKS = ("bow", "gru", "nxvae", "mbert")
SYSTEMS = ("ours", "strong", "published")
CHUNK = 16  # of "published"
TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-2}  # of losses, relative


# -- ours ------------------------------------------------------------------------------------------


def our_losses(args: argparse.Namespace) -> dict[str, float]:
    """By language, with the statistics of the whole batch, and of chunks where these are asked."""
    steps.configure(args)
    found = {f"loss_{k}": x for k, x in steps.losses(args).items()}
    if "published" in systems_of(args):
        chunked = steps.losses(args, chunk=CHUNK)
        found |= {f"chunked_loss_{k}": x for k, x in chunked.items()}
    return found


def our_step(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds, memory and floor of ours."""
    steps.configure(args)
    training = steps.Training(args)
    found = steps.timed(training.run, args.steps) | {"peak_gib": steps.peak_gib()}
    found |= {"compile_seconds": training.compile_seconds, "device": steps.device_kind()}
    del training
    params = jax.eval_shape(partial(steps.variables, args))["params"]
    return found | floor(args, params)


# -- peers -----------------------------------------------------------------------------------------


def torch_device(args: argparse.Namespace) -> str:
    """Where torch computes; its threads and precision are set too, and jax keeps to the CPU."""
    import torch

    jax.config.update("jax_platforms", "cpu")
    torch.set_num_threads(steps.cores())
    if args.device == "cpu" or not torch.cuda.is_available():
        return "cpu"
    reduced = args.precision == "tensorfloat32"
    torch.set_float32_matmul_precision("high" if reduced else "highest")
    torch.backends.cudnn.allow_tf32 = reduced
    return "cuda"


def make_peer(args: argparse.Namespace, device: str) -> Any:
    """The peer of `args.system`, with our first weights."""
    from benchmarks.peers import Sizes, make_bert_step, make_m1m2, make_nxvae

    kind, strong = args.system, args.system == "strong"
    options = {"compile": args.compile, "autocast": args.dtype == "bfloat16"} if strong else {}
    names = ("embedding", "hidden", "layers", "latent", "classes", "classifier_hidden", "dropout")
    if args.task == "mbert":
        peer = make_bert_step(bert_config(args), device, **options)
    else:
        gru = {"gru_inputs": steps.GRU["inputs"], "gru_hidden": steps.GRU["hidden"]}
        sizes = Sizes(
            steps.vocabularies(args),
            **{name: getattr(args, name) for name in names},
            **gru,
            discriminator_hidden=steps.DISCRIMINATOR,
            kl_weight=steps.KL_WEIGHT,
            unlabelled_chunk=CHUNK,
        )
        nxvae = args.task == "nxvae"
        make = partial(make_nxvae, kind) if nxvae else partial(make_m1m2, kind, decoder=args.task)
        peer = make(sizes=sizes, device=device, **options)
    first = jax.device_get(jax.jit(partial(steps.variables, args))())
    peer.load(first["params"], first["batch_stats"])
    return peer


def bert_config(args: argparse.Namespace) -> dict[str, Any]:
    """What `make_bert_step` wants to know."""
    size = steps.bert_size(args)
    shape = {"vocab_size": size.vocab_size, "hidden_size": size.hidden}
    shape |= {"num_hidden_layers": size.layers, "num_attention_heads": size.heads}
    shape |= {"intermediate_size": size.intermediate, "max_position_embeddings": size.positions}
    shape |= {"hidden_dropout_prob": size.dropout}
    shape |= {"attention_probs_dropout_prob": size.attention_dropout}
    names = ("latent", "classes", "classifier_hidden")
    sizes = {name: getattr(args, name) for name in names}
    return {"bert": shape, **sizes, "checkpointing": bool(args.remat)}


def torch_batch(args: argparse.Namespace, device: str) -> Any:
    """The documents as a peer takes them: {group or language: tensors}, lengths on the CPU."""
    import torch

    tensor = lambda name, x: torch.from_numpy(x).long().to("cpu" if name == "lengths" else device)
    tensors = lambda rows: {name: tensor(name, x) for name, x in rows.items()}
    documents = steps.corpus(args)
    batch = documents if args.task == "nxvae" else steps.groups(args, documents["en"])
    return {name: tensors(rows) for name, rows in batch.items()}


def peer_losses(args: argparse.Namespace) -> dict[str, float]:
    """The peer's losses by language, on the noise of `steps.noise`."""
    import torch

    device, args.dropout = torch_device(args), 0.0
    peer, batch = make_peer(args, device), torch_batch(args, device)
    draws = {
        language: {name: torch.from_numpy(x).to(device) for name, x in of_one.items()}
        for language, of_one in steps.noise(args).items()
    }
    if args.task == "nxvae":
        found = peer.loss(batch, {language: x["z"] for language, x in draws.items()})
    else:
        found = {"en": peer.loss(batch, draws["en"], steps.label_weight(args))}
    return {f"loss_{language}": x for language, x in found.items()}


def peer_step(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds and memory of a peer."""
    import torch

    device = torch_device(args)
    peer, batch = make_peer(args, device), torch_batch(args, device)
    alpha = () if args.task == "nxvae" else (steps.label_weight(args),)

    def run() -> None:
        for _ in range(args.steps):
            peer.step(batch, None, *alpha)
        if device == "cuda":
            torch.cuda.synchronize()

    found: dict[str, Any] = steps.timed(run, args.steps)
    if device == "cpu":
        return {**found, "peak_gib": steps.peak_gib(), "device": "cpu"}
    found["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return {**found, "device": torch.cuda.get_device_name()}


# -- all -------------------------------------------------------------------------------------------


def systems_of(args: argparse.Namespace) -> list[str]:
    """What is measured; there is no published code that fine-tunes a transformer."""
    known = [s for s in SYSTEMS if args.task != "mbert" or s != "published"]
    systems = args.systems.split(",") if args.systems else known
    if unknown := set(systems) - set(known):
        raise SystemExit(f"no system {', '.join(sorted(unknown))}; use some of {', '.join(known)}")
    return systems


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One system in this process: its losses, or its step."""
    if args.check:
        args.dropout = 0.0
        return our_losses(args) if args.system == "ours" else peer_losses(args)
    return our_step(args) if args.system == "ours" else peer_step(args)


def check(argv: list[str], systems: list[str], tolerance: float) -> dict[str, float]:
    """The largest difference of each peer's losses from ours; ends the script if one is large."""
    found, differences = by_turns(__file__, [*argv, "--check"], systems, rounds=1), {}
    for system, theirs in found.items():
        prefix = "chunked_" if system == "published" else ""
        ours = {name: found["ours"][prefix + name] for name in theirs} if "ours" in found else {}
        if system == "ours" or not ours:
            continue
        differences[system] = max(abs(theirs[name] / ours[name] - 1) for name in ours)
        print(f"{system}: losses differ by {differences[system]:.1e} from ours", flush=True)
        if not differences[system] < tolerance:
            raise SystemExit(f"{system} computes something else: {theirs}, ours {ours}")
    return differences


def report(rows: list[dict[str, Any]], documents: int) -> dict[str, float]:
    """Prints the table and gives the ratios."""
    one, found = rows[0], {row["system"]: row for row in rows}
    print(
        f"\n{one['task']}, {one['dtype']}: {documents} documents of at most {one['length']} tokens "
        f"({one['tokens']} in all), {one['vocabulary']} words"
    )
    print("system     seconds  CPU seconds  peak GiB  documents/s   tokens/s")
    for r in rows:
        print(
            f"{r['system']:9s} {r['seconds']:8.4f} {r['cpu_seconds']:12.4f} {r['peak_gib']:9.2f} "
            f"{documents / r['seconds']:12.1f} {r['tokens'] / r['seconds']:10.0f}"
        )
    if "ours" not in found:
        return {}
    ours, ratios = found["ours"], {}
    for system in [name for name in found if name != "ours"]:
        for kind in ("seconds", "cpu_seconds"):
            ratios[f"{system}_{kind}"] = found[system][kind] / ours[kind]
        wall, cpu = ratios[f"{system}_seconds"], ratios[f"{system}_cpu_seconds"]
        print(f"ours is {wall:.2f} times as fast as {system} ({cpu:.2f} by CPU time)")
    ratios["floor"] = ours["floor_seconds"] / ours["seconds"]
    print(
        f"ours is at {ratios['floor']:.0%} of the floor, {ours['floor_seconds']:.4f} s: the larger "
        f"of {ours['arithmetic_seconds']:.4f} s of arithmetic and {ours['bytes_seconds']:.4f} s of "
        "bytes"
    )
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0], allow_abbrev=False)
    steps.add_flags(parser, TASKS)
    parser.add_argument("--systems", help=f"default: {','.join(SYSTEMS)}")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="torch.compile the strong peer")
    parser.add_argument("--out")
    parser.add_argument("--system", choices=SYSTEMS, help="measure this one alone, print JSON")
    parser.add_argument("--check", action="store_true", help="with --system: its losses alone")
    args = parser.parse_args()
    steps.fill(args)
    if args.system:
        print(json.dumps(measure(args)))
        return
    systems = systems_of(args)
    differences = check(sys.argv[1:], systems, TOLERANCE[args.dtype])
    results = by_turns(__file__, sys.argv[1:], systems, rounds=args.rounds)
    rows = [{"system": name, **steps.sizes(args), **r} for name, r in results.items()]
    languages = len(steps.vocabularies(args))
    ratios = report(rows, languages * (args.labelled + args.unlabelled))
    steps.write(args.out, rows, losses_differ_by=differences, ratios=ratios)


if __name__ == "__main__":
    main()
