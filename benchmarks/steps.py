"""The training steps that the throughput benchmarks time: sizes, documents, models and programs.

Sizes are flags; what is not given is the task's own, the paper's where it has them:

bow, gru  M1+M2 with that decoder on a BiLSTM (spec §6, §12); lengths as in MLDoc, cut at --length
nxvae     NXVAE's pretraining, one update on each of two languages (spec §4)
mbert     M1+M2+BOW that fine-tunes a transformer as large as mBERT (configs/mldoc_mbert.py);
          --embedding is its width and --hidden that of its perceptrons
features  M1+M2+BOW on features of a frozen encoder (configs/debian_e5.py); --embedding is theirs
"""

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxsdgm
from jaxsdgm.data.batches import ROW_OFFSETS, PretrainingPlan, SemiSupervisedPlan
from jaxsdgm.experiments.setup import DTYPES, make_objective, remat
from jaxsdgm.layers.bert import BertSize
from jaxsdgm.layers.encoders import FrozenFeatures, TextEncoder, TransformerEncoder
from jaxsdgm.layers.recurrent import BACKENDS
from jaxsdgm.models.nxvae import NXVAE
from jaxsdgm.models.sdgm import M1M2
from jaxsdgm.models.semi import HYPERPARAMETERS
from jaxsdgm.models.terms import Noise
from jaxsdgm.training.parallel import Parallel, fetch
from jaxsdgm.training.state import TrainState, adam, create_state
from jaxsdgm.training.step import make_run, make_step
from jaxsdgm.training.trials import stack_plans

PAPER = {
    **{"labelled": 16, "unlabelled": 484, "length": 200, "vocabulary": 40_002, "classes": 4},
    **{"embedding": 300, "hidden": 600, "layers": 2, "heads": 0, "latent": 300},
    **{"classifier_hidden": 1024, "dropout": 0.2, "remat": 0},
}
MBERT = {
    **{"labelled": 16, "unlabelled": 64, "vocabulary": 119_547, "embedding": 768, "hidden": 3072},
    **{"layers": 12, "heads": 12, "latent": 768, "classifier_hidden": 0, "dropout": 0.1},
    "remat": 1,
}
FEATURES = {
    **{"labelled": 32, "unlabelled": 96, "length": 128, "vocabulary": 2_000, "embedding": 384},
    **{"latent": 64, "classifier_hidden": 128},
}
#: the length of sentences stands for the median of Europarl's, at which they are cut
NXVAE_SIZES = {"labelled": 0, "unlabelled": 128, "length": 25}
TASKS: dict[str, dict[str, Any]] = {
    "bow": PAPER,
    "gru": PAPER,
    "nxvae": {**PAPER, **NXVAE_SIZES},
    "mbert": {**PAPER, **MBERT},
    "features": {**PAPER, **FEATURES},
}
#: median of the lengths before they are cut, relative to --length; others are all that long
MEDIANS = {"bow": 0.6, "gru": 0.6, "nxvae": 1.0, "features": 0.3}
GRU = {"inputs": 100, "hidden": 50}
BETA, KL_WEIGHT, DISCRIMINATOR = 0.2, 0.1, 1024

Tree = Any
Corpus = dict[str, dict[str, np.ndarray]]  # {language: {"ids": [n, t], "lengths": [n], ...}}


# -- flags -----------------------------------------------------------------------------------------


def add_flags(parser: argparse.ArgumentParser, tasks: tuple[str, ...]) -> None:
    """The task, its sizes, and how it is computed."""
    parser.add_argument("--task", choices=tasks, default=tasks[0])
    for name, value in PAPER.items():
        parser.add_argument(f"--{name}", type=type(value), help="default: the task's")
    parser.add_argument("--steps", type=int, default=1, help="of a plan, which is what is timed")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--backend", choices=("auto", *BACKENDS), default="auto", help="our LSTM's")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--precision",
        choices=("tensorfloat32", "highest"),
        default="tensorfloat32",
        help="of float32 products on a GPU, in every system",
    )


SHARED = ("task", *PAPER, "steps", "dtype", "backend", "device", "precision")


def fill(args: argparse.Namespace) -> None:
    """Puts the task's sizes where none are given; in place."""
    for name, value in TASKS[args.task].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.task == "nxvae":
        args.labelled = 0  # it knows no labels


def as_flags(args: argparse.Namespace) -> list[str]:
    """What `add_flags` added, for another of these scripts."""
    return [f"--{name}={getattr(args, name)}" for name in SHARED]


def sizes(args: argparse.Namespace) -> dict[str, Any]:
    """The same for a row of results, with the tokens of a step."""
    tokens = sum(int(rows["lengths"].sum()) for rows in corpus(args).values())
    return {name: getattr(args, name) for name in SHARED} | {"tokens": tokens}


def configure(args: argparse.Namespace) -> None:
    """Device and precision of this process; before the first computation."""
    if args.device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if jax.default_backend() != "cpu":
        jax.config.update("jax_default_matmul_precision", args.precision)


# -- documents and noise ---------------------------------------------------------------------------


def vocabularies(args: argparse.Namespace) -> dict[str, int]:
    """Words of each language; the second of NXVAE's has a quarter more, as in the paper."""
    first = {"en": args.vocabulary}
    return first | {"de": args.vocabulary * 5 // 4} if args.task == "nxvae" else first


def corpus(args: argparse.Namespace) -> Corpus:
    """The documents of a step by language, the labelled ones first; frequent words have low ids."""
    rng = np.random.default_rng(0)
    n, t, found = args.labelled + args.unlabelled, args.length, {}
    for language, size in vocabularies(args).items():
        lengths = np.full(n, t)
        if args.task in MEDIANS:
            lengths = rng.lognormal(np.log(MEDIANS[args.task] * t), 0.5, n)
            lengths = np.clip(lengths, min(5, t), t)
        ids = np.minimum(np.exp(rng.uniform(0, np.log(size), (n, t))), size - 1)
        ids = ids * (np.arange(t) < lengths.astype(int)[:, None])
        rows = {"ids": ids.astype(np.int32), "lengths": lengths.astype(np.int32)}
        rows["labels"] = rng.integers(0, args.classes, n).astype(np.int32)
        if args.task == "features":
            rows["features"] = rng.normal(size=(n, args.embedding)).astype(np.float32)
        found[language] = rows
    return found


def groups(args: argparse.Namespace, rows: Mapping[str, np.ndarray]) -> Corpus:
    """A language's documents as the groups of its objective."""
    if args.task == "nxvae":
        return {"sentences": dict(rows)}
    labelled = {name: x[: args.labelled] for name, x in rows.items()}
    unlabelled = {name: x[args.labelled :] for name, x in rows.items() if name != "labels"}
    return {"labelled": labelled, "unlabelled": unlabelled}


def noise(args: argparse.Namespace) -> Corpus:
    """{language: {name: draws}}, the same for every system."""
    rng = np.random.default_rng(1)
    b, n, z = args.labelled, args.unlabelled, args.latent
    shapes = {"labelled_z1": (b, z), "labelled_z2": (b, z), "unlabelled_z1": (n, z)}
    shapes["unlabelled_z2"] = (n, args.classes, z)
    if args.task == "nxvae":
        shapes = {"z": (n, z)}
    draw = lambda shape: rng.normal(size=shape).astype(np.float32)
    names = vocabularies(args)
    return {language: {name: draw(shape) for name, shape in shapes.items()} for language in names}


def label_weight(args: argparse.Namespace) -> float:
    """alpha = beta (Nl + Nu) / Nl."""
    return BETA * (args.labelled + args.unlabelled) / max(args.labelled, 1)


def hyper(args: argparse.Namespace) -> dict[str, float]:
    """The numbers of the objective, and the learning rate."""
    rate = {"learning_rate": 2e-5 if args.task == "mbert" else 5e-4}
    if args.task == "nxvae":
        return {**rate, "kl_weight": KL_WEIGHT, "kl_target": 0.0}
    return {**rate, **dict.fromkeys(HYPERPARAMETERS, 1.0), "alpha": label_weight(args)}


# -- models ----------------------------------------------------------------------------------------


def build(args: argparse.Namespace, *, backend: str = "scan", chunk: int = 0, **fields: Any) -> Any:
    """The task's model; `chunk` unlabelled documents share BatchNorm statistics, 0: all."""
    types, vocab = {"dtype": DTYPES[args.dtype]}, vocabularies(args)
    text = {name: getattr(args, name) for name in ("embedding", "hidden", "layers", "dropout")}
    text["backend"] = backend
    shared = {"latent": args.latent, **types, **fields}
    if args.task == "nxvae":
        return NXVAE(vocab, text, discriminator_hidden=DISCRIMINATOR, **shared)
    shared |= {"n_classes": args.classes, "classifier_hidden": args.classifier_hidden}
    shared |= {"decoder_sizes": vocab, "unlabelled_chunk": chunk}
    if args.task == "mbert":
        transformer = TransformerEncoder(bert_size(args), remat=remat(bool(args.remat)), **types)
        return M1M2(transformer, tied=True, **shared)
    if args.task == "features":
        head = {"hidden": 128, "batch_norm": False}
        shared |= {"feature_dropout": args.dropout, "conditioning": "concat", "head": head}
        return M1M2(FrozenFeatures(), decode_features=True, **shared)
    gru = GRU if args.task == "gru" else None
    encoder = TextEncoder(vocab, **text, **types)
    return M1M2(encoder, decoder=args.task, decoder_config=gru, **shared)


def bert_size(args: argparse.Namespace) -> BertSize:
    """The transformer of "mbert"."""
    shape = (args.vocabulary, args.embedding, args.layers, args.heads, args.hidden)
    positions = max(512, args.length)
    rates = {"dropout": args.dropout, "attention_dropout": args.dropout}
    return BertSize(*shape, positions, **rates)


def backend_of(args: argparse.Namespace, parallel: Parallel, trials: int) -> str:
    """The LSTM's back end, chosen as by `setup.recurrence`."""
    if args.backend != "auto":
        return args.backend
    return "packed" if parallel.sees_rows(trials) else "scan"


def variables(args: argparse.Namespace) -> Any:
    """Fresh parameters and statistics, the same in every process; a pure function for `jit`."""
    languages = {} if args.task == "nxvae" else {"languages": ("en",)}
    init = partial(build(args).init, method="initialise", **languages)
    some = {name: x[:2] for name, x in corpus(args)["en"].items() if name != "labels"}
    return init(jax.random.key(0), some)


def losses(args: argparse.Namespace, *, chunk: int = 0) -> dict[str, float]:
    """Ours by language, in training mode, at the first weights and for the noise of `noise`."""
    backend = backend_of(args, Parallel(), 1)
    model = build(args, backend=backend, chunk=chunk)

    @partial(jax.jit, static_argnums=3)
    def loss(variables: Tree, batch: Tree, draws: Tree, language: str) -> jax.Array:
        arguments = {"language": language, "hyper": hyper(args), "noise": injected(draws)}
        found: Any = model.apply(
            variables, batch, **arguments, train=True, method="objective", mutable=["batch_stats"]
        )
        return jnp.stack([terms["loss"].mean() for terms in found[0].values()]).sum()

    first, draws = jax.jit(partial(variables, args))(), noise(args)
    batches = {language: numbered(groups(args, rows)) for language, rows in corpus(args).items()}
    return {k: float(loss(first, batch, draws[k], k)) for k, batch in batches.items()}


def numbered(batch: Corpus) -> Corpus:
    """The groups with the mask and the row numbers that an objective wants beside them."""
    number = lambda group, n: np.arange(n, dtype=np.int32) + ROW_OFFSETS[group]
    return {
        group: {**rows, "mask": np.ones(len(rows["ids"]), np.float32)}
        | {"row": number(group, len(rows["ids"]))}
        for group, rows in batch.items()
    }


def injected(draws: Mapping[str, jax.Array]) -> Noise:
    """Recorded noise for an objective, which may have added rows."""

    def draw(name: str, row: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        values = draws[name]
        return jnp.pad(values, [(0, len(row) - len(values)), *[(0, 0)] * len(shape)])

    return draw


# -- programs --------------------------------------------------------------------------------------


def states(args: argparse.Namespace, trials: int) -> TrainState:
    """First states `[T, ...]`, which differ in their keys; a pure function for `jit`."""
    first, optimizer = variables(args), adam()
    make = lambda seed: create_state(first, optimizer, seed=seed, hyper=hyper(args))
    return jax.vmap(make)(jnp.arange(trials))


def plans(args: argparse.Namespace, trials: int, multiple: int) -> Any:
    """Every document in every step, in an order that differs between trials: `[T, s, b]`."""
    n, count = args.labelled + args.unlabelled, args.steps
    if args.task == "nxvae":
        one = lambda seed: {
            language: PretrainingPlan("sentences", n, n, seed, i, multiple)(0, count)
            for i, language in enumerate(vocabularies(args))
        }
        return stack_plans([one(seed) for seed in range(trials)])
    labels, (first, rest) = corpus(args)["en"]["labels"], np.split(np.arange(n), [args.labelled])
    batch = {"batch_size": args.labelled, "unlabelled_size": args.unlabelled}
    one = lambda seed: SemiSupervisedPlan(
        first, labels[: args.labelled], rest, **batch, seed=seed, multiple=multiple
    )
    return stack_plans([{"en": one(seed)(0, count)} for seed in range(trials)])


def program(args: argparse.Namespace, trials: int, parallel: Parallel) -> tuple[Any, ...]:
    """`run(state, data, plan)` of the engine and its last two arguments, as numpy arrays."""
    backend = backend_of(args, parallel, trials)
    model = build(args, backend=backend, axis_name=parallel.axis_name)
    run = make_run(make_step(make_objective(model), adam(), axis_name=parallel.axis_name))
    plan = plans(args, trials, len(parallel.devices))
    data = {k: dict.fromkeys(plan[k], rows) for k, rows in corpus(args).items()}
    return run, data, plan


class Training:
    """The engine's program for a plan of `args.steps` steps, and the states that it moves."""

    def __init__(
        self, args: argparse.Namespace, *, trials: int = 1, parallel: Parallel | None = None
    ) -> None:
        parallel = parallel or Parallel()
        run, data, plan = program(args, trials, parallel)
        self.data, self.plan = parallel.replicate(data), parallel.lay_out(plan)
        self.state = parallel.place(jax.jit(partial(states, args, trials))(), trials)
        start = time.perf_counter()
        self.compiled = parallel.compile(run, self.state, self.data, self.plan)
        self.compile_seconds = time.perf_counter() - start

    def run(self) -> dict[str, np.ndarray]:
        """Trains for a plan: the losses `[T, s]` by language."""
        self.state, history = self.compiled(self.state, self.data, self.plan)
        jax.block_until_ready(self.state)
        return {language: metrics["loss"] for language, metrics in fetch(history).items()}


# -- figures ---------------------------------------------------------------------------------------


def timed(run: Callable[[], Any], steps: int) -> dict[str, float]:
    """Seconds a step of a function that makes `steps` of them, after it has warmed up."""
    run()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"seconds": wall / steps, "cpu_seconds": cpu / steps}


def peak_gib() -> float:
    """Most memory that this process took, on the device where that is not the CPU."""
    statistics = jax.devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    if statistics:
        return statistics["peak_bytes_in_use"] / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def device_kind() -> str:
    """The device of this process, in words."""
    return f"{len(jax.devices())} x {jax.devices()[0].device_kind}"


def write(path: str | None, rows: list[dict[str, Any]], **more: Any) -> None:
    """Results as JSON with what they depend on; without a path nothing is written."""
    if not path:
        return
    arguments = [x for x in sys.argv[1:] if not x.startswith("--out")]
    about = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
        "versions": {"jaxsdgm": jaxsdgm.__version__, **versions()},
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *arguments]),
    }
    text = json.dumps({**about, "rows": rows, **more}, indent=1)
    Path(path).write_text(text + "\n", encoding="utf-8")


def hardware() -> dict[str, Any]:
    """The machine; rows name the device where it is another than the CPU."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor()
    return {"platform": platform.platform(), "cpu": cpu, "cores": cores()}


def cores() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Of the packages that are timed, where they are installed."""
    found = {}
    for package in ("jax", "jaxlib", "torch", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
