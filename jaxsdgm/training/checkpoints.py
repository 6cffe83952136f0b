"""Checkpoints of a run through orbax: atomic, asynchronous, checked before they are used."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from jaxsdgm import __version__
from jaxsdgm.errors import UserError
from jaxsdgm.training.processes import share


class Checkpoints:
    """Steps of one run below `workdir/checkpoints`; the newest two are kept.

    A checkpoint holds the state, the best parameters and a JSON of the config, the tokenizers'
    digests, the library's version and whatever else the loop wants back.
    """

    def __init__(self, workdir: Path, about: dict[str, Any]) -> None:
        self.folder = workdir.absolute() / "checkpoints"
        self.manager = _manager(self.folder, max_to_keep=2) if jax.process_index() == 0 else None
        self.about = {**about, "jaxsdgm": __version__}

    def save(self, step: int, tree: Any, notes: dict[str, Any]) -> None:
        """Starts writing; an earlier write is waited for."""
        if self.manager:
            state = ocp.args.StandardSave(tree)
            about = ocp.args.JsonSave({**self.about, **notes})
            self.manager.save(step, args=ocp.args.Composite(state=state, about=about))

    def restore(self, like: Any, at_most: int | None = None) -> tuple[Any, dict[str, Any]] | None:
        """The newest checkpoint as the pytree `like` and its JSON, or None where there is none.

        Those of steps beyond `at_most` are deleted first.
        """
        leaves, shape = jax.tree.flatten(like)
        found = share(partial(self._restore, leaves, shape, at_most))
        return found and (jax.tree.unflatten(shape, found["leaves"]), found["about"])

    def _restore(self, leaves: list[Any], shape: Any, at_most: int | None) -> dict[str, Any] | None:
        assert self.manager  # only the first process comes here
        for newer in self.manager.all_steps():
            if at_most is not None and newer > at_most:
                self.manager.delete(newer)
        step = self.manager.latest_step()
        if step is None:
            return None
        tree = _restore(
            self.manager, self.folder / str(step), step, jax.tree.unflatten(shape, leaves)
        )
        about = self.manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore()))
        return {"leaves": jax.tree.leaves(tree), "about": about["about"]}

    def close(self) -> None:
        """Waits for the last write."""
        if self.manager:
            self.manager.close()


def _manager(folder: Path, max_to_keep: int | None = None) -> ocp.CheckpointManager:
    """Orbax's, which writes in the first process and waits for no other."""
    folder.mkdir(parents=True, exist_ok=True)
    first = {"primary_host": 0, "active_processes": {0}} if jax.process_count() > 1 else {}
    options = ocp.CheckpointManagerOptions(
        max_to_keep=max_to_keep,
        create=False,
        multiprocessing_options=ocp.options.MultiprocessingOptions(**first),
    )
    return ocp.CheckpointManager(folder, options=options)


def _restore(manager: ocp.CheckpointManager, folder: Path, step: int, like: Any) -> Any:
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    try:
        args = ocp.args.Composite(state=ocp.args.StandardRestore(target))
        return manager.restore(step, args=args)["state"]
    except Exception as error:  # orbax and tensorstore raise many kinds for one cause
        reason = _first_line(error)
        raise UserError(
            f"{folder}: the checkpoint does not fit this run or is damaged ({reason}); use the "
            "config that wrote it, delete this folder to go back to the one before, or start with "
            "another --workdir"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0][:200]


def load_pretrained(path: str | Path) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """Best parameters of a finished or running stage: (variables, about, its workdir).

    `path` is the stage's workdir, its `checkpoints` folder or one step in it.
    """
    path = Path(path).expanduser().absolute()
    wanted = None
    if path.name.isdigit() and path.parent.name == "checkpoints":
        wanted, path = int(path.name), path.parent
    workdir = path.parent if path.name == "checkpoints" else path
    variables, about = share(partial(_load_best, workdir, wanted))
    return variables, about, workdir


def _load_best(workdir: Path, step: int | None) -> list[Any]:
    if not workdir.exists():
        raise UserError(
            f"config.pretrained: {workdir} does not exist; give the workdir of a pretraining run"
        )
    folder = workdir / "checkpoints"
    if not folder.is_dir():
        raise UserError(
            f"config.pretrained: {workdir} holds no checkpoints folder; is it a workdir?"
        )
    with _manager(folder) as manager:
        step = manager.latest_step() if step is None else step
        if step is None:
            raise UserError(f"config.pretrained: {folder} holds no finished checkpoint yet")
        try:
            args = ocp.args.Composite(
                state=ocp.args.StandardRestore(), about=ocp.args.JsonRestore()
            )
            restored = manager.restore(step, args=args)
        except Exception as error:  # orbax and tensorstore raise many kinds for one cause
            reason = _first_line(error)
            raise UserError(
                f"{folder / str(step)}: cannot be read ({reason}); it may be truncated: delete it "
                "to use the one before, or run the pretraining command again"
            ) from error
    best = restored["state"]["best"]
    variables = {"params": best["params"], "batch_stats": best["batch_stats"]}
    return [variables, json.loads(json.dumps(restored["about"]))]
