"""Text VAEs on short sentences of Yelp's reviews, at the paper's sizes.

    python -m jaxsdgm.main --config=configs/textvae_yelp.py:ours,4 --config.data.dir=DIR

The argument is the recipe, as of textvae_ptb.py.
DIR has train.txt, valid.txt and test.txt, a line a label, a tab and a sentence; without it 120 000
sentences are drawn from TFDS's copy, which was not tried here.
"""

from ml_collections import ConfigDict

from configs import common, textvae_ptb


def get_config(argument: str = "ours,4") -> ConfigDict:
    config = common.language_model()
    config.data.source = "yelp"
    config.model.embedding, config.model.hidden = 128, 512
    textvae_ptb.choose(config, argument)
    return config
