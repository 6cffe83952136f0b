"""What a run writes while it runs: metrics.jsonl, TensorBoard events, one line of progress."""

import json
import logging
import math
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from jax import monitoring

from jaxsdgm.data.documents import write_text
from jaxsdgm.errors import UserError

log = logging.getLogger("jaxsdgm")


_STARTED = time.monotonic()
_EVENTS: Counter[str] = Counter()
monitoring.register_event_listener(lambda event, **_: _EVENTS.update([event]))


def since_start() -> float:
    """Seconds since the library was loaded."""
    return time.monotonic() - _STARTED


def compilations() -> tuple[int, int]:
    """Programs that the persistent compilation cache had so far, and those that it lacked."""
    names = ("cache_hits", "cache_misses")
    hits, misses = (_EVENTS[f"/jax/compilation_cache/{name}"] for name in names)
    return hits, misses


def quiet_orbax() -> None:
    """Orbax reports every file it writes, through absl; only its warnings are wanted."""
    logging.getLogger("absl").setLevel(logging.WARNING)


def configure_logging(workdir: Path, *, terminal: bool = True) -> None:
    """Messages of the library to the terminal and to `workdir/log.txt`."""
    quiet_orbax()
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    form = logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)] if terminal else []
    for handler in (*handlers, logging.FileHandler(workdir / "log.txt", encoding="utf-8")):
        handler.setFormatter(form)
        log.addHandler(handler)


def duration(seconds: float) -> str:
    """12 s, 3 min 05 s or 2 h 10 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl, one a step, in order of steps; none if there is no such file.

    A line that a killed run left half-written is passed over, and the rows that the resumed run
    wrote again replace the first ones.
    """
    if not path.exists():
        return []
    rows: dict[int, dict[str, Any]] = {}
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and "step" in row:
            rows.setdefault(row["step"], {}).update(row)
    return [rows[step] for step in sorted(rows)]


class MetricsWriter:
    """Appends one JSON object per evaluation; forgets rows after the step a run resumes from."""

    def __init__(self, workdir: Path, *, resume_step: int, tensorboard: bool = False) -> None:
        self.path = workdir / "metrics.jsonl"
        kept = [row for row in read_metrics(self.path) if row["step"] <= resume_step]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self.events = _events(workdir) if tensorboard else None

    def write(self, row: dict[str, Any]) -> None:
        """One row; it has a "step"."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.events:
            for name, value in row.items():
                self.events.add_scalar(name, value, row["step"])
            self.events.flush()


def _events(workdir: Path) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UserError(
            "config.tensorboard needs tensorboardX: pip install 'jaxsdgm[tensorboard]'"
        ) from error
    return SummaryWriter(str(workdir / "tensorboard"))


class Progress:
    """A line with throughput and remaining time, at most every few seconds."""

    def __init__(self, name: str, total: int, *, seconds: float = 5.0) -> None:
        self.name, self.total, self.seconds = name, total, seconds
        self.started, self.first, self.last = time.monotonic(), None, -math.inf

    def report(self, step: int, examples_per_second: float, message: str) -> None:
        """Says where the run is; `step` of `total` counts as the share that is done."""
        now = time.monotonic()
        if self.first is None:
            self.first = step, now
        if now - self.last < self.seconds and step < self.total:
            return
        self.last = now
        done, since = step - self.first[0], now - self.first[1]
        remaining = since / done * (self.total - step) if done > 0 else math.nan
        left = "" if math.isnan(remaining) else f" | at most {duration(remaining)} left"
        rate = f"{examples_per_second:,.0f} documents/s"
        log.info("%s: step %d/%d | %s | %s%s", self.name, step, self.total, message, rate, left)
