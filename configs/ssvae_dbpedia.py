"""SSVAE, a simplification of it or the supervised classifier on DBPedia.

    python -m jaxsdgm.main --config=configs/ssvae_dbpedia.py:ssvae,0.1 --config.trials=5 \
        --config.data.dir=DIR

As ssvae_agnews.py. DIR has train.csv and test.csv of the release; TFDS does not have the set.
"""

from ml_collections import ConfigDict

from configs import ssvae_agnews


def get_config(argument: str = "ssvae,1") -> ConfigDict:
    config = ssvae_agnews.make_config("dbpedia", argument, max_length=79)
    config.data.vocabulary = "all"
    return config
