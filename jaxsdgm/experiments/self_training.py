"""Self-training of a supervised system on its own labels for the other documents (spec §11.2).

The system is trained on the labelled documents first, in the sub-folder `supervised` of the workdir
as an ordinary run. From its best parameters on, all documents are trained on, those without a label
with the most probable one. They are labelled anew after every evaluation that improved on dev.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from jaxsdgm.errors import UserError
from jaxsdgm.experiments.chunked import Chunked
from jaxsdgm.experiments.inputs import Inputs
from jaxsdgm.experiments.outputs import make_predict, rows_of
from jaxsdgm.experiments.setup import Config
from jaxsdgm.experiments.systems import SUPERVISED
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.processes import fetch
from jaxsdgm.training.state import Best, TrainState
from jaxsdgm.training.trials import Task, Trial

FOLDER = "supervised"  # of a workdir: the run that self-training goes on from


@struct.dataclass
class SelfTrained(TrainState):
    """A state with the labels of the training documents, all `[n]`."""

    known: Array  # the given label, or -1
    labels: Array  # the given one, or that of the classifier
    trusted: Array  # 1.0 where the document is trained on, else 0.0


def wanted(config: Config) -> bool:
    """Whether a config asks for self-training, of a system that can.

    Raises:
      UserError: it does, but its system is not a supervised one.
    """
    if not config.self_training.max_steps:
        return False
    if config.model.system not in SUPERVISED:
        raise UserError(
            f"config.self_training is for supervised systems, not for {config.model.system!r}; "
            f"use one of {', '.join(SUPERVISED)}, or set config.self_training.max_steps=0"
        )
    if not 0 <= config.self_training.confidence < 1:
        raise UserError(
            f"config.self_training.confidence is {config.self_training.confidence}; use 0 to 1"
        )
    return True


def require_unlabelled(inputs: Inputs) -> None:
    """Raises UserError where every training document has a label."""
    if not len(inputs.unlabelled):
        raise UserError(
            "config.self_training needs documents without a label, but all are labelled; lower "
            "config.data.n_labels or name a file in config.data.unlabelled"
        )


def first_stages(configs: Mapping[Path, Config]) -> dict[Path, Config]:
    """The supervised runs, by their workdirs."""
    found = {folder / FOLDER: c.copy_and_resolve_references() for folder, c in configs.items()}
    for config in found.values():
        config.self_training.max_steps = 0
    return found


def second_stage(config: Config) -> Config:
    """With the steps of self-training in the place of the supervised ones."""
    config = config.copy_and_resolve_references()
    config.training.max_steps = config.self_training.max_steps
    config.training.eval_every = config.self_training.eval_every
    return config


# -- labels ------------------------------------------------------------------------------------


def pseudo_labels(
    known: np.ndarray, q: np.ndarray, *, confidence: float, balanced: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Labels `[n]` int32, and which documents to train on, `[n]` float32 of 0 and 1.

    Args:
      known: `[n]`, the given label or -1.
      q: `[n, k]`, the classifier's probabilities.
      confidence: documents whose largest probability is smaller are not trained on.
      balanced: of each class only the most confident ones are, as many as give the documents
        without a label the proportions of those with one.
    """
    given, sure = known >= 0, q.max(1)
    labels = np.where(given, known, q.argmax(1))
    taken = ~given & (sure >= confidence)
    if balanced:
        shares = np.bincount(known[given], minlength=q.shape[1]) / given.sum()
        counts = np.bincount(labels[taken], minlength=q.shape[1])
        whole = (counts[shares > 0] / shares[shares > 0]).min()
        for label, share in enumerate(shares):
            mine = np.flatnonzero(taken & (labels == label))
            least = mine[np.argsort(-sure[mine], kind="stable")][round(share * whole) :]
            taken[least] = False
    return labels.astype(np.int32), (given | taken).astype(np.float32)


def given_labels(inputs: Inputs) -> np.ndarray:
    """The labels `[n]` of the labelled subset, -1 elsewhere."""
    known = np.full(len(inputs.splits["train"]["labels"]), -1, np.int32)
    rows = list(inputs.subset.indices)
    known[rows] = inputs.splits["train"]["labels"][rows]
    return known


# -- training ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Labels documents with the parameters of side-by-side runs, `[T, ...]`."""

    predict: Chunked
    rows: dict[str, np.ndarray]  # all training documents
    label: Callable[..., tuple[np.ndarray, np.ndarray]]  # `pseudo_labels` with its options
    parallel: Parallel

    def probabilities(self, params: Any, batch_stats: Any) -> np.ndarray:
        """`[T, n, k]`."""
        return np.exp(self.predict(params, batch_stats, self.rows)["log_q"])

    def relabel(self, states: SelfTrained, bests: Best, scores: Any) -> SelfTrained:
        """New labels for the runs whose last evaluation was their best."""
        fresh = np.flatnonzero(fetch(bests.failures) == 0)
        if not len(fresh):
            return states
        q = self.probabilities(states.params, states.batch_stats)
        known, labels, trusted = map(np.array, fetch((states.known, states.labels, states.trusted)))
        for i in fresh:
            labels[i], trusted[i] = self.label(known[i], q[i])
        labels, trusted = self.parallel.place((labels, trusted), len(labels))
        return dataclasses.replace(states, labels=labels, trusted=trusted)


def make_teacher(config: Config, model: Any, inputs: Inputs, parallel: Parallel) -> Teacher:
    """With the options of a config; the model is a `Classifier`."""
    options = {name: config.self_training[name] for name in ("confidence", "balanced")}
    return Teacher(
        make_predict(model, inputs.language, parallel, trials=True),
        rows_of(inputs.splits["train"], model),
        partial(pseudo_labels, **options),
        parallel,
    )


def with_labels(task: Task, teacher: Teacher) -> Task:
    """The task with the labels of its state in the place of those of the data."""

    def run(state: SelfTrained, data: Any, plan: Any) -> Any:
        return task.run(state, data, {phase: relabelled(state, x) for phase, x in plan.items()})

    def relabelled(state: SelfTrained, groups: Any) -> Any:
        rows = groups["labelled"]
        mask = rows["mask"] * state.trusted[rows["index"]]
        return {"labelled": {**rows, "mask": mask, "labels": state.labels[rows["index"]]}}

    return dataclasses.replace(task, run=run, between=teacher.relabel)


class Start:
    """What self-training of one run starts from: the best parameters of its supervised run.

    `inputs` are those of a run whose labelled documents are all training documents; what stands in
    the place of their labels are groups that an epoch is stratified by, the classes that were given
    and those that were found.
    """

    def __init__(self, inputs: Inputs, workdir: Path, teacher: Teacher) -> None:
        self.variables = load_pretrained(workdir / FOLDER)[0]
        alone = jax.tree.map(lambda x: np.asarray(x)[None], self.variables)
        q = teacher.probabilities(alone["params"], alone["batch_stats"])[0]
        known = given_labels(inputs)
        labels, trusted = teacher.label(known, q)
        self.labels = {"known": known, "labels": labels, "trusted": trusted}
        groups = np.where(known >= 0, labels, labels + q.shape[1])
        subset = dataclasses.replace(inputs.subset, indices=tuple(range(len(groups))))
        train = {**inputs.splits["train"], "labels": groups}
        splits = {**inputs.splits, "train": train}
        self.inputs = dataclasses.replace(inputs, subset=subset, splits=splits)

    def trial(self, trial: Trial) -> Trial:
        """The trial with these parameters and labels in its first state."""

        def make() -> SelfTrained:
            fresh = trial.make()
            fields = {field.name: getattr(fresh, field.name) for field in dataclasses.fields(fresh)}
            fields |= jax.tree.map(jnp.array, {**self.variables, **self.labels})
            return SelfTrained(**fields)

        return dataclasses.replace(trial, make=make)


def evidence(config: Config, workdir: Path, inputs: Inputs, state: Any) -> dict[str, Any]:
    """{"self_training": what it changed}; {} of a run without it.

    With it, how good its labels were where the true ones are known, which are looked at here alone.
    """
    if not wanted(config):
        return {}
    metrics = json.loads((workdir / FOLDER / "results.json").read_text("utf-8"))["metrics"]
    true = inputs.splits["train"]["labels"]
    found = (np.asarray(state.known) < 0) & (np.asarray(state.trusted) > 0)
    right = (np.asarray(state.labels) == true)[found & (true >= 0)]
    return {
        "self_training": {
            "supervised": {split: metrics[split]["accuracy"] for split in ("dev", "test")},
            "trusted": int(found.sum()),
            "of": len(inputs.unlabelled),
            "right": float(right.mean()) if len(right) else None,
        }
    }
