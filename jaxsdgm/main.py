"""python -m jaxsdgm.main --config=configs/X.py [--workdir=DIR] [--config.FIELD=VALUE ...]

Runs one job and writes its workdir. The same command on the same workdir resumes, and returns at
once where the job has ended. Exit status: 0 done, 2 bad input (one line says what to change).
"""

import os
import sys
import time
from pathlib import Path
from typing import NoReturn

import jax
from absl import app, flags
from ml_collections import config_flags

from jaxsdgm.errors import UserError
from jaxsdgm.experiments import classify, pretrain, stages
from jaxsdgm.experiments.setup import Config
from jaxsdgm.training.progress import configure_logging, log

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; runs/NAME-TIME unless given.")

EXPERIMENTS = {"pretrain": pretrain.run, "classify": classify.run, "stages": stages.run}


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
    workdir.mkdir(parents=True, exist_ok=True)
    configure_logging(workdir)
    keep_compiled()
    devices = jax.local_devices()
    log.info("%s in %s on %d %s", config.name, workdir, len(devices), devices[0].device_kind)
    EXPERIMENTS[config.experiment](config, workdir)
    log.info("done: %s", workdir / "results.json")


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]!r}; options start with --")
    config = _CONFIG.value
    if config is None:
        raise app.UsageError("give a config, for instance --config=configs/quickstart.py")
    try:
        run(config, Path(_WORKDIR.value) if _WORKDIR.value else default_workdir(config))
    except UserError as error:
        _stop(error)


def _stop(error: Exception) -> NoReturn:
    """One line and exit status 2."""
    print(f"error: {str(error).strip() or repr(error)}", file=sys.stderr)
    sys.exit(2)


def _parse(arguments: list[str]) -> list[str]:
    """Flags of the command line; a field that no config has is one line, not a traceback."""
    try:
        return app.parse_flags_with_usage(arguments)
    except (AttributeError, KeyError, TypeError, ValueError, UserError, OSError) as error:
        _stop(error)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
