"""Text VAEs on Yahoo's answers, at the paper's sizes.

    python -m jaxsdgm.main --config=configs/textvae_yahoo.py:ours,4 --config.data.dir=DIR

The argument is the recipe, as of textvae_ptb.py.
DIR has train.txt, valid.txt and test.txt.
"""

from ml_collections import ConfigDict

from configs import common, textvae_ptb


def get_config(argument: str = "ours,4") -> ConfigDict:
    config = common.language_model()
    config.data.source = "yahoo"
    config.model.embedding, config.model.hidden = 512, 1024
    textvae_ptb.choose(config, argument)
    return config
