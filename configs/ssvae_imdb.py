"""SSVAE, a simplification of it or the supervised classifier on IMDB.

    python -m jaxsdgm.main --config=configs/ssvae_imdb.py:ssvae,0.1 --config.trials=5 \
        --config.data.dir=DIR

As ssvae_agnews.py. DIR is the folder aclImdb of the release; without it the set comes through TFDS.
"""

from ml_collections import ConfigDict

from configs import ssvae_agnews


def get_config(argument: str = "ssvae,1") -> ConfigDict:
    config = ssvae_agnews.make_config("imdb", argument, max_length=255)
    return config
