"""Text VAEs on your own sentences, at a size for a few thousand of them and a CPU.

    python -m jaxsdgm.main --config=configs/textvae_files.py:ours,4 --config.data.dir=DIR

The argument is the recipe, as of textvae_ptb.py. DIR has train.txt, valid.txt and test.txt, a
sentence a line, its words parted by blanks.
"""

from ml_collections import ConfigDict

from configs import common, textvae_ptb


def get_config(argument: str = "ours,4") -> ConfigDict:
    config = common.language_model()
    config.model.embedding = config.model.hidden = 128
    config.data.min_count = 2
    # on so few sentences SGD takes many times as many passes
    config.optimizer, config.learning_rate = "adam", 1e-3
    config.training.max_epochs = 40
    config.plateau.patience, config.plateau.first = 2, 10
    config.evaluation.samples, config.evaluation.chunk = 100, 100
    textvae_ptb.choose(config, argument)
    return config
