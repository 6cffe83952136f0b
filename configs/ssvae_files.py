"""SSVAE, a simplification of it or the supervised classifier on your own tables.

    python -m jaxsdgm.main --config=configs/ssvae_files.py:ssvae-kl-z,0.1 --config.trials=5 \
        --config.data.train=train.tsv --config.data.test=test.tsv

As ssvae_agnews.py. The argument may end with the size of the pool (ssvae,0.1,2500; a multiple of 5,
1000 if not given); the share is of four fifths of it, and the training documents beyond the pool
lose their labels.
"""

from ml_collections import ConfigDict

from configs import ssvae_agnews


def get_config(argument: str = "ssvae,1,1000") -> ConfigDict:
    system, share, *pool = argument.split(",")
    fields = {"max_length": 80, "pool": int(pool[0]) if pool else 1000}
    config = ssvae_agnews.make_config("files", f"{system},{share}", **fields)
    config.data.pool_unlabelled = 0
    config.data.vocabulary = "all"
    return config
