"""Several processes that train one run: how they start, and what they have to decide alike.

Every process has the whole data and runs the same program over all devices, and each writes a
workdir of its own. Checkpoints are written and read by the first one alone, which tells the others
what was in them: no file has to be seen by all.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.serialization import msgpack_restore, msgpack_serialize
from jax.experimental import multihost_utils

from jaxsdgm.errors import UserError


def start(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Joins the processes of a run; without arguments, as the cluster's environment says.

    Raises:
      UserError: some of the three are missing, or the others do not answer.
    """
    given = [x is not None for x in (coordinator, processes, process)]
    if any(given) and not all(given):
        raise UserError("--coordinator, --processes and --process go together; give all or none")
    # a process that is told to end is to end: the run resumes from its checkpoints
    jax.config.update("jax_enable_preemption_service", False)
    options: dict[str, Any] = {}
    if coordinator:
        options = {"coordinator_address": coordinator, "num_processes": processes}
        options |= {"process_id": process, "cluster_detection_method": "deactivate"}
    try:
        jax.distributed.initialize(**options)
    except (RuntimeError, ValueError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise UserError(
            f"--distributed: the processes did not find each other ({reason}); outside SLURM give "
            "--coordinator=HOST:PORT --processes=N --process=I"
        ) from error


def own(workdir: Path) -> Path:
    """The workdir of this process: `workdir` for the first, `workdir/process-I` for others."""
    return workdir / f"process-{jax.process_index()}" if jax.process_index() else workdir


def share(make: Callable[[], Any]) -> Any:
    """What `make` gives in the first process: dicts, lists, numbers, strings and numpy arrays."""
    if jax.process_count() == 1:
        return make()
    data = b""
    if jax.process_index() == 0:
        data = msgpack_serialize(jax.tree.map(_plain, {"made": make()}))
    # in two parts: JAX has no 64-bit integers unless told so, and checkpoints pass 2 GiB
    parts = np.array(divmod(len(data), 2**30), np.int32)
    high, low = multihost_utils.broadcast_one_to_all(parts).tolist()
    buffer = np.zeros(high * 2**30 + low, np.uint8)
    buffer[: len(data)] = np.frombuffer(data, np.uint8)
    return msgpack_restore(multihost_utils.broadcast_one_to_all(buffer).tobytes())["made"]


def _plain(leaf: Any) -> Any:
    return np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf


def fetch(tree: Any) -> Any:
    """A pytree of arrays, of whichever processes' devices, as numpy arrays."""

    def whole(x: Any) -> np.ndarray:
        if getattr(x, "is_fully_addressable", True) or x.is_fully_replicated:
            return np.asarray(x)
        return np.asarray(multihost_utils.process_allgather(x, tiled=True))

    return jax.tree.map(whole, tree)


def to_host(tree: Any) -> Any:
    """What one process can work with alone: the tree itself where there is one process."""
    return tree if jax.process_count() == 1 else fetch(tree)
