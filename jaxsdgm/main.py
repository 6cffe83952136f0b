"""python -m jaxsdgm.main --config=configs/X.py [--workdir=DIR] [--config.FIELD=VALUE ...]

Runs one job and writes its workdir. The same command on the same workdir resumes, and returns at
once where the job has ended. Exit status: 0 done, 2 bad input (one line says what to change).
"""

import os
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

import jax
from absl import app, flags
from ml_collections import config_flags

from jaxsdgm.errors import UserError
from jaxsdgm.experiments import stages
from jaxsdgm.experiments.setup import Config, memory_errors
from jaxsdgm.training import processes
from jaxsdgm.training.progress import configure_logging, log

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "One of several processes of a run.")
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0; SLURM's if not given."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "How many there are.")
_PROCESS = flags.DEFINE_integer("process", None, "Which one this is, from 0.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; runs/NAME-TIME unless given.")

EXPERIMENTS = {**stages.EXPERIMENTS, "stages": stages.run}


def keep_compiled() -> None:
    """Compiled programs in a cache folder of the user's; $JAX_COMPILATION_CACHE_DIR overrides."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        root = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        jax.config.update("jax_compilation_cache_dir", str(root / "jaxsdgm" / "compiled"))


def default_workdir(config: Config) -> Path:
    """runs/<name of the config>-<time>."""
    return Path("runs") / f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"


def run(config: Config, workdir: Path) -> None:
    """One job in one workdir."""
    workdir = processes.own(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    configure_logging(workdir, terminal=jax.process_index() == 0)
    keep_compiled()
    devices = jax.devices()
    log.info("%s in %s on %d %s", config.name, workdir, len(devices), devices[0].device_kind)
    with memory_errors(config):
        EXPERIMENTS[config.experiment](config, workdir)
    log.info("done: %s", workdir / "results.json")


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}; options start with --")
    config = _CONFIG.value
    if config is None:
        raise app.UsageError("give a config, for instance --config=configs/quickstart.py")
    try:
        if _DISTRIBUTED.value:
            if not _WORKDIR.value:
                raise UserError("--distributed needs --workdir=DIR, the same for all processes")
            processes.start(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
        run(config, Path(_WORKDIR.value) if _WORKDIR.value else default_workdir(config))
    except UserError as error:
        _stop(error)
    except BaseException:
        if jax.process_count() == 1:
            raise
        traceback.print_exc()
        _leave(1)


def _stop(error: Exception) -> NoReturn:
    """One line and exit status 2."""
    print(f"error: {str(error).strip() or repr(error)}", file=sys.stderr)
    _leave(2)


def _leave(status: int) -> NoReturn:
    """Ends the process; at once where there are others, for which JAX would wait at exit."""
    if jax.distributed.is_initialized() and jax.process_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _parse(arguments: list[str]) -> list[str]:
    """Flags of the command line; a field that no config has is one line, not a traceback."""
    try:
        return app.parse_flags_with_usage(arguments)
    except (AttributeError, KeyError, TypeError, ValueError, UserError, OSError) as error:
        _stop(error)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
