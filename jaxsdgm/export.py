"""python -m jaxsdgm.export --workdir=DIR (--out=FOLDER | --language=CODE --out=FILE.vec)

Writes the transformer that a run trained as a checkpoint in Hugging Face's form (config.json,
model.safetensors, tokenizer), which transformers and any other program that reads such can load; or
a language's embeddings from a run with a BiLSTM (an NXVAE's, for instance) as word vectors in
fastText's text form. Exit status: 0 done, 2 bad input.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from jaxsdgm.data.huggingface import HuggingFaceTokenizer
from jaxsdgm.errors import UserError
from jaxsdgm.experiments import masked_lm
from jaxsdgm.experiments.features import the_checkpoint
from jaxsdgm.experiments.inputs import checked_tokenizers
from jaxsdgm.layers.encoders import embeddings_of
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.progress import quiet_orbax
from jaxsdgm.weights.bert import BertSize
from jaxsdgm.weights.huggingface import save_checkpoint
from jaxsdgm.weights.word_vectors import check_new, write_vectors


def export_encoder(workdir: Path, out: Path) -> None:
    """Writes the encoder of the run in `workdir` to `out`.

    Raises:
      UserError: the run trained no transformer, the checkpoint that it came from is gone, or
        `out` holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: there is something; name a new folder")
    variables, about, folder = load_pretrained(workdir)
    if about.get("kind") == "masked_lm":
        masked_lm.export_encoder(workdir, out)
        return
    if not about.get("transformer"):
        raise UserError(
            f"{folder}: this run trained no transformer; give --language for a BiLSTM's embeddings"
        )
    source = the_checkpoint(ConfigDict(about["config"]))
    assert source  # a run with a transformer names its checkpoint
    size = BertSize(**about["transformer"])
    save_checkpoint(out, variables["params"]["encoder"]["bert"], size, source.folder)


def export_embeddings(workdir: Path, language: str, out: Path) -> None:
    """Writes the embeddings of a language's words or subwords, frequent ones first, to `out`.

    Raises:
      UserError: the run has no embeddings of that language, its vocabulary is not the one that it
        was trained with, or `out` cannot be made.
    """
    check_new(out)
    variables, about, folder = load_pretrained(workdir)
    encoder = variables["params"].get("encoder", {})
    tokenizers = checked_tokenizers(folder, about["tokenizers"])
    known = [name for name in tokenizers if embeddings_of(encoder, name) is not None]
    if language not in known:
        there = ", ".join(sorted(known)) or "none"
        raise UserError(f"{folder}: no embeddings of {language!r}; the run has these: {there}")
    tokenizer, table = tokenizers[language], np.asarray(embeddings_of(encoder, language))
    assert not isinstance(tokenizer, HuggingFaceTokenizer)  # a BiLSTM reads none of these
    first = tokenizer.first_word  # after PAD and UNK
    write_vectors(out, tokenizer.words[first:], table[first:])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m jaxsdgm.export")
    parser.add_argument("--workdir", type=Path, required=True, help="of the run that trained it")
    parser.add_argument("--language", help="whose embeddings to write; else the transformer")
    parser.add_argument("--out", type=Path, required=True, help="file, or new or empty folder")
    args = parser.parse_args(argv)
    quiet_orbax()
    try:
        if args.language:
            export_embeddings(args.workdir, args.language, args.out)
        else:
            export_encoder(args.workdir, args.out)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
