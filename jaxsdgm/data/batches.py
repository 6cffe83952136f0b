"""Which document is in which step: small int32 arrays, pure functions of the seed and the step.

A plan for steps [start, start + count) is {group: Rows}, where every array is `[count, b]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

#: groups number their rows from different starts, so that no two rows of a step share noise
ROW_OFFSETS = {
    **dict.fromkeys(("labelled", "sentences", "sequences"), 0),
    "unlabelled": 1 << 20,
    "documents": 1 << 21,
}

Plan = dict[str, dict[str, np.ndarray]]


def _rows(group: str, batches: Sequence[np.ndarray], width: int) -> dict[str, np.ndarray]:
    """Batches of documents as arrays `[count, width]`, filled up with rows that do not count."""
    index = np.zeros((len(batches), width), np.int32)
    mask = np.zeros((len(batches), width), np.float32)
    for i, batch in enumerate(batches):
        index[i, : len(batch)] = batch
        mask[i, : len(batch)] = 1
    row = np.broadcast_to(np.arange(width, dtype=np.int32) + ROW_OFFSETS[group], index.shape)
    return {"index": index, "mask": mask, "row": np.ascontiguousarray(row)}


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def stratified_epoch(
    labels: np.ndarray, batch_size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """One pass over labelled documents in batches of the data's class proportions (spec §8).

    Batch j takes of class c the items floor(j b p_c) .. floor((j + 1) b p_c) of its shuffled list,
    the last batch the rest. Returns positions in `labels`.
    """
    classes = [rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels)]
    n_batches = -(-len(labels) // batch_size)
    bounds = [
        [len(c) * min(batch_size * j, len(labels)) // len(labels) for j in range(n_batches + 1)]
        for c in classes
    ]
    return [
        np.concatenate([c[b[j] : b[j + 1]] for c, b in zip(classes, bounds, strict=True)])
        for j in range(n_batches)
    ]


@dataclass(frozen=True)
class SemiSupervisedPlan:
    """Batches of labelled and of unlabelled documents for M1+M2 and its supervised twin.

    An epoch is one pass over the labelled documents. With `unlabelled_size` 0 it is one pass over
    the unlabelled ones too, as in the paper: each step takes floor(n / steps) of them and the last
    step the rest. Otherwise each step takes the next `unlabelled_size` of an endless sequence of
    shuffled passes. With `further` documents, of another source than the labelled ones, these are
    at most `further_share` of them in every step, from a sequence of their own.
    """

    labelled: np.ndarray  # positions of the labelled documents
    labels: np.ndarray  # their labels
    unlabelled: np.ndarray  # positions of the others; may be empty
    batch_size: int = 16
    unlabelled_size: int = 0
    further: np.ndarray = field(default_factory=lambda: np.arange(0))  # positions
    further_share: float = 0.0
    seed: int = 0
    multiple: int = 1  # widths are multiples of this: the number of devices
    epoch: int = 0  # steps that share a pass over the unlabelled; 0: those of one over the labelled

    @property
    def groups(self) -> dict[str, int]:
        """The groups of rows that a step has, and how many documents they are taken from."""
        others = len(self.unlabelled) + len(self.further)
        sizes = {"labelled": len(self.labelled), "unlabelled": others}
        return {group: size for group, size in sizes.items() if size}

    @property
    def steps_per_epoch(self) -> int:
        return self.epoch or -(-len(self.labelled) // self.batch_size)

    def __call__(self, start: int, count: int) -> Plan:
        """The plan of the steps [start, start + count)."""
        steps, plan = range(start, start + count), {}
        if "labelled" in self.groups:
            plan["labelled"] = self._labelled_rows(steps)
        if "unlabelled" in self.groups:
            n, per_epoch = len(self.unlabelled) + len(self.further), self.steps_per_epoch
            width = self.unlabelled_size or n // per_epoch + n % per_epoch
            batches = self._unlabelled_batches(steps)
            plan["unlabelled"] = _rows("unlabelled", batches, _up(width, self.multiple))
        return plan

    def _labelled_rows(self, steps: range) -> dict[str, np.ndarray]:
        per_pass = -(-len(self.labelled) // self.batch_size)
        passes: dict[int, list[np.ndarray]] = {}
        for number in {step // per_pass for step in steps}:
            rng = np.random.default_rng([self.seed, 0, number])
            passes[number] = stratified_epoch(self.labels, self.batch_size, rng)
        batches = [self.labelled[passes[s // per_pass][s % per_pass]] for s in steps]
        width = _up(max(len(b) for one in passes.values() for b in one), self.multiple)
        return _rows("labelled", batches, width)

    def _unlabelled_batches(self, steps: range) -> list[np.ndarray]:
        if not self.unlabelled_size:
            together = _Shuffled(np.concatenate([self.unlabelled, self.further]), self.seed, 1)
            return [together.share(step, self.steps_per_epoch) for step in steps]
        proportional = len(self.further) / (len(self.unlabelled) + len(self.further))
        share = min(self.further_share, proportional) if len(self.unlabelled) else 1.0
        n = round(share * self.unlabelled_size)
        near = _Shuffled(self.unlabelled, self.seed, 1).take(steps, self.unlabelled_size - n)
        further = _Shuffled(self.further, self.seed, 2).take(steps, n)
        return list(np.concatenate([near, further], axis=1))


@dataclass(frozen=True)
class TwoLanguagePlan:
    """The batches of a source and a target language in one step; epochs are the source's.

    Groups are "source_labelled" and so on; parts without documents have none.
    """

    source: SemiSupervisedPlan
    target: SemiSupervisedPlan

    @property
    def groups(self) -> dict[str, int]:
        """The groups of rows that a step has, and how many documents they are taken from."""
        return {f"{name}_{k}": n for name, plan in self._parts for k, n in plan.groups.items()}

    @property
    def steps_per_epoch(self) -> int:
        return self.source.steps_per_epoch

    @property
    def _parts(self) -> tuple[tuple[str, SemiSupervisedPlan], ...]:
        return ("source", self.source), ("target", self.target)

    def __call__(self, start: int, count: int) -> Plan:
        """The plan of the steps [start, start + count)."""
        return {
            f"{name}_{group}": rows
            for name, plan in self._parts
            for group, rows in plan(start, count).items()
        }


class _Shuffled:
    """Documents in an endless sequence of shuffled passes."""

    def __init__(self, documents: np.ndarray, seed: int, stream: int) -> None:
        self.documents, self.seed, self.stream = documents, seed, stream
        self.pass_ = lru_cache(4)(self._pass)

    def _pass(self, number: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, self.stream, number])
        return self.documents[rng.permutation(len(self.documents))]

    def take(self, steps: range, size: int) -> np.ndarray:
        """Those of steps that take `size` each, `[steps, size]`."""
        if not size:
            return np.zeros((len(steps), 0), np.int64)
        n, first, stop = len(self.documents), steps.start * size, steps.stop * size
        passes = np.concatenate([self.pass_(p) for p in range(first // n, -(-stop // n))])
        return passes[first % n :][: stop - first].reshape(len(steps), size)

    def share(self, step: int, steps: int) -> np.ndarray:
        """Those of a step that takes its share of a pass in `steps`; the last takes the rest."""
        number, j = divmod(step, steps)
        size = len(self.documents) // steps
        return self.pass_(number)[j * size : None if j == steps - 1 else (j + 1) * size]


@dataclass(frozen=True)
class PretrainingPlan:
    """Shuffled slices of one language's texts; every language has a step in each round."""

    group: str  # sentences, documents or sequences
    n_texts: int
    batch_size: int
    seed: int
    stream: int  # a number of its own for every language and group
    multiple: int = 1

    @property
    def rounds_per_epoch(self) -> int:
        return -(-self.n_texts // self.batch_size)

    def __call__(self, start: int, count: int) -> Plan:
        """The plan of the rounds [start, start + count)."""
        rounds, b = self.rounds_per_epoch, self.batch_size
        order = lru_cache(2)(
            lambda epoch: np.random.default_rng([self.seed, 2 + self.stream, epoch]).permutation(
                self.n_texts
            )
        )
        batches = []
        for i in range(start, start + count):
            epoch, j = divmod(i, rounds)
            batches.append(order(epoch)[j * b : (j + 1) * b])
        return {self.group: _rows(self.group, batches, _up(b, self.multiple))}


def least_padding(lengths: np.ndarray, count: int) -> list[int]:
    """At most `count` widths, ascending, to which arrays of such lengths `[n]` are filled up.

    Each takes the first width that holds it; there are no widths with less padding in all.
    """
    sizes, times = np.unique(lengths, return_counts=True)
    before = np.concatenate([[0], np.cumsum(times)])
    # what the first i sizes take at best, and where their last width begins
    taken, starts = np.where(np.arange(len(sizes) + 1) > 0, np.inf, 0.0), []
    for _ in range(min(count, len(sizes))):
        rest = sizes * (before[1:] - before[:-1, None])  # of sizes i.. to j, as wide as j
        every = np.where(np.tri(len(sizes)).T > 0, taken[:-1, None] + rest, np.inf)
        starts.append(every.argmin(0))
        taken = np.concatenate([[np.inf], every.min(0)])
    widths, stop = [], len(sizes)
    for start in reversed(starts):
        widths.append(int(sizes[stop - 1]))
        stop = start[stop - 1]
    return widths[::-1]


@dataclass(frozen=True)
class EqualLengthPlan:
    """Batches of sentences of one length each, in a new random order every pass (paper 4, §1).

    Of each length the sentences, in their order, are cut into batches of `batch_size`; the last one
    may be smaller. Which sentences share a batch never changes.
    """

    group: str
    lengths: np.ndarray  # [n]
    batch_size: int
    seed: int
    multiple: int = 1

    @cached_property
    def batches(self) -> list[np.ndarray]:
        """Positions of the sentences of every batch, short ones first."""
        order = np.argsort(self.lengths, kind="stable")
        bounds = np.flatnonzero(np.diff(self.lengths[order])) + 1
        runs = np.split(order, bounds)
        cut = lambda run: np.split(run, range(self.batch_size, len(run), self.batch_size))
        return [batch for run in runs for batch in cut(run)]

    @cached_property
    def everything(self) -> dict[str, np.ndarray]:
        """Rows of every batch, arrays `[batches, b]`."""
        return _rows(self.group, self.batches, _up(self.batch_size, self.multiple))

    def __call__(self, start: int, count: int) -> Plan:
        """The plan of the steps [start, start + count)."""
        n = len(self.batches)
        passes = {
            epoch: np.random.default_rng([self.seed, 0, epoch]).permutation(n)
            for epoch in range(start // n, (start + count - 1) // n + 1)
        }
        which = [passes[i // n][i % n] for i in range(start, start + count)]
        return {self.group: {name: x[which] for name, x in self.everything.items()}}
