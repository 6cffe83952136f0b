"""A million unlabelled documents: what training on them takes of the host's memory.

    python benchmarks/streaming.py [--documents=1000000] [--steps=100] [--workdir=DIR]

Generated text, written to a file first, goes through the product's own path (reader, vocabulary,
token array, M1+M2+BOW over a small BiLSTM), with the token array on the host and the documents of
the next steps moved while the device works. Printed are the size of the array, the process's peak
memory, what of it came before any text was read (Python, JAX) and documents a second.
"""

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path

import jax

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs import debian_classify
from jaxsdgm.data import generated
from jaxsdgm.experiments import classify
from jaxsdgm.experiments.inputs import load_inputs

BLOCK = 10_000  # documents that are generated at a time


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def write_documents(path: Path, documents: int) -> None:
    """Writes generated text, one document a line, a block at a time."""
    with open(path, "w", encoding="utf-8") as stream:
        for seed in range(0, documents, BLOCK):
            size = min(BLOCK, documents - seed)
            corpus = generated.generate("en", train=0, dev=0, test=0, unlabelled=size, seed=seed)
            stream.writelines(text + "\n" for text in corpus.splits["unlabelled"].texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--workdir", type=Path, default=Path(tempfile.gettempdir()) / "streaming")
    args = parser.parse_args()
    config = debian_classify.get_config("en,32,bow")
    config.data.source = "generated"
    config.data.unlabelled = str(args.workdir.with_suffix(".txt"))
    config.data.resident_gib = 0.0
    config.data.batch_size, config.data.unlabelled_size = 16, 484
    config.training.max_steps, config.training.eval_every = args.steps, args.steps // 2
    jax.devices()
    write_documents(args.workdir.with_suffix(".txt"), args.documents)
    before = peak_gib()
    result = classify.run(config, args.workdir)
    peak = peak_gib()
    # once more, now that the peak is taken: the run keeps its arrays to itself
    arrays = sum(x.nbytes for x in load_inputs(config).splits["train"].values()) / 2**30
    found = {
        "documents": args.documents,
        "arrays_gib": round(arrays, 2),
        "before_gib": round(before, 2),
        "peak_gib": round(peak, 2),
        "beyond_the_arrays_gib": round(peak - arrays, 2),
        **result["training"],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
