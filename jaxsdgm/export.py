"""python -m jaxsdgm.export --workdir=DIR --out=FOLDER

Writes the transformer that a run fine-tuned as a checkpoint in Hugging Face's form (config.json,
model.safetensors, tokenizer), which transformers and any other program that reads such can load.
Exit status: 0 done, 2 bad input.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from jaxsdgm.errors import UserError
from jaxsdgm.experiments.features import the_checkpoint
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.progress import quiet_orbax
from jaxsdgm.weights.bert import BertSize
from jaxsdgm.weights.huggingface import save_checkpoint


def export_encoder(workdir: Path, out: Path) -> None:
    """Writes the encoder of the run in `workdir` to `out`.

    Raises:
      UserError: the run trained no transformer, the checkpoint that it came from is gone, or
        `out` holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: there is something; name a new folder")
    variables, about, folder = load_pretrained(workdir)
    if not about.get("transformer"):
        raise UserError(f"{folder}: this run trained no transformer; there is nothing to write")
    source = the_checkpoint(ConfigDict(about["config"]))
    assert source  # a run with a transformer names its checkpoint
    size = BertSize(**about["transformer"])
    save_checkpoint(out, variables["params"]["encoder"]["bert"], size, source.folder)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m jaxsdgm.export")
    parser.add_argument("--workdir", type=Path, required=True, help="of the run that trained it")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; new or empty")
    args = parser.parse_args(argv)
    quiet_orbax()
    try:
        export_encoder(args.workdir, args.out)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
