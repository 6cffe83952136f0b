"""SSVAE, a simplification of it or the supervised classifier on the short sentences of Yelp.

    python -m jaxsdgm.main --config=configs/ssvae_yelp.py:ssvae,0.1 --config.trials=5 \
        --config.data.dir=DIR

As ssvae_agnews.py. DIR has sentiment.train.0, sentiment.train.1 and the same of test (Li et al.
2018), or yelp.train.tsv and yelp.test.tsv. Without it TFDS gives Yelp's polarity reviews, which are
longer. --config.data.out_of_domain.source=imdb tests the run on IMDB too.
"""

from ml_collections import ConfigDict

from configs import ssvae_agnews


def get_config(argument: str = "ssvae,1") -> ConfigDict:
    config = ssvae_agnews.make_config("yelp", argument, max_length=15)
    config.data.vocabulary = "all"
    return config
