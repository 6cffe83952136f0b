"""What every experiment needs: sizes from a config, devices, objectives, provenance."""

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from jaxsdgm import __version__
from jaxsdgm.data.documents import write_text
from jaxsdgm.data.huggingface import Tokenizer
from jaxsdgm.data.subwords import SentencePieceTokenizer
from jaxsdgm.errors import UserError
from jaxsdgm.layers.encoders import SHARED
from jaxsdgm.layers.recurrent import BACKENDS
from jaxsdgm.models.adversary import ADVERSARIES
from jaxsdgm.models.classifier import Classifier
from jaxsdgm.models.semi import TRANSFERRED, SemiSupervised, fixed
from jaxsdgm.models.ssvae import SSVAE
from jaxsdgm.models.terms import masked_mean, random_noise
from jaxsdgm.training import schedules
from jaxsdgm.training.loop import Fit
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.processes import share
from jaxsdgm.training.state import is_part

#: an ml_collections.ConfigDict; its fields are known when it is read, not before
Config = Any

#: what classifies documents
Model = SemiSupervised | Classifier | SSVAE

PACKAGES = (
    *("jax", "flax", "optax", "orbax-checkpoint", "numpy"),
    *("ml-collections", "scikit-learn", "sentencepiece", "transformers"),
)
STREAMS = ("dropout", "masking")  # of random numbers that a model draws itself
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def encoder_config(config: Config, backend: str = "scan") -> dict[str, Any]:
    """The fields of `TextEncoder` in a config's model."""
    names = ("embedding", "hidden", "layers", "dropout", "pooling")
    return {**{name: config.model[name] for name in names}, "backend": backend}


def recurrence(config: Config, parallel: Parallel, *, trials: int) -> str:
    """The LSTM's back end for so many trials side by side."""
    wanted, alone = config.model.recurrence, parallel.sees_rows(trials)
    if wanted == "auto":
        return "packed" if alone else "scan"
    if wanted not in BACKENDS:
        known = ", ".join(("auto", *BACKENDS))
        raise UserError(f"config.model.recurrence is {wanted!r}; use one of {known}")
    if wanted == "cudnn" and parallel.devices[0].platform != "gpu":
        raise UserError("config.model.recurrence is 'cudnn', but there is no GPU; use auto")
    if wanted != "scan" and not alone:
        raise UserError(
            f"config.model.recurrence is {wanted!r}, which works neither for trials side by side "
            "nor for rows spread over devices; use auto"
        )
    return wanted


def remat(wanted: bool) -> bool:
    """Whether layers are computed again in the backward pass, where that is asked for.

    Not on a CPU: its compiler keeps what they computed all the same, and the step takes longer.
    """
    return wanted and jax.default_backend() != "cpu"


def vocab_sizes(tokenizers: Mapping[str, Tokenizer]) -> dict[str, int]:
    """Sizes of the languages' vocabularies, or of the one that all of them share."""
    shared = has_subwords(tokenizers)
    return {SHARED if shared else name: t.vocab_size for name, t in tokenizers.items()}


def has_subwords(tokenizers: Mapping[str, Tokenizer]) -> bool:
    """Whether the languages share SNXVAE's vocabulary of subwords."""
    return any(isinstance(t, SentencePieceTokenizer) for t in tokenizers.values())


def compute_dtype(config: Config) -> Any:
    """The dtype of matrix products; parameters stay float32."""
    if config.dtype not in DTYPES:
        raise UserError(f"config.dtype is {config.dtype!r}; use one of {', '.join(DTYPES)}")
    return DTYPES[config.dtype]


def rate_schedule(
    config: Config, *, updates: int
) -> Callable[[dict[str, Array], Array], dict[str, Array]]:
    """The learning rate in force at one of so many updates: constant, a cosine, or a line."""
    if config.rate_schedule not in ("constant", "cosine", "linear"):
        raise UserError(
            f"config.rate_schedule is {config.rate_schedule!r}; use one of constant, cosine, linear"
        )
    if config.rate_schedule == "constant":
        return lambda hyper, step: hyper
    factor = partial(schedules.cosine, steps=updates, end=0.05, warmup=20)
    if config.rate_schedule == "linear":
        factor = partial(schedules.triangle, steps=updates, warmup=config.rate_warmup)

    def schedule(hyper: dict[str, Array], step: Array) -> dict[str, Array]:
        return {**hyper, "learning_rate": hyper["learning_rate"] * factor(step)}

    return schedule


def free_bits(config: Config) -> dict[str, float]:
    """The hyperparameter "free_bits", where a config or its sweep has some."""
    wanted = config.model.free_bits or config.get("sweep", {}).get("free_bits", ())
    return {"free_bits": config.model.free_bits} if wanted else {}


def annealed(
    config: Config, rate: Callable[[dict[str, Array], Array], dict[str, Array]]
) -> Callable[[dict[str, Array], Array], dict[str, Array]]:
    """The schedule `rate` with a KL weight that grows on a line in model.kl_warmup steps."""
    warmup = config.model.kl_warmup
    if not warmup:
        return rate

    def schedule(hyper: dict[str, Array], step: Array) -> dict[str, Array]:
        hyper = rate(hyper, step)
        grown = schedules.linear(step + 1, warmup=warmup)
        return {**hyper, "kl_weight": hyper["kl_weight"] * grown}

    return schedule


def versions() -> dict[str, str]:
    """Of the library and of what its numbers depend on."""
    found = {package: metadata.version(package) for package in PACKAGES}
    return {"jaxsdgm": __version__, "python": platform.python_version(), **found}


def device_name() -> str:
    """The devices that a run used, in words."""
    devices = jax.devices()
    cores = f", {platform.machine()}" if devices[0].platform == "cpu" else ""
    return f"{len(devices)} x {devices[0].device_kind}{cores}"


def as_json(config: Config) -> dict[str, Any]:
    """A config as plain JSON values."""
    return json.loads(config.to_json_best_effort())


def start_workdir(config: Config, workdir: Path) -> None:
    """Writes config.json, or checks that the one in a resumed workdir is the same."""
    workdir.mkdir(parents=True, exist_ok=True)
    path, wanted = workdir / "config.json", as_json(config)
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        if changed := _differences(there, wanted):
            raise UserError(
                f"{path}: this workdir belongs to another config ({changed}); resume with that one "
                "or choose another --workdir"
            )
    write_text(path, json.dumps(wanted, indent=1) + "\n")


@contextmanager
def memory_errors(config: Config) -> Iterator[None]:
    """Of a step that does not fit into memory: a UserError that names what makes it smaller."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        data, sizes = config.data, ("batch_size", "unlabelled_size", "max_length")
        now = {f"config.data.{size}": data[size] for size in sizes if size in data}
        # of which 0 is no limit
        named = [f"{name} ({value or 'no limit'})" for name, value in now.items()]
        raise UserError(
            f"{str(error).splitlines()[0]} Lower {', '.join(named)} or the number of trials, in a "
            "new workdir"
        ) from error


def _differences(old: Any, new: Any, name: str = "config") -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [
            _differences(old.get(key), new.get(key), f"{name}.{key}")
            for key in dict.fromkeys([*old, *new])
        ]
        return ", ".join(filter(None, parts))
    return "" if old == new else f"{name} was {old!r}, is {new!r}"


def finished(workdir: Path) -> dict[str, Any] | None:
    """The results of a stage that has ended, or None."""
    path = workdir / "results.json"
    read = lambda: path.read_text(encoding="utf-8") if path.exists() else "null"
    return json.loads(share(read))


def write_results(workdir: Path, results: Mapping[str, Any]) -> None:
    """results.json, last of all: its presence says that the run has ended."""
    write_text(workdir / "results.json", json.dumps(results, indent=1) + "\n")


def digest(tree: Any) -> str:
    """SHA-256 of all arrays of a pytree, in the order of its paths."""
    total = hashlib.sha256()
    for path, x in jax.tree.leaves_with_path(tree):
        total.update(f"{jax.tree_util.keystr(path)} {x.dtype} {x.shape}".encode())
        total.update(np.ascontiguousarray(x).tobytes())
    return total.hexdigest()


def parameter_count(params: Any, *, without: Sequence[str] = ()) -> int:
    """Numbers in a pytree of parameters, of which some parts may be left out."""
    return sum(
        x.size for path, x in jax.tree.leaves_with_path(params) if not is_part(path, without)
    )


#: the parts behind the values of config.frozen
FROZEN = {"": (), "encoder": TRANSFERRED, "embeddings": ("table",)}


def frozen_parts(config: Config, model: nn.Module) -> tuple[str, ...]:
    """Names of the parts that are not trained, by the config or because the model is layer-wise."""
    if config.frozen not in FROZEN:
        known = ", ".join(filter(None, FROZEN))
        raise UserError(f"config.frozen is {config.frozen!r}; use {known}, or leave it empty")
    if config.frozen == "embeddings" and config.encoder.checkpoint:
        raise UserError("config.frozen is 'embeddings', which a BiLSTM has; use encoder")
    return tuple({*fixed(model), *FROZEN[config.frozen]})


def checked_adversary(kind: str, field: str) -> str:
    """One of ADVERSARIES, from a field of a config."""
    if kind not in ADVERSARIES:
        raise UserError(f"{field} is {kind!r}; use one of {', '.join(ADVERSARIES)}")
    return kind


def provenance(config: Config) -> dict[str, Any]:
    """What results say of how they came about."""
    return {
        "name": config.name,
        "seed": config.seed,
        "config": as_json(config),
        "versions": versions(),
        "device": device_name(),
    }


def training_summary(result: Fit, best_step: int) -> dict[str, Any]:
    """The part of results.json on how the run went."""
    busy = max(result.seconds - result.compile_seconds, 1e-9)
    return {
        "steps": result.step,
        "best_step": best_step,
        "seconds": round(result.seconds, 1),
        "examples_per_second": round(result.examples / busy, 1),
        "compile_seconds": round(result.compile_seconds, 1),
        "stopped": result.stopped,
        "side_by_side": result.trials,
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean and (population) standard deviation of numbers, and these."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), "runs": list(values)}


def make_objective(model: Any, method: str | Callable[..., Any] = "objective") -> Any:
    """The masked means of the terms that a method of a model gives, as `make_step` wants them."""

    def objective(params: Any, batch_stats: Any, batch: Any, *, phase: str, hyper: Any, key: Array):
        groups, new = model.apply(
            {"params": params, "batch_stats": batch_stats},
            batch,
            language=phase,
            hyper=hyper,
            noise=random_noise(jax.random.fold_in(key, 0)),
            train=True,
            rngs={name: jax.random.fold_in(key, i) for i, name in enumerate(STREAMS, 1)},
            mutable=["batch_stats"],
            method=method,
        )
        return _masked_means(groups, batch, model.axis_name), new["batch_stats"]

    return objective


def _masked_means(groups: Any, batch: Any, axis_name: str | None) -> Any:
    """Every term `[b]` of every group as its mean over the rows that count."""
    return {
        group: {k: masked_mean(x, batch[group]["mask"], axis_name) for k, x in terms.items()}
        for group, terms in groups.items()
    }
